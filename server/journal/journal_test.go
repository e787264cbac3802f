package journal_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

func openDB(tb testing.TB, path string) *bbolt.DB {
	tb.Helper()
	db, err := journal.OpenFile(path, 5*time.Second)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func open(tb testing.TB) *journal.Journal {
	tb.Helper()
	return openWith(tb, filepath.Join(tb.TempDir(), "tidegate.db"), journal.Options{})
}

func openWith(tb testing.TB, path string, o journal.Options) *journal.Journal {
	tb.Helper()
	j, err := journal.OpenWith(openDB(tb, path), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = j.Close() })
	return j
}

func pull(n int) vcs.PullID {
	return vcs.PullID{Repo: vcs.RepoID{Forge: "github.com", ID: 7}, Number: n}
}

func repo() vcs.Repo {
	return vcs.Repo{ID: pull(0).Repo, Owner: "acme", Name: "infra", URL: "https://github.com/acme/infra"}
}

func at(second int) time.Time { return time.Unix(1_700_000_000+int64(second), 0).UTC() }

func event(n int) vcs.Event {
	return vcs.Event{Kind: vcs.PullPushed, Repo: repo(), Pull: n, Head: "abc", At: at(n)}
}

func add(t *testing.T, j *journal.Journal, n int, key string) uint64 {
	t.Helper()
	seq, _, err := j.AddEvent(t.Context(), event(n), key)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: -want +got\n%s", what, d)
	}
}

func TestSameEventIsAddedOnce(t *testing.T) {
	t.Parallel()
	j := open(t)
	seq, added, err := j.AddEvent(t.Context(), event(1), "k1")
	if seq != 1 || !added || err != nil {
		t.Errorf("AddEvent(k1) = %d, %v, %v, want 1, true", seq, added, err)
	}
	seq, added, err = j.AddEvent(t.Context(), event(2), "k2")
	if seq != 2 || !added || err != nil {
		t.Errorf("AddEvent(k2) = %d, %v, %v, want 2, true", seq, added, err)
	}
	ok(t, j.EventDone(t.Context(), 1, "", "talk"))
	seq, added, err = j.AddEvent(t.Context(), event(3), "k1")
	if seq != 1 || added || err != nil {
		t.Errorf("AddEvent(k1) of one that is done = %d, %v, %v, want 1, false", seq, added, err)
	}
	seq, added, err = j.AddInternal(t.Context(), journal.Internal{Kind: "unlocked", Pull: pull(1)}, "k1")
	if seq != 3 || !added || err != nil {
		t.Errorf("AddInternal(k1) = %d, %v, %v, want 3, true: its keys are not a forge's", seq, added, err)
	}
	if _, _, err := j.AddEvent(t.Context(), event(1), ""); err == nil {
		t.Error("AddEvent() without a key = nil error")
	}
	q, err := j.Queued(t.Context())
	ok(t, err)
	var seqs []uint64
	for _, e := range q {
		seqs = append(seqs, e.Seq)
	}
	want(t, "queued", seqs, []uint64{2, 3})
	if q, err := j.QueuedAfter(t.Context(), 2); err != nil || len(q) != 1 || q[0].Seq != 3 {
		t.Errorf("QueuedAfter(2) = %v, %v, want event 3", q, err)
	}
	if q, err := j.QueuedAfter(t.Context(), 3); err != nil || len(q) != 0 {
		t.Errorf("QueuedAfter(3) = %v, %v, want none", q, err)
	}
	c, err := j.Counts(t.Context())
	ok(t, err)
	if c.Events != 3 || c.Keys != 3 || c.Queued != 2 {
		t.Errorf("Counts() = %+v, want 3 events, 3 keys, 2 queued", c)
	}
}

func TestEventIsKeptAsItCame(t *testing.T) {
	t.Parallel()
	j := open(t)
	ev := event(1)
	ev.Kind, ev.Comment = vcs.Commented, &vcs.Comment{ID: 5, Author: "ada", Body: "plan <&> \u2028 \x01", CreatedAt: at(1)}
	seq, _, err := j.AddEvent(t.Context(), ev, "k")
	ok(t, err)
	got, found, err := j.Event(t.Context(), seq)
	if err != nil || !found {
		t.Fatalf("Event() = %v, %v", found, err)
	}
	want(t, "event", got.Event, ev)
	if got.State != journal.EventQueued || got.Received.IsZero() || got.Internal != nil {
		t.Errorf("Event() = %+v, want it queued and received", got)
	}
	in := journal.Internal{
		Kind: "unlocked", Pull: pull(2), LockID: "l", Key: "k", User: "u", Cause: "unlock:#1",
		Projects: []runner.Project{{Dir: "dns", Workspace: "default"}},
	}
	seq, _, err = j.AddInternal(t.Context(), in, "k")
	ok(t, err)
	got, _, err = j.Event(t.Context(), seq)
	ok(t, err)
	want(t, "internal event", got.Internal, &in)
}

func TestEventDone(t *testing.T) {
	t.Parallel()
	j := open(t)
	seq := add(t, j, 1, "k")
	ok(t, j.EventDone(t.Context(), seq, "", "talk"))
	ok(t, j.EventDone(t.Context(), seq, "", "said again"))
	ev, _, err := j.Event(t.Context(), seq)
	ok(t, err)
	if ev.State != journal.EventDone || ev.Outcome != "talk" || ev.Done.IsZero() {
		t.Errorf("Event() = %+v, want it done as talk", ev)
	}
	if err := j.EventDone(t.Context(), 99, "", ""); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("EventDone(99) = %v, want ErrUnknown", err)
	}
}

