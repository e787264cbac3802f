package journal

import (
	"context"
	"sync"

	"go.etcd.io/bbolt"
)

// maxBatch is how many writes share a transaction at most.
const maxBatch = 256

// request is one write that stands in line.
type request struct {
	// do may be called more than once, each time in a transaction that knows nothing of the others.
	do func(*bbolt.Tx) error
	// answer has room for one answer.
	answer chan error
}

// writer commits what is in line, in as few transactions as it takes: while one is on its way to the
// disk the next fills up. Nobody waits for company.
type writer struct {
	db   *bbolt.DB
	hook func(string)

	mu     sync.Mutex
	line   []*request
	closed bool
	wake   chan struct{} // capacity 1
	gone   chan struct{} // closed when the goroutine has ended
}

func newWriter(db *bbolt.DB, hook func(string)) *writer {
	w := &writer{db: db, hook: hook, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	go w.run()
	return w
}

// add puts a write in line.
func (w *writer) add(r *request) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	w.line = append(w.line, r)
	w.signal()
	return nil
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// close lets no write in any more and waits for those in line.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.signal()
	w.mu.Unlock()
	<-w.gone
}

func (w *writer) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// take answers the next writes in line; over when there will be none.
func (w *writer) take() (batch []*request, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.line), maxBatch)
	batch = w.line[:n:n]
	if w.line = w.line[n:]; len(w.line) == 0 {
		w.line = nil
	} else {
		w.signal()
	}
	return batch, w.closed && n == 0
}

func (w *writer) run() {
	defer close(w.gone)
	for range w.wake {
		for {
			batch, over := w.take()
			if over {
				return
			}
			if len(batch) == 0 {
				break
			}
			w.commit(batch)
		}
	}
}

// commit carries writes out together. One that fails is carried out once more by itself, so that what
// it is told does not depend on its neighbours; the others go on without it.
func (w *writer) commit(batch []*request) {
	var alone []*request
	for len(batch) > 0 {
		bad := -1
		err := w.update(func(tx *bbolt.Tx) error {
			for i, r := range batch {
				if err := r.do(tx); err != nil {
					bad = i
					return err
				}
			}
			return nil
		})
		if bad >= 0 {
			alone = append(alone, batch[bad])
			batch = append(batch[:bad:bad], batch[bad+1:]...)
			continue
		}
		if err == nil || len(batch) == 1 {
			for _, r := range batch {
				r.answer <- err
			}
		} else {
			alone = append(alone, batch...) // the disk may have room for some of them
		}
		break
	}
	for _, r := range alone {
		r.answer <- w.update(r.do)
	}
}

func (w *writer) update(do func(*bbolt.Tx) error) error {
	err := w.db.Update(func(tx *bbolt.Tx) error {
		if err := do(tx); err != nil {
			return err
		}
		w.hook(BeforeCommit)
		return nil
	})
	if err == nil {
		w.hook(AfterCommit)
	}
	return err
}

// write carries do out in the writer's next transaction and answers after the fsync. When ctx ends
// first it answers ctx's error, and the write may still happen.
//
// do may be called more than once. It must not touch anything outside of it: its answer comes through
// its result.
func write[T any](ctx context.Context, j *Journal, do func(*bbolt.Tx) (T, error)) (T, error) {
	var zero, got T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	r := &request{answer: make(chan error, 1), do: func(tx *bbolt.Tx) (err error) {
		got, err = do(tx)
		return err
	}}
	if err := j.writer.add(r); err != nil {
		return zero, err
	}
	select {
	case err := <-r.answer:
		if err != nil {
			return zero, err
		}
		return got, nil
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

// view reads in a transaction that sees one state of everything.
func view[T any](ctx context.Context, j *Journal, do func(*bbolt.Tx) (T, error)) (got T, err error) {
	if err := ctx.Err(); err != nil {
		return got, err
	}
	if j.writer.isClosed() {
		return got, ErrClosed
	}
	err = j.db.View(func(tx *bbolt.Tx) (err error) {
		got, err = do(tx)
		return err
	})
	return got, err
}
