package templates

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"time"
)

const defaultLimit = 60_000

func (f Footer) lines(hint string) string {
	var b strings.Builder
	if hint != "" {
		b.WriteString(hint + "\n\n")
	}
	var parts []string
	if f.HeadSHA != "" {
		s := "Commit " + link("`"+shortSHA(f.HeadSHA)+"`", f.HeadURL)
		if f.BaseSHA != "" {
			s += " merged into " + Code(f.BaseRef) + " at " + link("`"+shortSHA(f.BaseSHA)+"`", f.BaseURL)
		}
		parts = append(parts, s)
	}
	if f.Tool != "" {
		parts = append(parts, Code(f.Tool))
	}
	if f.Took > 0 {
		parts = append(parts, took(f.Took))
	}
	if f.LogURL != "" {
		parts = append(parts, link("full log", f.LogURL))
	}
	if len(parts) > 0 {
		b.WriteString("<sub>" + strings.Join(parts, " · ") + "</sub>\n\n")
	}
	return b.String() + f.Marker + "\n"
}

func shortSHA(s string) string {
	s = clean(s, false)
	if len(s) > 7 {
		return s[:7]
	}
	return s
}

func took(d time.Duration) string {
	s := int(d.Round(time.Second).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", max(1, s))
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	default:
		return fmt.Sprintf("%d h %d min", s/3600, s/60%60)
	}
}

var linkForm = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// Summary is a comment's first line without its markup.
func Summary(comment string) string {
	line, _, _ := strings.Cut(comment, "\n")
	line = linkForm.ReplaceAllString(strings.TrimLeft(line, "# "), "$1")
	return strings.TrimSpace(strings.ReplaceAll(line, "`", ""))
}

func (c Changes) words(bold bool) string {
	if !c.Known {
		return "not known"
	}
	var out []string
	add := func(n int, what string, strong bool) {
		if n == 0 {
			return
		}
		s := fmt.Sprintf("%d %s", n, what)
		if strong && bold {
			s = "**" + s + "**"
		}
		out = append(out, s)
	}
	add(c.Import, "import", false)
	add(c.Add, "add", false)
	add(c.Change, "change", false)
	add(c.Replace, "replace", true)
	add(c.Destroy, "destroy", true)
	add(c.Forget, "forget", false)
	if len(out) == 0 && c.Outputs {
		return "outputs only"
	}
	if len(out) == 0 {
		return "no changes"
	}
	return strings.Join(out, ", ")
}

func (j Job) name() string {
	if j.Workspace == "" {
		return Code(j.Label)
	}
	return Code(j.Label) + " (" + Code(j.Workspace) + ")"
}

func (j Job) htmlName() string {
	if j.Workspace == "" {
		return htmlCode(j.Label)
	}
	return htmlCode(j.Label) + " (" + htmlCode(j.Workspace) + ")"
}

// order is the order of a plan's jobs: what needs attention first.
func order(jobs []Job) []Job {
	rank := func(j Job) int {
		switch {
		case j.State == StateFailed || j.State == StatePartlyApplied || j.State == StateUnknown || j.State == StateInterrupted:
			return 0
		case len(j.Dangers) > 0 || j.Changes.Destroy+j.Changes.Replace > 0:
			return 1
		case j.State == StateWaiting || j.State == StateNotStarted:
			return 2
		case j.State == StateNoChanges:
			return 4
		}
		return 3
	}
	out := slices.Clone(jobs)
	slices.SortStableFunc(out, func(a, b Job) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a.Label+"\x00"+a.Workspace, b.Label+"\x00"+b.Workspace)
	})
	return out
}

func tally(jobs []Job, words ...[2]string) string {
	var out []string
	for _, w := range words {
		n := 0
		for _, j := range jobs {
			if j.State == w[0] {
				n++
			}
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, w[1]))
		}
	}
	return strings.Join(out, ", ")
}

// Render writes the comment.
func (p Plan) Render() string {
	jobs := order(p.Jobs)
	var b strings.Builder
	if len(jobs) == 1 {
		b.WriteString("### Plan for " + jobs[0].name() + ": " + oneWord(jobs[0]) + "\n")
	} else {
		count := tally(jobs, [2]string{StateReady, "ready"}, [2]string{StateFailed, "failed"}, [2]string{StateWaiting, "waiting"},
			[2]string{StateCancelled, "cancelled"}, [2]string{StateNoChanges, "without changes"})
		if all(jobs, StateNoChanges) {
			count = "no changes"
		}
		fmt.Fprintf(&b, "### Plan for %d projects: %s\n", len(jobs), count)
	}
	b.WriteString(intro(jobs))
	switch {
	case len(jobs) > 1 && all(jobs, StateNoChanges):
		b.WriteString(names(jobs) + " match the configuration already. There is nothing to apply, and their locks are free again.\n")
	case len(jobs) > 1:
		busy, clean := split(jobs)
		b.WriteString("\n" + table("Changes", busy))
		if len(clean) > 0 {
			fmt.Fprintf(&b, "\nWithout changes (%d): %s. Their locks are free again.\n", len(clean), names(clean))
		}
	}
	tail := waitingText(jobs) + notes(p.Notes)
	return assemble(b.String(), folds(jobs), tail+p.lines(p.hint(jobs)), p.CommentLimit, p.LogURL)
}

