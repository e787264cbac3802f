// Command mutants breaks the code in known ways, one at a time, in a copy of the tree, and runs the
// test that must notice. A mutant that no test notices is a hole in the tests.
//
//	go run ./.ci/mutants [NAME...]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mutant is one way to break the code.
type mutant struct {
	name string
	file string
	// old stands exactly once in file; new is put in its place.
	old, new string
	// test are the arguments of `go test` that must fail.
	test []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	files, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("listing files: %w", err)
	}
	for f := range strings.SplitSeq(strings.TrimRight(string(files), "\x00"), "\x00") {
		if err := copyFile(f, filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	chosen := slices.DeleteFunc(mutants(), func(m mutant) bool { return len(names) > 0 && !slices.Contains(names, m.name) })
	if err := fit(dir, chosen); err != nil {
		return err
	}
	var alive []string
	for _, m := range chosen {
		begin := time.Now()
		caught, err := try(ctx, dir, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		word := "caught"
		if !caught {
			word = "ALIVE"
			alive = append(alive, m.name)
		}
		fmt.Printf("%-7s %-28s %5.1f s  go test %s\n", word, m.name, time.Since(begin).Seconds(), strings.Join(m.test, " "))
	}
	if len(alive) > 0 {
		return fmt.Errorf("not noticed: %s", strings.Join(alive, ", "))
	}
	return nil
}

// fit finds all mutants that the code has moved away from, before any of them costs time.
func fit(dir string, all []mutant) error {
	var errs []error
	for _, m := range all {
		good, err := os.ReadFile(filepath.Join(dir, m.file))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if n := strings.Count(string(good), m.old); n != 1 {
			errs = append(errs, fmt.Errorf("%s: %q stands %d times in %s, want once", m.name, m.old, n, m.file))
		}
	}
	return errors.Join(errs...)
}

// try breaks the copy, runs the test, and mends the copy. A mutant that does not compile is an error.
func try(ctx context.Context, dir string, m mutant) (caught bool, err error) {
	path := filepath.Join(dir, m.file)
	good, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, good, 0o600)) }()
	if err := os.WriteFile(path, []byte(strings.Replace(string(good), m.old, m.new, 1)), 0o600); err != nil {
		return false, err
	}
	build := exec.CommandContext(ctx, "go", "vet", "./"+filepath.Dir(m.file))
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return false, fmt.Errorf("does not compile: %w\n%s", err, out)
	}
	test := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-timeout=10m"}, m.test...)...)
	test.Dir = dir
	out, err := test.CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return strings.Contains(string(out), "--- FAIL"), nil
	}
	return false, err
}

func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil // deleted, not committed yet
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		link, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(link, to)
	}
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, info.Mode().Perm())
}
