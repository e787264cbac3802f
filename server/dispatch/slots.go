package dispatch

import (
	"context"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/vcs"
)

// rank orders those who wait for a slot: applies before plans, commands before autoplans.
type rank int

const (
	rankApply rank = iota
	rankCommand
	rankAutoplan
)

// slots hands out the places in which terraform may run. There are n of them, of which at most n-1
// (but at least one) go to applies. Among equals the pull request that has the fewest running jobs
// goes first, then whoever asked first.
type slots struct {
	mu      sync.Mutex
	free    int
	applies int // applies that may still start
	running map[vcs.PullID]int
	waiting []*ticket
	seq     uint64
}

type ticket struct {
	pull  vcs.PullID
	rank  rank
	seq   uint64
	ready chan struct{}
}

func newSlots(n int) *slots {
	n = max(n, 1)
	return &slots{free: n, applies: max(n-1, 1), running: map[vcs.PullID]int{}}
}

// take waits for a slot. The returned function gives it back and must be called once.
func (s *slots) take(ctx context.Context, pull vcs.PullID, r rank) (func(), error) {
	s.mu.Lock()
	s.seq++
	t := &ticket{pull: pull, rank: r, seq: s.seq, ready: make(chan struct{})}
	s.waiting = append(s.waiting, t)
	s.grant()
	s.mu.Unlock()

	select {
	case <-t.ready:
		return func() { s.give(t) }, nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	if i := slices.Index(s.waiting, t); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.mu.Unlock()
		return nil, context.Cause(ctx)
	}
	s.mu.Unlock()
	s.give(t) // granted in the same moment
	return nil, context.Cause(ctx)
}

func (s *slots) give(t *ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if t.rank == rankApply {
		s.applies++
	}
	if s.running[t.pull]--; s.running[t.pull] <= 0 {
		delete(s.running, t.pull)
	}
	s.grant()
}

func (s *slots) grant() {
	for s.free > 0 {
		best := -1
		for i, t := range s.waiting {
			if t.rank == rankApply && s.applies == 0 {
				continue
			}
			if best < 0 || s.before(t, s.waiting[best]) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		t := s.waiting[best]
		s.waiting = slices.Delete(s.waiting, best, best+1)
		s.free--
		if t.rank == rankApply {
			s.applies--
		}
		s.running[t.pull]++
		close(t.ready)
	}
}

func (s *slots) before(a, b *ticket) bool {
	switch {
	case a.rank != b.rank:
		return a.rank < b.rank
	case s.running[a.pull] != s.running[b.pull]:
		return s.running[a.pull] < s.running[b.pull]
	default:
		return a.seq < b.seq
	}
}

// counts is how many jobs run and how many wait for a slot.
func (s *slots) counts() (running, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.running {
		running += n
	}
	return running, len(s.waiting)
}