func oneWord(j Job) string {
	switch j.State {
	case StateReady:
		return j.Changes.words(false)
	case StateWaiting:
		if j.Waiting != nil {
			return "waiting for " + link(clean(j.Waiting.Ref, false), j.Waiting.URL)
		}
	case StateFailed:
		if j.Error != nil {
			return "failed, " + Code(j.Error.Summary)
		}
	}
	return j.State
}

func intro(jobs []Job) string {
	var b strings.Builder
	var dangers []string
	n := 0
	for _, j := range jobs {
		if len(j.Dangers) == 0 {
			continue
		}
		n++
		if len(dangers) < 40 {
			dangers = append(dangers, "- "+j.name()+": "+dangerList(j.Dangers))
		}
	}
	switch {
	case n > 0:
		fmt.Fprintf(&b, "**Destroys and replacements in %s. Look at these first:**\n\n%s\n", projects(n), strings.Join(dangers, "\n"))
	case len(jobs) == 1 && all(jobs, StateNoChanges):
		b.WriteString("It matches the configuration already. There is nothing to apply, and the lock is free again.\n")
	case len(jobs) == 1 && jobs[0].State == StateReady:
		b.WriteString("Nothing is replaced or destroyed. Ready to apply.\n")
	}
	return b.String()
}

// split parts the jobs with something to tell from those without changes.
func split(jobs []Job) (busy, clean []Job) {
	for _, j := range jobs {
		if j.State == StateNoChanges {
			clean = append(clean, j)
		} else {
			busy = append(busy, j)
		}
	}
	return busy, clean
}

// names lists at most 60 jobs by name.
func names(jobs []Job) string {
	const most = 60
	var out []string
	for i, j := range jobs {
		if i == most {
			out = append(out, fmt.Sprintf("%d more", len(jobs)-i))
			break
		}
		out = append(out, j.name())
	}
	if len(out) == 2 {
		return out[0] + " and " + out[1]
	}
	return strings.Join(out, ", ")
}

