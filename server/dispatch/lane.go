package dispatch

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// Why a run is ended before its time, as the cause of its context.
var (
	errSuperseded = errors.New("superseded by a newer push")
	errUnlocked   = errors.New("cancelled by unlock")
	errClosed     = errors.New("the pull request was closed")
)

// lanes keep the events of each pull request in line: those of one are worked on one after the other,
// different ones side by side. The functions are set once, before the first take.
type lanes struct {
	// tell carries an item to its answer; stop ends its jobs before their time.
	tell func(ctx, stop context.Context, it item)
	// drop ends an item that asks for nothing any more.
	drop func(ctx context.Context, it item, why string)
	// may reports whether an item that hurries may end the plan in its way. It asks the forge until it
	// knows, or ctx ends.
	may func(ctx context.Context, it item) bool
	// next is called after a waiter's turn has left its lane.
	next func(ctx context.Context)
	// spawn starts a goroutine that somebody waits for.
	spawn func(func())
	// room is how many commands may wait.
	room room

	mu     sync.Mutex
	let    sync.Cond // signalled when a hold ends
	byPull map[vcs.PullID]*lane
	held   map[vcs.PullID]int
	closed bool
}

// lane is the line of one pull request. It is there as long as something of it is worked on.
type lane struct {
	now   active
	queue []item
}

// item is an event with what it asks for.
type item struct {
	ev  journal.Event
	ask ask
	// beside is the command of the same pull request that changes something at the same time; empty when there is none.
	beside string
	// crowd is why there is no room for it to wait, if there is none; squeezed, that room was made for it.
	crowd    string
	squeezed bool
	// told: its answer is on its way, none of its jobs runs any more.
	told bool
}

// push: an autoplan that stands for the head as it is, as each later one does.
func (i item) push() bool { return i.ask.push() }

// runs: it leads to terraform's running.
func (i item) runs() bool { return i.ask.plans() || i.ask.changes() }

// hurries: it does not stand behind a plan that it may end.
func (i item) hurries() bool { return i.ask.kind == askUnlock || i.ask.kind == askClosed }

// active is the item that is worked on.
type active struct {
	item
	one    context.Context //nolint:containedctx // the context of its jobs, for who may end them
	cancel context.CancelCauseFunc
}

func newLanes(spawn func(func())) *lanes {
	ls := &lanes{spawn: spawn, byPull: map[vcs.PullID]*lane{}, held: map[vcs.PullID]int{}}
	ls.let.L = &ls.mu
	return ls
}

// take puts an item where it belongs: in the pull request's line, at its head, or beside it.
func (ls *lanes) take(ctx context.Context, id vcs.PullID, it item) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return // its event waits for the next start
	}
	l := ls.byPull[id]
	if it.ask.kind == askHelp || it.ask.kind == askWrong || it.ask.kind == askCancel {
		ls.spawn(func() { ls.tell(ctx, ctx, it) })
		return
	}
	if l == nil {
		l = &lane{}
		ls.byPull[id] = l
		one := l.start(ctx, it)
		ls.spawn(func() { ls.drive(ctx, one, id, l) })
		return
	}
	switch it.ask.kind {
	case askUnlock:
		if l.now.ask.changes() && !l.now.told {
			it.beside = l.now.ask.name // refused: what is being changed stays locked
			ls.spawn(func() { ls.tell(ctx, ctx, it) })
			return
		}
		ls.cut(l.now, it, errUnlocked)
	case askClosed:
		ls.cut(l.now, it, errClosed)
	case askPlan:
		if it.push() && !ls.supersede(ctx, l, it) {
			ls.spawn(func() { ls.drop(ctx, it, errSuperseded.Error()) })
			return
		}
	case askNothing, askApply, askMend, askCancel, askHelp, askWrong:
	}
	if !it.hurries() {
		if it.takesRoom() && !it.squeezed && ls.crowd(id) != "" {
			ls.spawn(func() { ls.squeeze(ctx, id, it) })
			return
		}
		l.queue = append(l.queue, it)
		return
	}
	at := slices.IndexFunc(l.queue, func(q item) bool { return !q.hurries() })
	if at < 0 {
		at = len(l.queue)
	}
	l.queue = slices.Insert(l.queue, at, it)
}

// cut ends a plan for an item that hurries, or what follows the answer of an apply for an unlock. Anybody can write a comment, and a close
// can be told of late: only an item that may do so ends what others are waiting for.
func (ls *lanes) cut(now active, it item, why error) {
	if now.ask.plans() || now.told && it.ask.kind == askUnlock {
		ls.spawn(func() {
			if ls.may(now.one, it) {
				now.cancel(why)
			}
		})
	}
}

