package templates

import (
	"fmt"
	"html"
	"slices"
	"strings"
)

// parts are the counts that are not zero, in the order in which people are told them. What takes
// something away is strong.
func (c Changes) parts(strong func(string) string) []string {
	var out []string
	for _, k := range []struct {
		n      int
		what   string
		strong bool
	}{
		{c.Import, "import", false},
		{c.Add, "add", false},
		{c.Change, "change", false},
		{c.Move, "move", false},
		{c.Replace, "replace", true},
		{c.Destroy, "destroy", true},
		{c.Forget, "forget", false},
	} {
		if k.n == 0 {
			continue
		}
		s := fmt.Sprintf("%d %s", k.n, k.what)
		if k.strong {
			s = strong(s)
		}
		out = append(out, s)
	}
	return out
}

func (c Changes) words(strong func(string) string) string {
	if !c.Known {
		return "not known"
	}
	out := c.parts(strong)
	switch {
	case len(out) > 0:
		return strings.Join(out, ", ")
	case c.Outputs:
		return "outputs only"
	}
	return "no changes"
}

func plain(s string) string      { return s }
func bold(s string) string       { return "**" + s + "**" }
func strongHTML(s string) string { return "<b>" + html.EscapeString(s) + "</b>" }

func (j Job) name() string {
	if j.Workspace == "" {
		return Code(j.Label)
	}
	return Code(j.Label) + " (" + Code(j.Workspace) + ")"
}

func (j Job) cell() string { return strings.ReplaceAll(j.name(), "|", "\\|") }

func (j Job) htmlName() string {
	if j.Workspace == "" {
		return htmlCode(j.Label)
	}
	return htmlCode(j.Label) + " (" + htmlCode(j.Workspace) + ")"
}

// order is the order in which people are told of jobs: what needs attention first.
func order(jobs []Job) []Job {
	rank := func(j Job) int {
		switch {
		case j.State == StateFailed || j.State == StatePartlyApplied || j.State == StateUnknown || j.State == StateInterrupted:
			return 0
		case len(j.Dangers) > 0 || j.Changes.Destroy+j.Changes.Replace > 0:
			return 1
		case j.State == StateWaiting || j.State == StateNotStarted || j.State == StateCancelled:
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

// tally counts the jobs by state.
func tally(jobs []Job, words ...[2]string) string {
	var out []string
	for _, w := range words {
		if n := len(in(jobs, w[0])); n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, w[1]))
		}
	}
	return strings.Join(out, ", ")
}

// in are the jobs that are in a state.
func in(jobs []Job, state string) []Job {
	var out []Job
	for _, j := range jobs {
		if j.State == state {
			out = append(out, j)
		}
	}
	return out
}

func all(jobs []Job, state string) bool { return len(in(jobs, state)) == len(jobs) }

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
	return enumerate(out)
}

// enumerate is "a", "a and b", "a, b and c".
func enumerate(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func plural(n int, what string) string {
	if n == 1 {
		return what
	}
	return what + "s"
}

// sentences puts what is not empty behind one another.
func sentences(list ...string) string {
	return strings.Join(slices.DeleteFunc(list, func(s string) bool { return s == "" }), " ")
}

// paragraphs are followed by a blank line each.
func paragraphs(list ...string) string {
	var b strings.Builder
	for _, s := range list {
		if s != "" {
			b.WriteString(s + "\n\n")
		}
	}
	return b.String()
}

// cutLogs says which logs are not whole.
func cutLogs(jobs []Job) string {
	var cut []Job
	for _, j := range jobs {
		if j.LogCut != "" {
			cut = append(cut, j)
		}
	}
	switch len(cut) {
	case 0:
		return ""
	case 1:
		return "The log of " + names(cut) + " is not whole: " + Code(cut[0].LogCut) + "."
	}
	return "The logs of " + names(cut) + " are not whole. Of the first: " + Code(cut[0].LogCut) + "."
}
