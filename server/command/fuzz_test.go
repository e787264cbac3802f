package command

import (
	"errors"
	"path"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"plan", "apply -d dns -w prod", "`plan -p x`", "tidegate plna", "@tidebot plan -x", "/plan -d ../..", "plan —d x",
		`plan -d "a b`, "plan\napply", "> plan", "```\nplan\n```", "plan looks good", "plan -- -target=x", "\u00a0plan\u200b\r\n", "    plan",
		"tidegate help plan", `plan -d='x y' -w "z"`, "plan \x00", "/hlep", "<!-- plan -->",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cmd, err := Parse(text, ours)
		if err != nil {
			var wrong *Error
			if !errors.As(err, &wrong) || cmd != nil {
				t.Fatalf("Parse(%q) = %v, %v", text, cmd, err)
			}
			check(t, text, wrong)
			return
		}
		if cmd == nil {
			return
		}
		allCommands(t, text)
		readsBack(t, *cmd)
		for _, talk := range []string{"> " + text, "    " + text, "- " + text, "```\n" + text + "\n```", text + "\n\nthanks", "well\n" + text, "\"" + text + "\""} {
			if got, err := Parse(strings.TrimRight(talk, " "), ours); got != nil || err != nil {
				if strings.HasPrefix(talk, "    ") && strings.ContainsAny(text, "\n\r\v\f\u0085\u2028\u2029") {
					continue // only the first line, an empty one, was indented
				}
				t.Errorf("Parse(%q) = %+v, %v, want talk", talk, got, err)
			}
		}
	})
}

// allCommands: every line of what is a command that is not blank is one.
func allCommands(t *testing.T, text string) {
	t.Helper()
	some := false
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("\n\r\v\f\u0085\u2028\u2029", r) }) {
		cmd, err := Parse(line, ours)
		blank := strings.TrimFunc(line, func(r rune) bool { return r < '!' || r > '~' }) == ""
		if err != nil || cmd == nil && !blank {
			t.Errorf("Parse(%q) is a command, and its line %q is %v, %v", text, line, cmd, err)
		}
		some = some || cmd != nil
	}
	if !some {
		t.Errorf("Parse(%q) is a command, and none of its lines is", text)
	}
}

func readsBack(t *testing.T, c Command) {
	t.Helper()
	if c.Dir != "" && (path.Clean(c.Dir) != c.Dir || path.IsAbs(c.Dir) || c.Dir == ".." || strings.HasPrefix(c.Dir, "../")) {
		t.Errorf("Dir = %q, want it clean and inside", c.Dir)
	}
	hint := Hint(c)
	got, err := Parse(hint, ours)
	if err != nil || got == nil {
		t.Fatalf("Parse(Hint(%+v) = %q) = %v, %v", c, hint, got, err)
	}
	c.Line = got.Line
	if *got != c {
		t.Errorf("Parse(Hint(%+v) = %q) = %+v", c, hint, *got)
	}
}
