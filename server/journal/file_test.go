package journal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/server/journal"
)

func TestOpenFileMakesOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tidegate.db")
	db, err := journal.OpenFile(path, time.Second)
	ok(t, err)
	ok(t, db.Close())
	entries, err := os.ReadDir(dir)
	ok(t, err)
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		ok(t, err)
		names = append(names, fmt.Sprintf("%s %o", e.Name(), info.Mode().Perm()))
	}
	want(t, "files", names, []string{"tidegate.db 600", "tidegate.db.owner 600"})
	if _, err := journal.OpenFile(filepath.Join(dir, "no", "such.db"), time.Second); err == nil {
		t.Error("OpenFile() in no directory = nil error")
	}
	if _, err := journal.OpenFile(dir, time.Second); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("OpenFile() of a directory = %v", err)
	}
}

func TestOpenFileSaysWhoHoldsIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	openDB(t, path)
	host, err := os.Hostname()
	ok(t, err)
	_, err = journal.OpenFile(path, time.Millisecond)
	held := new(journal.HeldError)
	if !errors.As(err, &held) || held.PID != os.Getpid() || held.Host != host {
		t.Fatalf("OpenFile() = %v, want a HeldError with our pid", err)
	}
	if want := fmt.Sprintf("%s is held by pid %d on host %s", path, os.Getpid(), host); err.Error() != want {
		t.Errorf("OpenFile() = %q, want %q", err, want)
	}
	ok(t, os.Remove(path+".owner"))
	if _, err := journal.OpenFile(path, time.Millisecond); err == nil || !strings.HasSuffix(err.Error(), "is held by another process") {
		t.Errorf("OpenFile() without the owner's file = %v", err)
	}
}

