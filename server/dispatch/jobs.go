package dispatch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/runner/terraform"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

func (e *Engine) jobDir(run string, n int) string {
	return filepath.Join(e.Options.Data, "runs", run, strconv.Itoa(n))
}

// lock takes, in one transaction, every lock of the run that is free. The jobs of the others end as
// waiting. It answers the jobs and, for people, which pull requests wait for each other in a circle.
func (e *Engine) lock(ctx context.Context, s scene) ([]journal.Job, []string, error) {
	jobs, err := e.Journal.Jobs(ctx, s.run.ID)
	if err != nil {
		return nil, nil, err
	}
	if s.stop.Err() != nil && s.ask.plans() {
		return jobs, nil, nil // what it would have run is cut, and needs no lock
	}
	req := locking.Request{
		Pull: lockPull(s.pull.ID()), Repo: s.pull.Repo.FullName(), PullTitle: s.pull.Title, PullURL: s.pull.URL,
		User: s.ask.user, Run: s.run.ID, At: time.Now().UTC(), Wait: s.ask.plans(),
	}
	for _, j := range jobs {
		if j.Open() {
			req.Keys = append(req.Keys, lockKey(s.pull.Repo.ID, j.Job.Project))
		}
	}
	if len(req.Keys) == 0 {
		return jobs, nil, nil
	}
	grant, err := e.Locks.Acquire(ctx, req)
	if err != nil {
		return nil, nil, fmt.Errorf("taking locks: %w", err)
	}
	e.Hook(AtLocked)
	blocked := map[locking.Key]locking.Blocked{}
	for _, b := range grant.Blocked {
		blocked[b.Key] = b
	}
	for i, j := range jobs {
		b, held := blocked[lockKey(s.pull.Repo.ID, j.Job.Project)]
		if !held || j.State != journal.JobQueued {
			continue
		}
		if !s.ask.plans() { // an apply never waits
			if jobs[i], err = e.ended(ctx, j, *notStarted("locked by " + s.site.PullRef(b.HolderPull.Number))); err != nil {
				return nil, nil, err
			}
			continue
		}
		jobs[i].State = journal.JobWaiting
		jobs[i].Waiting = &journal.Waiting{
			Pull: b.HolderPull.Number, URL: s.site.PullURL(s.pull.Repo, b.HolderPull.Number),
			User: b.Holder.User, Since: b.Holder.Since, Ahead: b.Ahead,
		}
		jobs[i].Ended = time.Now().UTC()
		if err := e.Journal.PutJob(ctx, jobs[i]); err != nil {
			return nil, nil, err
		}
	}
	notes, err := e.tellCycles(ctx, s, grant.Cycles)
	return jobs, notes, err
}

// carry runs what is not run yet: plans side by side, applies one after the other.
func (e *Engine) carry(ctx context.Context, s scene, jobs []journal.Job) ([]journal.Job, error) {
	watch := e.watch(ctx, s, jobs)
	defer watch.end()
	if s.ask.kind == askMend {
		return e.carryMends(ctx, s, jobs)
	}
	if s.ask.kind == askApply {
		return e.carryApplies(ctx, s, jobs, watch)
	}
	st, err := e.open(ctx, s, s.run.Tree)
	if err != nil {
		return nil, err
	}
	outs, err := e.checkouts(ctx, s, jobs)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	for i := range jobs {
		if !jobs[i].Open() {
			continue
		}
		wg.Go(func() {
			errs[i] = guarded(func() (err error) {
				jobs[i], err = e.one(ctx, s, st, outs[jobs[i].Job.Project.Workspace], jobs[i])
				return err
			})
			watch.done()
		})
	}
	wg.Wait()
	return jobs, errors.Join(errs...)
}

