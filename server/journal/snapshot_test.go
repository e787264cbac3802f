package journal_test

import (
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
)

// A snapshot is a journal of its own: what is written later is not in it.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := journal.Open(openDB(t, filepath.Join(dir, "tidegate.db")))
	ok(t, err)
	t.Cleanup(func() { _ = j.Close() })
	add(t, j, 1, "before")
	copied := filepath.Join(dir, "copy.db")
	ok(t, j.Snapshot(t.Context(), copied))
	add(t, j, 1, "after")
	if err := j.Snapshot(t.Context(), copied); err == nil {
		t.Error("Snapshot() over a file = nil error")
	}
	other, err := journal.Open(openDB(t, copied))
	ok(t, err)
	t.Cleanup(func() { _ = other.Close() })
	events, err := other.Queued(t.Context())
	ok(t, err)
	if len(events) != 1 || other.ServerID() != j.ServerID() {
		t.Errorf("the snapshot of %s has %d events and is %s's", j.ServerID(), len(events), other.ServerID())
	}
	r, err := other.Restored(t.Context())
	ok(t, err)
	want(t, "restored", r, journal.Restoration{})
}

// What the records name by its place is found where it lies now; nothing else is touched.
func TestMarkRestored(t *testing.T) {
	t.Parallel()
	j, err := journal.Open(openDB(t, filepath.Join(t.TempDir(), "tidegate.db")))
	ok(t, err)
	t.Cleanup(func() { _ = j.Close() })
	r := run(j, 1, 0)
	work := job(r, 1)
	work.Job = runner.Job{Dir: "/old/runs/x/1", Checkout: "/old/checkouts/y", StateDir: "/older", PlanFile: "/old/plans/p", Tool: runner.Tool{Path: "/usr/bin/terraform"}}
	ok(t, j.CreateRun(t.Context(), r, []journal.Job{work}))
	p := plan(r.ID, 1, runner.Project{Dir: "a", Workspace: "default"})
	p.File, p.Checkout = "/old/plans/p", "/old/checkouts/y"
	ok(t, j.PutPlan(t.Context(), p))
	mark := journal.Restoration{Taken: at(1), At: at(2)}
	for range 2 {
		ok(t, j.MarkRestored(t.Context(), mark, "/old", "/new/data"))
	}
	jobs, err := j.Jobs(t.Context(), r.ID)
	ok(t, err)
	want(t, "job", jobs[0].Job, runner.Job{
		Dir: "/new/data/runs/x/1", Checkout: "/new/data/checkouts/y", StateDir: "/older", PlanFile: "/new/data/plans/p",
		Tool: runner.Tool{Path: "/usr/bin/terraform"},
	})
	plans, err := j.Plans(t.Context(), p.Pull)
	ok(t, err)
	want(t, "plan", []string{plans[0].File, plans[0].Checkout}, []string{"/new/data/plans/p", "/new/data/checkouts/y"})
	got, err := j.Restored(t.Context())
	ok(t, err)
	want(t, "restored", got, mark)
}
