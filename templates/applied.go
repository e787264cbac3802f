package templates

import (
	"fmt"
	"slices"
	"strings"
)

// Render writes the comment.
func (a Apply) Render() string {
	jobs := order(a.Jobs)
	head := a.headline(jobs)
	for _, j := range jobs {
		head += j.stopped()
	}
	var rows []string
	if len(jobs) > 1 {
		head += "\n| Project | Done | State |\n|---|---|---|\n"
		for _, j := range jobs {
			rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", j.cell(), j.doneWords(), j.stateCell()))
		}
	}
	tail := paragraphs(a.Notes...) + unstored(jobs) + paragraphs(cutLogs(jobs)) + stateLocks(jobs, a.Now) + a.lines(afterwards(jobs))
	return comment{head: head, rows: rows, folds: applyFolds(jobs), tail: tail, limit: a.CommentLimit, log: a.LogURL}.fit()
}

func (a Apply) headline(jobs []Job) string {
	if len(jobs) == 1 {
		s := "### Apply for " + jobs[0].name() + ": " + jobs[0].State
		if jobs[0].State == StateApplied && jobs[0].Changes.Known {
			s += ", " + jobs[0].Changes.words(plain)
		}
		return s + "\n"
	}
	return fmt.Sprintf("### Apply for %d projects: %s\n", len(jobs), tally(jobs, [2]string{StateApplied, "applied"},
		[2]string{StatePartlyApplied, "partly applied"}, [2]string{StateFailed, "failed"}, [2]string{StateInterrupted, "interrupted"},
		[2]string{StateUnknown, "unknown"}, [2]string{StateNotStarted, "not started"}, [2]string{StateCancelled, "cancelled"}))
}

// stopped says of an apply that did not come to its end what that means.
func (j Job) stopped() string {
	const stays = "Nothing is tried again by itself; the lock on %s stays with this pull request.\n"
	switch j.State {
	case StatePartlyApplied:
		return "**" + j.name() + " stopped half-way:** " + j.score() + fmt.Sprintf(stays, j.name())
	case StateInterrupted:
		return "**" + j.name() + " was interrupted:** " + j.score() + fmt.Sprintf(stays, j.name())
	case StateUnknown:
		return "**How " + j.name() + " ended is not known:** it was started, and nobody saw its end. " + j.glimpse() + fmt.Sprintf(stays, j.name())
	}
	return ""
}

// score says how far an apply came.
func (j Job) score() string {
	var done, half int
	for _, d := range j.Done {
		switch d.Outcome {
		case outcomeDone:
			done++
		case outcomeHalf:
			half++
		}
	}
	if len(j.Done) == 0 {
		return ""
	}
	if done == 0 && half == 0 {
		return "nothing is done. "
	}
	s := fmt.Sprintf("%d of %s %s done", done, counted(len(j.Done), "change"), isAre(len(j.Done)))
	nth, ok := map[int]string{1: "second", 2: "third", 3: "fourth", 4: "fifth"}[done]
	switch {
	case half == 1 && ok && done == len(j.Done)-1:
		s += ", the " + nth + " is half done"
	case half > 0:
		s += fmt.Sprintf(", %d %s half done", half, isAre(half))
	}
	switch {
	case j.Unstored:
		return s + ". "
	case j.Killed:
		return s + ", as far as its log tells. It was killed: what it did last may be missing in its state. "
	}
	return s + ", and the state says so. "
}

