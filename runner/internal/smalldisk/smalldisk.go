// Package smalldisk gives a test a disk of its own, small enough to be filled. It needs the right to mount: root's, or that of
// `unshare -rm`. Start at New.
package smalldisk

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

const filling = "filling"

// Disk is a mounted disk. It is gone when its test is over.
type Disk struct {
	t testing.TB
	// Dir is where it is mounted.
	Dir string
}

// New mounts a disk with options of tmpfs, such as size=1m, at dir, which it makes.
func New(tb testing.TB, dir, options string) Disk {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.CommandContext(tb.Context(), "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		tb.Fatalf("mounting a small tmpfs, for which the tests must run as root, or in `unshare -rm`: %v\n%s", err, out)
	}
	tb.Cleanup(func() {
		if out, err := exec.CommandContext(context.Background(), "umount", "-l", dir).CombinedOutput(); err != nil {
			tb.Errorf("unmounting %s: %v\n%s", dir, err, out)
		}
	})
	return Disk{t: tb, Dir: dir}
}

// Fill uses up the disk but for so many bytes. It may be called from any goroutine.
func (d Disk) Fill(left int64) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.Dir, filling), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Error(err)
		return
	}
	page, size := make([]byte, 4096), int64(0)
	for err == nil {
		var n int
		n, err = f.Write(page)
		size += int64(n)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		d.t.Errorf("filling a disk = %v, want %v", err, syscall.ENOSPC)
	}
	if err := errors.Join(f.Truncate(size-left), f.Close()); err != nil {
		d.t.Error(err)
	}
}

// Free gives back what Fill used up.
func (d Disk) Free() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.Dir, filling)); err != nil {
		d.t.Fatal(err)
	}
}
