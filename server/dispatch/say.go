package dispatch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/command"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
)

// footer is what every answer ends with.
func (e *Engine) footer(s scene, mark string) templates.Footer {
	f := templates.Footer{
		HeadSHA: s.run.Head, BaseRef: s.pull.Base.Ref, BaseSHA: s.run.Base, LogURL: e.runURL(s.run.ID), Marker: mark,
		Now:  time.Now(),
		Took: time.Since(s.run.Started),
	}
	if f.HeadSHA == "" {
		f.HeadSHA = s.pull.Head.SHA
	}
	f.HeadURL = s.site.CommitURL(s.pull.Repo, f.HeadSHA)
	if f.BaseSHA != "" {
		f.BaseURL = s.site.CommitURL(s.pull.Repo, f.BaseSHA)
	}
	return f
}

// sayJobs is the answer of a run that had jobs. touched are the projects whose locks stay, because an
// apply may have changed them.
func (e *Engine) sayJobs(s scene, jobs []journal.Job, touched func(runner.Project) bool, notes []string) say {
	var rows []templates.Job
	tools, ran := map[string]bool{}, false
	several := severalWorkspaces(jobs)
	for _, j := range jobs {
		row := e.row(s, j)
		row.Kept = touched(j.Job.Project)
		row.Flags = flags(j.Job.Project, several[j.Job.Project.Dir])
		rows = append(rows, row)
		ran = ran || !j.Started.IsZero()
		if j.Job.Tool.Version != "" {
			tools[j.Job.Tool.String()] = true
		}
	}
	return func(f templates.Footer) string {
		f.Ran = ran
		if len(tools) == 1 {
			for t := range tools {
				f.Tool = t
			}
		}
		if s.ask.kind == askApply {
			return templates.Apply{Jobs: rows, Notes: notes, CommentLimit: s.site.CommentLimit, Footer: f}.Render()
		}
		return templates.Plan{Jobs: rows, Notes: notes, CommentLimit: s.site.CommentLimit, Footer: f}.Render()
	}
}

// row is one job for people.
func (e *Engine) row(s scene, j journal.Job) templates.Job {
	p := j.Job.Project
	r := templates.Job{
		Label: label(p), Workspace: workspace(p),
		LogURL: fmt.Sprintf("%s#%d", e.runURL(s.run.ID), j.N),
	}
	switch {
	case j.State == journal.JobWaiting:
		r.State = templates.StateWaiting
		r.Waiting = holder(s, *j.Waiting)
		return r
	case j.State == journal.JobSuperseded || j.Result == nil:
		r.State = templates.StateCancelled
		return r
	}
	r.Changes = templates.Changes(j.Result.Changes)
	r.Evidence = j.Result.Evidence
	if f := j.Result.Failure; f != nil {
		r.Error = &templates.Failure{Summary: f.Summary, Text: f.Text}
		r.Lock = stateLock(f.Lock)
	}
	res, err := runner.LoadResult(j.Job.Dir)
	if err != nil {
		res = runner.Result{Summary: *j.Result} // it never got to run
	}
	r.Text, r.LogCut = res.Text, res.LogCut
	if s.ask.changes() {
		r.State, r.Again = applyState(j.Result.End), isLookedAt(j)
		r.Done, r.Killed = done(res.Resources), j.Result.Killed
		r.Unstored = runner.ErroredState(j.Job.Dir) != ""
		r.PlanKept = s.ask.kind == askApply && lockedOut(res)
		return r
	}
	r.State, r.NoRoom, r.PlanKept = planJobState(*j.Result), isTurnedAway(j), keepsPlan(j)
	for _, c := range res.Resources {
		if c.Action == "replace" || c.Action == "delete" {
			r.Dangers = append(r.Dangers, templates.Danger{Address: c.Address, Action: dangerWord(c.Action), ForcedBy: c.ForcedBy})
		}
	}
	r.LocalState = res.LocalState && !e.Options.LocalState
	return r
}

func holder(s scene, w journal.Waiting) *templates.Holder {
	return &templates.Holder{Ref: s.site.PullRef(w.Pull), URL: w.URL, User: w.User, Since: w.Since, Ahead: w.Ahead}
}

func stateLock(l *runner.StateLock) *templates.StateLock {
	if l == nil {
		return nil
	}
	return &templates.StateLock{ID: l.ID, Who: l.Who, Operation: l.Operation, Since: l.Created, Waited: l.Waited, Forcible: l.Forcible, Left: l.Left != ""}
}

func dangerWord(action string) string {
	if action == "delete" {
		return "destroy"
	}
	return action
}

