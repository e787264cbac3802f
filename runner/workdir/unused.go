package workdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Has reports whether there are checkouts of a pull request.
func (s *Store) Has(repo Repo, pull int) (bool, error) {
	number, err := pullDir(pull)
	if err != nil {
		return false, err
	}
	dir, err := s.checkouts(repo)
	if err != nil {
		return false, err
	}
	_, err = os.Lstat(filepath.Join(dir, number))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// RemoveMirror removes the mirror of a repository, if there is one that no checkout borrows from. It is made
// again when it is needed. It reports whether there was one.
func (s *Store) RemoveMirror(ctx context.Context, repo Repo) (bool, error) {
	forge, err := forgeDir(repo)
	if err != nil {
		return false, err
	}
	path := filepath.Join(s.data, "mirrors", forge, strconv.FormatInt(repo.ID, 10))
	if _, err := os.Lstat(path + ".git"); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if used, err := s.borrowed(repo); err != nil || used {
		return false, err
	}
	m, err := s.mirror(ctx, repo)
	if err != nil {
		return false, err
	}
	if err := m.remove(ctx); err != nil {
		return false, fmt.Errorf("removing the mirror of %s/%d: %w", repo.Forge, repo.ID, err)
	}
	return true, nil
}

// borrowed reports whether a repository has checkouts, which read the mirror's objects.
func (s *Store) borrowed(repo Repo) (bool, error) {
	dir, err := s.checkouts(repo)
	if err != nil {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), trashPrefix) {
			return true, nil
		}
	}
	return false, err
}

// remove removes the repository when no git process works in it. The next prepare makes it anew.
func (m *mirror) remove(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	m.blobs.reset()
	m.use.Lock()
	defer m.use.Unlock()
	m.ready = false
	return os.RemoveAll(m.dir)
}