// clear takes what is meant out of a line, and lets each be told at once.
func (ls *lanes) clear(ctx context.Context, id vcs.PullID, meant func(item) bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byPull[id]
	if l == nil || ls.closed {
		return
	}
	l.queue = slices.DeleteFunc(l.queue, func(q item) bool {
		if meant(q) {
			ls.spawn(func() { ls.tell(ctx, ctx, q) })
			return true
		}
		return false
	})
}

// supersede ends the autoplans that it makes pointless. It reports false when it is pointless itself,
// because a newer one is there.
func (ls *lanes) supersede(ctx context.Context, l *lane, it item) bool {
	newer := func(q item) bool { return q.push() && q.ev.Seq > it.ev.Seq }
	if newer(l.now.item) || slices.ContainsFunc(l.queue, newer) {
		return false
	}
	if l.now.push() {
		l.now.cancel(errSuperseded)
	}
	l.queue = slices.DeleteFunc(l.queue, func(q item) bool {
		if q.push() {
			ls.spawn(func() { ls.drop(ctx, q, errSuperseded.Error()) })
		}
		return q.push()
	})
	return true
}

// start makes it the item that is worked on, and answers the context of its jobs.
func (l *lane) start(ctx context.Context, it item) context.Context {
	one, cancel := context.WithCancelCause(ctx)
	l.now = active{item: it, one: one, cancel: cancel}
	return one
}

// drive works a lane off and goes away with it. one is the context of the item it begins with.
func (ls *lanes) drive(ctx, one context.Context, id vcs.PullID, l *lane) {
	for one != nil {
		it, cancel := l.now.item, l.now.cancel
		if it.runs() {
			ls.await(id)
		}
		ls.tell(ctx, one, it)
		cancel(nil)
		one = ls.advance(ctx, id, l)
		if it.ask.turn != nil {
			ls.next(ctx) // while it was here, nothing was called for what it stood for
		}
	}
}

// advance starts the next item of a lane. It answers nil when there is none, and the lane is gone.
func (ls *lanes) advance(ctx context.Context, id vcs.PullID, l *lane) context.Context {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(l.queue) == 0 || ctx.Err() != nil || ls.closed {
		delete(ls.byPull, id)
		return nil
	}
	it := l.queue[0]
	l.queue = l.queue[1:]
	return l.start(ctx, it)
}

// telling says that an item's answer is on its way: who reads it may ask for what was refused until then.
func (ls *lanes) telling(id vcs.PullID, it item) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.byPull[id]; l != nil && l.now.ev.Seq == it.ev.Seq {
		l.now.told = true
	}
}

// unlocking reports whether somebody who may do so waits in line to unlock.
func (ls *lanes) unlocking(ctx context.Context, id vcs.PullID) bool {
	ls.mu.Lock()
	var line []item
	if l := ls.byPull[id]; l != nil {
		line = slices.Clone(l.queue)
	}
	ls.mu.Unlock()
	return slices.ContainsFunc(line, func(q item) bool { return q.ask.kind == askUnlock && ls.may(ctx, q) })
}

// close lets nothing begin any more. What stands in line waits for the next start.
func (ls *lanes) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.closed = true
}

// hold keeps plans and applies of a pull request from beginning until the returned function is called.
// It reports false when one is worked on.
func (ls *lanes) hold(id vcs.PullID) (end func(), ok bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.byPull[id]; l != nil && l.now.runs() {
		return nil, false
	}
	ls.held[id]++
	return func() {
		ls.mu.Lock()
		defer ls.mu.Unlock()
		if ls.held[id]--; ls.held[id] == 0 {
			delete(ls.held, id)
		}
		ls.let.Broadcast()
	}, true
}

// await waits until nothing holds the pull request.
func (ls *lanes) await(id vcs.PullID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for ls.held[id] > 0 {
		ls.let.Wait()
	}
}

// busy reports whether something of a pull request is in its lane.
func (ls *lanes) busy(id vcs.PullID) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.byPull[id] != nil
}

// coming are the projects that a waiter was called for, as long as its turn is not over.
func (ls *lanes) coming(id vcs.PullID) map[runner.Project]bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	out := map[runner.Project]bool{}
	l := ls.byPull[id]
	if l == nil {
		return out
	}
	for _, it := range append([]item{l.now.item}, l.queue...) {
		for _, p := range it.ask.turn {
			out[p] = true
		}
	}
	return out
}

func pullOf(ev journal.Event) vcs.PullID {
	if ev.Internal != nil {
		return ev.Internal.Pull
	}
	return ev.Event.PullID()
}
