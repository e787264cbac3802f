package dispatch

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// The server is killed between the answer of an apply and the end of its event, and somebody who has read the answer unlocks
// while it is down.
func TestAnUnlockAfterAnAnswerAndARestartIsNotRefused(t *testing.T) {
	f := newSmall()
	onSmall(t, f, func(e bench) {
		seq := addComment(e.t, e.Engine, 1, 5, "apply")
		r := journal.Run{ID: e.Journal.NewRunID(), Event: seq, Pull: pr(1), Command: cmdApply, State: journal.Running, Started: time.Now()}
		j := journal.Job{Run: r.ID, N: 1, State: journal.JobDone, Job: runner.Job{Project: network()}, Result: &runner.Summary{End: runner.Succeeded}}
		must(e.t, e.Journal.CreateRun(e.t.Context(), r, []journal.Job{j}))
		answer := journal.Report{ID: r.ID, Pull: pr(1), Run: r.ID, Kind: kindAnswer, Command: cmdApply, Body: "applied", Comment: 77, Posted: time.Now()}
		must(e.t, e.Journal.PutReport(e.t.Context(), answer))
		addComment(e.t, e.Engine, 1, 6, "unlock")
	}, func(e bench) {
		if said := bodies(f.scripted); f.posts != 1 || !strings.HasPrefix(said, "### Unlock: ") {
			e.t.Errorf("%d answers, want one to the unlock:\n%s", f.posts, said)
		}
	})
}

// watched is a forge on which somebody waits for a status.
type watched struct {
	*small
	sees func(vcs.Status)
}

func (f watched) SetStatus(_ context.Context, _ vcs.Repo, _ string, s vcs.Status) error {
	f.sees(s)
	return nil
}

// Who unlocks at the status of an apply is not told that it still runs, though its answer comes later, whatever that is.
func TestAnUnlockAtTheStatusOfAnApplyIsNotRefused(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(*Engine, context.Context, item){
		"applied": func(e *Engine, ctx context.Context, it item) { e.tell(ctx, ctx, it) },
		"internal error": func(e *Engine, ctx context.Context, it item) {
			must(t, e.apologise(ctx, it, errors.New("something of ours")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newSmall()
			e := engineOn(t, f)
			e.lanes.tell = func(ctx, stop context.Context, it item) {
				if it.ask.kind == askApply {
					tell(e, ctx, it)
					return
				}
				e.tell(ctx, stop, it)
			}
			apply, unlock := e.comment(t, "ana", "apply", 5), e.comment(t, "ana", "unlock", 6)
			plan := e.planRun(t, network())
			must(t, e.Journal.SetPlanState(t.Context(), plan.ID+"/1", journal.PlanApplied, "", ""))
			r := journal.Run{ID: e.Journal.NewRunID(), Event: apply.ev.Seq, Pull: pr(1), Command: cmdApply, State: journal.Running, Started: time.Now(), Head: "a1"}
			must(t, e.Journal.CreateRun(t.Context(), r, []journal.Job{{
				Run: r.ID, N: 1, State: journal.JobDone, PlanID: plan.ID + "/1", Job: runner.Job{Project: network()}, Result: &runner.Summary{End: runner.Succeeded},
			}}))
			once := sync.OnceFunc(func() { e.lanes.take(t.Context(), pr(1), unlock) })
			e.Forges = map[string]vcs.Forge{"f": watched{f, func(vcs.Status) { once() }}}
			e.lanes.take(t.Context(), pr(1), apply)
			e.work.Wait()
			if said := bodies(f.scripted); f.posts != 2 || strings.Contains(said, "Unlock refused") {
				t.Errorf("%d answers, want one to the apply and one to an unlock that is not refused:\n%s", f.posts, said)
			}
		})
	}
}

// An unlock that is refused says what is in its way: a cancel, which stops an apply, does not stop what mends a state.
func TestAnUnlockBesideAMendNamesIt(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"apply":             "### Unlock refused: an apply is running\n",
		"state push -d a":   "### Unlock refused: a state is being stored\n",
		"force-unlock -d a": "### Unlock refused: the lock of a state is being broken\n",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			f := newSmall()
			e := engineOn(t, f)
			runs, goOn := make(chan struct{}), make(chan struct{})
			e.lanes.tell = func(ctx, stop context.Context, it item) {
				if it.ask.changes() {
					close(runs)
					<-goOn
					return
				}
				defer close(goOn)
				e.tell(ctx, stop, it)
			}
			e.lanes.take(t.Context(), pr(1), e.comment(t, "ana", line, 5))
			<-runs
			e.lanes.take(t.Context(), pr(1), e.comment(t, "ana", "unlock", 6))
			e.work.Wait()
			said := bodies(f.scripted)
			if f.posts != 1 || !strings.HasPrefix(said, want) || strings.Contains(said, "`cancel`") != (line == "apply") {
				t.Errorf("%d answers, want one that begins with %q:\n%s", f.posts, want, said)
			}
		})
	}
}

// roomy is a forge that takes many comments at once, and keeps none.
type roomy struct{ *small }

func (roomy) CreateComment(context.Context, vcs.Pull, string) (vcs.Comment, error) {
	return vcs.Comment{ID: 1}, nil
}

// A lock is released from the pages while the server stops: either all of it is done before the engine has ended, or nothing.
func TestReleaseWhileTheServerStops(t *testing.T) {
	t.Parallel()
	for range 10 {
		e := engineOn(t, roomy{newSmall()})
		must(t, e.remember(t.Context(), item{}, aPull(1)))
		const n = 4
		var keys []locking.Key
		for i := range n {
			keys = append(keys, lockKey(pr(1).Repo, runner.Project{Dir: string(rune('a' + i)), Workspace: "default"}))
		}
		_, err := e.Locks.Acquire(t.Context(), locking.Request{Pull: lockPull(pr(1)), Keys: keys})
		must(t, err)
		ctx, stop := context.WithCancel(t.Context())
		t.Cleanup(stop)
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		released := 0
		for i, k := range keys {
			err := e.Release(t.Context(), k.ID(), "ana")
			switch {
			case err == nil:
				released++
			case !errors.Is(err, ErrStopping):
				t.Error(err)
			}
			if i == 0 {
				go stop()
			}
		}
		must(t, <-ended)
		if err := e.Release(t.Context(), keys[0].ID(), "ana"); !errors.Is(err, ErrStopping) {
			t.Errorf("Release in an engine that has ended = %v, want %v", err, ErrStopping)
		}
		held, err := e.Locks.Held(t.Context(), lockPull(pr(1)))
		must(t, err)
		if len(held) != n-released {
			t.Errorf("%d locks are held after %d of %d were released", len(held), released, n)
		}
	}
}