// carryApplies takes up what an earlier process began before it looks at anything else: it may still
// be running. What was not begun is started only if it still may be.
func (e *Engine) carryApplies(ctx context.Context, s scene, jobs []journal.Job, watch *watcher) (_ []journal.Job, err error) {
	for i := range jobs {
		if jobs[i].State == journal.JobRunning {
			e.Log.InfoContext(ctx, "adopted an apply of an earlier process", "job", jobs[i].Job.ID)
			if jobs[i], err = e.adopt(ctx, s, jobs[i]); err != nil {
				return nil, err
			}
			e.happened(Adopted)
			watch.done()
		}
	}
	if !slices.ContainsFunc(jobs, journal.Job.Open) {
		return jobs, nil
	}
	c := consent{asked: s.run.Started}
	if s.begun { // decided by a process that is gone
		c.asked, c.why = time.Time{}, e.tooOld(s)
	} else if c.stage, c.why, err = e.today(ctx, s, mergeOf(s.run)); err != nil {
		return nil, err
	}
	for i := range jobs {
		if !jobs[i].Open() {
			continue
		}
		if jobs[i], err = e.oneApply(ctx, s, &c, jobs[i]); err != nil {
			return nil, err
		}
		watch.done()
	}
	return jobs, nil
}

// consent is what the applies of a run rely on: how everything stood when the forge was asked last.
type consent struct {
	asked time.Time
	stage stage
	// why nothing may be applied any more.
	why string
	// required is asked for each apply. nil as long as what was asked when it was decided holds.
	required *requirements
}

// oneApply carries one apply to its end. It may have waited long for its slot, or for the applies
// before it: then everything is looked at again before it starts.
func (e *Engine) oneApply(ctx context.Context, s scene, c *consent, j journal.Job) (journal.Job, error) {
	if c.why != "" {
		return e.ended(ctx, j, *notStarted(c.why))
	}
	s, end, err := e.heed(ctx, s, j)
	if err != nil {
		return j, err
	}
	defer end()
	give, err := e.slot(s) //nolint:contextcheck // stop is derived from ctx
	if err != nil {
		return e.cut(ctx, s, j)
	}
	defer give()
	if time.Since(c.asked) > e.pace.permission {
		now, err := e.askAgain(ctx, s)
		if errors.Is(err, errCut) { // the next one asks for itself
			return e.cut(ctx, s, j)
		}
		if err != nil {
			return j, err
		}
		*c = now
	}
	why := c.why
	if why == "" && c.required != nil {
		r, err := c.required.unmet(ctx, c.stage.find(j.Job.Project))
		if err != nil {
			return j, err
		}
		if r != nil {
			why = unquoted(r.why)
		}
	}
	if why != "" {
		return e.ended(ctx, j, *notStarted(why))
	}
	return e.start(ctx, s, c.stage, workdir.Checkout{}, j)
}

// askAgain asks the forge once more for everything that the applies of a run were decided by. The error is [errCut] when the job that
// it is asked for was ended meanwhile.
func (e *Engine) askAgain(ctx context.Context, s scene) (c consent, err error) {
	c.asked = time.Now()
	if s.pull, err = s.forge.Pull(ctx, s.pull.Repo, s.pull.Number); err != nil {
		return c, fmt.Errorf("reading %s again: %w", s.run.Pull, err)
	}
	if c.why, err = e.mayNot(ctx, s); err != nil || c.why != "" {
		return c, err
	}
	within, end := e.untilClosing(s.stop)
	defer end()
	m, v, done, err := e.merge(within, s) //nolint:contextcheck // stop is derived from ctx
	if err != nil && within.Err() != nil {
		return c, errCut
	}
	if err != nil || done {
		c.why = v.outcome
		return c, err
	}
	if c.stage, c.why, err = e.today(ctx, s, m); err != nil || c.why != "" {
		return c, err
	}
	c.required = &requirements{Engine: e, scene: s}
	return c, nil
}

// today opens the merge result that an apply is checked against. why: nothing may be applied any more.
func (e *Engine) today(ctx context.Context, s scene, m workdir.Merge) (st stage, why string, err error) {
	st, err = e.open(ctx, s, m.Tree)
	st.merge = m
	if bad := new(project.ProblemsError); errors.As(err, &bad) {
		return st, fmt.Sprintf("%s has %s", bad.File, count(len(bad.Problems), "problem")), nil
	}
	return st, "", err
}

// mergeOf is the merge result that a run works on.
func mergeOf(r journal.Run) workdir.Merge {
	return workdir.Merge{Base: r.Base, Head: r.Head, Commit: r.Merge, Tree: r.Tree}
}

