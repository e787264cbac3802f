//go:build linux

package supervisor_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// gone waits until a process does not run any more; one that nobody waits for may stay as a zombie.
func gone(t *testing.T, pid string) {
	t.Helper()
	eventually(t, "the end of "+pid, func() bool {
		raw, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		return err != nil || strings.Contains(string(raw), ") Z ")
	})
}

func TestProcessOutlivesStageOne(t *testing.T) {
	t.Parallel()
	s := newStep(t, "count")
	one := s.start(t)
	s.hear(t)
	must(t, one.Process.Kill())
	_ = one.Wait()
	mark, _ := s.inspect(t, supervisor.Running)
	if mark == nil || mark.Orphaned {
		t.Errorf("mark = %+v, want one with a supervisor", mark)
	}
	must(t, supervisor.Interrupt(s.dir))
	s.expect(t, "got interrupt")
	s.send(t, "end")
	if status := s.wait(t); status == nil || status.ExitCode != 0 || !status.Interrupted {
		t.Errorf("Wait = %+v, want its end", status)
	}
	if log := s.log(t); !strings.HasSuffix(log, "signals: 1\n") {
		t.Errorf("log = %q, want it whole", log)
	}
}

func TestWaitIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newStep(t, "count")
	s.start(t)
	s.hear(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := supervisor.Wait(ctx, s.dir); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v, want it cancelled", err)
	}
	s.send(t, "end")
	s.wait(t)
}

func TestSupervisorKilled(t *testing.T) {
	t.Parallel()
	asUsers(t, func(t *testing.T, as func(*exec.Cmd) *exec.Cmd) {
		t.Helper()
		s := newStep(t, "count")
		one := s.startAs(t, as)
		s.hear(t)
		killSupervisor(t, s, one)
		// The process writes on, although nobody reads.
		s.roundTrip(t, "hello")
		if mark, _ := s.inspect(t, supervisor.Running); !mark.Orphaned {
			t.Errorf("mark = %+v, want an orphan", mark)
		}
		must(t, supervisor.Interrupt(s.dir))
		s.expect(t, "got interrupt")
		must(t, supervisor.Interrupt(s.dir))
		s.roundTrip(t, "after it")
		// Another server of the same user, as well protected as the first.
		server := as(exec.CommandContext(t.Context(), s.stage))
		server.Env = []string{"ACT=adopt\x1f" + s.dir}
		var out bytes.Buffer
		server.Stdout = &out
		must(t, server.Start())
		eventually(t, "the log being taken over", func() bool { return s.log(t) != "" })
		s.send(t, "end")
		if code := exitOf(t, server); code != 0 || out.String() != "<nil> <nil>\n" {
			t.Errorf("Wait = %s(%d), want nothing known", out.String(), code)
		}
		s.inspect(t, supervisor.Unknown)
		s.forgot(t)
		want := "told hello\ngot interrupt\ntold after it\ntold end\nsignals: 1\n"
		if d := cmp.Diff(want, s.log(t)); d != "" {
			t.Errorf("log (-want +got):\n%s", d)
		}
	})
}

// killSupervisor leaves the process alone in the world.
func killSupervisor(t *testing.T, s *step, one *exec.Cmd) {
	t.Helper()
	mark, _ := s.inspect(t, supervisor.Running)
	must(t, unix.Kill(mark.Supervisor, syscall.SIGKILL))
	if code := exitOf(t, one); code != 125 {
		t.Errorf("stage one = %d, want 125", code)
	}
}

func TestOrphanIsKilledAfterItsGrace(t *testing.T) {
	t.Parallel()
	s := newStep(t, "stubborn")
	s.spec.Grace = time.Millisecond
	one := s.start(t)
	grandchild := strings.TrimPrefix(s.hear(t), "ready ")
	killSupervisor(t, s, one)
	must(t, supervisor.Interrupt(s.dir))
	if status := s.wait(t); status != nil {
		t.Errorf("Wait = %+v, want nothing known", status)
	}
	s.inspect(t, supervisor.Unknown)
	gone(t, grandchild)
}

func TestSupervisorKilledBeforeTheMark(t *testing.T) {
	t.Parallel()
	s := newStep(t, "exit", "0")
	release := s.lockShared(t)
	two := s.stageTwo(t)
	must(t, two.Start())
	must(t, two.Process.Kill())
	_ = two.Wait()
	release()
	if mark, status := s.inspect(t, supervisor.NotStarted); mark != nil || status != nil {
		t.Errorf("mark = %+v, status = %+v, want none", mark, status)
	}
}

// What tells of the start is on disk before anything is executed: here its writing does not come to an end, and
// the supervisor dies over it.
func TestNothingRunsBeforeTheMark(t *testing.T) {
	t.Parallel()
	s := newStep(t, "exit", "0")
	mark := filepath.Join(s.dir, "started.new")
	fill(t, fifo(t, mark))
	opened := watchOpen(t, mark)
	two := s.stageTwo(t)
	must(t, two.Start())
	_, err := opened.Read(make([]byte, 4096))
	must(t, err)
	children := childrenOf(t, two.Process.Pid)
	if len(children) != 1 {
		t.Fatalf("children = %v, want the one that waits", children)
	}
	must(t, two.Process.Kill())
	_ = two.Wait()
	gone(t, children[0])
	must(t, os.Remove(mark))
	s.inspect(t, supervisor.NotStarted)
	say, err := os.OpenFile(s.say(), os.O_WRONLY, 0)
	must(t, err)
	_, err = say.WriteString("nothing\n")
	must(t, errors.Join(err, say.Close()))
	s.expect(t, "nothing")
}

