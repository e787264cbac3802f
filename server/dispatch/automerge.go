package dispatch

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// Why a pull request is not merged.
const (
	pushedSince = "commits were pushed after it was applied; they are planned first"
	wasClosed   = "it was closed"
	notServed   = "the repository is not in --repo-allowlist any more"
	switchedOff = "merging by itself was switched off"
	unlookedAt  = "what would be merged could not be looked at; comment `apply` to have that tried once more"
	damagedWhy  = "what is recorded of it is damaged; the server's log has more"
)

// How often a merge is tried, at first after a second, then after up to eight. All of it together has its time, see pace.
const (
	triesToMerge = 6  // the forge is working it out, or its base moves: half a minute
	triesBlocked = 3  // it may not have looked at our last status yet
	triesAway    = 12 // it does not answer
)

// lastLook is how long it is looked at the end whether it was merged after all, and whether an unlock may end it.
const lastLook = 30 * time.Second

// longestWhy is how much is told of why a pull request is not merged, in bytes.
const longestWhy = 2000

// mergeDue answers how the pull request is to be merged as soon as the run is answered: when all that the merge touches is
// applied, and the repository, or else the operator, wants that. Else why not, if that is worth telling.
func (e *Engine) mergeDue(ctx context.Context, s scene, st stage) (due *journal.Merging, why string, err error) {
	if _, ok := s.forge.(vcs.Merger); !ok || s.ask.cmd.NoMerge {
		return nil, "", nil
	}
	if !chosen(st.config.Automerge, e.Options.Automerge) {
		if s.ask.cmd.MergeMethod != "" {
			why = "neither `--automerge` nor `automerge: true` in the repository's file is there"
		}
		return nil, why, nil
	}
	all, err := e.standing(ctx, s.pull.ID())
	if err != nil || len(all) == 0 || slices.ContainsFunc(all, func(one standing) bool { return !one.done() }) {
		return nil, "", err
	}
	if why, err = e.incomplete(ctx, s, st, all); why != "" || err != nil {
		return nil, why, err
	}
	due = &journal.Merging{Head: s.run.Head, Base: s.pull.Base.Ref, Method: e.Options.MergeMethod, DeleteBranch: e.Options.DeleteBranch}
	if s.ask.cmd.MergeMethod != "" {
		due.Method = vcs.MergeMethod(s.ask.cmd.MergeMethod)
	}
	for _, one := range all {
		repo := chosen(st.config.DeleteBranch, true)
		due.DeleteBranch = due.DeleteBranch && chosen(st.find(one.project).DeleteBranch, repo)
	}
	return due, "", nil
}

// chosen is what somebody has said, or else the default.
func chosen(said *bool, def bool) bool {
	if said != nil {
		return *said
	}
	return def
}

// incomplete is why what stands is not all that the merge of a stage touches: a project of it was never planned, or is not
// applied, or is not ours to speak for any more.
func (e *Engine) incomplete(ctx context.Context, s scene, st stage, all []standing) (string, error) {
	changed, err := e.Work.Changed(ctx, s.repo, st.merge)
	if err != nil {
		return "", err
	}
	touched, err := project.SelectAll(ctx, st.tree, st.config, changed)
	if err != nil {
		return "", err
	}
	for _, p := range touched {
		if !slices.ContainsFunc(all, func(one standing) bool { return one.project == identity(p) && one.done() }) {
			return quoted(label(identity(p))) + " is not planned and applied; comment `plan`", nil
		}
	}
	held, err := e.heldKeys(ctx, s.pull.ID())
	if err != nil {
		return "", err
	}
	for _, key := range inOrder(held) { // what was applied of it is in the state, and not in what would be merged
		if !slices.ContainsFunc(all, func(one standing) bool { return key == lockKey(s.pull.Repo.ID, one.project) }) {
			return quoted(label(projectOf(key))) + " is still locked by this pull request, and is not what it changes any more; plan it by its name, or comment `unlock`", nil
		}
	}
	for _, one := range all {
		switch {
		case !one.done():
			return quoted(label(one.project)) + " is not applied any more", nil
		case one.plan.State == journal.PlanApplied && !held[lockKey(s.pull.Repo.ID, one.project)]:
			return "the lock on " + quoted(label(one.project)) + " was released after it was applied; plan it again", nil
		}
		r, err := e.moved(ctx, st, st.find(one.project), *one.plan)
		if err != nil {
			return "", err
		}
		if r != nil {
			return e.movedUnder(ctx, s, st, *one.plan)
		}
	}
	return "", nil
}

