package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/vcs"
)

// bucketName is one of the buckets that the package comment draws.
type bucketName string

const (
	bucketMeta          bucketName = "meta"
	bucketEvents        bucketName = "events"
	bucketEventKeys     bucketName = "event_keys"
	bucketEventsQueued  bucketName = "events_queued"
	bucketRuns          bucketName = "runs"
	bucketRunsByPull    bucketName = "runs_by_pull"
	bucketRunsRunning   bucketName = "runs_running"
	bucketJobs          bucketName = "jobs"
	bucketPlans         bucketName = "plans"
	bucketPlansCurrent  bucketName = "plans_current"
	bucketReports       bucketName = "reports"
	bucketReportsByPull bucketName = "reports_by_pull"
	bucketReportsOwed   bucketName = "reports_owed"
	bucketPulls         bucketName = "pulls"
	bucketRepos         bucketName = "repos"
)

func bucketNames() []bucketName {
	return []bucketName{
		bucketMeta, bucketEvents, bucketEventKeys, bucketEventsQueued, bucketRuns, bucketRunsByPull,
		bucketRunsRunning, bucketJobs, bucketPlans, bucketPlansCurrent, bucketReports,
		bucketReportsByPull, bucketReportsOwed, bucketPulls, bucketRepos,
	}
}

// MaxValue is the largest record that is taken, in bytes of JSON. What can be larger is a file.
const MaxValue = 64 << 10

// Errors of the journal.
var (
	// ErrClosed: the journal was closed.
	ErrClosed = errors.New("the journal is closed")
	// ErrTooLarge: a record would be larger than MaxValue. Nothing was written.
	ErrTooLarge = errors.New("too large for the journal")
	// ErrUnknown: what should be changed is not in the journal.
	ErrUnknown = errors.New("not in the journal")
)

func in(tx *bbolt.Tx, b bucketName) *bbolt.Bucket { return tx.Bucket([]byte(b)) }

// none is the answer of writes that have nothing to tell.
type none struct{}

// encode is JSON as it stands in the file. Not json.Marshal: it writes <, > and & with six bytes each.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

// put writes a record.
func put(tx *bbolt.Tx, b bucketName, key []byte, v any) error {
	raw, err := encode(v)
	if err != nil {
		return fmt.Errorf("encoding a record of %s: %w", b, err)
	}
	if len(raw) > MaxValue {
		return fmt.Errorf("a record of %s has %d bytes, %d are allowed: %w", b, len(raw), MaxValue, ErrTooLarge)
	}
	return in(tx, b).Put(key, raw)
}

// get reads a record.
func get[T any](tx *bbolt.Tx, b bucketName, key []byte) (v T, ok bool, err error) {
	raw := in(tx, b).Get(key)
	if raw == nil {
		return v, false, nil
	}
	v, err = decode[T](b, key, raw)
	return v, err == nil, err
}

// must reads a record that is to be changed.
func must[T any](tx *bbolt.Tx, b bucketName, key []byte) (T, error) {
	v, ok, err := get[T](tx, b, key)
	if err == nil && !ok {
		err = fmt.Errorf("%s %s: %w", b, readable(key), ErrUnknown)
	}
	return v, err
}

// named reads a record that another one names: without it the file is damaged.
func named[T any](tx *bbolt.Tx, b bucketName, key []byte) (T, error) {
	v, ok, err := get[T](tx, b, key)
	if err == nil && !ok {
		err = damaged("reading %s %s: it is named, but not there", b, readable(key))
	}
	return v, err
}

// before reads the record that is about to be written over. A damaged one is none.
func before[T any](tx *bbolt.Tx, b bucketName, key []byte) (T, bool) {
	v, ok, err := get[T](tx, b, key)
	return v, ok && err == nil
}

// list reads all records whose keys begin with prefix, in the order of the keys.
func list[T any](tx *bbolt.Tx, b bucketName, prefix []byte) ([]T, error) {
	var out gathered[T]
	c := in(tx, b).Cursor()
	for k, raw := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, raw = c.Next() {
		if err := out.add(decode[T](b, k, raw)); err != nil {
			return nil, err
		}
	}
	return out.answer()
}

// lookup is get in a transaction of its own.
func lookup[T any](ctx context.Context, j *Journal, b bucketName, key []byte) (T, bool, error) {
	type found struct {
		v  T
		ok bool
	}
	f, err := view(ctx, j, func(tx *bbolt.Tx) (found, error) {
		v, ok, err := get[T](tx, b, key)
		return found{v, ok}, err
	})
	return f.v, f.ok, err
}

func decode[T any](b bucketName, key, raw []byte) (v T, err error) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, damaged("reading %s %s: %w", b, readable(key), err)
	}
	if f, ok := any(v).(formatted); ok {
		if is, known := f.format(); is > known {
			return v, damaged("reading %s %s: %w", b, readable(key), &FormatError{Is: is, Known: known})
		}
	}
	if r, ok := any(v).(keyed); ok && !bytes.Equal(r.key(), key) {
		return v, damaged("reading %s %s: it says that it is %s", b, readable(key), readable(r.key()))
	}
	return v, nil
}

// readable writes a key for people.
func readable(key []byte) string {
	if len(key) == 8 {
		return fmt.Sprint(binary.BigEndian.Uint64(key))
	}
	return fmt.Sprintf("%q", key)
}

// index keeps an entry of an index, or takes it away.
func index(tx *bbolt.Tx, b bucketName, key []byte, there bool) error {
	if there {
		return in(tx, b).Put(key, []byte{})
	}
	return in(tx, b).Delete(key)
}

// lastWith moves the cursor to the last key that begins with prefix. The key that it answers may be
// another one, when there is none.
func lastWith(c *bbolt.Cursor, prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		k, _ := c.Last()
		return k
	}
	end[len(end)-1]++
	return justBefore(c, end)
}

// justBefore moves the cursor to the last key that is smaller than end.
func justBefore(c *bbolt.Cursor, end []byte) []byte {
	if k, _ := c.Seek(end); k == nil {
		k, _ = c.Last()
		return k
	}
	k, _ := c.Prev()
	return k
}

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// text is a string after its length, so that no two lists of strings give the same bytes.
func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func repoKey(r vcs.RepoID) []byte {
	return binary.BigEndian.AppendUint64(text(nil, r.Forge), uint64(r.ID))
}

func pullKey(p vcs.PullID) []byte {
	return binary.BigEndian.AppendUint64(repoKey(p.Repo), uint64(p.Number))
}

func projectKey(p runner.Project) []byte {
	return text(text(text(nil, p.Dir), p.Workspace), p.Name)
}

func jobKey(run string, n int) []byte {
	return binary.BigEndian.AppendUint32([]byte(run), uint32(n))
}

// keyed is a record that says itself where it stands. One that stands elsewhere would be written there.
type keyed interface {
	key() []byte
}

func (e Event) key() []byte      { return seqKey(e.Seq) }
func (r Run) key() []byte        { return []byte(r.ID) }
func (j Job) key() []byte        { return jobKey(j.Run, j.N) }
func (p Plan) key() []byte       { return []byte(p.ID) }
func (r Report) key() []byte     { return []byte(r.ID) }
func (r PullRecord) key() []byte { return pullKey(r.ID) }
func (r RepoRecord) key() []byte { return repoKey(r.Repo.ID) }

// formatted is a record with a format number of its own.
type formatted interface {
	format() (is, known int)
}
