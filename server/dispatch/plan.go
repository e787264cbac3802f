package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// stage is the merge result that a run works on.
type stage struct {
	merge  workdir.Merge
	tree   *workdir.Tree
	config project.Config
}

// merge fetches the pull request and merges it into its base. With done the verdict stands: there is
// nothing that could be planned.
func (e *Engine) merge(ctx context.Context, s scene) (m workdir.Merge, v verdict, done bool, err error) {
	const tries = 3
	for try := 1; ; try++ {
		m, err = e.Work.Merge(ctx, s.repo, workdir.MergeRequest{
			Pull: s.pull.Number, BaseRef: s.pull.Base.Ref, HeadRef: s.pull.HeadRef, HeadSHA: s.pull.Head.SHA,
		})
		var moved *workdir.MovedError
		if !errors.As(err, &moved) || try == tries {
			break
		}
		// The forge may show the new head before it can be fetched.
		if err := sleep(ctx, e.pace.retry); err != nil {
			return m, v, false, err
		}
		if s.pull, err = s.forge.Pull(ctx, s.pull.Repo, s.pull.Number); err != nil {
			return m, v, false, fmt.Errorf("reading %s again: %w", s.pull.ID(), err)
		}
	}
	var conflict *workdir.ConflictError
	if errors.As(err, &conflict) {
		return m, verdict{
			answer: e.sayConflict(s, conflict.Files), outcome: "merge conflict",
			plan: e.status(s, cmdPlan, vcs.Failure, "conflicts with "+s.pull.Base.Ref), apply: e.unplanned(s),
		}, true, nil
	}
	if errors.Is(err, workdir.ErrUnrelated) {
		return m, verdict{
			answer:  sayRefusal(title(s.ask.name)+" not run: the branches have no history in common", "They can't be merged, so there is nothing that could be planned."),
			outcome: "no history in common", plan: e.status(s, cmdPlan, vcs.Failure, "no history in common with "+s.pull.Base.Ref),
			apply: e.unplanned(s),
		}, true, nil
	}
	if lost := new(workdir.SubmoduleError); errors.As(err, &lost) {
		return m, verdict{
			answer:  sayLostSubmodule(s, lost),
			outcome: "a submodule can't be had", plan: e.status(s, cmdPlan, vcs.Failure, "a submodule can't be had"), apply: e.unplanned(s),
		}, true, nil
	}
	if gone := new(workdir.RefGoneError); errors.As(err, &gone) {
		return m, verdict{
			answer:  sayRefusal(title(s.ask.name)+" not run: a branch is gone", "The repository has no "+templates.Code(gone.Ref)+" any more. Nothing was run, and no lock was taken."),
			outcome: "a branch is gone", plan: e.status(s, cmdPlan, vcs.Failure, "a branch is gone"), apply: e.unplanned(s),
		}, true, nil
	}
	if err != nil {
		return m, v, false, fmt.Errorf("merging the pull request into %s: %w", s.pull.Base.Ref, err)
	}
	return m, v, false, nil
}

// mergeInTime is merge for what has no jobs yet, or no more: it ends when that is to, by a cancel, too, or nothing may begin any more. A server of
// somebody else's can make it take long. The error is [errStopping] when the server stops.
func (e *Engine) mergeInTime(ctx context.Context, s scene) (m workdir.Merge, v verdict, done bool, err error) {
	within, end := e.untilClosing(ctx)
	defer end()
	within, cancel := context.WithCancelCause(within)
	defer cancel(nil)
	defer context.AfterFunc(s.stop, func() { cancel(context.Cause(s.stop)) })() //nolint:contextcheck // stop is derived from ctx
	defer e.live.add(&liveJob{item: s.item, pull: s.pull.ID(), merging: true, cancel: cancel})()
	// Looked for after it can be found: a cancel is journalled before it looks.
	if v, done, err := e.decideCancelled(ctx, s); done || err != nil {
		return m, v, done, err
	}
	m, v, done, err = e.merge(within, s)
	if err == nil || ctx.Err() != nil || within.Err() == nil {
		return m, v, done, err
	}
	switch why := context.Cause(within); {
	case errors.Is(why, errStopping):
		return m, v, false, why
	case errors.Is(why, errCancelled):
		v, _, err = e.decideCancelled(ctx, s)
		return m, v, true, err
	default:
		v = verdict{outcome: why.Error()}
		if s.ask.plans() {
			v.plan = e.status(s, cmdPlan, vcs.Failure, why.Error())
		}
		if s.ask.comment != nil {
			v.answer = sayRefusal(title(s.ask.name)+" not run: "+why.Error(), "Nothing was run, and no lock was taken.")
		}
		if s.push() { // a push back is not what was planned last
			err = e.markAutoplan(ctx, s.pull.ID(), "", "", "")
		}
		return m, v, true, err
	}
}

// open reads the configuration of a merge result.
func (e *Engine) open(ctx context.Context, s scene, tree string) (stage, error) {
	t, err := e.Work.Tree(ctx, s.repo, tree)
	if err != nil {
		return stage{}, fmt.Errorf("reading the merge result: %w", err)
	}
	c, err := project.Load(ctx, t)
	if errors.Is(err, workdir.ErrTooLarge) {
		return stage{}, &project.ProblemsError{File: "tidegate.yaml or atlantis.yaml", Problems: []project.Problem{
			{File: "the file", Key: "file", Text: "it is larger than 1 MiB"},
		}}
	}
	if err != nil {
		return stage{}, err
	}
	return stage{tree: t, config: c}, nil
}

