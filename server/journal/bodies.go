package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// maxInline is how long a comment's text may be, as JSON, to stand in its record.
const maxInline = 16 << 10

// inline reports whether a text can stand in a record, and comes back from it as it was.
func inline(body string) bool {
	if len(body) > maxInline || !utf8.ValidString(body) {
		return false
	}
	// A control character takes six bytes.
	raw, err := encode(body)
	return err == nil && len(raw) <= maxInline
}

// bodies is the directory of texts that are too long for a record: files named by their SHA-256,
// which are never changed.
type bodies struct {
	dir string
}

// keep moves a long body of r to a file, durably.
func (b bodies) keep(r Report) (Report, error) {
	if inline(r.Body) {
		if r.Body != "" {
			r.BodyFile = ""
		}
		return r, nil
	}
	sum := sha256.Sum256([]byte(r.Body))
	name := hex.EncodeToString(sum[:])
	if r.BodyFile != name {
		if err := b.write(name, r.Body); err != nil {
			return r, fmt.Errorf("keeping its text: %w", err)
		}
	}
	r.Body, r.BodyFile = "", name
	return r, nil
}

func (b bodies) write(name, body string) (err error) {
	if err := b.make(); err != nil {
		return err
	}
	f, err := os.CreateTemp(b.dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.WriteString(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(b.dir, name)); err != nil {
		return err
	}
	return syncDir(b.dir)
}

// make makes the directory if it is not there. It is on disk when make returns, whoever made it.
func (b bodies) make() error {
	if err := os.Mkdir(b.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(b.dir))
}

// load reads the body of r back if it is in a file. Without that file r is damaged.
func (b bodies) load(r Report) (Report, error) {
	if r.BodyFile == "" {
		return r, nil
	}
	raw, err := os.ReadFile(filepath.Join(b.dir, filepath.Base(r.BodyFile)))
	if errors.Is(err, fs.ErrNotExist) {
		return r, damaged("reading the text of report %s: %w", r.ID, err)
	}
	if err != nil {
		return r, fmt.Errorf("reading the text of report %s: %w", r.ID, err)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != r.BodyFile {
		return r, damaged("reading the text of report %s: the file %s is damaged", r.ID, r.BodyFile)
	}
	r.Body = string(raw)
	return r, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // a directory of ours
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
