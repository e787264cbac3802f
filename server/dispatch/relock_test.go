package dispatch

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
)

// deadApply journals an apply of which everything died, with a directory that says so.
func (e *Engine) deadApply(t *testing.T, pull int, p runner.Project, at time.Time) journal.Job {
	t.Helper()
	r := journal.Run{ID: e.Journal.NewRunID(), Pull: pr(pull), Command: cmdApply, State: journal.RunDone, Started: at}
	j := journal.Job{
		Run: r.ID, N: 1, State: journal.JobDone, Started: at, Ended: at.Add(time.Hour), Result: &runner.Summary{End: runner.Unknown},
		Job: runner.Job{ID: r.ID + "/1", Project: p, Dir: e.jobDir(r.ID, 1)},
	}
	if err := e.Journal.CreateRun(t.Context(), r, []journal.Job{j}); err != nil {
		t.Fatal(err)
	}
	step := filepath.Join(j.Job.Dir, "1-apply")
	if err := os.MkdirAll(step, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(j.Job.Dir, "who"): "us@here", filepath.Join(step, "lock"): "",
		filepath.Join(step, "started"): fmt.Sprintf(`{"format":1,"pid":1,"boot":"another","at":%q}`, at.Format(time.RFC3339Nano)),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// A lock is broken only when it can't be but a dead job's of the same project.
func TestLeftBy(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-2 * time.Hour)
	fits := runner.StateLock{ID: "7", Who: "us@here", Operation: "OperationTypeApply", Created: began.Add(time.Minute), Forcible: true}
	for name, test := range map[string]struct {
		change func(*testing.T, *Engine, *runner.StateLock)
		theirs bool
	}{
		"its own":                         {nil, true},
		"of a living":                     {func(_ *testing.T, _ *Engine, l *runner.StateLock) { l.Who = "ana@laptop" }, false},
		"of a backend that does not tell": {func(_ *testing.T, _ *Engine, l *runner.StateLock) { *l = runner.StateLock{ID: "7", Forcible: true} }, false},
		"that can't be broken":            {func(_ *testing.T, _ *Engine, l *runner.StateLock) { l.Forcible = false }, false},
		"younger than who asks":           {func(_ *testing.T, _ *Engine, l *runner.StateLock) { l.Created = time.Now() }, false},
		"from before a restore":           {func(_ *testing.T, e *Engine, _ *runner.StateLock) { e.restored.At = time.Now() }, false},
		"while another job runs": {func(t *testing.T, e *Engine, _ *runner.StateLock) {
			t.Helper()
			r := journal.Run{ID: e.Journal.NewRunID(), Pull: pr(3), Command: cmdApply, State: journal.Running, Started: began}
			j := journal.Job{Run: r.ID, N: 1, State: journal.JobRunning, Started: began, Job: runner.Job{ID: r.ID + "/1", Project: netB()}}
			if err := e.Journal.CreateRun(t.Context(), r, []journal.Job{j}); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := engineOn(t, newGuarding())
			dead := e.deadApply(t, 2, netA(), began)
			asks := journal.Run{ID: e.Journal.NewRunID(), Pull: pr(1), Command: cmdPlan, State: journal.Running, Started: time.Now()}
			job := func(p runner.Project) journal.Job {
				return journal.Job{Run: asks.ID, N: 1, State: journal.JobRunning, Started: time.Now().Add(-time.Second), Job: runner.Job{ID: asks.ID + "/1", Project: p, Dir: e.jobDir(asks.ID, 1)}}
			}
			if err := e.Journal.CreateRun(t.Context(), asks, []journal.Job{job(netA())}); err != nil {
				t.Fatal(err)
			}
			lock := fits
			if test.change != nil {
				test.change(t, e, &lock)
			}
			want := ""
			if test.theirs {
				want = dead.Job.ID
			}
			if got, err := e.leftBy(t.Context(), job(netA()), time.Now().Add(-time.Second), lock); err != nil || got != want {
				t.Errorf("leftBy = %q, %v, want %q", got, err, want)
			}
			if got, err := e.leftBy(t.Context(), job(netB()), time.Now().Add(-time.Second), lock); err != nil || got != "" {
				t.Errorf("leftBy of another project = %q, %v", got, err)
			}
		})
	}
}

// A plan that was killed together with its terraform is made once more by the same run, and may find its own lock.
func TestTheLockOfAnEarlierStartIsKnown(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	began := time.Now().Add(-time.Minute)
	asks := journal.Run{ID: e.Journal.NewRunID(), Pull: pr(1), Command: cmdPlan, State: journal.Running, Started: began}
	j := journal.Job{
		Run: asks.ID, N: 1, State: journal.JobRunning, Started: began,
		Job: runner.Job{ID: asks.ID + "/1", Project: netA(), Dir: e.jobDir(asks.ID, 1)},
	}
	died := fmt.Sprintf(`[{"who":"us@here","operation":"OperationTypePlan","from":%q,"to":%q}]`,
		began.Add(time.Second).Format(time.RFC3339Nano), began.Add(30*time.Second).Format(time.RFC3339Nano))
	must(t, e.Journal.CreateRun(t.Context(), asks, []journal.Job{j}))
	must(t, os.MkdirAll(j.Job.Dir, 0o700))
	must(t, os.WriteFile(filepath.Join(j.Job.Dir, "died.json"), []byte(died), 0o600))
	lock := runner.StateLock{ID: "7", Who: "us@here", Operation: "OperationTypePlan", Created: began.Add(2 * time.Second), Forcible: true}
	if got, err := e.leftBy(t.Context(), j, began.Add(40*time.Second), lock); err != nil || got != j.Job.ID {
		t.Errorf("leftBy = %q, %v, want %q", got, err, j.Job.ID)
	}

	// Another lock was broken for it before it died. (It does not come to be made here: it lacks what a job needs.)
	j.Job.Release = "6"
	s := scene{item: item{ask: ask{kind: askPlan}}, stop: t.Context()}
	res := runner.Result{Summary: runner.Summary{Started: began.Add(40 * time.Second), Failure: &runner.Failure{Lock: &lock}}}
	if _, err := e.relock(t.Context(), s, &j, res); err == nil || j.Job.Release != "7" || j.Job.ReleaseOf != j.Job.ID {
		t.Errorf("relock breaks %q of %q, %v, want its own", j.Job.Release, j.Job.ReleaseOf, err)
	}
}