// find answers how a project is configured there; a project without configuration is only a directory
// and a workspace.
func (st stage) find(p runner.Project) project.Project {
	for _, c := range st.config.Projects {
		if c.Dir == p.Dir && c.Workspace == p.Workspace && c.Name == p.Name {
			return c
		}
	}
	return project.Project{Dir: p.Dir, Workspace: p.Workspace, Name: p.Name, Autoplan: true}
}

// decidePlan answers which projects are planned.
func (e *Engine) decidePlan(ctx context.Context, s scene) (verdict, error) {
	if s.ask.turn != nil {
		if err := e.noRoom(); err != nil {
			return verdict{outcome: "there is no room for it: " + err.Error()}, nil // it stays in line
		}
		mine, err := e.myTurn(ctx, s)
		if err != nil {
			return verdict{}, err
		}
		if s.ask.turn = mine; len(mine) == 0 {
			return verdict{outcome: "nothing waits any more"}, nil
		}
	}
	m, v, done, err := e.mergeInTime(ctx, s)
	if err != nil {
		return v, err
	}
	if done {
		return v, e.skipTurn(ctx, s)
	}
	if planned, err := e.plannedBefore(ctx, s, m); err != nil || planned != "" {
		return verdict{outcome: planned}, err
	}
	st, err := e.open(ctx, s, m.Tree)
	if bad := new(project.ProblemsError); errors.As(err, &bad) {
		return verdict{
			answer: e.sayProblems(s, m, bad), outcome: "configuration",
			plan:  e.status(s, cmdPlan, vcs.Failure, fmt.Sprintf("%s has %s", bad.File, count(len(bad.Problems), "problem"))),
			apply: e.unplanned(s),
		}, e.skipTurn(ctx, s)
	}
	if err != nil {
		return v, err
	}
	changed, err := e.Work.Changed(ctx, s.repo, m)
	if err != nil {
		return v, fmt.Errorf("listing changed files: %w", err)
	}
	projects, err := e.choose(ctx, s, st, changed)
	if bad := new(project.TargetError); errors.As(err, &bad) {
		return verdict{answer: e.sayTarget(s, bad), outcome: "no such project"}, nil
	}
	if err != nil {
		return v, err
	}
	if len(projects) == 0 {
		return e.nothing(ctx, s, st, len(changed))
	}
	return e.planJobs(s, m, st, projects), nil
}

// plannedBefore: an autoplan of what was autoplanned already is not made again, however the event
// came. What takes the place of its plans, or takes them away, forgets it.
func (e *Engine) plannedBefore(ctx context.Context, s scene, m workdir.Merge) (string, error) {
	if !s.push() {
		return e.leftBehind(ctx, s)
	}
	rec, _, err := e.Journal.Pull(ctx, s.pull.ID())
	if err != nil {
		return "", err
	}
	last := rec.LastAutoplan
	if last.Run == "" || last.Head != m.Head || last.Base != m.Base {
		return "", nil
	}
	waiters, err := e.Locks.Waiters(ctx)
	if err != nil {
		return "", err
	}
	for _, w := range waiters {
		if pullID(w.Pull) == s.pull.ID() { // what waits may have been passed over
			return "", nil
		}
	}
	return "planned already in run " + last.Run, nil
}

// choose answers which projects are meant.
func (e *Engine) choose(ctx context.Context, s scene, st stage, changed []string) ([]project.Project, error) {
	switch {
	case s.ask.turn != nil || s.ask.left != nil:
		var out []project.Project
		for _, p := range slices.Concat(s.ask.turn, s.ask.left) {
			out = append(out, st.find(p))
		}
		return out, nil
	case s.ask.cmd.Targeted():
		return project.Target(ctx, st.tree, st.config, s.ask.cmd.Dir, s.ask.cmd.Workspace, s.ask.cmd.Project)
	case s.ask.auto:
		return project.Select(ctx, st.tree, st.config, changed)
	default:
		return project.SelectAll(ctx, st.tree, st.config, changed)
	}
}

// nothing is the answer when no project is touched.
func (e *Engine) nothing(ctx context.Context, s scene, st stage, files int) (verdict, error) {
	if err := e.markAutoplan(ctx, s.pull.ID(), "", "", ""); err != nil {
		return verdict{}, err
	}
	if err := errors.Join(e.keepOnly(ctx, s, nil), e.beginAnew(ctx, s)); err != nil {
		return verdict{}, err
	}
	v := verdict{
		outcome: "no project is touched",
		plan:    e.status(s, cmdPlan, vcs.Success, "no projects touched"),
		apply:   e.status(s, cmdApply, vcs.Success, "no projects touched"),
	}
	if s.ask.comment != nil {
		v.answer = e.sayNothing(st, files)
	}
	return v, nil
}

func (e *Engine) planJobs(s scene, m workdir.Merge, st stage, projects []project.Project) verdict {
	v := verdict{run: s.run}
	v.run.Head, v.run.Base, v.run.Merge, v.run.Tree = m.Head, m.Base, m.Commit, m.Tree
	for _, p := range projects {
		j := journal.Job{Job: runner.Job{Action: runner.Plan, Project: identity(p)}}
		if no := slices.Concat(st.config.Unsupported, p.Unsupported); len(no) > 0 {
			j.State, j.Result = journal.JobDone, &runner.Summary{End: runner.Failed, Failure: &runner.Failure{
				Summary: "configuration that is not supported yet",
				Text:    strings.Join(no, "\n") + "\nNothing was run with it. Remove what is named here from " + st.config.Path + ", or wait for a version that knows it.",
			}}
		}
		v.jobs = append(v.jobs, j)
	}
	return v
}

func identity(p project.Project) runner.Project {
	return runner.Project{Dir: p.Dir, Workspace: p.Workspace, Name: p.Name}
}
