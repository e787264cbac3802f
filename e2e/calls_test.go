package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxCalls is how many calls of the forge's API a plan may take, and an apply, however many projects there are. mergeCalls more
// are for an apply that is followed by a merge.
const (
	maxCalls   = 8
	mergeCalls = 4
)

// TestCallsOfTheForge counts what is asked of the forge for a plan and an apply of 1 and of 20 projects. The numbers stand in
// docs/forges.md.
func TestCallsOfTheForge(t *testing.T) {
	t.Parallel()
	var rows [][]string
	for _, projects := range []int{1, 20} {
		plan, apply := callsFor(t, projects)
		_, merge := callsFor(t, projects, "--automerge", "--automerge-method", "squash")
		for what, calls := range map[string]map[string]int{"plan": plan, "apply": apply, "merge": merge} {
			n, most := 0, maxCalls
			for _, c := range calls {
				n += c
			}
			if what == "merge" {
				most += mergeCalls
			}
			if n > most {
				t.Errorf("%d calls for the %s of %d projects, want at most %d:\n%s", n, what, projects, most, strings.Join(callRow(calls), "\n"))
			}
		}
		rows = append(rows, callRow(plan), callRow(apply), callRow(merge))
	}
	for i, what := range []string{"plan", "apply", "merge"} {
		if !slices.Equal(rows[i], rows[i+3]) {
			t.Errorf("the %s of 20 projects asks\n%s\nthat of one\n%s", what, strings.Join(rows[i+3], "\n"), strings.Join(rows[i], "\n"))
		}
	}
	docs, err := os.ReadFile("../docs/forges.md")
	must(t, err)
	want := "| A plan | " + strings.Join(rows[0], "<br>") + " |\n| An apply | " + strings.Join(rows[1], "<br>") + " |\n| An apply with `--automerge` | " + strings.Join(rows[2], "<br>") + " |\n"
	if !strings.Contains(string(docs), want) {
		t.Errorf("docs/forges.md does not say:\n%s", want)
	}
}

func callRow(calls map[string]int) []string {
	var row []string
	for _, call := range slices.Sorted(maps.Keys(calls)) {
		row = append(row, fmt.Sprintf("%d `%s`", calls[call], strings.Replace(call, repoPath(""), "", 1)))
	}
	return row
}

// callsFor opens a pull request with so many projects, lets it be planned and applied, and answers what each took.
func callsFor(t *testing.T, projects int, flags ...string) (plan, apply map[string]int) {
	t.Helper()
	w := newBareWorld(t)
	_, err := w.push("main", filepath.Join(w.dir, "nobody"), "nothing")
	must(t, err)
	files := filepath.Join(w.dir, "files")
	for i := range projects {
		dir := filepath.Join(files, fmt.Sprintf("p%02d", i))
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "main.tf"), []byte(soakConfig), 0o600))
	}
	_, err = w.push("change", files, "change")
	must(t, err)
	path := "PATH=" + stubTerraform(t, w) + ":" + os.Getenv("PATH")
	must(t, w.start(append(w.environ(), path), append(flags, "--reconcile-interval", "0")...))
	w.dev.asked()
	_, err = w.forge.open(w.as(ana), "Change", "change", "main")
	must(t, err)
	answered := func(n int) {
		must(t, w.until("an answer", func() (bool, error) {
			all, err := w.answers(1)
			return err == nil && len(all) == n, err
		}))
		must(t, w.idle())
	}
	answered(1)
	plan = w.dev.asked()
	must(t, cmdComment(nil, w, []string{"1", ana, "apply"}))
	answered(2)
	return plan, w.dev.asked()
}