// mayNot is why an apply that was decided may not be started any more.
func (e *Engine) mayNot(ctx context.Context, s scene) (string, error) {
	if s.pull.State != vcs.Open {
		return fmt.Sprintf("this pull request is %s", s.pull.State), nil
	}
	p, err := s.forge.Permission(ctx, s.pull.Repo, s.ask.user)
	switch {
	case err != nil:
		return "", fmt.Errorf("reading the permission of %s again: %w", s.ask.user, err)
	case p < vcs.WritePermission:
		return "who asked for it has no write permission any more", nil
	}
	return "", nil
}

// checkouts puts the files of the run in place, one checkout per workspace, before any job runs in
// them.
func (e *Engine) checkouts(ctx context.Context, s scene, jobs []journal.Job) (map[string]workdir.Checkout, error) {
	outs := map[string]workdir.Checkout{}
	for _, j := range jobs {
		ws := j.Job.Project.Workspace
		if _, ok := outs[ws]; ok || !j.Open() {
			continue
		}
		if err := e.quiesce(ctx, jobs, ws); err != nil {
			return nil, err
		}
		c, err := e.Work.Checkout(ctx, s.repo, s.pull.Number, ws, mergeOf(s.run))
		if err != nil {
			return nil, fmt.Errorf("checking out workspace %s: %w", ws, err)
		}
		outs[ws] = c
	}
	return outs, nil
}

// quiesce ends what an earlier process left running in a workspace, before its files are moved.
func (e *Engine) quiesce(ctx context.Context, jobs []journal.Job, workspace string) error {
	for _, j := range jobs {
		if j.State != journal.JobRunning || j.Job.Project.Workspace != workspace {
			continue
		}
		if _, err := e.Runner.Recover(ctx, j.Job); err != nil && !errors.Is(err, runner.ErrNotRun) {
			return fmt.Errorf("ending job %s of an earlier process: %w", j.Job.ID, err)
		}
	}
	return nil
}

// one carries one plan to its end: slot, tool, directory, mark in the journal, run, result.
func (e *Engine) one(ctx context.Context, s scene, st stage, out workdir.Checkout, j journal.Job) (journal.Job, error) {
	s, end, err := e.heed(ctx, s, j)
	if err != nil {
		return j, err
	}
	defer end()
	give, err := e.slot(s) //nolint:contextcheck // stop is derived from ctx
	if err != nil {
		return e.cut(ctx, s, j)
	}
	defer give()
	return e.start(ctx, s, st, out, j)
}

// start carries a job that has its slot to its end.
func (e *Engine) start(ctx context.Context, s scene, st stage, out workdir.Checkout, j journal.Job) (journal.Job, error) {
	checkout := out.Root
	if s.ask.changes() {
		checkout = j.Job.Checkout // the files that were planned; they are not moved
	}
	defer e.dirs.lock(checkout + "\n" + j.Job.Project.Dir)()

	if refused := e.crowdedOut(s, j); refused != nil {
		return e.turnAway(ctx, s, j, *refused)
	}
	p := st.find(j.Job.Project)
	ready, refused, err := e.prepare(ctx, s, st, out, p, j)
	if errors.Is(err, errCut) {
		return e.cut(ctx, s, j)
	}
	if err != nil {
		return j, err
	}
	if refused != nil {
		return e.ended(ctx, j, *refused)
	}
	j = ready
	j.State, j.Started = journal.JobRunning, time.Now().UTC()
	if j.Job.Since.IsZero() {
		j.Job.Since = j.Started
	}
	if err := e.Journal.PutJob(ctx, j); err != nil {
		return j, err
	}
	e.Hook(AtRunning)
	if s.ask.kind == askMend { // no cancel ends it from here on; one from before may have said that it does not begin
		hit, err := e.cancelled(ctx, s, j)
		if err != nil {
			return j, err
		}
		if hit {
			j.Started = time.Time{}
			return e.dropJob(ctx, s, j)
		}
	}
	res, err := e.run(ctx, s, j.Job)
	if err != nil && s.ask.changes() && ctx.Err() == nil {
		res, err = e.despite(ctx, s, j, err)
	}
	if err == nil {
		res, err = e.relock(ctx, s, &j, res)
	}
	return e.result(ctx, s, p, out, j, res, err)
}

