package dispatch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/server/command"
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
				if strings.HasPrefix(text, "apply [-d DIR]") {
					continue // how a command is written, inside a fence
				}
				if cmd, err := command.Parse(text, words); cmd != nil || err != nil {
					t.Errorf("%s: %q is read as %+v, %v", filepath.Base(file), text, cmd, err)
				}
			}
		}
	}
}
