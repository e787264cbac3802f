package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	tests := testFiles(t)
	for _, proof := range proofs {
		names := regexp.MustCompile("`([A-Za-z0-9_]+)`").FindAllStringSubmatch(proof, -1)
		if len(names) == 0 {
			t.Errorf("%q names no story and no test", proof)
		}
		for _, name := range names {
			if strings.HasPrefix(name[1], "Test") {
				if len(tests[name[1]]) == 0 {
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

// What docs/forges.md names as what shows an ability of a forge, or what becomes of bad input there, is a story that is told on that forge, or a
// test of its client or of the whole server.
func TestAbilitiesHaveTests(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../docs/forges.md")
	must(t, err)
	tests := testFiles(t)
	columns := []struct {
		dialect, client string
		not             map[string]string
	}{{"", "github", nil}, {"gitlab", "gitlab", notOnGitLab()}, {"gitea", "gitea", notOnGitea()}}
	shown := 0
	for _, row := range rowsBelow(string(raw), "| | GitHub | GitLab | Gitea |") {
		for i, c := range columns {
			for _, name := range regexp.MustCompile("`([A-Za-z0-9_]+)`").FindAllStringSubmatch(row[i+1], -1) {
				shown++
				if strings.HasPrefix(name[1], "Test") {
					if !slices.ContainsFunc(tests[name[1]], func(file string) bool {
						return strings.HasPrefix(file, "../vcs/"+c.client+"/") || !strings.HasPrefix(file, "../vcs/git")
					}) {
						t.Errorf("%s, %s: there is no %s of that forge", row[0], c.client, name[1])
					}
				} else if why := told(name[1], c.dialect, c.not); why != "" {
					t.Errorf("%s, %s: %s", row[0], c.client, why)
				}
			}
		}
	}
	if shown < 80 {
		t.Errorf("only %d names are there", shown)
	}
}

// told is why a story is not told on a forge; "" is that it is.
func told(story, dialect string, not map[string]string) string {
	if dialect != "" {
		if _, err := os.Stat(filepath.Join("testdata", dialect, story+".txtar")); err == nil {
			return ""
		}
	}
	raw, err := os.ReadFile(filepath.Join("testdata", "stories", story+".txtar"))
	switch {
	case err != nil:
		return err.Error()
	case dialect != "" && onlyOnDevforge.Match(raw):
		return story + " needs devforge"
	case not[story] != "":
		return not[story]
	}
	return ""
}

// rowsBelow are the cells of the tables below a head.
func rowsBelow(doc, head string) (rows [][]string) {
	inside := false
	for line := range strings.Lines(doc) {
		switch line = strings.TrimSpace(line); {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case line == head:
			inside = true
		case inside && !strings.HasPrefix(line, "|---"):
			rows = append(rows, strings.Split(strings.Trim(line, "|"), "|"))
		}
	}
	return rows
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

// testFiles are the files in which the tests of the module are, by their names.
func testFiles(t *testing.T) map[string][]string {
	t.Helper()
	names := map[string][]string{}
	err := filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, name := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(raw), -1) {
			names[name[1]] = append(names[name[1]], filepath.ToSlash(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
