package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/tidegate/tidegate/runner"
)

// errStopping is why work ends when the server stops. What it ends is gone on with at the next start.
var errStopping = errors.New("the server is stopping")

// halt is how far a stop has come.
type halt struct {
	// closing ends when nothing may begin any more, hurry when running applies are interrupted.
	closing, hurry context.Context //nolint:containedctx // the life of the engine, not of a call
	close, rush    context.CancelFunc
}

func newHalt() *halt {
	h := &halt{}
	h.closing, h.close = context.WithCancel(context.Background())
	h.hurry, h.rush = context.WithCancel(context.Background())
	return h
}

// drain lets nothing begin, and waits for what runs until the grace is over.
func (e *Engine) drain() {
	e.shut()
	e.lanes.close()
	if e.Options.Grace == 0 {
		return
	}
	done := make(chan struct{})
	go func() {
		e.work.Wait()
		close(done)
	}()
	grace := time.NewTimer(e.Options.Grace)
	defer grace.Stop()
	var rush <-chan time.Time
	if e.Options.InterruptAfter > 0 {
		t := time.NewTimer(e.Options.InterruptAfter)
		defer t.Stop()
		rush = t.C
	}
	for {
		select {
		case <-done:
			return
		case <-rush:
			e.Log.Warn("interrupting the applies that still run")
			e.halt.rush()
		case <-grace.C:
			return
		}
	}
}

// shut lets nothing enter any more.
func (e *Engine) shut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.halt.close()
}

// enter lets a call from outside begin, which Run waits for. It may start more: what comes from outside when Run waits already for
// the last to end may not. It reports false when the engine stops.
func (e *Engine) enter() (end func(), ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.halt.closing.Err() != nil {
		return nil, false
	}
	e.work.Add(1)
	return e.work.Done, true
}

// slot waits for a slot, as long as anything may begin.
func (e *Engine) slot(s scene) (give func(), err error) {
	if s.stop.Err() != nil {
		return nil, context.Cause(s.stop)
	}
	ctx, end := e.untilClosing(s.stop)
	defer end()
	give, err = e.slots.take(ctx, s.pull.ID(), s.ask.rank())
	if err == nil && e.halt.closing.Err() != nil {
		give()
		return nil, errStopping
	}
	return give, err
}

// rest waits before something is tried again. Its error says that it is not to be: the server stops.
func (e *Engine) rest(ctx context.Context, d time.Duration) error {
	ctx, end := e.untilClosing(ctx)
	defer end()
	return sleep(ctx, d)
}

// untilClosing is a context that ends when nothing may begin any more, too. end must be called.
func (e *Engine) untilClosing(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	unwatch := context.AfterFunc(e.halt.closing, func() { cancel(errStopping) })
	return ctx, func() {
		unwatch()
		cancel(nil)
	}
}

// ending is the context that ends early what runs and changes something. What mends a state is not ended: a lock that is half
// broken, or a state that is half stored, would be worse, and neither takes long.
func (s scene) ending() context.Context {
	if s.ask.kind == askMend {
		return context.WithoutCancel(s.stop)
	}
	return s.stop
}

// detachable runs an apply, or waits for one, in a goroutine that ends with the process: when the server
// stops, it is left running. f's context ends only when running applies are interrupted, or this one is cancelled; not at all for
// a stop that never ends.
func (e *Engine) detachable(ctx, stop context.Context, f func(context.Context) (runner.Result, error)) (runner.Result, error) {
	type end struct {
		res runner.Result
		err error
	}
	ended := make(chan end, 1)
	go func() {
		calm, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		if stop.Done() != nil { // what is never ended early is not when the server stops, either
			defer context.AfterFunc(e.halt.hurry, cancel)() //nolint:contextcheck // a stop of the engine, not a context to inherit
		}
		defer context.AfterFunc(stop, func() {
			if isCancelled(stop) {
				cancel()
			}
		})()
		var got end
		got.err = guarded(func() (err error) {
			got.res, err = f(calm)
			return err
		})
		ended <- got
	}()
	select {
	case got := <-ended:
		return got.res, got.err
	case <-ctx.Done():
		return runner.Result{}, errDetached
	}
}
