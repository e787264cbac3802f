package dispatch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// scene is where a run takes place: what the forge says now, and the run's own record.
type scene struct {
	item
	forge vcs.Forge
	site  vcs.Site
	pull  vcs.Pull
	repo  workdir.Repo
	run   journal.Run
	// known: the run was journalled by a process that is gone; begun: with its jobs.
	known, begun bool
	// merging is set when the pull request is merged after its answer.
	merging *journal.Merging
	// stop ends the run's jobs before their time; its cause says why. It does not end the telling.
	stop context.Context
}

// say renders an answer around the lines that every comment ends with.
type say func(templates.Footer) string

// verdict is what was decided before any job runs. Without jobs the answer is given at once; without
// an answer too, outcome says in the records why nothing happened.
type verdict struct {
	// run is the run's record, where what was decided stands in it; with jobs always.
	run     journal.Run
	jobs    []journal.Job
	answer  say
	outcome string
	// plan and apply are the statuses to write; zero ones are left as they are.
	plan, apply vcs.Status
	// merging is how the pull request is merged after the answer; nil is not.
	merging *journal.Merging
}

// tell carries one event to its answer. What goes wrong on the way is tried again, then answered as
// our fault; what can't even be answered (the forge is away) is tried until it can. What was cut short
// because the server stops is told again at the next start.
func (e *Engine) tell(ctx, stop context.Context, it item) {
	const tries = 3
	log := e.Log.With("pull", pullOf(it.ev).String(), "event", it.ev.Seq)
	wait := e.pace.retry
	for try := 1; ; try++ {
		err := guarded(func() error { return e.handle(ctx, stop, it) })
		if err == nil || ctx.Err() != nil || errors.Is(err, errStopping) {
			return
		}
		log.ErrorContext(ctx, "carrying an event to its answer", "try", try, "err", err)
		if away := (*awayError)(nil); e.deaf(ctx, err) || errors.As(err, &away) {
			try, wait = try-1, min(wait, 15*e.pace.retry)
		}
		if try >= tries {
			if err = guarded(func() error { return e.apologise(ctx, it, err) }); err == nil || ctx.Err() != nil {
				return
			}
			log.ErrorContext(ctx, "telling of an internal error", "err", err)
		}
		if e.rest(ctx, wait) != nil {
			return
		}
		wait = min(wait*2, time.Minute)
	}
}

// awayError is a forge that shows nothing now: it does not answer, or not us. Nothing could be told, so nothing has failed yet.
type awayError struct{ err error }

func (e *awayError) Error() string { return e.err.Error() }
func (e *awayError) Unwrap() error { return e.err }

// unshown: a pull request that is not there, or not in words that we can read. Waiting does not help.
func unshown(err error) bool {
	return errors.Is(err, vcs.ErrNotFound) || errors.Is(err, vcs.ErrUnusable)
}

// guarded makes an error of a panic: what one event leads to must not take the server down, now and at
// each start.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// handle is the story of the program.
func (e *Engine) handle(ctx, stop context.Context, it item) error {
	s, err := e.look(ctx, stop, it)
	if err != nil {
		return err
	}
	if s.known {
		_, said, err := e.Journal.Report(ctx, s.run.ID)
		if err != nil {
			return err
		}
		if said { // only the telling is left
			return e.finish(ctx, s, nil, "")
		}
	}
	if done, err := e.answeredBefore(ctx, s); done || err != nil {
		return err
	}
	if !s.begun {
		v, err := e.decide(ctx, s)
		if err != nil {
			return err
		}
		if len(v.jobs) == 0 {
			if s.push() && !errors.Is(context.Cause(s.stop), errSuperseded) { //nolint:contextcheck // stop is derived from ctx
				if err := e.freeIdle(ctx, s); err != nil {
					return err
				}
			}
			return e.close(ctx, s, v)
		}
		if s, err = e.begin(ctx, s, v); err != nil {
			return err
		}
	}
	if s.begun && s.ask.plans() && s.pull.State != vcs.Open {
		s.stop = over(s.stop, errClosed) // it was closed while nobody worked on it
	}
	if err := e.abandonRestored(ctx, s); err != nil {
		return err
	}
	if err := e.dropCancelled(ctx, s); err != nil {
		return err
	}
	jobs, notes, err := e.lock(ctx, s)
	if err != nil {
		return err
	}
	if jobs, err = e.carry(ctx, s, jobs); err != nil {
		return err
	}
	if err := errors.Join(e.settle(ctx, s, jobs), e.lookAgain(ctx, s, jobs)); err != nil {
		return err
	}
	return e.report(ctx, s, jobs, notes)
}

