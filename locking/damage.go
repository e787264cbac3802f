package locking

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"

	"go.etcd.io/bbolt"
)

// A lock whose record can't be read is still a lock: what it is held on stands in the file's key, and
// who took it in the audit. Nothing comes free because a byte was spoilt.

// unreadable is the title of a pull request that can't be known any more.
const unreadable = "unknown: the record of this lock is damaged"

// readLock reads a lock. damage says what is wrong with its record; there is no lock when not even the
// key can be read.
func readLock(tx *bbolt.Tx, key, raw []byte) (l Lock, there bool, damage error) {
	if json.Unmarshal(raw, &l) == nil && bytes.Equal(lockKey(l.Key), key) {
		return l, true, nil
	}
	k, rest, ok := parseKey(key)
	if !ok || len(rest) > 0 {
		return l, false, fmt.Errorf("reading a lock: its key %q is damaged; it is left out", key)
	}
	e, known := lastTaken(tx, k)
	if !known {
		return Lock{Key: k, PullTitle: unreadable}, true,
			fmt.Errorf("reading the lock on %+v: its record is damaged, and the audit does not know who holds it: release it on its page", k)
	}
	return Lock{Key: k, Pull: e.Pull, User: e.By, Run: e.Run, Since: e.At}, true,
		fmt.Errorf("reading the lock on %+v: its record is damaged; by the audit it is held by %+v", k, e.Pull)
}

// readWaiter reads a waiter. One with a damaged record comes first: then it is called, and knows itself
// whether it can go.
func readWaiter(key, raw []byte) (w Waiter, there bool, damage error) {
	if json.Unmarshal(raw, &w) == nil && bytes.Equal(waiterKey(w.Key, w.Pull), key) {
		return w, true, nil
	}
	k, rest, ok := parseKey(key)
	p, rest, ok2 := parsePull(rest)
	if !ok || !ok2 || len(rest) > 0 {
		return w, false, fmt.Errorf("reading a waiter: its key %q is damaged; it is left out", key)
	}
	return Waiter{Key: k, Pull: p}, true, fmt.Errorf("reading the waiter %+v for %+v: its record is damaged; it comes first", p, k)
}

// lastTaken is the audit's entry of who took a key, if that was the last that happened to it.
func lastTaken(tx *bbolt.Tx, k Key) (e Entry, known bool) {
	c := tx.Bucket([]byte(bucketAudit)).Cursor()
	for at, raw := c.Last(); at != nil; at, raw = c.Prev() {
		var e Entry
		if json.Unmarshal(raw, &e) == nil && e.Key == k && (e.What == Acquired || e.What == Released) {
			return e, e.What == Acquired
		}
	}
	return e, false
}

// parseKey reads what Bytes has written, and answers what comes after it.
func parseKey(b []byte) (k Key, rest []byte, ok bool) {
	parts := []*string{&k.Forge, &k.Dir, &k.Workspace, &k.Project}
	for i, part := range parts {
		if *part, b, ok = parseText(b); !ok {
			return k, nil, false
		}
		if i > 0 {
			continue
		}
		if k.Repo, b, ok = parseInt(b); !ok {
			return k, nil, false
		}
	}
	return k, b, true
}

func parsePull(b []byte) (p Pull, rest []byte, ok bool) {
	var number int64
	if p.Forge, b, ok = parseText(b); !ok {
		return p, nil, false
	}
	if p.Repo, b, ok = parseInt(b); !ok {
		return p, nil, false
	}
	number, b, ok = parseInt(b)
	p.Number = int(number)
	return p, b, ok
}

func parseText(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 4 {
		return "", nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; n > math.MaxInt32 || int(n) > len(b) {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}

func parseInt(b []byte) (n int64, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	return int64(binary.BigEndian.Uint64(b)), b[8:], true
}
