//go:build linux

package supervisor_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/runner/supervisor"
)

func TestTimeIsOver(t *testing.T) {
	t.Parallel()
	s := newStep(t, "count")
	s.spec.Timeout = time.Second
	one := s.start(t)
	s.hear(t)
	s.expect(t, "got interrupt")
	s.send(t, "end")
	if code := exitOf(t, one); code != 0 {
		t.Errorf("stage one = %d, want 0", code)
	}
	_, status := s.inspect(t, supervisor.Ended)
	if !status.Interrupted || status.Killed || status.Timeout != time.Second {
		t.Errorf("status = %+v, want interrupted after 1s and not killed", status)
	}
	if log := s.log(t); !strings.HasSuffix(log, "signals: 1\n") {
		t.Errorf("log = %q, want exactly one signal", log)
	}
}

// TestTimeIsOverForWhoHasNoSupervisor: it counts from the mark, whoever looks.
func TestTimeIsOverForWhoHasNoSupervisor(t *testing.T) {
	t.Parallel()
	s := newStep(t, "count")
	s.spec.Timeout = time.Second
	s.start(t)
	s.hear(t)
	mark, _ := s.inspect(t, supervisor.Running)
	must(t, unix.Kill(mark.Supervisor, syscall.SIGKILL))
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

func TestLimitsOfAProcess(t *testing.T) {
	t.Parallel()
	s := newStep(t, "")
	s.spec.Argv0, s.spec.Env = "/bin/sh", []string{"PATH=/usr/bin:/bin"}
	s.spec.Memory, s.spec.OpenFiles = 512<<20, 100
	if got := s.run(t, "-c", "ulimit -d; ulimit -H -d; ulimit -n; ulimit -H -n"); got.code != 0 {
		t.Fatalf("it ended with %+v", got)
	}
	if got, want := s.log(t), "524288\n524288\n100\n100\n"; got != want {
		t.Errorf("limits = %q, want %q", got, want)
	}
}
