package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds the JSON files that are read.
const maxFile = 4 << 20

// FormatError is a file that this program does not understand, mostly because a newer one wrote it.
type FormatError struct {
	File   string
	Format int
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s has format %d, this program knows %d", e.File, e.Format, Format)
}

// open opens or makes a file of the step directory.
func open(dir, name string, flag int) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), flag, 0o600) //nolint:gosec // names are ours, and dir is who starts us's
}

// readJSON reads a small file of the step directory.
func readJSON(dir, name string, v any) error {
	f, err := open(dir, name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(raw) > maxFile {
		return fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if head.Format != Format {
		return &FormatError{File: name, Format: head.Format}
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// readIfThere answers nil for a file that is not there.
func readIfThere[T any](dir, name string) (*T, error) {
	v := new(T)
	err := readJSON(dir, name, v)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

func readStatus(dir string) (*Status, error) { return readIfThere[Status](dir, statusName) }

func readMark(dir string) (*Mark, error) { return readIfThere[Mark](dir, startedName) }

// writeDurably makes a JSON file appear complete or not at all, and makes it last.
func writeDurably(dir, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := open(dir, name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := open(dir, ".", os.O_RDONLY)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// reserveSize is more than any status needs; its texts are cut to maxText.
const (
	reserveSize = 8192
	maxText     = 1024
)

// reserve takes the room for the status while there is some: a disk that is full at the end must not
// turn a known end into an unknown one.
func reserve(dir string) error {
	f, err := open(dir, reservedName, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	return errors.Join(allocate(f, reserveSize), f.Close())
}

// writeStatus fills the reserved room and gives it its name.
func writeStatus(dir string, s Status) error {
	s.Format = Format
	s.Error, s.LogError = cut(s.Error), cut(s.LogError)
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := open(dir, reservedName, os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if err == nil {
		err = f.Truncate(int64(len(raw) + 1))
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, reservedName), filepath.Join(dir, statusName)); err != nil {
		return err
	}
	return syncDir(dir)
}

func cut(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}

// touch makes an empty file; made is false when there was one.
func touch(dir, name string) (made bool, err error) {
	f, err := open(dir, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

func exists(dir, name string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
