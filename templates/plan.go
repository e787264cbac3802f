package templates

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Render writes the comment.
func (p Plan) Render() string {
	jobs := order(p.Jobs)
	head := p.headline(jobs) + intro(jobs)
	var rows []string
	if busy := changing(jobs); len(jobs) > 1 && len(busy) > 0 {
		head += "\n| Project | Changes | State |\n|---|---|---|\n"
		for _, j := range busy {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", j.cell(), j.Changes.words(bold), j.stateCell()))
		}
	}
	below := ""
	if clean := in(jobs, StateNoChanges); len(rows) > 0 && len(clean) > 0 {
		below = fmt.Sprintf("\nWithout changes (%d): %s%s\n", len(clean), names(clean), unlocked(clean))
	}
	tail := paragraphs(p.Notes...) + paragraphs(cutLogs(jobs)) + stateLocks(jobs, p.Now) + p.lines(sentences(p.waiting(jobs), hint(jobs)))
	return comment{head: head, rows: rows, below: below, folds: planFolds(jobs), tail: tail, limit: p.CommentLimit, log: p.LogURL}.fit()
}

func (p Plan) headline(jobs []Job) string {
	if len(jobs) == 1 {
		return "### Plan for " + jobs[0].name() + ": " + jobs[0].news() + "\n"
	}
	count := tally(jobs, [2]string{StateReady, "ready"}, [2]string{StateFailed, "failed"}, [2]string{StateWaiting, "waiting"},
		[2]string{StateCancelled, "cancelled"}, [2]string{StateNoChanges, "without changes"})
	if all(jobs, StateNoChanges) {
		count = "no changes"
	}
	return fmt.Sprintf("### Plan for %d projects: %s\n", len(jobs), count)
}

// news is what became of the only project of a plan.
func (j Job) news() string {
	switch {
	case j.State == StateReady && !j.Changes.Known:
		return "ready"
	case j.State == StateReady:
		return j.Changes.words(plain)
	case j.State == StateWaiting && j.Waiting != nil:
		return "waiting for " + j.Waiting.link()
	case j.State == StateFailed && j.Lock != nil:
		return "failed, its state is locked"
	case j.State == StateFailed && j.Error != nil:
		return "failed, " + Code(j.Error.Summary)
	}
	return j.State
}

func (j Job) stateCell() string {
	switch {
	case j.State == StateWaiting && j.Waiting != nil:
		return "waiting for " + j.Waiting.link()
	case j.State == StateFailed || j.State == StatePartlyApplied || j.State == StateUnknown || j.State == StateInterrupted:
		return link(bold(j.State), j.LogURL)
	case j.State == StateCancelled || j.State == StateNotStarted:
		return j.State
	}
	return link(j.State, j.LogURL)
}

func (h Holder) link() string { return link(clean(h.Ref, false), h.URL) }

// intro is what has to be known before the table: what would be taken away, or that nothing is.
func intro(jobs []Job) string {
	const most = 40
	var dangers []string
	n := 0
	for _, j := range jobs {
		if len(j.Dangers) == 0 {
			continue
		}
		if n++; n <= most {
			dangers = append(dangers, "- "+j.name()+": "+dangerList(j.Dangers))
		}
	}
	if n > most {
		dangers = append(dangers, fmt.Sprintf("- and in %s more, in the table below", counted(n-most, "project")))
	}
	switch {
	case n > 0 && len(jobs) == 1:
		return "**Look at these first:** " + dangerList(jobs[0].Dangers) + ".\n"
	case n > 0:
		return fmt.Sprintf("**Destroys and replacements in %s. Look at these first:**\n\n%s\n", counted(n, "project"), strings.Join(dangers, "\n"))
	case all(jobs, StateNoChanges):
		match := "match"
		if len(jobs) == 1 {
			match = "matches"
		}
		return names(jobs) + " already " + match + " the configuration. There is nothing to apply" + unlocked(jobs) + "\n"
	case len(jobs) == 1 && jobs[0].State == StateReady && !jobs[0].Changes.Known && !jobs[0].LocalState:
		return "What this plan changes can't be read from it; terraform's own text tells it. Ready to apply.\n"
	case len(jobs) == 1 && jobs[0].State == StateReady && jobs[0].LocalState:
		return "Nothing is replaced or destroyed, but it can't be applied as it is.\n"
	case len(jobs) == 1 && jobs[0].State == StateReady:
		return "Nothing is replaced or destroyed. Ready to apply.\n"
	}
	return ""
}

