package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/server/journal"
)

// ErrNotEmpty says that the directory to restore into holds something.
var ErrNotEmpty = errors.New("a backup is restored into a new or an empty directory")

const (
	// stageDir is where an archive is unpacked; as long as it is there, nothing was restored.
	stageDir = ".restore"

	ownerName = DBName + ".owner"
	maxRecord = 1 << 30
	maxTail   = 1 << 20
	maxFiles  = 5_000_000
)

// Target is what a backup is restored into.
type Target struct {
	// Dir is the absolute data directory.
	Dir string
	// Room is how many bytes may be unpacked; 0 is any number.
	Room int64
}

// Restore makes a data directory of an archive. Everything is unpacked beside its place and compared with the
// manifest first; the journal gets its name last, and no server starts in the directory before that.
// After an error nothing is left of it. One that was cut short is started over.
func Restore(ctx context.Context, from io.Reader, t Target) (head Head, err error) {
	if err := t.prepare(); err != nil {
		return head, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.undo())
		}
	}()
	if head, err = t.unpack(ctx, from); err != nil {
		return head, fmt.Errorf("unpacking: %w", err)
	}
	if err := t.open(ctx, head); err != nil {
		return head, err
	}
	return head, t.finish()
}

func (t Target) stage() string { return filepath.Join(t.Dir, stageDir) }

// ours are the names that a restore puts into the directory, in the order they come.
func ours() []string { return append([]string{ownerName, stageDir}, trees()...) }

// prepare makes the directory ready. From the first file on a server says that its journal is gone, and makes
// no new one.
func (t Target) prepare() error {
	if err := os.MkdirAll(t.Dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(t.Dir)
	if err != nil {
		return err
	}
	cut := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == stageDir })
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "lost+found", name == ownerName, name == stageDir:
		case cut && slices.Contains(trees(), name):
		default:
			return fmt.Errorf("%s holds %s: %w", t.Dir, name, ErrNotEmpty)
		}
	}
	if err := t.undo(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(t.Dir, ownerName), []byte("{}\n"), 0o600); err != nil {
		return err
	}
	return os.Mkdir(t.stage(), 0o700)
}

// undo removes everything that a restore puts there, what it is known by last. With the journal in its place all
// is restored, and stays.
func (t Target) undo() error {
	if _, err := os.Lstat(filepath.Join(t.Dir, DBName)); err == nil {
		return nil
	}
	var errs []error
	names := ours()
	slices.Reverse(names)
	for _, name := range names {
		errs = append(errs, os.RemoveAll(filepath.Join(t.Dir, name)))
	}
	return errors.Join(errs...)
}

// unpack writes the files of an archive into the stage and compares them with the manifest.
func (t Target) unpack(ctx context.Context, from io.Reader) (head Head, err error) {
	zip, err := gzip.NewReader(from)
	if err != nil {
		return head, fmt.Errorf("this is no backup: %w", err)
	}
	root, err := os.OpenRoot(t.stage())
	if err != nil {
		return head, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	u := &unpacking{tar: tar.NewReader(zip), root: root, room: t.Room, made: map[string]bool{}}
	if err := u.record(headName, &head); err != nil {
		return head, fmt.Errorf("this is no backup: %w", err)
	}
	if head.Format < 1 {
		return head, errors.New("this is no backup: it does not say its format")
	}
	if head.Format > Format {
		return head, fmt.Errorf("the backup was made by a newer Tidegate (%s, format %d; this one reads %d)", head.Version, head.Format, Format)
	}
	var listed manifest
	for err == nil {
		if ctx.Err() != nil {
			return head, context.Cause(ctx)
		}
		err = u.next(&listed)
	}
	if !errors.Is(err, errDone) {
		return head, err
	}
	// The end of the tar, and gzip's checksum, which is looked at where the data ends.
	if n, err := io.Copy(io.Discard, io.LimitReader(zip, maxTail)); err != nil || n == maxTail {
		return head, errors.Join(errors.New("the archive has no proper end"), err)
	}
	return head, u.compare(listed)
}

var errDone = errors.New("the manifest was read")

// unpacking is an archive that is being read. Nothing in it is trusted.
type unpacking struct {
	tar  *tar.Reader
	root *os.Root
	room int64
	used int64
	all  []entry
	made map[string]bool // directories
}

// header answers the next file's, if it is a file.
func (u *unpacking) header() (*tar.Header, error) {
	h, err := u.tar.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the archive is cut off: it has no manifest")
	case err != nil:
		return nil, err
	case h.Typeflag != tar.TypeReg || h.Size < 0:
		return nil, fmt.Errorf("%q is not a file", h.Name)
	case len(u.all) >= maxFiles:
		return nil, fmt.Errorf("more than %d files", maxFiles)
	}
	return h, nil
}

