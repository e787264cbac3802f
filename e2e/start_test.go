package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// How large a journal is, and how soon a server that was killed must be there again with it.
const (
	pastRuns    = 10_000
	readyWithin = 2 * time.Second
	adoptWithin = 5 * time.Second
)

// BenchmarkStart measures how long a server that was killed in the middle of an apply takes to be ready and to
// go on with the apply, with ten thousand runs in its journal. make measure-start runs it.
func BenchmarkStart(b *testing.B) {
	w := newBareWorld(b)
	files := filepath.Join(w.dir, "files", "network")
	must(b, os.MkdirAll(files, 0o755))
	must(b, os.WriteFile(filepath.Join(files, "main.tf"), []byte(slowApply), 0o600))
	_, err := w.push("main", filepath.Join(w.dir, "nobody"), "nothing")
	must(b, err)
	must(b, w.start(w.environ()))
	_, err = w.push("change", filepath.Join(w.dir, "files"), "one")
	must(b, err)
	must(b, cmdOpen(nil, w, []string{"1", "change"}))
	must(b, cmdStatus(nil, w, []string{"1", "tidegate/plan", "success"}))
	must(b, w.idle())
	must(b, w.stop(syscall.SIGTERM))
	began := time.Now()
	pastOf(b, filepath.Join(w.data, "tidegate.db"))
	b.Logf("%d runs were journalled in %s", pastRuns, time.Since(began).Round(time.Millisecond))
	must(b, w.start(w.environ()))
	must(b, cmdComment(nil, w, []string{"1", ana, "apply"}))
	must(b, w.until("the apply to run", func() (bool, error) {
		_, err := os.Stat(filepath.Join(w.state(), "ledger"))
		return err == nil, err
	}))
	for b.Loop() {
		ready, adopted := w.killed(b)
		b.Logf("ready after %s, adopted after %s", ready.Round(time.Millisecond), adopted.Round(time.Millisecond))
		if ready > readyWithin || adopted > adoptWithin {
			b.Errorf("ready after %s (want %s), adopted after %s (want %s)", ready, readyWithin, adopted, adoptWithin)
		}
		b.ReportMetric(float64(ready.Milliseconds()), "ms-to-ready")
		b.ReportMetric(float64(adopted.Milliseconds()), "ms-to-adopted")
	}
	must(b, os.WriteFile(filepath.Join(w.state(), "go"), nil, 0o600))
	must(b, cmdStatus(nil, w, []string{"1", "tidegate/apply", "success"}))
}

const slowApply = `terraform {
  backend "local" {
    path = "@STATE@/network.tfstate"
  }
}
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "echo start >> '@STATE@/ledger'; while ! [ -e '@STATE@/go' ]; do sleep 0.05; done"
  }
}
`

// killed kills the server, starts it again, and answers how long that took.
func (w *world) killed(b *testing.B) (ready, adopted time.Duration) {
	b.Helper()
	must(b, w.stop(syscall.SIGKILL))
	log := filepath.Join(w.dir, "server.log")
	before, err := os.Stat(log)
	must(b, err)
	began := time.Now()
	must(b, w.start(w.environ()))
	ready = time.Since(began)
	must(b, w.until("the apply to be adopted", func() (bool, error) {
		raw, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(raw[before.Size():]), "adopted an apply"), err
	}))
	return ready, time.Since(began)
}

// newBareWorld is a world without a story.
func newBareWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{dir: tb.TempDir(), bin: build(tb), seen: map[int64]bool{}}
	w.data = filepath.Join(w.dir, "data")
	must(tb, w.lay())
	w.dev, w.states = newForge(tb, w.dir), newStates()
	w.forge = w.dev
	tb.Cleanup(w.end)
	return w
}

// environ is a server's environment outside of stories, with nothing of this machine's configuration.
func (w *world) environ() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "home"), "TMPDIR=" + filepath.Join(w.dir, "tmp")}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// pastOf writes runs that are over into a journal, each with its event, a job, a plan and an answer.
func pastOf(b *testing.B, path string) {
	b.Helper()
	db, err := journal.OpenFile(path, time.Second)
	must(b, err)
	db.NoSync = true // it is closed before it is read
	defer func() { must(b, db.Close()) }()
	j, err := journal.Open(db)
	must(b, err)
	defer func() { must(b, j.Close()) }()
	for i := range pastRuns {
		must(b, pastRun(b.Context(), j, i))
	}
}

func pastRun(ctx context.Context, j *journal.Journal, i int) error {
	repo := vcs.Repo{ID: vcs.RepoID{Forge: "github.com", ID: int64(i%20 + 1000)}, Owner: owner, Name: fmt.Sprint("past-", i%20)}
	pull := vcs.PullID{Repo: repo.ID, Number: i/20%100 + 1}
	at := time.Now().Add(-time.Duration(pastRuns-i) * time.Minute).UTC()
	ev := vcs.Event{Kind: vcs.PullPushed, Repo: repo, Pull: pull.Number, Head: fmt.Sprintf("%040x", i), Base: "b", BaseRef: "main", At: at}
	seq, _, err := j.AddEvent(ctx, ev, ev.Key())
	if err != nil {
		return err
	}
	run := journal.Run{
		ID: j.NewRunID(), Event: seq, Pull: pull, Repo: repo.FullName(), PullTitle: "A change of the past", Command: "plan", Source: "push",
		Head: ev.Head, State: journal.Running, Started: at,
	}
	project := runner.Project{Dir: "network", Workspace: "default"}
	job := journal.Job{
		Run: run.ID, N: 1, State: journal.JobDone, Job: runner.Job{ID: run.ID + "/1", Action: runner.Plan, Project: project},
		Result: &runner.Summary{End: runner.Succeeded, Changes: runner.Changes{Add: 1, Known: true}}, PlanID: run.ID + "/1",
	}
	plan := journal.Plan{ID: run.ID + "/1", Run: run.ID, N: 1, Pull: pull, Project: project, State: journal.PlanDiscarded, Made: at}
	answer := journal.Report{
		ID: run.ID, Run: run.ID, Pull: pull, Kind: "answer", Command: "plan", Body: strings.Repeat("What was planned. ", 200), Intended: at, Posted: at,
		Comment: int64(i + 1),
	}
	for _, write := range []func() error{
		func() error { return j.CreateRun(ctx, run, []journal.Job{job}) },
		func() error { return j.PutPlan(ctx, plan) },
		func() error { return j.PutReport(ctx, answer) },
		func() error { return j.EndRun(ctx, run.ID, "1 add", at) },
		func() error { return j.EventDone(ctx, seq, run.ID, "") },
		func() error {
			return j.PutPull(ctx, journal.PullRecord{ID: pull, Repo: repo, State: vcs.Merged, Head: ev.Head, CleanedUp: true})
		},
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}
