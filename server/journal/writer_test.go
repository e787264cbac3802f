package journal_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/tidegate/tidegate/server/journal"
)

// gate is a hook that stops the writer before a commit until it is opened.
type gate struct {
	reached chan struct{}
	pass    chan struct{}
	commits atomic.Int64
}

func newGate() *gate { return &gate{reached: make(chan struct{}, 1000), pass: make(chan struct{})} }

func (g *gate) hook(point string) {
	switch point {
	case journal.BeforeCommit:
		g.reached <- struct{}{}
		<-g.pass
	case journal.AfterCommit:
		g.commits.Add(1)
	}
}

func gated(t *testing.T) (*journal.Journal, *gate) {
	t.Helper()
	g := newGate()
	return openWith(t, filepath.Join(t.TempDir(), "tidegate.db"), journal.Options{Hook: g.hook}), g
}

type outcome struct {
	seq   uint64
	added bool
	err   error
}

// line puts writers in line behind one whose commit is held, and answers when all of them stand there.
func line(t *testing.T, j *journal.Journal, g *gate, writers ...func() outcome) []chan outcome {
	t.Helper()
	var all []chan outcome
	start := func(w func() outcome) {
		c := make(chan outcome, 1)
		all = append(all, c)
		go func() { c <- w() }()
	}
	start(func() outcome {
		seq, added, err := j.AddEvent(context.Background(), event(0), "first")
		return outcome{seq, added, err}
	})
	<-g.reached
	for i, w := range writers {
		start(w)
		j.WaitForLine(i + 1)
	}
	return all
}

func adder(ctx context.Context, j *journal.Journal, key string, size int) func() outcome {
	return func() outcome {
		ev := event(1)
		ev.Sender = strings.Repeat("x", size)
		seq, added, err := j.AddEvent(ctx, ev, key)
		return outcome{seq, added, err}
	}
}

func TestWritersShareACommit(t *testing.T) {
	t.Parallel()
	j, g := gated(t)
	var writers []func() outcome
	for i := range 50 {
		writers = append(writers, adder(t.Context(), j, fmt.Sprint(i), 1))
	}
	all := line(t, j, g, writers...)
	close(g.pass)
	for i, c := range all {
		if o := <-c; o.err != nil || !o.added || o.seq != uint64(i+1) {
			t.Errorf("writer %d: %+v, want event %d, in the order they came", i, o, i+1)
		}
	}
	if n := g.commits.Load(); n != 2 {
		t.Errorf("%d commits for 1 and 50 writes, want 2", n)
	}
}

// A bad write fails alone, and what it wrote before it failed is not there.
func TestBadWriteFailsAlone(t *testing.T) {
	t.Parallel()
	j, g := gated(t)
	all := line(t, j, g,
		adder(t.Context(), j, "a", 1),
		adder(t.Context(), j, "too large", journal.MaxValue),
		func() outcome { return outcome{err: j.EventDone(context.Background(), 99, "", "")} },
		adder(t.Context(), j, "b", 1),
		adder(t.Context(), j, "a", 1),
	)
	close(g.pass)
	var got []outcome
	for _, c := range all {
		got = append(got, <-c)
	}
	if !errors.Is(got[2].err, journal.ErrTooLarge) || !errors.Is(got[3].err, journal.ErrUnknown) {
		t.Errorf("the bad ones: %v, %v, want ErrTooLarge, ErrUnknown", got[2].err, got[3].err)
	}
	got[2], got[3] = outcome{}, outcome{}
	if want := []outcome{{1, true, nil}, {2, true, nil}, {}, {}, {3, true, nil}, {2, false, nil}}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the others: %v, want %v", got, want)
	}
	c, err := j.Counts(t.Context())
	if err != nil || c.Events != 3 || c.Keys != 3 {
		t.Errorf("Counts() = %+v, %v, want 3 events with 3 keys", c, err)
	}
}

// A caller who gave up learns of its context; the write may still happen, and is then told of.
func TestCancelledWhileInLine(t *testing.T) {
	t.Parallel()
	j, g := gated(t)
	ctx, cancel := context.WithCancel(t.Context())
	all := line(t, j, g, adder(ctx, j, "given up", 1))
	cancel()
	if o := <-all[1]; !errors.Is(o.err, context.Canceled) {
		t.Errorf("AddEvent() = %+v, want context.Canceled", o)
	}
	close(g.pass)
	if o := <-all[0]; o.err != nil {
		t.Errorf("the one before: %v", o.err)
	}
	ok(t, j.Close()) // what stood in line is done
	if n := g.commits.Load(); n != 2 {
		t.Errorf("%d commits, want 2", n)
	}
	select {
	case <-j.Arrived():
	default:
		t.Error("nobody was told of the event")
	}
}

