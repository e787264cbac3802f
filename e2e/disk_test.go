package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// disk SIZE: the data directory is on a disk of its own, of so many bytes.
func cmdDisk(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "disk SIZE"); err != nil {
		return err
	}
	if err := os.MkdirAll(w.data, 0o700); err != nil {
		return err
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+args[0]+",mode=0700", "tmpfs", w.data).CombinedOutput(); err != nil {
		return fmt.Errorf("mounting a small tmpfs, for which the tests must run as root, or in `unshare -rm`: %w\n%s", err, out)
	}
	ts.Defer(func() {
		w.end()
		if out, err := exec.Command("umount", "-l", w.data).CombinedOutput(); err != nil {
			ts.Logf("unmounting %s: %v\n%s", w.data, err, out)
		}
	})
	return nil
}

// fill LEFT: the disk of the data directory is used up but for so many bytes. fill off: it has room again.
func cmdFill(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "fill LEFT | fill off"); err != nil {
		return err
	}
	name := filepath.Join(w.data, "filling")
	if args[0] == "off" {
		return os.Remove(name)
	}
	left, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	page := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Truncate(info.Size() - left)
	}
	return errors.Join(err, f.Close())
}
