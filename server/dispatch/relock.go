package dispatch

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
)

// longAgo bounds how far back a job is looked for that may have left a lock: no job takes that long to
// come to its terraform.
const longAgo = 24 * time.Hour

// mostBroken bounds how many locks are broken for one plan: each that dies may leave one more.
const mostBroken = 3

// relock looks at a job that did not get the lock of its state. When the lock was provably left by a job of
// ours that is dead, a plan breaks it and is made once more; of an apply it is only said.
func (e *Engine) relock(ctx context.Context, s scene, j *journal.Job, res runner.Result) (runner.Result, error) {
	for range mostBroken {
		if res.Failure == nil || res.Failure.Lock == nil || res.Failure.Lock.ID == j.Job.Release || s.ask.kind == askMend {
			return res, nil
		}
		lock := res.Failure.Lock
		dead, err := e.leftBy(ctx, *j, res.Started, *lock)
		if err = e.spare(ctx, err); err != nil || dead == "" {
			return res, err
		}
		lock.Left = dead
		if !s.ask.plans() {
			return res, nil
		}
		e.Log.InfoContext(ctx, "breaking the state lock of a dead job", "job", j.Job.ID, "dead", dead, "lock", lock.ID)
		j.Job.Release, j.Job.ReleaseOf = lock.ID, dead
		if err := e.Journal.PutJob(ctx, *j); err != nil {
			return res, err
		}
		if res, err = e.run(ctx, s, j.Job); err != nil {
			return res, err
		}
	}
	return res, nil
}

// leftBy answers the job of ours that has left a lock and is dead; "" when that is not certain. The job that did not get the lock
// was started then, the last time: an earlier start of its own may have left it.
func (e *Engine) leftBy(ctx context.Context, j journal.Job, started time.Time, lock runner.StateLock) (string, error) {
	if !lock.Forcible || lock.Who == "" || !lock.Created.Before(started) {
		return "", nil
	}
	if doubt, err := e.mayBeAlive(ctx, j, lock); err != nil || doubt {
		return "", err
	}
	run, _, err := e.Journal.Run(ctx, j.Run)
	if err != nil {
		return "", err
	}
	const page = 100
	for before := ""; ; {
		runs, err := e.Journal.Runs(ctx, journal.Filter{Before: before, Limit: page})
		if err != nil || len(runs) == 0 {
			return "", err
		}
		for _, r := range runs {
			if r.Started.Before(lock.Created.Add(-longAgo)) {
				return "", nil
			}
			// The jobs of a time before the journal was restored may be alive on another machine.
			if r.Pull.Repo != run.Pull.Repo || r.Started.Before(e.restored.At) {
				continue
			}
			if dead, err := e.leftIn(ctx, r, j, lock); err != nil || dead != "" {
				return dead, err
			}
		}
		before = runs[len(runs)-1].ID
	}
}

// leftIn looks among the jobs of a run for the one that has left a lock.
func (e *Engine) leftIn(ctx context.Context, r journal.Run, by journal.Job, lock runner.StateLock) (string, error) {
	jobs, err := e.Journal.Jobs(ctx, r.ID)
	if err != nil {
		return "", err
	}
	for _, j := range jobs {
		p, me := j.Job.Project, j.Job.ID == by.Job.ID
		if p.Dir != by.Job.Project.Dir || p.Workspace != by.Job.Project.Workspace || j.Open() && !me {
			continue
		}
		left, err := j.Job.Left(lock, !me, j.Ended)
		if err != nil {
			return "", err
		}
		if left {
			return j.Job.ID, nil
		}
	}
	return "", nil
}

// mayBeAlive: another job of ours has run since before the lock was taken. It calls itself the same, and
// its project may have the same state: the lock may be its own.
func (e *Engine) mayBeAlive(ctx context.Context, by journal.Job, lock runner.StateLock) (bool, error) {
	runs, err := e.Journal.Runs(ctx, journal.Filter{Running: true})
	if err != nil {
		return true, err
	}
	for _, r := range runs {
		jobs, err := e.Journal.Jobs(ctx, r.ID)
		if err != nil {
			return true, err
		}
		if slices.ContainsFunc(jobs, func(j journal.Job) bool {
			return j.State == journal.JobRunning && j.Job.ID != by.Job.ID && !j.Started.After(lock.Created)
		}) {
			return true, nil
		}
	}
	return false, nil
}

// releasedNotes say whose locks were broken for the plans.
func (e *Engine) releasedNotes(jobs []journal.Job) []string {
	var notes []string
	for _, j := range jobs {
		if j.Result == nil || j.Result.Released == "" {
			continue
		}
		run, _, _ := strings.Cut(j.Job.ReleaseOf, "/")
		notes = append(notes, templates.ReleasedNote(label(j.Job.Project), j.Result.Released, e.runURL(run)))
	}
	return notes
}
