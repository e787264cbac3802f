package journal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// A directory that was recorded when format 1 was made: a journal with one of everything. Beside it
// stand what is read from it and how it lies in the file.
const (
	recorded      = "testdata/format1"
	recordedFile  = recorded + "/tidegate.db"
	goldenAnswers = "testdata/format1.answers.json"
	goldenLayout  = "testdata/format1.layout.txt"
)

//nolint:gochecknoglobals // a flag of the test binary
var recording = flag.Bool("record", false, "record "+recorded+" anew; only before its format was ever released")

const (
	firstRun  = "01HF7YAT00ZZZZZZZZZZZZZZZ0"
	secondRun = "01HF7YAT00ZZZZZZZZZZZZZZZ1"
)

func TestFormat1(t *testing.T) {
	t.Parallel()
	if *recording {
		record(t)
	}
	dir := t.TempDir()
	ok(t, os.CopyFS(dir, os.DirFS(recorded)))
	db := openDB(t, filepath.Join(dir, "tidegate.db"))
	layout := dump(t, db)
	j, err := journal.Open(db)
	ok(t, err)
	got := answers(t, j)
	if *recording {
		ok(t, os.WriteFile(goldenAnswers, got, 0o600))
		ok(t, os.WriteFile(goldenLayout, layout, 0o600))
	}
	for file, got := range map[string][]byte{goldenAnswers: got, goldenLayout: layout} {
		golden, err := os.ReadFile(file)
		ok(t, err)
		want(t, file, string(got), string(golden))
	}
	// It can be gone on with.
	if seq, added, err := j.AddEvent(t.Context(), event(1), "comment"); seq != 1 || added || err != nil {
		t.Errorf("AddEvent() of a known one = %d, %v, %v, want 1, false", seq, added, err)
	}
	if seq, added, err := j.AddEvent(t.Context(), event(1), "new"); seq != 4 || !added || err != nil {
		t.Errorf("AddEvent() of a new one = %d, %v, %v, want 4, true", seq, added, err)
	}
	if id := j.NewRunID(); id <= secondRun {
		t.Errorf("NewRunID() = %s, want it after %s", id, secondRun)
	}
	ok(t, j.Close())
}

// answers is everything that can be read, as JSON.
func answers(t *testing.T, j *journal.Journal) []byte {
	t.Helper()
	ctx := t.Context()
	out := map[string]any{"server": j.ServerID(), "marker key": j.MarkerKey()}
	keep := func(name string) func(v any, err error) {
		return func(v any, err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			out[name] = v
		}
	}
	queued, err := j.Queued(ctx)
	keep("queued")(queued, err)
	ev, _, err := j.Event(ctx, 1)
	keep("event 1")(ev, err)
	runs, err := j.Runs(ctx, journal.Filter{})
	keep("runs")(runs, err)
	p := pull(1)
	runs, err = j.Runs(ctx, journal.Filter{Pull: &p, Running: true})
	keep("running of #1")(runs, err)
	r, _, err := j.RunOf(ctx, 1)
	keep("run of event 1")(r, err)
	jobs, err := j.Jobs(ctx, firstRun)
	keep("jobs")(jobs, err)
	plans, err := j.Plans(ctx, p)
	keep("plans of #1")(plans, err)
	old, _, err := j.Plan(ctx, firstRun+"/1")
	keep("superseded plan")(old, err)
	reports, err := j.Reports(ctx, p)
	keep("reports of #1")(reports, err)
	owed, err := j.Unposted(ctx)
	keep("owed")(owed, err)
	pulls, err := j.Pulls(ctx)
	keep("pulls")(pulls, err)
	repos, err := j.Repos(ctx)
	keep("repos")(repos, err)
	raw, err := json.MarshalIndent(out, "", "  ")
	ok(t, err)
	return append(raw, '\n')
}

// dump writes all buckets, keys and values as they lie in the file.
func dump(t *testing.T, db *bbolt.DB) []byte {
	t.Helper()
	var out bytes.Buffer
	ok(t, db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			fmt.Fprintf(&out, "%s (sequence %d)\n", name, b.Sequence())
			return b.ForEach(func(k, v []byte) error {
				key, value := string(k), string(v)
				if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
					key = hex.EncodeToString(k)
				}
				if !json.Valid(v) && len(v) > 0 && !strings.HasPrefix(value, "01") {
					value = hex.EncodeToString(v)
				}
				fmt.Fprintf(&out, "\t%s\n\t\t%s\n", key, value)
				return nil
			})
		})
	}))
	return out.Bytes()
}

