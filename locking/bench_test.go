package locking_test

import (
	"fmt"
	"testing"

	"github.com/tidegate/tidegate/locking"
)

// BenchmarkAcquire takes and gives back a lock beside many others.
func BenchmarkAcquire(b *testing.B) {
	for _, n := range []int{0, 2000} {
		b.Run(fmt.Sprintf("beside=%d", n), func(b *testing.B) {
			s := open(b)
			var many []locking.Key
			for i := range n {
				many = append(many, key(fmt.Sprintf("d%d", i)))
			}
			if _, err := s.Acquire(b.Context(), locking.Request{Pull: pull(1), Keys: many}); err != nil {
				b.Fatal(err)
			}
			mine := keys("mine")
			for b.Loop() {
				if _, err := s.Acquire(b.Context(), locking.Request{Pull: pull(2), Keys: mine, Wait: true}); err != nil {
					b.Fatal(err)
				}
				if _, err := s.Release(b.Context(), locking.Release{Pull: pull(2), All: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// crowd is 500 pull requests at 200 projects: each wants four of them.
func crowd(tb testing.TB) *locking.Store {
	tb.Helper()
	s := open(tb)
	for n := range 500 {
		var ks []locking.Key
		for i := range 4 {
			ks = append(ks, key(fmt.Sprintf("envs/%d", (n*7+i*31)%200)))
		}
		if _, err := s.Acquire(tb.Context(), locking.Request{Pull: pull(n + 1), Keys: ks, Wait: true}); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

// BenchmarkCrowd measures what is done at every end of a run while many wait.
func BenchmarkCrowd(b *testing.B) {
	s := crowd(b)
	b.Run("next", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("acquire", func(b *testing.B) {
		ks := keys("envs/0", "envs/7", "envs/14", "envs/21")
		for b.Loop() {
			if _, err := s.Acquire(b.Context(), locking.Request{Pull: pull(600), Keys: ks, Wait: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("held", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Held(b.Context(), pull(1)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