// unlocked says what becomes of the locks of projects without changes.
func unlocked(jobs []Job) string {
	kept, whose := 0, "their locks are"
	for _, j := range jobs {
		if j.Kept {
			kept++
		}
	}
	if len(jobs) == 1 {
		whose = "its lock is"
	}
	switch kept {
	case 0:
		return ", and " + whose + " free again."
	case len(jobs):
		return ". " + strings.ToUpper(whose[:1]) + whose[1:] + " kept until the merge, because this pull request has applied there."
	}
	return ". Their locks are free again, but for those of projects that this pull request has applied."
}

// LeftNote says on a plan that it follows an apply whose end nobody saw; runURL is where that is told.
func LeftNote(runURL string) string {
	return "This shows what is left of " + link("the apply whose end is not known", runURL) + ". What it was making when it died " +
		"may be there and in no state: look at what is really there before you apply."
}

// SubmodulesNote tells of submodules that are empty directories; "" for none.
func SubmodulesNote(paths []string) string {
	const most = 5
	if len(paths) == 0 {
		return ""
	}
	var names []string
	for _, p := range paths[:min(most, len(paths))] {
		names = append(names, Code(p))
	}
	if more := len(paths) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return "Submodules are empty directories here: " + strings.Join(names, ", ") + ". Who runs this server can have them fetched (`--submodules`)."
}

// MergingNote says what comes after an apply that left nothing to apply.
func MergingNote(base string) string {
	return "Nothing is left to apply: this is merged into " + Code(base) + " next."
}

// UnmergedNote says why what is applied is not merged by itself. why is as for NotMergedNote.
func UnmergedNote(why string) string { return "This is not merged by itself: " + Sentence(why) + "." }

// NotMergedNote says why a pull request was not merged that everything is applied of. why is a sentence of ours, without a
// full stop, in which foreign text stands between backticks.
func NotMergedNote(why string) string {
	return "Why: " + Sentence(why) + ".\n\nMerge it here when that is mended, or comment `apply` to have it tried once more."
}

// CircleNote says who holds what in a circle of pull requests that wait for each other, and how it ends.
func CircleNote(holds []Hold) string {
	var parts []string
	for _, h := range holds {
		parts = append(parts, fmt.Sprintf("%s holds %s, which %s waits for", h.Holder.link(), Code(h.Label), h.Waiter.link()))
	}
	return strings.Join(parts, "; ") + ". None of them can go on by itself: comment `unlock` in one of them."
}

