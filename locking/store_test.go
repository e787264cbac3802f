package locking_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/locking"
)

func openDB(tb testing.TB, path string) *bbolt.DB {
	tb.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: 5 * time.Second, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func open(tb testing.TB) *locking.Store {
	tb.Helper()
	s, err := locking.Open(openDB(tb, filepath.Join(tb.TempDir(), "locks.db")))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func pull(n int) locking.Pull { return locking.Pull{Forge: "github.com", Repo: 7, Number: n} }

// key is written as dir, dir:name or dir@workspace.
func key(s string) locking.Key {
	k := locking.Key{Forge: "github.com", Repo: 7, Workspace: "default"}
	if dir, ws, ok := strings.Cut(s, "@"); ok {
		s, k.Workspace = dir, ws
	}
	k.Dir, k.Project, _ = strings.Cut(s, ":")
	return k
}

func keys(list ...string) []locking.Key {
	var out []locking.Key
	for _, s := range list {
		out = append(out, key(s))
	}
	return out
}

func at(second int) time.Time { return time.Unix(1_700_000_000+int64(second), 0).UTC() }

func ask(t *testing.T, s *locking.Store, n int, wait bool, list ...string) locking.Grant {
	t.Helper()
	g, err := s.Acquire(t.Context(), locking.Request{
		Pull: pull(n), Keys: keys(list...), Repo: "acme/infra", User: "u", Run: "r", At: at(n), Wait: wait,
	})
	if err != nil {
		t.Fatalf("Acquire(#%d, %v): %v", n, list, err)
	}
	return g
}

// got writes a grant as "dns acquired" and "db held by 1, 2 ahead".
func got(g locking.Grant) []string {
	out := []string{}
	for _, l := range g.Acquired {
		out = append(out, name(l.Key)+" acquired")
	}
	for _, b := range g.Blocked {
		by := " held by "
		if b.Holder == (locking.Lock{}) {
			by = " after "
		}
		s := name(b.Key) + by + itoa(b.HolderPull.Number)
		if b.Ahead > 0 {
			s += ", " + itoa(b.Ahead) + " ahead"
		}
		out = append(out, s)
	}
	return out
}

func name(k locking.Key) string {
	s := k.Dir
	if k.Project != "" {
		s += ":" + k.Project
	}
	return s
}

func itoa(n int) string { return string(rune('0' + n)) }

func release(t *testing.T, s *locking.Store, n int, waiters bool, list ...string) locking.Freed {
	t.Helper()
	f, err := s.Release(t.Context(), locking.Release{Pull: pull(n), Keys: keys(list...), All: len(list) == 0, By: "u", Why: "test", At: at(n), Waiters: waiters})
	if err != nil {
		t.Fatalf("Release(#%d, %v): %v", n, list, err)
	}
	return f
}

// next writes who comes next as "2 dns".
func next(t *testing.T, s *locking.Store) []string {
	t.Helper()
	ws, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, w := range ws {
		out = append(out, itoa(w.Pull.Number)+" "+name(w.Key))
	}
	return out
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: -want +got\n%s", what, d)
	}
}

func TestAcquireTakesWhatItCan(t *testing.T) {
	t.Parallel()
	s := open(t)
	want(t, "first", got(ask(t, s, 1, true, "dns", "db")), []string{"dns acquired", "db acquired"})
	want(t, "second", got(ask(t, s, 2, true, "db", "net")), []string{"net acquired", "db held by 1"})
	want(t, "another workspace", got(ask(t, s, 2, true, "db@prod")), []string{"db acquired"})
	want(t, "third", got(ask(t, s, 3, true, "db")), []string{"db held by 1, 1 ahead"})
	want(t, "nobody next", next(t, s), []string{})
	release(t, s, 1, false)
	want(t, "next", next(t, s), []string{"2 db"})
	want(t, "a newcomer does not overtake", got(ask(t, s, 4, true, "db")), []string{"db after 2, 1 ahead"})
	want(t, "the third neither", got(ask(t, s, 3, true, "db")), []string{"db after 2"})
	want(t, "the first in line", got(ask(t, s, 2, true, "db")), []string{"db acquired"})
	want(t, "now behind it", got(ask(t, s, 3, true, "db")), []string{"db held by 2"})
}

func TestAcquireAgainKeepsSinceAndRefreshesNames(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 2, true, "net")
	ask(t, s, 1, true, "dns", "net")
	_, err := s.Acquire(t.Context(), locking.Request{
		Pull: pull(1), Keys: keys("dns"), Repo: "acme/renamed", PullTitle: "new", User: "other", Run: "r2", At: at(99),
	})
	if err != nil {
		t.Fatal(err)
	}
	held, err := s.Held(t.Context(), pull(1))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "lock", held, []locking.Lock{{
		Key: key("dns"), Pull: pull(1), Repo: "acme/renamed", PullTitle: "new", User: "u", Run: "r2", Since: at(1),
	}})
	ws, err := s.Waiters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want(t, "waiter", ws, []locking.Waiter{{
		Key: key("net"), Pull: pull(1), Repo: "acme/renamed", PullTitle: "new", User: "u", Run: "r", Since: at(1), Seq: 1,
	}})
}

