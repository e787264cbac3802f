package locking

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

const (
	bucketMeta    = "locks_meta"
	bucketLocks   = "locks"
	bucketWaiters = "waiters"
	bucketAudit   = "lock_audit"

	keyFormat = "format"
)

// Format is the format of the buckets that this package writes, and the newest it reads.
const Format = 1

// FormatError is a file that a newer Tidegate made.
type FormatError struct {
	Is, Known int
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("made by a newer Tidegate (format %d, this one reads %d)", e.Is, e.Known)
}

// Open opens the locks in a database, which others may use as well, and makes their buckets if there
// are none. A newer format is a *FormatError. Damaged records are no error: see Store.Damage.
func Open(db *bbolt.DB) (*Store, error) {
	s := &Store{db: db}
	err := db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		if meta == nil {
			return create(tx)
		}
		var format int
		if err := json.Unmarshal(meta.Get([]byte(keyFormat)), &format); err != nil || format < 1 {
			return errors.New("the locks do not say their format")
		}
		if format > Format {
			return &FormatError{Is: format, Known: Format}
		}
		for _, b := range []string{bucketLocks, bucketWaiters, bucketAudit} {
			if tx.Bucket([]byte(b)) == nil {
				return fmt.Errorf("the locks are damaged: %s is missing", b)
			}
		}
		s.damage = load(tx).damage
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening the locks: %w", err)
	}
	return s, nil
}

func create(tx *bbolt.Tx) error {
	for _, b := range []string{bucketMeta, bucketLocks, bucketWaiters, bucketAudit} {
		if _, err := tx.CreateBucket([]byte(b)); err != nil {
			return fmt.Errorf("making %s: %w", b, err)
		}
	}
	return put(tx, bucketMeta, []byte(keyFormat), Format)
}

// maxValue is the largest record, in bytes of JSON.
const maxValue = 64 << 10

// ErrTooLarge says that a record would be larger than 64 KiB. Nothing was changed.
var ErrTooLarge = errors.New("too large for the lock table")

func put(tx *bbolt.Tx, bucket string, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(raw) > maxValue {
		return fmt.Errorf("a record of %s has %d bytes, %d are allowed: %w", bucket, len(raw), maxValue, ErrTooLarge)
	}
	return tx.Bucket([]byte(bucket)).Put(key, raw)
}
