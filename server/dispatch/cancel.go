package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/command"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// cancel ends what was asked for before it. Its record is on disk first: from then on nothing that it means
// begins any more, in this process or in a later one. Each command that it ends has its own answer.
func (e *Engine) cancel(ctx context.Context, s scene) (verdict, error) {
	c := s.ask.cmd
	s.run.Cancels = &journal.Target{Dir: c.Dir, Workspace: c.Workspace, Project: c.Project}
	if err := e.Journal.CreateRun(ctx, s.run, nil); err != nil {
		return verdict{}, fmt.Errorf("beginning run %s: %w", s.run.ID, err)
	}
	e.Hook(AtCancelled)
	found, err := e.inTheWay(ctx, s)
	if err != nil {
		return verdict{}, err
	}
	e.lanes.clear(ctx, s.pull.ID(), func(q item) bool { return isBefore(q, s.run) && covers(s.run, q.ask.cmd) })
	for _, l := range e.live.of(s.pull.ID()) {
		if l.merging {
			if isBefore(l.item, s.run) && covers(s.run, l.ask.cmd) {
				l.cancel(errCancelled)
			}
			continue
		}
		all, err := e.Journal.Jobs(ctx, l.job.Run)
		if err != nil {
			return verdict{}, err
		}
		if isBefore(l.item, s.run) && means(s.run, l.job, all) {
			l.cancel(errCancelled)
		}
	}
	return verdict{run: s.run, answer: e.sayCancelled(s, found), outcome: "cancelled"}, nil
}

// isBefore: it was asked for before a cancel; for two comments that is by the forge's clock, because their
// webhooks may come in any order.
func isBefore(it item, cancel journal.Run) bool {
	if !it.runs() {
		return false
	}
	if c := it.ask.comment; c != nil {
		by := vcs.Comment{ID: cancel.CommentID, CreatedAt: cancel.CommentAt}
		return by.After(c.CreatedAt, c.ID)
	}
	return it.ev.Seq < cancel.Event
}

// covers: a cancel means all that a command can be for.
func covers(cancel journal.Run, c command.Command) bool {
	switch t := *cancel.Cancels; {
	case t == journal.Target{}:
		return true
	case !c.Targeted():
		return false
	case t.Project != "":
		return c.Project == t.Project
	default:
		return c.Dir == t.Dir && c.Project == "" && (t.Workspace == "" || t.Workspace == c.Workspace)
	}
}

// mayCover: a cancel that does not cover a command may still mean some of what it is for.
func mayCover(cancel journal.Run, c command.Command) bool {
	t := *cancel.Cancels
	switch {
	case !c.Targeted() || (t.Project == "") != (c.Project == ""):
		return true
	case t.Project != "":
		return false
	default:
		return (t.Dir == "" || c.Dir == "" || t.Dir == c.Dir) && (t.Workspace == "" || c.Workspace == "" || t.Workspace == c.Workspace)
	}
}

// means: a cancel means this job of a run.
func means(cancel journal.Run, j journal.Job, all []journal.Job) bool {
	t := *cancel.Cancels
	var beside []standing
	for _, o := range all {
		beside = append(beside, standing{project: o.Job.Project})
	}
	return meant(command.Command{Dir: t.Dir, Workspace: t.Workspace, Project: t.Project}, j.Job.Project, beside)
}

// cancels are the cancels that were allowed after what the scene asks for.
func (e *Engine) cancels(ctx context.Context, s scene) ([]journal.Run, error) {
	id := s.pull.ID()
	runs, err := e.Journal.Runs(ctx, journal.Filter{Pull: &id})
	if err = e.spare(ctx, err); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(runs, func(r journal.Run) bool { return r.Cancels == nil || !isBefore(s.item, r) }), nil
}

