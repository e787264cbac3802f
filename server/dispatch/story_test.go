package dispatch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// small is a forge with one open pull request, on which everything may be said.
type small struct {
	*scripted
	pull func(n int) (vcs.Pull, error)
	may  func() (vcs.Permission, error)
}

func newSmall() *small {
	f := &small{scripted: &scripted{script: []func(*scripted, string) (vcs.Comment, error){takes}}}
	f.pull = func(n int) (vcs.Pull, error) { return aPull(n), nil }
	f.may = func() (vcs.Permission, error) { return vcs.WritePermission, nil }
	return f
}

func aPull(n int) vcs.Pull {
	r := vcs.Repo{ID: pr(n).Repo, Owner: "acme", Name: "infra"}
	return vcs.Pull{Repo: r, Number: n, State: vcs.Open, Head: vcs.Branch{Repo: r.ID, Ref: "one", SHA: "a1"}, Base: vcs.Branch{Repo: r.ID, Ref: "main", SHA: "b1"}}
}

func (f *small) Pull(_ context.Context, _ vcs.Repo, n int) (vcs.Pull, error)          { return f.pull(n) }
func (f *small) SetStatus(context.Context, vcs.Repo, string, vcs.Status) error        { return nil }
func (f *small) Permission(context.Context, vcs.Repo, string) (vcs.Permission, error) { return f.may() }
func (f *small) EditComment(context.Context, vcs.Pull, int64, string) error           { return nil }
func (f *small) DeleteComment(context.Context, vcs.Pull, int64) error                 { return nil }
func (f *small) Site() vcs.Site {
	return vcs.Site{
		Instance: "f", Account: "Tide-Bot", CommentLimit: 60_000, NoSlashCommands: true,
		PullRef:   func(n int) string { return fmt.Sprintf("#%d", n) },
		PullURL:   func(vcs.Repo, int) string { return "https://f/pull" },
		CommitURL: func(vcs.Repo, string) string { return "https://f/commit" },
		FileURL:   func(vcs.Repo, string, string, int) string { return "https://f/file" },
	}
}

// bench is an engine in a test of its own.
type bench struct {
	t *testing.T
	*Engine
}

// onSmall runs an engine on a small forge until everything queued is done, and stops it.
func onSmall(t *testing.T, f *small, prepare, check func(bench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := engine(t)
		defer func() { _ = e.Journal.Close() }()
		e.Forges = map[string]vcs.Forge{"f": f}
		e.Runner = runner.New(runner.Config{Self: "/bin/false", Data: e.Options.Data, Environ: []string{}})
		prepare(bench{t, e})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		pass(time.Hour)
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		check(bench{t, e})
	})
}

