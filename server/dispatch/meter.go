package dispatch

import "time"

// Meter hears what is worth counting. Its methods do not block.
type Meter interface {
	// Took says how long something took: Answered.
	Took(what string, d time.Duration)
	// Happened says that something happened that should be seldom: Adopted, Interrupted, Unknown.
	Happened(what string)
}

// What a Meter hears of.
const (
	// Answered: an answer stands on its pull request, so long after it was ready.
	Answered = "answer"
	// Adopted: an apply that an earlier process began was taken over.
	Adopted = "adopted"
	// Interrupted: a job was stopped before its end.
	Interrupted = "interrupted"
	// Unknown: nobody knows how an apply ended.
	Unknown = "unknown"
)

func (e *Engine) took(what string, d time.Duration) {
	if e.Meter != nil {
		e.Meter.Took(what, d)
	}
}

func (e *Engine) happened(what string) {
	if e.Meter != nil {
		e.Meter.Happened(what)
	}
}
