package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
)

// stand is a set of lanes whose items are worked on until the test lets them go.
type stand struct {
	*lanes
	t    *testing.T
	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	log     []string
	running map[uint64]chan struct{}
	cause   map[uint64]context.Context
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{t: t, running: map[uint64]chan struct{}{}, cause: map[uint64]context.Context{}}
	s.ctx, s.stop = context.WithCancel(t.Context())
	s.lanes = newLanes(s.work.Go)
	s.tell = func(_, stop context.Context, it item) {
		done := make(chan struct{})
		s.mu.Lock()
		word := fmt.Sprintf("begin %d", it.ev.Seq)
		if it.beside != "" {
			word += " beside " + it.beside
		}
		s.log = append(s.log, word)
		s.running[it.ev.Seq], s.cause[it.ev.Seq] = done, stop
		s.mu.Unlock()
		<-done
	}
	s.drop = func(_ context.Context, it item, _ string) { s.say("drop %d", it.ev.Seq) }
	s.next = func(context.Context) { s.say("next") }
	s.may = func(context.Context, item) bool { return true }
	return s
}

func (s *stand) say(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, a...))
}

// add takes an event of pull request n and waits until nothing moves any more.
func (s *stand) add(n int, seq uint64, a ask) {
	s.take(s.ctx, pr(n), item{ev: journal.Event{Seq: seq}, ask: a})
	synctest.Wait()
}

// finish lets an item come to its end.
func (s *stand) finish(seq uint64) {
	s.mu.Lock()
	done := s.running[seq]
	s.mu.Unlock()
	close(done)
	synctest.Wait()
}

// cut is why the jobs of an item were ended.
func (s *stand) cut(seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return context.Cause(s.cause[seq])
}

func (s *stand) want(words ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.log, words) {
		s.t.Errorf("what happened: %s\nwant:          %s", strings.Join(s.log, ", "), strings.Join(words, ", "))
	}
}

func aPush() ask   { return ask{kind: askPlan, auto: true} }
func aPlan() ask   { return ask{kind: askPlan} }
func anApply() ask { return ask{kind: askApply, name: cmdApply} }

func aTurn() ask {
	return ask{kind: askPlan, auto: true, turn: []runner.Project{{Dir: "network", Workspace: "default"}}}
}

// inLanes runs a test in a bubble, and lets everything end after it.
func inLanes(t *testing.T, f func(*stand)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t)
		f(s)
		s.stop()
		s.mu.Lock()
		for _, done := range s.running {
			select {
			case <-done:
			default:
				close(done)
			}
		}
		s.mu.Unlock()
		s.work.Wait()
		s.lanes.mu.Lock()
		defer s.lanes.mu.Unlock()
		if len(s.byPull) != 0 {
			t.Errorf("%d lanes are left", len(s.byPull))
		}
	})
}

func TestLanesAreSerialInsideAndParallelAcross(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, aPlan())
		s.add(1, 2, anApply())
		s.add(2, 3, aPlan())
		s.want("begin 1", "begin 3")
		s.finish(1)
		s.want("begin 1", "begin 3", "begin 2")
		s.finish(2)
		s.add(1, 4, aPlan())
		s.want("begin 1", "begin 3", "begin 2", "begin 4")
	})
}

func TestHelpWaitsForNothing(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, anApply())
		s.add(1, 2, ask{kind: askHelp})
		s.add(1, 3, ask{kind: askWrong})
		s.want("begin 1", "begin 2", "begin 3")
	})
}

func TestUnlockEndsAPlanAndGoesFirst(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, aPlan())
		s.add(1, 2, anApply())
		s.add(1, 3, ask{kind: askUnlock})
		s.add(1, 4, ask{kind: askClosed})
		if got := s.cut(1); got != errUnlocked { //nolint:errorlint // the very one
			s.t.Errorf("the plan was ended by %v, want %v", got, errUnlocked)
		}
		s.finish(1)
		s.finish(3)
		s.finish(4)
		s.want("begin 1", "begin 3", "begin 4", "begin 2")
	})
}

func TestAPlanIsNotEndedByWhoMayNot(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.may = func(context.Context, item) bool { return false }
		s.add(1, 1, aPlan())
		s.add(1, 2, ask{kind: askUnlock})
		s.add(1, 3, ask{kind: askClosed})
		if got := s.cut(1); got != nil {
			s.t.Errorf("the plan was ended by %v", got)
		}
		s.finish(1)
		s.finish(2)
		s.want("begin 1", "begin 2", "begin 3")
	})
}

func TestUnlockDuringAnApplyStandsBesideIt(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, anApply())
		s.add(1, 2, ask{kind: askUnlock})
		s.want("begin 1", "begin 2 beside apply")
		if s.cut(1) != nil {
			s.t.Error("the apply was ended by the unlock")
		}
	})
}

