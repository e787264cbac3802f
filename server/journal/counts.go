package journal

import (
	"context"
	"time"

	"go.etcd.io/bbolt"
)

// Counts is how much there is in the journal, for figures.
type Counts struct {
	Events, Keys, Queued int
	Runs, Running, Jobs  int
	Plans, Reports, Owed int
	Pulls, Repos         int
	// Bytes is the size of the file.
	Bytes int64
}

// Pending is what is not finished yet.
type Pending struct {
	// Events have no answer, Runs no end, Reports do not stand on their pull request.
	Events, Runs, Reports int
	// Oldest is when the oldest of the events was taken in; zero when there is none, or when it can't
	// be read.
	Oldest time.Time
	// Commands are those of the events that are comments, and OldestCommand when the oldest was taken in.
	Commands      int
	OldestCommand time.Time
	// Bytes is the size of the file.
	Bytes int64
}

// Pending reads the records of queued events, and counts the others.
func (j *Journal) Pending(ctx context.Context) (Pending, error) {
	return view(ctx, j, func(tx *bbolt.Tx) (Pending, error) {
		n := func(b bucketName) int { return in(tx, b).Stats().KeyN }
		p := Pending{Events: n(bucketEventsQueued), Runs: n(bucketRunsRunning), Reports: n(bucketReportsOwed), Bytes: tx.Size()}
		c := in(tx, bucketEventsQueued).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			ev, ok, err := get[Event](tx, bucketEvents, k)
			if !ok || err != nil {
				continue // a damaged one is still counted above
			}
			if p.Oldest.IsZero() {
				p.Oldest = ev.Received
			}
			if ev.Event.Comment == nil {
				continue
			}
			if p.Commands++; p.OldestCommand.IsZero() {
				p.OldestCommand = ev.Received
			}
		}
		return p, nil
	})
}

// Counts counts all records. It reads every page: once a minute is often enough.
func (j *Journal) Counts(ctx context.Context) (Counts, error) {
	return view(ctx, j, func(tx *bbolt.Tx) (Counts, error) {
		n := func(b bucketName) int { return in(tx, b).Stats().KeyN }
		return Counts{
			Events: n(bucketEvents), Keys: n(bucketEventKeys), Queued: n(bucketEventsQueued),
			Runs: n(bucketRuns), Running: n(bucketRunsRunning), Jobs: n(bucketJobs),
			Plans: n(bucketPlans), Reports: n(bucketReports), Owed: n(bucketReportsOwed),
			Pulls: n(bucketPulls), Repos: n(bucketRepos), Bytes: tx.Size(),
		}, nil
	})
}
