package locking

import (
	"cmp"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// table is everything that is held and waited for, as one transaction sees it. Changes go to the
// transaction and to the slices together.
type table struct {
	tx *bbolt.Tx
	// generation counts the changes that were ever made.
	generation uint64
	locks      []Lock   // in the order of the file's keys
	waiters    []Waiter // in the order they came
	damage     []error  // what could not be read as it was written
}

func (t *table) acquire(r Request) (Grant, error) {
	var g Grant
	if err := t.refresh(r); err != nil {
		return g, err
	}
	for _, k := range r.Keys {
		if b, blocked := t.blocked(r.Pull, k); blocked {
			g.Blocked = append(g.Blocked, b)
			if !r.Wait {
				continue
			}
			if err := t.wait(r, k); err != nil {
				return g, err
			}
			continue
		}
		l, err := t.take(r, k)
		if err != nil {
			return g, err
		}
		g.Acquired = append(g.Acquired, l)
	}
	if r.Wait && len(g.Blocked) > 0 {
		g.Cycles = t.cycles(r.Pull)
	}
	return g, nil
}

// take makes the lock, or keeps the one that is held.
func (t *table) take(r Request, k Key) (Lock, error) {
	if i := t.held(r.Pull, k); i >= 0 {
		l := t.locks[i]
		l.Run = cmp.Or(r.Run, l.Run)
		return l, t.putLock(l)
	}
	l := Lock{Key: k, Pull: r.Pull, Repo: r.Repo, PullTitle: r.PullTitle, PullURL: r.PullURL, User: r.User, Run: r.Run, Since: r.At}
	if i := t.place(r.Pull, k); i >= 0 {
		if err := t.dropWaiter(i); err != nil {
			return l, err
		}
	}
	if err := t.putLock(l); err != nil {
		return l, err
	}
	return l, t.note(Entry{At: r.At, What: Acquired, Key: k, Pull: r.Pull, By: r.User, Run: r.Run})
}

// wait stands in line, or keeps the place there is.
func (t *table) wait(r Request, k Key) error {
	if i := t.place(r.Pull, k); i >= 0 {
		w := t.waiters[i]
		was := w.Skipped
		w.Skipped, w.User, w.Run = false, cmp.Or(r.User, w.User), cmp.Or(r.Run, w.Run)
		if err := t.putWaiter(w); err != nil || !was {
			return err
		}
		return t.note(Entry{At: r.At, What: Resumed, Key: k, Pull: r.Pull, By: r.User, Run: r.Run})
	}
	seq, err := t.tx.Bucket([]byte(bucketWaiters)).NextSequence()
	if err != nil {
		return err
	}
	err = t.putWaiter(Waiter{
		Key: k, Pull: r.Pull, Repo: r.Repo, PullTitle: r.PullTitle, PullURL: r.PullURL,
		User: r.User, Run: r.Run, Since: r.At, Seq: seq,
	})
	if err != nil {
		return err
	}
	return t.note(Entry{At: r.At, What: Waiting, Key: k, Pull: r.Pull, By: r.User, Run: r.Run})
}

// refresh makes what the forge says now known to all that the pull request has.
func (t *table) refresh(r Request) error {
	for _, l := range t.locks {
		was := l
		l.Repo, l.PullTitle, l.PullURL = cmp.Or(r.Repo, l.Repo), cmp.Or(r.PullTitle, l.PullTitle), cmp.Or(r.PullURL, l.PullURL)
		if l.Pull == r.Pull && l != was {
			if err := t.putLock(l); err != nil {
				return err
			}
		}
	}
	for _, w := range t.waiters {
		was := w
		w.Repo, w.PullTitle, w.PullURL = cmp.Or(r.Repo, w.Repo), cmp.Or(r.PullTitle, w.PullTitle), cmp.Or(r.PullURL, w.PullURL)
		if w.Pull == r.Pull && w != was {
			if err := t.putWaiter(w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *table) release(r Release) (Freed, error) {
	var f Freed
	meant := only(r.Keys)
	if r.All {
		meant = every
	}
	for _, l := range slices.Clone(t.locks) {
		if l.Pull != r.Pull || !meant(l.Key) {
			continue
		}
		if err := t.dropLock(l); err != nil {
			return f, err
		}
		f.Locks = append(f.Locks, l)
		e := Entry{At: r.At, What: Released, Key: l.Key, Pull: l.Pull, By: r.By, Why: r.Why, Run: l.Run}
		if err := t.note(e); err != nil {
			return f, err
		}
	}
	if !r.Waiters {
		return f, nil
	}
	var err error
	f.Left, err = t.leave(r.Pull, meant, Entry{At: r.At, By: r.By, Why: r.Why})
	return f, err
}

// leave takes waiters away and notes each as e says.
func (t *table) leave(p Pull, meant func(Key) bool, e Entry) ([]Waiter, error) {
	var left []Waiter
	for _, w := range slices.Clone(t.waiters) {
		if w.Pull != p || !meant(w.Key) {
			continue
		}
		if err := t.dropWaiter(t.place(p, w.Key)); err != nil {
			return left, err
		}
		left = append(left, w)
		e.What, e.Key, e.Pull, e.Run = Left, w.Key, p, w.Run
		if err := t.note(e); err != nil {
			return left, err
		}
	}
	return left, nil
}

func (t *table) skip(p Pull, meant func(Key) bool, skipped bool, at time.Time) error {
	for _, w := range slices.Clone(t.waiters) {
		if w.Pull != p || !meant(w.Key) || w.Skipped == skipped {
			continue
		}
		w.Skipped = skipped
		if err := t.putWaiter(w); err != nil {
			return err
		}
		e := Entry{At: at, What: Skipped, Key: w.Key, Pull: p, Run: w.Run}
		if !skipped {
			e.What = Resumed
		}
		if err := t.note(e); err != nil {
			return err
		}
	}
	return nil
}

func every(Key) bool { return true }

// only: no keys mean no key.
func only(keys []Key) func(Key) bool {
	return func(k Key) bool { return slices.Contains(keys, k) }
}
