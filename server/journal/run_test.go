package journal_test

import (
	"errors"
	"testing"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
)

func run(j *journal.Journal, n int, event uint64) journal.Run {
	return journal.Run{
		ID: j.NewRunID(), Event: event, Pull: pull(n), Repo: "acme/infra", Command: "plan", Source: "push:abc",
		State: journal.Running, Started: at(n),
	}
}

func job(r journal.Run, n int) journal.Job {
	return journal.Job{Run: r.ID, N: n, State: journal.JobQueued, Job: runner.Job{ID: r.ID, Action: runner.Plan}}
}

func TestCreateRunBindsItsEvent(t *testing.T) {
	t.Parallel()
	j := open(t)
	seq := add(t, j, 1, "k")
	if _, found, err := j.RunOf(t.Context(), seq); found || err != nil {
		t.Errorf("RunOf() before = %v, %v, want none", found, err)
	}
	r := run(j, 1, seq)
	jobs := []journal.Job{job(r, 1), job(r, 2), job(r, 300)}
	ok(t, j.CreateRun(t.Context(), r, jobs))
	got, found, err := j.RunOf(t.Context(), seq)
	if err != nil || !found {
		t.Fatalf("RunOf() = %v, %v", found, err)
	}
	want(t, "run", got, r)
	gotJobs, err := j.Jobs(t.Context(), r.ID)
	ok(t, err)
	want(t, "jobs", gotJobs, jobs)
	if q, err := j.Queued(t.Context()); err != nil || len(q) != 1 || q[0].Run != r.ID {
		t.Errorf("Queued() = %v, %v, want the event, still queued, with its run", q, err)
	}
	for _, id := range []string{"", r.ID[:10], "~"} {
		if gotJobs, err := j.Jobs(t.Context(), id); err != nil || len(gotJobs) != 0 {
			t.Errorf("Jobs(%q) = %d, %v, want none", id, len(gotJobs), err)
		}
	}
	ok(t, j.CreateRun(t.Context(), r, nil))
	if gotJobs, err = j.Jobs(t.Context(), r.ID); err != nil || len(gotJobs) != 3 {
		t.Errorf("Jobs() after the run was created again = %d, %v, want 3", len(gotJobs), err)
	}
	if err := j.CreateRun(t.Context(), run(j, 1, seq), nil); err == nil {
		t.Error("CreateRun() of a second run for one event = nil error")
	}
	if err := j.CreateRun(t.Context(), run(j, 1, 99), nil); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("CreateRun() for an event that is not there = %v, want ErrUnknown", err)
	}
	if runs, err := j.Runs(t.Context(), journal.Filter{}); err != nil || len(runs) != 1 {
		t.Errorf("Runs() = %d, %v, want the one that was journalled", len(runs), err)
	}
}

// What was carried on is not set back when its run is created again.
func TestCreateRunAgain(t *testing.T) {
	t.Parallel()
	j := open(t)
	r := run(j, 1, 0)
	jobs := []journal.Job{job(r, 1), job(r, 2)}
	ok(t, j.CreateRun(t.Context(), r, jobs[:1]))
	done := jobs[0]
	done.State = journal.JobDone
	ok(t, j.PutJob(t.Context(), done))
	r.Head = "abc"
	ok(t, j.CreateRun(t.Context(), r, jobs))
	got, err := j.Jobs(t.Context(), r.ID)
	ok(t, err)
	want(t, "jobs", got, []journal.Job{done, jobs[1]})
	if now, _, err := j.Run(t.Context(), r.ID); err != nil || now.Head != "abc" {
		t.Errorf("Run() = %+v, %v, want what was journalled last", now, err)
	}
	ok(t, j.EndRun(t.Context(), r.ID, "planned", at(9)))
	ok(t, j.CreateRun(t.Context(), r, jobs))
	if now, _, err := j.Run(t.Context(), r.ID); err != nil || now.State != journal.RunDone || now.Summary != "planned" {
		t.Errorf("Run() = %+v, %v, want it still done", now, err)
	}
	if p, err := j.Pending(t.Context()); err != nil || p.Runs != 0 {
		t.Errorf("Pending() = %+v, %v, want no run", p, err)
	}
	moved := r
	moved.Pull = pull(2)
	if err := j.CreateRun(t.Context(), moved, nil); err == nil {
		t.Error("CreateRun() that moves a run that is done to another pull request = nil error")
	}
}