// cancelled reports whether a job was cancelled.
func (e *Engine) cancelled(ctx context.Context, s scene, j journal.Job) (bool, error) {
	by, err := e.cancels(ctx, s)
	if err != nil || len(by) == 0 {
		return false, err
	}
	all, err := e.Journal.Jobs(ctx, s.run.ID)
	return slices.ContainsFunc(by, func(c journal.Run) bool { return means(c, j, all) }), err
}

// decideCancelled ends what was cancelled before it was begun.
func (e *Engine) decideCancelled(ctx context.Context, s scene) (v verdict, done bool, err error) {
	by, err := e.cancels(ctx, s)
	if err != nil {
		return v, false, err
	}
	at := slices.IndexFunc(by, func(c journal.Run) bool { return covers(c, s.ask.cmd) })
	if at < 0 {
		return v, false, nil
	}
	v.outcome = outcomeOf(by[at])
	if s.ask.comment != nil {
		v.answer = sayRefusal(title(s.ask.name)+" not run: cancelled by "+templates.Code(by[at].User),
			"It was asked for before `cancel`, and nothing of it was begun. To have it run, comment it again.")
	}
	if s.push() {
		v.plan, v.apply = e.status(s, cmdPlan, vcs.Failure, "cancelled"), e.unplanned(s)
	}
	if s.ask.turn == nil {
		return v, true, nil
	}
	// Whose turn came to nothing must not be called again for it.
	if err := e.leave(ctx, s, func(p runner.Project) bool { return slices.Contains(s.ask.turn, p) }); err != nil {
		return v, true, err
	}
	return v, true, e.callNext(ctx)
}

// dropCancelled ends the jobs that were cancelled before they were begun, and the plans that an earlier
// process has begun. An apply that runs is not dropped: it is interrupted by who adopts it.
func (e *Engine) dropCancelled(ctx context.Context, s scene) error {
	by, err := e.cancels(ctx, s)
	if err != nil || len(by) == 0 {
		return err
	}
	jobs, err := e.Journal.Jobs(ctx, s.run.ID)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		hit := slices.ContainsFunc(by, func(c journal.Run) bool { return means(c, j, jobs) })
		if !hit || !j.Open() || s.ask.changes() && j.State == journal.JobRunning {
			continue
		}
		if err := e.quiesce(ctx, []journal.Job{j}, j.Job.Project.Workspace); err != nil {
			return err
		}
		if _, err := e.dropJob(ctx, s, j); err != nil {
			return err
		}
	}
	return nil
}

// dropJob ends a job that was cancelled before it was begun. What it was to replace is not applied in its place.
func (e *Engine) dropJob(ctx context.Context, s scene, j journal.Job) (journal.Job, error) {
	if s.ask.plans() {
		if err := e.supersedePlan(ctx, s, j.Job.Project, "a newer plan was cancelled"); err != nil {
			return j, err
		}
	}
	return e.ended(ctx, j, runner.Summary{End: runner.Cancelled})
}

// wayside is what a cancel has found.
type wayside struct {
	jobs    []templates.CancelledJob
	dropped []templates.CancelledCommand
	kept    []templates.CancelledCommand
	// newest is the run that ended last, where there was nothing to cancel.
	newest *journal.Run
}

// inTheWay answers what the cancel ends, and what has ended by itself. It reads the records alone, so that it
// finds the same after a crash.
func (e *Engine) inTheWay(ctx context.Context, s scene) (wayside, error) {
	var w wayside
	id := s.pull.ID()
	runs, err := e.Journal.Runs(ctx, journal.Filter{Pull: &id})
	if err = e.spare(ctx, err); err != nil {
		return w, err
	}
	for _, r := range runs {
		if r.State != journal.Running && !r.Ended.After(s.run.Started) {
			if w.newest == nil && (r.Command == cmdPlan || r.Command == cmdApply) {
				w.newest = &r
			}
			continue
		}
		it, err := e.itemOf(ctx, r)
		if err != nil {
			return w, err
		}
		if !isBefore(it, s.run) {
			continue
		}
		jobs, err := e.Journal.Jobs(ctx, r.ID)
		if err != nil {
			return w, err
		}
		if it.ev.Outcome == outcomeOf(s.run) {
			w.dropped = append(w.dropped, templates.CancelledCommand{Line: it.ask.cmd.Line, User: it.ask.user})
		}
		for _, j := range jobs {
			if row, ok := e.cancelRow(s, it, j); ok && means(s.run, j, jobs) {
				w.jobs = append(w.jobs, row)
			}
		}
	}
	return w, e.waitingFor(ctx, s, &w)
}

