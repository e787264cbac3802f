package workdir

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// mostPointer is how long a pointer may be, by the specification of Git LFS.
	mostPointer = 1024
	// MostLarge is how large a file may be that is fetched from there, in bytes.
	MostLarge   = 4 << 30
	pointerHead = "version https://git-lfs.github.com/spec/v1\n"
)

// Pointer is a file of a tree whose content is elsewhere, in Git LFS.
type Pointer struct {
	Path string
	// oid is the SHA-256 of the content.
	oid  string
	size int64
	text []byte
}

// parsePointer reads a pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
func parsePointer(text []byte) (Pointer, bool) {
	rest, ok := strings.CutPrefix(string(text), pointerHead)
	if !ok || len(text) >= mostPointer {
		return Pointer{}, false
	}
	p := Pointer{size: -1, text: text}
	for line := range strings.Lines(rest) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "oid":
			p.oid, _ = strings.CutPrefix(value, "sha256:")
		case "size":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
				p.size = n
			}
		}
	}
	return p, len(p.oid) == 2*sha256.Size && checkObject(p.oid) == nil && p.size >= 0
}

// Pointers are the files that are in Git LFS, among those that in is true of. A repository whose attributes do not name it has none: what looks
// like a pointer there is the file.
func (t *Tree) Pointers(ctx context.Context, in func(path string) bool) ([]Pointer, error) {
	if used, err := t.usesLFS(ctx); err != nil || !used {
		return nil, err
	}
	var found []Pointer
	for _, e := range t.entries {
		if e.mode == modeDir || e.mode == modeLink || e.mode == modeSubmodule || !in(e.path) {
			continue
		}
		text, err := t.mirror.blobs.read(ctx, e.hash, mostPointer)
		if errors.Is(err, ErrTooLarge) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", e.path, err)
		}
		if p, ok := parsePointer(text); ok {
			p.Path = e.path
			found = append(found, p)
		}
	}
	return found, nil
}

// usesLFS reports whether any attributes name Git LFS as a filter, or are too much to be looked at.
func (t *Tree) usesLFS(ctx context.Context) (bool, error) {
	for _, e := range t.entries {
		if path.Base(e.path) != ".gitattributes" || e.mode == modeDir || e.mode == modeLink || e.mode == modeSubmodule {
			continue
		}
		text, err := t.mirror.blobs.read(ctx, e.hash, mostBlob)
		if errors.Is(err, ErrTooLarge) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("reading %q: %w", e.path, err)
		}
		if bytes.Contains(text, []byte("filter=lfs")) {
			return true, nil
		}
	}
	return false, nil
}

// Helper makes git processes of the server's get a repository's credential by git's own ways, until end is called: config are pairs of key and
// value.
type Helper func(ctx context.Context, repo Repo) (config, env []string, end func(), err error)

// LFSError is why a file could not be had from Git LFS. Path and the text are hostile.
type LFSError struct {
	Path string
	err  error
}

func (e *LFSError) Error() string { return fmt.Sprintf("fetching %q from Git LFS: %v", e.Path, e.err) }
func (e *LFSError) Unwrap() error { return e.err }

// Size is how large the file is, in bytes, as the pointer says.
func (p Pointer) Size() int64 { return p.size }

