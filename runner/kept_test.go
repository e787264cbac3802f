package runner

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func keep(t *testing.T, jobDir string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(jobDir, 0o700), os.WriteFile(filepath.Join(jobDir, erroredName), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// States that were kept by earlier processes, by this one, and that are pushed.
func TestErroredStates(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	earlier, now := filepath.Join(data, "runs", "A", "1"), filepath.Join(data, "runs", "B", "2")
	keep(t, earlier)
	if err := os.MkdirAll(filepath.Join(data, "runs", "A", "2", erroredName), 0o700); err != nil {
		t.Fatal(err)
	}
	r := New(Config{Data: data})
	expect := func(r *Runner, want ...string) {
		t.Helper()
		if got, err := r.ErroredStates(); err != nil || !slices.Equal(got, want) {
			t.Errorf("ErroredStates = %q, %v, want %q", got, err, want)
		}
	}
	expect(New(Config{Data: t.TempDir()}))
	expect(r, earlier)
	keep(t, now)
	r.kept.add(now)
	expect(r, earlier, now)
	if err := os.Remove(filepath.Join(earlier, erroredName)); err != nil {
		t.Fatal(err)
	}
	expect(r, now)
	expect(New(Config{Data: data}), now)
}

// A directory that can't be read may have one. It is no parallel test: for a moment no file can be opened.
func TestErroredStatesThatCanNotBeRead(t *testing.T) {
	data := t.TempDir()
	job := filepath.Join(data, "runs", "A", "1")
	keep(t, job)
	r := New(Config{Data: data})
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	got, err := r.ErroredStates()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("ErroredStates without a descriptor = %q, %v, want %v", got, err, syscall.EMFILE)
	}
	if got, err := r.ErroredStates(); err != nil || len(got) != 1 {
		t.Errorf("ErroredStates after that = %q, %v, want one", got, err)
	}
	if err := os.RemoveAll(filepath.Join(data, "runs")); err != nil {
		t.Fatal(err)
	}
	if got, err := r.ErroredStates(); err != nil || len(got) != 0 {
		t.Errorf("ErroredStates of what is gone = %q, %v, want none", got, err)
	}
}
