package dispatch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// spare lets work go on without the records that can't be read. Each is named in the log once.
func (e *Engine) spare(ctx context.Context, err error) error {
	damage := new(journal.DamagedError)
	if !errors.As(err, &damage) {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, record := range damage.Records {
		if text := record.Error(); !e.spared[text] {
			e.spared[text] = true
			e.Log.ErrorContext(ctx, "going on without a damaged record", "err", record)
		}
	}
	return nil
}

// awaitUnread waits until nothing runs any more of the jobs of a run whose records can't be read: what comes after it in the lane
// would move the files under an apply.
func (e *Engine) awaitUnread(ctx context.Context, s scene) error {
	if !s.begun {
		return nil
	}
	jobs, err := e.Journal.Jobs(ctx, s.run.ID)
	if !journal.Damaged(err) {
		return err
	}
	of := filepath.Dir(e.jobDir(s.run.ID, 1))
	dirs, err := os.ReadDir(of)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, d := range dirs {
		dir := filepath.Join(of, d.Name())
		if !d.IsDir() || slices.ContainsFunc(jobs, func(j journal.Job) bool { return j.Job.Dir == dir }) {
			continue
		}
		if err := runner.Await(ctx, dir, s.ask.plans()); err != nil {
			return err
		}
	}
	return nil
}

// plans are the current plans of a pull request. One that can't be read can't be applied: it is none.
func (e *Engine) plans(ctx context.Context, id vcs.PullID) ([]journal.Plan, error) {
	plans, err := e.Journal.Plans(ctx, id)
	return plans, e.spare(ctx, err)
}

// lostAnswer takes the place of an answer that can't be read. Whether it was posted is not forgotten.
func (e *Engine) lostAnswer(s scene, r journal.Report) journal.Report {
	mark := e.sign.write(s.pull.ID(), marker{
		Server: e.Options.Name, Run: s.run.ID, Command: s.ask.name, Source: s.run.Source, Part: partAnswer,
	})
	return journal.Report{
		ID: s.run.ID, Pull: s.pull.ID(), Run: s.run.ID, Kind: kindAnswer, Command: s.ask.name,
		Body: e.sayInternal(s.run.ID)(e.footer(s, mark)), Marker: mark, Intended: s.run.Started,
		Posted: r.Posted, Comment: r.Comment, Node: r.Node, Gone: r.Gone,
	}
}

// all stands for every project: what can't be known is taken to be so.
func all(runner.Project) bool { return true }