// look reads what the forge says now and whether the run was begun before.
func (e *Engine) look(ctx, stop context.Context, it item) (scene, error) {
	s := scene{item: it, stop: stop}
	id := pullOf(it.ev)
	f, ok := e.Forges[id.Repo.Forge]
	if !ok {
		return s, fmt.Errorf("the forge %s is not configured any more: %w", id.Repo.Forge, vcs.ErrNotFound)
	}
	s.forge, s.site = f, f.Site()
	repo := it.ev.Event.Repo
	if it.ev.Internal != nil {
		rec, _, err := e.Journal.Pull(ctx, id)
		if err = e.spare(ctx, err); err != nil {
			return s, err
		}
		repo = rec.Repo
	}
	pull, err := f.Pull(ctx, repo, id.Number)
	if err != nil {
		err = fmt.Errorf("reading %s: %w", id, err)
		if !unshown(err) {
			err = &awayError{err}
		}
		return s, err
	}
	if pull.ID() != id {
		return s, fmt.Errorf("reading %s: the forge answered with %s: %w", id, pull.ID(), vcs.ErrNotFound)
	}
	s.pull = pull
	s.repo = workdir.Repo{Forge: id.Repo.Forge, ID: id.Repo.ID, URL: pull.Repo.CloneURL}
	if c, ok := f.(vcs.Cloner); ok {
		s.repo.Credential = func(ctx context.Context) (string, string, error) {
			cred, err := c.CloneCredential(ctx, pull.Repo)
			return cred.User, cred.Password, err
		}
	}
	if r, ok := f.(vcs.Renewer); ok {
		s.repo.Refused = func(ctx context.Context, password string) bool { return r.RenewCredential(ctx, pull.Repo, password) }
	}
	if err := e.remember(ctx, it, pull); err != nil {
		return s, err
	}
	return e.recall(ctx, s)
}

// recall answers the scene with its run: the one that an earlier process has begun, or a new one. A run
// whose records are damaged is only fit to be ended: it comes with the *journal.DamagedError.
func (e *Engine) recall(ctx context.Context, s scene) (scene, error) {
	run, known, err := e.Journal.RunOf(ctx, s.ev.Seq)
	if err != nil && !known {
		return s, err
	}
	s.run, s.known = run, known
	if !known || err != nil {
		s.run = e.newRun(s.item, s.pull)
	}
	if !known {
		return s, nil
	}
	s.run.ID = run.ID
	jobs, jerr := e.Journal.Jobs(ctx, run.ID)
	s.begun = len(jobs) > 0 || jerr != nil
	return s, errors.Join(err, jerr)
}

func (e *Engine) newRun(it item, pull vcs.Pull) journal.Run {
	r := journal.Run{
		ID: e.Journal.NewRunID(), Event: it.ev.Seq, Pull: pull.ID(), Repo: pull.Repo.FullName(),
		PullTitle: pull.Title, PullURL: pull.URL, User: it.ask.user, Command: it.ask.name,
		Line: it.ask.cmd.Line, Source: it.ask.source, Targeted: targeted(it.ask), Head: pull.Head.SHA, BaseRef: pull.Base.Ref,
		State: journal.Running, Started: time.Now().UTC(),
	}
	if c := it.ask.comment; c != nil {
		r.CommentID, r.CommentAt = c.ID, c.CreatedAt
	}
	return r
}

