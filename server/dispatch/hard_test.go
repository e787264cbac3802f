package dispatch

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// guarding is a small forge that keeps the statuses, and on which only writers may write.
type guarding struct {
	*small
	writer   string
	statuses map[string]vcs.Status
}

func newGuarding() *guarding {
	return &guarding{small: newSmall(), writer: "ana", statuses: map[string]vcs.Status{}}
}

func (f *guarding) Permission(_ context.Context, _ vcs.Repo, user string) (vcs.Permission, error) {
	if user == f.writer {
		return vcs.WritePermission, nil
	}
	return vcs.WritePermission - 1, nil
}

func (f *guarding) SetStatus(_ context.Context, _ vcs.Repo, _ string, s vcs.Status) error {
	f.statuses[s.Context] = s
	return nil
}

func engineOn(t *testing.T, f vcs.Forge) *Engine {
	t.Helper()
	e := engine(t)
	e.Forges = map[string]vcs.Forge{"f": f}
	e.Runner = runner.New(runner.Config{Self: "/bin/false", Data: e.Options.Data, Environ: []string{}})
	return e
}

func (e *Engine) planRun(t *testing.T, projects ...runner.Project) journal.Run {
	t.Helper()
	r := journal.Run{ID: e.Journal.NewRunID(), Pull: pr(1), Command: cmdPlan, State: journal.RunDone, Started: time.Now(), Head: "a1"}
	var jobs []journal.Job
	for i, p := range projects {
		id := fmt.Sprintf("%s/%d", r.ID, i+1)
		jobs = append(jobs, journal.Job{Run: r.ID, N: i + 1, State: journal.JobDone, PlanID: id, Job: runner.Job{Project: p}, Result: &runner.Summary{End: runner.Succeeded}})
	}
	if err := e.Journal.CreateRun(t.Context(), r, jobs); err != nil {
		t.Fatal(err)
	}
	for i, p := range projects {
		if err := e.Journal.PutPlan(t.Context(), journal.Plan{ID: fmt.Sprintf("%s/%d", r.ID, i+1), Run: r.ID, N: i + 1, Pull: pr(1), Project: p, State: journal.PlanReady}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (e *Engine) comment(t *testing.T, user, text string, id int64) item {
	t.Helper()
	ev := vcs.Event{Kind: vcs.Commented, Repo: aPull(1).Repo, Pull: 1, Sender: user, Comment: &vcs.Comment{ID: id, Author: user, Body: text, CreatedAt: time.Now()}}
	seq, _, err := e.Journal.AddEvent(t.Context(), ev, ev.Key())
	if err != nil {
		t.Fatal(err)
	}
	je := journal.Event{Seq: seq, Event: ev, Received: time.Now()}
	return item{ev: je, ask: e.read(je)}
}

func netA() runner.Project { return runner.Project{Dir: "a", Workspace: "default"} }
func netB() runner.Project { return runner.Project{Dir: "b", Workspace: "default"} }

// An unlock that was refused must change nothing.
func TestRefusedUnlockChangesNothing(t *testing.T) {
	t.Parallel()
	for name, beside := range map[string]string{"by a reader": "", "beside an apply": cmdApply, "beside a state push": cmdStatePush} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newGuarding()
			e := engineOn(t, f)
			r := e.planRun(t, netA(), netB())
			if err := e.Journal.SetPlanState(t.Context(), r.ID+"/1", journal.PlanApplied, "", ""); err != nil {
				t.Fatal(err)
			}
			user := "mallory"
			if beside != "" {
				user = "ana"
			}
			it := e.comment(t, user, "unlock", 5)
			it.beside = beside
			e.tell(t.Context(), t.Context(), it)
			if all, err := e.standing(t.Context(), pr(1)); err != nil || len(all) != 2 {
				t.Errorf("%d projects stand after a refused unlock (%v), want 2", len(all), err)
			}
			s := scene{item: item{ask: ask{kind: askApply, name: cmdApply}}, forge: f, pull: aPull(1), run: journal.Run{ID: r.ID}}
			st, err := e.outcome(t.Context(), s, []journal.Job{{Result: &runner.Summary{End: runner.Succeeded}}})
			if err != nil {
				t.Fatal(err)
			}
			if st[0].State == vcs.Success {
				t.Errorf("status %s is %s %q while b is not applied", st[0].Context, st[0].State, st[0].Description)
			}
		})
	}
}

