package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/vcs"
)

// Report is a comment that is owed to a pull request: journalled as an intent before it is posted,
// and with its id after.
type Report struct {
	// ID is the run's id for its answer, anything unique for others.
	ID   string     `json:"id"`
	Pull vcs.PullID `json:"pull"`
	Run  string     `json:"run,omitempty"`
	// Kind is answer, progress or notice.
	Kind    string `json:"kind"`
	Command string `json:"command,omitempty"`
	// Body is the whole comment. A long one is kept in a file; Reports leaves it out.
	Body string `json:"body,omitempty"`
	// BodyFile names that file. It is set by PutReport.
	BodyFile string `json:"body_file,omitempty"`
	// Marker is the complete HTML comment that the posted one is found by.
	Marker   string    `json:"marker,omitempty"`
	Intended time.Time `json:"intended"`
	// Posted is the forge's time; zero until it is known that it stands there.
	Posted  time.Time `json:"posted,omitzero"`
	Comment int64     `json:"comment,omitempty"`
	Node    string    `json:"node,omitempty"`
	// Gone: the forge refused for good, and why.
	Gone    string `json:"gone,omitempty"`
	Folded  bool   `json:"folded,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
	// Merging is set when the pull request is to be merged as soon as this stands there.
	Merging *Merging `json:"merging,omitempty"`
}

// Merging is how a pull request is to be merged whose projects are all applied.
type Merging struct {
	// Head is the commit that is merged, and no other.
	Head string `json:"head"`
	// Base is the branch that it goes into, and no other.
	Base string `json:"base"`
	// Method is the forge's word; "" leaves it to the repository.
	Method vcs.MergeMethod `json:"method,omitempty"`
	// DeleteBranch: the head's branch goes after it.
	DeleteBranch bool `json:"delete_branch,omitempty"`
	// Ended is how it ended, in words for people; "" as long as it is still to be done.
	Ended string `json:"ended,omitempty"`
}

// owed: it does not stand on the pull request, and still could.
func (r Report) owed() bool { return r.Comment == 0 && r.Gone == "" && !r.Deleted }

// PutReport writes a report. A body of more than 16 KiB as JSON goes into a file, durably, before the
// record.
// A report that came from Reports without its body keeps the one it has.
func (j *Journal) PutReport(ctx context.Context, r Report) error {
	if r.ID == "" {
		return errors.New("journalling a report: it has no id")
	}
	r, err := j.bodies.keep(r)
	if err != nil {
		return fmt.Errorf("journalling report %s: %w", r.ID, err)
	}
	_, err = write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		id := []byte(r.ID)
		if old, ok := before[Report](tx, bucketReports, id); ok && old.Pull != r.Pull {
			return none{}, fmt.Errorf("it belongs to %s, not to %s", old.Pull, r.Pull)
		}
		if err := put(tx, bucketReports, id, r); err != nil {
			return none{}, err
		}
		if err := index(tx, bucketReportsByPull, append(pullKey(r.Pull), id...), true); err != nil {
			return none{}, err
		}
		return none{}, index(tx, bucketReportsOwed, id, r.owed())
	})
	if err != nil {
		return fmt.Errorf("journalling report %s: %w", r.ID, err)
	}
	return nil
}

// Report reads one report with its body. Of a damaged one it answers what can be read, true and the
// *DamagedError.
func (j *Journal) Report(ctx context.Context, id string) (Report, bool, error) {
	r, ok, err := lookup[Report](ctx, j, bucketReports, []byte(id))
	if err != nil || !ok {
		return Report{}, Damaged(err), err
	}
	r, err = j.bodies.load(r)
	return r, true, err
}

// Reports lists the reports of a pull request in the order they were meant, without the bodies that
// are kept in files.
func (j *Journal) Reports(ctx context.Context, pull vcs.PullID) ([]Report, error) {
	return j.reports(ctx, bucketReportsByPull, pullKey(pull))
}

// Unposted lists the reports that are still owed, with their bodies, in the order they were meant.
func (j *Journal) Unposted(ctx context.Context) ([]Report, error) {
	var out gathered[Report]
	all, err := j.reports(ctx, bucketReportsOwed, nil)
	if err := out.damaged(err); err != nil {
		return nil, err
	}
	for _, r := range all {
		r, err := j.bodies.load(r)
		if err != nil && !Damaged(err) { // whatever it is, it is in the way of no other
			err = damaged("%w", err)
		}
		if err := out.add(r, err); err != nil {
			return nil, err
		}
	}
	return out.answer()
}

func (j *Journal) reports(ctx context.Context, by bucketName, prefix []byte) ([]Report, error) {
	out, err := view(ctx, j, func(tx *bbolt.Tx) ([]Report, error) {
		var out gathered[Report]
		c := in(tx, by).Cursor()
		for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			if err := out.add(named[Report](tx, bucketReports, k[len(prefix):])); err != nil {
				return nil, err
			}
		}
		return out.answer()
	})
	slices.SortStableFunc(out, func(a, b Report) int { return a.Intended.Compare(b.Intended) })
	return out, err
}
