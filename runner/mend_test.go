package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stateOf is a state with one output, as an apply would have left it.
func stateOf(serial int) string {
	return fmt.Sprintf(`{"version":4,"terraform_version":"1.11.4","serial":%d,"lineage":"6ac32374-a9fa-96f0-cc9a-e5b4b0c5c1d4",`+
		`"outputs":{"word":{"value":"sesame","type":"string","sensitive":true}},"resources":[],"check_results":null}`, serial)
}

// pushJob is a job that stores a state of that serial.
func (s *site) pushJob(id string, serial int) Job {
	s.t.Helper()
	job := s.next(id, StatePush)
	job.StateFile = filepath.Join(s.cfg.Data, "runs", "run", "apply-"+id, erroredName)
	if err := os.MkdirAll(filepath.Dir(job.StateFile), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(job.StateFile, []byte(stateOf(serial)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return job
}

func TestStatePush(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	s.plan("1")
	job := s.pushJob("2", 7)
	if got := ErroredState(filepath.Dir(job.StateFile)); got != job.StateFile {
		t.Errorf("ErroredState = %q before it is stored", got)
	}
	if got := s.run(job); got.End != Succeeded {
		t.Fatalf("state push = %s, %+v", got.End, got.Failure)
	}
	if got := ErroredState(filepath.Dir(job.StateFile)); got != "" {
		t.Errorf("ErroredState = %q after it was stored", got)
	}
	if log := s.logText(job); strings.Contains(log, "sesame") {
		t.Errorf("the log has what the state holds:\n%s", log)
	}

	older := s.pushJob("3", 6)
	got := s.run(older)
	if got.End != Failed || got.Failure == nil || !strings.Contains(got.Failure.Text, "serial") {
		t.Errorf("push of an older state = %s, %+v", got.End, got.Failure)
	}
	if ErroredState(filepath.Dir(older.StateFile)) == "" {
		t.Error("a state that was not stored is not kept")
	}
}

// What mends a state is never run twice, and what nobody saw the end of is not known.
func TestRecoverOfAMend(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	s.plan("1")
	ended, lost, fresh := s.pushJob("2", 7), s.pushJob("3", 8), s.pushJob("4", 9)
	s.run(ended)
	s.run(lost) // after the other one: its serial is higher
	for _, name := range []string{
		filepath.Join(ended.Dir, resultName), filepath.Join(lost.Dir, resultName), filepath.Join(lost.Dir, "1-state-push", "status.json"),
	} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	s.started()
	for want, job := range map[End]Job{Succeeded: ended, Unknown: lost, NotStarted: fresh} {
		if job.ID != fresh.ID {
			if _, err := New(s.cfg).Run(t.Context(), job); !errors.Is(err, ErrRunBefore) {
				t.Errorf("a second Run of %s = %v", job.ID, err)
			}
		}
		got, err := New(s.cfg).Recover(t.Context(), job)
		if err != nil || got.End != want {
			t.Errorf("Recover(%s) = %s, %v, want %s", job.ID, got.End, err, want)
		}
	}
	if calls := s.started(); len(calls) != 0 {
		t.Errorf("Recover started %v", calls)
	}
}

func TestMendsThatMeanNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	option, nothing, here := s.next("1", ForceUnlock), s.next("2", ForceUnlock), s.next("3", StatePush)
	option.LockID, here.StateFile = "-lock=false", erroredName
	for _, job := range []Job{option, nothing, here} {
		if _, err := New(s.cfg).Run(t.Context(), job); err == nil {
			t.Errorf("Run(%s, lock %q, state %q) does not refuse", job.Action, job.LockID, job.StateFile)
		}
	}
	if calls := s.started(); len(calls) != 0 {
		t.Errorf("terraform was started: %v", calls)
	}
}