// record makes a journal with one of everything and every field.
func record(t *testing.T) {
	t.Helper()
	ok(t, os.RemoveAll(recorded))
	ok(t, os.MkdirAll(recorded, 0o755))
	db := openDB(t, recordedFile)
	j, err := journal.Open(db)
	ok(t, err)
	ctx := t.Context()
	p := runner.Project{Dir: "envs/prod", Workspace: "blue", Name: "core"}
	comment := vcs.Event{
		Kind: vcs.Commented, Delivery: "d-1", Repo: repo(), Pull: 1, Sender: "ada", At: at(1), Comment: &vcs.Comment{
			ID: 5, Node: "IC_5", Author: "ada", Body: "tidegate plan -d <envs>\n", URL: "https://github.com/c/5", CreatedAt: at(1),
		},
	}
	push := vcs.Event{Kind: vcs.PullPushed, Repo: repo(), Pull: 2, Head: "abc", Base: "def", BaseRef: "main", Sender: "bob", At: at(2)}
	_, _, err = j.AddEvent(ctx, comment, "comment")
	ok(t, err)
	_, _, err = j.AddEvent(ctx, push, "push")
	ok(t, err)
	_, _, err = j.AddInternal(ctx, journal.Internal{
		Kind: "unlocked", Pull: pull(1), LockID: "l", Key: "k", User: "ada", Cause: "unlock:#2", Projects: []runner.Project{p},
	}, "turn")
	ok(t, err)
	r := journal.Run{
		ID: firstRun, Event: 1, Pull: pull(1), Repo: "acme/infra", PullTitle: "Add a <zone>", PullURL: "https://github.com/p/1",
		User: "ada", Command: "plan", Targeted: true, Line: "tidegate plan -d <envs>", Source: "comment:5", Head: "h", Base: "b",
		BaseRef: "main", Merge: "m", Tree: "t", State: journal.Running, Started: at(3), CommentAt: at(1), CommentID: 5,
	}
	tool := runner.Tool{Distribution: "terraform", Version: "1.11.4", Path: "/bin/terraform"}
	work := runner.Job{
		ID: firstRun + "/1", Action: runner.Plan, Dir: "/d/runs/1", Checkout: "/d/checkouts/1", Project: p, Tool: tool,
		DataDir: "/d/tf", StateDir: "/d/states", PlanFile: "/d/plans/x",
	}
	changes := runner.Changes{Import: 1, Add: 2, Change: 3, Replace: 4, Destroy: 5, Forget: 6, Outputs: true, Known: true}
	ok(t, j.CreateRun(ctx, r, []journal.Job{
		{
			Run: firstRun, N: 1, Job: work, State: journal.JobDone, ResultFile: "result.json", PlanID: firstRun + "/1",
			Started: at(4), Ended: at(5), Digest: "sha256:d", Note: "kept", Result: &runner.Summary{
				End: runner.PartlyApplied, Changes: changes, Started: at(4), Ended: at(5), Evidence: []string{"serial 4"},
				Failure: &runner.Failure{Summary: "Reference to undeclared resource", Text: "Error: <x>\n"},
			},
		},
		{Run: firstRun, N: 2, State: journal.JobWaiting, Waiting: &journal.Waiting{Pull: 2, URL: "u", User: "bob", Since: at(0), Ahead: 1}},
	}))
	plan := journal.Plan{
		ID: firstRun + "/1", Pull: pull(1), Project: p, State: journal.PlanReady, Run: firstRun, N: 1, File: "/d/plans/x", SHA256: "x",
		Digest: "sha256:d", Head: "h", Base: "b", Tree: "t", Tool: tool, Checkout: "/d/checkouts/1", TFData: "/d/tf", LocalState: true,
		Requirements: []string{"approved"}, Made: at(5), Changes: changes,
	}
	ok(t, j.PutPlan(ctx, plan))
	ok(t, j.ReportPlans(ctx, firstRun, 6, at(6)))
	ok(t, j.EndRun(ctx, firstRun, "1 to add", at(7)))
	ok(t, j.EventDone(ctx, 1, firstRun, ""))
	r.ID, r.Event, r.Command = secondRun, 2, "apply"
	ok(t, j.CreateRun(ctx, r, nil))
	plan.ID, plan.Run = secondRun+"/1", secondRun
	ok(t, j.PutPlan(ctx, plan))
	ok(t, j.SetPlanState(ctx, plan.ID, journal.PlanApplied, "ada", "applied"))
	long := report(secondRun, 9)
	long.Run, long.Body = secondRun, strings.Repeat("a long answer\n", 1500)
	ok(t, j.PutReport(ctx, long))
	posted := report(firstRun, 8)
	posted.Run, posted.Posted, posted.Comment, posted.Node = firstRun, at(6), 6, "IC_6"
	posted.Gone, posted.Folded, posted.Deleted = "locked", true, true
	ok(t, j.PutReport(ctx, posted))
	ok(t, j.PutPull(ctx, journal.PullRecord{
		ID: pull(1), Repo: repo(), Title: "Add a <zone>", URL: "u", Author: "ada", State: vcs.Open, Head: "h", Base: "b", LastEvent: at(3),
		LastAutoplan: journal.Autoplan{Head: "h", Base: "b", Run: firstRun},
		Statuses:     map[string]string{"tidegate/plan": "h|success|1 ready|u"},
	}))
	ok(t, j.PutRepo(ctx, journal.RepoRecord{Repo: repo(), FirstSeen: at(0), Watermark: at(9), Tags: map[string]string{"pulls": `W/"x"`}}))
	ok(t, j.Ping(ctx))
	ok(t, errors.Join(j.Close(), db.Close(), os.Remove(recordedFile+".owner")))
}