// Unfilled are those of the pointers that a checkout still has in the place of their files. The error is an [*LFSError] when that can't be told.
func (s *Store) Unfilled(c Checkout, pointers []Pointer) (_ []Pointer, err error) {
	if len(pointers) == 0 {
		return nil, nil
	}
	root, err := os.OpenRoot(c.Root)
	if err != nil {
		return nil, fmt.Errorf("opening the checkout: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	var left []Pointer
	for _, p := range pointers {
		if is, err := isStill(root, p); err != nil {
			return nil, &LFSError{p.Path, err}
		} else if is {
			left = append(left, p)
		}
	}
	return left, nil
}

// Fill puts the content of pointers into a checkout, where they still are pointers: what a job has made of them stays. git-lfs runs in a
// repository of its own beside the mirror, so that nothing of the checkout decides what it does, and nothing waits for it; what it brings is
// held against the pointer. The error is an [*LFSError] when a file can't be had.
func (s *Store) Fill(ctx context.Context, repo Repo, c Checkout, pointers []Pointer) (err error) {
	m, err := s.mirror(ctx, repo)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(c.Root)
	if err != nil {
		return fmt.Errorf("opening the checkout: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	dir, err := m.scratch("lfs-*")
	if err != nil {
		return err
	}
	// Its logs say no more than its errors, from which secrets are taken out.
	defer func() { err = errors.Join(err, os.RemoveAll(dir), os.RemoveAll(filepath.Join(m.large(), "logs"))) }()
	bare := filepath.Join(dir, "repo.git")
	if err := initBare(ctx, m.git, bare); err != nil {
		return err
	}
	var sent sentSecrets
	config, env, end, err := s.helper(ctx, sent.of(repo))
	if err != nil {
		return fmt.Errorf("offering git-lfs a credential: %w", err)
	}
	defer end()
	// Set above all: a repository could name another server, and what it may do.
	config = append(config, "lfs.url", strings.TrimSuffix(repo.URL, "/")+"/info/lfs", "remote.origin.url", repo.URL, "lfs.basictransfersonly", "true", "lfs.storage", m.large())
	for _, p := range pointers {
		if is, err := isStill(root, p); err != nil || !is {
			if err != nil {
				return &LFSError{p.Path, err}
			}
			continue
		}
		if err := m.smudge(ctx, root, dir, p, command{config: config, env: env, gitDir: bare}); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return &LFSError{p.Path, sent.takeOut(err)}
		}
	}
	return nil
}

// sentSecrets are what git-lfs was told, which a server could repeat to it.
type sentSecrets struct {
	mu  sync.Mutex
	all []string
}

// of is the repository whose credential is noted when it is asked for.
func (s *sentSecrets) of(repo Repo) Repo {
	credential := repo.Credential
	if credential == nil {
		return repo
	}
	repo.Credential = func(ctx context.Context) (user, password string, err error) {
		user, password, err = credential(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, spellings(user, password)...)
		return user, password, err
	}
	return repo
}

// takeOut answers the error without them.
func (s *sentSecrets) takeOut(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failure, ok := errors.AsType[*gitError](err); ok {
		failure.text = scrub(failure.text, s.all)
	}
	return err
}

// isStill reports whether a file of the checkout is the pointer, whatever ends its lines.
func isStill(root *os.Root, p Pointer) (bool, error) {
	info, err := root.Lstat(p.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() > 2*mostPointer) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	text, err := root.ReadFile(p.Path)
	return bytes.Equal(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), p.text), err
}

// smudge fetches one file and lays it in the checkout, whole or not at all.
func (m *mirror) smudge(ctx context.Context, root *os.Root, dir string, p Pointer, c command) error {
	if p.size > MostLarge {
		return fmt.Errorf("%d bytes: %w", p.size, ErrTooLarge)
	}
	scratch, err := os.CreateTemp(dir, "file-*")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(scratch.Close(), os.Remove(scratch.Name())) }()
	m.filling.RLock()
	defer m.filling.RUnlock()
	c.args, c.stdin, c.out = []string{"lfs", "smudge", "--", p.Path}, bytes.NewReader(p.text), scratch
	if err := m.fetchLarge(ctx, c, p); err != nil {
		return err
	}
	if _, err := scratch.Seek(0, io.SeekStart); err != nil {
		return err
	}
	info, err := root.Lstat(p.Path)
	if err != nil {
		return err
	}
	temp := p.Path + "." + rand.Text()
	to, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), scratch)
	err = errors.Join(err, to.Close())
	if err == nil && (n != p.size || hex.EncodeToString(sum.Sum(nil)) != p.oid) {
		// If it was here already it would be found again.
		err = errors.Join(errors.New("what came is not what the pointer says"), removeIfThere(p.in(m.large())))
	}
	if err == nil {
		now := time.Now()
		_ = os.Chtimes(p.in(m.large()), now, now) // for RemoveLarge alone
	}
	if err == nil {
		err = root.Rename(temp, p.Path)
	}
	if err != nil {
		err = errors.Join(err, root.Remove(temp))
	}
	return err
}

