package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/command"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
)

// refusal is why one project is not applied.
type refusal struct {
	project runner.Project
	state   string
	why     string
	// moved are the inputs that are not what was planned.
	moved []string
	// waiting is what it waits for, in the place of state and why.
	waiting *journal.Waiting
}

// candidate is a project that an apply names, with the plan that would be applied.
type candidate struct {
	standing
	refused *refusal
}

// decideApply answers which stored plans are applied: all that are named, or none.
func (e *Engine) decideApply(ctx context.Context, s scene) (verdict, error) {
	if why := e.tooOld(s); why != "" {
		return verdict{answer: sayRefusal("Apply not run: "+why, "What stands here may have changed since. Comment `apply` again to have it applied now."), outcome: why}, nil
	}
	if v, no := unknownMethod(s); no {
		return v, nil
	}
	all, err := e.standing(ctx, s.pull.ID())
	if err != nil {
		return verdict{}, err
	}
	var named []candidate
	for _, st := range all {
		if meant(s.ask.cmd, st.project, all) {
			named = append(named, candidate{standing: st})
		}
	}
	if len(named) == 0 {
		return verdict{answer: e.sayNoPlan(s, all), outcome: "no plan"}, nil
	}
	todo := slices.DeleteFunc(named, func(c candidate) bool { return c.done() })
	if len(todo) == 0 {
		return e.nothingLeft(ctx, s)
	}
	m, v, done, err := e.mergeInTime(ctx, s)
	if err != nil || done {
		return v, err
	}
	st, err := e.open(ctx, s, m.Tree)
	if bad := new(project.ProblemsError); errors.As(err, &bad) {
		return verdict{answer: e.sayProblems(s, m, bad), outcome: "configuration"}, nil
	}
	if err != nil {
		return v, err
	}
	if err := e.examine(ctx, s, st, todo); err != nil {
		return v, err
	}
	if slices.ContainsFunc(todo, func(c candidate) bool { return c.refused != nil }) {
		return verdict{answer: e.sayApplyRefused(s, todo), outcome: "refused"}, nil
	}
	v.run = s.run
	v.run.Head, v.run.Base, v.run.Merge, v.run.Tree = m.Head, m.Base, m.Commit, m.Tree
	for _, c := range todo {
		v.jobs = append(v.jobs, journal.Job{PlanID: c.plan.ID, Job: runner.Job{
			Action: runner.Apply, Project: c.project, Tool: c.plan.Tool, Checkout: c.plan.Checkout,
			DataDir: c.plan.TFData, StateDir: e.stateDir(s.pull.Repo.ID, c.project), PlanFile: c.plan.File,
		}})
	}
	return v, nil
}

// meant: without flags everything is meant; otherwise what the flags name. A workspace alone means the
// root, if that is a project of it, as it does for a plan.
func meant(c command.Command, p runner.Project, all []standing) bool {
	switch {
	case c.Project != "":
		return p.Name == c.Project
	case c.Dir != "" && p.Dir != c.Dir:
		return false
	case c.Workspace != "":
		root := c.Dir == "" && slices.ContainsFunc(all, func(st standing) bool {
			return st.project.Dir == "." && st.project.Workspace == c.Workspace
		})
		return p.Workspace == c.Workspace && (!root || p.Dir == ".")
	default:
		return true
	}
}

