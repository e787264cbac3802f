package dispatch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/server/command"
	"github.com/tidegate/tidegate/templates"
)

// TestOurCommentsAreNoCommands: nothing that we post is a command, as a whole or line by line, so that
// an answer never asks for another one.
func TestOurCommentsAreNoCommands(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../templates/testdata/*.md")
	if err != nil || len(files) < 30 {
		t.Fatalf("found %d goldens (%v), want at least 30", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range []command.Words{{Executable: "tidegate", Mention: "tidegate"}, {Executable: "atlantis"}} {
			for _, text := range append(strings.Split(string(raw), "\n"), string(raw)) {
				if cmd, err := command.Parse(text, words); cmd != nil || err != nil {
					t.Errorf("%s: %q is read as %+v, %v", filepath.Base(file), text, cmd, err)
				}
			}
		}
	}
}

// FuzzOutsideTextIsNoCommand: no line of what terraform or a repository says becomes a command in our comments. What only
// asks for help may.
func FuzzOutsideTextIsNoCommand(f *testing.F) {
	for _, row := range command.Help() {
		for form := range strings.SplitSeq(row.Command, ",") {
			word, _, _ := strings.Cut(strings.TrimSpace(form), " DIR")
			for _, before := range []string{"", " ", "/", "tidegate ", "@tidegate ", "`", "\u00a0", "atlantis\t", "\x1b[1m"} {
				f.Add(before + word)
				f.Add("Error: no\n" + before + strings.ToUpper(word) + " dns\nmore")
			}
		}
	}
	f.Add("apply -d dns")
	f.Add("`plan -w prod`")
	f.Fuzz(func(t *testing.T, text string) {
		for _, words := range []command.Words{{Executable: "tidegate", Mention: "tidegate"}, {Executable: "atlantis"}} {
			for line := range strings.SplitSeq(templates.Fence("", text), "\n") {
				if cmd, _ := command.Parse(line, words); cmd != nil && cmd.Name != command.NameHelp {
					t.Errorf("of %q the line %q is read as %+v", text, line, *cmd)
				}
			}
		}
	})
}
