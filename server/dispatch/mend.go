package dispatch

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// decideMend answers which one project's state is mended. What is done to it never comes from the comment:
// the lock is the one that the newest answer for the project told of, the state the one that an apply of
// this pull request could not store.
func (e *Engine) decideMend(ctx context.Context, s scene) (verdict, error) {
	name := title(s.ask.name)
	if why := e.tooOld(s); why != "" {
		return verdict{answer: sayRefusal(name+" not run: "+why, "Comment again to have it run now."), outcome: why}, nil
	}
	found, err := e.mendable(ctx, s)
	if err != nil {
		return verdict{}, err
	}
	switch {
	case len(found) > 1:
		return verdict{answer: sayRefusal(name+" not run: it is for one project", "Name one with `-d`, `-w` or `-p`: "+e.named(found)+"."), outcome: "several projects"}, nil
	case len(found) == 1:
	case s.ask.name == cmdStatePush:
		return verdict{answer: sayRefusal(name+" not run: no state is kept for "+templates.Code(s.ask.cmd.Line),
			"Tidegate keeps a state only when an apply of this pull request could not store it, and until it is stored."), outcome: "no state is kept"}, nil
	default:
		return verdict{answer: sayRefusal(name+" not run: no lock was told of for "+templates.Code(s.ask.cmd.Line),
			"It breaks only the lock that the newest answer for the project on this pull request tells of, and only what terraform can break. Plan again to see who holds the state now."), outcome: "no lock was told of"}, nil
	}
	from := found[0].Job
	j := runner.Job{Action: s.ask.mends(), Project: from.Project, Tool: from.Tool, Checkout: from.Checkout, DataDir: from.DataDir, StateDir: from.StateDir}
	if s.ask.name == cmdStatePush {
		j.StateFile = runner.ErroredState(from.Dir)
	} else {
		j.LockID = found[0].Result.Failure.Lock.ID
	}
	v := verdict{run: s.run, jobs: []journal.Job{{Job: j}}}
	v.run.Head, v.run.Targeted = s.pull.Head.SHA, true
	return v, nil
}

func (e *Engine) named(found []journal.Job) string {
	var flagged []string
	for _, j := range found {
		flagged = append(flagged, flags(j.Job.Project, true))
	}
	return codes(flagged)
}

// mendable are the jobs, one of each project that is meant, whose state can be mended.
func (e *Engine) mendable(ctx context.Context, s scene) ([]journal.Job, error) {
	jobs, err := e.ran(ctx, s.pull.ID())
	if err != nil {
		return nil, err
	}
	var all []standing
	for _, j := range jobs {
		all = append(all, standing{project: j.Job.Project})
	}
	var out []journal.Job
	seen := map[runner.Project]bool{}
	for _, j := range jobs {
		p := j.Job.Project
		if seen[p] || !meant(s.ask.cmd, p, all) {
			continue
		}
		if s.ask.name == cmdStatePush {
			if runner.ErroredState(j.Job.Dir) == "" {
				continue // an older apply's may still be kept
			}
			seen[p] = true
			out = append(out, j)
			continue
		}
		seen[p] = true
		if f := j.Result.Failure; f != nil && f.Lock != nil && f.Lock.Forcible {
			out = append(out, j)
		}
	}
	return out, nil
}

