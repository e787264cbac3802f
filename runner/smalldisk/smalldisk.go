// Package smalldisk gives a test a disk of its own, small enough to be filled. It needs the right to mount: root's, or that of
// `unshare -rm`. Only tests import it, those of any room. Start at New.
package smalldisk

import (
	"errors"
	"fmt"
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
	if err := Mount(dir, options); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := Unmount(dir); err != nil {
			tb.Error(err)
		}
	})
	return Disk{t: tb, Dir: dir}
}

// Fill uses up the disk but for so many bytes. It may be called from any goroutine.
func (d Disk) Fill(left int64) {
	d.t.Helper()
	if err := Fill(d.Dir, left); err != nil {
		d.t.Error(err)
	}
}

// Free gives back what Fill used up.
func (d Disk) Free() {
	d.t.Helper()
	if err := Free(d.Dir); err != nil {
		d.t.Fatal(err)
	}
}

// Mount is New for who unmounts the disk himself.
func Mount(dir, options string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil { //nolint:noctx // it is over at once
		return fmt.Errorf("mounting a small tmpfs, for which the tests must run as root, or in `unshare -rm`: %w\n%s", err, out)
	}
	return nil
}

// Unmount takes the disk at dir away, even while something is open on it.
func Unmount(dir string) error {
	if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil { //nolint:noctx // it is over at once
		return fmt.Errorf("unmounting %s: %w\n%s", dir, err, out)
	}
	return nil
}

// Fill uses up the disk at dir but for so many bytes.
func Fill(dir string, left int64) error {
	f, err := os.OpenFile(filepath.Join(dir, filling), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the disk is the test's own
	if err != nil {
		return err
	}
	page, size := make([]byte, 4096), int64(0)
	for err == nil {
		var n int
		n, err = f.Write(page)
		size += int64(n)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(fmt.Errorf("filling a disk = %w, want %w", err, syscall.ENOSPC), f.Close())
	}
	return errors.Join(f.Truncate(size-left), f.Close())
}

// Free gives back what Fill used up. A process that was forked meanwhile may have the file open until it executes something: what
// is only removed would still take its room.
func Free(dir string) error {
	name := filepath.Join(dir, filling)
	return errors.Join(os.Truncate(name, 0), os.Remove(name))
}
