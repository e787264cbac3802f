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
