package journal

import (
	"context"

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
