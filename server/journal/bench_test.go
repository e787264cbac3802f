package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/runner"
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

// history is a journal with 20,000 runs of 500 pull requests, each with jobs, plans and an answer.
func history(b *testing.B) (*journal.Journal, []journal.Run) {
	b.Helper()
	db := openDB(b, filepath.Join(b.TempDir(), "tidegate.db"))
	db.NoSync = true
	j, err := journal.Open(db)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close() })
	var runs []journal.Run
	for i := range 20_000 {
		n := i % 500
		seq, _, err := j.AddEvent(b.Context(), event(n), fmt.Sprint(i))
		r := run(j, n, seq)
		r.State = journal.RunDone
		p := plan(r.ID, 1, runner.Project{Dir: fmt.Sprint("envs/", i%3), Workspace: "default"})
		p.Pull = r.Pull
		answer := journal.Report{ID: r.ID, Pull: r.Pull, Kind: "answer", Body: strings.Repeat("line of a plan\n", 200), Comment: int64(i + 1)}
		steps := []error{
			err, j.CreateRun(b.Context(), r, []journal.Job{job(r, 1), job(r, 2)}), j.PutPlan(b.Context(), p),
			j.PutReport(b.Context(), answer), j.EventDone(b.Context(), seq, r.ID, ""),
		}
		if n == i {
			steps = append(steps, j.PutPull(b.Context(), journal.PullRecord{ID: r.Pull, Repo: repo()}))
		}
		if err := errors.Join(steps...); err != nil {
			b.Fatal(err)
		}
		runs = append(runs, r)
	}
	return j, runs
}

// BenchmarkHistory measures what the engine and the pages read for one event or one page, late in a
// long history.
func BenchmarkHistory(b *testing.B) {
	j, runs := history(b)
	ctx, last := b.Context(), runs[len(runs)-1]
	for _, read := range []struct {
		name string
		do   func() error
	}{
		{"AddEvent/known", func() error { _, _, err := j.AddEvent(ctx, event(1), "1"); return err }},
		{"AddEvent/new", func() error { _, _, err := j.AddEvent(ctx, event(1), j.NewRunID()); return err }},
		{"QueuedAfter", func() error { _, err := j.QueuedAfter(ctx, last.Event); return err }},
		{"RunOf", func() error { _, _, err := j.RunOf(ctx, last.Event); return err }},
		{"Runs/newest", func() error { _, err := j.Runs(ctx, journal.Filter{Limit: 30}); return err }},
		{"Runs/running", func() error { _, err := j.Runs(ctx, journal.Filter{Running: true}); return err }},
		{"Runs/pull", func() error { _, err := j.Runs(ctx, journal.Filter{Pull: &last.Pull}); return err }},
		{"Runs/pull-newest", func() error { _, err := j.Runs(ctx, journal.Filter{Pull: &last.Pull, Limit: 1}); return err }},
		{"Jobs", func() error { _, err := j.Jobs(ctx, last.ID); return err }},
		{"Plans", func() error { _, err := j.Plans(ctx, last.Pull); return err }},
		{"Report", func() error { _, _, err := j.Report(ctx, last.ID); return err }},
		{"Reports", func() error { _, err := j.Reports(ctx, last.Pull); return err }},
		{"Unposted", func() error { _, err := j.Unposted(ctx); return err }},
		{"Pull", func() error { _, _, err := j.Pull(ctx, last.Pull); return err }},
		{"Pending", func() error { _, err := j.Pending(ctx); return err }},
		{"ReportPlans", func() error { return j.ReportPlans(ctx, last.ID, 1, at(1)) }},
		{"refused write", func() error {
			if err := j.EndRun(ctx, "none", "", at(1)); err == nil {
				return errors.New("it was not refused")
			}
			return nil
		}},
	} {
		b.Run(read.name, func(b *testing.B) {
			for b.Loop() {
				if err := read.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
