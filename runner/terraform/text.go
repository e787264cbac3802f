package terraform

import (
	"strings"
	"unicode/utf8"
)

const (
	// maxText bounds the plan text that is kept for people.
	maxText = 512 << 10
	// maxFailure bounds the text of a failure.
	maxFailure = 16 << 10
	// maxSummary bounds the one line that a failure is told in.
	maxSummary = 300
)

// Clean takes away what a terminal would act on: escape sequences, control characters and the boxes
// that terraform draws around diagnostics. Invalid UTF-8 becomes U+FFFD.
func Clean(s string) string {
	// Made valid first: a control taken out of broken bytes could join them into another one.
	s = stripControls(strings.ToValidUTF8(s, "\uFFFD"))
	lines := strings.Split(s, "\n")
	kept := lines[:0]
	values := false // in the box of values below a line of source
	for _, line := range lines {
		bare, isBox := unbox(line)
		if head, ok := strings.CutPrefix(bare, "    ├"); ok && isRule(head) {
			values = true
			continue
		}
		if value, ok := strings.CutPrefix(bare, "    │ "); ok && values {
			bare = "    " + value
		} else {
			values = false
		}
		if !isBox {
			kept = append(kept, bare)
		}
	}
	return strings.Join(kept, "\n")
}

// unbox takes terraform's box off a line and reports lines that are nothing but its edge.
func unbox(line string) (string, bool) {
	switch {
	case line == "╷" || line == "╵":
		return "", true
	case line == "│":
		return "", false
	case isRule(line):
		return "", true
	}
	return strings.TrimPrefix(line, "│ "), false
}

func isRule(line string) bool {
	return strings.HasPrefix(line, "───") && strings.Trim(line, "─") == ""
}

func stripControls(s string) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		if s[i] == 0x1b {
			i += escapeLen(s[i:])
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\r':
			b.WriteByte('\n')
		case !isControl(r):
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func isControl(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0
}

// escapeLen is the length of the escape sequence that s starts with.
func escapeLen(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[': // CSI: up to its final byte
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
			if s[i] < 0x20 || s[i] > 0x7e {
				return i
			}
		}
		return len(s)
	case ']', 'P', '^', '_': // a string, up to BEL or ST, on one line
		return stringLen(s)
	}
	if s[1] >= utf8.RuneSelf {
		return 1
	}
	return 2
}

// stringLen is the length of an escape sequence that carries a string.
func stringLen(s string) int {
	for i := 2; i < len(s); i++ {
		switch s[i] {
		case '\n':
			return i
		case 0x07:
			return i + 1
		case 0x1b:
			if strings.HasPrefix(s[i:], "\x1b\\") {
				return i + 2
			}
			return i
		}
	}
	return len(s)
}

// PlanText keeps of plan's own output what people want to read: the resource diff, the outputs, the
// notes and the warnings. The legend, the refresh lines and the tail about the saved plan go.
func PlanText(log string) string {
	lines := strings.Split(Clean(cutTail(log)), "\n")
	var kept []string
	legend := false
	for _, line := range lines {
		switch {
		case legend:
			legend = line != ""
		case isLegend(line):
			legend = true
		case isProgress(line) || isLead(line):
		default:
			kept = append(kept, strings.TrimRight(line, " \t"))
		}
	}
	return Limit(squeeze(kept), maxText)
}

// cutTail drops what stands after the last rule, if that is the advice about the saved plan.
func cutTail(log string) string {
	i := strings.LastIndex(log, "\n───")
	if i < 0 {
		return log
	}
	_, tail, _ := strings.Cut(log[i+1:], "\n")
	tail = strings.TrimLeft(tail, "\r\n")
	for _, start := range []string{"Saved the plan to: ", "This plan was saved to: ", "Note: You didn't use the -out option"} {
		if strings.HasPrefix(tail, start) {
			return log[:i+1]
		}
	}
	return log
}

func isLegend(line string) bool {
	return strings.HasPrefix(line, "Terraform used the selected providers to generate the following execution") ||
		strings.HasPrefix(line, "OpenTofu used the selected providers to generate the following execution") ||
		strings.HasPrefix(line, "An execution plan has been generated and is shown below")
}

