package locking_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/locking"
)

// model is the lock table told a second time, as simply as it can be told.
type model struct {
	holds map[locking.Key]locking.Pull
	line  []spot
}

type spot struct {
	key     locking.Key
	pull    locking.Pull
	skipped bool
}

func newModel() *model { return &model{holds: map[locking.Key]locking.Pull{}} }

func clash(a, b locking.Key) bool {
	if a.Dir != b.Dir || a.Workspace != b.Workspace {
		return false
	}
	return a.Project == "" || b.Project == "" || a.Project == b.Project
}

func (m *model) find(p locking.Pull, k locking.Key) int {
	return slices.IndexFunc(m.line, func(s spot) bool { return s.pull == p && s.key == k })
}

// inTheWay are the pull requests that p waits for at k: holders, else who is before it in line.
func (m *model) inTheWay(p locking.Pull, k locking.Key) map[locking.Pull]bool {
	out := map[locking.Pull]bool{}
	if m.holds[k] == p {
		return out
	}
	holdsClashing := func(p locking.Pull, k locking.Key) bool {
		for held, by := range m.holds {
			if by == p && clash(held, k) {
				return true
			}
		}
		return false
	}
	for held, by := range m.holds {
		if by != p && clash(held, k) {
			out[by] = true
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, s := range m.line {
		if s.pull == p && s.key == k {
			break
		}
		if s.pull != p && !s.skipped && clash(s.key, k) && !holdsClashing(p, s.key) {
			out[s.pull] = true
		}
	}
	return out
}

func (m *model) acquire(p locking.Pull, keys []locking.Key, wait bool) {
	for _, k := range keys {
		at := m.find(p, k)
		switch {
		case len(m.inTheWay(p, k)) == 0:
			m.holds[k] = p
			if at >= 0 {
				m.line = slices.Delete(m.line, at, at+1)
			}
		case wait && at >= 0:
			m.line[at].skipped = false
		case wait:
			m.line = append(m.line, spot{key: k, pull: p})
		}
	}
}

func (m *model) release(p locking.Pull, keys []locking.Key, waiters bool) {
	maps.DeleteFunc(m.holds, func(k locking.Key, by locking.Pull) bool {
		return by == p && slices.Contains(keys, k)
	})
	if waiters {
		m.leave(p, keys)
	}
}

func (m *model) leave(p locking.Pull, keys []locking.Key) {
	m.line = slices.DeleteFunc(m.line, func(s spot) bool {
		return s.pull == p && slices.Contains(keys, s.key)
	})
}

func (m *model) skip(p locking.Pull, keys []locking.Key, skipped bool) {
	for i, s := range m.line {
		if s.pull == p && slices.Contains(keys, s.key) {
			m.line[i].skipped = skipped
		}
	}
}

func (m *model) next() []spot {
	var out []spot
	for _, s := range m.line {
		if !s.skipped && len(m.inTheWay(s.pull, s.key)) == 0 {
			out = append(out, s)
		}
	}
	return out
}

// stuck reports whether p waits, over any number of others, for itself.
func (m *model) stuck(p locking.Pull) bool {
	reached := map[locking.Pull]bool{}
	todo := []locking.Pull{p}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		for _, s := range m.line {
			if s.pull != at || s.skipped {
				continue
			}
			for q := range m.inTheWay(at, s.key) {
				if q == p {
					return true
				}
				if !reached[q] {
					reached[q] = true
					todo = append(todo, q)
				}
			}
		}
	}
	return false
}

// op is one random operation; it is a function of the random source alone.
type op struct {
	what string
	pull locking.Pull
	keys []locking.Key
	all  bool // of release and leave
	flag bool
}

func (o op) String() string {
	var ks []string
	for _, k := range o.keys {
		ks = append(ks, name(k))
	}
	return fmt.Sprintf("%s #%d [%s] all=%v %v", o.what, o.pull.Number, strings.Join(ks, " "), o.all, o.flag)
}

func space() []locking.Key { return keys("a", "a:x", "a:y", "b", "b:x", "c", "c@w", ".") }

func randomOp(r *rand.Rand) op {
	space := space()
	o := op{pull: pull(1 + r.IntN(5)), flag: r.IntN(4) > 0}
	switch n := r.IntN(20); {
	case n < 11:
		o.what = "acquire"
	case n < 15:
		o.what = "release"
	case n < 18:
		o.what = "skip"
	default:
		o.what = "leave"
	}
	for range 1 + r.IntN(3) {
		if k := space[r.IntN(len(space))]; !slices.Contains(o.keys, k) {
			o.keys = append(o.keys, k)
		}
	}
	switch r.IntN(9) {
	case 0:
		o.keys = []locking.Key{}
	case 1:
		o.keys = nil
	case 2, 3, 4:
		if o.what == "release" || o.what == "leave" {
			o.keys, o.all = nil, true
		}
	}
	return o
}

func (m *model) do(o op) {
	if o.all {
		o.keys = space()
	}
	switch o.what {
	case "acquire":
		m.acquire(o.pull, o.keys, o.flag)
	case "release":
		m.release(o.pull, o.keys, o.flag)
	case "skip":
		m.skip(o.pull, o.keys, o.flag)
	case "leave":
		m.leave(o.pull, o.keys)
	}
}

func do(ctx context.Context, s *locking.Store, o op) (g locking.Grant, err error) {
	switch o.what {
	case "acquire":
		g, err = s.Acquire(ctx, locking.Request{Pull: o.pull, Keys: o.keys, Wait: o.flag, At: at(0)})
	case "release":
		_, err = s.Release(ctx, locking.Release{Pull: o.pull, Keys: o.keys, All: o.all, Waiters: o.flag, At: at(0)})
	case "skip":
		err = s.Skip(ctx, o.pull, o.keys, o.flag)
	case "leave":
		if o.all {
			_, err = s.LeaveAll(ctx, o.pull)
		} else {
			_, err = s.Leave(ctx, o.pull, o.keys)
		}
	}
	return g, err
}

// state reads a store as a model.
func state(t *testing.T, s *locking.Store) *model {
	t.Helper()
	m := newModel()
	ls, err := s.Locks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		if by, twice := m.holds[l.Key]; twice {
			t.Fatalf("%v is held by %v and by %v", l.Key, by, l.Pull)
		}
		m.holds[l.Key] = l.Pull
	}
	ws, err := s.Waiters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		m.line = append(m.line, spot{w.Key, w.Pull, w.Skipped})
	}
	return m
}