// errDetached: the server stops, and leaves an apply to its supervisor.
var errDetached = errors.New("left to its supervisor")

// run runs a job. A plan ends with its run. An apply does not: what the stop of the server does not wait for is left running, and
// the next one adopts it.
func (e *Engine) run(ctx context.Context, s scene, j runner.Job) (runner.Result, error) {
	if !s.ask.changes() {
		j.Forge = &runner.Forge{URL: s.repo.URL}
		if e.Options.ModuleCredential {
			j.Forge.Credential, j.Forge.Refused = s.repo.Credential, s.repo.Refused
		}
		return e.Runner.Run(s.stop, j) //nolint:contextcheck // stop is derived from ctx
	}
	return e.detachable(ctx, s.ending(), func(calm context.Context) (runner.Result, error) { return e.Runner.Run(calm, j) })
}

// despite is what became of an apply when we could not run it as we should: the error does not say what was done.
func (e *Engine) despite(ctx context.Context, s scene, j journal.Job, fault error) (runner.Result, error) {
	e.Log.ErrorContext(ctx, "running a job", "job", j.Job.ID, "err", fault)
	res, err := e.howItEnded(ctx, s, j)
	if err == nil && res.End == runner.NotStarted && res.Failure == nil {
		res.Failure = ourFailure(j.Job.ID, fault)
	}
	return res, err
}

// adopt goes on with an apply that an earlier process began.
func (e *Engine) adopt(ctx context.Context, s scene, j journal.Job) (journal.Job, error) {
	s, end, err := e.heed(ctx, s, j)
	if err != nil {
		return j, err
	}
	defer end()
	res, err := e.howItEnded(ctx, s, j)
	return e.result(ctx, s, project.Project{}, workdir.Checkout{}, j, res, err)
}

// howItEnded finds out how an apply ended. A full disk may be in the way: a state that terraform could not store has to be
// kept first, and that nothing was started has to be made final. Then it waits for room.
func (e *Engine) howItEnded(ctx context.Context, s scene, j journal.Job) (runner.Result, error) {
	for {
		res, err := e.detachable(ctx, s.ending(), func(calm context.Context) (runner.Result, error) { return e.Runner.Recover(calm, j.Job) })
		if err == nil || errors.Is(err, errDetached) {
			return res, err
		}
		e.Log.ErrorContext(ctx, "finding out how an apply ended", "job", j.Job.ID, "err", err)
		if !isFull(err) {
			return runner.Result{Summary: runner.Summary{End: runner.Unknown, Evidence: []string{
				"the records of job " + j.Job.ID + " can't be read; the server's log has the cause",
			}}}, nil
		}
		if err := e.rest(ctx, 15*e.pace.retry); err != nil {
			return runner.Result{}, err
		}
	}
}

// result journals what came of a job, the plan it made first.
func (e *Engine) result(ctx context.Context, s scene, p project.Project, out workdir.Checkout, j journal.Job, res runner.Result, err error) (journal.Job, error) {
	if ctx.Err() != nil || errors.Is(err, errDetached) {
		return j, context.Cause(ctx)
	}
	if errors.Is(err, errStopping) {
		return j, err
	}
	if err != nil { // of a plan: how an apply ended was found out in spite of it
		e.Log.ErrorContext(ctx, "running a job", "job", j.Job.ID, "err", err)
		end := runner.Errored
		if isFull(err) {
			end = runner.Failed
		}
		return e.ended(ctx, j, runner.Summary{End: end, Failure: ourFailure(j.Job.ID, err)})
	}
	switch {
	case s.ask.kind == askApply:
		err = e.applied(ctx, s, j, res)
	case s.ask.plans():
		err = e.planned(ctx, s, p, out, &j, res)
		e.Hook(AtPlanned)
	}
	if err != nil {
		return j, err
	}
	return e.ended(ctx, j, res.Summary)
}

