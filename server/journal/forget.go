package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/vcs"
)

// RunTime is when the id of a run was made.
func RunTime(id string) (time.Time, bool) {
	u, err := ulid.ParseStrict(id)
	if err != nil {
		return time.Time{}, false
	}
	return ulid.Time(u.Time()), true
}

// Forget removes a run with its jobs, plans and reports. It reports false, and removes nothing, when something may
// still come of it: it is not done, a report is owed, or a plan of it can be applied. Texts that are files
// are left to who sweeps them.
func (j *Journal) Forget(ctx context.Context, id string) (bool, error) {
	gone, err := write(ctx, j, func(tx *bbolt.Tx) (bool, error) { return forgetRun(tx, id) })
	if err != nil {
		return false, fmt.Errorf("forgetting run %s: %w", id, err)
	}
	return gone, nil
}

func forgetRun(tx *bbolt.Tx, id string) (bool, error) {
	r, ok, err := get[Run](tx, bucketRuns, []byte(id))
	if err != nil || !ok || r.State != RunDone {
		return false, err
	}
	plans, err := list[Plan](tx, bucketPlans, []byte(id+"/"))
	if err != nil {
		return false, err
	}
	for _, p := range plans {
		if p.State.Open() {
			return false, nil
		}
	}
	if gone, err := forgetReports(tx, r.Pull, func(rep Report) bool { return rep.Run == id || rep.ID == id }); err != nil || !gone {
		return false, err
	}
	for _, p := range plans {
		current := append(pullKey(p.Pull), projectKey(p.Project)...)
		if string(in(tx, bucketPlansCurrent).Get(current)) == p.ID {
			if err := in(tx, bucketPlansCurrent).Delete(current); err != nil {
				return false, err
			}
		}
		if err := in(tx, bucketPlans).Delete([]byte(p.ID)); err != nil {
			return false, err
		}
	}
	if err := dropAll(tx, bucketJobs, []byte(id)); err != nil {
		return false, err
	}
	if err := index(tx, bucketRunsByPull, append(pullKey(r.Pull), id...), false); err != nil {
		return false, err
	}
	return true, in(tx, bucketRuns).Delete([]byte(id))
}

// forgetReports removes the reports of a pull request that are meant, all or none of them.
func forgetReports(tx *bbolt.Tx, pull vcs.PullID, meant func(Report) bool) (bool, error) {
	prefix := pullKey(pull)
	var ids [][]byte
	c := in(tx, bucketReportsByPull).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && k != nil; k, _ = c.Next() {
		id := bytes.Clone(k[len(prefix):])
		rep, err := named[Report](tx, bucketReports, id)
		switch {
		case err != nil:
			return false, err
		case !meant(rep):
		case rep.owed():
			return false, nil
		default:
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		if err := index(tx, bucketReportsByPull, append(bytes.Clone(prefix), id...), false); err != nil {
			return false, err
		}
		if err := in(tx, bucketReports).Delete(id); err != nil {
			return false, err
		}
	}
	return true, nil
}

// dropAll removes every record whose key begins with prefix.
func dropAll(tx *bbolt.Tx, b bucketName, prefix []byte) error {
	var keys [][]byte
	c := in(tx, b).Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := in(tx, b).Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// ForgetPull removes what is remembered of a pull request that has no runs any more. It reports false, and removes
// nothing, when it has some, or when something is owed to it.
func (j *Journal) ForgetPull(ctx context.Context, id vcs.PullID) (bool, error) {
	gone, err := write(ctx, j, func(tx *bbolt.Tx) (bool, error) {
		prefix := pullKey(id)
		if k, _ := in(tx, bucketRunsByPull).Cursor().Seek(prefix); k != nil && bytes.HasPrefix(k, prefix) {
			return false, nil
		}
		if gone, err := forgetReports(tx, id, func(Report) bool { return true }); err != nil || !gone {
			return false, err
		}
		return true, in(tx, bucketPulls).Delete(prefix)
	})
	if err != nil {
		return false, fmt.Errorf("forgetting %s: %w", id, err)
	}
	return gone, nil
}

// forgetAtOnce is how many events go in one transaction.
const forgetAtOnce = 200

// ForgetEvents removes events that are done and may go, oldest first, at most so many, and answers how many it were.
//
// With an event goes its deduplication key: the same event, if it is ever told again, is a new one then. So
// may has to say no as long as anything could tell it again.
func (j *Journal) ForgetEvents(ctx context.Context, may func(Event) bool, most int) (int, error) {
	doomed, err := view(ctx, j, func(tx *bbolt.Tx) (map[uint64][]byte, error) { return forgettable(tx, may, most), nil })
	if err != nil || len(doomed) == 0 {
		return 0, err
	}
	var seqs []uint64
	for seq := range doomed {
		seqs = append(seqs, seq)
	}
	for at := 0; at < len(seqs); at += forgetAtOnce {
		some := seqs[at:min(at+forgetAtOnce, len(seqs))]
		_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
			for _, seq := range some {
				if key := doomed[seq]; key != nil {
					if err := in(tx, bucketEventKeys).Delete(key); err != nil {
						return none{}, err
					}
				}
				if err := in(tx, bucketEvents).Delete(seqKey(seq)); err != nil {
					return none{}, err
				}
			}
			return none{}, nil
		})
		if err != nil {
			return at, fmt.Errorf("forgetting events: %w", err)
		}
	}
	return len(seqs), nil
}

