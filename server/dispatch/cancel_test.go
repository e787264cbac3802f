package dispatch

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/command"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// The process dies right after a cancel is on disk: what it meant never begins, whatever was decided before.
func TestACancelOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	f := newGuarding()
	e := engineOn(t, f)
	e.planRun(t, netA(), netB())
	apply := e.comment(t, "ana", "apply -d a", 5)
	r := journal.Run{ID: e.Journal.NewRunID(), Event: apply.ev.Seq, Pull: pr(1), Command: cmdApply, State: journal.Running, Started: time.Now(), Head: "a1"}
	must(t, e.Journal.CreateRun(t.Context(), r, []journal.Job{{Run: r.ID, N: 1, State: journal.JobQueued, Job: runner.Job{Action: runner.Apply, Project: netA()}}}))
	waits := e.comment(t, "ana", "apply -d b", 6)
	cancel := e.comment(t, "ana", "cancel", 7)
	ctx, die := context.WithCancel(t.Context())
	e.Hook = func(point string) {
		if point == AtCancelled {
			die()
		}
	}
	e.tell(ctx, ctx, cancel)
	if len(f.comments) != 0 {
		t.Fatalf("the process that died has answered: %q", f.comments[0].Body)
	}
	e.Hook = func(string) {}
	for _, it := range []item{apply, waits, cancel} {
		e.tell(t.Context(), t.Context(), it)
	}
	for i, want := range []string{"### Apply for `a`: cancelled\n", "### Apply not run: cancelled by `ana`\n", "### Cancelled: 1 project not begun, 1 command dropped\n"} {
		if i >= len(f.comments) || !strings.HasPrefix(f.comments[i].Body, want) {
			t.Errorf("answer %d of %d is not %q: %v", i+1, len(f.comments), want, f.comments)
		}
	}
	if jobs, err := e.Journal.Jobs(t.Context(), r.ID); err != nil || jobs[0].Result == nil || jobs[0].Result.End != runner.Cancelled {
		t.Errorf("the job is %+v, %v, want it cancelled", jobs, err)
	}
}

func TestARefusedCancelEndsNothing(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	apply, cancel := e.comment(t, "ana", "apply", 5), e.comment(t, "mallory", "cancel", 6)
	e.tell(t.Context(), t.Context(), cancel)
	by, err := e.cancels(t.Context(), scene{item: apply, pull: aPull(1)})
	if err != nil || len(by) != 0 {
		t.Errorf("a cancel that was refused stands in the way: %v, %v", by, err)
	}
}

func TestIsBefore(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	older, cancel, newer := e.comment(t, "ana", "apply", 5), e.comment(t, "ana", "cancel", 6), e.comment(t, "ana", "apply", 7)
	at := time.Now()
	for _, it := range []*item{&older, &cancel, &newer} {
		it.ask.comment.CreatedAt = at
	}
	run := journal.Run{Event: cancel.ev.Seq, CommentID: 6, CommentAt: at}
	late := older
	late.ev.Seq = newer.ev.Seq + 1 // its webhook came last
	push := func(seq uint64) item { return item{ev: journal.Event{Seq: seq}, ask: aPush()} }
	for name, tt := range map[string]struct {
		it   item
		want bool
	}{
		"older": {older, true}, "newer": {newer, false}, "itself": {cancel, false}, "told late": {late, true},
		"an older push": {push(cancel.ev.Seq - 1), true}, "a newer push": {push(cancel.ev.Seq + 1), false},
	} {
		if got := isBefore(tt.it, run); got != tt.want {
			t.Errorf("isBefore(%s) = %v, want %v", name, got, tt.want)
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cancel journal.Target
		cmd    command.Command
		want   bool
	}{
		{journal.Target{}, command.Command{Dir: "a"}, true},
		{journal.Target{}, command.Command{}, true},
		{journal.Target{Dir: "a"}, command.Command{}, false},
		{journal.Target{Dir: "a"}, command.Command{Dir: "a", Workspace: "prod"}, true},
		{journal.Target{Dir: "a", Workspace: "prod"}, command.Command{Dir: "a"}, false},
		{journal.Target{Dir: "a"}, command.Command{Dir: "b"}, false},
		{journal.Target{Project: "net"}, command.Command{Project: "net"}, true},
		{journal.Target{Dir: "a"}, command.Command{Project: "net"}, false},
	} {
		if got := covers(journal.Run{Cancels: &tt.cancel}, tt.cmd); got != tt.want {
			t.Errorf("covers(%+v, %+v) = %v, want %v", tt.cancel, tt.cmd, got, tt.want)
		}
	}
}

func TestCancelStandsBesideAndClearsTheLine(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, anApply())
		s.add(1, 2, aPlan())
		s.add(1, 3, anApply())
		s.add(1, 4, ask{kind: askCancel})
		s.want("begin 1", "begin 4")
		s.clear(s.ctx, pr(1), func(it item) bool { return it.ask.plans() })
		synctest.Wait()
		s.finish(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.log) != 4 || s.log[2] != "begin 2" || s.log[3] != "begin 3" {
			s.t.Errorf("what happened: %q, want the plan told at once and the apply in its turn", s.log)
		}
	})
}

