package runner

import (
	"bytes"
	"context"
	"errors"
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

// hangs has terraform tell that a command has begun, which then comes to no end.
func (s *site) hangs(command string) (said *os.File) {
	s.t.Helper()
	said = s.fifo("said")
	s.stub(command, "echo begun >'"+said.Name()+"'; exec sleep 100")
	return said
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

func TestAPlanThatNobodyWatchesIsInterrupted(t *testing.T) {
	t.Parallel()
	for name, stageOne := range map[string]bool{"the supervisor is killed": false, "the first stage is killed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, map[string]string{"main.tf": ""})
			said := s.hangs("init")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			job := s.next("1", Plan)
			answers := s.begin(ctx, job)
			waitForLine(t, said, "begun")
			mark, one := s.watchers(filepath.Join(job.Dir, "1-init"))
			if stageOne {
				s.kill9(one, one)
			} else {
				s.kill9(one, mark.Supervisor)
			}
			cancel()
			if got := s.soon(answers); got.err != nil || got.result.End != Cancelled {
				t.Errorf("Run = %s, %v, want it cancelled", got.result.End, got.err)
			}
		})
	}
}

func TestAPlanThatNobodyWatchesEndsInTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": ""})
	said := s.fifo("said")
	s.stub("init", "echo begun >'"+said.Name()+"'; exec sleep 100")
	s.cfg.PlanTimeout = 4 * time.Second
	job := s.next("1", Plan)
	answers := s.begin(t.Context(), job)
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		_, _ = said.Read(make([]byte, len("begun\n")))
	}()
	var got answer
	select {
	case <-begun:
		mark, one := s.watchers(filepath.Join(job.Dir, "1-init"))
		s.kill9(one, mark.Supervisor)
		got = s.soon(answers)
	case got = <-answers: // a machine so slow that its time was over before that
	}
	if got.err != nil || got.result.End != Failed || got.result.Failure.Summary != "stopped after 4 seconds by --plan-timeout" {
		t.Errorf("Run = %s, %+v, %v", got.result.End, got.result.Failure, got.err)
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

// hangsAtFirst has plan hang the first n times that it is started, having told.
func (s *site) hangsAtFirst(n int) (said *os.File) {
	s.t.Helper()
	said = s.fifo("said")
	count := filepath.Join(s.base, "ledger", "starts")
	s.stub("plan", "echo x >>'"+count+"'\nif [ $(wc -l <'"+count+"') -le "+strconv.Itoa(n)+" ]; then echo begun >'"+said.Name()+"'; exec sleep 100; fi")
	return said
}

// killPlan kills the plan of a job, and who watches it.
func (s *site) killPlan(job Job) {
	s.t.Helper()
	mark, one := s.watchers(filepath.Join(job.Dir, s.lastStep(job)))
	s.kill9(one, mark.Supervisor, mark.PID)
}

func (s *site) lastStep(job Job) string {
	s.t.Helper()
	steps, err := stepDirs(job.Dir)
	if err != nil || len(steps) == 0 {
		s.t.Fatalf("the steps: %q, %v", steps, err)
	}
	return filepath.Base(steps[len(steps)-1])
}

// A plan has changed nothing: what is not its own fault does not end it, unless it always does.
func TestAPlanThatIsKilledIsMadeOnceMore(t *testing.T) {
	t.Parallel()
	for kills, want := range map[int]End{mostStarts - 1: Succeeded, mostStarts: Failed} {
		t.Run(strconv.Itoa(kills), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, map[string]string{"main.tf": localBackend})
			said := s.hangsAtFirst(kills)
			job := s.next("1", Plan)
			answers := s.begin(t.Context(), job)
			for range kills {
				waitForLine(t, said, "begun")
				s.killPlan(job)
			}
			got := s.soon(answers)
			if got.err != nil || got.result.End != want {
				t.Errorf("Run = %s, %+v, %v, want %s", got.result.End, got.result.Failure, got.err, want)
			}
			if want == Failed && got.result.Failure.Summary != "what watches terraform was killed" {
				t.Errorf("its failure is %+v", got.result.Failure)
			}
		})
	}
}

// A plan that is made once more has the rest of its time, and so has one for which a lock was broken.
func TestAPlanHasItsTimeOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": ""})
	s.cfg.PlanTimeout = time.Hour
	job := s.next("1", Plan)
	job.Since = time.Now().Add(-time.Hour)
	got := s.run(job)
	if got.End != Failed || got.Failure.Summary != "stopped after 1 hour by --plan-timeout" {
		t.Errorf("Run = %s, %+v", got.End, got.Failure)
	}
}

// What starts terraform may be killed before it has.
func TestAPlanThatWasNotStartedIsMadeOnceMore(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	self := filepath.Join(s.base, "bin", "self")
	script := "#!/bin/sh\nif [ \"$1\" = init ] && [ ! -e '" + s.base + "/ledger/killed' ]; then touch '" + s.base + "/ledger/killed'; kill -KILL $$; fi\nexec '" +
		s.cfg.Self + "' \"$@\"\n"
	if err := os.WriteFile(self, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.cfg.Self = self
	s.plan("1")
	if _, err := os.Stat(filepath.Join(s.base, "ledger", "killed")); err != nil {
		t.Errorf("nothing was killed: %v", err)
	}
}

// What was answered before a plan is made again says nothing of it: the next server stops what runs.
func TestAnEarlierResultDoesNotHideWhatRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	job := s.next("1", Plan)
	s.run(job) // it is kept, and its server dies before it has taken note of it
	said := s.hangs("plan")
	job.Tool = s.job.Tool
	server := s.startChild(job)
	waitForLine(t, said, "begun")
	step := filepath.Join(job.Dir, s.lastStep(job))
	s.kill(server)
	res, err := New(s.cfg).Recover(t.Context(), job)
	if running, _, ierr := inspect(step); !errors.Is(err, ErrNotRun) || running || ierr != nil {
		t.Errorf("Recover = %s, %v; the plan runs: %v, %v; want %v and nothing that runs", res.End, err, running, ierr, ErrNotRun)
	}
	// As of an older server, which left the result where it was.
	server = s.startChild(job)
	waitForLine(t, said, "begun")
	s.kill(server)
	step = filepath.Join(job.Dir, s.lastStep(job))
	if err := saveResult(job.Dir, Result{Format: resultFormat, Summary: Summary{End: Succeeded}}); err != nil {
		t.Fatal(err)
	}
	if _, err := New(s.cfg).Recover(t.Context(), job); err != nil {
		t.Errorf("Recover = %v", err)
	}
	if running, _, err := inspect(step); running || err != nil {
		t.Errorf("the plan runs: %v, %v", running, err)
	}
}
