package locking_test

import (
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/locking"
)

const fixture = "testdata/format1.db"

//nolint:gochecknoglobals // a flag of the test binary
var recording = flag.Bool("record", false, "record "+fixture+" anew; only before its format was ever released")

// TestFormat1 opens a file that was recorded when format 1 was made.
func TestFormat1(t *testing.T) {
	t.Parallel()
	if *recording {
		recordFixture(t)
	}
	raw, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "locks.db")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, path)
	s, err := locking.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	ls, err := s.Locks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lock := func(k locking.Key, run string) locking.Lock {
		return locking.Lock{
			Key: k, Pull: pull(1), Repo: "acme/infra", PullTitle: "Add a <zone>", PullURL: "https://github.com/acme/infra/pull/1",
			User: "ada", Run: run, Since: at(0),
		}
	}
	want(t, "locks", ls, []locking.Lock{lock(key("net:core"), "01RUN1"), lock(key("envs/prod@blue"), "01RUN1")})
	ws, err := s.Waiters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waiter := locking.Waiter{
		Key: key("net"), Pull: pull(2), Repo: "acme/infra", User: "bob", Run: "01RUN2", Since: at(1), Seq: 1, Skipped: true,
	}
	want(t, "waiters", ws, []locking.Waiter{waiter})
	all, err := s.Audit(t.Context(), 0)
	if err != nil || len(all) != 6 {
		t.Fatalf("Audit() = %v, %v, want 6 entries", all, err)
	}
	want(t, "audit", all[1], locking.Entry{
		At: at(2), What: locking.Released, Key: key("dns"), Pull: pull(1), By: "ada", Why: "nothing is planned for it", Run: "01RUN1",
	})
	checkLayout(t, db)
	want(t, "it can be gone on with", got(ask(t, s, 3, true, "net:core")), []string{"net:core held by 1"})
}

// checkLayout compares raw bytes with the drawing in the package comment.
func checkLayout(t *testing.T, db *bbolt.DB) {
	t.Helper()
	err := db.View(func(tx *bbolt.Tx) error {
		k, v := tx.Bucket([]byte("waiters")).Cursor().First()
		f := "0000000a" + hex.EncodeToString([]byte("github.com")) + "0000000000000007"
		want(t, "key of a waiter", hex.EncodeToString(k),
			f+"00000003"+hex.EncodeToString([]byte("net"))+"00000007"+hex.EncodeToString([]byte("default"))+"00000000"+
				f+"0000000000000002")
		want(t, "waiter", string(v), `{"key":{"forge":"github.com","repo":7,"dir":"net","workspace":"default"},`+
			`"pull":{"forge":"github.com","repo":7,"number":2},"repo":"acme/infra","user":"bob","run":"01RUN2",`+
			`"since":"2023-11-14T22:13:21Z","seq":1,"skipped":true}`)
		k, _ = tx.Bucket([]byte("lock_audit")).Cursor().First()
		want(t, "key of an entry", hex.EncodeToString(k), "0000000000000001")
		want(t, "format", string(tx.Bucket([]byte("locks_meta")).Get([]byte("format"))), "1")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func recordFixture(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(fixture), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(fixture); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, fixture)
	s, err := locking.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	acquire := func(r locking.Request) {
		if _, err := s.Acquire(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	acquire(locking.Request{
		Pull: pull(1), Keys: keys("net:core", "envs/prod@blue", "dns"), Repo: "acme/infra", PullTitle: "Add a <zone>",
		PullURL: "https://github.com/acme/infra/pull/1", User: "ada", Run: "01RUN1", At: at(0), Wait: true,
	})
	acquire(locking.Request{Pull: pull(2), Keys: keys("net"), Repo: "acme/infra", User: "bob", Run: "01RUN2", At: at(1), Wait: true})
	_, err = s.Release(t.Context(), locking.Release{
		Pull: pull(1), Keys: keys("dns"), By: "ada", Why: "nothing is planned for it", At: at(2), Waiters: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Skip(t.Context(), pull(2), keys("net"), true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	spoil := func(t *testing.T, do func(tx *bbolt.Tx) error) error {
		t.Helper()
		db := openDB(t, filepath.Join(t.TempDir(), "locks.db"))
		if _, err := locking.Open(db); err != nil {
			t.Fatal(err)
		}
		if err := db.Update(do); err != nil {
			t.Fatal(err)
		}
		_, err := locking.Open(db)
		return err
	}
	err := spoil(t, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("locks_meta")).Put([]byte("format"), []byte("2")) })
	newer := new(locking.FormatError)
	if !errors.As(err, &newer) || !strings.Contains(err.Error(), "made by a newer Tidegate (format 2, this one reads 1)") {
		t.Errorf("Open() of format 2 = %v, want a FormatError", err)
	}
	for what, do := range map[string]func(tx *bbolt.Tx) error{
		"format":                func(tx *bbolt.Tx) error { return tx.Bucket([]byte("locks_meta")).Delete([]byte("format")) },
		"lock_audit is missing": func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("lock_audit")) },
	} {
		if err := spoil(t, do); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("Open() = %v, want an error about %s", err, what)
		}
	}
}
