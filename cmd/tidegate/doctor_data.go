package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tidegate/tidegate/server/backup"
)

// dataDir looks whether the server could work in the data directory. It is not made here: the server is often another user.
func (d *doctor) dataDir(s settings) {
	at, err := existing(s.dataDir)
	if err == nil {
		err = usable(at, s)
	}
	if err != nil {
		d.bad("Name a directory with --data-dir that the server's user can write to, on a disk of this machine with room.", "the data directory %s can't be used: %v", s.dataDir, err)
		return
	}
	free, _ := disk(at)
	if at != s.dataDir {
		d.ok("data directory %s, which the server will make, with %d MiB free", s.dataDir, free>>20)
		return
	}
	d.ok("data directory %s, with %d MiB free", s.dataDir, free>>20)
	d.owner(at, os.Geteuid())
}

// owner warns who is another user than the server: what it may is not what the server may. What the server has made tells who that is; before
// that the directory does, but for root's, as volumes are that a group may write to.
func (d *doctor) owner(dir string, we int) {
	info, err := os.Stat(filepath.Join(dir, backup.DBName))
	made := err == nil
	if !made {
		info, err = os.Stat(dir)
	}
	if err != nil {
		return
	}
	if of, ok := info.Sys().(*syscall.Stat_t); ok && int(of.Uid) != we && (made || of.Uid != 0) {
		d.warn("Run this as the server's user, who may do other things than you.", "the data directory belongs to user %d, and this runs as user %d", of.Uid, we)
	}
}

// existing is a directory, or the nearest one above it that is there.
func existing(dir string) (string, error) {
	for {
		_, err := os.Lstat(dir)
		if up := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && up != dir {
			dir = up
			continue
		}
		return dir, err
	}
}

// usable writes to a directory.
func usable(dir string, s settings) error {
	if err := checkFilesystem(dir, s.networkFS); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "doctor-")
	if err != nil {
		return err
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return err
	}
	return room{dir: dir, least: s.minFree}.check()
}