// examine marks every candidate that must not be applied, and why.
func (e *Engine) examine(ctx context.Context, s scene, st stage, todo []candidate) error {
	held, err := e.heldKeys(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	kept, err := e.kept(ctx, s)
	if err != nil {
		return err
	}
	required := &requirements{Engine: e, scene: s}
	for i := range todo {
		c := &todo[i]
		p := st.find(c.project)
		if c.refused = e.unready(s, c.standing); c.refused != nil {
			continue
		}
		if words := kept(c.project); words != "" {
			c.refused = &refusal{project: c.project, state: "state not stored", why: words + " Then plan it again"}
			continue
		}
		if !held[lockKey(s.pull.Repo.ID, c.project)] {
			c.refused = &refusal{project: c.project, state: "not locked", why: "its lock was released after it was planned; plan it again"}
			continue
		}
		if c.refused, err = e.moved(ctx, st, p, *c.plan); err != nil {
			return err
		}
		if c.refused != nil {
			if err := e.Journal.SetPlanState(ctx, c.plan.ID, journal.PlanStale, s.ask.user, "the inputs changed"); err != nil {
				return err
			}
			continue
		}
		if c.refused, err = required.unmet(ctx, p); err != nil {
			return err
		}
		if c.refused != nil {
			c.refused.why = templates.Sentence(c.refused.why)
		}
	}
	return nil
}

// unready answers why there is nothing to apply for a project, from the records alone.
func (e *Engine) unready(s scene, st standing) *refusal {
	no := func(state, why string) *refusal { return &refusal{project: st.project, state: state, why: why} }
	switch {
	case st.job.State == journal.JobWaiting:
		return &refusal{project: st.project, waiting: st.job.Waiting}
	case st.plan == nil:
		return no("not planned", "its last plan did not succeed; push a fix, or plan it again")
	case st.plan.State != journal.PlanReady:
		return no("not planned", gone(st.plan.State)+"; plan it again")
	case st.plan.Report == 0:
		return no("not seen", "the forge did not take the comment that shows its plan; plan it again")
	case !s.ask.comment.After(st.plan.ReportedAt, st.plan.Report):
		return no("not seen", "its plan was posted after the comment that asks to apply it; read it, then ask again")
	case st.plan.LocalState && !e.Options.LocalState:
		return no("no backend", "its state would be lost with the checkout. Give the project a backend, or start the server with `--allow-local-state` and plan again")
	}
	return nil
}

// gone is why a plan can't be applied any more.
func gone(s journal.PlanState) string {
	switch s {
	case journal.PlanDiscarded:
		return "its plan was discarded with its lock"
	case journal.PlanSuperseded:
		return "its plan was replaced by one that did not succeed"
	case journal.PlanStale, journal.PlanReady, journal.PlanNoChanges, journal.PlanApplied:
	}
	return "its plan is used up, or what it was made from has changed"
}

// moved answers what is not any more as it was planned.
func (e *Engine) moved(ctx context.Context, st stage, p project.Project, plan journal.Plan) (*refusal, error) {
	now, err := e.digest(ctx, st, p, plan.Tool)
	if err != nil {
		return nil, err
	}
	if now.Sum == plan.Digest {
		return nil, nil
	}
	r := &refusal{project: plan.Project, state: "stale", why: "what it was made from has changed since; plan it again"}
	if old, err := readDigest(e.jobDir(plan.Run, plan.N)); err == nil {
		r.moved = project.Moved(old, now)
	}
	return r, nil
}

// prepareApply checks once more, right before the apply, what may have changed since it was decided.
func (e *Engine) prepareApply(ctx context.Context, s scene, st stage, p project.Project, j journal.Job) (journal.Job, *runner.Summary, error) {
	stop := func(why string) (journal.Job, *runner.Summary, error) { return j, notStarted(why), nil }
	plan, ok, err := e.planByID(ctx, s.pull.ID(), j.PlanID)
	switch {
	case err != nil:
		return j, nil, err
	case !ok || plan.State != journal.PlanReady:
		return stop("its plan is gone; plan it again")
	}
	kept, err := e.kept(ctx, s)
	if err != nil {
		return j, nil, err
	}
	if words := kept(j.Job.Project); words != "" { // since it was decided
		return j, &runner.Summary{End: runner.NotStarted, Failure: &runner.Failure{
			Summary: "its state is not stored", Text: unquoted(words) + " Then plan it again.",
		}}, nil
	}
	if r, err := e.moved(ctx, st, p, plan); err != nil || r != nil {
		if err != nil {
			return j, nil, err
		}
		return stop(r.why)
	}
	if err := checkPlanFile(plan.File, plan.SHA256); err != nil {
		e.Log.ErrorContext(ctx, "checking a stored plan", "plan", plan.ID, "err", err)
		return stop("its stored plan is damaged or missing; plan it again")
	}
	same, err := e.Work.Is(plan.Checkout, plan.CheckoutID)
	if err != nil {
		return j, nil, err
	}
	if _, err := os.Stat(filepath.Join(plan.Checkout, filepath.FromSlash(plan.Project.Dir))); err != nil || !same {
		return stop("the files it was planned in are gone; plan it again")
	}
	refused, err := e.refill(ctx, s, st, p, plan)
	return j, refused, err
}

// refill has the files from Git LFS that a plan was made from in its checkout again, which may have been moved for another project.
func (e *Engine) refill(ctx context.Context, s scene, st stage, p project.Project, plan journal.Plan) (*runner.Summary, error) {
	d, err := e.digest(ctx, st, p, plan.Tool)
	if err != nil {
		return nil, err
	}
	refused, err := e.large(ctx, s, st, workdir.Checkout{Root: plan.Checkout}, d)
	if refused != nil {
		refused.End = runner.NotStarted
	}
	return refused, err
}

// applied records what became of the plan. A plan is used up by the first apply that started, unless that did not even get the lock
// of the state: whether the plan still fits is for terraform to say then.
func (e *Engine) applied(ctx context.Context, s scene, j journal.Job, res runner.Result) error {
	state, why := journal.PlanStale, "its apply ended as "+string(res.End)
	switch res.End {
	case runner.NotStarted, runner.Cancelled:
		return nil
	case runner.Succeeded:
		state, why = journal.PlanApplied, "applied in run "+s.run.ID
	case runner.Failed:
		if lockedOut(res) {
			return nil
		}
	case runner.Errored, runner.Interrupted, runner.PartlyApplied, runner.Unknown:
	}
	return e.spare(ctx, e.Journal.SetPlanState(ctx, j.PlanID, state, s.ask.user, why))
}

// lockedOut: an apply that did not get the lock of its state has done nothing.
func lockedOut(res runner.Result) bool {
	return res.End == runner.Failed && res.Failure != nil && res.Failure.Lock != nil && !slices.ContainsFunc(res.Resources, func(r runner.Resource) bool {
		return r.Outcome != runner.NotReached && r.Outcome != ""
	})
}

// planned keeps the plan that a job made, and lets the older one of the project go.
func (e *Engine) planned(ctx context.Context, s scene, p project.Project, out workdir.Checkout, j *journal.Job, res runner.Result) error {
	if res.End != runner.Succeeded {
		return e.supersedePlan(ctx, s, j.Job.Project, "a newer plan did not succeed")
	}
	file, err := e.storePlan(res.PlanFile, res.PlanSHA256)
	if err != nil {
		return fmt.Errorf("storing the plan of %s: %w", j.Job.ID, err)
	}
	state := journal.PlanReady
	if res.Changes.Empty() {
		state = journal.PlanNoChanges
	}
	j.PlanID = j.Job.ID
	return e.Journal.PutPlan(ctx, journal.Plan{
		ID: j.Job.ID, Pull: s.pull.ID(), Project: j.Job.Project, State: state, Run: s.run.ID, N: j.N,
		File: file, SHA256: res.PlanSHA256, Digest: j.Digest, Head: s.run.Head, Base: s.run.Base, Tree: s.run.Tree,
		Tool: j.Job.Tool, Checkout: j.Job.Checkout, CheckoutID: out.ID, TFData: j.Job.DataDir, LocalState: res.LocalState,
		Requirements: p.ApplyRequirements, Made: time.Now().UTC(), Changes: res.Changes,
	})
}

// storePlan moves a plan file to where plans are kept, named by its hash, and makes it durable.
func (e *Engine) storePlan(from, sum string) (string, error) {
	if err := checkPlanFile(from, sum); err != nil {
		return "", err
	}
	dir := filepath.Join(e.Options.Data, "plans")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	to := filepath.Join(dir, sum)
	if err := os.Chmod(from, 0o600); err != nil {
		return "", err
	}
	if err := syncPath(from); err != nil {
		return "", err
	}
	if err := os.Rename(from, to); err != nil {
		return "", err
	}
	return to, syncPath(dir)
}

func syncPath(path string) error {
	f, err := os.Open(path) //nolint:gosec // a path of ours below the data directory
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// checkPlanFile compares a plan file with its hash.
func checkPlanFile(path, want string) error {
	f, err := os.Open(path) //nolint:gosec // a path from our own records
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("plan file %s has hash %s, want %s", filepath.Base(path), got, want)
	}
	return nil
}