// A cancel interrupts an apply; that the server stops does not.
func TestOnlyACancelInterruptsAnApply(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	for why, want := range map[error]bool{errCancelled: true, errStopping: false, errSuperseded: false} {
		stop := over(t.Context(), why)
		ctx, leave := context.WithCancel(t.Context())
		interrupted := make(chan struct{})
		_, err := e.detachable(ctx, stop, func(calm context.Context) (runner.Result, error) {
			if !want {
				leave() // nobody waits for it any more: it is left running
			}
			<-calm.Done()
			close(interrupted)
			return runner.Result{}, nil
		})
		leave()
		if got := err == nil; got != want {
			t.Errorf("stopped by %q: detachable = %v, want it interrupted: %v", why, err, want)
		}
		e.halt.rush()
		<-interrupted
		e.halt = newHalt()
	}
}

// When a stop interrupts what runs, what mends a state goes on.
func TestAStopInterruptsNoMend(t *testing.T) {
	t.Parallel()
	for kind, want := range map[askKind]bool{askApply: true, askMend: false} {
		synctest.Test(t, func(t *testing.T) {
			e := &Engine{halt: newHalt()}
			stop, end := context.WithCancel(t.Context())
			defer end()
			s := scene{item: item{ask: ask{kind: kind}}, stop: stop}
			_, _ = e.detachable(t.Context(), s.ending(), func(calm context.Context) (runner.Result, error) {
				e.halt.rush()
				synctest.Wait()
				if got := calm.Err() != nil; got != want {
					t.Errorf("kind %v is interrupted: %v, want %v", kind, got, want)
				}
				return runner.Result{}, nil
			})
		})
	}
}

// What was cancelled in line is dropped before anything is taken for it: it does not come to stand in the line for a lock.
func TestWhatIsCancelledTakesNoPlaceInLine(t *testing.T) {
	e, f, r := onRepo(t)
	p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
	f.pull = func(int) (vcs.Pull, error) { return p, nil }
	_, err := e.Locks.Acquire(t.Context(), locking.Request{Pull: lockPull(pr(2)), Keys: []locking.Key{lockKey(p.Repo.ID, network())}})
	must(t, err)
	addComment(t, e, 1, 5, "plan")
	addComment(t, e, 1, 6, "cancel -d network")
	items := e.items(t)
	e.tell(t.Context(), t.Context(), items[1])
	e.tell(t.Context(), t.Context(), items[0])
	if said := bodies(f.scripted); !strings.Contains(said, "- Left in line: `plan` of ") || !strings.Contains(said, "### Plan for `network`: cancelled\n") {
		t.Errorf("the answers:\n%s", said)
	}
	if waiting, err := e.Locks.Waiters(t.Context()); err != nil || len(waiting) > 0 {
		t.Errorf("in line for the lock: %+v, %v, want nobody", waiting, err)
	}
}

// What mends a state is not stopped half way, whoever cancels it.
func TestACancelDoesNotStopAMend(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	for kind, want := range map[askKind]bool{askApply: true, askMend: false} {
		s := scene{item: item{ask: ask{kind: kind}}, stop: over(t.Context(), errCancelled)}
		if got := isCancelled(s.ending()); got != want {
			t.Errorf("kind %v ends with a cancel: %v, want %v", kind, got, want)
		}
		row, _ := e.cancelRow(s, s.item, journal.Job{State: journal.JobRunning})
		if got := row.What == templates.CancelStopped; got != want {
			t.Errorf("kind %v is told as %q", kind, row.What)
		}
	}
}

func TestMayCover(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cancel journal.Target
		cmd    command.Command
		want   bool
	}{
		{journal.Target{Dir: "a"}, command.Command{}, true},
		{journal.Target{Project: "net"}, command.Command{}, true},
		{journal.Target{Project: "net"}, command.Command{Project: "web"}, false},
		{journal.Target{Project: "net"}, command.Command{Dir: "a"}, true},
		{journal.Target{Dir: "a"}, command.Command{Project: "net"}, true},
		{journal.Target{Dir: "a"}, command.Command{Dir: "b"}, false},
		{journal.Target{Dir: "a", Workspace: "prod"}, command.Command{Dir: "a"}, true},
		{journal.Target{Workspace: "prod"}, command.Command{Dir: "a", Workspace: "dev"}, false},
	} {
		if got := mayCover(journal.Run{Cancels: &tt.cancel}, tt.cmd); got != tt.want {
			t.Errorf("mayCover(%+v, %+v) = %v, want %v", tt.cancel, tt.cmd, got, tt.want)
		}
	}
}
