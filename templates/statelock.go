package templates

import (
	"fmt"
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
			"When that is done, comment "+Code("plan "+j.Flags)+".",
		))
	}
	return paragraphs(out...)
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
	for _, j := range in(jobs, StateFailed) {
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
