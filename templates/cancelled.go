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
	// Target are the flags of what was to be cancelled, "" for everything.
	Target string
	// Newest is the command that ended last, when there was nothing to cancel; "" for none.
	Newest, NewestURL string
	NewestAgo         time.Duration
	Footer
}

// Render writes the comment.
func (c Cancelled) Render() string {
	if len(c.Jobs)+len(c.Commands) == 0 {
		return c.nothing()
	}
	interrupted, stopped := c.which(CancelStopped, true), c.which(CancelStopped, false)
	idle := append(c.which(CancelNotBegun, true), c.which(CancelNotBegun, false)...)
	late := append(c.which(CancelLate, true), c.which(CancelLate, false)...)
	var news []string
	for _, n := range []struct {
		of   int
		text string
	}{
		{len(interrupted), counted(len(interrupted), "project") + " interrupted"},
		{len(stopped), counted(len(stopped), "plan") + " stopped"},
		{len(idle), counted(len(idle), "project") + " not begun"},
		{len(c.Commands), counted(len(c.Commands), "command") + " dropped"},
	} {
		if n.of > 0 {
			news = append(news, n.text)
		}
	}
	head := "### Cancel: too late, everything had ended\n"
	if len(news) > 0 {
		head = "### Cancelled: " + strings.Join(news, ", ") + "\n"
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
	b.WriteString(c.dropped())
	for _, j := range late {
		b.WriteString("\n- Too late for " + j.name() + ", which had ended: " + clean(j.State, false) + ".")
	}
	hint := ""
	if len(news) > 0 {
		hint = "Each command that was cancelled is answered by itself."
	}
	return head + b.String() + "\n\n" + c.lines(hint)
}

// dropped tells the commands in line that are dropped.
func (c Cancelled) dropped() string {
	const most = 20
	var b strings.Builder
	for i, q := range c.Commands {
		switch {
		case i == most:
			fmt.Fprintf(&b, "\n- Dropped: %d more", len(c.Commands)-most)
			return b.String()
		case q.Line == "":
			b.WriteString("\n- Dropped: a plan that was to be made by itself")
		default:
			b.WriteString("\n- Dropped: " + Code(q.Line) + " of " + Code(q.User))
		}
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