// Who has read an apply's answer is not told that it still runs, however much is left to do behind it.
func TestUnlockAfterTheAnswerOfAnApply(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, anApply())
		s.add(1, 2, anApply())
		s.telling(pr(1), item{ev: journal.Event{Seq: 2}}) // stands in line: nothing of it was told
		s.add(1, 3, ask{kind: askUnlock})
		s.telling(pr(1), item{ev: journal.Event{Seq: 1}})
		s.add(1, 4, ask{kind: askUnlock})
		s.finish(1)
		s.add(2, 5, anApply())
		s.telling(pr(2), item{ev: journal.Event{Seq: 5}})
		s.add(2, 6, anApply())
		s.finish(5)
		s.add(2, 7, ask{kind: askUnlock})
		s.want("begin 1", "begin 3 beside apply", "begin 4", "begin 5", "begin 6", "begin 7 beside apply")
	})
}

// An apply that an earlier process began is the first that is taken: it counts before its goroutine runs.
func TestUnlockRightBehindAnApply(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.take(s.ctx, pr(1), item{ev: journal.Event{Seq: 1}, ask: anApply()})
		s.add(1, 2, ask{kind: askUnlock})
		s.mu.Lock()
		defer s.mu.Unlock()
		if !slices.Contains(s.log, "begin 2 beside apply") {
			s.t.Errorf("what happened: %q, want the unlock beside the apply", s.log)
		}
	})
}

func TestCloseEndsAPlanAndWaitsForAnApply(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, aPlan())
		s.add(1, 2, ask{kind: askClosed})
		if got := s.cut(1); got != errClosed { //nolint:errorlint // the very one
			s.t.Errorf("the plan was ended by %v, want %v", got, errClosed)
		}
		s.add(2, 3, anApply())
		s.add(2, 4, anApply())
		s.add(2, 5, ask{kind: askClosed})
		if s.cut(3) != nil {
			s.t.Error("the apply was ended by the close")
		}
		s.finish(3)
		s.want("begin 1", "begin 3", "begin 5")
	})
}

func TestAPushSupersedesThePushBefore(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, aPush())
		s.add(1, 2, aPush())
		s.add(1, 3, aPush())
		if got := s.cut(1); got != errSuperseded { //nolint:errorlint // the very one
			s.t.Errorf("the first was ended by %v, want %v", got, errSuperseded)
		}
		s.finish(1)
		s.want("begin 1", "drop 2", "begin 3")
	})
}

func TestAnOlderPushNeverReplacesANewerOne(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 5, aPush())
		s.add(1, 4, aPush())
		if s.cut(5) != nil {
			s.t.Error("the newer push was ended by the older one")
		}
		s.want("begin 5", "drop 4")
	})
}

func TestAPushLeavesCommandsAndTurnsAlone(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, aPlan())
		s.add(1, 2, aTurn())
		s.add(1, 3, aPush())
		if s.cut(1) != nil {
			s.t.Error("a plan that was asked for was ended by a push")
		}
		s.finish(1)
		s.finish(2)
		s.want("begin 1", "begin 2", "next", "begin 3")
	})
}

func TestHoldKeepsAppliesFromBeginning(t *testing.T) {
	inLanes(t, func(s *stand) {
		end, ok := s.hold(pr(1))
		if !ok {
			s.t.Fatal("a quiet pull request can't be held")
		}
		s.add(1, 1, anApply())
		s.add(2, 2, anApply())
		s.want("begin 2")
		end()
		synctest.Wait()
		s.want("begin 2", "begin 1")
		if _, ok := s.hold(pr(1)); ok {
			s.t.Error("held while an apply is worked on")
		}
		s.finish(1)
		if end, ok = s.hold(pr(1)); !ok {
			s.t.Error("not held after the apply")
		} else {
			end()
		}
	})
}

func TestATurnIsKnownUntilItsLaneHasLeftIt(t *testing.T) {
	inLanes(t, func(s *stand) {
		known := map[string]bool{}
		s.next = func(context.Context) { known["when called again"] = len(s.coming(pr(1))) > 0 }
		s.add(1, 1, aPlan())
		s.add(1, 2, aTurn())
		known["queued"] = s.coming(pr(1))[aTurn().turn[0]]
		s.finish(1)
		known["running"] = s.coming(pr(1))[aTurn().turn[0]]
		s.finish(2)
		for when, want := range map[string]bool{"queued": true, "running": true, "when called again": false} {
			got, asked := known[when]
			if !asked || got != want {
				s.t.Errorf("%s: the turn is known: %v (asked: %v), want %v", when, got, asked, want)
			}
		}
		if len(s.coming(pr(2))) != 0 {
			s.t.Error("a turn of another pull request is known")
		}
	})
}

func TestWhenTheServerStopsTheQueueStays(t *testing.T) {
	inLanes(t, func(s *stand) {
		s.add(1, 1, aPlan())
		s.add(1, 2, anApply())
		s.stop()
		s.finish(1)
		s.want("begin 1")
	})
}