// fill leaves no room in a pipe.
func fill(t *testing.T, pipe *os.File) {
	t.Helper()
	conn, err := pipe.SyscallConn()
	must(t, err)
	var full error
	err = conn.Write(func(fd uintptr) bool {
		for full == nil {
			_, full = unix.Write(int(fd), make([]byte, 1))
		}
		return true
	})
	must(t, err)
	if !errors.Is(full, unix.EAGAIN) {
		t.Fatalf("filling a pipe: %v", full)
	}
}

// watchOpen can be read from when a file is opened.
func watchOpen(t *testing.T, path string) *os.File {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	f := os.NewFile(uintptr(fd), "inotify")
	t.Cleanup(func() { _ = f.Close() })
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN)
	must(t, errors.Join(err, f.SetReadDeadline(time.Now().Add(patience))))
	return f
}

func childrenOf(t *testing.T, pid int) []string {
	t.Helper()
	tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	must(t, err)
	var out []string
	for _, task := range tasks {
		raw, err := os.ReadFile(task)
		must(t, err)
		out = append(out, strings.Fields(string(raw))...)
	}
	return out
}

// stageTwo is a supervisor without its stage one.
func (s *step) stageTwo(t *testing.T) *exec.Cmd {
	t.Helper()
	two := s.command(t)
	two.Env = append(two.Env, "TIDEGATE_SUPERVISE_STAGE=two")
	two.Args = []string{"tidegate-supervise", s.dir}
	return two
}

// lockShared holds the lock as Inspect does for a moment.
func (s *step) lockShared(t *testing.T) (release func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_SH))
	return func() { must(t, f.Close()) }
}

func TestInspectsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	s := newStep(t, "exit", "0")
	if got := s.run(t); got.code != 0 {
		t.Fatalf("stage one = %+v", got)
	}
	must(t, os.Remove(filepath.Join(s.dir, "status.json")))
	release := s.lockShared(t)
	defer release()
	s.inspect(t, supervisor.Unknown)
}

func TestNotStartedIsFinal(t *testing.T) {
	t.Parallel()
	s := newStep(t, "exit", "0")
	release := s.lockShared(t)
	one := s.command(t)
	must(t, one.Start())
	s.inspect(t, supervisor.NotStarted)
	release()
	if code := exitOf(t, one); code != 125 {
		t.Errorf("stage one that came late = %d, want 125", code)
	}
	s.inspect(t, supervisor.NotStarted)
	if log := s.log(t); log != "" {
		t.Errorf("log = %q, want nothing executed", log)
	}
}

func TestDirectoryIsUsedOnce(t *testing.T) {
	t.Parallel()
	s := newStep(t, "exit", "0")
	if got := s.run(t); got.code != 0 {
		t.Fatalf("stage one = %+v", got)
	}
	s.expect(t, "was here")
	s.spec.Env[0] = "ACT=exit\x1f7"
	// What it answers is the end that there was.
	if got := s.run(t); got.code != 0 {
		t.Errorf("second start = %+v, want the first one's end", got)
	}
	if d := cmp.Diff("to stdout\nto stderr\n", s.log(t)); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
}

func TestNothingThere(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"no directory": filepath.Join(t.TempDir(), "none"), "no spec": t.TempDir()} {
		state, mark, status, err := supervisor.Inspect(dir)
		if state != supervisor.NotStarted || mark != nil || status != nil || err != nil {
			t.Errorf("%s: Inspect = %v %v %v %v, want not started", name, state, mark, status, err)
		}
	}
}

func TestMarkOfAnotherProcessWithThatPid(t *testing.T) {
	t.Parallel()
	s := newStep(t, "exit", "0")
	s.spec.Argv0 = "/bin/true"
	must(t, s.spec.Write(s.dir))
	must(t, os.WriteFile(filepath.Join(s.dir, "lock"), nil, 0o600))
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	must(t, err)
	other := exec.CommandContext(t.Context(), "cat")
	stdin, err := other.StdinPipe()
	must(t, err)
	must(t, other.Start())
	pid := sprint(other.Process.Pid)
	for name, mark := range map[string]string{
		"other start": `{"format":1,"pid":` + pid + `,"start":1,"boot":"` + strings.TrimSpace(string(boot)) + `"}`,
		"other boot":  `{"format":1,"pid":` + pid + `,"start":` + startOf(t, pid) + `,"boot":"before"}`,
	} {
		must(t, os.WriteFile(filepath.Join(s.dir, "started"), []byte(mark), 0o600))
		if state, m, _, err := supervisor.Inspect(s.dir); state != supervisor.Unknown || m.Orphaned || err != nil {
			t.Errorf("%s: Inspect = %v %+v %v, want unknown", name, state, m, err)
		}
		must(t, supervisor.Interrupt(s.dir))
		must(t, os.Remove(filepath.Join(s.dir, "interrupt")))
	}
	must(t, stdin.Close())
	must(t, other.Wait())
}

func startOf(t *testing.T, pid string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	must(t, err)
	return strings.Fields(string(raw[strings.LastIndex(string(raw), ")")+1:]))[19]
}

// TestWhatIsLeftIsEnded: a job that is over works with nothing any more.
func TestWhatIsLeftIsEnded(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"group", "session"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			s := newStep(t, "leave", where)
			if got := s.run(t); got.code != 0 {
				t.Errorf("stage one = %+v", got)
			}
			left := strings.TrimPrefix(s.hear(t), "left ")
			if err := exec.CommandContext(t.Context(), "kill", "-0", left).Run(); err == nil {
				t.Errorf("process %s lives", left)
			}
			s.inspect(t, supervisor.Ended)
			if d := cmp.Diff("parent ends\n", s.log(t)); d != "" {
				t.Errorf("log (-want +got):\n%s", d)
			}
		})
	}
}