func TestCreateRunRefuses(t *testing.T) {
	t.Parallel()
	j := open(t)
	r := run(j, 1, 0)
	if err := j.CreateRun(t.Context(), r, []journal.Job{job(run(j, 1, 0), 1)}); err == nil {
		t.Error("CreateRun() with a job of another run = nil error")
	}
	if err := j.CreateRun(t.Context(), r, []journal.Job{job(r, 0)}); err == nil {
		t.Error("CreateRun() with job 0 = nil error")
	}
	for _, id := range []string{"", "1", r.ID + "x", "01ARZ3NDEKTSV4RRFFQ69G5FA!"} {
		if err := j.PutRun(t.Context(), journal.Run{ID: id}); err == nil {
			t.Errorf("PutRun(%q) = nil error", id)
		}
	}
	ok(t, j.PutRun(t.Context(), r))
	r.Pull = pull(2)
	if err := j.PutRun(t.Context(), r); err == nil {
		t.Error("PutRun() that moves a run to another pull request = nil error")
	}
	if err := j.PutJob(t.Context(), job(run(j, 1, 0), 1)); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("PutJob() of a run that is not there = %v, want ErrUnknown", err)
	}
	if err := j.EndRun(t.Context(), j.NewRunID(), "", at(1)); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("EndRun() of a run that is not there = %v, want ErrUnknown", err)
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	j := open(t)
	var ids []string
	for i := range 6 {
		r := run(j, i%2, 0)
		ok(t, j.CreateRun(t.Context(), r, nil))
		ids = append(ids, r.ID)
	}
	// Pull requests whose keys surround the others'.
	for _, n := range []int{-1, 2, 256} {
		ok(t, j.CreateRun(t.Context(), run(j, n, 0), nil))
	}
	ok(t, j.EndRun(t.Context(), ids[0], "planned", at(9)))
	ok(t, j.EndRun(t.Context(), ids[0], "again", at(10)))
	ok(t, j.EndRun(t.Context(), ids[3], "planned", at(9)))
	zero, one := pull(0), pull(1)
	for _, tt := range []struct {
		name   string
		filter journal.Filter
		want   []string
	}{
		{"of a pull request", journal.Filter{Pull: &one}, []string{ids[5], ids[3], ids[1]}},
		{"of another", journal.Filter{Pull: &zero}, []string{ids[4], ids[2], ids[0]}},
		{"running of it", journal.Filter{Pull: &one, Running: true}, []string{ids[5], ids[1]}},
		{"running of it, one", journal.Filter{Pull: &zero, Running: true, Limit: 1}, []string{ids[4]}},
		{"older ones of it", journal.Filter{Pull: &one, Before: ids[5]}, []string{ids[3], ids[1]}},
		{"the one before", journal.Filter{Pull: &one, Before: ids[4], Limit: 1}, []string{ids[3]}},
		{"older than the oldest", journal.Filter{Pull: &one, Before: ids[1]}, nil},
		{"older ones of all", journal.Filter{Before: ids[2]}, []string{ids[1], ids[0]}},
	} {
		got, err := j.Runs(t.Context(), tt.filter)
		ok(t, err)
		var gotIDs []string
		for _, r := range got {
			gotIDs = append(gotIDs, r.ID)
		}
		want(t, tt.name, gotIDs, tt.want)
	}
	for _, tt := range []struct {
		filter journal.Filter
		want   int
	}{{journal.Filter{}, 9}, {journal.Filter{Running: true}, 7}, {journal.Filter{Limit: 4}, 4}, {journal.Filter{Running: true, Limit: 2}, 2}} {
		if got, err := j.Runs(t.Context(), tt.filter); err != nil || len(got) != tt.want {
			t.Errorf("Runs(%+v) = %d, %v, want %d", tt.filter, len(got), err, tt.want)
		}
	}
	r, _, err := j.Run(t.Context(), ids[0])
	ok(t, err)
	if r.State != journal.RunDone || r.Summary != "planned" || r.Ended != at(9) {
		t.Errorf("Run() = %+v, want it done as planned at its first end", r)
	}
	none := pull(3)
	if got, err := j.Runs(t.Context(), journal.Filter{Pull: &none}); err != nil || len(got) != 0 {
		t.Errorf("Runs() of a pull request without runs = %v, %v", got, err)
	}
}

func TestPutJob(t *testing.T) {
	t.Parallel()
	j := open(t)
	r, other := run(j, 1, 0), run(j, 1, 0)
	ok(t, j.CreateRun(t.Context(), r, []journal.Job{job(r, 1), job(r, 2)}))
	ok(t, j.CreateRun(t.Context(), other, []journal.Job{job(other, 1)}))
	done := job(r, 2)
	done.State, done.PlanID, done.Started, done.Ended, done.Digest, done.Note = journal.JobDone, r.ID+"/2", at(1), at(2), "d", "n"
	done.Result = &runner.Summary{End: runner.Failed, Failure: &runner.Failure{Summary: "s", Text: "<t>"}, Started: at(1), Ended: at(2)}
	done.Waiting = &journal.Waiting{Pull: 3, URL: "u", User: "bob", Since: at(0), Ahead: 1}
	ok(t, j.PutJob(t.Context(), done))
	got, err := j.Jobs(t.Context(), r.ID)
	ok(t, err)
	want(t, "jobs", got, []journal.Job{job(r, 1), done})
}