// record reads one of our own JSON files, which must be the next.
func (u *unpacking) record(name string, v any) error {
	h, err := u.header()
	if err != nil {
		return err
	}
	if h.Name != name {
		return fmt.Errorf("%q stands where %s must", h.Name, name)
	}
	raw, err := u.read(h)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	u.all = append(u.all, entry{Path: name, Size: h.Size, SHA256: hex.EncodeToString(sum[:])})
	return json.Unmarshal(raw, v)
}

func (u *unpacking) read(h *tar.Header) ([]byte, error) {
	if h.Size > maxRecord {
		return nil, fmt.Errorf("%s is too large", h.Name)
	}
	return io.ReadAll(io.LimitReader(u.tar, maxRecord))
}

// next unpacks a file; errDone after the manifest.
func (u *unpacking) next(listed *manifest) error {
	h, err := u.header()
	if err != nil {
		return err
	}
	if h.Name == manifestName {
		raw, err := u.read(h)
		if err == nil {
			err = json.Unmarshal(raw, listed)
		}
		if err != nil {
			return fmt.Errorf("reading the manifest: %w", err)
		}
		return errDone
	}
	if h.Name != DBName && !usable(h.Name) {
		return fmt.Errorf("%q does not belong into a backup", h.Name)
	}
	if u.used += h.Size; u.room > 0 && (u.used > u.room || u.used < 0) {
		return fmt.Errorf("it needs more than the %d bytes that there are", u.room)
	}
	return u.write(h)
}

func (u *unpacking) write(h *tar.Header) (err error) {
	if dir := path.Dir(h.Name); !u.made[dir] {
		if err := u.root.MkdirAll(filepath.FromSlash(dir), 0o700); err != nil {
			return err
		}
		u.made[dir] = true
	}
	f, err := u.root.OpenFile(filepath.FromSlash(h.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), u.tar)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", h.Name, err)
	}
	u.all = append(u.all, entry{Path: h.Name, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
	return u.root.Chtimes(filepath.FromSlash(h.Name), time.Time{}, h.ModTime)
}

// compare: the manifest lists exactly what was there.
func (u *unpacking) compare(listed manifest) error {
	found := map[string]entry{}
	for _, e := range u.all {
		found[e.Path] = e
	}
	for _, e := range listed.Files {
		if got, ok := found[e.Path]; !ok || got != e {
			return fmt.Errorf("%q is not as the manifest says: the archive is damaged", e.Path)
		}
		delete(found, e.Path)
	}
	for name := range found {
		return fmt.Errorf("%q is not in the manifest: the archive is damaged", name)
	}
	return u.sync(".")
}

// sync makes the directories last.
func (u *unpacking) sync(name string) error {
	return fs.WalkDir(u.root.FS(), name, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncDir(filepath.Join(u.root.Name(), name))
	})
}

// open checks that the journal and the locks can be worked with, and records where they are now.
func (t Target) open(ctx context.Context, head Head) (err error) {
	db, err := journal.OpenFile(filepath.Join(t.stage(), DBName), time.Second)
	if err != nil {
		return fmt.Errorf("opening the restored journal: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	j, err := journal.Open(db)
	if err != nil {
		return fmt.Errorf("opening the restored journal: %w", err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if _, err := locking.Open(db); err != nil {
		return fmt.Errorf("opening the restored locks: %w", err)
	}
	return j.MarkRestored(ctx, journal.Restoration{Taken: head.Taken, At: time.Now().UTC()}, head.Dir, t.Dir)
}

// finish puts everything in its place, the journal last.
func (t Target) finish() error {
	for _, name := range append(trees(), DBName) {
		err := os.Rename(filepath.Join(t.stage(), name), filepath.Join(t.Dir, name))
		if err != nil && (name == DBName || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
		if err := syncDir(t.Dir); err != nil {
			return err
		}
	}
	return os.RemoveAll(t.stage())
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // a directory of ours
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