func TestArrived(t *testing.T) {
	t.Parallel()
	j := open(t)
	add(t, j, 1, "k")
	add(t, j, 2, "l")
	<-j.Arrived()
	select {
	case <-j.Arrived():
		t.Error("two signals wait, want room for one")
	default:
	}
	add(t, j, 3, "k")
	select {
	case <-j.Arrived():
		t.Error("a signal for an event that was known")
	default:
	}
}

func TestMarkerKeyAndServerIDStay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	db := openDB(t, path)
	j, err := journal.Open(db)
	ok(t, err)
	id, key := j.ServerID(), j.MarkerKey()
	if len(key) != 32 || len(id) != 26 {
		t.Errorf("MarkerKey() has %d bytes, ServerID() = %q, want 32 and a ULID", len(key), id)
	}
	j.MarkerKey()[0]++
	ok(t, j.Close())
	ok(t, db.Close())
	again := openWith(t, path, journal.Options{})
	if again.ServerID() != id || !slices.Equal(again.MarkerKey(), key) {
		t.Error("server id or marker key changed")
	}
	if other := open(t); other.ServerID() == id || slices.Equal(other.MarkerKey(), key) {
		t.Error("two journals have the same id or key")
	}
}

func TestRunIDsGrow(t *testing.T) {
	t.Parallel()
	j := open(t)
	var mu sync.Mutex
	all := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			last := ""
			for range 2000 {
				id := j.NewRunID()
				if id <= last {
					t.Errorf("NewRunID() = %s after %s", id, last)
				}
				last = id
				mu.Lock()
				all[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(all) != 16_000 {
		t.Errorf("%d different ids, want 16,000", len(all))
	}
}

// A clock that was put back must not make a new run older than those in the file.
func TestRunIDsGrowAcrossRestarts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	db := openDB(t, path)
	j, err := journal.Open(db)
	ok(t, err)
	const future = "7ZZZZZZZZY0000000000000000"
	ok(t, j.PutRun(t.Context(), journal.Run{ID: future, Pull: pull(1)}))
	ok(t, j.Close())
	ok(t, db.Close())
	if id := openWith(t, path, journal.Options{}).NewRunID(); id <= future {
		t.Errorf("NewRunID() = %s, want it after %s", id, future)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	j := open(t)
	add(t, j, 1, "k")
	ok(t, j.Close())
	ok(t, j.Close())
	if _, _, err := j.AddEvent(t.Context(), event(1), "k"); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("AddEvent() = %v, want ErrClosed", err)
	}
	if err := j.Ping(t.Context()); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Ping() = %v, want ErrClosed", err)
	}
	if _, err := j.Queued(t.Context()); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Queued() = %v, want ErrClosed", err)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	j := open(t)
	ev := event(1)
	ev.Sender = strings.Repeat("x", journal.MaxValue)
	if _, _, err := j.AddEvent(t.Context(), ev, "k"); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("AddEvent() = %v, want ErrTooLarge", err)
	}
	if seq, added, err := j.AddEvent(t.Context(), event(1), "k"); seq != 1 || !added || err != nil {
		t.Errorf("AddEvent() afterwards = %d, %v, %v, want 1, true: nothing was left behind", seq, added, err)
	}
	ev = event(2) // the longest comment there can be, of what JSON makes longest
	ev.Comment = &vcs.Comment{Body: strings.Repeat("\x01", vcs.MaxCommentText+1)}
	if _, _, err := j.AddEvent(t.Context(), ev, "l"); err != nil {
		t.Errorf("AddEvent() of the longest comment = %v", err)
	}
}

func TestEndedContext(t *testing.T) {
	t.Parallel()
	j := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := j.AddEvent(ctx, event(1), "k"); !errors.Is(err, context.Canceled) {
		t.Errorf("AddEvent() = %v, want context.Canceled", err)
	}
	if _, err := j.Queued(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Queued() = %v, want context.Canceled", err)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	j := open(t)
	ok(t, j.Ping(t.Context()))
	ok(t, j.Ping(t.Context()))
}

func TestPullsAndRepos(t *testing.T) {
	t.Parallel()
	j := open(t)
	p := journal.PullRecord{
		ID: pull(2), Repo: repo(), Title: "t", URL: "u", Author: "a", State: vcs.Open, Head: "h", Base: "b",
		LastEvent: at(1), LastAutoplan: journal.Autoplan{Head: "h", Base: "b", Run: "r"},
		Statuses: map[string]string{"tidegate/plan": "success|1 ready|h"},
	}
	ok(t, j.PutPull(t.Context(), p))
	q := journal.PullRecord{ID: pull(1)}
	ok(t, j.PutPull(t.Context(), q))
	got, found, err := j.Pull(t.Context(), p.ID)
	if err != nil || !found {
		t.Fatalf("Pull() = %v, %v", found, err)
	}
	want(t, "pull", got, p)
	all, err := j.Pulls(t.Context())
	ok(t, err)
	want(t, "pulls", all, []journal.PullRecord{q, p})
	if _, found, err := j.Pull(t.Context(), pull(3)); found || err != nil {
		t.Errorf("Pull(3) = %v, %v, want nothing", found, err)
	}
	r := journal.RepoRecord{Repo: repo(), FirstSeen: at(1), Watermark: at(2), Tags: map[string]string{"pulls": `"x"`}}
	ok(t, j.PutRepo(t.Context(), r))
	gotRepo, found, err := j.Repo(t.Context(), repo().ID)
	if err != nil || !found {
		t.Fatalf("Repo() = %v, %v", found, err)
	}
	want(t, "repo", gotRepo, r)
	repos, err := j.Repos(t.Context())
	ok(t, err)
	want(t, "repos", repos, []journal.RepoRecord{r})
}