// movedUnder is why what a plan was made from is not what would be merged.
func (e *Engine) movedUnder(ctx context.Context, s scene, st stage, plan journal.Plan) (string, error) {
	run, ok, err := e.Journal.Run(ctx, plan.Run)
	if err != nil {
		return "", err
	}
	name := quoted(label(plan.Project))
	if ok && run.Head != st.merge.Head {
		return "commits that change what " + name + " is made from were pushed after it was planned; plan it again", nil
	}
	return quoted(s.pull.Base.Ref) + " has moved on in what " + name + " is made from, so that what was applied is not what would be merged; plan it again", nil
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
	if _, ok := s.forge.(vcs.Merger); !ok || s.ask.cmd.NoMerge {
		return v, nil
	}
	s, due, why, err := e.dueNow(ctx, s)
	switch {
	case errors.Is(err, errStopping):
		return v, err
	case err != nil: // what is asked for is answered all the same
		e.Log.WarnContext(ctx, "looking whether it is to be merged", "pull", s.pull.ID().String(), "err", err)
		if e.Options.Automerge {
			v.answer = e.sayAllDone(templates.UnmergedNote(unlookedAt))
		}
	case due != nil:
		v.run, v.merging = s.run, due
		v.answer = e.sayAllDone(templates.MergingNote(due.Base))
	case why != "":
		v.answer = e.sayAllDone(templates.UnmergedNote(why))
	}
	return v, nil
}

// dueNow is mergeDue for the merge result as it is now, with the run that works on it.
func (e *Engine) dueNow(ctx context.Context, s scene) (scene, *journal.Merging, string, error) {
	m, why, err := e.mergeAgain(ctx, s)
	if err != nil || why != "" {
		return s, nil, why, err
	}
	st, why, err := e.today(ctx, s, m)
	if err != nil || why != "" {
		return s, nil, why, err
	}
	s.run.Head, s.run.Base, s.run.Merge, s.run.Tree = m.Head, m.Base, m.Commit, m.Tree
	due, why, err := e.mergeDue(ctx, s, st)
	if err != nil || due == nil {
		return s, nil, why, err
	}
	if why, err = e.unapproved(ctx, s, st); why != "" {
		return s, nil, why, err
	}
	return s, due, "", err
}

// dueAfter is mergeDue for a run of applies that has ended. Its answer does not depend on it.
func (e *Engine) dueAfter(ctx context.Context, s scene, jobs []journal.Job) (due *journal.Merging, note string) {
	if s.ask.kind != askApply || anyUnapplied(jobs) {
		return nil, ""
	}
	st, why, err := e.today(ctx, s, mergeOf(s.run))
	if err == nil && why == "" {
		due, why, err = e.mergeDue(ctx, s, st)
	}
	switch {
	case err != nil:
		e.Log.WarnContext(ctx, "looking whether it is to be merged", "run", s.run.ID, "err", err)
		if e.Options.Automerge && !s.ask.cmd.NoMerge {
			note = templates.UnmergedNote(unlookedAt)
		}
		return nil, note
	case due != nil:
		return due, templates.MergingNote(due.Base)
	case why != "":
		return nil, templates.UnmergedNote(why)
	}
	return nil, ""
}

// mergeUp merges what is to be merged when the answer of a run stands on the pull request. It can be begun again: what is
// merged is not merged twice, and why it could not be is told once.
func (e *Engine) mergeUp(ctx context.Context, s scene, r journal.Report) error {
	if r.Merging == nil || r.Merging.Ended != "" {
		return nil
	}
	if _, told, err := e.Journal.Report(ctx, noticeID("merge", s.pull.ID(), s.run.ID)); told || err != nil {
		if err = e.spare(ctx, err); err != nil {
			return err
		}
		r.Merging.Ended = "not merged" // an earlier process has told why
		return e.Journal.PutReport(ctx, r)
	}
	why, err := e.merging(ctx, s, r)
	if journal.Damaged(err) {
		e.Log.ErrorContext(ctx, "merging", "pull", s.pull.ID().String(), "run", s.run.ID, "err", err)
		why, err = damagedWhy, nil
	}
	if err != nil {
		return err
	}
	why = brief(why, longestWhy)
	r.Merging.Ended = why
	switch why {
	case "":
		r.Merging.Ended = "merged"
	case wasClosed, notServed:
	default:
		e.Log.WarnContext(ctx, "not merging", "pull", s.pull.ID().String(), "run", s.run.ID, "why", why)
		if err := e.noticeOn(ctx, s.pull, "merge", s.run.ID, noticeText{
			headline: "Everything is applied, but this is not merged", body: templates.NotMergedNote(why),
		}); err != nil {
			return err
		}
	}
	return e.Journal.PutReport(ctx, r)
}

