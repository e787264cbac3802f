package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/reliability.md names as the proof of a promise is there.
func TestPromisesHaveTests(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, proof := range regexp.MustCompile(`(?s)\*Stor(?:y|ies)\* (.*?)(?:\n\n|\.\n)`).FindAllStringSubmatch(string(raw), -1) {
		for _, name := range regexp.MustCompile("`([A-Za-z_]+)`").FindAllStringSubmatch(proof[1], -1) {
			named++
			if strings.HasPrefix(name[1], "Test") {
				if !isTest(t, name[1]) {
					t.Errorf("there is no test %s", name[1])
				}
				continue
			}
			if _, err := os.Stat(filepath.Join("testdata", "stories", name[1]+".txtar")); err != nil {
				t.Error(err)
			}
		}
	}
	if named < 10 {
		t.Errorf("%d proofs are named, want at least 10", named)
	}
}

// isTest reports whether a test of that name is anywhere in the module.
func isTest(t *testing.T, name string) bool {
	t.Helper()
	files, err := filepath.Glob("../*/*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "func "+name+"(") {
			return true
		}
	}
	return false
}
