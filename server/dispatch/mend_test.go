package dispatch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// unstoredOf lets a pull request have an apply that could not store its state.
func (e *Engine) unstoredOf(t *testing.T, n int, p runner.Project) {
	t.Helper()
	r := journal.Run{ID: e.Journal.NewRunID(), Pull: pr(n), Command: cmdApply, State: journal.RunDone, Started: time.Now()}
	dir := e.jobDir(r.ID, 1)
	must(t, e.Journal.CreateRun(t.Context(), r, []journal.Job{{
		Run: r.ID, N: 1, State: journal.JobDone, Result: &runner.Summary{End: runner.PartlyApplied}, Job: runner.Job{Dir: dir, Project: p, Checkout: t.TempDir()},
	}}))
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "errored.tfstate"), []byte("{}"), 0o600))
}

// A state that an apply could not store keeps others from applying there, too, after its pull request has let the lock go.
func TestAnUnstoredStateStandsInTheWayOfOthers(t *testing.T) {
	e, f, r := onRepo(t)
	p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
	f.pull = func(int) (vcs.Pull, error) { return p, nil }
	e.ready(t, p)
	project := network()
	project.Name = "called otherwise there"
	e.unstoredOf(t, 2, project)
	addComment(t, e, 1, 7, "apply")
	e.tell(t.Context(), t.Context(), e.items(t)[0])
	if said := bodies(f.scripted); !strings.HasPrefix(said, "### Apply not run") || !strings.Contains(said, "An apply of #2 could not store the state of `network`") {
		t.Errorf("the answer does not refuse for the state of #2:\n%s", said)
	}
}

// It stands in the way whatever the project was called then, also of an apply that was decided before.
func TestAnUnstoredStateStandsInTheWayUnderEveryName(t *testing.T) {
	for name, tt := range map[string]struct {
		at   string // when it is found that the state could not be stored; empty: before the apply is asked for
		want string
	}{
		"asked for after it": {"", "### Apply not run: `network` is state not stored\n"},
		"decided before it":  {AtLocked, "### Apply for `network`: not started\n"},
	} {
		t.Run(name, func(t *testing.T) {
			e, f, r := onRepo(t)
			p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
			f.pull = func(int) (vcs.Pull, error) { return p, nil }
			e.ready(t, p)
			e.Hook = func(point string) {
				if point == tt.at {
					older := network()
					older.Name = "net"
					e.unstoredOf(t, 1, older)
				}
			}
			e.Hook("")
			addComment(t, e, 1, 7, "apply")
			e.tell(t.Context(), t.Context(), e.items(t)[0])
			if said := bodies(f.scripted); !strings.HasPrefix(said, tt.want) || !strings.Contains(said, "could not store the state") || !strings.Contains(said, "state push -p net") {
				t.Errorf("the answer, want %q and what is to be pushed:\n%s", tt.want, said)
			}
			if plans, err := e.plans(t.Context(), pr(1)); err != nil || len(plans) != 1 || plans[0].State != journal.PlanReady {
				t.Errorf("plans %+v, %v, want the ready one", plans, err)
			}
		})
	}
}

// An apply that did not get the lock of its state leaves its plan as it was; one that got further uses it up.
func TestAnApplyThatIsLockedOutKeepsItsPlan(t *testing.T) {
	t.Parallel()
	locked := &runner.Failure{Lock: &runner.StateLock{ID: "theirs-7"}}
	for name, tt := range map[string]struct {
		res  runner.Result
		want journal.PlanState
	}{
		"locked out":  {runner.Result{Summary: runner.Summary{End: runner.Failed, Failure: locked}, Resources: []runner.Resource{{Outcome: runner.NotReached}, {}}}, journal.PlanReady},
		"failed":      {runner.Result{Summary: runner.Summary{End: runner.Failed, Failure: &runner.Failure{}}}, journal.PlanStale},
		"got further": {runner.Result{Summary: runner.Summary{End: runner.Failed, Failure: locked}, Resources: []runner.Resource{{Outcome: runner.DidFail}}}, journal.PlanStale},
		"partly":      {runner.Result{Summary: runner.Summary{End: runner.PartlyApplied, Failure: locked}}, journal.PlanStale},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := engineOn(t, newGuarding())
			r := e.planRun(t, netA())
			must(t, e.applied(t.Context(), scene{pull: aPull(1), run: r}, journal.Job{PlanID: r.ID + "/1"}, tt.res))
			if plan, _, err := e.planByID(t.Context(), pr(1), r.ID+"/1"); err != nil || plan.State != tt.want {
				t.Errorf("the plan is %s, %v, want it %s", plan.State, err, tt.want)
			}
		})
	}
}

// A cancel that has said of a mend that it does not begin is right, though the mend was about to begin.
func TestAMendThatWasCancelledDoesNotBegin(t *testing.T) {
	e, f, r := onRepo(t)
	p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
	f.pull = func(int) (vcs.Pull, error) { return p, nil }
	e.unstoredOf(t, 1, runner.Project{Dir: ".", Workspace: "default"})
	addComment(t, e, 1, 7, "state push -d .")
	push := e.items(t)[0]
	e.Options.Room = func() error { // asked between the slot and the mark in the journal
		e.Options.Room = nil
		addComment(t, e, 1, 8, "cancel")
		e.tell(t.Context(), t.Context(), e.items(t)[1])
		return nil
	}
	e.tell(t.Context(), t.Context(), push)
	said := bodies(f.scripted)
	if !strings.HasPrefix(said, "### Cancelled: 1 project not begun\n") || !strings.Contains(said, "### State push for `.`: cancelled\n") {
		t.Errorf("the answers, want that it does not begin, and that it did not:\n%s", said)
	}
	runs, err := e.Journal.Runs(t.Context(), journal.Filter{})
	must(t, err)
	for _, r := range runs {
		jobs, err := e.Journal.Jobs(t.Context(), r.ID)
		must(t, err)
		if r.Command == cmdStatePush && (len(jobs) != 1 || !jobs[0].Started.IsZero() || jobs[0].Result.End != runner.Cancelled) {
			t.Errorf("the jobs of the push are %+v, want a cancelled one", jobs)
		}
	}
}