func TestUnnamedConflictsWithEveryName(t *testing.T) {
	t.Parallel()
	s := open(t)
	want(t, "names side by side", got(ask(t, s, 1, true, "d:a")), []string{"d:a acquired"})
	want(t, "names side by side", got(ask(t, s, 2, true, "d:b")), []string{"d:b acquired"})
	want(t, "unnamed waits for both", got(ask(t, s, 3, true, "d")), []string{"d held by 1, 1 ahead"})
	want(t, "a third name waits for the unnamed one", got(ask(t, s, 4, true, "d:c")), []string{"d:c after 3"})
	release(t, s, 1, false)
	want(t, "one name is still held", next(t, s), []string{})
	release(t, s, 2, false)
	want(t, "next", next(t, s), []string{"3 d"})
	ask(t, s, 3, true, "d")
	want(t, "name waits for unnamed", got(ask(t, s, 1, true, "d:a")), []string{"d:a held by 3"})
	release(t, s, 3, false)
	want(t, "both names at once", next(t, s), []string{"4 d:c", "1 d:a"})
}

// Who waits for what we hold must not keep us from the rest of it: both would stand still.
func TestHolderIsNotHeldUpByWhoWaitsForIt(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "d:a")
	ask(t, s, 2, true, "d")
	want(t, "holder", got(ask(t, s, 1, true, "d:b", "d")), []string{"d:b acquired", "d acquired"})
}

func TestSkippedWaiterDoesNotHoldUpTheLine(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "dns")
	ask(t, s, 2, true, "dns")
	ask(t, s, 3, true, "dns")
	release(t, s, 1, false)
	want(t, "next", next(t, s), []string{"2 dns"})
	if err := s.Skip(t.Context(), pull(2), keys("dns"), true); err != nil {
		t.Fatal(err)
	}
	want(t, "next", next(t, s), []string{"3 dns"})
	want(t, "third", got(ask(t, s, 3, true, "dns")), []string{"dns acquired"})
	want(t, "back in its place", got(ask(t, s, 2, true, "dns")), []string{"dns held by 3"})
	want(t, "a newcomer is behind it", got(ask(t, s, 4, true, "dns")), []string{"dns held by 3, 1 ahead"})
	release(t, s, 3, false)
	want(t, "next", next(t, s), []string{"2 dns"})
	if err := s.Skip(t.Context(), pull(2), keys("dns", "db"), true); err != nil {
		t.Fatal(err)
	}
	if err := s.Skip(t.Context(), pull(2), keys("dns", "db"), false); err != nil {
		t.Fatal(err)
	}
	want(t, "next", next(t, s), []string{"2 dns"})
}

func TestWithoutWaitNothingIsRecorded(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "dns")
	want(t, "told", got(ask(t, s, 2, false, "dns")), []string{"dns held by 1"})
	ws, err := s.Waiters(t.Context())
	if err != nil || len(ws) != 0 {
		t.Errorf("Waiters() = %v, %v, want none", ws, err)
	}
}

