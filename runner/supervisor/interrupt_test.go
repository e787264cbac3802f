//go:build linux

package supervisor_test

import (
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

// exitOf waits for a command and answers its code.
func exitOf(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// roundTrip: what was sent before is there after it, signals included.
func (s *step) roundTrip(t *testing.T, word string) {
	t.Helper()
	s.send(t, word)
	s.expect(t, "heard "+word)
}

func TestInterruptIsOneSIGINT(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(t *testing.T, s *step, one *exec.Cmd){
		"Interrupt": func(t *testing.T, s *step, _ *exec.Cmd) {
			t.Helper()
			must(t, supervisor.Interrupt(s.dir))
		},
		"SIGINT to stage one": func(t *testing.T, _ *step, one *exec.Cmd) {
			t.Helper()
			must(t, one.Process.Signal(syscall.SIGINT))
		},
		"SIGTERM to stage one": func(t *testing.T, _ *step, one *exec.Cmd) {
			t.Helper()
			must(t, one.Process.Signal(syscall.SIGTERM))
		},
		"SIGINT to stage two": func(t *testing.T, s *step, _ *exec.Cmd) {
			t.Helper()
			mark, _ := s.inspect(t, supervisor.Running)
			must(t, unix.Kill(mark.Supervisor, syscall.SIGINT))
		},
		"SIGTERM to stage two": func(t *testing.T, s *step, _ *exec.Cmd) {
			t.Helper()
			mark, _ := s.inspect(t, supervisor.Running)
			must(t, unix.Kill(mark.Supervisor, syscall.SIGTERM))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStep(t, "count")
			one := s.start(t)
			s.hear(t)
			ask(t, s, one)
			s.expect(t, "got interrupt")
			mark, _ := s.inspect(t, supervisor.Running)
			for range 5 {
				must(t, supervisor.Interrupt(s.dir))
				must(t, one.Process.Signal(syscall.SIGTERM))
				must(t, unix.Kill(mark.Supervisor, syscall.SIGINT))
				s.roundTrip(t, "again")
			}
			s.send(t, "end")
			if code := exitOf(t, one); code != 0 {
				t.Errorf("stage one = %d, want 0", code)
			}
			_, status := s.inspect(t, supervisor.Ended)
			if !status.Interrupted || status.Killed {
				t.Errorf("status = %+v, want interrupted and not killed", status)
			}
			if log := s.log(t); !strings.HasSuffix(log, "signals: 1\n") {
				t.Errorf("log = %q, want exactly one signal", log)
			}
			must(t, supervisor.Interrupt(s.dir))
		})
	}
}

func TestSignalThatTheProcessHadAsWellIsNotDoubled(t *testing.T) {
	t.Parallel()
	s := newStep(t, "heed")
	s.spec.Grace = patience
	one := s.start(t)
	s.hear(t)
	mark, _ := s.inspect(t, supervisor.Running)
	// As a service manager does that stops a whole control group.
	must(t, unix.Kill(mark.PID, syscall.SIGTERM))
	must(t, unix.Kill(mark.Supervisor, syscall.SIGTERM))
	s.expect(t, "interrupted")
	eventually(t, "a claimed interrupt", func() bool {
		return exec.CommandContext(t.Context(), "test", "-e", s.dir+"/interrupted").Run() == nil
	})
	must(t, supervisor.Interrupt(s.dir))
	s.send(t, "end")
	if code := exitOf(t, one); code != 1 {
		t.Errorf("stage one = %d, want 1", code)
	}
	if log := s.log(t); !strings.HasSuffix(log, "more signals: 0\n") {
		t.Errorf("log = %q, want no second signal", log)
	}
	if _, status := s.inspect(t, supervisor.Ended); !status.Interrupted {
		t.Errorf("status = %+v, want interrupted", status)
	}
}

func TestHangupIsNothing(t *testing.T) {
	t.Parallel()
	s := newStep(t, "count")
	one := s.start(t)
	s.hear(t)
	mark, _ := s.inspect(t, supervisor.Running)
	must(t, one.Process.Signal(syscall.SIGHUP))
	must(t, unix.Kill(mark.Supervisor, syscall.SIGHUP))
	s.roundTrip(t, "still there")
	s.send(t, "end")
	if code := exitOf(t, one); code != 0 {
		t.Errorf("stage one = %d, want 0", code)
	}
	if _, status := s.inspect(t, supervisor.Ended); status.Interrupted {
		t.Errorf("status = %+v, want not interrupted", status)
	}
}

func TestInterruptBeforeTheStart(t *testing.T) {
	t.Parallel()
	s := newStep(t, "exit", "0")
	must(t, supervisor.Interrupt(s.dir))
	if got := s.run(t); got.code != 130 {
		t.Errorf("stage one = %+v, want 130", got)
	}
	mark, status := s.inspect(t, supervisor.NotStarted)
	if mark != nil || !status.Interrupted || status.Error != "" || !status.Started.IsZero() {
		t.Errorf("mark = %+v, status = %+v, want no mark, interrupted, never started", mark, status)
	}
	if log := s.log(t); log != "" {
		t.Errorf("log = %q, want nothing executed", log)
	}
}

func TestGraceEndsInSIGKILLToTheGroup(t *testing.T) {
	t.Parallel()
	s := newStep(t, "stubborn")
	s.spec.Grace = time.Millisecond
	one := s.start(t)
	grandchild := strings.TrimPrefix(s.hear(t), "ready ")
	must(t, supervisor.Interrupt(s.dir))
	if code := exitOf(t, one); code != 128+9 {
		t.Errorf("stage one = %d, want 137", code)
	}
	_, status := s.inspect(t, supervisor.Ended)
	if status.ExitCode != -1 || status.Signal != "SIGKILL" || !status.Interrupted || !status.Killed {
		t.Errorf("status = %+v, want interrupted, then killed", status)
	}
	gone(t, grandchild)
}

// Who kills an apply may lose its state: however long it takes after its interrupt, it is waited for.
func TestPatienceHasNoSIGKILL(t *testing.T) {
	t.Parallel()
	s := newStep(t, "count")
	s.spec.Grace, s.spec.Patient = time.Nanosecond, true
	one := s.start(t)
	s.hear(t)
	must(t, supervisor.Interrupt(s.dir))
	s.expect(t, "got interrupt")
	for range 20 {
		s.roundTrip(t, "again")
	}
	s.send(t, "end")
	if code := exitOf(t, one); code != 0 {
		t.Errorf("stage one = %d, want 0", code)
	}
	if _, status := s.inspect(t, supervisor.Ended); !status.Interrupted || status.Killed {
		t.Errorf("status = %+v, want interrupted and not killed", status)
	}
}

// A process whose interrupt comes before it is deaf to it ends by that; then it gets more time.
func TestPatienceEndsWithItsTime(t *testing.T) {
	t.Parallel()
	const longest = 10 * time.Second
	code := 128 + 2
	for timeout := time.Millisecond; code == 128+2 && timeout < longest; timeout *= 4 {
		s := newStep(t, "stubborn")
		s.spec.Grace, s.spec.Patient, s.spec.Timeout = time.Millisecond, true, timeout
		code = exitOf(t, s.start(t))
		if _, status := s.inspect(t, supervisor.Ended); code == 128+9 && (!status.Killed || status.Timeout != timeout) {
			t.Errorf("status = %+v, want killed for its time", status)
		}
	}
	if code != 128+9 {
		t.Errorf("stage one = %d, want 137", code)
	}
}

func TestProcessEndedByASignal(t *testing.T) {
	t.Parallel()
	s := newStep(t, "die")
	if got := s.run(t); got.code != 128+9 {
		t.Errorf("stage one = %+v, want 137", got)
	}
	if _, status := s.inspect(t, supervisor.Ended); status.Signal != "SIGKILL" || status.Killed || status.Interrupted {
		t.Errorf("status = %+v, want SIGKILL that was not ours", status)
	}
}

// A supervisor may be asked while it has its lock and does not listen yet: it looks for the file when it does.
func TestInterruptOfWhoDoesNotListenYet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := os.Create(filepath.Join(dir, "lock"))
	must(t, err)
	defer func() { _ = lock.Close() }()
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	must(t, supervisor.Interrupt(dir))
	_, err = os.Stat(filepath.Join(dir, "interrupt"))
	must(t, err)
}

// A supervisor that is killed between hearing of an interrupt and sending it leaves that to who waits.
func TestInterruptThatTheSupervisorDidNotSend(t *testing.T) {
	t.Parallel()
	s := newStep(t, "count")
	s.start(t)
	s.hear(t)
	mark, _ := s.inspect(t, supervisor.Running)
	must(t, unix.Kill(mark.Supervisor, syscall.SIGKILL))
	must(t, os.WriteFile(filepath.Join(s.dir, "interrupt"), nil, 0o600))
	waited := make(chan *supervisor.Status, 1)
	go func() { waited <- s.wait(t) }()
	s.expect(t, "got interrupt")
	s.send(t, "end")
	if status := <-waited; status != nil {
		t.Errorf("Wait = %+v, want no status", status)
	}
	if log := s.log(t); !strings.HasSuffix(log, "signals: 1\n") {
		t.Errorf("log = %q, want exactly one signal", log)
	}
}