func isLead(line string) bool {
	switch line {
	case "Terraform will perform the following actions:", "OpenTofu will perform the following actions:",
		"Acquiring state lock. This may take a few moments...", "Releasing state lock. This may take a few moments...":
		return true
	}
	return false
}

// isProgress reports the lines that terraform writes while it reads: "ADDRESS: Refreshing state... [id=x]".
func isProgress(line string) bool {
	if line == "" || line[0] == ' ' {
		return false
	}
	for _, mark := range []string{
		": Refreshing state...", ": Refreshing...", ": Refresh complete after ", ": Reading...", ": Read complete after ",
		": Still reading... [", ": Preparing import...", ": Importing from ID ", ": Opening...", ": Opening complete after ",
		": Closing...", ": Closing complete after ",
	} {
		if strings.Contains(line, mark) {
			return true
		}
	}
	return false
}

// squeeze joins lines, without blank ones at the ends and with one blank line at most between others.
func squeeze(lines []string) string {
	var b strings.Builder
	blank := false
	for _, line := range lines {
		if line == "" {
			blank = b.Len() > 0
			continue
		}
		if blank {
			b.WriteByte('\n')
		}
		blank = false
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// onlyIntroduces begins the error that terraform 1.x prints before the one that made init fail.
const onlyIntroduces = "Terraform encountered problems during initiali"

// ErrorText finds the errors in the output of a command that failed. When it names none, the last
// lines of the output are the text and the fallback is the summary.
func ErrorText(log, fallback string) Failure {
	var kept []string
	inError, summary := false, ""
	for line := range strings.SplitSeq(Clean(log), "\n") {
		line = strings.TrimRight(line, " \t")
		rest, isError := strings.CutPrefix(line, "Error: ")
		switch {
		case isError:
			inError = true
			if summary == "" || strings.HasPrefix(summary, onlyIntroduces) {
				summary = rest
			}
		case strings.HasPrefix(line, "Warning: ") || isProgress(line) || isLead(line):
			inError = false
		}
		if inError {
			kept = append(kept, line)
		}
	}
	if summary == "" {
		return Failure{Summary: fallback, Text: Limit(Tail(log, 40), maxFailure)}
	}
	failure := Failure{Summary: limitLine(summary), Text: Limit(squeeze(kept), maxFailure)}
	failure.Lock = lockOf(failure)
	return failure
}

// OutOfDisk reports that an error has the system's words for a disk that is full. terraform may have broken them into lines.
func OutOfDisk(text string) bool {
	return strings.Contains(strings.ToLower(strings.Join(strings.Fields(text), " ")), "no space left on device")
}

// OutOfMemory reports that a log has what a Go program prints that gets no more memory, be it terraform or one
// of its providers.
func OutOfMemory(log string) bool {
	for line := range strings.SplitSeq(log, "\n") {
		line = strings.TrimLeft(line, "│ \t")
		for _, words := range []string{
			"fatal error: runtime: out of memory", "fatal error: runtime: cannot allocate memory",
			"fatal error: out of memory", "runtime: out of memory: ", "fatal error: failed to reserve page summary memory",
			"runtime: cannot allocate memory", "fatal error: cannot allocate memory",
		} {
			if strings.HasPrefix(line, words) {
				return true
			}
		}
	}
	return false
}

// Tail is the last n lines of a log that are not empty, cleaned.
func Tail(log string, n int) string {
	var lines []string
	for line := range strings.SplitSeq(Clean(log), "\n") {
		if line = strings.TrimRight(line, " \t"); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Limit cuts s to at most n bytes, at the end of a line where it can, and says so in a last line.
func Limit(s string, n int) string {
	const note = "\n(the rest is left out here)"
	if len(s) <= n {
		return s
	}
	cut := s[:n-len(note)]
	if i := strings.LastIndexByte(cut, '\n'); i > len(cut)/2 {
		cut = cut[:i]
	}
	return strings.ToValidUTF8(cut, "") + note
}

func limitLine(s string) string {
	if len(s) <= maxSummary {
		return s
	}
	return strings.ToValidUTF8(s[:maxSummary-3], "") + "..."
}
