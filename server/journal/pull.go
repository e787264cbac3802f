package journal

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/vcs"
)

// PullRecord is what is remembered of a pull request.
type PullRecord struct {
	ID     vcs.PullID    `json:"id"`
	Repo   vcs.Repo      `json:"repo"`
	Title  string        `json:"title,omitempty"`
	URL    string        `json:"url,omitempty"`
	Author string        `json:"author,omitempty"`
	State  vcs.PullState `json:"state,omitempty"`
	Head   string        `json:"head,omitempty"`
	Base   string        `json:"base,omitempty"`
	// LastEvent is when something was heard of it last.
	LastEvent    time.Time `json:"last_event,omitzero"`
	LastAutoplan Autoplan  `json:"last_autoplan,omitzero"`
	// Considered is the head and the base branch that an event was taken in for last; empty when it
	// was closed since.
	Considered string `json:"considered,omitempty"`
	// Found is the head and the base branch that was taken in last without a webhook's telling, and FoundAt
	// when the forge was asked, by its clock: a webhook that tells of it later is an old one.
	Found   string    `json:"found,omitempty"`
	FoundAt time.Time `json:"found_at,omitzero"`
	// Since is the run that let go of everything last: what older ones planned does not stand any more.
	Since string `json:"since,omitempty"`
	// CleanedUp: it was closed, and nothing is kept of it.
	CleanedUp bool `json:"cleaned_up,omitempty"`
	// Statuses are the last written ones by context, as sha|state|description|url: what is written
	// already is not written again.
	Statuses map[string]string `json:"statuses,omitempty"`
}

// Autoplan is what was planned by itself last. Zero when nothing was, or when it was undone.
type Autoplan struct {
	Head string `json:"head,omitempty"`
	Base string `json:"base,omitempty"`
	Run  string `json:"run,omitempty"`
}

// PutPull writes the record of a pull request.
func (j *Journal) PutPull(ctx context.Context, r PullRecord) error {
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		return none{}, put(tx, bucketPulls, pullKey(r.ID), r)
	})
	if err != nil {
		return fmt.Errorf("journalling %s: %w", r.ID, err)
	}
	return nil
}

// Pull reads the record of a pull request.
func (j *Journal) Pull(ctx context.Context, id vcs.PullID) (PullRecord, bool, error) {
	return lookup[PullRecord](ctx, j, bucketPulls, pullKey(id))
}

// Pulls lists every pull request that is remembered, by forge, repository and number.
func (j *Journal) Pulls(ctx context.Context) ([]PullRecord, error) {
	return view(ctx, j, func(tx *bbolt.Tx) ([]PullRecord, error) {
		return list[PullRecord](tx, bucketPulls, nil)
	})
}

// RepoRecord is what is remembered of a repository.
type RepoRecord struct {
	Repo vcs.Repo `json:"repo"`
	// FirstSeen is when it was first heard of. What is older never runs.
	FirstSeen time.Time `json:"first_seen"`
	// Watermark: everything that happened before, by the forge's clock, was taken in.
	Watermark time.Time `json:"watermark"`
	// Tags are the forge's answers to conditional requests, by what was asked for.
	Tags map[string]string `json:"tags,omitempty"`
}

// PutRepo writes the record of a repository.
func (j *Journal) PutRepo(ctx context.Context, r RepoRecord) error {
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		return none{}, put(tx, bucketRepos, repoKey(r.Repo.ID), r)
	})
	if err != nil {
		return fmt.Errorf("journalling repository %s: %w", r.Repo.ID, err)
	}
	return nil
}

// Repo reads the record of a repository.
func (j *Journal) Repo(ctx context.Context, id vcs.RepoID) (RepoRecord, bool, error) {
	return lookup[RepoRecord](ctx, j, bucketRepos, repoKey(id))
}

// Repos lists every repository that is remembered.
func (j *Journal) Repos(ctx context.Context) ([]RepoRecord, error) {
	return view(ctx, j, func(tx *bbolt.Tx) ([]RepoRecord, error) {
		return list[RepoRecord](tx, bucketRepos, nil)
	})
}
