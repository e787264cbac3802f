package journal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"
)

// Format is the format of the file that this package writes, and the newest it reads.
const Format = 1

// FormatError is a file or a record that a newer Tidegate made.
type FormatError struct {
	Is, Known int
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("made by a newer Tidegate (format %d, this one reads %d)", e.Is, e.Known)
}

// The points at which Options.Hook is called.
const (
	// BeforeCommit: everything is written into a transaction, nothing is on disk.
	BeforeCommit = "before commit"
	// AfterCommit: it is on disk, and nobody was told.
	AfterCommit = "after commit"
)

// Options are for OpenWith. The zero value is what Open uses.
type Options struct {
	// Bodies is the directory for long texts; "" is "reports" beside the file.
	Bodies string
	// Hook, if not nil, is called by the writer at its failpoints.
	Hook func(point string)
	// past is how older formats are brought to the present one; a test has a past of its own.
	past history
}

// olderError is a file that is to be migrated first.
type olderError struct{ is int }

func (e *olderError) Error() string { return fmt.Sprintf("the journal is of format %d", e.is) }

// Journal is the durable record. It is safe for concurrent use. Close it before the database.
//
// What its methods write is on disk when they return nil. When their context ends first they return
// its error, and the write may still happen. After Close they return ErrClosed. A record that can't be
// read is a *DamagedError, and never in the way of one that is written in its place.
type Journal struct {
	db      *bbolt.DB
	writer  *writer
	bodies  bodies
	arrived chan struct{}
	about   about

	mu     sync.Mutex
	last   uint64 // the newest id's milliseconds
	source *ulid.MonotonicEntropy
}

// about is the file's record of itself.
type about struct {
	Format int       `json:"format"`
	Server string    `json:"server"`
	Key    []byte    `json:"marker_key"`
	Made   time.Time `json:"made"`
}

const (
	keyAbout = "journal"
	keyPing  = "ping"
	// keyRestored is there when the journal came out of a backup.
	keyRestored = "restored"

	keySize = 32 // of the marker key
)

// Open is OpenWith the zero Options.
func Open(db *bbolt.DB) (*Journal, error) { return OpenWith(db, Options{}) }

// OpenWith opens the journal in a database, or makes it in an empty one. A database that is neither
// is refused and left as it is. A newer format is a *FormatError; an older one is brought to the present
// one, and a copy of it kept beside.
func OpenWith(db *bbolt.DB, o Options) (*Journal, error) {
	if o.Hook == nil {
		o.Hook = func(string) {}
	}
	if o.past.now == 0 {
		o.past = ours()
	}
	if o.Bodies == "" {
		o.Bodies = filepath.Join(filepath.Dir(db.Path()), "reports")
	}
	j := &Journal{
		db: db, bodies: bodies{dir: o.Bodies}, arrived: make(chan struct{}, 1),
		source: ulid.Monotonic(rand.Reader, 0),
	}
	known, err := j.readAbout(o.past)
	if old := new(olderError); errors.As(err, &old) {
		if err := o.past.migrate(db, old.is); err != nil {
			return nil, err
		}
		known, err = j.readAbout(o.past)
	}
	if err != nil {
		return nil, err
	}
	if !known {
		if err := j.make(); err != nil {
			return nil, fmt.Errorf("making a new journal: %w", err)
		}
	}
	j.writer = newWriter(db, o.Hook)
	return j, nil
}

// readAbout answers whether the database is a journal of ours.
func (j *Journal) readAbout(past history) (known bool, err error) {
	err = j.db.View(func(tx *bbolt.Tx) error {
		meta := in(tx, bucketMeta)
		if meta == nil {
			return foreign(tx)
		}
		raw := meta.Get([]byte(keyAbout))
		// The format alone first: the rest may look different in another one.
		var f struct {
			Format int `json:"format"`
		}
		if err := json.Unmarshal(raw, &f); err != nil || f.Format < 1 {
			return errors.New("the file is not a journal of Tidegate: it does not say its format")
		}
		if f.Format > past.now {
			return &FormatError{Is: f.Format, Known: past.now}
		}
		if f.Format < past.now {
			return &olderError{f.Format}
		}
		known = true
		if err := json.Unmarshal(raw, &j.about); err != nil {
			return fmt.Errorf("reading what the journal says of itself: %w", err)
		}
		if len(j.about.Key) != keySize {
			return errors.New("the journal is damaged: its marker key is not whole")
		}
		for _, b := range bucketNames() {
			if in(tx, b) == nil {
				return fmt.Errorf("the journal is damaged: %s is missing", b)
			}
		}
		j.seed(tx)
		return nil
	})
	return known, err
}

// foreign answers an error when the database holds anything but what shares the file with us.
func foreign(tx *bbolt.Tx) error {
	shared := []string{"locks", "locks_meta", "waiters", "lock_audit"}
	return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if slices.Contains(shared, string(name)) {
			return nil
		}
		return fmt.Errorf("the file is not a journal of Tidegate: it holds %q", name)
	})
}

// seed lets new ids begin after those in the file, even if the clock was put back.
func (j *Journal) seed(tx *bbolt.Tx) {
	c := in(tx, bucketRuns).Cursor()
	for k, _ := c.Last(); k != nil; k, _ = c.Prev() {
		if id, err := ulid.ParseStrict(string(k)); err == nil { // a damaged one is passed over
			j.last = min(id.Time(), ulid.MaxTime()-1) + 1
			return
		}
	}
}

func (j *Journal) make() error {
	key := make([]byte, keySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	j.about = about{Format: Format, Server: j.NewRunID(), Key: key, Made: time.Now().UTC()}
	return j.db.Update(func(tx *bbolt.Tx) error {
		for _, b := range bucketNames() {
			if _, err := tx.CreateBucketIfNotExists([]byte(b)); err != nil {
				return fmt.Errorf("making %s: %w", b, err)
			}
		}
		return put(tx, bucketMeta, []byte(keyAbout), j.about)
	})
}

// Close lets no write in any more, waits until what was accepted is on disk, and returns. It does not
// close the database. It may be called more than once.
func (j *Journal) Close() error {
	j.writer.close()
	return nil
}

// ServerID names this server for good.
func (j *Journal) ServerID() string { return j.about.Server }

// MarkerKey is the secret that our comments are signed with: 32 random bytes, the same ever since the
// file was made.
func (j *Journal) MarkerKey() []byte { return slices.Clone(j.about.Key) }

// Ping makes a real write, to see whether one can be made.
func (j *Journal) Ping(ctx context.Context) error {
	now := time.Now().UTC()
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		return none{}, put(tx, bucketMeta, []byte(keyPing), now)
	})
	if err != nil {
		return fmt.Errorf("writing to the journal: %w", err)
	}
	return nil
}

// NewRunID makes a ULID that is bigger than every one it made before, and than every run's in the
// file.
func (j *Journal) NewRunID() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = max(j.last, ulid.Now())
	for {
		id, err := ulid.New(j.last, j.source)
		if err == nil {
			return id.String()
		}
		j.last++ // the random part of this millisecond has run over
	}
}
