//go:build linux

package supervisor_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// patience is for machines that are busy; nothing waits that long on purpose.
const patience = time.Minute

func TestMain(m *testing.M) {
	// os.Exit under the race detector takes a second. Races of stage two end up in supervisor.log.
	switch {
	case os.Getenv(supervisor.EnvDir) != "":
		unix.Exit(supervisor.Main(os.Args))
	case os.Getenv("ACT") != "":
		unix.Exit(act())
	}
	os.Exit(m.Run())
}

// step is a step directory with a program of ours to be run in it.
type step struct {
	dir   string
	spec  supervisor.Spec
	stage string // the test binary, where everybody can execute it
	root  string // a directory for the program, with the two FIFOs
	from  *bufio.Reader
	to    *os.File
}

// newStep prepares a program of act_test.go. Its directories have names that are too long for a unix
// socket, and can be used by everybody.
func newStep(t *testing.T, act string, args ...string) *step {
	t.Helper()
	root := worldDir(t)
	dir := filepath.Join(root, "data", strings.Repeat("long", 40), "step")
	must(t, os.MkdirAll(dir, 0o777))
	s := &step{dir: dir, root: root, stage: filepath.Join(root, "tidegate")}
	self, err := os.Executable()
	must(t, err)
	if err := os.Link(self, s.stage); err != nil {
		must(t, exec.CommandContext(t.Context(), "cp", self, s.stage).Run())
	}
	must(t, os.Chmod(s.stage, 0o755))
	s.from = bufio.NewReader(fifo(t, s.say()))
	s.to = fifo(t, s.tell())
	s.spec = supervisor.Spec{
		Argv0: s.stage,
		Env:   []string{"ACT=" + strings.Join(append([]string{act}, args...), "\x1f"), "SAY=" + s.say(), "TELL=" + s.tell()},
	}
	return s
}

func (s *step) say() string  { return filepath.Join(s.root, "say") }
func (s *step) tell() string { return filepath.Join(s.root, "tell") }

func fifo(t *testing.T, path string) *os.File {
	t.Helper()
	must(t, unix.Mkfifo(path, 0o666))
	must(t, os.Chmod(path, 0o666))
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	must(t, f.SetReadDeadline(time.Now().Add(patience)))
	return f
}

// worldDir is a temporary directory that every user can use.
func worldDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	must(t, os.Chmod(dir, 0o777))
	return dir
}

// hear waits for the program's next word.
func (s *step) hear(t *testing.T) string {
	t.Helper()
	line, err := s.from.ReadString('\n')
	must(t, err)
	return strings.TrimSpace(line)
}

func (s *step) expect(t *testing.T, want string) {
	t.Helper()
	if got := s.hear(t); got != want {
		t.Fatalf("the program said %q, want %q", got, want)
	}
}

func (s *step) send(t *testing.T, word string) {
	t.Helper()
	_, err := s.to.WriteString(word + "\n")
	must(t, err)
}

// command is stage one.
func (s *step) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	must(t, s.spec.Write(s.dir))
	cmd := exec.CommandContext(t.Context(), s.stage, args...)
	cmd.Env = []string{supervisor.EnvDir + "=" + s.dir}
	return cmd
}

func (s *step) start(t *testing.T) *exec.Cmd {
	t.Helper()
	return s.startAs(t, func(c *exec.Cmd) *exec.Cmd { return c })
}

func (s *step) startAs(t *testing.T, as func(*exec.Cmd) *exec.Cmd) *exec.Cmd {
	t.Helper()
	cmd := as(s.command(t))
	s.giveTo(t, cmd)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
		s.end(t)
	})
	return cmd
}

// end leaves nothing behind, whatever the test did.
func (s *step) end(t *testing.T) {
	t.Helper()
	_, mark, _, err := supervisor.Inspect(s.dir)
	if err != nil || mark == nil {
		return
	}
	_ = unix.Kill(-mark.PID, syscall.SIGKILL)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := supervisor.Wait(ctx, s.dir); err != nil {
		t.Errorf("Wait at the end of the test: %v", err)
	}
}

type ran struct {
	code           int
	stdout, stderr string
}

func (s *step) run(t *testing.T, args ...string) ran {
	t.Helper()
	return runCommand(t, s.command(t, args...))
}

func runCommand(t *testing.T, cmd *exec.Cmd) ran {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (s *step) log(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "output.log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(raw)
}

// inspect demands a state.
func (s *step) inspect(t *testing.T, want supervisor.State) (*supervisor.Mark, *supervisor.Status) {
	t.Helper()
	state, mark, status, err := supervisor.Inspect(s.dir)
	must(t, err)
	if state != want {
		t.Fatalf("Inspect = %v (mark %+v, status %+v), want %v", state, mark, status, want)
	}
	return mark, status
}

func (s *step) wait(t *testing.T) *supervisor.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	status, err := supervisor.Wait(ctx, s.dir)
	must(t, err)
	return status
}

// eventually is for what nobody tells us.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("it did not come to %s", what)
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func nobody(cmd *exec.Cmd) *exec.Cmd {
	if os.Geteuid() != 0 {
		return cmd
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	return cmd
}

func sprint(v any) string { return fmt.Sprintf("%+v", v) }
