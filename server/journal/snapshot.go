package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// Snapshot writes the file as it is now to path, where nothing may be, durably. What is written to the
// journal meanwhile is not in it. A snapshot is a file of its own because a reader that is slow, such as
// whom a backup is sent to, would hold up who writes.
func (j *Journal) Snapshot(ctx context.Context, path string) error {
	_, err := view(ctx, j, func(tx *bbolt.Tx) (none, error) { return none{}, snapshot(tx, path) })
	if err != nil {
		return fmt.Errorf("copying the journal: %w", err)
	}
	return nil
}

func snapshot(tx *bbolt.Tx, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // a path of ours below the data directory
	if err != nil {
		return err
	}
	_, err = tx.WriteTo(f)
	return errors.Join(err, f.Sync(), f.Close())
}

// Restoration tells that the journal came out of a backup: runs that are older than At may have gone on
// without it.
type Restoration struct {
	// Taken is when the backup was made.
	Taken time.Time `json:"taken"`
	At    time.Time `json:"at"`
}

// Restored answers the last restoration; the zero one when there was none.
func (j *Journal) Restored(ctx context.Context) (Restoration, error) {
	r, _, err := lookup[Restoration](ctx, j, bucketMeta, []byte(keyRestored))
	return r, err
}

// MarkRestored records that the journal came out of a backup of the data directory from, which is now at to: the
// records name directories by where they were. It may be called again.
func (j *Journal) MarkRestored(ctx context.Context, r Restoration, from, to string) error {
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		if err := put(tx, bucketMeta, []byte(keyRestored), r); err != nil || from == to {
			return none{}, err
		}
		m := mover{from: from, to: to}
		return none{}, errors.Join(move(tx, bucketJobs, m.job), move(tx, bucketPlans, m.plan))
	})
	if err != nil {
		return fmt.Errorf("recording a restore: %w", err)
	}
	return nil
}

// move changes every record of a bucket. Damaged ones stay as they are.
func move[T any](tx *bbolt.Tx, b bucketName, change func(*T)) error {
	changed := map[string]T{}
	c := in(tx, b).Cursor()
	for k, raw := c.First(); k != nil; k, raw = c.Next() {
		if v, err := decode[T](b, k, raw); err == nil {
			change(&v)
			changed[string(k)] = v
		}
	}
	for k, v := range changed {
		if err := put(tx, b, []byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

// mover names what lay in one directory by where it lies in another.
type mover struct{ from, to string }

func (m mover) paths(paths ...*string) {
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(*p, m.from+string(filepath.Separator)); ok {
			*p = filepath.Join(m.to, rest)
		}
	}
}

func (m mover) job(j *Job) {
	w := &j.Job
	m.paths(&w.Dir, &w.Checkout, &w.DataDir, &w.StateDir, &w.PlanFile, &w.StateFile, &w.Tool.Path, &j.ResultFile)
}

func (m mover) plan(p *Plan) { m.paths(&p.File, &p.Checkout, &p.TFData, &p.Tool.Path) }
