package backup_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/supervisor"
	"github.com/tidegate/tidegate/server/backup"
	"github.com/tidegate/tidegate/server/journal"
)

//nolint:gochecknoglobals // a flag of the test binary
var update = flag.Bool("update", false, "write testdata/*.answers.json anew")

// TestRecordedDirectories: every data directory that was ever recorded can be restored, opened and gone on with.
//
// format1 is what `tidegate backup` wrote on the day of its first version: four pull requests of a story,
// two of them applied, one being applied in that moment, one waiting for its lock; one keeps its state in the
// data directory. A change of a format adds a recording; none is ever made anew.
func TestRecordedDirectories(t *testing.T) {
	t.Parallel()
	recordings, err := filepath.Glob("testdata/*.tar.gz")
	ok(t, err)
	if len(recordings) == 0 {
		t.Fatal("no recordings")
	}
	for _, recording := range recordings {
		t.Run(filepath.Base(recording), func(t *testing.T) {
			t.Parallel()
			recordedDirectory(t, recording)
		})
	}
}

func recordedDirectory(t *testing.T, recording string) {
	t.Helper()
	raw, err := os.ReadFile(recording)
	ok(t, err)
	dir := filepath.Join(t.TempDir(), "data")
	_, err = backup.Restore(t.Context(), bytes.NewReader(raw), backup.Target{Dir: dir})
	ok(t, err)
	db, err := journal.OpenFile(filepath.Join(dir, backup.DBName), time.Second)
	ok(t, err)
	t.Cleanup(func() { _ = db.Close() })
	j, err := journal.Open(db)
	ok(t, err)
	t.Cleanup(func() { _ = j.Close() })
	locks, err := locking.Open(db)
	ok(t, err)

	got := answers(t, dir, j, locks)
	golden := strings.TrimSuffix(recording, ".tar.gz") + ".answers.json"
	if *update {
		ok(t, os.WriteFile(golden, got, 0o600))
	}
	want, err := os.ReadFile(golden)
	ok(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
	known, _, err := j.Event(t.Context(), 1)
	ok(t, err)
	if _, added, err := j.AddEvent(t.Context(), known.Event, known.Event.Key()); added || err != nil {
		t.Errorf("AddEvent() of a known one = %v, %v", added, err)
	}
}

// answers is what a server and its pages would find.
func answers(t *testing.T, dir string, j *journal.Journal, locks *locking.Store) []byte {
	t.Helper()
	ctx := t.Context()
	out := map[string]any{}
	keep := func(name string, v any, err error) {
		t.Helper()
		ok(t, err)
		out[name] = v
	}
	queued, err := j.Queued(ctx)
	keep("queued", queued, err)
	pulls, err := j.Pulls(ctx)
	keep("pulls", pulls, err)
	held, err := locks.Locks(ctx)
	keep("locks", held, err)
	waiters, err := locks.Waiters(ctx)
	keep("waiters", waiters, err)
	runs, err := j.Runs(ctx, journal.Filter{})
	keep("runs", runs, err)
	for _, p := range pulls {
		plans, err := j.Plans(ctx, p.ID)
		keep(fmt.Sprintf("plans of #%d", p.ID.Number), plans, err)
		reports, err := j.Reports(ctx, p.ID)
		keep(fmt.Sprintf("reports of #%d", p.ID.Number), reports, err)
	}
	for _, r := range runs {
		jobs, err := j.Jobs(ctx, r.ID)
		keep("jobs of "+r.ID, jobs, err)
		for _, job := range jobs {
			for name, v := range jobAnswers(t, job.Job.Dir) {
				out[name+" of "+job.Job.ID] = v
			}
		}
	}
	raw, err := json.MarshalIndent(out, "", "  ")
	ok(t, err)
	return append(bytes.ReplaceAll(raw, []byte(dir), []byte("/data")), '\n')
}

func jobAnswers(t *testing.T, dir string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if result, err := runner.LoadResult(dir); err == nil {
		out["result"] = result
	} else {
		out["result"] = strings.ReplaceAll(err.Error(), dir, "...")
	}
	log, err := runner.OpenLog(dir)
	ok(t, err)
	text, err := io.ReadAll(log)
	ok(t, err)
	ok(t, log.Close())
	out["lines of the log"] = strings.Count(string(text), "\n")
	steps, err := filepath.Glob(filepath.Join(dir, "[0-9]*-*"))
	ok(t, err)
	for _, step := range steps {
		state, _, status, err := supervisor.Inspect(step)
		ok(t, err)
		out[filepath.Base(step)] = map[string]any{"state": state.String(), "status": status}
	}
	return out
}