// remember keeps what pages and later events need to know of a pull request.
func (e *Engine) remember(ctx context.Context, it item, p vcs.Pull) error {
	return e.editPull(ctx, p.ID(), func(rec *journal.PullRecord) (bool, error) {
		describe(rec, p)
		rec.LastEvent = time.Now().UTC()
		if p.State == vcs.Open {
			rec.CleanedUp = false
		}
		switch {
		case p.State != vcs.Open:
			rec.Considered = ""
		case it.push() && !p.Draft:
			rec.Considered = considered(p)
		}
		return true, nil
	})
}

// describe puts what the forge says into a record.
func describe(rec *journal.PullRecord, p vcs.Pull) {
	rec.ID, rec.Repo, rec.Title, rec.URL, rec.Author = p.ID(), p.Repo, p.Title, p.URL, p.Author
	rec.State, rec.Head, rec.Base = p.State, p.Head.SHA, p.Base.SHA
}

// editPull changes the record of a pull request, one change at a time.
func (e *Engine) editPull(ctx context.Context, id vcs.PullID, edit func(*journal.PullRecord) (changed bool, err error)) error {
	defer e.dirs.lock("pull\n" + id.String())()
	rec, _, err := e.Journal.Pull(ctx, id)
	if err = e.spare(ctx, err); err != nil { // a damaged one is made anew
		return err
	}
	changed, err := edit(&rec)
	if !changed {
		return err
	}
	return errors.Join(err, e.Journal.PutPull(ctx, rec))
}

// decide answers what the event leads to. Nothing has been locked or run yet.
func (e *Engine) decide(ctx context.Context, s scene) (verdict, error) {
	switch s.ask.kind {
	case askClosed:
		return e.cleanUp(ctx, s)
	case askPlan, askApply, askUnlock, askMend, askCancel, askHelp, askWrong:
	case askNothing:
		return verdict{outcome: s.ask.why}, nil
	}
	if s.run.Cancels != nil { // allowed and begun by a process that is gone
		return e.cancel(ctx, s)
	}
	v, done, err := e.may(ctx, s)
	if err != nil {
		return v, err
	}
	if done {
		return v, e.skipTurn(ctx, s)
	}
	if v, done, err := e.decideCancelled(ctx, s); done || err != nil {
		return v, err
	}
	if s.crowd != "" {
		return verdict{
			answer: sayRefusal(title(s.ask.name)+" not run: "+s.crowd, "It was not put in line behind them. Comment again when some of them are answered."), outcome: s.crowd,
		}, nil
	}
	switch s.ask.kind {
	case askPlan:
		return e.decidePlan(ctx, s)
	case askApply:
		return e.decideApply(ctx, s)
	case askUnlock:
		return e.unlock(ctx, s)
	case askMend:
		return e.decideMend(ctx, s)
	case askCancel:
		return e.cancel(ctx, s)
	case askWrong:
		return verdict{answer: sayWrong(s.ask.wrong)}, nil
	case askHelp, askNothing, askClosed:
	}
	return verdict{answer: e.sayHelp()}, nil
}

// may turns away who and what is not served. done: the verdict stands.
func (e *Engine) may(ctx context.Context, s scene) (v verdict, done bool, err error) {
	no := func(headline string, body ...string) (verdict, bool, error) {
		if s.ask.comment == nil {
			return verdict{outcome: headline}, true, nil
		}
		return verdict{answer: sayRefusal(headline, body...), outcome: headline}, true, nil
	}
	switch {
	case !e.Options.Allowed(s.pull.Repo):
		return verdict{outcome: "the repository is not in --repo-allowlist"}, true, nil
	case s.pull.State != vcs.Open && s.ask.needsOpen():
		return no(fmt.Sprintf("%s not run: this pull request is %s", title(s.ask.name), s.pull.State),
			"Nothing was run, and no lock was taken.")
	case s.pull.Fork() && s.ask.kind != askHelp && s.ask.kind != askWrong:
		return no(fmt.Sprintf("%s not run: this pull request comes from a fork", title(s.ask.name)),
			"Code from a fork is not planned or applied here. Push the branch to this repository to have it planned.")
	case s.pull.Draft && s.ask.auto && s.ask.left == nil:
		return verdict{outcome: "the pull request is a draft"}, true, nil
	}
	if s.ask.comment == nil || s.ask.kind == askHelp || s.ask.kind == askWrong {
		return verdict{}, false, nil
	}
	p, err := s.forge.Permission(ctx, s.pull.Repo, s.ask.user)
	if err != nil {
		return v, false, fmt.Errorf("reading the permission of %s: %w", s.ask.user, err)
	}
	if p < vcs.WritePermission {
		return no(fmt.Sprintf("%s not run: it needs write permission on the repository", title(s.ask.name)),
			"Ask somebody who may write to this repository to comment.")
	}
	return verdict{}, false, nil
}