func (e *Engine) ended(ctx context.Context, j journal.Job, r runner.Summary) (journal.Job, error) {
	r.Evidence = bounded(r.Evidence)
	switch r.End {
	case runner.Interrupted:
		e.happened(Interrupted)
	case runner.Unknown:
		e.happened(Unknown)
	default: // as it should be
	}
	j.State, j.Result, j.Ended = journal.JobDone, &r, time.Now().UTC()
	err := e.Journal.PutJob(ctx, j)
	e.Hook(AtResult)
	return j, err
}

// bounded cuts evidence to what a record can hold; the whole of it is in the job's directory.
func bounded(lines []string) []string {
	const most = 4 << 10
	lines = slices.Clone(lines[:min(len(lines), 8)])
	for i, l := range lines {
		if len(l) > most {
			lines[i] = strings.ToValidUTF8(l[:most], "") + " (cut here)"
		}
	}
	return lines
}

// over is stop after its end for a reason.
func over(stop context.Context, why error) context.Context {
	stop, cancel := context.WithCancelCause(stop)
	cancel(why)
	return stop
}

// cut ends a job that never got to run.
func (e *Engine) cut(ctx context.Context, s scene, j journal.Job) (journal.Job, error) {
	if ctx.Err() != nil {
		return j, context.Cause(ctx)
	}
	if e.halt.closing.Err() != nil && s.stop.Err() == nil {
		return j, errStopping
	}
	if errors.Is(context.Cause(s.stop), errSuperseded) { //nolint:contextcheck // stop is derived from ctx
		j.State, j.Ended = journal.JobSuperseded, time.Now().UTC()
		return j, e.Journal.PutJob(ctx, j)
	}
	if isCancelled(s.stop) { //nolint:contextcheck // stop is derived from ctx
		return e.dropJob(ctx, s, j)
	}
	return e.ended(ctx, j, runner.Summary{End: runner.Cancelled})
}

// prepare gives a job its binary and its directories. refused: it can't run, and why.
func (e *Engine) prepare(ctx context.Context, s scene, st stage, out workdir.Checkout, p project.Project, j journal.Job) (journal.Job, *runner.Summary, error) {
	if s.ask.kind == askApply {
		return e.prepareApply(ctx, s, st, p, j)
	}
	if s.ask.kind == askMend {
		return prepareMend(j)
	}
	tool, err := e.Tools.Find(ctx, p.Distribution, p.TerraformVersion)
	var unusable terraform.ToolError
	if errors.As(err, &unusable) {
		return j, failed(unusable.Headline(), unusable.Error()), nil
	}
	if err != nil {
		return j, failed("terraform could not be installed", err.Error()), nil
	}
	if _, err := out.Resolve(p.Dir); err != nil {
		return j, failed("the project's directory can't be used", err.Error()), nil
	}
	j.Job.Tool, j.Job.Checkout = tool, out.Root
	j.Job.DataDir = out.TFData(p.Dir + "\n" + p.Name)
	j.Job.StateDir = e.stateDir(s.pull.Repo.ID, j.Job.Project)
	d, err := e.digest(ctx, st, p, tool)
	if err != nil {
		return j, nil, err
	}
	j.Job.Since = time.Now() // fetching counts
	if refused, err := e.large(ctx, s, st, out, d); err != nil || refused != nil {
		return j, refused, err
	}
	j.Digest = d.Sum
	return j, nil, writeDigest(j.Job.Dir, d)
}

func (e *Engine) digest(ctx context.Context, st stage, p project.Project, t runner.Tool) (project.Digested, error) {
	d, err := project.Digest(ctx, st.tree, p, project.Inputs{Tool: t.String(), ServerConfig: fmt.Sprintf("local-state=%v", e.Options.LocalState)})
	if err != nil {
		return d, fmt.Errorf("computing the input digest of %s: %w", p.Dir, err)
	}
	return d, nil
}

func notStarted(why string) *runner.Summary {
	return &runner.Summary{End: runner.NotStarted, Failure: &runner.Failure{Summary: why, Text: why}}
}

func failed(summary, text string) *runner.Summary {
	return &runner.Summary{End: runner.Failed, Failure: &runner.Failure{Summary: summary, Text: text}}
}