func TestCloseDrains(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	g := newGate()
	db := openDB(t, path)
	j, err := journal.OpenWith(db, journal.Options{Hook: g.hook})
	ok(t, err)
	var writers []func() outcome
	for i := range 20 {
		writers = append(writers, adder(t.Context(), j, fmt.Sprint(i), 1))
	}
	all := line(t, j, g, writers...)
	closed := make(chan error)
	go func() { closed <- j.Close() }()
	j.WaitForClose()
	if o := adder(t.Context(), j, "late", 1)(); !errors.Is(o.err, journal.ErrClosed) {
		t.Errorf("AddEvent() after Close was called = %v, want ErrClosed", o.err)
	}
	close(g.pass)
	ok(t, <-closed)
	for i, c := range all {
		if o := <-c; o.err != nil {
			t.Errorf("writer %d, in line before Close: %v", i, o.err)
		}
	}
	ok(t, db.Close())
	q, err := openWith(t, path, journal.Options{}).Queued(t.Context())
	if err != nil || len(q) != 21 {
		t.Errorf("Queued() = %d, %v, want 21", len(q), err)
	}
}

// Writers of all kinds at once; run with -race.
func TestManyWritersAndReaders(t *testing.T) {
	t.Parallel()
	j := open(t)
	var wg sync.WaitGroup
	for w := range 12 {
		wg.Go(func() {
			for i := range 25 {
				seq, _, err := j.AddEvent(t.Context(), event(w), fmt.Sprintf("%d/%d", w, i/2))
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 1 {
					continue
				}
				r := run(j, w, seq)
				err = errors.Join(
					j.CreateRun(t.Context(), r, []journal.Job{job(r, 1)}),
					j.PutPlan(t.Context(), plan(r.ID, 1, dns())),
					j.PutReport(t.Context(), report(r.ID, i)),
					j.ReportPlans(t.Context(), r.ID, 1, at(1)),
					j.EndRun(t.Context(), r.ID, "done", at(2)),
					j.EventDone(t.Context(), seq, r.ID, ""))
				_, qerr := j.Queued(t.Context())
				_, rerr := j.Runs(t.Context(), journal.Filter{Running: true})
				if err := errors.Join(err, qerr, rerr); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c, err := j.Counts(t.Context())
	if err != nil || c.Events != 12*13 || c.Queued != 0 || c.Runs != 12*13 || c.Running != 0 || c.Plans != 12*13 {
		t.Errorf("Counts() = %+v, %v, want 156 events, runs and plans, nothing queued or running", c, err)
	}
}

// Writes that have no room together are tried one by one: those that have room alone are done.
func TestNoRoomForAll(t *testing.T) {
	t.Parallel()
	g := newGate()
	db := openDB(t, filepath.Join(t.TempDir(), "tidegate.db"))
	j, err := journal.OpenWith(db, journal.Options{Hook: g.hook})
	ok(t, err)
	db.MaxSize = 256 << 10
	var writers []func() outcome
	for i := range 10 {
		writers = append(writers, adder(t.Context(), j, fmt.Sprint(i), 40<<10))
	}
	all := line(t, j, g, writers...)
	close(g.pass)
	done := 0
	for i, c := range all {
		switch o := <-c; {
		case o.err == nil:
			done++
		case !errors.Is(o.err, berrors.ErrMaxSizeReached):
			t.Errorf("writer %d: %v, want done or ErrMaxSizeReached", i, o.err)
		}
	}
	if done < 2 || done == len(all) {
		t.Errorf("%d of %d writes were done, want some", done, len(all))
	}
	db.MaxSize = 0
	if o := adder(t.Context(), j, "room again", 40<<10)(); o.err != nil || o.seq != uint64(done+1) {
		t.Errorf("with room again: %+v, want event %d", o, done+1)
	}
	q, err := j.Queued(t.Context())
	if err != nil || len(q) != done+1 {
		t.Errorf("Queued() = %d, %v, want the %d that were acknowledged", len(q), err, done+1)
	}
	ok(t, j.Close())
}
