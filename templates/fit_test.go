package templates_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/templates"
)

// TestFit: whatever is planned, the comment stays within the limit, in bytes; every project stands in
// the table, every failure is told, and what is left out is counted.
func TestFit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		projects, failed, lines, width int
		limit                          int
		leavesOut                      bool
	}{
		{projects: 1, lines: 10, width: 40, limit: 60_000},
		{projects: 1, lines: 1, width: 200_000, limit: 60_000},
		{projects: 1, lines: 100_000, width: 40, limit: 60_000},
		{projects: 3, failed: 3, lines: 40_000, width: 40, limit: 60_000},
		{projects: 60, failed: 20, lines: 500, width: 60, limit: 60_000, leavesOut: true},
		{projects: 300, failed: 10, lines: 30, width: 80, limit: 60_000, leavesOut: true},
		{projects: 40, lines: 5, width: 10, limit: 8_000, leavesOut: true},
		{projects: 5, lines: 3000, width: 30, limit: 900_000},
	} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			t.Parallel()
			text := strings.Repeat("+ "+strings.Repeat("ä", tt.width/2)+"\n", tt.lines) + "Plan: 1 to add, 0 to change, 0 to destroy."
			var jobs []templates.Job
			for i := range tt.projects {
				j := templates.Job{Label: fmt.Sprintf("p%03d", i), State: templates.StateReady, Changes: known(templates.Changes{Add: 1}), Text: text, LogURL: link("x"), Flags: "-d x"}
				if i < tt.failed {
					j.State, j.Error = templates.StateFailed, &templates.Failure{Summary: "it failed", Text: fmt.Sprintln(i) + text} // each for a reason of its own
				}
				jobs = append(jobs, j)
			}
			got := templates.Plan{Jobs: jobs, CommentLimit: tt.limit, Footer: footer("plan", "push:a1b2c3d")}.Render()
			if len(got) > tt.limit {
				t.Errorf("the comment has %d bytes, the limit is %d", len(got), tt.limit)
			}
			if rows := strings.Count(got, "\n| `p"); tt.projects > 1 && rows != tt.projects {
				t.Errorf("the table has %d rows, want %d", rows, tt.projects)
			}
			if failures := strings.Count(got, "<b>failed</b>"); failures != tt.failed {
				t.Errorf("%d failures are told, want %d", failures, tt.failed)
			}
			left := tt.projects - strings.Count(got, "<details")
			said := fmt.Sprintf("%d plans are left out here", left)
			if (left > 0) != tt.leavesOut || (left > 0) != strings.Contains(got, said) {
				t.Errorf("%d plans are left out, want any: %v, and that it is said", left, tt.leavesOut)
			}
			if !strings.Contains(got, "To apply") && !strings.Contains(got, "Push a fix") {
				t.Error("the hint is gone")
			}
			page := withGoldmark(t, got)
			if open, closed := strings.Count(page, "<details"), strings.Count(page, "</details>"); open != closed {
				t.Errorf("%d folds are opened, %d closed", open, closed)
			}
		})
	}
}

// TestHugeTable: a table that does not even fit alone is cut, and says so.
func TestHugeTable(t *testing.T) {
	t.Parallel()
	var jobs []templates.Job
	for i := range 2000 {
		jobs = append(jobs, templates.Job{Label: fmt.Sprintf("p%04d", i), State: templates.StateReady, Changes: known(templates.Changes{Add: 1}), LogURL: link("x")})
	}
	got := templates.Plan{Jobs: jobs, CommentLimit: 60_000, Footer: footer("plan", "push:a1b2c3d")}.Render()
	rows := strings.Count(got, "\n| `p")
	if len(got) > 60_000 || rows < 500 || !strings.Contains(got, fmt.Sprintf("has %d more.", 2000-rows)) {
		t.Errorf("%d bytes, %d rows, and it does not say that %d are left out", len(got), rows, 2000-rows)
	}
}
