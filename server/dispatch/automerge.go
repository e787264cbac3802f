package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// Why a pull request is not merged.
const (
	pushedSince = "commits were pushed after it was applied; they are planned first"
	wasClosed   = "it was closed"
)

// How often a merge is tried, at first after a second, then after up to eight.
const (
	triesToMerge = 6  // the forge is working it out, or its base moves: half a minute
	triesBlocked = 3  // it may not have looked at our last status yet
	triesAway    = 40 // it does not answer: five minutes
)

// mergeDue answers how the pull request is to be merged as soon as the run is answered, or nil. It is when nothing of it
// is left to apply, and the repository, or else the operator, wants that.
func (e *Engine) mergeDue(ctx context.Context, s scene, st stage) (*journal.Merging, error) {
	if _, ok := s.forge.(vcs.Merger); !ok || s.ask.cmd.NoMerge || !chosen(st.config.Automerge, e.Options.Automerge) {
		return nil, nil
	}
	all, err := e.standing(ctx, s.pull.ID())
	if err != nil || len(all) == 0 {
		return nil, err
	}
	due := journal.Merging{Head: s.run.Head, Method: e.Options.MergeMethod, DeleteBranch: true}
	if s.ask.cmd.MergeMethod != "" {
		due.Method = vcs.MergeMethod(s.ask.cmd.MergeMethod)
	}
	for _, one := range all {
		if !one.done() {
			return nil, nil
		}
		repo := chosen(st.config.DeleteBranch, e.Options.DeleteBranch)
		due.DeleteBranch = due.DeleteBranch && chosen(st.find(one.project).DeleteBranch, repo)
	}
	return &due, nil
}

// chosen is what somebody has said, or else the default.
func chosen(said *bool, def bool) bool {
	if said != nil {
		return *said
	}
	return def
}

// unknownMethod: a forge is not asked for what it can't do.
func unknownMethod(s scene) (verdict, bool) {
	m, ok := s.forge.(vcs.Merger)
	method := vcs.MergeMethod(s.ask.cmd.MergeMethod)
	if method == vcs.DefaultMethod || ok && slices.Contains(m.MergeMethods(), method) {
		return verdict{}, false
	}
	there := "It does not merge at all here."
	if ok {
		there = "It knows " + quoted(methodNames(m)...) + "."
	}
	return verdict{
		answer: sayRefusal("Apply not run: this forge does not merge by "+templates.Code(string(method)), there+" Nothing was run."), outcome: "no such merge method",
	}, true
}

func methodNames(m vcs.Merger) []string {
	var out []string
	for _, one := range m.MergeMethods() {
		out = append(out, string(one))
	}
	return out
}

// nothingLeft is the answer to an apply where everything is applied. What could not be merged then is merged now.
func (e *Engine) nothingLeft(ctx context.Context, s scene) (verdict, error) {
	v := verdict{answer: e.sayAllDone(), outcome: "nothing to apply"}
	m, _, done, err := e.merge(ctx, s)
	if err != nil || done {
		return v, err
	}
	st, why, err := e.today(ctx, s, m.Tree)
	if err != nil || why != "" {
		return v, err
	}
	s.run.Head, s.run.Base, s.run.Merge, s.run.Tree = m.Head, m.Base, m.Commit, m.Tree
	due, err := e.mergeDue(ctx, s, st)
	if err != nil || due == nil {
		return v, err
	}
	all, err := e.standing(ctx, s.pull.ID())
	if err != nil {
		return v, err
	}
	required := &requirements{Engine: e, scene: s}
	for _, one := range all {
		r, err := required.unmet(ctx, st.find(one.project))
		if err != nil {
			return v, err
		}
		if r != nil {
			v.answer = e.sayAllDone("It is not merged: " + templates.Sentence(r.why) + ".")
			return v, nil
		}
	}
	v.run, v.merging = s.run, due
	v.answer = e.sayAllDone(templates.MergingNote(s.pull.Base.Ref))
	return v, nil
}

// mergeUp merges what is to be merged when the answer of a run stands on the pull request. It can be begun again: what is
// merged is not merged twice, and why it could not be is told once.
func (e *Engine) mergeUp(ctx context.Context, s scene, r journal.Report) error {
	if r.Merging == nil || r.Merging.Ended != "" {
		return nil
	}
	why, err := e.merging(ctx, s, r)
	if err != nil {
		return err
	}
	r.Merging.Ended = "merged"
	if why != "" {
		e.Log.WarnContext(ctx, "not merging", "pull", s.pull.ID().String(), "run", s.run.ID, "why", why)
		r.Merging.Ended = why
	}
	if why != "" && why != wasClosed {
		err := e.notice(ctx, s.pull.ID(), "merge", s.run.ID, noticeText{
			headline: "Everything is applied, but this is not merged",
			body:     templates.NotMergedNote(why),
		})
		if err != nil {
			return err
		}
	}
	return e.Journal.PutReport(ctx, r)
}