func TestReleaseTouchesNothingForeign(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "dns")
	ask(t, s, 2, true, "db", "dns")
	f := release(t, s, 2, false, "dns", "nothing")
	if len(f.Locks) != 0 || len(f.Left) != 0 {
		t.Errorf("Release() of a foreign lock = %+v, want nothing", f)
	}
	if held, err := s.Held(t.Context(), pull(1)); err != nil || len(held) != 1 {
		t.Errorf("Held(#1) = %v, %v, want its lock", held, err)
	}
	f = release(t, s, 2, true)
	want(t, "released", f.Locks[0].Key, key("db"))
	want(t, "left", f.Left[0].Key, key("dns"))
	if ws, err := s.Waiters(t.Context()); err != nil || len(ws) != 0 {
		t.Errorf("Waiters() = %v, %v, want none", ws, err)
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "dns", "db")
	ask(t, s, 2, true, "dns", "db")
	left, err := s.Leave(t.Context(), pull(2), keys("db", "elsewhere"))
	if err != nil || len(left) != 1 || left[0].Key != key("db") {
		t.Errorf("Leave(db) = %v, %v, want the waiter for db", left, err)
	}
	left, err = s.LeaveAll(t.Context(), pull(2))
	if err != nil || len(left) != 1 || left[0].Key != key("dns") {
		t.Errorf("LeaveAll() = %v, %v, want the waiter for dns", left, err)
	}
}

// A list that turned out empty is nothing, however it was made.
func TestNoKeysAreNone(t *testing.T) {
	t.Parallel()
	for name, none := range map[string][]locking.Key{"nil": nil, "empty": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			ask(t, s, 1, true, "dns")
			ask(t, s, 2, true, "db", "dns")
			before := state(t, s)
			f, err := s.Release(t.Context(), locking.Release{Pull: pull(2), Keys: none, Waiters: true})
			if err != nil || len(f.Locks)+len(f.Left) != 0 {
				t.Errorf("Release() = %+v, %v, want nothing", f, err)
			}
			if err := s.Skip(t.Context(), pull(2), none, true); err != nil {
				t.Errorf("Skip() = %v", err)
			}
			if left, err := s.Leave(t.Context(), pull(2), none); err != nil || len(left) != 0 {
				t.Errorf("Leave() = %v, %v, want nothing", left, err)
			}
			if after := state(t, s); !after.equal(before) {
				t.Errorf("state %+v, want it unchanged: %+v", after, before)
			}
		})
	}
	s := open(t)
	if _, err := s.Release(t.Context(), locking.Release{Pull: pull(1), Keys: keys("dns"), All: true}); err == nil {
		t.Error("Release() of all and of some = nil error")
	}
}

func TestAuditTellsEveryChangeOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "dns")
	ask(t, s, 1, true, "dns")
	ask(t, s, 2, true, "dns")
	ask(t, s, 2, true, "dns")
	if err := s.Skip(t.Context(), pull(2), keys("dns"), true); err != nil {
		t.Fatal(err)
	}
	ask(t, s, 2, true, "dns")
	release(t, s, 1, true)
	release(t, s, 1, true)
	ask(t, s, 2, true, "dns")
	ask(t, s, 3, true, "dns")
	release(t, s, 3, true)
	all, err := s.Audit(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range all {
		said = append(said, itoa(e.Pull.Number)+" "+e.What+" "+name(e.Key))
	}
	want(t, "audit, newest first", said, []string{
		"3 left dns", "3 waiting dns", "2 acquired dns", "1 released dns", "2 resumed dns", "2 skipped dns",
		"2 waiting dns", "1 acquired dns",
	})
	want(t, "who and why", all[3], locking.Entry{
		At: at(1), What: locking.Released, Key: key("dns"), Pull: pull(1), By: "u", Why: "test", Run: "r",
	})
	if some, err := s.Audit(t.Context(), 2); err != nil || len(some) != 2 || some[0] != all[0] {
		t.Errorf("Audit(2) = %v, %v, want the newest two", some, err)
	}
}

func TestAuditIsBounded(t *testing.T) {
	t.Parallel()
	s := open(t)
	var list []string
	for i := range 100 {
		list = append(list, "d"+strings.Repeat("x", i))
	}
	for range 51 { // 200 entries each
		ask(t, s, 1, true, list...)
		release(t, s, 1, true)
	}
	all, err := s.Audit(t.Context(), 0)
	if err != nil || len(all) != 10_000 {
		t.Fatalf("Audit(0) = %d entries, %v, want 10,000", len(all), err)
	}
	if all[0].What != locking.Released || all[len(all)-1].What != locking.Acquired {
		t.Errorf("the newest is %q, the oldest %q", all[0].What, all[len(all)-1].What)
	}
}

