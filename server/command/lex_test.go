package command

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/shlex"
)

// What Atlantis splits one way is not split another way here.
func FuzzLex(f *testing.F) {
	for _, s := range []string{`a "b c" d`, `a 'b\c' "d\"e" \f`, `a "b`, `a\`, `"" ''`, `a"b"'c'`, "\t a  b\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool {
			return r == '#' || r == '\n' || r == '\r' || isInvisible(r) || isSpace(r) && r != ' ' && r != '\t'
		}) {
			return
		}
		want, err := shlex.Split(line)
		got := lex(line)
		if (err != nil) != (got.open != "") {
			t.Fatalf("lex(%q) is open %q, want %v", line, got.open, err)
		}
		if err != nil {
			return
		}
		var texts []string
		for _, tok := range got.tokens {
			texts = append(texts, tok.text)
		}
		if !slices.Equal(texts, want) {
			t.Errorf("lex(%q) = %q, want %q", line, texts, want)
		}
	})
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"plan", "plan", 0},
		{"plna", "plan", 1},
		{"plan", "pla", 1},
		{"", "plan", 4},
		{"plan", "", 4},
		{"plaan", "plan", 1},
		{"plon", "plan", 1},
		{"hold", "help", 2},
		{"lock", "unlock", 2},
		{"plän", "plan", 1},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
