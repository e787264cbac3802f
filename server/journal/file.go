package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// HeldError is a database file that another process works with.
type HeldError struct {
	Path string
	// PID and Host are what the holder wrote down; zero when it did not.
	PID  int
	Host string
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return e.Path + " is held by another process"
	}
	return fmt.Sprintf("%s is held by pid %d on host %s", e.Path, e.PID, e.Host)
}

// owner is who opened the file last, kept beside it for people.
type owner struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// OpenFile opens the database file at path with the options that the journal is made for, or makes a
// new one where there never was any. It waits up to timeout for another process to let go of it, then
// answers a *HeldError.
//
// A file that can't be read, is empty, or is gone although there was one, is an error and is left as
// it is: nothing new is ever made in its place. All pages are checked first, because a damaged one
// would end the process later.
func OpenFile(path string, timeout time.Duration) (*bbolt.DB, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = create(path)
	case err == nil && !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a file", path)
	case err == nil && info.Size() == 0:
		err = fmt.Errorf("%s is damaged: it is empty; put a backup in its place", path)
	}
	if err != nil {
		return nil, err
	}
	if err := check(path, timeout); err != nil {
		return nil, err
	}
	db, err := open(path, bbolt.Options{
		Timeout: timeout, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, OpenFile: openThere,
	})
	if err != nil {
		return nil, err
	}
	own(path)
	return db, nil
}

// check looks through the whole file under a shared lock.
func check(path string, timeout time.Duration) (err error) {
	var f *os.File
	db, err := open(path, bbolt.Options{Timeout: timeout, ReadOnly: true, OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
		f, err = openThere(path, flag, mode)
		return f, err
	}})
	if err != nil {
		return err
	}
	defer func() {
		// bbolt leaves a shared lock to the close: it would last as long as a process has the file that was forked meanwhile.
		err = errors.Join(err, syscall.Flock(int(f.Fd()), syscall.LOCK_UN), db.Close())
	}()
	if err := verify(f, db.Info().PageSize); err != nil {
		return fmt.Errorf("%s is damaged (%w); it was left as it is: put a backup in its place", path, err)
	}
	return nil
}

func open(path string, o bbolt.Options) (db *bbolt.DB, err error) {
	defer func() {
		// bbolt panics when pages do not fit together. What it has opened then stays open, but
		// nothing can go on here anyway.
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%s is damaged (%v); it was left as it is: put a backup in its place", path, r)
		}
	}()
	db, err = bbolt.Open(path, 0o600, &o)
	var errno *fs.PathError
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, berrors.ErrTimeout):
		held := &HeldError{Path: path}
		if o, err := readOwner(path); err == nil {
			held.PID, held.Host = o.PID, o.Host
		}
		return nil, held
	case errors.As(err, &errno):
		return nil, err
	default:
		return nil, fmt.Errorf("%s is damaged or no journal (%w); it was left as it is: put a backup in its place", path, err)
	}
}

// openThere opens a file that is there. bbolt would make one.
func openThere(path string, flag int, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(path, flag&^os.O_CREATE, mode) //nolint:gosec // the operator names the data directory
}

// create makes an empty database. The file gets its name when it is complete, so that a crash can't
// leave half of one.
func create(path string) (err error) {
	if _, err := os.Stat(ownerFile(path)); err == nil {
		return fmt.Errorf("%s is gone, but %s says that there was one: put it back, or remove %[2]s to begin with an empty journal",
			path, ownerFile(path))
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer func() {
		if rerr := os.Remove(tmp); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(tmp, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	// Link, unlike rename, never replaces what another process made meanwhile.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(tmp, path); err != nil { // a file system without links
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

func ownerFile(path string) string { return path + ".owner" }

// own writes down who holds the file. It only serves messages: without it they are less helpful.
func own(path string) {
	host, _ := os.Hostname()
	raw, err := json.Marshal(owner{PID: os.Getpid(), Host: host, Since: time.Now().UTC()})
	if err == nil {
		err = os.WriteFile(ownerFile(path), append(raw, '\n'), 0o600)
	}
	if err != nil {
		_ = os.Remove(ownerFile(path)) // rather none than somebody else's
	}
}

func readOwner(path string) (o owner, err error) {
	raw, err := os.ReadFile(ownerFile(path))
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(raw, &o)
}
