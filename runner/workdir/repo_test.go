package workdir

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// source is a repository made by real git, as a forge would have it: branches and refs/pull/<n>/head.
type source struct {
	dir string
}

func newSource(tb testing.TB) *source {
	tb.Helper()
	s := &source{dir: filepath.Join(tb.TempDir(), "source")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	s.git(tb, "init", "-q", "-b", "main")
	s.git(tb, "config", "gc.auto", "0")
	return s
}

// gitEnv is the environment of the tests' own git.
func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_AUTHOR_DATE=@1700000000 +0000",
		"GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.org", "GIT_COMMITTER_DATE=@1700000000 +0000",
	}
}

func gitIn(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "git", args...)
	cmd.Dir, cmd.Env = dir, gitEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func (s *source) git(tb testing.TB, args ...string) string {
	tb.Helper()
	return gitIn(tb, s.dir, args...)
}

func (s *source) write(tb testing.TB, path, content string) {
	tb.Helper()
	writeFile(tb, filepath.Join(s.dir, path), content)
}

func (s *source) remove(tb testing.TB, path string) {
	tb.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, path)); err != nil {
		tb.Fatal(err)
	}
}

func (s *source) link(tb testing.TB, path, target string) {
	tb.Helper()
	full := filepath.Join(s.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.Symlink(target, full); err != nil {
		tb.Fatal(err)
	}
}

// commit commits everything there is.
func (s *source) commit(tb testing.TB) string {
	tb.Helper()
	s.git(tb, "add", "-A", "-f")
	s.git(tb, "commit", "-q", "--allow-empty", "-m", "a commit")
	return s.git(tb, "rev-parse", "HEAD")
}

// branch begins a branch at another one.
func (s *source) branch(tb testing.TB, name, at string) {
	tb.Helper()
	s.git(tb, "checkout", "-q", "-f", "-B", name, at)
	s.git(tb, "clean", "-q", "-d", "-f", "-x")
}

// pull publishes what is checked out as a pull request's head.
func (s *source) pull(tb testing.TB, n int) {
	tb.Helper()
	s.git(tb, "update-ref", "refs/pull/"+strconv.Itoa(n)+"/head", "HEAD")
}

func (s *source) repo() Repo {
	return Repo{Forge: "git.example.org:8443", ID: 42, URL: "file://" + s.dir}
}

func request(pull int) MergeRequest {
	return MergeRequest{Pull: pull, BaseRef: "main", HeadRef: "refs/pull/" + strconv.Itoa(pull) + "/head"}
}

func openStore(tb testing.TB, data string) *Store {
	tb.Helper()
	s, err := Open(tb.Context(), Config{Data: data})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close() = %v", err)
		}
	})
	return s
}

// opened is a store, a repository with pull request 7 ("head" on top of "main"), and its merge.
type opened struct {
	*Store
	src   *source
	data  string
	merge Merge
}

// open makes a repository by two functions that write its base and its head, and merges pull request 7.
func open(tb testing.TB, base, head func(*source)) *opened {
	tb.Helper()
	src := newSource(tb)
	base(src)
	src.commit(tb)
	src.branch(tb, "head", "main")
	head(src)
	src.commit(tb)
	src.pull(tb, 7)
	data := tb.TempDir()
	o := &opened{Store: openStore(tb, data), src: src, data: data}
	o.mergeAgain(tb)
	return o
}

func (o *opened) mergeAgain(tb testing.TB) {
	tb.Helper()
	var err error
	if o.merge, err = o.Merge(tb.Context(), o.src.repo(), request(7)); err != nil {
		tb.Fatalf("Merge() = %v", err)
	}
}

func (o *opened) checkout(tb testing.TB) Checkout {
	tb.Helper()
	c, err := o.Checkout(tb.Context(), o.src.repo(), 7, "default", o.merge)
	if err != nil {
		tb.Fatalf("Checkout() = %v", err)
	}
	return c
}

func (o *opened) mirrorDir() string {
	return filepath.Join(o.data, "mirrors", "git.example.org_8443", "42.git")
}

func writeFile(tb testing.TB, path, content string) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func readFile(tb testing.TB, path string) string {
	tb.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(content)
}

func exists(tb testing.TB, path string) bool {
	tb.Helper()
	_, err := os.Lstat(path)
	if err != nil && !os.IsNotExist(err) {
		tb.Fatal(err)
	}
	return err == nil
}
