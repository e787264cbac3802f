// Package backup writes everything of a data directory that can't be made again into one archive, while
// the server works, and makes a data directory of such an archive.
//
// It knows no forge and no terraform; of the directory it knows the names at its top. What is made
// again is left out: checkouts, mirrors, providers, tools. A plan is applied only in the checkout that it was
// made in, so plans of a backup are there to be read, and are refused by who would apply them.
//
// Start with Write and Restore. A running server is asked through a Door.
//
// # The archive, format 1
//
// A gzipped tar of regular files, in this order:
//
//	backup.json     Head: {"format":1,"version":v,"taken":time,"dir":path}
//	tidegate.db     journal and locks, as they were at one moment
//	plans/ reports/ runs/ states/
//	                what the journal names, as it was found after that moment
//	manifest.json   {"files":[{"path":p,"size":n,"sha256":hex}]}: all of the above, itself left out. An archive
//	                without it was cut off.
//
// Anything that an older reader would misread gets a new number in backup.json, and it then refuses the archive.
package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidegate/tidegate/server/journal"
)

// Format is the format of the archives that this package writes, and the newest it reads.
const Format = 1

// Names in an archive, and in a data directory.
const (
	headName     = "backup.json"
	manifestName = "manifest.json"
	// DBName is the journal's file.
	DBName = "tidegate.db"

	scratchPrefix = ".backup-"
)

// trees are the directories that are kept.
func trees() []string { return []string{"plans", "reports", "runs", "states"} }

// Head says what an archive is.
type Head struct {
	Format  int       `json:"format"`
	Version string    `json:"version"`
	Taken   time.Time `json:"taken"`
	// Dir is the data directory that it was made of.
	Dir string `json:"dir"`
}

type manifest struct {
	Files []entry `json:"files"`
}

// entry is one file of an archive.
type entry struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Source is what a backup is made of.
type Source struct {
	// Dir is the absolute data directory.
	Dir     string
	Journal *journal.Journal
	// Version is of the program.
	Version string
	Log     *slog.Logger
}

// Write writes an archive. The journal is copied first: what the files say is never older than it.
func Write(ctx context.Context, to io.Writer, s Source) (err error) {
	taken := time.Now().UTC()
	scratch, err := os.MkdirTemp(s.Dir, scratchPrefix)
	if err != nil {
		return fmt.Errorf("making room for a copy of the journal: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if err := s.Journal.Snapshot(ctx, filepath.Join(scratch, DBName)); err != nil {
		return err
	}
	data, err := os.OpenRoot(s.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	copied, err := os.OpenRoot(scratch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, copied.Close()) }()

	zip := gzip.NewWriter(to)
	a := &archive{tar: tar.NewWriter(zip), at: taken, log: s.Log}
	if err := a.record(headName, Head{Format: Format, Version: s.Version, Taken: taken, Dir: s.Dir}); err != nil {
		return err
	}
	if err := a.file(copied, DBName); err != nil {
		return err
	}
	for _, tree := range trees() {
		if err := a.tree(ctx, data, tree); err != nil {
			return fmt.Errorf("reading %s: %w", tree, err)
		}
	}
	if err := a.record(manifestName, a.all); err != nil {
		return err
	}
	return errors.Join(a.tar.Close(), zip.Close())
}

// Clear removes what a backup that was cut short has left in a data directory. Nobody may be making one.
func Clear(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, scratchPrefix+"*"))
	for _, name := range left {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// archive is one in the making.
type archive struct {
	tar *tar.Writer
	at  time.Time
	all manifest
	log *slog.Logger
}

// record adds a JSON file of our own.
func (a *archive) record(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.add(name, a.at, int64(len(raw)), bytes.NewReader(raw))
}

// add adds a file. One that turns out shorter than its size, because it is written to meanwhile, is
// filled up with zeros.
func (a *archive) add(name string, at time.Time, size int64, from io.Reader) error {
	err := a.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: at, Typeflag: tar.TypeReg, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(a.tar, h), io.MultiReader(from, zeros{}), size); err != nil {
		return fmt.Errorf("adding %s: %w", name, err)
	}
	a.all.Files = append(a.all.Files, entry{Path: name, Size: size, SHA256: hex.EncodeToString(h.Sum(nil))})
	return nil
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// tree adds the files of a directory that are worth keeping. Links and what else is no file are left
// out: jobs write to some of these directories.
func (a *archive) tree(ctx context.Context, data *os.Root, name string) error {
	return fs.WalkDir(data.FS(), name, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // there never was one, or it has gone meanwhile
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !d.Type().IsRegular() || !kept(name):
			return nil
		}
		return a.file(data, name)
	})
}

// file adds a file below root, if it is still there.
func (a *archive) file(root *os.Root, name string) (err error) {
	f, err := openFile(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return nil
	case strings.HasPrefix(name, "states/"):
		return a.state(f, name, info)
	}
	return a.add(name, info.ModTime(), info.Size(), f)
}

// maxState is the largest state that is waited for to be whole.
const maxState = 256 << 20

// state adds a local state. terraform writes it in place, so that half of one may be read while an apply
// runs: then it is read again.
func (a *archive) state(f *os.File, name string, info fs.FileInfo) error {
	const tries = 20
	for try := 1; ; try++ {
		raw, err := io.ReadAll(io.NewSectionReader(f, 0, maxState+1))
		switch {
		case err != nil:
			return err
		case len(raw) > maxState:
			return a.add(name, info.ModTime(), info.Size(), f)
		case json.Valid(raw) || len(raw) == 0 || try == tries:
			if try == tries {
				a.log.Warn("a state in the backup is not whole", "file", name)
			}
			return a.add(name, info.ModTime(), int64(len(raw)), bytes.NewReader(raw))
		}
		<-time.After(50 * time.Millisecond)
	}
}

// kept reports whether a file is worth keeping. A step's spec has the environment of a job that runs, and is
// needed by nobody else; a terraform lock would lock the restored state for good.
func kept(name string) bool {
	base := path.Base(name)
	switch {
	case !usable(name):
		return false
	case strings.HasPrefix(name, "states/"):
		return strings.HasSuffix(base, ".tfstate") || strings.HasSuffix(base, ".tfstate.backup")
	case strings.HasPrefix(name, "reports/"), strings.HasPrefix(name, "plans/"):
		return !strings.HasPrefix(base, ".")
	}
	return !slices.Contains([]string{"spec.json", "status.tmp", "plan.tfplan"}, base) && !strings.HasSuffix(base, ".new")
}

// usable reports whether a name can stand in an archive: below one of the trees, and nothing but itself.
func usable(name string) bool {
	top, rest, _ := strings.Cut(name, "/")
	return slices.Contains(trees(), top) && rest != "" && path.Clean(name) == name && filepath.IsLocal(filepath.FromSlash(name)) &&
		len(name) < 4096 && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl) && !strings.Contains(name, `\`)
}
