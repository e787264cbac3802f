package terraform

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// markUsed notes, once a day, that something of ours is in use: the time of its file says since when it is
// not. It serves housekeeping only.
func markUsed(path string) {
	const often = 24 * time.Hour
	now := time.Now()
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > often {
		_ = os.Chtimes(path, now, now)
	}
}

// RemoveUnused removes installed tools that were not found for a job since then, and answers how many.
// Times are exact to a day.
func (f *Finder) RemoveUnused(since time.Time) (int, error) {
	dirs, err := filepath.Glob(filepath.Join(f.cfg.Dir, "*", "[0-9]*"))
	n := 0
	for _, dir := range dirs {
		info, serr := os.Stat(dir)
		if serr != nil || !info.IsDir() || !info.ModTime().Before(since) {
			continue
		}
		// By one rename: nobody finds half of it.
		gone := filepath.Join(filepath.Dir(dir), ".install-gone-"+filepath.Base(dir))
		rerr := errors.Join(os.RemoveAll(gone), os.Rename(dir, gone), os.RemoveAll(gone))
		if err = errors.Join(err, rerr); rerr == nil {
			n++
		}
	}
	return n, err
}

// RemoveUnused removes what no job has looked up since then: sets first, then the packages that no set
// names. Times are exact to a day. It answers how many sets there were.
func (s *ProviderStore) RemoveUnused(since time.Time) (n int, err error) {
	s.once.Do(s.start)
	select {
	case s.filling <- struct{}{}:
		defer func() { <-s.filling }()
	default:
		return 0, nil // one is being filled: another time
	}
	files, err := filepath.Glob(filepath.Join(s.Dir, ".sets", "*.json"))
	if err != nil {
		return 0, err
	}
	var used []string
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			continue
		}
		if info.ModTime().Before(since) {
			if err := os.Remove(file); err != nil {
				return n, err
			}
			n++
			continue
		}
		data, err := os.ReadFile(file) //nolint:gosec // a file of ours
		var set ProviderSet
		if err = errors.Join(err, json.Unmarshal(data, &set)); err != nil || set.Format != setFormat {
			return n, err // what it names is not known: nothing else is removed
		}
		used = append(used, set.Dirs...)
	}
	return n, s.removePackages(used, since)
}

// removePackages removes the packages that are not used, and were not put there since.
func (s *ProviderStore) removePackages(used []string, since time.Time) error {
	packages, err := filepath.Glob(filepath.Join(s.Dir, "[^.]*", "*", "*", "*", "*"))
	for _, dir := range packages {
		name, rerr := filepath.Rel(s.Dir, dir)
		info, serr := os.Stat(dir)
		if rerr != nil || serr != nil || !info.ModTime().Before(since) || slices.Contains(used, filepath.ToSlash(name)) {
			continue
		}
		err = errors.Join(err, s.removePackage(dir))
	}
	return err
}

// removePackage removes a package by one rename, and the directories above that are empty then.
func (s *ProviderStore) removePackage(dir string) error {
	gone, err := os.MkdirTemp(s.Dir, ".fill-*")
	if err != nil {
		return err
	}
	if err := errors.Join(os.Rename(dir, filepath.Join(gone, "package")), os.RemoveAll(gone)); err != nil {
		return err
	}
	for up := filepath.Dir(dir); strings.HasPrefix(up, s.Dir+string(filepath.Separator)); up = filepath.Dir(up) {
		if err := os.Remove(up); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			break // not empty
		}
	}
	return nil
}
