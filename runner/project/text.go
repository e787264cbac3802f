package project

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// mostShown is how many characters of somebody's text a sentence repeats.
const mostShown = 80

// code puts somebody's text between backticks so that it can't end them.
func code(s string) string {
	if utf8.RuneCountInString(s) > mostShown {
		s = string([]rune(s)[:mostShown]) + "..."
	}
	return "`" + strings.Map(func(r rune) rune {
		switch {
		case r == '`':
			return '\''
		case isUnprintable(r):
			return utf8.RuneError
		default:
			return r
		}
	}, s) + "`"
}

// isUnprintable reports control characters, line breaks, what is no character at all, and what turns text
// around.
func isUnprintable(r rune) bool {
	return unicode.IsControl(r) || r == utf8.RuneError || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// nearest answers the word that is at most two typing mistakes away, one for short words; "" for none.
func nearest(typed string, words []string) string {
	best, at := "", 3
	for _, w := range words {
		if max(len(typed), len(w)) > 100 || len(w) < 3 {
			continue
		}
		if d := distance(typed, w); d < at && (d < 2 || len(w) > 4) {
			best, at = w, d
		}
	}
	return best
}

// distance counts typing mistakes: a letter too many, too few, a wrong one, two exchanged.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			wrong := 1
			if x[i-1] == y[j-1] {
				wrong = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+wrong)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}

// didYouMean is " Did you mean `x`?" or nothing.
func didYouMean(typed string, words []string) string {
	near := nearest(strings.ToLower(typed), words)
	if near == "" {
		return ""
	}
	return ". Did you mean " + code(near) + "?"
}

// alternatives is "`a`, `b` or `c`".
func alternatives(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = code(w)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " or " + quoted[last]
}

// unique sorts and drops what is there twice.
func unique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