func TestGetFindsByID(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "dns", "db")
	l, ok, err := s.Get(t.Context(), key("db").ID())
	if err != nil || !ok || l.Key != key("db") {
		t.Errorf("Get() = %v, %v, %v, want the lock on db", l, ok, err)
	}
	if _, ok, err := s.Get(t.Context(), key("net").ID()); err != nil || ok {
		t.Errorf("Get() of what nobody holds = %v, %v, want nothing", ok, err)
	}
	if id := key("db").ID(); strings.ContainsAny(id, "/+=?#") || strings.Contains(id, "db") {
		t.Errorf("ID() = %q, want it opaque and URL-safe", id)
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	good := key("dns")
	for what, spoil := range map[string]func(*locking.Key){
		"no forge":        func(k *locking.Key) { k.Forge = "" },
		"no workspace":    func(k *locking.Key) { k.Workspace = "" },
		"no directory":    func(k *locking.Key) { k.Dir = "" },
		"not cleaned":     func(k *locking.Key) { k.Dir = "./dns" },
		"slash at end":    func(k *locking.Key) { k.Dir = "dns/" },
		"absolute":        func(k *locking.Key) { k.Dir = "/dns" },
		"outside":         func(k *locking.Key) { k.Dir = "../dns" },
		"parent":          func(k *locking.Key) { k.Dir = ".." },
		"not UTF-8":       func(k *locking.Key) { k.Dir = "d\xff" },
		"too long":        func(k *locking.Key) { k.Project = strings.Repeat("x", 5000) },
		"workspace bytes": func(k *locking.Key) { k.Workspace = "\xff" },
		"another forge":   func(k *locking.Key) { k.Forge = "gitlab.com" },
		"another repo":    func(k *locking.Key) { k.Repo++ },
	} {
		k := good
		spoil(&k)
		_, err := s.Acquire(t.Context(), locking.Request{Pull: pull(1), Keys: []locking.Key{good, k}})
		if !errors.Is(err, locking.ErrKey) {
			t.Errorf("%s: Acquire() = %v, want ErrKey", what, err)
		}
	}
	if ls, err := s.Locks(t.Context()); err != nil || len(ls) != 0 {
		t.Errorf("Locks() = %v, %v, want none taken beside a bad key", ls, err)
	}
}

func TestTooLargeChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	_, err := s.Acquire(t.Context(), locking.Request{
		Pull: pull(1), Keys: keys("a", "b"), PullTitle: strings.Repeat("x", 70_000),
	})
	if !errors.Is(err, locking.ErrTooLarge) {
		t.Errorf("Acquire() = %v, want ErrTooLarge", err)
	}
	if ls, err := s.Locks(t.Context()); err != nil || len(ls) != 0 {
		t.Errorf("Locks() = %v, %v, want none", ls, err)
	}
	want(t, "afterwards", got(ask(t, s, 2, true, "a")), []string{"a acquired"})
}

func TestEndedContext(t *testing.T) {
	t.Parallel()
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Acquire(ctx, locking.Request{Pull: pull(1), Keys: keys("a")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Acquire() = %v, want context.Canceled", err)
	}
	if _, err := s.Locks(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Locks() = %v, want context.Canceled", err)
	}
	if _, err := s.Audit(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Audit() = %v, want context.Canceled", err)
	}
}

// What callers do with an answer does not reach the store.
func TestAnswersAreCopies(t *testing.T) {
	t.Parallel()
	s := open(t)
	ask(t, s, 1, true, "a")
	ls, err := s.Locks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ls[0].User = "mallory"
	again, err := s.Locks(t.Context())
	if err != nil || again[0].User != "u" {
		t.Errorf("Locks() = %v, %v, want user u", again, err)
	}
}

// Two stores on one database never believe a stale copy.
func TestTwoStoresOnOneFile(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "locks.db"))
	a, err := locking.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	b, err := locking.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, a, 1, true, "dns")
	want(t, "b sees a's lock", got(ask(t, b, 2, true, "dns")), []string{"dns held by 1"})
	release(t, a, 1, true)
	want(t, "b", next(t, b), []string{"2 dns"})
	want(t, "b", got(ask(t, b, 2, true, "dns")), []string{"dns acquired"})
	want(t, "a sees b's lock", got(ask(t, a, 1, true, "dns")), []string{"dns held by 2"})
}
