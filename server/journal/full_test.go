package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tidegate/tidegate/runner/smalldisk"
	"github.com/tidegate/tidegate/server/journal"
)

// TestFullDisk fills the disk under a journal: a write is refused and leaves nothing torn, what was acknowledged is
// there, and the same journal goes on when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smalldisk.New(t, t.TempDir(), "size=1m")
	path := filepath.Join(disk.Dir, "tidegate.db")
	db, err := journal.OpenFile(path, 0)
	ok(t, err)
	j, err := journal.OpenWith(db, journal.Options{})
	ok(t, err)
	var added []uint64
	for round := range 3 {
		added = append(added, addUntilFull(t, j, disk, round)...)
		disk.Free()
		ok(t, j.Ping(t.Context()))
		added = append(added, add(t, j, round, fmt.Sprint("with room again ", round)))
	}
	ok(t, j.Close())
	ok(t, db.Close())
	j = openWith(t, path, journal.Options{}) // all pages are checked here
	queued, err := j.QueuedAfter(t.Context(), 0)
	ok(t, err)
	var got []uint64
	for _, ev := range queued {
		got = append(got, ev.Seq)
	}
	want(t, "events", got, added)
}

// addUntilFull adds events to a disk without room until one is refused, and answers those that were not.
func addUntilFull(t *testing.T, j *journal.Journal, disk smalldisk.Disk, round int) []uint64 {
	t.Helper()
	disk.Fill(0)
	var added []uint64
	for n := 0; ; n++ {
		seq, _, err := j.AddEvent(t.Context(), event(n), fmt.Sprint(round, " ", n))
		if err == nil {
			added = append(added, seq)
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("AddEvent on a full disk = %v, want %v", err, syscall.ENOSPC)
		}
		return added
	}
}