// An apology shows no plan, so it must not make one count as seen.
func TestApologyShowsNoPlan(t *testing.T) {
	t.Parallel()
	f := newGuarding()
	e := engineOn(t, f)
	it := e.comment(t, "ana", "plan", 5)
	r := journal.Run{ID: e.Journal.NewRunID(), Event: it.ev.Seq, Pull: pr(1), Command: cmdPlan, State: journal.Running, Started: time.Now(), Head: "a1"}
	err := errors.Join(
		e.Journal.CreateRun(t.Context(), r, []journal.Job{
			{Run: r.ID, N: 1, State: journal.JobDone, PlanID: r.ID + "/1", Job: runner.Job{Project: netA()}, Result: &runner.Summary{End: runner.Succeeded}},
			{Run: r.ID, N: 2, State: journal.JobQueued, Job: runner.Job{Project: netB()}},
		}),
		e.Journal.PutPlan(t.Context(), journal.Plan{ID: r.ID + "/1", Run: r.ID, N: 1, Pull: pr(1), Project: netA(), State: journal.PlanReady}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.apologise(t.Context(), it, errors.New("disk full")); err != nil {
		t.Fatal(err)
	}
	all, err := e.standing(t.Context(), pr(1))
	if err != nil {
		t.Fatal(err)
	}
	s := scene{item: e.comment(t, "ana", "apply -d a", 900), pull: aPull(1), site: f.Site()}
	s.ask.comment.CreatedAt = time.Now().Add(time.Minute)
	for _, st := range all {
		if st.project == netA() && e.unready(s, st) == nil {
			t.Errorf("the plan of a may be applied; what was posted is:\n%s", bodies(f.scripted))
		}
	}
}

// A long list of waiters must not keep the server from starting.
func TestManyWaitersDoNotStopTheServer(t *testing.T) {
	t.Parallel()
	f := newGuarding()
	e := engineOn(t, f)
	var keys []locking.Key
	for i := range 1000 {
		keys = append(keys, lockKey(pr(1).Repo, runner.Project{Dir: fmt.Sprintf("environments/production/eu-central-1/service-%04d", i), Workspace: "default"}))
	}
	for _, n := range []int{1, 2} {
		if _, err := e.Locks.Acquire(t.Context(), locking.Request{Pull: lockPull(pr(n)), Keys: keys, Wait: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Locks.Release(t.Context(), locking.Release{Pull: lockPull(pr(1)), Keys: keys}); err != nil {
		t.Fatal(err)
	}
	if err := e.callNext(t.Context()); err != nil {
		t.Errorf("calling who waits: %v", err)
	}
	if err := e.restart(t.Context()); err != nil {
		t.Errorf("the server does not start: %v", err)
	}
}

// inFlight is a forge that got a comment from a process that is gone, and shows it a little later.
type inFlight struct {
	*scripted
	mark  string
	shows time.Time
}

func (f *inFlight) Comments(context.Context, vcs.Pull, time.Time) ([]vcs.Comment, error) {
	if time.Now().Before(f.shows) {
		return nil, nil
	}
	return []vcs.Comment{{ID: 77, Body: f.mark}}, nil
}

// The process dies in the POST of an answer that the forge had kept waiting for an hour.
func TestRestartInALatePost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := engine(t)
		defer func() { _ = e.Journal.Close() }()
		mark := e.sign.write(pr(1), marker{Server: "tidegate", Run: "R", Command: "plan", Source: "push:1", Part: partAnswer})
		f := &inFlight{scripted: &scripted{script: []func(*scripted, string) (vcs.Comment, error){takes}}, mark: mark, shows: time.Now().Add(5 * time.Second)}
		r := journal.Report{ID: "R", Pull: pr(1), Run: "R", Kind: kindAnswer, Body: "### Plan\n\n" + mark, Marker: mark, Intended: time.Now().Add(-time.Hour)}
		if err := e.Journal.PutReport(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		got, err := e.post(t.Context(), f, vcs.Pull{Repo: vcs.Repo{ID: pr(1).Repo}, Number: 1}, r, true)
		if err != nil {
			t.Fatal(err)
		}
		if f.posts != 0 || got.Comment != 77 {
			t.Errorf("posted %d times more, the answer is comment %d; want the one that was under way, 77", f.posts, got.Comment)
		}
	})
}

// The lock of an autoplan that was superseded by a push which comes to nothing.
func TestSupersededByNothingKeepsNoLock(t *testing.T) {
	t.Parallel()
	f := newGuarding()
	e := engineOn(t, f)
	key := lockKey(pr(1).Repo, netA())
	if _, err := e.Locks.Acquire(t.Context(), locking.Request{Pull: lockPull(pr(1)), Keys: []locking.Key{key}}); err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancelCause(t.Context())
	cancel(errSuperseded)
	s := scene{item: item{ask: ask{kind: askPlan, auto: true}}, forge: f, pull: aPull(1), stop: stop, run: journal.Run{ID: e.Journal.NewRunID()}}
	jobs := []journal.Job{{State: journal.JobSuperseded, Job: runner.Job{Project: netA()}}}
	if err := e.settle(t.Context(), s, jobs); err != nil {
		t.Fatal(err)
	}
	f.pull = func(n int) (vcs.Pull, error) { p := aPull(n); p.Draft = true; return p, nil }
	ev := vcs.Event{Kind: vcs.PullPushed, Repo: aPull(1).Repo, Pull: 1, Head: "a2", At: time.Now()}
	seq, _, err := e.Journal.AddEvent(t.Context(), ev, ev.Key())
	if err != nil {
		t.Fatal(err)
	}
	je := journal.Event{Seq: seq, Event: ev}
	e.tell(t.Context(), t.Context(), item{ev: je, ask: e.read(je)})
	if held, _ := e.Locks.Held(t.Context(), lockPull(pr(1))); len(held) != 0 {
		t.Errorf("%d locks are held, and nothing is planned under them", len(held))
	}
}

// An unlock of a pull request that only waits leaves no status pending.
func TestUnlockOfAWaiterEndsItsStatus(t *testing.T) {
	t.Parallel()
	f := newGuarding()
	e := engineOn(t, f)
	key := lockKey(pr(1).Repo, netA())
	for _, n := range []int{2, 1} {
		if _, err := e.Locks.Acquire(t.Context(), locking.Request{Pull: lockPull(pr(n)), Keys: []locking.Key{key}, Wait: true}); err != nil {
			t.Fatal(err)
		}
	}
	f.statuses["tidegate/plan"] = vcs.Status{Context: "tidegate/plan", State: vcs.Pending, Description: "1 waiting"}
	e.tell(t.Context(), t.Context(), e.comment(t, "ana", "unlock", 5))
	if got := f.statuses["tidegate/plan"]; got.State == vcs.Pending {
		t.Errorf("nothing waits any more, and the status is %s %q", got.State, got.Description)
	}
}

// What goes wrong with a help says nothing about the plan.
func TestAFailedHelpLeavesThePlansStatus(t *testing.T) {
	t.Parallel()
	f := newGuarding()
	e := engineOn(t, f)
	f.statuses["tidegate/plan"] = vcs.Status{Context: "tidegate/plan", State: vcs.Success, Description: "2 ready"}
	if err := e.apologise(t.Context(), e.comment(t, "mallory", "help", 5), errors.New("x")); err != nil {
		t.Fatal(err)
	}
	if got := f.statuses["tidegate/plan"]; got.State != vcs.Success {
		t.Errorf("a help that failed made the plan's status %s %q", got.State, got.Description)
	}
}

// A close that no webhook told is found, whatever was said on the pull request meanwhile.
func TestAMissedCloseIsFoundAfterAComment(t *testing.T) {
	t.Parallel()
	for name, said := range map[string]string{"nothing": "", "help": "help", "a refused apply": "apply"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newGuarding()
			e := engineOn(t, f)
			open := aPull(1)
			if err := e.remember(t.Context(), item{}, open); err != nil {
				t.Fatal(err)
			}
			key := lockKey(pr(1).Repo, netA())
			if _, err := e.Locks.Acquire(t.Context(), locking.Request{Pull: lockPull(pr(1)), Keys: []locking.Key{key}}); err != nil {
				t.Fatal(err)
			}
			closed := open
			closed.State = vcs.Merged
			f.pull = func(int) (vcs.Pull, error) { return closed, nil }
			if said != "" {
				e.tell(t.Context(), t.Context(), e.comment(t, "ana", said, 5))
			}
			settled, err := e.foundPull(t.Context(), closed, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if n := len(e.queuedEvents(t)); n != 1 {
				held, _ := e.Locks.Held(t.Context(), lockPull(pr(1)))
				t.Errorf("settled %v with %d events, want one that closes; the merged pull request holds %d locks", settled, n, len(held))
			}
		})
	}
}

func (e *Engine) queuedEvents(t *testing.T) []journal.Event {
	t.Helper()
	q, err := e.Journal.Queued(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// An apply whose log has a long line is told of all the same.
func TestLongEvidenceDoesNotHideAnApply(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	r := e.planRun(t, netA())
	j := journal.Job{Run: r.ID, N: 1, State: journal.JobRunning, Job: runner.Job{Project: netA()}}
	_, err := e.ended(t.Context(), j, runner.Summary{End: runner.Interrupted, Evidence: []string{"the last lines of its log:\n" + fmt.Sprintf("%070000d", 1)}})
	if err != nil {
		t.Errorf("the end of an apply can't be kept: %v", err)
	}
}

// A circle that came about a second time is told of a second time.
func TestACircleIsToldAgain(t *testing.T) {
	t.Parallel()
	f := newGuarding()
	e := engineOn(t, f)
	if err := e.remember(t.Context(), item{}, aPull(2)); err != nil {
		t.Fatal(err)
	}
	ask := func(n int, p runner.Project) locking.Grant {
		t.Helper()
		g, err := e.Locks.Acquire(t.Context(), locking.Request{Pull: lockPull(pr(n)), Keys: []locking.Key{lockKey(pr(1).Repo, p)}, Wait: true})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	s := scene{forge: f, pull: aPull(1), site: f.Site()}
	ask(1, netA())
	ask(2, netB())
	ask(2, netA())
	for round := range 2 {
		for range 2 { // the same circle is told once
			g := ask(1, netB())
			if len(g.Cycles) != 1 {
				t.Fatalf("circles: %+v, want one", g.Cycles)
			}
			if _, err := e.tellCycles(t.Context(), s, g.Cycles); err != nil {
				t.Fatal(err)
			}
			e.work.Wait()
		}
		if f.posts != round+1 {
			t.Errorf("#2 was told %d times of %d circles", f.posts, round+1)
		}
		if _, err := e.Locks.LeaveAll(t.Context(), lockPull(pr(1))); err != nil {
			t.Fatal(err)
		}
	}
}

// flaky is a forge that does not take the first status of a state that is not pending.
type flaky struct {
	*guarding
	failed bool
}

func (f *flaky) SetStatus(ctx context.Context, r vcs.Repo, sha string, s vcs.Status) error {
	if s.State != vcs.Pending && !f.failed {
		f.failed = true
		return errors.New("502")
	}
	return f.guarding.SetStatus(ctx, r, sha, s)
}

// One error of the forge leaves no status pending.
func TestAStatusIsWrittenInTheEnd(t *testing.T) {
	t.Parallel()
	f := &flaky{guarding: newGuarding()}
	e := engineOn(t, f)
	it := e.comment(t, "ana", "plan", 5)
	r := journal.Run{ID: e.Journal.NewRunID(), Event: it.ev.Seq, Pull: pr(1), Command: cmdPlan, State: journal.Running, Started: time.Now(), Head: "a1"}
	jobs := []journal.Job{{Run: r.ID, N: 1, State: journal.JobDone, Job: runner.Job{Project: netA()}, Result: &runner.Summary{End: runner.Failed}}}
	if err := e.Journal.CreateRun(t.Context(), r, jobs); err != nil {
		t.Fatal(err)
	}
	s := scene{item: it, forge: f, site: f.Site(), pull: aPull(1), run: r, stop: t.Context()}
	e.statuses(t.Context(), s, e.pending(s, 1)...)
	if err := e.report(t.Context(), s, jobs, nil); err != nil {
		t.Fatal(err)
	}
	if got := f.statuses["tidegate/plan"]; got.State == vcs.Pending {
		t.Errorf("the run is answered, and its status is %s %q", got.State, got.Description)
	}
}