// merging tries to merge until that is done, or of no use. why: it is not merged, in a sentence in which foreign words
// stand between backticks.
func (e *Engine) merging(ctx context.Context, s scene, r journal.Report) (why string, err error) {
	switch age := time.Since(r.Intended); {
	case r.Comment == 0:
		return "the forge did not take the comment that shows what was applied", nil
	case e.Options.RecoverMaxAge > 0 && age > e.Options.RecoverMaxAge:
		return "the server was away after it was applied, and much may have happened since", nil
	}
	if why, err = e.statusesWritten(ctx, s); why != "" || err != nil {
		return why, err
	}
	wait := e.pace.retry
	for try := 1; ; try++ {
		why, tries, err := e.mergeOnce(ctx, s, *r.Merging)
		if err != nil {
			why, tries = "the forge does not answer as it should", triesAway
			e.Log.WarnContext(ctx, "merging", "pull", s.pull.ID().String(), "run", s.run.ID, "err", err)
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if try >= tries {
			return why, nil
		}
		if err := sleep(ctx, wait); err != nil {
			return "", err
		}
		wait = min(2*wait, 8*e.pace.retry)
	}
}

// statusesWritten writes what is not written of the statuses: the forge may wait for them, and nobody sets them on a
// merged head.
func (e *Engine) statusesWritten(ctx context.Context, s scene) (why string, err error) {
	jobs, err := e.Journal.Jobs(ctx, s.run.ID)
	if err != nil {
		return "", err
	}
	states, err := e.outcome(ctx, s, jobs)
	if err != nil {
		return "", err
	}
	if left := e.statuses(ctx, s, states...); len(left) > 0 {
		return "the forge did not take the status " + quoted(left[0].Context), nil
	}
	return "", nil
}

// mergeOnce looks at how things stand, and merges. tries is how many are worth it, this one among them.
func (e *Engine) mergeOnce(ctx context.Context, s scene, how journal.Merging) (why string, tries int, err error) {
	if s.pull, err = s.forge.Pull(ctx, s.pull.Repo, s.pull.Number); err != nil {
		return "", 0, err
	}
	m, ok := s.forge.(vcs.Merger)
	switch {
	case !ok:
		return "this forge does not merge", 0, nil
	case s.pull.Head.SHA != how.Head:
		return pushedSince, 0, nil
	case s.pull.State == vcs.Closed:
		return wasClosed, 0, nil
	case s.pull.State == vcs.Open:
		if why, tries, err = e.fitToMerge(ctx, s, m); why != "" || err != nil {
			return why, tries, err
		}
	}
	err = m.Merge(ctx, s.pull, vcs.Merging{Method: how.Method, DeleteBranch: how.DeleteBranch})
	var not *vcs.NotMergedError
	switch {
	case errors.As(err, &not) && not.Moved:
		return pushedSince, 0, nil
	case errors.As(err, &not) && not.Again:
		return not.Reason, triesToMerge, nil
	case not != nil:
		return not.Reason, 0, nil
	case err != nil:
		return "", 0, err
	}
	e.Hook(AtMerged)
	return "", 0, nil
}

// fitToMerge is why an open pull request is not merged as it stands: what would be merged must be what was applied, and the
// forge's rules hold for us even where our account could pass them over.
func (e *Engine) fitToMerge(ctx context.Context, s scene, m vcs.Merger) (why string, tries int, err error) {
	if s.pull.Draft {
		return "it is a draft", 0, nil
	}
	if why, err = e.notAsApplied(ctx, s); why != "" || err != nil {
		return why, 0, err
	}
	can, err := m.Mergeable(ctx, s.pull, func(string) bool { return false })
	switch {
	case err != nil:
		return "", 0, err
	case can.State == vcs.MergeUnknown:
		return "the forge has not worked out whether it can be merged", 0, nil // it was given its time
	case can.State == vcs.MergeBlocked:
		return strings.Join(can.Why, "; "), triesBlocked, nil
	}
	return "", 0, nil
}

// notAsApplied is why what would be merged now is not what was applied.
func (e *Engine) notAsApplied(ctx context.Context, s scene) (string, error) {
	head := s.pull.Head.SHA
	m, v, done, err := e.merge(ctx, s)
	if err != nil || done {
		return v.outcome, err
	}
	if m.Head != head {
		return pushedSince, nil
	}
	st, why, err := e.today(ctx, s, m.Tree)
	if err != nil || why != "" {
		return why, err
	}
	all, err := e.standing(ctx, s.pull.ID())
	if err != nil {
		return "", err
	}
	for _, one := range all {
		if !one.done() {
			return quoted(label(one.project)) + " is not applied any more", nil
		}
		r, err := e.moved(ctx, st, st.find(one.project), *one.plan)
		if err != nil {
			return "", err
		}
		if r != nil {
			return quoted(s.pull.Base.Ref) + " has moved on in what " + quoted(label(one.project)) + " is made from, so that what was applied is not what would be merged; plan it again", nil
		}
	}
	return "", nil
}

// dueAfter is mergeDue for a run of applies that has ended.
func (e *Engine) dueAfter(ctx context.Context, s scene, jobs []journal.Job) (*journal.Merging, error) {
	if s.ask.kind != askApply || anyUnapplied(jobs) {
		return nil, nil
	}
	st, err := e.open(ctx, s, s.run.Tree)
	if bad := new(project.ProblemsError); errors.As(err, &bad) {
		return nil, nil // it was good when it was applied
	}
	if err != nil {
		return nil, err
	}
	return e.mergeDue(ctx, s, st)
}
