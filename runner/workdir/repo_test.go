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

func newSource(t testing.TB) *source {
	t.Helper()
	s := &source{dir: filepath.Join(t.TempDir(), "source")}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.git(t, "init", "-q", "-b", "main")
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

func gitIn(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Env = dir, gitEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func (s *source) git(t testing.TB, args ...string) string {
	t.Helper()
	return gitIn(t, s.dir, args...)
}

func (s *source) write(t testing.TB, path, content string) {
	t.Helper()
	writeFile(t, filepath.Join(s.dir, path), content)
}

func (s *source) remove(t testing.TB, path string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, path)); err != nil {
		t.Fatal(err)
	}
}

func (s *source) link(t testing.TB, path, target string) {
	t.Helper()
	full := filepath.Join(s.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, full); err != nil {
		t.Fatal(err)
	}
}

// commit commits everything there is.
func (s *source) commit(t testing.TB) string {
	t.Helper()
	s.git(t, "add", "-A", "-f")
	s.git(t, "commit", "-q", "--allow-empty", "-m", "a commit")
	return s.git(t, "rev-parse", "HEAD")
}

// branch begins a branch at another one.
func (s *source) branch(t testing.TB, name, at string) {
	t.Helper()
	s.git(t, "checkout", "-q", "-f", "-B", name, at)
	s.git(t, "clean", "-q", "-d", "-f", "-x")
}

// pull publishes what is checked out as a pull request's head.
func (s *source) pull(t testing.TB, n int) {
	t.Helper()
	s.git(t, "update-ref", "refs/pull/"+strconv.Itoa(n)+"/head", "HEAD")
}

func (s *source) repo() Repo {
	return Repo{Forge: "git.example.org:8443", ID: 42, URL: "file://" + s.dir}
}

func request(pull int) MergeRequest {
	return MergeRequest{Pull: pull, BaseRef: "main", HeadRef: "refs/pull/" + strconv.Itoa(pull) + "/head"}
}

func openStore(t testing.TB, data string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
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
func open(t testing.TB, base, head func(*source)) *opened {
	t.Helper()
	src := newSource(t)
	base(src)
	src.commit(t)
	src.branch(t, "head", "main")
	head(src)
	src.commit(t)
	src.pull(t, 7)
	data := t.TempDir()
	o := &opened{Store: openStore(t, data), src: src, data: data}
	o.mergeAgain(t)
	return o
}

func (o *opened) mergeAgain(t testing.TB) {
	t.Helper()
	var err error
	if o.merge, err = o.Merge(t.Context(), o.src.repo(), request(7)); err != nil {
		t.Fatalf("Merge() = %v", err)
	}
}

func (o *opened) checkout(t testing.TB) Checkout {
	t.Helper()
	c, err := o.Checkout(t.Context(), o.src.repo(), 7, "default", o.merge)
	if err != nil {
		t.Fatalf("Checkout() = %v", err)
	}
	return c
}

func (o *opened) mirrorDir() string {
	return filepath.Join(o.data, "mirrors", "git.example.org_8443", "42.git")
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err == nil
}