func (m *model) equal(o *model) bool {
	return maps.Equal(m.holds, o.holds) && slices.Equal(m.line, o.line)
}

// check holds the promises against a state, without asking the model what should be.
func check(t *testing.T, s *locking.Store, o op, before, after *model, g locking.Grant) {
	t.Helper()
	for a, p := range after.holds {
		for b, q := range after.holds {
			if p != q && clash(a, b) {
				t.Errorf("%v holds %v and %v holds %v", p, a, q, b)
			}
		}
	}
	for k, p := range before.holds {
		if p != o.pull && after.holds[k] != p {
			t.Errorf("%v lost %v", p, k)
		}
	}
	for _, w := range after.line {
		if after.holds[w.key] == w.pull {
			t.Errorf("%v holds and waits for %v", w.pull, w.key)
		}
	}
	for _, b := range g.Blocked {
		if o.flag && after.find(o.pull, b.Key) < 0 {
			t.Errorf("blocked at %v, but not in line", b.Key)
		}
		if b.HolderPull == o.pull || b.HolderPull == (locking.Pull{}) {
			t.Errorf("blocked at %v by %v", b.Key, b.HolderPull)
		}
	}
	if len(g.Acquired)+len(g.Blocked) != len(o.keys) && o.what == "acquire" {
		t.Errorf("%d acquired and %d blocked of %d", len(g.Acquired), len(g.Blocked), len(o.keys))
	}
	ns, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []spot
	for _, w := range ns {
		got = append(got, spot{w.Key, w.Pull, w.Skipped})
		for k, p := range after.holds {
			if p != w.Pull && clash(k, w.Key) {
				t.Errorf("next is %v for %v, which %v holds", w.Pull, w.Key, p)
			}
		}
	}
	if want := after.next(); !slices.Equal(got, want) {
		t.Errorf("Next() = %v, want %v", got, want)
	}
	checkCycles(t, o, after, g)
}

func checkCycles(t *testing.T, o op, m *model, g locking.Grant) {
	t.Helper()
	if o.what != "acquire" || !o.flag || len(g.Blocked) == 0 {
		if len(g.Cycles) > 0 {
			t.Errorf("cycles %v of one that does not wait", g.Cycles)
		}
		return
	}
	if got, want := len(g.Cycles) > 0, m.stuck(o.pull); got != want {
		t.Errorf("found cycles: %v, there are some: %v", got, want)
	}
	for _, c := range g.Cycles {
		if !slices.Contains(c.Pulls, o.pull) || len(c.Keys) != len(c.Pulls) || len(c.Pulls) < 2 {
			t.Errorf("cycle %v, want one with %v", c, o.pull)
		}
		for i, p := range c.Pulls {
			waiter := c.Pulls[(i+1)%len(c.Pulls)]
			if m.holds[c.Keys[i]] != p && m.find(p, c.Keys[i]) < 0 {
				t.Errorf("cycle %v: %v does not hold %v", c, p, c.Keys[i])
			}
			if !slices.ContainsFunc(m.line, func(s spot) bool { return s.pull == waiter && clash(s.key, c.Keys[i]) }) {
				t.Errorf("cycle %v: %v does not wait for %v", c, waiter, c.Keys[i])
			}
		}
	}
}

// TestAgainstModel runs random operations on a store and on the model, with a new process's eyes now
// and then.
func TestAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			path := filepath.Join(t.TempDir(), "locks.db")
			db := openDB(t, path)
			s, err := locking.Open(db)
			if err != nil {
				t.Fatal(err)
			}
			m := newModel()
			for i := range 250 {
				if r.IntN(40) == 0 {
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
					db = openDB(t, path)
					if s, err = locking.Open(db); err != nil {
						t.Fatal(err)
					}
				}
				before, o := state(t, s), randomOp(r)
				g, err := do(t.Context(), s, o)
				if err != nil {
					t.Fatalf("step %d, %s: %v", i, o, err)
				}
				m.do(o)
				after := state(t, s)
				if !after.equal(m) {
					t.Errorf("state %+v, want %+v", after, m)
				}
				check(t, s, o, before, after, g)
				if t.Failed() {
					t.Fatalf("at step %d, %s", i, o)
				}
			}
		})
	}
}
