package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner/smalldisk"
	"github.com/tidegate/tidegate/server/journal"
)

// A backup that finds no room fails, and leaves nothing that could be taken for one: neither under its name, nor beside it.
func TestABackupWithoutRoom(t *testing.T) {
	t.Parallel()
	small, data := t.TempDir(), t.TempDir()
	smalldisk.New(t, small, "size=256k")
	db, err := journal.OpenFile(filepath.Join(data, "tidegate.db"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(db)
	if err := errors.Join(err, j.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	state := make([]byte, 1<<20)
	_, _ = rand.Read(state)
	if err := errors.Join(os.MkdirAll(filepath.Join(data, "states", "f"), 0o700), os.WriteFile(filepath.Join(data, "states", "f", "terraform.tfstate"), state, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, before := range []string{"", "the last good one"} {
		to := filepath.Join(small, "kept.tar.gz")
		want := 0
		if before != "" {
			want = 1
			if err := os.WriteFile(to, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var said bytes.Buffer
		c := root(&said, &said)
		c.SetArgs([]string{"backup", "--data-dir", data, to})
		if err := c.ExecuteContext(t.Context()); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("backup on a full disk = %v, want %v", err, syscall.ENOSPC)
		}
		if left, err := os.ReadDir(small); err != nil || len(left) != want {
			t.Errorf("it has left %v, %v, want %d files", left, err, want)
		}
		if kept, err := os.ReadFile(to); before != "" && (err != nil || string(kept) != before) {
			t.Errorf("the backup before it is %q, %v", kept, err)
		}
	}
}
