package journal_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/server/journal"
)

// BenchmarkWrite compares AddEvent with a bbolt transaction for each event, of the same size.
func BenchmarkWrite(b *testing.B) {
	for _, goroutines := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("journal/goroutines=%d", goroutines), func(b *testing.B) {
			j := openWith(b, filepath.Join(b.TempDir(), "tidegate.db"), journal.Options{})
			spread(b, goroutines, func(n int64) error {
				_, _, err := j.AddEvent(b.Context(), event(1), fmt.Sprint(n))
				return err
			})
		})
		b.Run(fmt.Sprintf("bbolt/goroutines=%d", goroutines), func(b *testing.B) {
			db := openDB(b, filepath.Join(b.TempDir(), "raw.db"))
			value := make([]byte, 300)
			spread(b, goroutines, func(n int64) error {
				return db.Update(func(tx *bbolt.Tx) error {
					bucket, err := tx.CreateBucketIfNotExists([]byte("b"))
					if err != nil {
						return err
					}
					return bucket.Put(fmt.Appendf(nil, "%012d", n), value)
				})
			})
		})
	}
}

// spread does b.N writes from that many goroutines.
func spread(b *testing.B, goroutines int, write func(n int64) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range goroutines {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := write(n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}
