package templates

import (
	"fmt"
	"slices"
	"time"
)

// StateLock is terraform's own lock of a state, held by somebody else. What is not known is zero.
type StateLock struct {
	ID, Who string
	// Operation is terraform's word: OperationTypeApply.
	Operation string
	Since     time.Time
	// Waited is how long was waited for it.
	Waited time.Duration
	// Forcible: it can be broken by a command.
	Forcible bool
	// Left: a job of ours that is dead has left it.
	Left bool
}

// stateLocks says of every project whose state is locked who has done that, and what to do.
func stateLocks(jobs []Job, now time.Time) string {
	const most = 20
	var out []string
	locked := lockedOut(jobs)
	for i, j := range locked {
		if i == most {
			out = append(out, fmt.Sprintf("The states of %s are locked, too: see their logs.", counted(len(locked)-i, "more project")))
			break
		}
		out = append(out, sentences(
			"**The state of "+j.name()+" is locked** "+j.Lock.words(now)+".",
			j.Lock.waited(),
			j.force(),
		))
	}
	return paragraphs(out...)
}

// force says what to do about a lock.
func (j Job) force() string {
	again, then := "When that is done, comment "+Code("plan "+j.Flags)+".", ""
	if j.PlanKept {
		again = "The plan is kept: when that is done, comment " + Code("apply "+j.Flags) + "."
		then = " The plan is kept: comment " + Code("apply "+j.Flags) + " then."
	}
	switch {
	case !j.Lock.Forcible:
		return again
	case j.Lock.Left:
		return "A job of Tidegate that died has left it: comment " + Code("force-unlock "+j.Flags) + " to break that lock." + then
	}
	return again + " Only if whatever holds it is surely dead, comment " + Code("force-unlock "+j.Flags) + " to break that lock."
}

// ReleasedNote says that the lock of a state was broken; runURL is the run whose dead job has left it.
func ReleasedNote(project, id, runURL string) string {
	return "The state of " + Code(project) + " was still locked by " + link("a job of Tidegate that died", runURL) +
		"; that lock (" + Code(id) + ") was broken before it was planned."
}

// unstored says of every project whose state an apply could not store where it is, and what to do.
func unstored(jobs []Job) string {
	var out []string
	for _, j := range jobs {
		if j.Unstored {
			out = append(out, "**terraform could not store the state of "+j.name()+".** What it made is known only to the copy that Tidegate keeps. "+
				"When the backend takes writes again, comment "+Code("state push "+j.Flags)+", before anything is planned or applied there.")
		}
	}
	return paragraphs(out...)
}

// stored are the jobs whose state is where it belongs.
func stored(jobs []Job) []Job {
	return slices.DeleteFunc(slices.Clone(jobs), func(j Job) bool { return j.Unstored })
}

// lockedOut are the jobs that did not get the lock of their state.
func lockedOut(jobs []Job) []Job {
	var out []Job
	for _, j := range jobs {
		if j.Lock != nil {
			out = append(out, j)
		}
	}
	return out
}

// mendable are failed jobs that somebody can do something about in the files.
func mendable(jobs []Job) []Job {
	var out []Job
	for _, j := range in(stored(jobs), StateFailed) {
		if j.Lock == nil {
			out = append(out, j)
		}
	}
	return out
}

func (l StateLock) waited() string {
	if l.Waited < time.Second {
		return "Nothing was changed."
	}
	return fmt.Sprintf("Tidegate waited %.0f s for it, and nothing was changed.", l.Waited.Seconds())
}

// words say who holds it since when, for what.
func (l StateLock) words(now time.Time) string {
	s := "by " + Code(l.Who)
	if l.Who == "" {
		s = "by somebody else; terraform does not tell by whom"
	}
	if !l.Since.IsZero() {
		s += " since " + clock(l.Since, now)
	}
	switch l.Operation {
	case "":
	case "OperationTypeApply":
		s += ", for an apply"
	case "OperationTypePlan":
		s += ", for a plan"
	default:
		s += ", for " + Code(l.Operation)
	}
	if l.ID != "" {
		s += " (lock " + Code(l.ID) + ")"
	}
	return s
}
