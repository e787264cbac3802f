package locking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Lock is a pull request's hold on a key.
type Lock struct {
	Key  Key  `json:"key"`
	Pull Pull `json:"pull"`
	// Repo ("owner/name"), PullTitle and PullURL are as they were heard last.
	Repo      string `json:"repo,omitempty"`
	PullTitle string `json:"pull_title,omitempty"`
	PullURL   string `json:"pull_url,omitempty"`
	// User took it, at Since.
	User string `json:"user,omitempty"`
	// Run asked for it last.
	Run   string    `json:"run,omitempty"`
	Since time.Time `json:"since"`
}

// Waiter is a pull request's place in line for a key.
type Waiter struct {
	Key       Key       `json:"key"`
	Pull      Pull      `json:"pull"`
	Repo      string    `json:"repo,omitempty"`
	PullTitle string    `json:"pull_title,omitempty"`
	PullURL   string    `json:"pull_url,omitempty"`
	User      string    `json:"user,omitempty"`
	Run       string    `json:"run,omitempty"`
	Since     time.Time `json:"since"`
	// Seq is the place: who has the smaller one came earlier.
	Seq uint64 `json:"seq"`
	// Skipped: it keeps its place, but others need not wait for it.
	Skipped bool `json:"skipped,omitempty"`
}

// Request asks for locks.
type Request struct {
	Pull Pull
	Keys []Key
	// Repo, PullTitle, PullURL, User and Run are kept with what is acquired.
	Repo, PullTitle, PullURL, User, Run string
	// At is when; zero means now.
	At time.Time
	// Wait stands in line for what can't be had. Without it that is only told.
	Wait bool
}

// Blocked is a key that a request did not get.
type Blocked struct {
	Key Key
	// Holder is the lock that is in the way; zero when only somebody earlier in line is.
	Holder Lock
	// HolderPull is the holder, or the first in line.
	HolderPull Pull
	// Ahead is how many pull requests go before us, HolderPull not counted.
	Ahead int
}

// Cycle is a circle of pull requests that wait for each other: Pulls[i] holds Keys[i] (or stands in
// line for it earlier), and Pulls[i+1] waits for it; after the last comes the first. The same circle
// is always written in the same way.
type Cycle struct {
	Pulls []Pull
	Keys  []Key
}

// Grant is the answer to a request. Acquired and Blocked are in the request's order.
type Grant struct {
	Acquired []Lock
	Blocked  []Blocked
	Cycles   []Cycle
}

// Release gives locks back.
type Release struct {
	Pull Pull
	// Keys are what is given back; an empty list is nothing.
	Keys []Key
	// All, instead of Keys, is everything that the pull request has.
	All     bool
	Why, By string
	// At is when; zero means now.
	At time.Time
	// Waiters leaves the lines for them as well.
	Waiters bool
}

// Freed is what a release has ended.
type Freed struct {
	Locks []Lock
	Left  []Waiter
}

// Store keeps locks, lines and their audit. It is safe for concurrent use. What its methods change is
// on disk when they return nil.
type Store struct {
	db     *bbolt.DB
	cache  cache
	damage []error
}

// Damage is what Open could not read as it was written, and what was made of it: a lock is held as the
// audit tells, or by nobody who is known; a waiter comes first. Nothing comes free.
func (s *Store) Damage() []error { return slices.Clone(s.damage) }

// Acquire takes, in one transaction, every key that is free for the pull request.
//
// A key is free when no other pull request holds one that conflicts, and none stands in line for such
// a key earlier, unless that one is skipped or waits for us anyway. What the pull request holds already
// is acquired and keeps Since and User. Who acquires leaves the line; who is blocked and waits keeps
// the place it had, and is not skipped any more. Repo, PullTitle and PullURL are made known to all
// that the pull request holds and waits for.
//
// Circles of waiters that the pull request is part of are found in the same transaction, if it waits.
func (s *Store) Acquire(ctx context.Context, r Request) (Grant, error) {
	keys, err := distinct(r.Pull, r.Keys)
	if err != nil {
		return Grant{}, fmt.Errorf("acquiring locks: %w", err)
	}
	r.Keys, r.At = keys, orNow(r.At)
	var g Grant
	err = s.update(ctx, func(t *table) (err error) {
		g, err = t.acquire(r)
		return err
	})
	if err != nil {
		return Grant{}, fmt.Errorf("acquiring locks: %w", err)
	}
	return g, nil
}

