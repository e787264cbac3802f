package locking

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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
// are none. A newer format is a *FormatError.
func Open(db *bbolt.DB) (*Store, error) {
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
		_, err := load(tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the locks: %w", err)
	}
	return &Store{db: db}, nil
}

func create(tx *bbolt.Tx) error {
	for _, b := range []string{bucketMeta, bucketLocks, bucketWaiters, bucketAudit} {
		if _, err := tx.CreateBucket([]byte(b)); err != nil {
			return fmt.Errorf("making %s: %w", b, err)
		}
	}
	return put(tx, bucketMeta, []byte(keyFormat), Format)
}

func put(tx *bbolt.Tx, bucket string, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return tx.Bucket([]byte(bucket)).Put(key, raw)
}

// lockKey has no pull request in it: a key has one holder.
func lockKey(k Key) []byte { return k.Bytes() }

func waiterKey(k Key, p Pull) []byte { return append(k.Bytes(), p.bytes()...) }

func (t *table) putLock(l Lock) error {
	at, there := slices.BinarySearchFunc(t.locks, l.Key, func(x Lock, k Key) int {
		return bytes.Compare(x.Key.Bytes(), k.Bytes())
	})
	if there {
		if t.locks[at].Pull != l.Pull {
			return fmt.Errorf("the lock on %+v belongs to %+v, not to %+v", l.Key, t.locks[at].Pull, l.Pull)
		}
		t.locks[at] = l
	} else {
		t.locks = slices.Insert(t.locks, at, l)
	}
	return put(t.tx, bucketLocks, lockKey(l.Key), l)
}

func (t *table) dropLock(l Lock) error {
	i := t.held(l.Pull, l.Key)
	if i < 0 {
		return fmt.Errorf("%+v does not hold %+v", l.Pull, l.Key)
	}
	t.locks = slices.Delete(t.locks, i, i+1)
	return t.tx.Bucket([]byte(bucketLocks)).Delete(lockKey(l.Key))
}

func (t *table) putWaiter(w Waiter) error {
	if i := t.place(w.Pull, w.Key); i >= 0 {
		t.waiters[i] = w
	} else {
		t.waiters = append(t.waiters, w)
	}
	return put(t.tx, bucketWaiters, waiterKey(w.Key, w.Pull), w)
}

func (t *table) dropWaiter(i int) error {
	w := t.waiters[i]
	t.waiters = slices.Delete(t.waiters, i, i+1)
	return t.tx.Bucket([]byte(bucketWaiters)).Delete(waiterKey(w.Key, w.Pull))
}
