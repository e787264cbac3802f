// Package e2e tells stories: the real binary against a forge, with real git and real terraform.
// README.md lists what a story can say.
package e2e

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestStories(t *testing.T) {
	t.Parallel()
	p := params(t)
	p.Dir = filepath.Join("testdata", "stories")
	testscript.Run(t, p)
}

// onlyOnDevforge are the commands for which the forge has to be a stand-in: it misbehaves, sends what it is told to, or counts.
var onlyOnDevforge = regexp.MustCompile(`(?m)^!? ?(faults|late|deliver|lock|permit|calls|fork|hook|cli|app|sshd|behind)( |$)`)

// storiesOn tells on another forge the stories that need no stand-in and those of its dialect: all but those that it can't tell.
func storiesOn(t *testing.T, dialect string, not map[string]string, found founder) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("testdata", "stories", "*.txtar"))
	must(t, err)
	p := params(t)
	p.Files, err = filepath.Glob(filepath.Join("testdata", dialect, "*.txtar"))
	must(t, err)
	for _, file := range all {
		raw, err := os.ReadFile(file)
		must(t, err)
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		if _, no := not[name]; no {
			delete(not, name)
		} else if !onlyOnDevforge.Match(raw) {
			p.Files = append(p.Files, file)
		}
	}
	if len(p.Files) < 40 || len(not) > 0 {
		t.Errorf("%d of %d stories can be told, which is too few to prove anything; of what can't, there is no %v", len(p.Files), len(all), not)
	}
	setUp := p.Setup
	p.Setup = func(env *testscript.Env) error {
		env.Values[founderKey{}] = found
		return setUp(env)
	}
	testscript.Run(t, p)
}

// founder makes a forge for a story, in its directory.
type founder = func(tb testing.TB, dir string) forge

type founderKey struct{}

// params are how stories run, without the stories.
func params(t *testing.T) testscript.Params {
	t.Helper()
	bin := build(t, "-race")
	real, err := exec.LookPath("terraform")
	if err != nil {
		t.Fatal("the stories need terraform in PATH: https://developer.hashicorp.com/terraform/install")
	}
	// Below a directory that other users can enter: one story's server is nobody's.
	root, err := os.MkdirTemp("", "tidegate-e2e-") //nolint:usetesting // a TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	keep := os.Getenv("STORY_KEEP") != ""
	if !keep {
		t.Cleanup(func() { _ = os.RemoveAll(root) })
	}
	return testscript.Params{
		WorkdirRoot:   root,
		Cmds:          commands(),
		TestWork:      keep,
		UpdateScripts: false,
		Setup: func(env *testscript.Env) error {
			w := &world{
				t: t, dir: env.WorkDir, data: filepath.Join(env.WorkDir, "data"), bin: bin, seen: map[int64]bool{},
			}
			env.Values[worldKey{}] = w
			env.Defer(w.end)
			return w.setUp(env, real)
		},
	}
}

// build builds the binary that the stories run.
func build(tb testing.TB, flags ...string) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "tidegate-bin-") //nolint:usetesting // a TempDir is closed to other users
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	bin := filepath.Join(dir, "tidegate")
	out, err := exec.CommandContext(tb.Context(), "go", slices.Concat([]string{"build", "-o", bin}, flags, []string{"../cmd/tidegate"})...).CombinedOutput()
	if err != nil {
		tb.Fatalf("building tidegate: %v\n%s", err, out)
	}
	return bin
}

// lay lays out the directories and the secrets of a world.
func (w *world) lay() error {
	for _, d := range []string{"state", "secrets", "home", "tmp", "nobody"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o755); err != nil {
			return err
		}
	}
	for name, v := range map[string]string{"token": botToken, "webhook": webhookSecret} {
		if err := os.WriteFile(filepath.Join(w.dir, "secrets", name), []byte(v+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) setUp(env *testscript.Env, terraform string) error {
	if err := w.lay(); err != nil {
		return err
	}
	env.Setenv("STATE", w.state())
	deploy, err := filepath.Abs("../deploy")
	if err != nil {
		return err
	}
	env.Setenv("DEPLOY", deploy)
	env.Setenv("HOME", filepath.Join(w.dir, "home"))
	env.Setenv("TMPDIR", filepath.Join(w.dir, "tmp"))
	env.Setenv("REAL_TERRAFORM", terraform)
	env.Setenv("TIDEGATE", w.bin)
	t, ok := env.T().(testing.TB)
	if !ok {
		return fmt.Errorf("the story runs as %T, not as a test", env.T())
	}
	if found, ok := env.Values[founderKey{}].(founder); ok {
		w.forge = found(t, w.dir)
	} else {
		w.dev = newForge(t, w.dir)
		w.forge = w.dev
	}
	w.states = newStates()
	env.Setenv("FORGE", w.forge.host())
	mark, pages := w.forge.references()
	env.Setenv("REF", mark)
	env.Setenv("PULLS", pages)
	if _, err := os.Stat(filepath.Join(w.dir, "main")); err != nil {
		return nil
	}
	_, err = w.push("main", filepath.Join(w.dir, "main"), "main")
	return err
}

// end ends what a story has left running.
func (w *world) end() {
	if p := w.server; p != nil && p.cmd != nil {
		_ = w.stop(syscall.SIGTERM)
	}
	found, _ := processesOf(w.data)
	for _, f := range found {
		pid, _, _ := strings.Cut(f, " ")
		var n int
		if _, err := fmt.Sscan(pid, &n); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
	if w.states != nil {
		w.states.close()
	}
	if w.ssh != nil {
		w.ssh.close()
	}
	if w.forge != nil {
		w.forge.close()
	}
}

// freeAddr is a loopback address for a server; the one before is used again, so that links stay right.
func freeAddr(before *process) (string, error) {
	if before != nil {
		return strings.TrimPrefix(before.url, "http://"), nil
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return lis.Addr().String(), lis.Close()
}

const nobody = 65534

// becomeNobody gives the story's files to a user without rights, as whom the server runs from now on.
func (w *world) becomeNobody() error {
	if os.Geteuid() != 0 {
		return nil // the stories' user has no rights either
	}
	w.nobody = true
	if err := os.MkdirAll(w.data, 0o700); err != nil {
		return err
	}
	for _, d := range []string{"data", "state", "secrets", "home", "tmp"} {
		err := filepath.WalkDir(filepath.Join(w.dir, d), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, nobody, nobody)
		})
		if err != nil {
			return err
		}
	}
	return os.Chmod(w.dir, 0o755)
}
