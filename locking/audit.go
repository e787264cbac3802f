package locking

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// What an Entry says.
const (
	Acquired = "acquired"
	Released = "released"
	Waiting  = "waiting"
	Left     = "left"
	Skipped  = "skipped"
	// Resumed: not skipped any more.
	Resumed = "resumed"
)

// Entry is one change, written in the same transaction.
type Entry struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
	Key  Key       `json:"key"`
	Pull Pull      `json:"pull"`
	By   string    `json:"by,omitempty"`
	Why  string    `json:"why,omitempty"`
	Run  string    `json:"run,omitempty"`
}

// maxAudit is how many entries are kept.
const maxAudit = 10_000

// note writes an entry and lets the oldest one go.
func (t *table) note(e Entry) error {
	b := t.tx.Bucket([]byte(bucketAudit))
	seq, err := b.NextSequence()
	if err != nil {
		return err
	}
	if err := put(t.tx, bucketAudit, auditKey(seq), e); err != nil {
		return err
	}
	if seq <= maxAudit {
		return nil
	}
	return b.Delete(auditKey(seq - maxAudit))
}

func auditKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// Audit lists the newest entries, newest first; all that are kept (the last 10,000) when limit is 0.
// Damaged ones are left out and named in the error.
func (s *Store) Audit(ctx context.Context, limit int) ([]Entry, error) {
	if limit < 0 {
		return nil, errors.New("reading the audit: a negative limit")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []Entry
	var damaged []error
	err := s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketAudit)).Cursor()
		for k, raw := c.Last(); k != nil && (limit == 0 || len(out) < limit); k, raw = c.Prev() {
			var e Entry
			if err := json.Unmarshal(raw, &e); err != nil {
				damaged = append(damaged, fmt.Errorf("entry %x: %w", k, err))
				continue
			}
			out = append(out, e)
		}
		return nil
	})
	if err = errors.Join(append(damaged, err)...); err != nil {
		return out, fmt.Errorf("reading the audit: %w", err)
	}
	return out, nil
}
