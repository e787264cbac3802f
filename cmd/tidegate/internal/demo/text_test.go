package demo

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const comment = "### Plan for 2 projects: 2 ready\n\n" +
	"| Project | Changes | State |\n|---|---|---|\n| `dns` | 2 add | [ready](http://127.0.0.1:4141/runs/1#1) |\n| `network` | 1 add | [ready](http://127.0.0.1:4141/runs/1#2) |\n\n" +
	"<details><summary><code>dns</code>: 2 add</summary>\n\n```diff\n+ resource \"a\" \"<b>\" {\n- old\n! changed\n  | same |\n```\n</details>\n\n" +
	"To apply, comment `apply`.\n\n<sub>Commit [`5a88699`](http://x/y) · [full log](http://z)</sub>\n\n<!-- tidegate:1 mac=7c -->\n"

func TestReadable(t *testing.T) {
	t.Parallel()
	want := strings.Join([]string{
		"Plan for 2 projects: 2 ready", "",
		"  Project    Changes  State",
		"  `dns`      2 add    ready",
		"  `network`  1 add    ready", "",
		"`dns`: 2 add", "",
		`  + resource "a" "<b>" {`, "  - old", "  ! changed", "    | same |", "",
		"To apply, comment `apply`.", "",
		"Commit `5a88699` · full log",
	}, "\n")
	if diff := cmp.Diff(want, readable(comment, false)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	coloured := readable(comment, true)
	for _, line := range []string{bold + "Plan for 2 projects: 2 ready" + plain, green + `+ resource "a" "<b>" {` + plain, red + "- old" + plain, gold + "! changed" + plain} {
		if !strings.Contains(coloured, line) {
			t.Errorf("%q is not in %q", line, coloured)
		}
	}
	if diff := cmp.Diff(want, tagless(coloured)); diff != "" {
		t.Errorf("without its colours (-want +got):\n%s", diff)
	}
}

func tagless(s string) string {
	return strings.NewReplacer(bold, "", green, "", red, "", gold, "", plain, "").Replace(s)
}

func TestColoursAreForTerminals(t *testing.T) {
	t.Parallel()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as terminals are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	env := func(pairs ...string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1], true
				}
			}
			return "", false
		}
	}
	switch {
	case !colourful(null, env("TERM", "xterm")):
		t.Error("no colours on a terminal")
	case colourful(null, env("TERM", "xterm", "NO_COLOR", "1")):
		t.Error("colours in spite of NO_COLOR")
	case colourful(null, env("TERM", "dumb")), colourful(null, env()):
		t.Error("colours on a terminal that has none")
	case colourful(file, env("TERM", "xterm")), colourful(&bytes.Buffer{}, env("TERM", "xterm")):
		t.Error("colours in a file")
	}
}