// brief cuts a sentence to so many bytes, between characters, and leaves its backticks in pairs.
func brief(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	s = s[:limit]
	if strings.Count(s, "`")%2 == 1 {
		s += "`"
	}
	return s + " …"
}

// merging tries to merge until that is done, or of no use. why: it is not merged, in a sentence in which foreign words
// stand between backticks.
func (e *Engine) merging(ctx context.Context, s scene, r journal.Report) (why string, err error) {
	why, err = e.mergeInTries(ctx, s, r)
	if why == "" || why == notServed || err != nil {
		return why, err
	}
	// Somebody may have merged or closed it meanwhile, or the forge has done what it did not answer.
	limited, cancel := context.WithTimeout(ctx, lastLook)
	defer cancel()
	p, err := s.forge.Pull(limited, s.pull.Repo, s.pull.Number)
	switch {
	case err != nil || p.State == vcs.Open:
		return why, nil
	case p.State == vcs.Closed:
		return wasClosed, nil
	}
	if _, _, err := e.mergeOnce(limited, s, r); err != nil {
		e.Log.WarnContext(ctx, "ending a merge", "pull", s.pull.ID().String(), "run", s.run.ID, "err", err)
	}
	return "", nil
}

// mergeInTries tries as often as that is of use.
func (e *Engine) mergeInTries(ctx context.Context, s scene, r journal.Report) (why string, err error) {
	limited, cancel := context.WithTimeout(ctx, e.pace.merge)
	defer cancel()
	wait := e.pace.retry
	for try := 1; ; try++ {
		why, tries, err := e.mergeOnce(limited, s, r)
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case errors.Is(err, errStopping), journal.Damaged(err):
			return "", err
		case err != nil:
			why, tries = "the forge does not answer as it should", triesAway
			e.Log.WarnContext(ctx, "merging", "pull", s.pull.ID().String(), "run", s.run.ID, "try", try, "err", err)
		}
		if try >= tries || limited.Err() != nil {
			return why, nil
		}
		if err := e.rest(ctx, wait); err != nil {
			return "", err
		}
		wait = min(2*wait, 8*e.pace.retry)
	}
}

// mergeEnded is why a merge is not tried any more: somebody has taken back what it follows from, or waits for its end.
func (e *Engine) mergeEnded(ctx context.Context, s scene) (string, error) {
	by, err := e.cancels(ctx, s)
	if err != nil {
		return "", err
	}
	if len(by) > 0 {
		return "it was cancelled by " + quoted(by[0].User), nil
	}
	limited, cancel := context.WithTimeout(ctx, lastLook) // a forge that hides the pull request never tells
	defer cancel()
	if e.lanes.unlocking(limited, s.pull.ID()) {
		return "`unlock` was asked for before the forge was ready", nil
	}
	return "", nil
}

// mergeOnce looks at how things stand, and merges. tries is how many are worth it, this one among them.
func (e *Engine) mergeOnce(ctx context.Context, s scene, r journal.Report) (why string, tries int, err error) {
	if s.pull, err = s.forge.Pull(ctx, s.pull.Repo, s.pull.Number); err != nil {
		return "", 0, err
	}
	m, ok := s.forge.(vcs.Merger)
	how := *r.Merging
	switch {
	case !ok:
		return "this forge does not merge", 0, nil
	case s.pull.State == vcs.Merged && s.pull.Head.SHA != how.Head:
		return "", 0, nil // the branch has moved on since
	case s.pull.State == vcs.Merged:
	case s.pull.State == vcs.Closed:
		return wasClosed, 0, nil
	default:
		if why, err = e.mergeEnded(ctx, s); why != "" || err != nil {
			return why, 0, err
		}
		if why, tries, err = e.fitToMerge(ctx, s, m, r); why != "" || err != nil {
			return why, tries, err
		}
		leave, why, err := e.mergeTurn(ctx, s)
		if why != "" || err != nil {
			return why, 0, err
		}
		defer leave()
		if why, err = e.notAsApplied(ctx, s); why == "" && err == nil {
			why, err = e.mergeEnded(ctx, s)
		}
		if why != "" || err != nil {
			return why, 0, err
		}
	}
	e.Hook(AtMerging)
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

// mergeTurn waits until nothing else is merged into the same branch: of two, the second is held against what the first has made of
// it. The error is [errStopping] when the server stops.
func (e *Engine) mergeTurn(ctx context.Context, s scene) (leave func(), why string, err error) {
	within, end := e.untilClosing(ctx)
	defer end()
	leave, err = e.dirs.lockIn(within, "merge\n"+s.pull.Repo.ID.String()+"\n"+s.pull.Base.Ref)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, "others were being merged into " + quoted(s.pull.Base.Ref) + " all the time", nil
	}
	return leave, "", err
}

