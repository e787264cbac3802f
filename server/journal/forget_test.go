package journal_test

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
)

// A run goes with everything of it, when nothing can come of it any more, and takes nothing of another one along.
func TestForget(t *testing.T) {
	t.Parallel()
	j := open(t)
	ctx := t.Context()
	p := pull(1)
	for i, lacks := range []string{"its end", "that its plan is over", "that its answer stands there", "nothing"} {
		r := run(j, 1, add(t, j, 1, lacks))
		ok(t, j.CreateRun(ctx, r, []journal.Job{job(r, 1), job(r, 2)}))
		ok(t, j.PutPlan(ctx, plan(r.ID, 1, runner.Project{Dir: "dns", Workspace: string(rune('a' + i))})))
		rep := report(r.ID, i)
		rep.Run = r.ID
		if lacks != "that its answer stands there" {
			rep.Comment = 5
		}
		ok(t, j.PutReport(ctx, rep))
		if lacks != "that its plan is over" {
			ok(t, j.SetPlanState(ctx, r.ID+"/1", journal.PlanDiscarded, "ana", "closed"))
		}
		if lacks != "its end" {
			ok(t, j.EndRun(ctx, r.ID, "done", at(5)))
		}
		for _, want := range []bool{lacks == "nothing", false} { // the second time it is gone
			if gone, err := j.Forget(ctx, r.ID); gone != want || err != nil {
				t.Errorf("Forget() of a run that lacks %s = %v, %v, want %v", lacks, gone, err, want)
			}
		}
	}
	counts, err := j.Counts(ctx)
	ok(t, err)
	counts.Bytes = 0
	want(t, "counts", counts, journal.Counts{Events: 4, Keys: 4, Queued: 4, Runs: 3, Running: 1, Jobs: 6, Plans: 3, Reports: 3, Owed: 1})
	left, err := j.Runs(ctx, journal.Filter{Pull: &p})
	ok(t, err)
	plans, err := j.Plans(ctx, p)
	ok(t, err)
	reports, err := j.Reports(ctx, p)
	ok(t, err)
	if len(left) != 3 || len(plans) != 3 || len(reports) != 3 {
		t.Errorf("left: %v, %v, %v", left, plans, reports)
	}
	if gone, err := j.ForgetPull(ctx, p); gone || err != nil {
		t.Errorf("ForgetPull() of one with runs = %v, %v", gone, err)
	}
}

// An event goes with its key: told again, it is a new one. One that is queued never goes.
func TestForgetEvents(t *testing.T) {
	t.Parallel()
	j := open(t)
	ctx := t.Context()
	for _, key := range []string{"a", "b", "c", "d"} {
		seq := add(t, j, 1, key)
		if key != "c" {
			ok(t, j.EventDone(ctx, seq, "", "talk"))
		}
	}
	every := func(journal.Event) bool { return true }
	for _, tt := range []struct {
		may  func(journal.Event) bool
		most int
		want int
	}{
		{func(journal.Event) bool { return false }, 10, 0}, {every, 1, 1}, {func(ev journal.Event) bool { return ev.Seq != 4 }, 10, 1}, {every, 10, 1}, {every, 10, 0},
	} {
		n, err := j.ForgetEvents(ctx, tt.may, tt.most)
		if n != tt.want || err != nil {
			t.Errorf("ForgetEvents() = %d, %v, want %d", n, err, tt.want)
		}
	}
	for key, known := range map[string]bool{"a": false, "b": false, "c": true, "d": false} {
		if _, added, err := j.AddEvent(ctx, event(1), key); added == known || err != nil {
			t.Errorf("AddEvent(%s) = %v, %v, want known: %v", key, added, err, known)
		}
	}
	if seq := add(t, j, 1, "next"); seq != 8 {
		t.Errorf("the next event is %d: a number was given twice", seq)
	}
}

func TestRunTime(t *testing.T) {
	t.Parallel()
	j := open(t)
	if at, known := journal.RunTime(j.NewRunID()); !known || time.Since(at) > time.Minute {
		t.Errorf("RunTime() = %s, %v", at, known)
	}
	if _, known := journal.RunTime("not a run"); known {
		t.Error("RunTime() knows what is no run")
	}
}