func planJobState(r runner.Summary) string {
	switch r.End {
	case runner.Succeeded:
		if r.Changes.Empty() {
			return templates.StateNoChanges
		}
		return templates.StateReady
	case runner.Cancelled, runner.NotStarted, runner.Interrupted:
		return templates.StateCancelled
	case runner.Failed, runner.Errored, runner.PartlyApplied, runner.Unknown:
	}
	return templates.StateFailed
}

func applyState(end runner.End) string {
	switch end {
	case runner.Succeeded:
		return templates.StateApplied
	case runner.PartlyApplied:
		return templates.StatePartlyApplied
	case runner.NotStarted:
		return templates.StateNotStarted
	case runner.Cancelled:
		return templates.StateCancelled
	case runner.Interrupted:
		return templates.StateInterrupted
	case runner.Unknown:
		return templates.StateUnknown
	case runner.Failed, runner.Errored:
	}
	return templates.StateFailed
}

func done(list []runner.Resource) []templates.Done {
	var out []templates.Done
	for _, r := range list {
		out = append(out, templates.Done{Address: r.Address, Action: r.Action, Outcome: r.Outcome})
	}
	return out
}

// label is what people call a project.
func label(p runner.Project) string {
	if p.Name != "" {
		return p.Name
	}
	return p.Dir
}

func workspace(p runner.Project) string {
	if p.Workspace == "default" {
		return ""
	}
	return p.Workspace
}

// flags are what names a project in a comment. Its directory alone would stand for all of its
// workspaces, where there are several.
func flags(p runner.Project, several bool) string {
	switch {
	case p.Name != "":
		return command.Flags("", "", p.Name)
	case several:
		return command.Flags(p.Dir, p.Workspace, "")
	default:
		return command.Flags(p.Dir, workspace(p), "")
	}
}

// severalWorkspaces answers the directories that the jobs are in with more than one workspace.
func severalWorkspaces(jobs []journal.Job) map[string]bool {
	first, out := map[string]string{}, map[string]bool{}
	for _, j := range jobs {
		p := j.Job.Project
		if ws, ok := first[p.Dir]; ok && ws != p.Workspace {
			out[p.Dir] = true
		}
		first[p.Dir] = p.Workspace
	}
	return out
}

func (e *Engine) sayProblems(s scene, m workdir.Merge, bad *project.ProblemsError) say {
	var rows []templates.Problem
	for _, p := range bad.Problems {
		rows = append(rows, templates.Problem{
			Where: where(p), URL: s.site.FileURL(s.pull.Repo, m.Head, bad.File, p.Line), Key: p.Key, Text: p.Text,
		})
	}
	return func(f templates.Footer) string {
		return templates.Problems{Command: title(s.ask.name), File: bad.File, Rows: rows, Footer: f}.Render()
	}
}

func where(p project.Problem) string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("line %d", p.Line)
	default:
		return fmt.Sprintf("line %d, column %d", p.Line, p.Column)
	}
}

func (e *Engine) sayConflict(s scene, files []string) say {
	return func(f templates.Footer) string {
		return templates.Conflict{Command: title(s.ask.name), Files: files, BaseRef: s.pull.Base.Ref, Footer: f}.Render()
	}
}

func (e *Engine) sayNothing(st stage, files int) say {
	example := ""
	for _, p := range st.config.Projects {
		example = flags(identity(p), true)
		break
	}
	if example == "" {
		for _, f := range st.tree.Files() {
			if strings.HasSuffix(f, ".tf") {
				example = command.Flags(filepath.ToSlash(filepath.Dir(f)), "", "")
				break
			}
		}
	}
	return func(f templates.Footer) string {
		return templates.NothingTouched{Files: files, Flags: example, Footer: f}.Render()
	}
}

func (e *Engine) sayTarget(s scene, bad *project.TargetError) say {
	return func(f templates.Footer) string {
		return templates.TargetUnknown{
			Command: title(s.ask.name), Headline: bad.Headline, Detail: bad.Detail, There: bad.There, More: bad.More,
			Flag: bad.Flag, Suggestion: bad.Suggestion, Footer: f,
		}.Render()
	}
}

func (e *Engine) sayNoPlan(s scene, all []standing) say {
	if len(all) == 0 {
		return sayRefusal("Apply not run: nothing is planned", "There is no plan that could be applied. Comment `plan` first.")
	}
	var have []string
	for _, st := range all {
		have = append(have, templates.Code(cmdApply+" "+flags(st.project, false)))
	}
	return sayRefusal("Apply not run: no plan is for "+templates.Code(s.ask.cmd.Line), "What is planned here: "+strings.Join(have, ", ")+".")
}

func (e *Engine) sayAllDone(more ...string) say {
	return sayRefusal("Apply: there is nothing left to apply", append([]string{"Everything that is planned is applied already, or has no changes."}, more...)...)
}

