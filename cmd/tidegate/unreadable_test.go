package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/server/journal"
)

// A journal that can't be read is told at the start and left as it is; no empty one ever takes its place.
func TestUnreadableJournal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(dir, db string) error
		says   []string
	}{
		{"cut off", func(_, db string) error { return os.Truncate(db, 2*4096+100) }, []string{"is damaged", "put a backup in its place"}},
		{"empty", func(_, db string) error { return os.Truncate(db, 0) }, []string{"is damaged: it is empty", "put a backup in its place"}},
		{"gone", func(_, db string) error { return os.Remove(db) }, []string{"is gone, but", "put it back"}},
		{"a directory", func(_, db string) error { return errors.Join(os.Remove(db), os.Mkdir(db, 0o700)) }, []string{"is not a file"}},
		{"everything but the owner is gone", func(dir, db string) error {
			return errors.Join(os.Remove(db), os.RemoveAll(filepath.Join(dir, "runs")))
		}, []string{"is gone, but", "put it back"}},
		{"half a restore", func(dir, db string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, ".restore"), 0o700), os.Rename(db, filepath.Join(dir, ".restore", "tidegate.db")))
		}, []string{"is gone, but"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "tidegate.db")
			db, err := journal.OpenFile(path, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			j, err := journal.Open(db)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(j.Close(), db.Close(), c.damage(dir, path)); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(path)
			for range 2 {
				code, _, stderr := exit(t, tidegate(t, complete(t, dir)...))
				if code != exitUsage {
					t.Errorf("exit code %d, want %d", code, exitUsage)
				}
				for _, want := range append(c.says, path) {
					if !strings.Contains(stderr, want) {
						t.Errorf("%q is not in what is told:\n%s", want, stderr)
					}
				}
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}