func addComment(t *testing.T, e *Engine, n int, id int64, text string) uint64 {
	t.Helper()
	ev := vcs.Event{Kind: vcs.Commented, Repo: aPull(n).Repo, Pull: n, Sender: "ana", Comment: &vcs.Comment{ID: id, Author: "ana", Body: text, CreatedAt: time.Now()}}
	seq, _, err := e.Journal.AddEvent(t.Context(), ev, ev.Key())
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func queued(t *testing.T, e *Engine) int {
	t.Helper()
	list, err := e.Journal.Queued(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A panic while one event is carried is that event's own trouble: it is answered, and the next is worked on.
func TestAPanicIsAnswered(t *testing.T) {
	f := newSmall()
	calls := 0
	f.pull = func(n int) (vcs.Pull, error) {
		if calls++; n == 1 && calls <= 3 {
			panic("poisoned")
		}
		return aPull(n), nil
	}
	onSmall(t, f, func(e bench) {
		addComment(e.t, e.Engine, 1, 1, "unlock")
	}, func(e bench) {
		if n := strings.Count(bodies(f.scripted), "Internal error"); n != 1 || f.posts != 1 {
			e.t.Errorf("%d comments, %d of them of an internal error, want one\n%s", f.posts, n, bodies(f.scripted))
		}
		if n := queued(e.t, e.Engine); n != 0 {
			e.t.Errorf("%d events are left", n)
		}
	})
}

// A pull request that the forge does not show any more must not be called again and again.
func TestAWaiterThatIsGoneLeavesTheLine(t *testing.T) {
	f := newSmall()
	f.pull = func(n int) (vcs.Pull, error) {
		return vcs.Pull{}, fmt.Errorf("pull request %d: %w", n, vcs.ErrNotFound)
	}
	key := lockKey(pr(1).Repo, runner.Project{Dir: "network", Workspace: "default"})
	onSmall(t, f, func(e bench) {
		for _, n := range []int{1, 2} {
			if _, err := e.Locks.Acquire(e.t.Context(), locking.Request{Pull: lockPull(pr(n)), Keys: []locking.Key{key}, Wait: true}); err != nil {
				e.t.Fatal(err)
			}
		}
		if _, err := e.Locks.Release(e.t.Context(), locking.Release{Pull: lockPull(pr(1)), Keys: []locking.Key{key}}); err != nil {
			e.t.Fatal(err)
		}
	}, func(e bench) {
		if w, err := e.Locks.Waiters(context.WithoutCancel(e.t.Context())); err != nil || len(w) != 0 {
			e.t.Errorf("waiters = %v, %v, want none", w, err)
		}
		if n := queued(e.t, e.Engine); n != 0 {
			e.t.Errorf("%d events are left", n)
		}
	})
}

// An apply that was begun and whose records can't be read may have done anything: it is answered as
// unknown, once, its plan is used up, and a new one is made of what is left.
func TestAnApplyThatCanNotBeReadIsUnknown(t *testing.T) {
	f := newSmall()
	network := runner.Project{Dir: "network", Workspace: "default"}
	var plan string
	onSmall(t, f, func(e bench) {
		planned := journal.Run{ID: e.Journal.NewRunID(), Pull: pr(1), Command: cmdPlan, State: journal.RunDone, Started: time.Now()}
		plan = planned.ID + "/1"
		applied := journal.Run{
			ID: e.Journal.NewRunID(), Event: addComment(e.t, e.Engine, 1, 7, "apply"), Pull: pr(1), Command: cmdApply,
			State: journal.Running, Started: time.Now(), Head: "a1",
		}
		for _, err := range []error{
			e.Journal.CreateRun(e.t.Context(), planned, []journal.Job{{Run: planned.ID, N: 1, State: journal.JobDone, PlanID: plan, Job: runner.Job{Project: network}}}),
			e.Journal.PutPlan(e.t.Context(), journal.Plan{ID: plan, Run: planned.ID, N: 1, Pull: pr(1), Project: network, State: journal.PlanReady}),
			e.Journal.CreateRun(e.t.Context(), applied, []journal.Job{{
				Run: applied.ID, N: 1, State: journal.JobRunning, PlanID: plan,
				Job: runner.Job{ID: applied.ID + "/1", Action: runner.Apply, Project: network, Dir: filepath.Join(e.Options.Data, "runs")},
			}}),
		} {
			if err != nil {
				e.t.Fatal(err)
			}
		}
	}, func(e bench) {
		said := bodies(f.scripted)
		if strings.Count(said, "### Apply for ") != 1 || !strings.Contains(said, "unknown") || !strings.Contains(said, "can't be read") {
			e.t.Errorf("want one answer that says unknown and why:\n%s", said)
		}
		if f.posts != 2 || strings.Count(said, "command=plan source=apply:") != 1 {
			e.t.Errorf("%d answers, want one more, to a plan:\n%s", f.posts, said)
		}
		if p, _, err := e.Journal.Plan(context.WithoutCancel(e.t.Context()), plan); err != nil || p.State != journal.PlanStale {
			e.t.Errorf("the plan is %q, %v, want %q", p.State, err, journal.PlanStale)
		}
	})
}

// What had begun before a restart is taken up before what came earlier and had not: it may still run.
func TestBegunRunsAreTakenFirst(t *testing.T) {
	t.Parallel()
	e := engine(t)
	e.Forges = map[string]vcs.Forge{"f": newSmall()}
	var order []uint64
	e.lanes.tell = func(_, _ context.Context, it item) { order = append(order, it.ev.Seq) }
	first := addComment(t, e, 1, 1, "plan")
	second := addComment(t, e, 1, 2, "apply")
	err := e.Journal.CreateRun(t.Context(), journal.Run{ID: e.Journal.NewRunID(), Event: second, Pull: pr(1), Command: cmdApply, State: journal.Running}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.work.Wait()
	if want := []uint64{second, first}; !slices.Equal(order, want) {
		t.Errorf("events were taken in the order %v, want %v", order, want)
	}
	if err := e.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.work.Wait()
	if len(order) != 2 {
		t.Errorf("events were taken again: %v", order)
	}
}

// A plan is ended by who may write and by a close that is true, and the forge is asked until it says so.
func TestMayCut(t *testing.T) {
	t.Parallel()
	unlock, closed := ask{kind: askUnlock, comment: &vcs.Comment{}, user: "ana"}, ask{kind: askClosed}
	for _, tt := range []struct {
		name  string
		ask   ask
		state vcs.PullState
		level vcs.Permission
		want  bool
	}{
		{"an unlock by a writer", unlock, vcs.Open, vcs.WritePermission, true},
		{"an unlock by a reader", unlock, vcs.Open, vcs.ReadPermission, false},
		{"a close", closed, vcs.Merged, vcs.NoPermission, true},
		{"a close that is undone", closed, vcs.Open, vcs.NoPermission, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, f := engine(t), newSmall()
			e.Forges = map[string]vcs.Forge{"f": f}
			e.pace.retry = time.Millisecond
			calls := 0
			f.pull = func(n int) (vcs.Pull, error) {
				if calls++; calls == 1 {
					return vcs.Pull{}, errors.New("away")
				}
				p := aPull(n)
				p.State = tt.state
				return p, nil
			}
			f.may = func() (vcs.Permission, error) { return tt.level, nil }
			it := item{ev: journal.Event{Event: vcs.Event{Repo: aPull(1).Repo, Pull: 1}}, ask: tt.ask}
			if got := e.mayCut(t.Context(), it); got != tt.want {
				t.Errorf("mayCut() = %v, want %v", got, tt.want)
			}
		})
	}
}

// A stop before the engine has begun is a stop like every other.
func TestAStopBeforeTheStart(t *testing.T) {
	t.Parallel()
	e := engine(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := e.Run(ctx); err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
}

// pass lets the time of a synctest bubble go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // nobody waits for it
}

// Who has read the answer of an apply may unlock at once, though its event is not ended yet.
func TestAnUnlockAfterAnAnswerIsNotRefused(t *testing.T) {
	t.Parallel()
	f := newSmall()
	e := engineOn(t, f)
	apply, unlock := e.comment(t, "ana", "apply", 5), e.comment(t, "ana", "unlock", 6)
	f.script = []func(*scripted, string) (vcs.Comment, error){func(f *scripted, body string) (vcs.Comment, error) {
		e.lanes.take(t.Context(), pr(1), unlock)
		return takes(f, body)
	}, takes}
	e.lanes.take(t.Context(), pr(1), apply)
	e.work.Wait()
	if got := bodies(f.scripted); f.posts != 2 || !strings.Contains(got, "### Unlock: this pull request holds no lock") {
		t.Errorf("%d answers, want that of the apply and one that unlocks:\n%s", f.posts, got)
	}
}

// What wakes us differs from forge to forge: the account is another one, and some keep slashes for themselves.
func TestWhatWakesUsIsTheForges(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newSmall())
	for text, want := range map[string]askKind{"@tide-bot plan": askPlan, "@other plan": askNothing, "/plan": askNothing, "plan": askPlan} {
		if got := e.comment(t, "ana", text, 5).ask.kind; got != want {
			t.Errorf("%q asks for %d, want %d", text, got, want)
		}
	}
}

// A forge that shows us nothing for a while, because it is away or an App is suspended, makes no command fail.
func TestWhatAForgeDoesNotShowIsDoneLater(t *testing.T) {
	t.Parallel()
	f := newSmall()
	e := engineOn(t, f)
	e.pace.retry = time.Microsecond
	away := 5
	f.pull = func(n int) (vcs.Pull, error) {
		if away--; away >= 0 {
			return vcs.Pull{}, vcs.ErrRefused
		}
		return aPull(n), nil
	}
	e.tell(t.Context(), t.Context(), e.comment(t, "ana", "help", 5))
	if got := bodies(f.scripted); f.posts != 1 || !strings.HasPrefix(got, "### Commands\n") {
		t.Errorf("%d answers, want the one that was asked for:\n%s", f.posts, got)
	}
}

// A pull request that can't be read is not asked for without end: its event is over, and takes no place in line.
func TestAPullThatCanNotBeReadIsOver(t *testing.T) {
	t.Parallel()
	for _, kind := range []error{vcs.ErrUnusable, vcs.ErrNotFound} {
		f := newSmall()
		e := engineOn(t, f)
		e.pace.retry = time.Microsecond
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		f.pull = func(int) (vcs.Pull, error) {
			if asked++; asked > 30 {
				cancel()
			}
			return vcs.Pull{}, kind
		}
		e.tell(ctx, ctx, e.comment(t, "mallory", "plan", 5))
		if n := len(e.items(t)); ctx.Err() != nil || n != 0 || f.posts != 0 {
			t.Errorf("%v: asked %d times, %d events wait still, %d answers", kind, asked, n, f.posts)
		}
		cancel()
	}
}
