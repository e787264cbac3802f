package locking

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/bbolt"
)

// cache keeps the table as the file has it, so that it is not decoded for every question. The
// generation in the file says whether it still is.
type cache struct {
	mu    sync.Mutex
	table *table // never changed; nil before the first look
}

// load answers the table as tx sees it. It must not be changed.
func (c *cache) load(tx *bbolt.Tx) *table {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table != nil && c.table.generation == tx.Bucket([]byte(bucketMeta)).Sequence() {
		return c.table
	}
	t := load(tx)
	if !tx.Writable() { // what a transaction that writes sees may never come to be
		c.table = t
	}
	return t
}

func (c *cache) keep(t *table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.table = t
}

// update changes the table in a transaction. The file has the changes when it returns nil.
func (s *Store) update(ctx context.Context, do func(*table) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var changed *table
	err := s.db.Update(func(tx *bbolt.Tx) error {
		t := s.cache.load(tx)
		changed = &table{tx: tx, locks: slices.Clone(t.locks), waiters: slices.Clone(t.waiters)}
		var err error
		if changed.generation, err = tx.Bucket([]byte(bucketMeta)).NextSequence(); err != nil {
			return err
		}
		return do(changed)
	})
	if err != nil {
		return err
	}
	changed.tx = nil
	s.cache.keep(changed)
	return nil
}

// read answers from the table. What do gives away it must not share.
func read[T any](ctx context.Context, s *Store, do func(*table) (T, error)) (got T, err error) {
	if err := ctx.Err(); err != nil {
		return got, err
	}
	err = s.db.View(func(tx *bbolt.Tx) (err error) {
		got, err = do(s.cache.load(tx))
		return err
	})
	if err != nil {
		return got, fmt.Errorf("reading locks: %w", err)
	}
	return got, nil
}

// load reads the whole table.
func load(tx *bbolt.Tx) *table {
	t := &table{generation: tx.Bucket([]byte(bucketMeta)).Sequence()}
	note := func(err error) {
		if err != nil {
			t.damage = append(t.damage, err)
		}
	}
	c := tx.Bucket([]byte(bucketLocks)).Cursor()
	for k, raw := c.First(); k != nil; k, raw = c.Next() {
		l, there, err := readLock(tx, k, raw)
		if note(err); there {
			t.locks = append(t.locks, l)
		}
	}
	c = tx.Bucket([]byte(bucketWaiters)).Cursor()
	for k, raw := c.First(); k != nil; k, raw = c.Next() {
		w, there, err := readWaiter(k, raw)
		if note(err); there {
			t.waiters = append(t.waiters, w)
		}
	}
	slices.SortStableFunc(t.waiters, func(a, b Waiter) int { return cmp.Compare(a.Seq, b.Seq) })
	return t
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