func projects(n int) string {
	return counted(n, "project")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func dangerList(list []Danger) string {
	var out []string
	for i, d := range list {
		if i == 5 {
			out = append(out, fmt.Sprintf("and %d more, all named in its plan", len(list)-i))
			break
		}
		s := d.Action + " " + Code(d.Address)
		if len(d.ForcedBy) > 0 {
			s += " (" + Code(d.ForcedBy[0]) + " forces it)"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func all(jobs []Job, state string) bool {
	return !slices.ContainsFunc(jobs, func(j Job) bool { return j.State != state })
}

func table(middle string, jobs []Job) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| Project | %s | State |\n|---|---|---|\n", middle)
	for _, j := range jobs {
		state := j.State
		switch {
		case j.State == StateWaiting && j.Waiting != nil:
			state = "waiting for " + link(clean(j.Waiting.Ref, false), j.Waiting.URL)
		case j.State == StateFailed || j.State == StatePartlyApplied || j.State == StateUnknown:
			state = link("**"+j.State+"**", j.LogURL)
		case j.LogURL != "":
			state = link(j.State, j.LogURL)
		}
		name := Cell(j.Label)
		if j.Workspace != "" {
			name += " (" + Cell(j.Workspace) + ")"
		}
		words := j.Changes.words(true)
		if middle == "Done" && !j.Changes.Known {
			words = "nothing"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, words, state)
	}
	return b.String()
}

func folds(jobs []Job) []string {
	var out []string
	for _, j := range jobs {
		open := ""
		if len(jobs) == 1 && strings.Count(j.Text, "\n") <= 60 {
			open = " open"
		}
		switch {
		case j.Error != nil:
			text := j.Error.Text
			if len(text) > 8000 {
				text = text[:8000] + "\n(cut; the full log has the rest)"
			}
			out = append(out, fmt.Sprintf("<details open><summary><b>%s</b> %s: %s</summary>\n\n%s%s\n</details>\n", j.State, j.htmlName(),
				htmlCode(j.Error.Summary), doneList(j.Done), Fence("", text)))
		case j.Text != "" && j.State == StateReady:
			out = append(out, fmt.Sprintf("<details%s><summary>%s: %s</summary>\n\n%s\n</details>\n", open, j.htmlName(),
				html.EscapeString(j.Changes.words(false)), Fence("diff", diff(j.Text))))
		case len(j.Evidence) > 0:
			out = append(out, fmt.Sprintf("<details open><summary><b>%s</b> %s</summary>\n\n%s\n</details>\n", j.State, j.htmlName(), Fence("", strings.Join(j.Evidence, "\n"))))
		}
	}
	return out
}

func doneList(list []Done) string {
	var done, half []string
	for _, d := range list {
		switch d.Outcome {
		case "done":
			done = append(done, past(d.Action)+" "+Code(d.Address))
		case "half done":
			half = append(half, Code(d.Address)+" was destroyed; creating it again failed")
		}
	}
	var b strings.Builder
	if len(done) > 0 {
		b.WriteString("- Done: " + strings.Join(done, ", ") + "\n")
	}
	for _, h := range half {
		b.WriteString("- **Half done:** " + h + "\n")
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	return b.String()
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
	}
	return "did " + Code(action)
}

func waitingText(jobs []Job) string {
	var out []string
	for _, j := range jobs {
		if j.Waiting == nil {
			continue
		}
		s := j.name() + " is planned by itself when " + link(clean(j.Waiting.Ref, false), j.Waiting.URL) + " lets go"
		var by []string
		if j.Waiting.User != "" {
			by = append(by, "held by "+Code(j.Waiting.User))
		}
		if !j.Waiting.Since.IsZero() {
			by = append(by, "since "+j.Waiting.Since.UTC().Format("15:04 UTC"))
		}
		if j.Waiting.Ahead > 0 {
			by = append(by, fmt.Sprintf("%d others are ahead", j.Waiting.Ahead))
		}
		if len(by) > 0 {
			s += " (" + strings.Join(by, ", ") + ")"
		}
		out = append(out, s+".")
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, "\n\n") + "\n\n"
}

func notes(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n\n") + "\n\n"
}

func (p Plan) hint(jobs []Job) string {
	for _, j := range jobs {
		if j.LocalState {
			return "The state of " + j.name() + " would be lost with the checkout, so it is not applied: give it a backend, or start the server with `--allow-local-state`."
		}
	}
	ready, open := 0, 0
	flags := ""
	for _, j := range jobs {
		if j.State != StateNoChanges {
			open++
		}
		if j.State == StateReady {
			ready++
			flags = j.Flags
		}
	}
	switch {
	case ready == 0 && slices.ContainsFunc(jobs, func(j Job) bool { return j.State == StateFailed }):
		return "Push a fix, and it is planned again."
	case ready == 0:
		return ""
	case ready < open:
		return fmt.Sprintf("`apply` alone needs all %d to be ready; what is ready can go now, one by one: %s. To plan again, comment `plan`.", open, Code("apply "+flags))
	}
	return "To apply, comment `apply`. To plan again, comment `plan`. To give up the lock and this plan, comment `unlock`."
}

// Render writes the comment.
func (a Apply) Render() string {
	jobs := order(a.Jobs)
	var b strings.Builder
	if len(jobs) == 1 {
		b.WriteString("### Apply for " + jobs[0].name() + ": " + jobs[0].State)
		if jobs[0].State == StateApplied && jobs[0].Changes.Known {
			b.WriteString(", " + jobs[0].Changes.words(false))
		}
		b.WriteString("\n")
	} else {
		fmt.Fprintf(&b, "### Apply for %d projects: %s\n", len(jobs), tally(jobs, [2]string{StateApplied, "applied"},
			[2]string{StatePartlyApplied, "partly applied"}, [2]string{StateFailed, "failed"}, [2]string{StateInterrupted, "interrupted"},
			[2]string{StateUnknown, "unknown"}, [2]string{StateNotStarted, "not started"}))
	}
	hint := ""
	for _, j := range jobs {
		switch j.State {
		case StatePartlyApplied:
			b.WriteString("**" + j.name() + " stopped half-way.** Nothing is tried again by itself; its lock stays with this pull request.\n")
			hint = "Mend the cause, then comment `plan " + strings.ReplaceAll(clean(j.Flags, false), "`", "") + "`: the new plan shows only what is left."
		case StateUnknown:
			b.WriteString("**How " + j.name() + " ended is not known:** it was started, and nobody saw its end. Nothing is tried again by itself; its lock stays.\n")
			hint = "Comment `plan` to see what is left to do."
		case StateFailed:
			hint = "Nothing of what failed was changed. Mend the cause, then comment `plan`."
		}
	}
	if len(jobs) > 1 {
		b.WriteString("\n" + table("Done", jobs))
	}
	return assemble(b.String(), folds(jobs), notes(a.Notes)+a.lines(hint), a.CommentLimit, a.LogURL)
}

// assemble keeps the comment within the limit: folds are left out from the end of the order.
func assemble(head string, folds []string, tail string, limit int, logURL string) string {
	if limit <= 0 {
		limit = defaultLimit
	}
	const reserve = 300
	room := limit - len(head) - len(tail) - reserve
	var kept []string
	left := 0
	for _, f := range folds {
		if len(f)+1 > room {
			left++
			continue
		}
		room -= len(f) + 1
		kept = append(kept, f)
	}
	if room < 0 { // the table alone is too long
		cut := max(0, len(head)+room)
		head = head[:strings.LastIndexByte(head[:cut], '\n')+1] + "\nThe table is cut here.\n"
	}
	out := head
	if len(kept) > 0 {
		out += "\n" + strings.Join(kept, "\n")
	}
	if left > 0 {
		word := "plans are"
		if left == 1 {
			word = "plan is"
		}
		out += fmt.Sprintf("\n%d %s left out here, to stay within the forge's comment limit; %s has them all.\n", left, word, link("the run", logURL))
	}
	return out + "\n" + tail
}