// dangerList names what would be replaced and destroyed; of many of a kind the first.
func dangerList(list []Danger) string {
	var out []string
	for _, action := range []string{"replace", "destroy"} {
		var these []Danger
		for _, d := range list {
			if d.Action == action {
				these = append(these, d)
			}
		}
		for i, d := range these {
			if i == 1 && len(these) > 3 {
				out[len(out)-1] += fmt.Sprintf(" and %d more, all named in its plan", len(these)-i)
				break
			}
			s := action + " " + Code(d.Address)
			if len(d.ForcedBy) > 0 {
				s += " (" + Code(d.ForcedBy[0]) + " forces it)"
			}
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

// changing are the jobs with something to tell.
func changing(jobs []Job) []Job {
	var out []Job
	for _, j := range jobs {
		if j.State != StateNoChanges {
			out = append(out, j)
		}
	}
	return out
}

// waiting says what comes next for the projects that wait, and when.
func (p Plan) waiting(jobs []Job) string {
	const most = 20
	var waiters []Job
	var holders []string
	seen := map[string]bool{}
	for _, j := range in(jobs, StateWaiting) {
		if j.Waiting == nil {
			continue
		}
		waiters = append(waiters, j)
		if h := j.Waiting.words(p.Now); !seen[h] && len(seen) <= most {
			seen[h] = true
			holders = append(holders, h)
		}
	}
	if len(holders) > most {
		holders[most] = "others"
	}
	switch {
	case len(waiters) == 0:
		return ""
	case len(waiters) == 1:
		return names(waiters) + " is planned by itself when " + holders[0] + " lets go."
	case len(holders) == 1:
		return names(waiters) + " are planned by themselves when " + holders[0] + " lets go."
	}
	return names(waiters) + " are planned by themselves when " + enumerate(holders) + " let go."
}

// words say who holds a lock since when, and who goes before us.
func (h Holder) words(now time.Time) string {
	var by string
	switch {
	case h.User != "" && !h.Since.IsZero():
		by = "held by " + Code(h.User) + " since " + clock(h.Since, now) + ", "
	case h.User != "":
		by = "held by " + Code(h.User) + ", "
	}
	switch h.Ahead {
	case 0:
		by += "this pull request is next"
	case 1:
		by += "1 other is ahead"
	default:
		by += fmt.Sprintf("%d others are ahead", h.Ahead)
	}
	return h.link() + " (" + by + ")"
}

// clock is a time of today, or with its day.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if now.IsZero() || t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04 UTC")
	}
	return t.Format("2 Jan 15:04 UTC")
}

// hint says what can be done now.
func hint(jobs []Job) string {
	ready, open := in(jobs, StateReady), changing(jobs)
	failed := slices.DeleteFunc(mendable(jobs), func(j Job) bool { return j.NoRoom })
	var local, able []Job
	for _, j := range ready {
		if j.LocalState {
			local = append(local, j)
		} else {
			able = append(able, j)
		}
	}
	var out []string
	if len(local) > 0 {
		out = append(out, "The state of "+names(local)+" would be lost with the checkout, so it is not applied: give it a backend, or start the server with `--allow-local-state`.")
	}
	switch {
	case len(able) == 0:
	case len(able) == len(open):
		return "To apply, comment `apply`. To plan again, comment `plan`. To give up the lock and this plan, comment `unlock`."
	default:
		out = append(out, fmt.Sprintf("`apply` alone needs all %d to be ready; what is ready can go now: %s.", len(open), Code("apply "+able[len(able)-1].Flags)))
	}
	switch {
	case len(failed) == 1 && len(jobs) == 1:
		out = append(out, "Push a fix, and it is planned again.")
	case len(failed) == 1:
		out = append(out, "Push a fix for "+names(failed)+", and it is planned again.")
	case len(failed) > 1:
		out = append(out, "Push a fix for what failed, and it is planned again.")
	}
	out = append(out, turnedAway(jobs)...)
	if len(jobs) == len(in(jobs, StateWaiting)) {
		out = append(out, "To stop waiting, comment `unlock`.")
	}
	if len(jobs) == len(in(jobs, StateCancelled)) {
		out = append(out, "To plan again, comment `plan`.")
	}
	return sentences(out...)
}

// turnedAway says how it goes on with what there was no room for.
func turnedAway(jobs []Job) []string {
	var away, kept []Job
	for _, j := range jobs {
		if j.NoRoom {
			away = append(away, j)
		}
		if j.NoRoom && j.PlanKept {
			kept = append(kept, j)
		}
	}
	if len(away) == 0 {
		return nil
	}
	out := []string{"Nothing was begun for " + names(away) + ". When there is room again, comment `plan`."}
	if len(kept) > 0 {
		out = append(out, "The plan of "+names(kept)+" from before stays as it is.")
	}
	return out
}
