package journal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/server/journal"
)

func report(id string, n int) journal.Report {
	return journal.Report{ID: id, Pull: pull(1), Kind: "answer", Command: "plan", Body: "body of " + id, Marker: "<!-- m -->", Intended: at(n)}
}

func ids(rs []journal.Report) []string {
	var out []string
	for _, r := range rs {
		out = append(out, r.ID)
	}
	return out
}

func TestReportsAreOwedUntilTheyStand(t *testing.T) {
	t.Parallel()
	j := open(t)
	// Ids in another order than the times.
	for i, id := range []string{"d", "c", "b", "a"} {
		ok(t, j.PutReport(t.Context(), report(id, i)))
	}
	elsewhere := report("e", 9)
	elsewhere.Pull = pull(2)
	ok(t, j.PutReport(t.Context(), elsewhere))
	owed, err := j.Unposted(t.Context())
	ok(t, err)
	want(t, "owed", ids(owed), []string{"d", "c", "b", "a", "e"})

	posted, gone, deleted := report("a", 3), report("b", 2), report("c", 1)
	posted.Comment, posted.Node, posted.Posted = 5, "n", at(7)
	gone.Gone = "locked"
	deleted.Deleted = true
	for _, r := range []journal.Report{posted, gone, deleted} {
		ok(t, j.PutReport(t.Context(), r))
	}
	owed, err = j.Unposted(t.Context())
	ok(t, err)
	want(t, "owed", ids(owed), []string{"d", "e"})
	all, err := j.Reports(t.Context(), pull(1))
	ok(t, err)
	want(t, "of the pull request", ids(all), []string{"d", "c", "b", "a"})
	got, found, err := j.Report(t.Context(), "a")
	if err != nil || !found {
		t.Fatalf("Report(a) = %v, %v", found, err)
	}
	want(t, "report", got, posted)
	if _, found, err := j.Report(t.Context(), "z"); found || err != nil {
		t.Errorf("Report(z) = %v, %v, want nothing", found, err)
	}
}

func TestPutReportRefuses(t *testing.T) {
	t.Parallel()
	j := open(t)
	if err := j.PutReport(t.Context(), report("", 1)); err == nil {
		t.Error("PutReport() without an id = nil error")
	}
	r := report("a", 1)
	ok(t, j.PutReport(t.Context(), r))
	r.Pull = pull(2)
	if err := j.PutReport(t.Context(), r); err == nil {
		t.Error("PutReport() that moves a report to another pull request = nil error")
	}
}

func TestLongBodiesAreFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openWith(t, filepath.Join(dir, "tidegate.db"), journal.Options{})
	long := report("long", 1)
	long.Body = strings.Repeat("\"<plan>\"\n", 8000) // 64 KiB as it is, more as JSON
	ok(t, j.PutReport(t.Context(), long))
	got, _, err := j.Report(t.Context(), "long")
	ok(t, err)
	if got.Body != long.Body {
		t.Errorf("Report().Body has %d bytes, want the %d that were put", len(got.Body), len(long.Body))
	}
	owed, err := j.Unposted(t.Context())
	if err != nil || len(owed) != 1 || owed[0].Body != long.Body {
		t.Errorf("Unposted() = %d reports, %v, want the long one with its body", len(owed), err)
	}
	listed, err := j.Reports(t.Context(), pull(1))
	if err != nil || len(listed) != 1 || listed[0].Body != "" || listed[0].BodyFile != got.BodyFile {
		t.Errorf("Reports() = %v, %v, want it without its body", ids(listed), err)
	}
	listed[0].Folded = true
	ok(t, j.PutReport(t.Context(), listed[0]))
	if again, _, err := j.Report(t.Context(), "long"); err != nil || again.Body != long.Body || !again.Folded {
		t.Errorf("Report() after it was folded: %d bytes, %v, want its body", len(again.Body), err)
	}
	file := filepath.Join(dir, "reports", got.BodyFile)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v, want 0600", info, err)
	}
	short := got
	short.Body = "short now"
	ok(t, j.PutReport(t.Context(), short))
	if again, _, err := j.Report(t.Context(), "long"); err != nil || again.Body != "short now" || again.BodyFile != "" {
		t.Errorf("Report() = %q in %q, %v, want the short body", again.Body, again.BodyFile, err)
	}
}

// A body comes back as it was, whatever JSON would make of it.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	j := open(t)
	for name, body := range map[string]string{
		"control characters": strings.Repeat("\x1b", 16<<10),
		"not UTF-8":          "a\xffb",
		"NUL":                "a\x00b",
		"quotes":             strings.Repeat("\"\\\n", 5000),
		"line separators":    strings.Repeat("\u2028", 5000),
	} {
		r := report(name, 1)
		r.Body = body
		if err := j.PutReport(t.Context(), r); err != nil {
			t.Errorf("%s: PutReport() = %v", name, err)
		}
		if got, _, err := j.Report(t.Context(), name); err != nil || got.Body != body {
			t.Errorf("%s: Report() = %.40q, %v, want %.40q", name, got.Body, err, body)
		}
	}
}

func TestDamagedBody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := openWith(t, filepath.Join(dir, "tidegate.db"), journal.Options{Bodies: filepath.Join(dir, "b")})
	long := report("long", 1)
	long.Body = strings.Repeat("x", 20_000)
	ok(t, j.PutReport(t.Context(), long))
	got, _, err := j.Report(t.Context(), "long")
	ok(t, err)
	file := filepath.Join(dir, "b", got.BodyFile)
	ok(t, os.WriteFile(file, []byte("y"), 0o600))
	r, found, err := j.Report(t.Context(), "long")
	if !journal.Damaged(err) || !strings.Contains(err.Error(), "damaged") || !found || r.Marker != long.Marker {
		t.Errorf("Report() = %+v, %v, %v, want all but its text, and that the file is damaged", r, found, err)
	}
	ok(t, j.PutReport(t.Context(), report("whole", 2)))
	ok(t, os.Remove(file))
	owed, err := j.Unposted(t.Context())
	if !journal.Damaged(err) || !strings.Contains(err.Error(), got.BodyFile) {
		t.Errorf("Unposted() = %v, want an error that names the file", err)
	}
	want(t, "owed", ids(owed), []string{"whole"})
	ok(t, os.Mkdir(file, 0o700)) // an error, but not that it is gone
	if owed, err := j.Unposted(t.Context()); !journal.Damaged(err) || len(owed) != 1 {
		t.Errorf("Unposted() = %v, %v, want the other one", ids(owed), err)
	}
	if _, _, err := j.Report(t.Context(), "long"); err == nil || journal.Damaged(err) {
		t.Errorf("Report() of a file that can't be read now = %v, want an error that may pass", err)
	}
}
