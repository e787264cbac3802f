package dispatch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// Only what is not known is planned again, and not while its state is kept here; once however often the run is gone on with.
func TestLookAgain(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	job := func(p runner.Project, end runner.End) journal.Job {
		return journal.Job{Job: runner.Job{Project: p, Dir: t.TempDir()}, State: journal.JobDone, Result: &runner.Summary{End: end}}
	}
	unstored := job(network(), runner.Unknown) // its result found no room on the disk, its state did
	must(t, os.WriteFile(filepath.Join(unstored.Job.Dir, "errored.tfstate"), []byte("{}"), 0o600))
	jobs := []journal.Job{job(netA(), runner.Unknown), job(netB(), runner.PartlyApplied), {Job: runner.Job{Project: netB()}}, unstored}
	s := scene{item: item{ask: ask{kind: askApply, name: cmdApply, user: "ana"}}, pull: aPull(1), run: journal.Run{ID: e.Journal.NewRunID()}}
	for range 2 {
		if err := e.lookAgain(t.Context(), s, jobs); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.lookAgain(t.Context(), scene{item: item{ask: ask{kind: askPlan}}, pull: aPull(1), run: journal.Run{ID: "plan"}}, jobs); err != nil {
		t.Fatal(err)
	}
	events, err := e.Journal.Queued(t.Context())
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events (%v), want 1", len(events), err)
	}
	a := e.read(events[0])
	if a.kind != askPlan || a.user != "ana" || a.push() || !targeted(a) || a.rank() != rankCommand {
		t.Errorf("it asks for %+v", a)
	}
	if diff := cmp.Diff([]runner.Project{netA()}, a.left); diff != "" {
		t.Errorf("what is planned again (-want +got):\n%s", diff)
	}
}

// What was given up since is not planned again: its locks were given up, too.
func TestWhatWasGivenUpIsNotLookedAtAgain(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	s := scene{pull: aPull(1), run: journal.Run{ID: e.Journal.NewRunID(), Pull: pr(1), State: journal.Running, Started: time.Now()}}
	if err := e.Journal.PutPull(t.Context(), journal.PullRecord{ID: pr(1), Repo: aPull(1).Repo, State: vcs.Open}); err != nil {
		t.Fatal(err)
	}
	left := scene{item: item{ask: ask{kind: askPlan, auto: true, left: []runner.Project{netA()}, source: fromApply + s.run.ID}}, pull: aPull(1)}
	if why, err := e.leftBehind(t.Context(), left); err != nil || why != "" {
		t.Errorf("leftBehind = %q, %v before the unlock", why, err)
	}
	s.run.ID = e.Journal.NewRunID()
	if err := e.beginAnew(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if why, err := e.leftBehind(t.Context(), left); err != nil || why == "" {
		t.Errorf("leftBehind = %q, %v after the unlock", why, err)
	}
}
