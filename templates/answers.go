package templates

import (
	"fmt"
	"strings"
)

// Render writes the comment.
func (p Problems) Render() string {
	word := "problems"
	if len(p.Rows) == 1 {
		word = "problem"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### %s not started: %s has %d %s\n\n| Where | Problem |\n|---|---|\n", p.Command, Code(p.File), len(p.Rows), word)
	for _, r := range p.Rows {
		fmt.Fprintf(&b, "| %s | %s: %s |\n", link(clean(r.Where, false), r.URL), Cell(r.Key), mixed(r.Text))
	}
	b.WriteString("\nNothing was run, and no lock was taken. Push a fix, and planning starts by itself.\n\n")
	return b.String() + p.lines("")
}

// Render writes the comment.
func (c Conflict) Render() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s not started: this branch conflicts with %s\n", c.Command, Code(c.BaseRef))
	for i, f := range c.Files {
		if i == 50 {
			fmt.Fprintf(&b, "\n- and %d more", len(c.Files)-i)
			break
		}
		b.WriteString("\n- " + Code(f))
	}
	b.WriteString("\n\nNothing was run, and no lock was taken. Resolve the conflict and push.\n\n")
	return b.String() + c.lines("")
}

// Render writes the comment.
func (n NothingTouched) Render() string {
	text := fmt.Sprintf("None of the %d changed files belongs to a project.", n.Files)
	if n.Files == 1 {
		text = "The changed file belongs to no project."
	}
	if n.Flags != "" {
		text += " To plan one all the same, name it: " + Code("plan "+n.Flags) + "."
	}
	return "### Plan: no project is touched\n" + text + "\n\n" + n.lines("")
}

// Render writes the comment.
func (t TargetUnknown) Render() string {
	var b strings.Builder
	b.WriteString("### " + t.Command + " not run: " + headline(t.Headline) + "\n")
	if t.Detail != "" {
		b.WriteString(Fence("", t.Detail) + "\n\n")
	}
	if t.Suggestion != "" {
		b.WriteString("Did you mean " + Code(strings.ToLower(t.Command)+" "+t.Flag+" "+t.Suggestion) + "?\n\n")
	}
	if len(t.There) > 0 {
		b.WriteString("There is: ")
		for i, name := range t.There {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(Code(name))
		}
		if t.More > 0 {
			fmt.Fprintf(&b, " and %d more", t.More)
		}
		b.WriteString(".\n\n")
	}
	return b.String() + t.lines("")
}

// Render writes the comment.
func (a ApplyRefused) Render() string {
	var b strings.Builder
	bad := 0
	for _, r := range a.Rows {
		if !r.isReady() {
			bad++
		}
	}
	if len(a.Rows) == 1 {
		b.WriteString("### Apply not run: " + Code(a.Rows[0].Label) + " is " + a.Rows[0].state() + "\n")
	} else {
		fmt.Fprintf(&b, "### Apply not run: %d of %d projects can't be applied\n", bad, len(a.Rows))
	}
	b.WriteString("Nothing was applied.\n")
	for _, r := range a.Rows {
		if r.isReady() {
			continue
		}
		b.WriteString("\n- " + Code(r.Label) + ": " + r.why())
		for _, m := range r.Moved {
			b.WriteString("\n  - " + sentence(m, Code))
		}
	}
	for _, r := range a.Rows {
		if r.isReady() {
			b.WriteString("\n\nWhat is ready can go now: " + Code("apply "+r.Flags) + ".")
			break
		}
	}
	return b.String() + "\n\n" + a.lines("")
}

func (r Refused) isReady() bool { return r.State == "" && r.Waiting == nil }

func (r Refused) state() string {
	if r.Waiting != nil {
		return "waiting for " + r.Waiting.link()
	}
	return clean(r.State, false)
}

func (r Refused) why() string {
	if r.Waiting != nil {
		return "it waits for " + r.Waiting.link() + ", and is planned by itself when that lock is free"
	}
	return r.Why
}

// Render writes the comment.
func (u Unlocked) Render() string {
	if len(u.Labels) == 0 && u.Left == 0 {
		return "### Unlock: this pull request holds no lock\n\n" + paragraphs(u.Note) + u.lines("")
	}
	if len(u.Labels) == 0 && u.Plans == 0 {
		return "### Unlocked: this pull request waits for nothing any more\nTo plan again, comment `plan`.\n\n" + paragraphs(u.Note) + u.lines("")
	}
	var names []string
	for _, l := range u.Labels {
		names = append(names, Code(l))
	}
	text := "Released: " + strings.Join(names, ", ") + ". "
	if len(names) == 0 {
		text = ""
	}
	if u.Left > 0 {
		text += "It waits for nothing any more. "
	}
	return fmt.Sprintf("### Unlocked: %s released, %s discarded\n%sComment `plan` to plan again.\n\n",
		counted(len(u.Labels), "lock"), counted(u.Plans, "plan"), text) + paragraphs(u.Note) + u.lines("")
}

// Render writes the comment.
func (u UnlockRefused) Render() string {
	const mended = "What is being mended stays locked, and is not stopped half way. Ask again when it is answered.\n\n"
	switch {
	case u.Pushes:
		return "### Unlock refused: a state is being stored\n" + mended + u.lines("")
	case u.Breaks:
		return "### Unlock refused: the lock of a state is being broken\n" + mended + u.lines("")
	}
	return "### Unlock refused: an apply is running\nWhat is being applied stays locked. Ask again when the apply is answered; to stop it, comment `cancel`.\n\n" + u.lines("")
}

// Render writes the comment.
func (h Help) Render() string {
	var b strings.Builder
	b.WriteString("### Commands\n\n| Comment | What happens |\n|---|---|\n")
	for _, r := range h.Rows {
		fmt.Fprintf(&b, "| %s | %s |\n", Cell(r.Command), strings.ReplaceAll(r.What, "|", "\\|"))
	}
	return b.String() + "\n" + h.lines("")
}

// headline is a sentence with foreign words in it, in code as a whole.
func headline(s string) string { return Code(strings.ReplaceAll(s, "`", "'")) }

// Render writes the comment.
func (w Wrong) Render() string {
	out := "### Command not understood: " + headline(w.Headline) + "\n"
	text := w.Detail
	if w.Usage != "" && w.Usage != w.Suggestion {
		text += "\nUsage: " + w.Usage
	}
	if text = strings.TrimSpace(text); text != "" {
		out += Fence("", text) + "\n\n"
	}
	if w.Suggestion != "" {
		out += "Did you mean " + Code(w.Suggestion) + "?\n\n"
	}
	return out + w.lines("")
}

// Render writes the comment. Headline and Body are ours; foreign parts of them are written by Code.
func (r Refusal) Render() string {
	return "### " + r.Headline + "\n" + strings.Join(r.Body, "\n\n") + "\n\n" + r.lines("")
}

// Render writes the comment.
func (i Internal) Render() string {
	return "### Internal error in run " + Code(i.Run) + "\nThis is not about your change. The server's log has the cause; ask who runs Tidegate here, then comment the command again.\n\n" + i.lines("")
}

// Render writes the comment.
func (p Progress) Render() string {
	return fmt.Sprintf("### Running: %s, %d of %s done\nThe answer comes as a new comment.\n\n", p.Command, p.Done, counted(p.Total, "project")) + p.lines("")
}

// Render writes the comment.
func (n Notice) Render() string {
	return "### " + n.Headline + "\n" + strings.Join(n.Body, "\n\n") + "\n\n" + n.lines("")
}