// begin journals the run with its jobs. From here on it is carried to its answer whatever dies.
func (e *Engine) begin(ctx context.Context, s scene, v verdict) (scene, error) {
	s.run = v.run
	for i := range v.jobs {
		v.jobs[i].Run, v.jobs[i].N = s.run.ID, i+1
		if v.jobs[i].State == "" {
			v.jobs[i].State = journal.JobQueued
		}
		v.jobs[i].Job.ID = fmt.Sprintf("%s/%d", s.run.ID, i+1)
		v.jobs[i].Job.Dir = e.jobDir(s.run.ID, i+1)
	}
	if s.ask.plans() && !targeted(s.ask) { // what was planned before does not stand any more
		if err := e.markAutoplan(ctx, s.pull.ID(), "", "", ""); err != nil {
			return s, err
		}
	}
	if err := e.Journal.CreateRun(ctx, s.run, v.jobs); err != nil {
		return s, fmt.Errorf("beginning run %s: %w", s.run.ID, err)
	}
	if f, ok := s.forge.(vcs.Reactor); ok && s.ask.comment != nil && e.budget.extra(s.pull.Repo.ID) {
		if err := f.React(ctx, s.pull, s.ask.comment.ID); err != nil {
			e.Log.WarnContext(ctx, "reacting to a command", "run", s.run.ID, "err", err)
		}
	}
	e.statuses(ctx, s, e.pending(s, len(v.jobs))...)
	return s, ctx.Err()
}

// close ends a run that has no jobs: with its answer, or in silence.
func (e *Engine) close(ctx context.Context, s scene, v verdict) error {
	e.lanes.telling(s.pull.ID(), s.item)
	e.statuses(ctx, s, v.plan, v.apply)
	if v.answer == nil {
		if s.known {
			if err := e.Journal.EndRun(ctx, s.run.ID, v.outcome, time.Now().UTC()); err != nil {
				return err
			}
		}
		return e.Journal.EventDone(ctx, s.ev.Seq, "", v.outcome)
	}
	if v.run.ID != "" {
		s.run = v.run
	}
	s.merging = v.merging
	if err := e.Journal.CreateRun(ctx, s.run, nil); err != nil {
		return fmt.Errorf("beginning run %s: %w", s.run.ID, err)
	}
	return e.finish(ctx, s, v.answer, v.outcome)
}

// drop ends an event that asks for nothing, or for nothing any more.
func (e *Engine) drop(ctx context.Context, it item, why string) {
	for {
		err := e.Journal.EventDone(ctx, it.ev.Seq, "", why)
		if err == nil || ctx.Err() != nil {
			return
		}
		e.Log.ErrorContext(ctx, "ending an event", "event", it.ev.Seq, "err", err)
		if e.rest(ctx, 15*e.pace.retry) != nil {
			return
		}
	}
}

// apologise answers that it was our fault. An event whose pull request can't be read any more is ended
// with the error in the records, and stands in no line.
func (e *Engine) apologise(ctx context.Context, it item, cause error) error {
	s, err := e.look(ctx, ctx, it)
	if unshown(err) {
		if _, err := e.Locks.LeaveAll(ctx, lockPull(pullOf(it.ev))); err != nil {
			return err
		}
		return e.Journal.EventDone(ctx, it.ev.Seq, "", "the forge does not show this pull request: "+cause.Error())
	}
	if err = e.spare(ctx, err); err != nil {
		return err
	}
	if err := e.awaitUnread(ctx, s); err != nil {
		return err
	}
	jobs, err := e.abandonAll(ctx, s)
	if err != nil {
		return err
	}
	if err := errors.Join(e.disown(ctx, s, jobs), e.lookAgain(ctx, s, jobs)); err != nil {
		return err
	}
	if err := e.skipTurn(ctx, s); err != nil {
		return err
	}
	return e.close(ctx, s, e.apology(ctx, s, jobs, cause))
}