func (e *Engine) sayApplyRefused(s scene, list []candidate) say {
	var rows []templates.Refused
	for _, c := range list {
		row := templates.Refused{Label: label(c.project), Workspace: workspace(c.project), Flags: flags(c.project, false)}
		if c.refused != nil {
			row.State, row.Why, row.Moved = c.refused.state, c.refused.why, c.refused.moved
			if w := c.refused.waiting; w != nil {
				row.Waiting = holder(s, *w)
			}
		}
		rows = append(rows, row)
	}
	return func(f templates.Footer) string {
		return templates.ApplyRefused{Rows: rows, Footer: f}.Render()
	}
}

func (e *Engine) sayUnlocked(freed locking.Freed, plans []journal.Plan, kept map[runner.Project]bool) say {
	note := ""
	if len(kept) > 0 {
		note = unstoredWords(kept)
	}
	var labels []string
	for _, l := range freed.Locks {
		labels = append(labels, label(projectOf(l.Key)))
	}
	slices.Sort(labels)
	return func(f templates.Footer) string {
		return templates.Unlocked{Labels: labels, Plans: len(plans), Left: len(freed.Left), Note: note, Footer: f}.Render()
	}
}

func sayUnlockRefused(s scene) say {
	u := templates.UnlockRefused{}
	switch s.beside {
	case cmdStatePush:
		u.Pushes = true
	case cmdForceUnlock:
		u.Breaks = true
	}
	return func(f templates.Footer) string {
		u.Footer = f
		return u.Render()
	}
}

func (e *Engine) sayHelp() say {
	var rows []templates.HelpRow
	for _, r := range command.Help() {
		rows = append(rows, templates.HelpRow{Command: r.Command, What: r.What})
	}
	return func(f templates.Footer) string {
		return templates.Help{Executable: e.Options.Executable, Rows: rows, Footer: f}.Render()
	}
}

func sayWrong(w *command.Error) say {
	return func(f templates.Footer) string {
		return templates.Wrong{Headline: w.Headline, Detail: w.Detail, Usage: w.Usage, Suggestion: w.Suggestion, Footer: f}.Render()
	}
}

func wrong(err error) *command.Error {
	var w *command.Error
	if errors.As(err, &w) {
		return w
	}
	return &command.Error{Headline: err.Error()}
}

func sayRefusal(headline string, body ...string) say {
	return func(f templates.Footer) string {
		return templates.Refusal{Headline: headline, Body: body, Footer: f}.Render()
	}
}

// sayLostSubmodule says which submodule keeps everything from being run.
func sayLostSubmodule(s scene, lost *workdir.SubmoduleError) say {
	const most = 400
	body := []string{"The submodule " + templates.Code(lost.Path) + " " + templates.Sentence(lost.Why) + ". Nothing was run, and no lock was taken."}
	if said := []rune(lost.Said()); len(said) > 0 {
		body = append(body, "It was said: "+templates.Code(string(said[:min(len(said), most)])))
	}
	return sayRefusal(title(s.ask.name)+" not run: a submodule can't be had", body...)
}

// submoduleNote tells of submodules in a project that are empty directories.
func (e *Engine) submoduleNote(ctx context.Context, s scene, jobs []journal.Job) string {
	if e.Options.Submodules || !s.ask.plans() || s.run.Tree == "" {
		return ""
	}
	t, err := e.Work.Tree(ctx, s.repo, s.run.Tree)
	if err != nil {
		return "" // it is only a hint
	}
	var empty []string
	for _, sub := range t.Submodules() {
		if slices.ContainsFunc(jobs, func(j journal.Job) bool {
			return j.Job.Project.Dir == "." || strings.HasPrefix(sub, j.Job.Project.Dir+"/") || j.Result != nil && j.Result.End == runner.Failed
		}) {
			empty = append(empty, sub)
		}
	}
	return templates.SubmodulesNote(empty)
}

func (e *Engine) sayInternal(run string) say {
	return func(f templates.Footer) string {
		f.Ran = true
		return templates.Internal{Run: run, Footer: f}.Render()
	}
}

func (e *Engine) sayProgress(s scene, over, total int) say {
	return func(f templates.Footer) string {
		f.Ran = true
		return templates.Progress{Command: s.ask.name, Done: over, Total: total, Footer: f}.Render()
	}
}

func sayNotice(n noticeText) say {
	return func(f templates.Footer) string {
		return templates.Notice{Headline: n.headline, Body: []string{n.body}, Footer: f}.Render()
	}
}

func releaseNotice(p runner.Project, by string) noticeText {
	return noticeText{
		headline: fmt.Sprintf("The lock on %s was released by %s", templates.Code(label(p)), templates.Code(by)),
		body:     "It was released on Tidegate's locks page, and the plan of this pull request was discarded. Comment `plan` to plan again.",
	}
}

// codes writes foreign words as a list.
func codes(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, templates.Code(w))
	}
	return strings.Join(out, ", ")
}