// ran are the jobs of a pull request that ended and may have done something, newest first.
func (e *Engine) ran(ctx context.Context, id vcs.PullID) ([]journal.Job, error) {
	runs, err := e.Journal.Runs(ctx, journal.Filter{Pull: &id})
	if err != nil {
		return nil, err
	}
	var out []journal.Job
	for _, r := range runs {
		jobs, err := e.Journal.Jobs(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		for _, j := range jobs {
			if j.Result != nil && j.Result.End != runner.NotStarted && j.Job.Checkout != "" {
				out = append(out, j)
			}
		}
	}
	return out, nil
}

// unstored are the projects of a pull request with a state that an apply could not store.
func (e *Engine) unstored(ctx context.Context, id vcs.PullID) (map[runner.Project]bool, error) {
	jobs, err := e.ran(ctx, id)
	if err = e.spare(ctx, err); err != nil {
		return nil, err
	}
	out := map[runner.Project]bool{}
	for _, j := range jobs {
		if runner.ErroredState(j.Job.Dir) != "" {
			out[j.Job.Project] = true
		}
	}
	return out, nil
}

// unstoredElsewhere are the directories and workspaces of a repository whose state an apply of another pull request could not store,
// with its number. Its lock may be gone by an unlock or a close; what it made is known only to that copy all the same.
func (e *Engine) unstoredElsewhere(ctx context.Context, id vcs.PullID) (map[runner.Project]int, error) {
	dirs, err := e.Runner.ErroredStates()
	if err != nil {
		return nil, err
	}
	out := map[runner.Project]int{}
	for _, dir := range dirs {
		r, ok, err := e.Journal.Run(ctx, filepath.Base(filepath.Dir(dir)))
		if err = e.spare(ctx, err); err != nil {
			return nil, err
		}
		if !ok || r.Pull == id || r.Pull.Repo != id.Repo {
			continue
		}
		jobs, err := e.Journal.Jobs(ctx, r.ID)
		if err = e.spare(ctx, err); err != nil {
			return nil, err
		}
		for _, j := range jobs {
			if j.Job.Dir == dir && runner.ErroredState(dir) != "" {
				out[place(j.Job.Project)] = r.Pull.Number
			}
		}
	}
	return out, nil
}

// kept answers why a project is not applied: an apply could not store the state that is in its place, whatever the project was
// called then. "" when it was stored.
func (e *Engine) kept(ctx context.Context, s scene) (func(runner.Project) string, error) {
	here, err := e.unstored(ctx, s.pull.ID())
	if err != nil {
		return nil, err
	}
	elsewhere, err := e.unstoredElsewhere(ctx, s.pull.ID())
	if err != nil {
		return nil, err
	}
	return func(p runner.Project) string {
		if same := inPlace(here, p); len(same) > 0 {
			return unstoredWords(same)
		}
		if n := elsewhere[place(p)]; n != 0 {
			return e.elsewhereWords(s, p, n)
		}
		return ""
	}, nil
}

// inPlace are those that have their state where a project has it.
func inPlace(list map[runner.Project]bool, p runner.Project) map[runner.Project]bool {
	out := map[runner.Project]bool{}
	for other := range list {
		if place(other) == place(p) {
			out[other] = true
		}
	}
	return out
}

// place is where the state of a project is, whatever it is called.
func place(p runner.Project) runner.Project {
	return runner.Project{Dir: p.Dir, Workspace: p.Workspace}
}

// carryMends runs what mends a state. It is never run twice: what an earlier process began is taken up.
func (e *Engine) carryMends(ctx context.Context, s scene, jobs []journal.Job) (_ []journal.Job, err error) {
	for i, j := range jobs {
		switch {
		case j.State == journal.JobRunning:
			jobs[i], err = e.adopt(ctx, s, j)
		case !j.Open():
		case e.tooOld(s) != "":
			jobs[i], err = e.ended(ctx, j, *notStarted(e.tooOld(s)))
		default:
			jobs[i], err = e.oneMend(ctx, s, j)
		}
		if err != nil {
			return nil, err
		}
	}
	return jobs, nil
}

func (e *Engine) oneMend(ctx context.Context, s scene, j journal.Job) (journal.Job, error) {
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
	return e.start(ctx, s, stage{}, workdir.Checkout{}, j)
}

// prepareMend checks what may have gone since it was decided.
func prepareMend(j journal.Job) (journal.Job, *runner.Summary, error) {
	if _, err := os.Stat(filepath.Join(j.Job.Checkout, filepath.FromSlash(j.Job.Project.Dir))); err != nil {
		return j, notStarted("the files of its last plan are gone; plan it again"), nil
	}
	if j.Job.Action == runner.StatePush {
		if _, err := os.Stat(j.Job.StateFile); err != nil {
			return j, notStarted("the state is not kept here any more"), nil
		}
	}
	return j, nil, nil
}

// mendDone lets go of what was taken for a mend only. A closed pull request whose last state is stored
// needs its files no more.
func (e *Engine) mendDone(ctx context.Context, s scene) error {
	if s.pull.State == vcs.Open {
		return e.freeIdle(ctx, s)
	}
	keys, err := e.heldKeys(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	var free []locking.Key
	for k := range keys {
		free = append(free, k)
	}
	if err := e.free(ctx, s, free, "the pull request is "+string(s.pull.State)); err != nil {
		return err
	}
	kept, err := e.unstored(ctx, s.pull.ID())
	if err == nil && len(kept) == 0 {
		e.sweep(ctx, s)
	}
	return err
}

// sweep removes the checkouts of a closed pull request.
func (e *Engine) sweep(ctx context.Context, s scene) {
	if err := e.Work.Remove(ctx, s.repo, s.pull.Number); err != nil {
		e.Log.WarnContext(ctx, "removing checkouts", "pull", s.pull.ID().String(), "err", err)
	}
}

func unstoredNotice(s scene, kept map[runner.Project]bool) noticeText {
	return noticeText{
		headline: fmt.Sprintf("This pull request is %s, and a state of it is not stored", s.pull.State),
		body:     unstoredWords(kept) + " The files that are needed for it are kept until then.",
	}
}

// unstoredNote says on a plan that the state it was made from is not the newest.
func (e *Engine) unstoredNote(ctx context.Context, s scene, jobs []journal.Job) (string, error) {
	if !s.ask.plans() {
		return "", nil
	}
	here, err := e.unstored(ctx, s.pull.ID())
	if err != nil {
		return "", err
	}
	elsewhere, err := e.unstoredElsewhere(ctx, s.pull.ID())
	if err != nil {
		return "", err
	}
	planned := map[runner.Project]bool{}
	var words []string
	for _, j := range jobs {
		p := j.Job.Project
		if same := inPlace(here, p); len(same) > 0 {
			maps.Copy(planned, same)
		} else if n := elsewhere[place(p)]; n != 0 {
			words = append(words, e.elsewhereWords(s, p, n))
		}
	}
	if len(planned) > 0 {
		words = append(words, unstoredWords(planned))
	}
	if len(words) == 0 {
		return "", nil
	}
	return strings.Join(words, " ") + " Until then a plan does not know what was made, and is not applied.", nil
}

// elsewhereWords say of a project whose state is kept for another pull request how it comes to be stored.
func (e *Engine) elsewhereWords(s scene, p runner.Project, number int) string {
	return "An apply of " + s.site.PullRef(number) + " could not store the state of " + templates.Code(label(p)) +
		". What it made is known only to the copy that Tidegate keeps. Comment `unlock` here and " +
		templates.Code(cmdStatePush+" "+flags(p, false)) + " there when the backend takes writes again."
}

// unstoredWords say which states are kept here, and how they are stored.
func unstoredWords(kept map[runner.Project]bool) string {
	var names, push []string
	for p := range kept {
		names, push = append(names, label(p)), append(push, cmdStatePush+" "+flags(p, false))
	}
	return "An apply could not store the state of " + sortedCodes(names) + ". What it made is known only to the copy that Tidegate keeps. Comment " +
		sortedCodes(push) + " when the backend takes writes again."
}

func sortedCodes(words []string) string {
	slices.Sort(words)
	return codes(words)
}

// sayMend is the answer of a run that mends a state.
func (e *Engine) sayMend(s scene, jobs []journal.Job) say {
	j := jobs[0]
	row := e.row(s, j)
	row.Flags = flags(j.Job.Project, false)
	return func(f templates.Footer) string {
		f.Ran = !j.Started.IsZero()
		if v := j.Job.Tool.Version; v != "" {
			f.Tool = j.Job.Tool.String()
		}
		return templates.Mended{Push: j.Job.Action == runner.StatePush, Job: row, LockID: j.Job.LockID, CommentLimit: s.site.CommentLimit, Footer: f}.Render()
	}
}
