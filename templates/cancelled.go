package templates

import (
	"fmt"
	"strings"
	"time"
)

// What becomes of a job that is cancelled.
const (
	// CancelStopped: it ran, and gets its interrupt.
	CancelStopped = "stopped"
	// CancelNotBegun: it was in line, and does not begin.
	CancelNotBegun = "not begun"
	// CancelLate: it had ended by itself.
	CancelLate = "late"
	// CancelNever: it mends a state, which is not stopped half way.
	CancelNever = "never"
)

// CancelledJob is one project of a run that was cancelled.
type CancelledJob struct {
	Label, Workspace string
	// Apply: what it does changes something; else it plans.
	Apply bool
	What  string
	// State is how it had ended, for CancelLate.
	State string
}

// CancelledCommand is a command that was in line. Line is "" for a plan that nobody typed.
type CancelledCommand struct{ Line, User string }

// Cancelled is the answer to a cancel.
type Cancelled struct {
	Jobs     []CancelledJob
	Commands []CancelledCommand
	// Kept are commands in line that may be for more than Target: they go on without what it names.
	Kept []CancelledCommand
	// Target are the flags of what was to be cancelled, "" for everything.
	Target string
	// Newest is the command that ended last, when there was nothing to cancel; "" for none.
	Newest, NewestURL string
	NewestAgo         time.Duration
	Footer
}

// Render writes the comment.
func (c Cancelled) Render() string {
	if len(c.Jobs)+len(c.Commands)+len(c.Kept) == 0 {
		return c.nothing()
	}
	interrupted, stopped := c.which(CancelStopped, true), c.which(CancelStopped, false)
	idle := append(c.which(CancelNotBegun, true), c.which(CancelNotBegun, false)...)
	late, never := append(c.which(CancelLate, true), c.which(CancelLate, false)...), c.which(CancelNever, true)
	var news []string
	for _, n := range []struct {
		of   int
		text string
	}{
		{len(interrupted), counted(len(interrupted), "project") + " interrupted"},
		{len(stopped), counted(len(stopped), "plan") + " stopped"},
		{len(idle), counted(len(idle), "project") + " not begun"},
		{len(c.Commands), counted(len(c.Commands), "command") + " dropped"},
		{len(c.Kept), counted(len(c.Kept), "command") + " left in line without " + Code(c.Target)},
	} {
		if n.of > 0 {
			news = append(news, n.text)
		}
	}
	head := "### Cancel: too late, everything had ended\n"
	switch {
	case len(news) > 0:
		head = "### Cancelled: " + strings.Join(news, ", ") + "\n"
	case len(never) > 0:
		head = "### Cancel: too late, what mends a state is not stopped\n"
	}
	var b strings.Builder
	row := func(jobs []Job, text string) {
		if len(jobs) > 0 {
			b.WriteString("\n- " + fmt.Sprintf(text, names(jobs)))
		}
	}
	row(interrupted, "Interrupted, once: %s. terraform ends what it is in the middle of and saves its state. What was done stands in the answer to the command itself, and its lock stays.")
	row(stopped, "Stopped: %s. A plan changes nothing.")
	row(idle, "Not begun: %s. Nothing of that begins any more.")
	b.WriteString(listed(c.Commands, "Dropped: %s"))
	b.WriteString(listed(c.Kept, "Left in line: %s. What "+strings.ReplaceAll(Code(c.Target), "%", "%%")+" names of that does not begin, and the rest goes on."))
	row(never, "Not stopped: what mends the state of %s. Half of that would be worse than all of it; its own answer tells how it ended.")
	for _, j := range late {
		b.WriteString("\n- Too late for " + j.name() + ", which had ended: " + clean(j.State, false) + ".")
	}
	hint := ""
	if len(news) > 0 {
		hint = "Each command that was cancelled is answered by itself."
	}
	return head + b.String() + "\n\n" + c.lines(hint)
}

// listed tells what becomes of commands in line.
func listed(commands []CancelledCommand, text string) string {
	const most = 20
	var b strings.Builder
	for i, q := range commands {
		what := Code(q.Line) + " of " + Code(q.User)
		switch {
		case i == most:
			what = fmt.Sprintf("%d more", len(commands)-most)
		case i > most:
			return b.String()
		case q.Line == "":
			what = "a plan that was to be made by itself"
		}
		b.WriteString("\n- " + fmt.Sprintf(text, what))
	}
	return b.String()
}

func (c Cancelled) nothing() string {
	head := "### Cancel: nothing runs or waits here\n"
	if c.Target != "" {
		head = "### Cancel: nothing of " + Code(c.Target) + " runs or waits here\n"
	}
	text := "Nothing was stopped."
	if c.Newest != "" {
		text += " The newest " + link(clean(c.Newest, false), c.NewestURL) + " here ended " + took(c.NewestAgo) + " before."
	}
	return head + text + "\n\n" + c.lines("")
}

// which are the jobs of which that became.
func (c Cancelled) which(what string, apply bool) []Job {
	var out []Job
	for _, j := range c.Jobs {
		if j.What == what && j.Apply == apply {
			out = append(out, Job{Label: j.Label, Workspace: j.Workspace, State: j.State})
		}
	}
	return out
}
