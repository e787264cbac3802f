package dispatch

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// status is one of our commit statuses. It leads to the run.
func (e *Engine) status(s scene, command string, state vcs.StatusState, text string) vcs.Status {
	if command != cmdApply {
		command = cmdPlan
	}
	return vcs.Status{Context: e.Options.Name + "/" + command, State: state, Description: text, URL: e.runURL(s.run.ID)}
}

func (e *Engine) runURL(run string) string { return e.Options.URL + "/runs/" + run }

// pending are the statuses of a run that begins.
func (e *Engine) pending(s scene, jobs int) []vcs.Status {
	if s.ask.kind == askMend {
		return nil
	}
	if s.ask.kind == askApply {
		return []vcs.Status{e.status(s, cmdApply, vcs.Pending, "applying "+count(jobs, "project"))}
	}
	return []vcs.Status{
		e.status(s, cmdPlan, vcs.Pending, "planning "+count(jobs, "project")),
		e.unplanned(s),
	}
}

// endPending are the statuses that end what is still pending on a closed pull request: nothing comes any more.
func (e *Engine) endPending(s scene, rec journal.PullRecord) (plan, apply vcs.Status) {
	end := func(command, done string) vcs.Status {
		st := e.status(s, command, vcs.Failure, fmt.Sprintf("%s before it was %s", s.pull.State, done))
		written := rec.Statuses[st.Context]
		if !strings.HasPrefix(written, s.pull.Head.SHA+"|"+string(vcs.Pending)+"|") {
			return vcs.Status{}
		}
		st.URL = written[strings.LastIndexByte(written, '|')+1:] // a close has no page of its own
		return st
	}
	return end(cmdPlan, "planned"), end(cmdApply, "applied")
}

// unplanned is the status of an apply that nothing is planned for yet.
func (e *Engine) unplanned(s scene) vcs.Status {
	return e.status(s, cmdApply, vcs.Pending, "waiting for the plan")
}

// statuses writes those that are not zero and not written already. A forge that does not take them
// within a while does not hold up the answer: that is worth more. It answers those that were not taken.
func (e *Engine) statuses(ctx context.Context, s scene, list ...vcs.Status) (left []vcs.Status) {
	ctx, cancel := context.WithTimeout(ctx, e.pace.status)
	defer cancel()
	for _, st := range list {
		if st.Context == "" {
			continue
		}
		if err := e.setStatus(ctx, s, st); err != nil {
			e.Log.WarnContext(ctx, "writing a status", "run", s.run.ID, "status", st.Context, "err", err)
			left = append(left, st)
		}
	}
	return left
}

// setStatus writes one status, unless it stands there already.
func (e *Engine) setStatus(ctx context.Context, s scene, st vcs.Status) error {
	sha := s.run.Head
	if sha == "" {
		sha = s.pull.Head.SHA
	}
	now := strings.Join([]string{sha, string(st.State), st.Description, st.URL}, "|")
	return e.editPull(ctx, s.pull.ID(), func(rec *journal.PullRecord) (changed bool, err error) {
		if rec.Statuses[st.Context] == now {
			return false, nil
		}
		if err := s.forge.SetStatus(ctx, s.pull.Repo, sha, st); err != nil {
			return false, err
		}
		if rec.Statuses == nil {
			rec.Statuses = map[string]string{}
		}
		rec.Statuses[st.Context] = now
		return true, nil
	})
}

// outcome are the statuses after a run, from where all projects of the pull request stand.
func (e *Engine) outcome(ctx context.Context, s scene, jobs []journal.Job) ([]vcs.Status, error) {
	all, err := e.standing(ctx, s.pull.ID())
	if err != nil {
		return nil, err
	}
	var ready, waiting, clean, applied, bad, cancelled int
	for _, st := range all {
		switch {
		case st.job.State == journal.JobWaiting:
			waiting++
		case st.plan == nil && wasCancelled(st.job):
			cancelled++
		case st.plan == nil:
			bad++
		case st.plan.State == journal.PlanApplied:
			applied++
		case st.plan.State == journal.PlanNoChanges:
			clean++
		case st.plan.State == journal.PlanReady:
			ready++
		default:
			bad++
		}
	}
	var out []vcs.Status
	if s.ask.kind != askApply {
		out = append(out, e.status(s, cmdPlan, planState(bad+cancelled, waiting), planText([]counted{
			{bad, "failed"}, {cancelled, "cancelled"}, {waiting, "waiting"}, {ready + applied, "ready"}, {clean, "without changes"},
		})))
	}
	bad += cancelled
	apply := e.status(s, cmdApply, vcs.Pending, fmt.Sprintf("%d of %s applied", applied, count(applied+ready+bad+waiting, "project")))
	switch {
	case s.ask.kind == askApply && anyUnapplied(jobs):
		apply.State = vcs.Failure
	case ready+bad+waiting == 0 && applied == 0:
		apply.State, apply.Description = vcs.Success, "nothing to apply"
	case ready+bad+waiting == 0:
		apply.State = vcs.Success
	}
	return append(out, apply), nil
}

func anyUnapplied(jobs []journal.Job) bool {
	for _, j := range jobs {
		if j.Result == nil || j.Result.End != runner.Succeeded {
			return true
		}
	}
	return false
}

func planState(bad, waiting int) vcs.StatusState {
	switch {
	case bad > 0:
		return vcs.Failure
	case waiting > 0:
		return vcs.Pending
	default:
		return vcs.Success
	}
}

// counted is how many projects are what.
type counted struct {
	n    int
	what string
}

func planText(list []counted) string {
	var parts []string
	for _, c := range list {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return strings.Join(parts, ", ")
}
