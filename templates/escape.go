package templates

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

var ansi = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])`)
})

// commandLine is a line that is one of our commands, with or without a word that wakes us, or a forge's own.
var commandLine = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	const words = `plan|apply|unlock|help|cancel|force-unlock|state[\t\p{Zs}]+push`
	return regexp.MustCompile("(?im)^[\\t\\p{Zs}`]*(?:/|(?:@?[^\\s`]+[\\t\\p{Zs}]+)?(?:" + words + ")(?:[\\t\\p{Zs}]+-.*)?[\\t\\p{Zs}`]*$)")
})

// clean drops what must not reach a page: colours, control characters, invisible and direction-changing ones.
func clean(s string, newlines bool) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	s = ansi().ReplaceAllString(s, "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' && newlines, r == '\t':
			return r
		case r == '\n':
			return ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)
}

// breakMarker keeps foreign text from looking like our own last line.
func breakMarker(s string) string { return strings.ReplaceAll(s, "<!--", "<! --") }

// Code writes foreign text as inline code.
func Code(s string) string {
	s = strings.TrimSpace(breakMarker(clean(s, false)))
	if s == "" {
		return "` `"
	}
	tick := strings.Repeat("`", longestRun(s, '`')+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return tick + s + tick
}

// Cell is Code inside a table.
func Cell(s string) string { return strings.ReplaceAll(Code(s), "|", "\\|") }

// mixed is a sentence of ours, inside a table, in which foreign text stands between backticks.
func mixed(s string) string { return sentence(s, Cell) }

// Sentence is a sentence of ours in which foreign text stands between backticks. Nothing in it is markup.
func Sentence(s string) string { return sentence(s, Code) }

// sentence is a sentence of ours in which foreign text stands between backticks; code writes that.
func sentence(s string, code func(string) string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, "`") {
		if i%2 == 1 {
			b.WriteString(code(part))
			continue
		}
		for _, r := range breakMarker(clean(part, false)) {
			if r < utf8.RuneSelf && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" .,:;?!'()-/", r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// htmlCode is foreign text inside <summary>, where Markdown does not work.
func htmlCode(s string) string {
	return "<code>" + html.EscapeString(breakMarker(clean(s, false))) + "</code>"
}

// Fence puts foreign text into a block that it can't leave. A line of it that is a command is indented like
// code: nobody who reads the comment line by line may take it for one.
func Fence(lang, s string) string {
	s = strings.Trim(breakMarker(clean(s, true)), "\n")
	s = commandLine().ReplaceAllString(s, "    $0")
	f := strings.Repeat("`", max(3, longestRun(s, '`')+1))
	return f + lang + "\n" + s + "\n" + f
}

func longestRun(s string, c byte) int {
	longest, run := 0, 0
	for i := range len(s) {
		if s[i] == c {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	return longest
}

// link writes a link to an absolute http(s) address, or the bare text.
func link(text, address string) string {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return text
	}
	return "[" + text + "](" + strings.NewReplacer("(", "%28", ")", "%29", " ", "%20", "<", "%3C", ">", "%3E", "\\", "%5C").Replace(u.String()) + ")"
}

// diff puts terraform's markers into column 0, where highlighters look for them, and ! for ~, which
// some of them do not know. What stands inside a heredoc is the value's own text and stays as it is.
func diff(s string) string {
	lines := strings.Split(s, "\n")
	heredoc := false
	for i, l := range lines {
		body := strings.TrimLeft(l, " ")
		if heredoc {
			heredoc = !strings.HasPrefix(body, "EOT")
			continue
		}
		heredoc = strings.HasSuffix(l, "<<-EOT") || strings.HasSuffix(l, "<<EOT")
		lines[i] = mark(l, body)
	}
	return strings.Join(lines, "\n")
}

func mark(line, body string) string {
	pad := len(line) - len(body)
	for _, m := range []string{"-/+", "+/-", "<=", "+", "-", "~"} {
		rest, ok := strings.CutPrefix(body, m+" ")
		if !ok {
			continue
		}
		if m == "~" {
			m = "!"
		}
		return m + strings.Repeat(" ", max(1, pad-1)) + rest
	}
	if pad >= 4 {
		return line[2:]
	}
	return line
}