// fitToMerge is why an open pull request is not merged as it stands. The forge's rules hold for us even where our account
// could pass them over. Whether what would be merged is what was applied is looked at after it, because the base moves on.
func (e *Engine) fitToMerge(ctx context.Context, s scene, m vcs.Merger, r journal.Report) (why string, tries int, err error) {
	switch how := *r.Merging; {
	case !e.Options.Allowed(s.pull.Repo):
		return notServed, 0, nil
	case r.Comment == 0:
		return "the forge did not take the comment that shows what was applied", 0, nil
	case e.beforeRestore(s):
		return "the server was restored from a backup since, and much may have happened after that was taken", 0, nil
	case e.Options.RecoverMaxAge > 0 && time.Since(r.Intended) > e.Options.RecoverMaxAge:
		return "the server was away after it was applied, and much may have happened since", 0, nil
	case s.pull.Head.SHA != how.Head:
		return pushedSince, 0, nil
	case s.pull.Base.Ref != how.Base:
		return "it goes into " + quoted(s.pull.Base.Ref) + " now, and was applied for " + quoted(how.Base) + "; plan it again", 0, nil
	case s.pull.Draft:
		return "it is a draft", 0, nil
	}
	if why, err = e.statusesWritten(ctx, s); why != "" || err != nil {
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
	rec, _, err := e.Journal.Pull(ctx, s.pull.ID())
	if err != nil {
		return "", err
	}
	all := s
	all.ask.kind = askPlan // whose outcome is both statuses
	if planned := e.status(s, cmdPlan, vcs.Success, ""); !strings.HasPrefix(rec.Statuses[planned.Context], s.run.Head+"|"+string(vcs.Success)+"|") {
		both, err := e.outcome(ctx, all, jobs)
		if err != nil {
			return "", err
		}
		states = append(both[:1:1], states...)
	}
	if left := e.statuses(ctx, s, states...); len(left) > 0 {
		return "the forge did not take the status " + quoted(left[0].Context), nil
	}
	return "", nil
}

// mergeAgain is mergeInTime after everything was applied. why: there is no merge result, in a sentence.
func (e *Engine) mergeAgain(ctx context.Context, s scene) (m workdir.Merge, why string, err error) {
	m, v, done, err := e.mergeInTime(ctx, s)
	if err != nil || !done {
		return m, "", err
	}
	why, err = e.mergeEnded(ctx, s)
	return m, cmp.Or(why, v.outcome), err
}

// notAsApplied is why what would be merged now is not what was applied, or not approved any more.
func (e *Engine) notAsApplied(ctx context.Context, s scene) (string, error) {
	head := s.pull.Head.SHA
	m, why, err := e.mergeAgain(ctx, s)
	if err != nil || why != "" {
		return why, err
	}
	if m.Head != head {
		return pushedSince, nil
	}
	st, why, err := e.today(ctx, s, m)
	if err != nil || why != "" {
		return why, err
	}
	if !chosen(st.config.Automerge, e.Options.Automerge) {
		return switchedOff, nil
	}
	all, err := e.standing(ctx, s.pull.ID())
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "nothing stands as applied any more", nil
	}
	if why, err := e.unapproved(ctx, s, st); why != "" || err != nil {
		return why, err
	}
	return e.incomplete(ctx, s, st, all)
}

// unapproved is why a review that an apply of a project requires is missing.
func (e *Engine) unapproved(ctx context.Context, s scene, st stage) (string, error) {
	all, err := e.standing(ctx, s.pull.ID())
	if err != nil {
		return "", err
	}
	r := &requirements{Engine: e, scene: s}
	for _, one := range all {
		if r.requires(st.find(one.project), project.Approved) {
			_, why, err := r.notApproved(ctx)
			return why, err
		}
	}
	return "", nil
}