// fetchLarge runs git-lfs for one file. It takes whatever the server sends, and looks at the size of nothing, so that is watched here: who writes a
// pointer says how much room is made for it.
func (m *mirror) fetchLarge(ctx context.Context, c command, p Pointer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	size := func() int64 { return max(m.coming(p), sizeOf(c.out.Name())) }
	defer watchSize(size, p.size, func() { cancel(errLarger) })()
	_, err := m.apart(ctx, c)
	if errors.Is(context.Cause(ctx), errLarger) {
		err = errors.Join(errLarger, m.dropComing(p))
	}
	return err
}

var errLarger = errors.New("more comes than the pointer says")

// halves are the files in which git-lfs gathers what comes for a pointer: they are named after it, in either of two directories.
func (m *mirror) halves(p Pointer) []string {
	var all []string
	for _, dir := range []string{"incomplete", "tmp"} {
		found, _ := filepath.Glob(filepath.Join(m.large(), dir, p.oid+"*")) // an oid is no pattern
		all = append(all, found...)
	}
	return all
}

// coming is the largest of the halves, in bytes.
func (m *mirror) coming(p Pointer) (size int64) {
	for _, path := range m.halves(p) {
		size = max(size, sizeOf(path))
	}
	return size
}

func (m *mirror) dropComing(p Pointer) error {
	var errs []error
	for _, path := range m.halves(p) {
		errs = append(errs, removeIfThere(path))
	}
	return errors.Join(errs...)
}

// large is where git-lfs keeps what it has fetched, and its logs.
func (m *mirror) large() string { return filepath.Join(m.dir, "lfs") }

// in is where git-lfs keeps the file in its storage:
// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md#intercepting-git
func (p Pointer) in(storage string) string {
	return filepath.Join(storage, "objects", p.oid[:2], p.oid[2:4], p.oid)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveLarge removes what has been fetched from Git LFS for a repository and was laid into no checkout since then, with what else git-lfs has
// left there, and answers how many files. Nothing is removed while a file is fetched.
func (s *Store) RemoveLarge(ctx context.Context, repo Repo, since time.Time) (int, error) {
	forge, err := forgeDir(repo)
	if err != nil {
		return 0, err
	}
	path := filepath.Join(s.data, "mirrors", forge, strconv.FormatInt(repo.ID, 10)+".git", "lfs")
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	m, err := s.mirror(ctx, repo)
	if err != nil {
		return 0, err
	}
	if !m.filling.TryLock() {
		return 0, nil // another time
	}
	defer m.filling.Unlock()
	n, err := removeOlder(m.large(), since)
	if err != nil {
		return n, fmt.Errorf("removing what Git LFS has left in the mirror of %s/%d: %w", repo.Forge, repo.ID, err)
	}
	return n, nil
}

// removeOlder removes the files below a directory that were not changed since then, and the directories that are empty then. It counts the files.
func removeOlder(dir string, since time.Time) (n int, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			below, berr := removeOlder(path, since)
			n, err = n+below, errors.Join(err, berr)
			_ = os.Remove(path) // if it is empty
			continue
		}
		info, ierr := e.Info()
		if ierr != nil || !info.ModTime().Before(since) {
			continue
		}
		if rerr := os.Remove(path); rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		n++
	}
	return n, err
}

// findLFS checks that there is a git-lfs.
func (g *git) findLFS(ctx context.Context, home string) error {
	if _, err := g.run(ctx, command{args: []string{"lfs", "version"}, dir: home}); err != nil {
		return fmt.Errorf("git-lfs is not to be found, install it or go without --git-lfs: %w", err)
	}
	return nil
}
