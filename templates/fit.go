package templates

import (
	"fmt"
	"strings"
)

const defaultLimit = 60_000

// fold is a part of a comment that is folded away.
type fold struct {
	open bool
	// summary is HTML.
	summary string
	// list stands before text.
	list string
	// lang is of the block that text is put into; "diff" for a plan.
	lang, text string
	// must: it is shortened, but not left out.
	must bool
}

func planFolds(jobs []Job) []fold {
	var out []fold
	told := map[Failure]bool{}
	for _, j := range jobs {
		switch {
		case j.Error != nil && told[*j.Error]:
		case j.Error != nil:
			told[*j.Error] = true
			f := j.failed()
			f.summary = "<b>" + j.State + "</b> " + failedAlike(jobs, *j.Error) + ": " + htmlCode(j.Error.Summary)
			out = append(out, f)
		case j.Text != "" && j.State == StateReady:
			text := diff(j.Text)
			out = append(out, fold{
				open:    len(jobs) == 1 && strings.Count(text, "\n") < 60,
				summary: j.htmlName() + ": " + j.Changes.words(strongHTML), lang: "diff", text: text,
			})
		}
	}
	return out
}

func applyFolds(jobs []Job) []fold {
	var out []fold
	for _, j := range jobs {
		if j.Error != nil {
			out = append(out, j.failed())
		}
		if len(j.Evidence) > 0 {
			list := ""
			if j.Error == nil {
				list = j.doneList()
			}
			out = append(out, fold{
				open: true, must: true, list: list, text: strings.Join(j.Evidence, "\n"),
				summary: "<b>" + j.State + "</b> " + j.htmlName() + ": what is known",
			})
		}
	}
	return out
}

// failedAlike names those that failed in the same words.
func failedAlike(jobs []Job, f Failure) string {
	const most = 10
	var names []string
	for _, j := range jobs {
		if j.Error != nil && *j.Error == f {
			names = append(names, j.htmlName())
		}
	}
	if n := len(names); n > most {
		names = append(names[:most], fmt.Sprintf("%d more", n-most))
	}
	return strings.Join(names, ", ")
}

func (j Job) failed() fold {
	return fold{
		open: true, must: true, list: j.doneList(), text: j.Error.Text,
		summary: "<b>" + j.State + "</b> " + j.htmlName() + ": " + htmlCode(j.Error.Summary),
	}
}

// size bounds what a fold may show.
type size struct{ lines, width, errors int }

// sizes are tried one after the other, until the comment is within the limit.
func sizes() []size {
	return []size{
		{1 << 30, 1 << 30, 8000},
		{2000, 2000, 8000},
		{1000, 2000, 8000},
		{500, 1000, 4000},
		{250, 500, 4000},
		{120, 300, 4000},
		{60, 300, 2000},
		{40, 200, 1000},
		{25, 200, 1000},
	}
}

func (f fold) render(s size, log string) string {
	open := ""
	if f.open {
		open = " open"
	}
	text, left := f.text, ""
	if f.must {
		if len(text) > s.errors {
			text, left = text[:s.errors], "(cut here; "+link("the run", log)+" has the rest)"
		}
	} else {
		var n int
		if text, n = shorten(text, s); n > 0 {
			left = fmt.Sprintf("(%s left out here; %s has the whole plan)", counted(n, "line"), link("the run", log))
		}
	}
	return fmt.Sprintf("<details%s><summary>%s</summary>\n\n%s%s\n%s</details>\n", open, f.summary, f.list, Fence(f.lang, text), paragraphs(left))
}

// shorten keeps the first lines and the last one, which sums a plan up. It answers how many it left out.
func shorten(text string, s size) (string, int) {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	left := 0
	if len(lines) > s.lines {
		left = len(lines) - s.lines
		last := lines[len(lines)-1]
		lines = append(lines[:s.lines-1:s.lines-1], last)
	}
	for i, l := range lines {
		if len(l) > s.width {
			lines[i] = l[:s.width] + "…"
		}
	}
	return strings.Join(lines, "\n"), left
}

// comment is an answer in parts, of which some can be cut.
type comment struct {
	head  string
	rows  []string // of the table at the end of head
	below string
	folds []fold
	tail  string
	limit int
	log   string
}

// fit writes the comment so that it stays within the limit: long plans are shortened first, then left
// out from the end of the order; the table only when it is too long by itself.
func (c comment) fit() string {
	if c.limit <= 0 {
		c.limit = defaultLimit
	}
	const reserve = 400 // for what is said of what is left out
	c.fitTable(reserve)
	top := c.head + strings.Join(c.rows, "") + c.below
	room := c.limit - len(top) - len(c.tail) - 2
	var parts []string
	for _, s := range sizes() {
		parts = parts[:0]
		total := 0
		for _, f := range c.folds {
			p := f.render(s, c.log)
			parts = append(parts, p)
			total += len(p) + 1
		}
		if total <= room {
			return c.join(top, parts, 0)
		}
	}
	return c.join(c.leaveOut(top, parts, room-reserve))
}

// leaveOut leaves parts out from the end of the order; those that must stay go last.
func (c comment) leaveOut(top string, parts []string, room int) (string, []string, int) {
	total := 0
	for _, p := range parts {
		total += len(p) + 1
	}
	left := 0
	for _, must := range []bool{false, true} {
		for i := len(parts) - 1; i >= 0 && total > room; i-- {
			if parts[i] != "" && c.folds[i].must == must {
				total -= len(parts[i]) + 1
				parts[i] = ""
				left++
			}
		}
	}
	return top, parts, left
}

func (c comment) join(top string, parts []string, left int) string {
	var b strings.Builder
	b.WriteString(top)
	for _, p := range parts {
		if p != "" {
			b.WriteString("\n" + p)
		}
	}
	if left > 0 {
		word := "plans are"
		if left == 1 {
			word = "plan is"
		}
		fmt.Fprintf(&b, "\n%d %s left out here, to stay within the forge's comment limit; %s has them all.\n", left, word, link("the run", c.log))
	}
	return b.String() + "\n" + c.tail
}

// fitTable leaves rows out of a table that would not even fit alone.
func (c *comment) fitTable(reserve int) {
	room := c.limit - len(c.head) - len(c.below) - len(c.tail) - 2*reserve
	for i, r := range c.rows {
		if room -= len(r); room < 0 {
			c.below = fmt.Sprintf("\nThe table is cut here: %s has %d more.\n", link("the run", c.log), len(c.rows)-i) + c.below
			c.rows = c.rows[:i]
			return
		}
	}
}
