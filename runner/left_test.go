package runner

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// die makes a plan that has ended one that nobody saw the end of.
func (s *site) die(job Job) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(job.Dir, "*-plan", "status.json"))
	if err != nil || len(files) != 1 {
		s.t.Fatalf("%d plans have ended (%v), want 1", len(files), err)
	}
	for _, name := range append(files, filepath.Join(job.Dir, resultName)) {
		if err := os.Remove(name); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) left(job Job, lock StateLock, ended bool) bool {
	s.t.Helper()
	got, err := job.Left(lock, ended, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// A lock is a dead job's own only if everything fits, and also after the job was begun once more.
func TestLeft(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	before := time.Now()
	job := s.next("1", Plan)
	s.run(job)
	lock := StateLock{ID: "7", Who: who(), Operation: "OperationTypePlan", Created: time.Now()}
	if s.left(job, lock, true) {
		t.Error("a plan that has ended gave its lock back")
	}
	s.die(job)
	if !s.left(job, lock, true) {
		t.Error("the lock of a plan that died is not recognised")
	}
	for name, change := range map[string]func(*StateLock){
		"of another user":     func(l *StateLock) { l.Who = "x" + l.Who },
		"of nobody":           func(l *StateLock) { l.Who = "" },
		"of an apply":         func(l *StateLock) { l.Operation = "OperationTypeApply" },
		"from before":         func(l *StateLock) { l.Created = before.Add(-time.Second) },
		"from after the end":  func(l *StateLock) { l.Created = time.Now().Add(time.Hour) },
		"of an unknown time":  func(l *StateLock) { l.Created = time.Time{} },
		"for no known reason": func(l *StateLock) { l.Operation = "" },
	} {
		other := lock
		change(&other)
		if s.left(job, other, true) {
			t.Errorf("a lock %s is taken for the dead plan's", name)
		}
	}
	if s.left(job, lock, false) {
		t.Error("what runs is taken for dead")
	}

	s.run(job)
	if !s.left(job, lock, false) {
		t.Error("the lock of the first start is not recognised after the second")
	}
	if err := os.Remove(filepath.Join(job.Dir, diedName)); err != nil {
		t.Fatal(err)
	}
	s.die(job)
	if err := os.Remove(filepath.Join(job.Dir, whoName)); err != nil {
		t.Fatal(err)
	}
	if s.left(job, lock, true) {
		t.Error("a job of an older version says nothing of who it was")
	}
}
