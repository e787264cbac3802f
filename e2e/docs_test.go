package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What docs/reliability.md names as the proof of a promise, of a fault or of a failure is there.
func TestPromisesHaveTests(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(raw)
	var proofs []string
	for _, proof := range regexp.MustCompile(`(?s)\*Stor(?:y|ies)\* (.*?)(?:\n\n|\.\n)`).FindAllStringSubmatch(doc, -1) {
		proofs = append(proofs, proof[1])
	}
	proofs = append(proofs, heldBy(doc)...)
	if len(proofs) < 50 {
		t.Errorf("%d proofs, want at least 50", len(proofs))
	}
	tests := testNames(t)
	for _, proof := range proofs {
		names := regexp.MustCompile("`([A-Za-z0-9_]+)`").FindAllStringSubmatch(proof, -1)
		if len(names) == 0 {
			t.Errorf("%q names no story and no test", proof)
		}
		for _, name := range names {
			if strings.HasPrefix(name[1], "Test") {
				if !tests[name[1]] {
					t.Errorf("there is no test %s", name[1])
				}
				continue
			}
			if _, err := os.Stat(filepath.Join("testdata", "stories", name[1]+".txtar")); err != nil {
				t.Error(err)
			}
		}
	}
}

// heldBy is the last cell of each row of the tables that end with who holds it.
func heldBy(doc string) []string {
	var out []string
	inside := false
	for line := range strings.Lines(doc) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		last := cells[len(cells)-1]
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case last == "Held by":
			inside = true
		case inside && !strings.HasPrefix(line, "|---"):
			out = append(out, last)
		}
	}
	return out
}

// testNames are the tests of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, name := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(raw), -1) {
			names[name[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
