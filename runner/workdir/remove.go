package workdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// trashPrefix begins the names of directories that are being removed. No pull request's begins so.
const trashPrefix = ".trash-"

// Remove removes all checkouts of a pull request, the projects' data directories in them and its refs.
// Removing what is not there is no error. No job of the pull request may be running.
func (s *Store) Remove(ctx context.Context, repo Repo, pull int) error {
	number, err := pullDir(pull)
	if err != nil {
		return err
	}
	dir, err := s.checkouts(repo)
	if err != nil {
		return err
	}
	if err := s.removeRefs(ctx, repo, pull); err != nil {
		return fmt.Errorf("removing the refs of pull request %d: %w", pull, err)
	}
	if err := s.removeCheckouts(dir, number); err != nil {
		return fmt.Errorf("removing the checkouts of pull request %d: %w", pull, err)
	}
	return nil
}

// removeCheckouts takes the directory out of the way by one rename, so that nobody ever finds half of it,
// and removes it then, with what an earlier Remove could not finish.
func (s *Store) removeCheckouts(dir, number string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	trash, err := s.discard(root, number)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range trash {
		errs = append(errs, removeAll(root, name))
	}
	return errors.Join(errs...)
}

// discard moves name into a new trash directory and answers all there are. Of two at a time, one would
// see the other's before anything is in it.
func (s *Store) discard(root *os.Root, name string) ([]string, error) {
	s.trash.Lock()
	defer s.trash.Unlock()
	if _, err := root.Lstat(name); err == nil {
		dir, err := os.MkdirTemp(root.Name(), trashPrefix)
		if err != nil {
			return nil, err
		}
		if err := root.Rename(name, filepath.Join(filepath.Base(dir), name)); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var trash []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), trashPrefix) {
			trash = append(trash, e.Name())
		}
	}
	return trash, nil
}

func (s *Store) removeRefs(ctx context.Context, repo Repo, pull int) error {
	forge, err := forgeDir(repo)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.data, "mirrors", forge, strconv.FormatInt(repo.ID, 10)+".git")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	m, err := s.mirror(ctx, repo)
	if err != nil {
		return err
	}
	refs, err := m.refs(ctx, refPrefix(pull))
	if err != nil || len(refs) == 0 {
		return err
	}
	var deletes strings.Builder
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		deletes.WriteString("delete " + name + "\n")
	}
	_, err = m.run(ctx, command{args: []string{"update-ref", "--stdin"}, stdin: strings.NewReader(deletes.String())})
	return err
}

// removeAll removes name below root and everything in it. Links are removed, not followed; directories
// that a job made unreadable or unwritable are opened up.
func removeAll(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if perr := makeWritable(root, name); perr != nil {
		return errors.Join(err, perr)
	}
	return root.RemoveAll(name)
}

// makeWritable gives the owner of the directory name, and of every directory below it, all rights to it.
func makeWritable(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o700 != 0o700 {
		// If it was made a link in between, it leads to something below root all the same.
		if err := root.Chmod(name, info.Mode().Perm()|0o700); err != nil {
			return err
		}
	}
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, makeWritable(root, filepath.Join(name, e.Name())))
		}
	}
	return errors.Join(errs...)
}