// Many first starts at once make one file.
func TestOpenFileRace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for range 8 {
		wg.Go(func() {
			db, err := journal.OpenFile(path, 20*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			j, err := journal.Open(db)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			seen[j.ServerID()]++
			mu.Unlock()
			if err := errors.Join(j.Close(), db.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Errorf("journals that were opened: %v, want one, eight times", seen)
	}
}

// A file that can't be read is an error, and it is still there afterwards, as it was.
func TestOpenFileLeavesDamagedFilesAlone(t *testing.T) {
	t.Parallel()
	good := filled(t)
	for name, damage := range map[string]func([]byte) []byte{
		"empty":            func([]byte) []byte { return nil },
		"text":             func([]byte) []byte { return []byte("hello") },
		"long text":        func(b []byte) []byte { return []byte(strings.Repeat("hello\n", len(b)/6)) },
		"zeros":            func(b []byte) []byte { return make([]byte, len(b)) },
		"cut off":          func(b []byte) []byte { return b[:4096*5+100] },
		"cut at two pages": func(b []byte) []byte { return b[:8192] },
		"both metas":       func(b []byte) []byte { b[20]++; b[4096+20]++; return b },
		"root page gone":   func(b []byte) []byte { return zero(b, 4096*2, 4096*len(b)/4096) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tidegate.db")
			raw := damage(append([]byte{}, good...))
			ok(t, os.WriteFile(path, raw, 0o600))
			db, err := journal.OpenFile(path, time.Second)
			if err == nil {
				_ = db.Close()
				t.Fatal("OpenFile() = nil error")
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("OpenFile() = %v, want the path and that it is damaged", err)
			}
			after, rerr := os.ReadFile(path)
			if rerr != nil || string(after) != string(raw) {
				t.Errorf("the file was changed (%v)", rerr)
			}
		})
	}
}

func zero(b []byte, from, to int) []byte {
	clear(b[from:min(to, len(b))])
	return b
}

// filled is a journal of some size, as bytes.
func filled(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	db := openDB(t, path)
	j, err := journal.Open(db)
	ok(t, err)
	for i := range 60 {
		add(t, j, i, fmt.Sprint(i))
		r := run(j, i, 0)
		ok(t, j.CreateRun(t.Context(), r, []journal.Job{job(r, 1)}))
	}
	ok(t, j.Close())
	ok(t, db.Close())
	raw, err := os.ReadFile(path)
	ok(t, err)
	return raw
}

// Whatever a disk does to a file: it is refused, or opened and read, records included or refused. No
// damage ends the process.
func TestDamageIsFoundBeforeItHurts(t *testing.T) {
	t.Parallel()
	good := filled(t)
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 150 {
		raw := append([]byte{}, good...)
		for range 1 + r.IntN(3) {
			// Headers and elements are at the beginning of pages.
			at := r.IntN(len(raw)/4096)*4096 + r.IntN(200)
			raw[at] ^= byte(1 << r.IntN(8))
		}
		path := filepath.Join(dir, "tidegate.db")
		ok(t, os.WriteFile(path, raw, 0o600))
		if useAll(t, path) != nil {
			refused++
		}
	}
	if refused < 50 {
		t.Errorf("%d of 150 damaged files were refused, want most", refused)
	}
}

func useAll(t *testing.T, path string) error {
	t.Helper()
	db, err := journal.OpenFile(path, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	j, err := journal.Open(db)
	if err != nil {
		return err
	}
	_, err = j.Queued(t.Context())
	_, rerr := j.Runs(t.Context(), journal.Filter{})
	_, _, aerr := j.AddEvent(t.Context(), event(1), "one more")
	return errors.Join(err, rerr, aerr, j.Close())
}

func TestOpenFileWhereOneWas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	db, err := journal.OpenFile(path, time.Second)
	ok(t, err)
	ok(t, db.Close())
	ok(t, os.Remove(path))
	_, err = journal.OpenFile(path, time.Second)
	if err == nil || !strings.Contains(err.Error(), "remove "+path+".owner") {
		t.Fatalf("OpenFile() of a journal that is gone = %v, want the way out", err)
	}
	ok(t, os.Remove(path+".owner"))
	openDB(t, path)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		spoil func(*bbolt.Tx) error
		says  string
	}{
		{"foreign", func(tx *bbolt.Tx) error {
			if err := tx.DeleteBucket([]byte("meta")); err != nil {
				return err
			}
			_, err := tx.CreateBucket([]byte("widgets"))
			return err
		}, "not a journal of Tidegate: it holds"},
		{"no format", func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("journal")) }, "does not say its format"},
		{"newer", func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("journal"), []byte(`{"format":2,"server":{}}`))
		}, "made by a newer Tidegate (format 2, this one reads 1)"},
		{"bucket missing", func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("runs_running")) }, "runs_running is missing"},
		{"short key", func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("journal"), []byte(`{"format":1,"server":"x","marker_key":"AAAA"}`))
		}, "marker key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := openDB(t, filepath.Join(t.TempDir(), "tidegate.db"))
			j, err := journal.Open(db)
			ok(t, err)
			ok(t, j.Close())
			ok(t, db.Update(tt.spoil))
			if _, err := journal.Open(db); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Open() = %v, want %q", err, tt.says)
			}
		})
	}
}

// The locks may have been opened first.
func TestOpenBesideLocks(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "tidegate.db"))
	ok(t, db.Update(func(tx *bbolt.Tx) error {
		for _, b := range []string{"locks", "locks_meta", "waiters", "lock_audit"} {
			if _, err := tx.CreateBucket([]byte(b)); err != nil {
				return err
			}
		}
		return nil
	}))
	j, err := journal.Open(db)
	ok(t, err)
	ok(t, j.Close())
}

// A process that is forked while the file is looked through holds what was open then until it runs its program.
func TestAForkHoldsNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	ctx, stop := context.WithCancel(t.Context())
	var forks sync.WaitGroup
	for range 4 {
		forks.Go(func() {
			for ctx.Err() == nil {
				_ = exec.CommandContext(ctx, "true").Run()
			}
		})
	}
	defer forks.Wait()
	defer stop()
	for range 300 {
		db, err := journal.OpenFile(path, time.Nanosecond)
		ok(t, err)
		ok(t, db.Close())
	}
}
