package journal_test

import (
	"encoding/binary"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
)

// spoilable is a journal with three of everything, of which the second ones are then damaged.
type spoilable struct {
	*journal.Journal
	db   *bbolt.DB
	runs []journal.Run
}

func spoilt(t *testing.T, do func(b func(name string) *bbolt.Bucket, s spoilable) error) spoilable {
	t.Helper()
	db := openDB(t, filepath.Join(t.TempDir(), "tidegate.db"))
	j, err := journal.Open(db)
	ok(t, err)
	s := spoilable{db: db}
	for i, name := range []string{"a", "b", "c"} {
		seq := add(t, j, 1, name)
		r := run(j, 1, seq)
		s.runs = append(s.runs, r)
		ok(t, j.CreateRun(t.Context(), r, []journal.Job{job(r, 1), job(r, 2), job(r, 3)}))
		ok(t, j.PutPlan(t.Context(), plan(r.ID, 1, runner.Project{Dir: name, Workspace: "default"})))
		ok(t, j.PutReport(t.Context(), report(name, i)))
		ok(t, j.PutPull(t.Context(), journal.PullRecord{ID: pull(i)}))
	}
	ok(t, j.Close())
	ok(t, db.Update(func(tx *bbolt.Tx) error {
		return do(func(name string) *bbolt.Bucket { return tx.Bucket([]byte(name)) }, s)
	}))
	// The next start.
	s.Journal, err = journal.Open(db)
	ok(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// A damaged record is named, and costs nothing but itself.
func TestDamagedRecordCostsItself(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]string{
		"cut off": `{"seq":`, "another record": `{"seq":3,"id":"c","run":"c"}`, "another shape": `[1]`, "empty": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			damagedRecordCostsItself(t, []byte(bad))
		})
	}
}

func damagedRecordCostsItself(t *testing.T, bad []byte) {
	t.Helper()
	s := spoilt(t, func(b func(string) *bbolt.Bucket, s spoilable) error {
		second := s.runs[1].ID
		for _, at := range []struct {
			bucket string
			key    []byte
		}{
			{"events", binary.BigEndian.AppendUint64(nil, 2)},
			{"runs", []byte(second)},
			{"plans", []byte(second + "/1")},
			{"jobs", append([]byte(s.runs[0].ID), 0, 0, 0, 2)},
			{"reports", []byte("b")},
			{"pulls", pullKey(1)},
		} {
			if b(at.bucket).Get(at.key) == nil {
				t.Errorf("%s %q is not there", at.bucket, at.key)
			}
			ok(t, b(at.bucket).Put(at.key, bad))
		}
		return nil
	})
	ctx := t.Context()
	check := func(what string, n int, err error, names string) {
		t.Helper()
		if n != 2 || !journal.Damaged(err) || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: %d records, %v, want 2, and the damaged one named by %s", what, n, err, names)
		}
	}
	pending, err := s.Pending(ctx)
	ok(t, err)
	pending.Bytes, pending.Oldest = 0, time.Time{}
	want(t, "pending", pending, journal.Pending{Events: 3, Runs: 3, Reports: 3})
	events, err := s.Queued(ctx)
	check("Queued()", len(events), err, "events 2")
	runs, err := s.Runs(ctx, journal.Filter{})
	check("Runs()", len(runs), err, s.runs[1].ID)
	p := pull(1)
	runs, err = s.Runs(ctx, journal.Filter{Pull: &p, Running: true})
	check("Runs() of #1", len(runs), err, s.runs[1].ID)
	jobs, err := s.Jobs(ctx, s.runs[0].ID)
	check("Jobs()", len(jobs), err, s.runs[0].ID)
	plans, err := s.Plans(ctx, p)
	check("Plans()", len(plans), err, s.runs[1].ID+"/1")
	reports, err := s.Reports(ctx, p)
	check("Reports()", len(reports), err, `"b"`)
	owed, err := s.Unposted(ctx)
	check("Unposted()", len(owed), err, `"b"`)
	pulls, err := s.Pulls(ctx)
	check("Pulls()", len(pulls), err, "pulls")

	// The ends of runs that know their damaged record.
	r, found, err := s.RunOf(ctx, events[0].Seq)
	if err != nil || !found || r.ID != s.runs[0].ID {
		t.Errorf("RunOf(1) = %s, %v, %v, want the first", r.ID, found, err)
	}
	if _, found, err := s.Report(ctx, "b"); !found || !journal.Damaged(err) {
		t.Errorf("Report(b) = %v, %v, want that it is there and damaged", found, err)
	}
	ok(t, s.ReportPlans(ctx, s.runs[1].ID, 5, at(5)))
}