// glimpse says how far an apply was seen to come.
func (j Job) glimpse() string {
	var done, begun int
	for _, d := range j.Done {
		switch d.Outcome {
		case outcomeDone:
			done++
		case outcomeHalf, outcomeFailed:
			begun++
		}
	}
	if len(j.Done) == 0 {
		return ""
	}
	s := fmt.Sprintf("As far as its log tells, %d of %s %s done", done, counted(len(j.Done), "change"), isAre(done))
	if begun > 0 {
		s += fmt.Sprintf(", and %d %s begun", begun, isAre(begun))
	}
	return s + ". "
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// doneWords is the middle column: what is done, and what is half done.
func (j Job) doneWords() string {
	half := 0
	for _, d := range j.Done {
		if d.Outcome == outcomeHalf {
			half++
		}
	}
	done := j.Changes.parts(bold)
	var out []string
	switch {
	case len(done) > 0:
		out = append(out, strings.Join(done, ", "))
	case j.State == StateUnknown:
		return "not known"
	case j.State == StateApplied:
		out = append(out, j.Changes.words(plain))
	case half == 0:
		return "nothing"
	}
	if half > 0 {
		out = append(out, bold(fmt.Sprintf("%d replace %s half done", half, isAre(half))))
	}
	return strings.Join(out, "; ")
}

// The outcomes of a resource that are told.
const (
	outcomeDone   = "done"
	outcomeHalf   = "half done"
	outcomeFailed = "failed"
)

// mostDone is how many resources are named of each outcome.
const mostDone = 50

// doneList tells resource by resource what an apply did before it stopped.
func (j Job) doneList() string {
	again := "creating it again failed"
	if j.State == StateUnknown {
		again = "creating it again was not seen to end"
	}
	var done, half, begun, rest []string
	for _, d := range j.Done {
		switch {
		case d.Outcome == outcomeDone:
			done = append(done, past(d.Action)+" "+Code(d.Address))
		case d.Outcome == outcomeHalf:
			half = append(half, "- **Half done:** "+Code(d.Address)+" was destroyed; "+again+"\n")
		case j.State != StateUnknown:
		case d.Outcome == outcomeFailed:
			begun = append(begun, present(d.Action)+" "+Code(d.Address))
		case d.isTold():
			rest = append(rest, present(d.Action)+" "+Code(d.Address))
		}
	}
	var b strings.Builder
	b.WriteString(doneLine("Done:", done))
	if n := len(half); n > mostDone {
		half = append(half[:mostDone], fmt.Sprintf("- and %d more are half done\n", n-mostDone))
	}
	b.WriteString(strings.Join(half, ""))
	b.WriteString(doneLine("**Begun, and not seen to end:**", begun))
	b.WriteString(doneLine("Not begun, as far as its log tells:", rest))
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

func doneLine(what string, list []string) string {
	if len(list) == 0 {
		return ""
	}
	if n := len(list); n > mostDone {
		list = append(list[:mostDone:mostDone], fmt.Sprintf("and %d more", n-mostDone))
	}
	return "- " + what + " " + strings.Join(list, ", ") + "\n"
}

// isTold reports that terraform says when it begins that.
func (d Done) isTold() bool {
	switch d.Action {
	case "create", "update", "delete", "replace":
		return d.Outcome == ""
	}
	return false
}

func past(action string) string {
	switch action {
	case "create":
		return "created"
	case "update":
		return "changed"
	case "delete":
		return "destroyed"
	case "replace":
		return "replaced"
	case "import":
		return "imported"
	case "move":
		return "moved"
	case "forget":
		return "forgot"
	}
	return "did " + Code(action)
}

func present(action string) string {
	switch action {
	case "create":
		return "creating"
	case "update":
		return "changing"
	case "delete":
		return "destroying"
	case "replace":
		return "replacing"
	}
	return Code(action)
}

// afterwards says what to do next.
func afterwards(jobs []Job) string {
	var out []string
	known := stored(jobs)
	stopped := append(in(known, StatePartlyApplied), in(known, StateInterrupted)...)
	switch {
	case len(stopped) == 1:
		out = append(out, "Mend the cause, then comment "+Code("plan "+stopped[0].Flags)+": the new plan shows only what is left.")
	case len(stopped) > 1:
		out = append(out, "Mend the causes, then comment `plan`: the new plans show only what is left.")
	}
	out = append(out, lostWords(in(known, StateUnknown)))
	if failed := mendable(jobs); len(failed) > 0 {
		out = append(out, "Nothing of what failed was changed. Mend the cause, then comment "+Code("plan "+failed[0].Flags)+".")
	}
	kept := slices.DeleteFunc(in(jobs, StateNotStarted), func(j Job) bool { return j.Error != nil })
	kept = append(kept, in(jobs, StateCancelled)...)
	if all(jobs, StateCancelled) {
		out = append(out, "Nothing was changed, and the "+plural(len(jobs), "plan")+" "+isAre(len(jobs))+" kept. To apply all the same, comment `apply`.")
	}
	if len(kept) > 0 && len(kept) < len(jobs) {
		out = append(out, "The "+plural(len(kept), "plan")+" of "+names(kept)+" "+isAre(len(kept))+" kept, and "+isAre(len(kept))+" checked again before "+itThey(len(kept))+" applied.")
	}
	if all(jobs, StateApplied) {
		out = append(out, "What was applied stays locked until this pull request is merged or closed.")
	}
	return sentences(out...)
}

// lostWords say how it is found out what is left of applies that nobody saw the end of.
func lostWords(lost []Job) string {
	var again []Job
	for _, j := range lost {
		if j.Again {
			again = append(again, j)
		}
	}
	switch {
	case len(lost) == 0:
		return ""
	case len(again) == 0:
		return "Comment " + Code("plan "+lost[0].Flags) + " to see what is left to do."
	}
	return names(again) + " " + isAre(len(again)) + " planned again now, and the next answer shows what is left to do. Nothing is applied until somebody asks for it."
}

func itThey(n int) string {
	if n == 1 {
		return "it is"
	}
	return "they are"
}
