// Command mutants breaks the code in known ways, one at a time, in a copy of the tree, and runs the
// test that must notice. A mutant that no test notices is a hole in the tests.
//
//	go run ./.ci/mutants [NAME...]
//
// "fit" only looks whether each still fits the code. "engine" stands for those of the engine. Some of them show only when processes are killed: for them the
// test is a run of e2e/chaos, which is dealt a hundred kills at most and stops when it has found what
// the mutant does.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
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
	// chaos, if test is nil, says at what the run of e2e/chaos kills that must find a violation (its -only).
	chaos string
}

// command is what must notice the mutant.
func (m mutant) command() []string {
	if m.test != nil {
		return append([]string{"test", "-count=1", "-timeout=10m"}, m.test...)
	}
	return []string{"run", "./e2e/chaos", "-kills=100", "-round=10", "-patience=90s", "-seed=1", "-only=" + m.chaos}
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
	if slices.Equal(names, []string{"fit"}) {
		return fit(".", choose(nil))
	}
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
	chosen := choose(names)
	if err := fit(dir, chosen); err != nil {
		return err
	}
	var alive []string
	for _, m := range chosen {
		begin := time.Now()
		caught, how, err := try(ctx, dir, m)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		word := "caught"
		if !caught {
			word = "ALIVE"
			alive = append(alive, m.name)
		}
		fmt.Printf("%-7s %-38s %5.1f s  go %s%s\n", word, m.name, time.Since(begin).Seconds(), shell(m.command()), how)
	}
	if len(alive) > 0 {
		return fmt.Errorf("not noticed: %s", strings.Join(alive, ", "))
	}
	return nil
}

// shell is a command as it is typed.
func shell(args []string) string {
	quoted := slices.Clone(args)
	for i, a := range quoted {
		if strings.ContainsAny(a, " $") {
			quoted[i] = "'" + a + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// choose answers the mutants of those names; all for none.
func choose(names []string) []mutant {
	if len(names) == 0 {
		return append(mutants(), engine()...)
	}
	var out []mutant
	if slices.Contains(names, "engine") {
		out = engine()
	}
	for _, m := range append(mutants(), engine()...) {
		if slices.Contains(names, m.name) {
			out = append(out, m)
		}
	}
	return out
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

// try breaks the copy, runs what must notice it, and mends the copy. A mutant that does not compile is an error.
func try(ctx context.Context, dir string, m mutant) (caught bool, how string, err error) {
	path := filepath.Join(dir, m.file)
	good, err := os.ReadFile(path)
	if err != nil {
		return false, "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, good, 0o600)) }()
	if err := os.WriteFile(path, []byte(strings.Replace(string(good), m.old, m.new, 1)), 0o600); err != nil {
		return false, "", err
	}
	build := exec.CommandContext(ctx, "go", "vet", "./"+filepath.Dir(m.file))
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return false, "", fmt.Errorf("does not compile: %w\n%s", err, out)
	}
	work := filepath.Join(dir, ".work") // what a violation leaves
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := os.MkdirAll(work, 0o755); err != nil {
		return false, "", err
	}
	test := exec.CommandContext(ctx, "go", m.command()...)
	test.Dir, test.Env = dir, append(os.Environ(), "TMPDIR="+work)
	// chaos ends what it has started; go run would not tell it.
	test.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	test.Cancel = func() error { return syscall.Kill(-test.Process.Pid, syscall.SIGINT) }
	out, err := test.CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		return false, "", err
	}
	if m.test != nil {
		return strings.Contains(string(out), "--- FAIL"), "", nil
	}
	found := violation.FindString(string(out))
	if found == "" {
		return false, "", fmt.Errorf("chaos did not come to its end: %w\n%s", err, out)
	}
	return true, fmt.Sprintf("\n        %s kills: %s", killed.FindStringSubmatch(string(out))[1], strings.TrimPrefix(found, "VIOLATION: ")), nil
}

var (
	violation = regexp.MustCompile(`(?m)^VIOLATION: .*$`)
	killed    = regexp.MustCompile(`after ([0-9]+) kills`)
)

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