// outcomeOf stands in the records of what a cancel has dropped.
func outcomeOf(cancel journal.Run) string { return "cancelled by run " + cancel.ID }

// itemOf is what a run was made for. A run without an event asks for nothing.
func (e *Engine) itemOf(ctx context.Context, r journal.Run) (item, error) {
	ev, ok, err := e.Journal.Event(ctx, r.Event)
	if err = e.spare(ctx, err); err != nil || !ok {
		return item{}, err
	}
	return item{ev: ev, ask: e.read(ev)}, nil
}

// waitingFor adds the commands in line that the cancel drops, and those that go on without what it means.
func (e *Engine) waitingFor(ctx context.Context, s scene, w *wayside) error {
	queued, err := e.Journal.Queued(ctx)
	if err = e.spare(ctx, err); err != nil {
		return err
	}
	for _, ev := range queued {
		it := item{ev: ev, ask: e.read(ev)}
		if pullOf(ev) != s.pull.ID() || !isBefore(it, s.run) {
			continue
		}
		if ev.Run != "" {
			if jobs, err := e.Journal.Jobs(ctx, ev.Run); err != nil || len(jobs) > 0 {
				continue // told job by job
			}
		}
		c := templates.CancelledCommand{Line: it.ask.cmd.Line, User: it.ask.user}
		switch {
		case covers(s.run, it.ask.cmd):
			w.dropped = append(w.dropped, c)
		case mayCover(s.run, it.ask.cmd):
			w.kept = append(w.kept, c)
		}
	}
	return nil
}

// cancelRow is what becomes of one job; ok is false when it is none of the cancel's business.
func (e *Engine) cancelRow(s scene, it item, j journal.Job) (row templates.CancelledJob, ok bool) {
	row = templates.CancelledJob{Label: label(j.Job.Project), Workspace: workspace(j.Job.Project), Apply: it.ask.changes()}
	switch {
	case j.State == journal.JobQueued:
		row.What = templates.CancelNotBegun
	case j.State == journal.JobRunning && it.ask.kind == askMend:
		row.What = templates.CancelNever
	case j.State == journal.JobRunning:
		row.What = templates.CancelStopped
	case j.Result == nil:
		return row, false
	case j.Ended.After(s.run.Started) && j.Result.End == runner.Cancelled && j.Started.IsZero():
		row.What = templates.CancelNotBegun
	case j.Ended.After(s.run.Started) && (j.Result.End == runner.Cancelled || j.Result.End == runner.Interrupted):
		row.What = templates.CancelStopped
	case row.Apply:
		row.What, row.State = templates.CancelLate, applyState(j.Result.End)
	default:
		row.What, row.State = templates.CancelLate, planJobState(*j.Result)
	}
	return row, true
}

func (e *Engine) sayCancelled(s scene, w wayside) say {
	c := templates.Cancelled{Jobs: w.jobs, Commands: w.dropped, Kept: w.kept}
	if s.ask.cmd.Targeted() {
		c.Target = command.Flags(s.ask.cmd.Dir, s.ask.cmd.Workspace, s.ask.cmd.Project)
	}
	if r := w.newest; r != nil {
		c.Newest, c.NewestURL, c.NewestAgo = r.Command, e.runURL(r.ID), s.run.Started.Sub(r.Ended).Round(time.Second)
	}
	return func(f templates.Footer) string {
		c.Footer = f
		return c.Render()
	}
}

// errCancelled is why a job ends that somebody has cancelled.
var errCancelled = errors.New("cancelled")
