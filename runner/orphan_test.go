package runner

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// patience is for machines that are busy; nothing waits that long on purpose.
const patience = time.Minute

// answer is what Run says.
type answer struct {
	result Result
	err    error
}

func (s *site) begin(ctx context.Context, job Job) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		result, err := New(s.cfg).Run(ctx, job)
		answers <- answer{result, err}
	}()
	return answers
}

// soon is the answer of a job that does not end by itself.
func (s *site) soon(answers <-chan answer) answer {
	s.t.Helper()
	select {
	case got := <-answers:
		return got
	case <-time.After(patience):
		s.t.Fatal("it was not interrupted")
		return answer{}
	}
}

// watchers are the supervisor of a step that runs, and its first stage.
func (s *site) watchers(step string) (mark *supervisor.Mark, one int) {
	s.t.Helper()
	state, mark, _, err := supervisor.Inspect(step)
	if err != nil || state != supervisor.Running {
		s.t.Fatalf("Inspect = %s, %v, want it to run", state, err)
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(mark.Supervisor), "stat"))
	if err != nil {
		s.t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if one, err = strconv.Atoi(fields[1]); err != nil {
		s.t.Fatal(err)
	}
	return mark, one
}

// kill9 kills some processes, and waits for the end of the first stage: then nobody passes an interrupt on.
func (s *site) kill9(one int, pids ...int) {
	s.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			s.t.Fatal(err)
		}
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(one, 0) == nil {
		<-tick.C
	}
}

func TestAnApplyThatNobodyWatchesIsInterrupted(t *testing.T) {
	t.Parallel()
	s, said, _ := newSlowSite(t)
	job := s.next("2", Apply)
	job.PlanFile = s.plan("1").PlanFile
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := s.begin(ctx, job)
	waitForLine(t, said, "begun")
	mark, one := s.watchers(filepath.Join(job.Dir, "1-apply"))
	s.kill9(one, mark.Supervisor)
	cancel()
	if got := s.soon(answers); got.err != nil || got.result.End != Unknown {
		t.Errorf("Run = %s, %v, want that nobody saw the end", got.result.End, got.err)
	}
}
