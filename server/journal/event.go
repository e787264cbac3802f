package journal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/vcs"
)

// EventState is how far an event was carried.
type EventState string

// The states of an event.
const (
	// EventQueued: still owed its run, or its run its answer.
	EventQueued EventState = "queued"
	EventDone   EventState = "done"
)

// Event is something that happened, as it was taken in.
type Event struct {
	// Seq counts all events of this journal from 1.
	Seq   uint64    `json:"seq"`
	Event vcs.Event `json:"event,omitzero"`
	// Internal is nil for events of a forge; else Event is zero.
	Internal *Internal  `json:"internal,omitempty"`
	Received time.Time  `json:"received"`
	State    EventState `json:"state"`
	// Run is the run that the event led to; empty until there is one.
	Run string `json:"run,omitempty"`
	// Outcome is why it ended without a run.
	Outcome string    `json:"outcome,omitempty"`
	Done    time.Time `json:"done,omitzero"`
}

// Internal is an event of our own making.
type Internal struct {
	// Kind is "unlocked" (a waiter's turn) or "release" (asked for on a page).
	Kind     string           `json:"kind"`
	Pull     vcs.PullID       `json:"pull"`
	LockID   string           `json:"lock_id,omitempty"`
	Key      string           `json:"key,omitempty"`
	User     string           `json:"user,omitempty"`
	Cause    string           `json:"cause,omitempty"`
	Projects []runner.Project `json:"projects,omitempty"`
}

// The name spaces of deduplication keys: no key of a forge's event can be one of ours.
const (
	fromForge = "forge\x00"
	fromUs    = "internal\x00"
)

// AddEvent takes an event in; it is on disk when AddEvent returns. An event whose key is known
// already is not added again: seq is then the first one's.
func (j *Journal) AddEvent(ctx context.Context, ev vcs.Event, key string) (seq uint64, added bool, err error) {
	return j.addEvent(ctx, Event{Event: ev}, fromForge, key)
}

// AddInternal takes an event of our own in. Its key is never that of a forge's event.
func (j *Journal) AddInternal(ctx context.Context, in Internal, key string) (seq uint64, added bool, err error) {
	return j.addEvent(ctx, Event{Internal: &in}, fromUs, key)
}

type addedEvent struct {
	seq   uint64
	added bool
}

func (j *Journal) addEvent(ctx context.Context, ev Event, space, key string) (uint64, bool, error) {
	if key == "" {
		return 0, false, errors.New("journalling an event: it has no deduplication key")
	}
	ev.Received, ev.State = time.Now().UTC(), EventQueued
	hash := sha256.Sum256([]byte(space + key))
	got, err := write(ctx, j, func(tx *bbolt.Tx) (addedEvent, error) {
		if known := in(tx, bucketEventKeys).Get(hash[:]); known != nil {
			// Whether it was carried out can't be known: neither lost in silence nor done twice.
			if len(known) != 8 || in(tx, bucketEvents).Get(known) == nil {
				return addedEvent{}, damaged("the event is known, but %s %q is not there", bucketEvents, known)
			}
			return addedEvent{seq: binary.BigEndian.Uint64(known)}, nil
		}
		ev := ev
		var err error
		if ev.Seq, err = in(tx, bucketEvents).NextSequence(); err != nil {
			return addedEvent{}, err
		}
		if err := putEvent(tx, ev); err != nil {
			return addedEvent{}, err
		}
		tx.OnCommit(j.arrive)
		return addedEvent{seq: ev.Seq, added: true}, in(tx, bucketEventKeys).Put(hash[:], seqKey(ev.Seq))
	})
	if err != nil {
		return 0, false, fmt.Errorf("journalling an event: %w", err)
	}
	return got.seq, got.added, nil
}

// arrive is called by the writer, so that an event whose sender gave up waiting is told of as well.
func (j *Journal) arrive() {
	select {
	case j.arrived <- struct{}{}:
	default:
	}
}

// Arrived is signalled after new events became durable. One signal may stand for many.
func (j *Journal) Arrived() <-chan struct{} { return j.arrived }

// putEvent writes an event and keeps the index of queued ones.
func putEvent(tx *bbolt.Tx, ev Event) error {
	k := seqKey(ev.Seq)
	if err := put(tx, bucketEvents, k, ev); err != nil {
		return err
	}
	return index(tx, bucketEventsQueued, k, ev.State == EventQueued)
}

// Event reads one event.
func (j *Journal) Event(ctx context.Context, seq uint64) (Event, bool, error) {
	return lookup[Event](ctx, j, bucketEvents, seqKey(seq))
}

// Queued lists the events that are not done, oldest first.
func (j *Journal) Queued(ctx context.Context) ([]Event, error) { return j.QueuedAfter(ctx, 0) }

// QueuedAfter lists those that came after an event: to look for new ones costs nothing, however long
// the queue is.
func (j *Journal) QueuedAfter(ctx context.Context, seq uint64) ([]Event, error) {
	return view(ctx, j, func(tx *bbolt.Tx) ([]Event, error) {
		var out gathered[Event]
		c := in(tx, bucketEventsQueued).Cursor()
		for k, _ := c.Seek(seqKey(seq + 1)); k != nil; k, _ = c.Next() {
			if err := out.add(named[Event](tx, bucketEvents, k)); err != nil {
				return nil, err
			}
		}
		return out.answer()
	})
}

// EventDone ends an event. run is empty when there was none, and outcome then says why. An event
// that is done already stays as it is.
func (j *Journal) EventDone(ctx context.Context, seq uint64, run, outcome string) error {
	now := time.Now().UTC()
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		ev, err := must[Event](tx, bucketEvents, seqKey(seq))
		if err != nil || ev.State == EventDone {
			return none{}, err
		}
		ev.State, ev.Outcome, ev.Done = EventDone, outcome, now
		if run != "" {
			ev.Run = run
		}
		return none{}, putEvent(tx, ev)
	})
	if err != nil {
		return fmt.Errorf("ending event %d: %w", seq, err)
	}
	return nil
}