// What is written in the place of a damaged record takes it.
func TestDamagedRecordIsReplaced(t *testing.T) {
	t.Parallel()
	s := spoilt(t, func(b func(string) *bbolt.Bucket, s spoilable) error {
		second := s.runs[1].ID
		ok(t, b("runs").Put([]byte(second), []byte("{")))
		ok(t, b("plans").Put([]byte(second+"/1"), []byte("{")))
		return b("reports").Put([]byte("b"), []byte("{"))
	})
	ctx := t.Context()
	r, found, err := s.RunOf(ctx, 2)
	if r.ID != s.runs[1].ID || !found || !journal.Damaged(err) {
		t.Errorf("RunOf(2) = %+v, %v, %v, want its id, and that it is damaged", r, found, err)
	}
	ok(t, s.CreateRun(ctx, s.runs[1], nil))
	ok(t, s.EndRun(ctx, s.runs[1].ID, "internal error", at(7)))
	ok(t, s.PutReport(ctx, report("b", 1)))
	again := plan(s.NewRunID(), 1, runner.Project{Dir: "b", Workspace: "default"})
	ok(t, s.PutPlan(ctx, again))
	plans, err := s.Plans(ctx, pull(1))
	if err != nil || len(plans) != 3 || plans[1].ID != again.ID {
		t.Errorf("Plans() = %+v, %v, want the new one in the place of the damaged", plans, err)
	}
	if runs, err := s.Runs(ctx, journal.Filter{}); err != nil || len(runs) != 3 {
		t.Errorf("Runs() = %d, %v, want all", len(runs), err)
	}
	if owed, err := s.Unposted(ctx); err != nil || len(owed) != 3 {
		t.Errorf("Unposted() = %d, %v, want all", len(owed), err)
	}
}

// An index that names nothing, a deduplication entry that is cut off, and a run with an impossible id.
func TestDamagedIndex(t *testing.T) {
	t.Parallel()
	s := spoilt(t, func(b func(string) *bbolt.Bucket, _ spoilable) error {
		ok(t, b("events_queued").Put(binary.BigEndian.AppendUint64(nil, 77), nil))
		ok(t, b("runs_running").Put([]byte("01ZZZZZZZZZZZZZZZZZZZZZZZZ"), nil))
		ok(t, b("runs").Put([]byte("~"), []byte("{}")))
		return b("event_keys").ForEach(func(k, v []byte) error {
			if binary.BigEndian.Uint64(v) == 3 {
				return b("event_keys").Put(k, []byte("x"))
			}
			return nil
		})
	})
	ctx := t.Context()
	if events, err := s.Queued(ctx); len(events) != 3 || !journal.Damaged(err) || !strings.Contains(err.Error(), "77") {
		t.Errorf("Queued() = %d, %v, want 3 and that 77 is not there", len(events), err)
	}
	if runs, err := s.Runs(ctx, journal.Filter{Running: true}); len(runs) != 3 || !journal.Damaged(err) {
		t.Errorf("Runs() = %d, %v, want 3 and that one is not there", len(runs), err)
	}
	if _, added, err := s.AddEvent(ctx, event(1), "c"); added || !journal.Damaged(err) {
		t.Errorf("AddEvent(c) = %v, %v, want that it is known and damaged", added, err)
	}
	if _, added, err := s.AddEvent(ctx, event(1), "d"); !added || err != nil {
		t.Errorf("AddEvent(d) = %v, %v, want it added", added, err)
	}
	if id := s.NewRunID(); id <= s.runs[2].ID {
		t.Errorf("NewRunID() = %s, want it after %s", id, s.runs[2].ID)
	}
}

func pullKey(n int) []byte {
	p := pull(n)
	b := binary.BigEndian.AppendUint32(nil, uint32(len(p.Repo.Forge)))
	b = binary.BigEndian.AppendUint64(append(b, p.Repo.Forge...), uint64(p.Repo.ID))
	return binary.BigEndian.AppendUint64(b, uint64(p.Number))
}