// apology is what is said of a run that our fault has ended. What has come to its end is told as it ended.
func (e *Engine) apology(ctx context.Context, s scene, jobs []journal.Job, cause error) verdict {
	v := verdict{answer: e.sayInternal(s.run.ID), outcome: "internal error"}
	reason, log := "internal error, run "+s.run.ID, "The server's log has the cause, under run "+templates.Code(s.run.ID)+"."
	if e.hadNoRoom(cause) {
		reason, log = fullHeadline, title(fullHeadline)+". "+fullAdvice
		v = verdict{answer: sayRefusal(title(s.ask.name)+" failed: "+fullHeadline, fullAdvice), outcome: fullHeadline}
	}
	switch {
	case s.ask.plans(), s.ask.kind == askApply && len(jobs) == 0:
		v.plan = e.status(s, s.ask.name, vcs.Failure, reason)
	case s.ask.kind == askApply:
		v.apply = e.status(s, cmdApply, vcs.Failure, reason)
		if all, err := e.outcome(ctx, s, jobs); err == nil {
			v.apply = all[len(all)-1]
		}
		v.answer = e.sayJobs(s, jobs, nobody, []string{"An internal error ended this run early. " + log})
	case s.ask.kind == askMend && len(jobs) > 0:
		v.answer = e.sayMend(s, jobs)
	case s.known && s.ask.acts(), s.begun && s.ask.kind == askMend:
		v.answer = sayRefusal(title(s.ask.name)+": it is not known whether it was done", "An error of ours ended it on the way, and it may have done some or all of it. "+log,
			"Comment it again to be sure: what is done already is not done twice.")
	}
	return v
}

// disown lets go of what a run has planned and nobody gets to see: it must not be applied, and its locks
// protect nothing.
func (e *Engine) disown(ctx context.Context, s scene, jobs []journal.Job) error {
	_, said, err := e.Journal.Report(ctx, s.run.ID)
	if said || err != nil || !s.ask.plans() {
		return e.spare(ctx, err)
	}
	if err := e.discardUnseen(ctx, s); err != nil {
		return err
	}
	touched, err := e.touched(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	var free []locking.Key
	for _, j := range jobs {
		if p := j.Job.Project; j.State != journal.JobWaiting && !touched(p) && !keepsPlan(j) {
			free = append(free, lockKey(s.pull.Repo.ID, p))
		}
	}
	return e.free(ctx, s, free, "its run ended with an internal error")
}

// discardUnseen discards the plans of a run whose answer does not show them.
func (e *Engine) discardUnseen(ctx context.Context, s scene) error {
	plans, err := e.plans(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	for _, p := range plans {
		if p.Run != s.run.ID || !p.State.Open() {
			continue
		}
		if err := e.Journal.SetPlanState(ctx, p.ID, journal.PlanDiscarded, s.ask.user, "its run ended with an internal error"); err != nil {
			return err
		}
	}
	return nil
}

// abandon ends a job that we could not carry to its end. An apply that was begun is waited for. What it did is not known when the
// journal was restored meanwhile, and its plan is used up.
func (e *Engine) abandon(ctx context.Context, s scene, j journal.Job) (journal.Job, error) {
	end := runner.Errored
	switch {
	case !j.Open():
		return j, nil
	case !s.ask.changes():
	case j.State == journal.JobQueued:
		end = runner.NotStarted
	case !e.beforeRestore(s): // it may still run, and is waited for
		res, err := e.howItEnded(ctx, s, j)
		return e.result(ctx, s, project.Project{}, workdir.Checkout{}, j, res, err)
	default:
		end = runner.Unknown
		if s.ask.kind == askMend {
			break
		}
		if err := e.applied(ctx, s, j, runner.Result{Summary: runner.Summary{End: end}}); err != nil {
			return j, err
		}
	}
	return e.ended(ctx, j, runner.Summary{End: end, Evidence: e.evidenceOf(s, end)})
}
