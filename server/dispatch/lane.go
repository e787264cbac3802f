package dispatch

import (
	"context"
	"errors"
	"slices"

	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// Why a run is ended before its time, as the cause of its context.
var (
	errSuperseded = errors.New("superseded by a newer push")
	errUnlocked   = errors.New("cancelled by unlock")
	errClosed     = errors.New("the pull request was closed")
)

// lane is where the events of one pull request stand in line. Only Engine.mu guards it.
type lane struct {
	queue []item
	now   *active // nil when nothing runs
}

type item struct {
	ev  journal.Event
	ask ask
	// beside: an apply of the same pull request runs at the same time.
	beside bool
}

// active is the item that is worked on.
type active struct {
	item
	cancel context.CancelCauseFunc
}

// take puts an event where it belongs: in the pull request's line, at its head, or beside it.
func (e *Engine) take(ctx context.Context, ev journal.Event) {
	it := item{ev: ev, ask: e.read(ev)}
	if it.ask.kind == askNothing {
		e.spawn(func() { e.drop(ctx, it, it.ask.why) })
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	id := pullOf(ev)
	l := e.lanes[id]
	switch it.ask.kind {
	case askHelp, askWrong:
		e.spawn(func() { e.tell(ctx, ctx, it) })
		return
	case askUnlock:
		if l != nil && l.now != nil {
			if l.now.ask.kind == askApply {
				it.beside = true // refused: what is being applied stays locked
				e.spawn(func() { e.tell(ctx, ctx, it) })
				return
			}
			l.now.cancel(errUnlocked)
		}
	case askClosed:
		if l != nil && l.now != nil && l.now.ask.plans() {
			l.now.cancel(errClosed)
		}
	case askPlan:
		if it.ask.auto && it.ask.turn == nil && l != nil {
			e.supersede(ctx, l)
		}
	case askNothing, askApply:
	}
	if l == nil {
		l = &lane{}
		e.lanes[id] = l
		e.spawn(func() { e.drive(ctx, id, l) })
	}
	if it.ask.kind == askUnlock || it.ask.kind == askClosed {
		at := slices.IndexFunc(l.queue, func(q item) bool { return q.ask.kind != askUnlock && q.ask.kind != askClosed })
		if at < 0 {
			at = len(l.queue)
		}
		l.queue = slices.Insert(l.queue, at, it)
		return
	}
	l.queue = append(l.queue, it)
}

// supersede ends the autoplans that a newer push makes pointless.
func (e *Engine) supersede(ctx context.Context, l *lane) {
	old := func(i item) bool { return i.ask.plans() && i.ask.auto && i.ask.turn == nil }
	if l.now != nil && old(l.now.item) {
		l.now.cancel(errSuperseded)
	}
	for _, it := range l.queue {
		if old(it) {
			e.spawn(func() { e.drop(ctx, it, errSuperseded.Error()) })
		}
	}
	l.queue = slices.DeleteFunc(l.queue, old)
}

// drive works a lane off and goes away with it.
func (e *Engine) drive(ctx context.Context, id vcs.PullID, l *lane) {
	for {
		e.mu.Lock()
		l.now = nil
		if len(l.queue) == 0 || ctx.Err() != nil {
			delete(e.lanes, id)
			e.mu.Unlock()
			return
		}
		it := l.queue[0]
		l.queue = l.queue[1:]
		one, cancel := context.WithCancelCause(ctx)
		l.now = &active{item: it, cancel: cancel}
		e.mu.Unlock()
		e.tell(ctx, one, it)
		cancel(nil)
	}
}

// busy reports whether an apply of that pull request is being worked on.
func (e *Engine) busy(id vcs.PullID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[id]
	return l != nil && l.now != nil && l.now.ask.kind == askApply
}

// called reports whether a waiter's turn is already queued or running.
func (e *Engine) called(id vcs.PullID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.lanes[id]
	if l == nil {
		return false
	}
	turn := func(i item) bool { return i.ask.turn != nil }
	return (l.now != nil && turn(l.now.item)) || slices.ContainsFunc(l.queue, turn)
}

func pullOf(ev journal.Event) vcs.PullID {
	if ev.Internal != nil {
		return ev.Internal.Pull
	}
	return ev.Event.PullID()
}
