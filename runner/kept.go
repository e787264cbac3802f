package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// keptStates knows in which job directories a state is kept that an apply could not store. There may be very many directories: they
// are all read once. After that a state is only ever kept by a job of this process, which tells.
type keptStates struct {
	runs string

	mu   sync.Mutex
	read bool
	jobs map[string]bool
}

// ErroredStates are the job directories, at <data>/runs/<run>/<n>, in which a state is kept that an apply could not store, in order.
// What can't be read is an error: nothing is to be applied over a state that was overlooked.
func (r *Runner) ErroredStates() ([]string, error) {
	jobs, err := r.kept.list()
	if err != nil {
		return nil, fmt.Errorf("looking for states that are not stored: %w", err)
	}
	return jobs, nil
}

func (k *keptStates) add(jobDir string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.jobs[jobDir] = true
}

func (k *keptStates) list() ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.read {
		if err := k.readAll(); err != nil {
			return nil, err
		}
		k.read = true
	}
	for dir := range k.jobs {
		there, err := isKept(dir)
		if err != nil {
			return nil, err
		}
		if !there { // it was pushed, or the directory is gone
			delete(k.jobs, dir)
		}
	}
	return slices.Sorted(maps.Keys(k.jobs)), nil
}

func (k *keptStates) readAll() error {
	runs, err := subdirs(k.runs)
	if err != nil {
		return err
	}
	for _, run := range runs {
		jobs, err := subdirs(run)
		if err != nil {
			return err
		}
		for _, job := range jobs {
			there, err := isKept(job)
			if err != nil {
				return err
			}
			if there {
				k.jobs[job] = true
			}
		}
	}
	return nil
}

// subdirs are the directories in one that may not be there, or not any more.
func subdirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}

func isKept(jobDir string) (bool, error) {
	info, err := os.Lstat(filepath.Join(jobDir, erroredName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}
