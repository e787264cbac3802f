package demo

import (
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

// The colours of a terminal.
const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	gold  = "\x1b[33m"
	plain = "\x1b[0m"
)

// colourful reports whether whoever reads sees colours and wants them (https://no-color.org).
func colourful(out io.Writer, lookup func(string) (string, bool)) bool {
	if v, _ := lookup("NO_COLOR"); v != "" {
		return false
	}
	if v, _ := lookup("TERM"); v == "" || v == "dumb" {
		return false
	}
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// readable writes a comment of ours, which is made for a browser, for a terminal: without addresses,
// HTML, fences and the marker.
func readable(comment string, colour bool) string {
	paint := func(c, s string) string {
		if colour && c != "" {
			return c + s + plain
		}
		return s
	}
	var out, table []string
	fenced := false
	for _, line := range strings.Split(strings.TrimSpace(comment), "\n") {
		if strings.HasPrefix(line, "|") && !fenced {
			table = append(table, line)
			continue
		}
		out, table = append(out, columns(table)...), nil
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced:
			out = append(out, strings.TrimRight("  "+paint(colourOf(line), line), " "))
		case strings.HasPrefix(line, "<!--"), line == "</details>":
		case strings.HasPrefix(line, "#"), strings.HasPrefix(line, "<details"):
			out = append(out, paint(bold, words(strings.TrimLeft(line, "# "))))
		default:
			out = append(out, words(line))
		}
	}
	return oneBlank(append(out, columns(table)...))
}

// colourOf is for one line of a diff.
func colourOf(line string) string {
	switch {
	case strings.HasPrefix(line, "+"):
		return green
	case strings.HasPrefix(line, "-"):
		return red
	case strings.HasPrefix(line, "!"), strings.HasPrefix(line, "~"):
		return gold
	default:
		return ""
	}
}

var (
	tag  = regexp.MustCompile(`</?[a-z][^>]*>`)
	link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// words takes tags and addresses away.
func words(line string) string {
	line = strings.NewReplacer("<code>", "`", "</code>", "`").Replace(line)
	return link.ReplaceAllString(tag.ReplaceAllString(line, ""), "$1")
}

// columns lines up the rows of a table.
func columns(rows []string) []string {
	var cells [][]string
	var widths []int
	for _, row := range rows {
		if strings.Trim(row, "|-: ") == "" {
			continue
		}
		cols := strings.Split(strings.Trim(row, "|"), "|")
		for i := range cols {
			cols[i] = strings.TrimSpace(words(cols[i]))
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cols[i]))
		}
		cells = append(cells, cols)
	}
	var out []string
	for _, cols := range cells {
		line := " "
		for i, c := range cols {
			line += " " + c + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+1)
		}
		out = append(out, strings.TrimRight(line, " "))
	}
	return out
}

// oneBlank joins lines, with no more than one blank one between two others.
func oneBlank(lines []string) string {
	var out []string
	for _, l := range lines {
		if l == "" && (len(out) == 0 || out[len(out)-1] == "") {
			continue
		}
		out = append(out, l)
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}
