package e2e

import (
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate/tidegate/runner/smalldisk"
)

// disk SIZE: the data directory is on a disk of its own, of so many bytes.
func cmdDisk(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "disk SIZE"); err != nil {
		return err
	}
	if err := smalldisk.Mount(w.data, "mode=0700,size="+args[0]); err != nil {
		return err
	}
	ts.Defer(func() {
		w.end()
		if err := smalldisk.Unmount(w.data); err != nil {
			ts.Logf("%v", err)
		}
	})
	return nil
}

// fill LEFT: the disk of the data directory is used up but for so many bytes. fill off: it has room again.
func cmdFill(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "fill LEFT | fill off"); err != nil {
		return err
	}
	if args[0] == "off" {
		return smalldisk.Free(w.data)
	}
	left, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	return smalldisk.Fill(w.data, left)
}