// Release releases what the pull request holds of r.Keys, or all of it, and nothing of anybody else.
// What is not held is no error.
func (s *Store) Release(ctx context.Context, r Release) (Freed, error) {
	if r.All && len(r.Keys) > 0 {
		return Freed{}, errors.New("releasing locks: all and some at once")
	}
	r.At = orNow(r.At)
	var f Freed
	err := s.update(ctx, func(t *table) (err error) {
		f, err = t.release(r)
		return err
	})
	if err != nil {
		return Freed{}, fmt.Errorf("releasing locks: %w", err)
	}
	return f, nil
}

// Next lists, in the order they came, the waiters that would acquire their key now: what has to be
// called after every release and every start.
func (s *Store) Next(ctx context.Context) ([]Waiter, error) {
	return read(ctx, s, func(t *table) ([]Waiter, error) { return t.next(), nil })
}

// Skip marks the pull request's waiters for keys as skipped, or not; an empty list is none of them. A
// waiter that can't use its turn keeps its place and does not hold up the line.
func (s *Store) Skip(ctx context.Context, p Pull, keys []Key, skipped bool) error {
	err := s.update(ctx, func(t *table) error { return t.skip(p, only(keys), skipped, time.Now().UTC()) })
	if err != nil {
		return fmt.Errorf("skipping in line: %w", err)
	}
	return nil
}

// Leave takes the pull request out of the lines for keys; an empty list is none of them.
func (s *Store) Leave(ctx context.Context, p Pull, keys []Key) ([]Waiter, error) {
	return s.leave(ctx, p, only(keys))
}

// LeaveAll takes the pull request out of every line.
func (s *Store) LeaveAll(ctx context.Context, p Pull) ([]Waiter, error) {
	return s.leave(ctx, p, every)
}

func (s *Store) leave(ctx context.Context, p Pull, meant func(Key) bool) ([]Waiter, error) {
	var left []Waiter
	err := s.update(ctx, func(t *table) (err error) {
		left, err = t.leave(p, meant, Entry{At: time.Now().UTC()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("leaving the line: %w", err)
	}
	return left, nil
}

// Locks lists all locks, by key.
func (s *Store) Locks(ctx context.Context) ([]Lock, error) {
	return read(ctx, s, func(t *table) ([]Lock, error) { return slices.Clone(t.locks), nil })
}

// Waiters lists all waiters in the order they came.
func (s *Store) Waiters(ctx context.Context) ([]Waiter, error) {
	return read(ctx, s, func(t *table) ([]Waiter, error) { return slices.Clone(t.waiters), nil })
}

// Held lists the locks of a pull request, by key.
func (s *Store) Held(ctx context.Context, p Pull) ([]Lock, error) {
	return read(ctx, s, func(t *table) ([]Lock, error) {
		var out []Lock
		for _, l := range t.locks {
			if l.Pull == p {
				out = append(out, l)
			}
		}
		return out, nil
	})
}

// Get finds a lock by its key's ID.
func (s *Store) Get(ctx context.Context, id string) (Lock, bool, error) {
	found, err := read(ctx, s, func(t *table) ([]Lock, error) {
		i := slices.IndexFunc(t.locks, func(l Lock) bool { return l.Key.ID() == id })
		if i < 0 {
			return nil, nil
		}
		return t.locks[i : i+1 : i+1], nil
	})
	if err != nil || len(found) == 0 {
		return Lock{}, false, err
	}
	return found[0], true, nil
}

// distinct checks keys and drops those that come again.
func distinct(p Pull, keys []Key) ([]Key, error) {
	var out []Key
	var errs []error
	seen := map[Key]bool{}
	for _, k := range keys {
		if err := k.check(p); err != nil {
			errs = append(errs, err)
		}
		if !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out, errors.Join(errs...)
}

func orNow(t time.Time) time.Time {
	if t.IsZero() {
		t = time.Now()
	}
	return t.UTC()
}