// forgettable are the events that may go, with their keys in event_keys. Damaged ones stay.
func forgettable(tx *bbolt.Tx, may func(Event) bool, most int) map[uint64][]byte {
	doomed := map[uint64][]byte{}
	c := in(tx, bucketEvents).Cursor()
	for k, raw := c.First(); k != nil && len(doomed) < most; k, raw = c.Next() {
		ev, err := decode[Event](bucketEvents, k, raw)
		if err == nil && ev.State == EventDone && in(tx, bucketEventsQueued).Get(k) == nil && may(ev) {
			doomed[ev.Seq] = nil
		}
	}
	if len(doomed) == 0 {
		return doomed
	}
	keys := in(tx, bucketEventKeys).Cursor()
	for k, seq := keys.First(); k != nil; k, seq = keys.Next() {
		if len(seq) != 8 {
			continue
		}
		if n := binary.BigEndian.Uint64(seq); hasKey(doomed, n) {
			doomed[n] = bytes.Clone(k)
		}
	}
	return doomed
}

func hasKey(m map[uint64][]byte, k uint64) bool { _, ok := m[k]; return ok }

// Named is what the records name that lies beside the file.
type Named struct {
	// Runs are the ids of all runs.
	Runs map[string]bool
	// Plans are the names of the plan files that can still be applied or are being applied. Bodies are those of
	// long texts.
	Plans, Bodies map[string]bool
	// Oldest is when the oldest plan that can still be applied was made; zero when there is none.
	Oldest time.Time
}

// Named reads all records. A *DamagedError says that some could not be read: then what is not named may be needed.
func (j *Journal) Named(ctx context.Context) (Named, error) {
	return view(ctx, j, func(tx *bbolt.Tx) (Named, error) {
		n := Named{Runs: map[string]bool{}, Plans: map[string]bool{}, Bodies: map[string]bool{}}
		c := in(tx, bucketRuns).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			n.Runs[string(k)] = true
		}
		var all gathered[none]
		for _, err := range []error{
			each(tx, bucketJobs, n.job), each(tx, bucketPlans, n.plan(&n.Oldest)), each(tx, bucketReports, n.report),
		} {
			if err := all.damaged(err); err != nil && !Damaged(err) {
				return n, err
			}
		}
		_, err := all.answer()
		return n, err
	})
}

// each calls do for every record of a bucket, and answers what is damaged.
func each[T any](tx *bbolt.Tx, b bucketName, do func(T)) error {
	var out gathered[none]
	c := in(tx, b).Cursor()
	for k, raw := c.First(); k != nil; k, raw = c.Next() {
		v, err := decode[T](b, k, raw)
		if err == nil {
			do(v)
			continue
		}
		if err := out.damaged(err); err != nil {
			return err
		}
	}
	_, err := out.answer()
	return err
}

func (n Named) job(j Job) {
	if j.Open() && j.Job.PlanFile != "" {
		n.Plans[filepath.Base(j.Job.PlanFile)] = true
	}
}

func (n Named) plan(oldest *time.Time) func(Plan) {
	return func(p Plan) {
		if !p.State.Open() {
			return
		}
		if p.File != "" {
			n.Plans[filepath.Base(p.File)] = true
		}
		if oldest.IsZero() || p.Made.Before(*oldest) {
			*oldest = p.Made
		}
	}
}

func (n Named) report(r Report) {
	if r.BodyFile != "" {
		n.Bodies[r.BodyFile] = true
	}
}
