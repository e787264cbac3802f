package dispatch

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// damaged is an engine whose records can be spoilt, and its log.
type damaged struct {
	*Engine
	db  *bbolt.DB
	log *bytes.Buffer
}

func fragile(t *testing.T) damaged {
	t.Helper()
	db, err := journal.OpenFile(filepath.Join(t.TempDir(), "tidegate.db"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	locks, err := locking.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close(); _ = db.Close() })
	log := &bytes.Buffer{}
	e, err := New(Config{Journal: j, Locks: locks, Log: slog.New(slog.NewTextHandler(log, nil)), Options: Options{
		Data: t.TempDir(), Allowed: func(vcs.Repo) bool { return true },
	}})
	if err != nil {
		t.Fatal(err)
	}
	return damaged{Engine: e, db: db, log: log}
}

// spoil makes a record unreadable.
func (d damaged) spoil(t *testing.T, bucket, key string) {
	t.Helper()
	err := d.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b.Get([]byte(key)) == nil {
			t.Errorf("%s %q is not there", bucket, key)
		}
		return b.Put([]byte(key), []byte("{"))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// loseBodies removes every text that is kept in a file.
func (d damaged) loseBodies(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(d.db.Path()), "reports", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no texts in files: %v", err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

func (d damaged) plannedRun(t *testing.T, command string, dirs ...string) journal.Run {
	t.Helper()
	r := journal.Run{ID: d.Journal.NewRunID(), Pull: pr(1), Command: command, State: journal.Running, Started: time.Now()}
	var jobs []journal.Job
	for i, dir := range dirs {
		p := runner.Project{Dir: dir, Workspace: "default"}
		jobs = append(jobs, journal.Job{Run: r.ID, N: i + 1, State: journal.JobDone, Job: runner.Job{Project: p}, Result: &runner.Summary{End: runner.Succeeded}})
	}
	if err := d.Journal.CreateRun(t.Context(), r, jobs); err != nil {
		t.Fatal(err)
	}
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Neither a text that is gone nor a spoilt event keeps the server from starting. The log names both.
func TestStartsWithDamagedRecords(t *testing.T) {
	t.Parallel()
	d := fragile(t)
	ctx := t.Context()
	must(t, d.Journal.PutReport(ctx, journal.Report{ID: "lost", Pull: pr(1), Kind: kindNotice, Body: strings.Repeat("x", 20_000)}))
	talk := vcs.Event{Kind: "something", Repo: vcs.Repo{ID: pr(1).Repo}, Pull: 1}
	for _, key := range []string{"spoilt", "whole"} {
		if _, _, err := d.Journal.AddEvent(ctx, talk, key); err != nil {
			t.Fatal(err)
		}
	}
	d.loseBodies(t)
	d.spoil(t, "events", "\x00\x00\x00\x00\x00\x00\x00\x01")
	must(t, d.restart(ctx))
	must(t, d.collect(ctx))
	d.work.Wait()
	must(t, d.collect(ctx))
	if ev, _, err := d.Journal.Event(ctx, 2); err != nil || ev.State != journal.EventDone {
		t.Errorf("the event behind the spoilt one = %+v, %v, want it done", ev, err)
	}
	for _, named := range []string{"report lost", "events 1"} {
		if n := strings.Count(d.log.String(), named); n != 1 {
			t.Errorf("the log names %q %d times, want once:\n%s", named, n, d.log)
		}
	}
}

// An answer whose text is lost is answered all the same, once.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		posted, spoilt bool
		posts          int
	}{
		"not posted":           {posts: 1},
		"posted already":       {posted: true},
		"the record is spoilt": {spoilt: true, posts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := fragile(t)
			ctx := t.Context()
			d.pace.doubt = 0
			seq, _, err := d.Journal.AddEvent(ctx, vcs.Event{Pull: 1}, "k")
			must(t, err)
			r := journal.Run{ID: d.Journal.NewRunID(), Event: seq, Pull: pr(1), Command: cmdPlan, State: journal.Running, Started: time.Now()}
			must(t, d.Journal.CreateRun(ctx, r, nil))
			plan := journal.Plan{ID: r.ID + "/1", Run: r.ID, N: 1, Pull: pr(1), Project: network(), State: journal.PlanReady}
			must(t, d.Journal.PutPlan(ctx, plan))
			intent := journal.Report{ID: r.ID, Pull: pr(1), Run: r.ID, Kind: kindAnswer, Command: cmdPlan, Body: strings.Repeat("x", 20_000)}
			if tt.posted {
				intent.Comment, intent.Posted = 7, time.Now()
			}
			must(t, d.Journal.PutReport(ctx, intent))
			d.loseBodies(t)
			if tt.spoilt {
				d.spoil(t, "reports", r.ID)
			}
			f := &scripted{}
			f.script = append(f.script, takes)
			s := scene{item: item{ask: ask{name: cmdPlan}}, forge: f, pull: vcs.Pull{Repo: vcs.Repo{ID: pr(1).Repo}, Number: 1}, run: r}
			s.ev.Seq = seq
			s.site.CommitURL = func(vcs.Repo, string) string { return "https://f/c" }
			must(t, d.finish(ctx, s, nil, ""))
			if f.posts != tt.posts || tt.posts > 0 && !strings.Contains(bodies(f), r.ID) {
				t.Errorf("%d comments were posted, want %d, naming the run: %q", f.posts, tt.posts, bodies(f))
			}
			if ev, _, err := d.Journal.Event(ctx, seq); err != nil || ev.State != journal.EventDone {
				t.Errorf("the event = %+v, %v, want it done", ev, err)
			}
			if plan, _, err := d.Journal.Plan(ctx, plan.ID); err != nil || plan.State.Open() != tt.posted {
				t.Errorf("the plan is %s, %v; it was posted: %v", plan.State, err, tt.posted)
			}
			if owed, err := d.Journal.Unposted(ctx); err != nil || len(owed) != 0 {
				t.Errorf("Unposted() = %v, %v, want nothing", owed, err)
			}
		})
	}
}

// open is a forge with one open pull request.
type open struct{ *scripted }

func (open) Site() vcs.Site {
	return vcs.Site{CommitURL: func(vcs.Repo, string) string { return "https://f/c" }}
}

func (open) Pull(context.Context, vcs.Repo, int) (vcs.Pull, error) {
	return vcs.Pull{Repo: vcs.Repo{ID: pr(1).Repo}, Number: 1, State: vcs.Open}, nil
}

func (open) SetStatus(context.Context, vcs.Repo, string, vcs.Status) error { return nil }

// A command whose run or job can't be read any more is answered, too, and what was begun is not begun
// again.
func TestDamagedRunIsAnswered(t *testing.T) {
	t.Parallel()
	for _, bucket := range []string{"runs", "jobs"} {
		t.Run(bucket, func(t *testing.T) {
			t.Parallel()
			d := fragile(t)
			ctx := t.Context()
			f := open{&scripted{}}
			f.script = append(f.script, takes)
			d.Forges = map[string]vcs.Forge{"f": f}
			repo := vcs.Repo{ID: pr(1).Repo}
			seq, _, err := d.Journal.AddEvent(ctx, vcs.Event{Kind: vcs.Commented, Repo: repo, Pull: 1, Comment: &vcs.Comment{ID: 1, Body: "plan"}}, "k")
			must(t, err)
			r := journal.Run{ID: d.Journal.NewRunID(), Event: seq, Pull: pr(1), Command: cmdPlan, State: journal.Running, Started: time.Now()}
			jobs := []journal.Job{{Run: r.ID, N: 1, State: journal.JobRunning}, {Run: r.ID, N: 2, State: journal.JobRunning}}
			must(t, d.Journal.CreateRun(ctx, r, jobs))
			key := r.ID
			if bucket == "jobs" {
				key += "\x00\x00\x00\x02"
			}
			d.spoil(t, bucket, key)
			ev, _, err := d.Journal.Event(ctx, seq)
			must(t, err)
			d.tell(ctx, ctx, item{ev: ev, ask: d.read(ev)})
			if f.posts != 1 || !strings.Contains(bodies(f.scripted), r.ID) || !strings.Contains(d.log.String(), "reading "+bucket) {
				t.Errorf("%d comments: %q, want one that names the run, and the record in the log:\n%s", f.posts, bodies(f.scripted), d.log)
			}
			if ev, _, err := d.Journal.Event(ctx, seq); err != nil || ev.State != journal.EventDone {
				t.Errorf("the event = %+v, %v, want it done", ev, err)
			}
			got, _, err := d.Journal.Run(ctx, r.ID)
			if err != nil || got.State != journal.RunDone || got.Command != cmdPlan {
				t.Errorf("the run = %+v, %v, want it done", got, err)
			}
		})
	}
}

// Where projects stand is never told without a run that can't be read, until everything is planned anew.
func TestStandingBesideDamagedRuns(t *testing.T) {
	t.Parallel()
	d := fragile(t)
	ctx := t.Context()
	d.plannedRun(t, cmdPlan, "a")
	bad := d.plannedRun(t, cmdPlan, "a", "b")
	d.spoil(t, "runs", bad.ID)
	if got, err := d.standing(ctx, pr(1)); !journal.Damaged(err) {
		t.Errorf("standing() = %v, %v, want that a run is damaged", got, err)
	}
	newer := d.plannedRun(t, cmdPlan, "a", "b")
	if got, err := d.standing(ctx, pr(1)); err != nil || len(got) != 2 {
		t.Errorf("standing() after a new plan = %v, %v, want two projects", got, err)
	}
	d.spoil(t, "jobs", newer.ID+"\x00\x00\x00\x02")
	if got, err := d.standing(ctx, pr(1)); !journal.Damaged(err) {
		t.Errorf("standing() = %v, %v, want that a job is damaged", got, err)
	}
}

// What an apply that can't be read has changed is not known: no lock is let go because of it.
func TestTouchedBesideDamagedRuns(t *testing.T) {
	t.Parallel()
	d := fragile(t)
	ctx := t.Context()
	r := d.plannedRun(t, cmdApply, "a", "b")
	never := runner.Project{Dir: "never", Workspace: "default"}
	touched, err := d.touched(ctx, pr(1))
	if err != nil || touched(never) || !touched(runner.Project{Dir: "b", Workspace: "default"}) {
		t.Errorf("touched() = %v, %v; want the applied ones", touched(never), err)
	}
	d.spoil(t, "jobs", r.ID+"\x00\x00\x00\x02")
	if touched, err = d.touched(ctx, pr(1)); err != nil || !touched(never) {
		t.Errorf("touched() beside a damaged job = %v, %v, want all", touched(never), err)
	}
}

// An apply that our fault has ended, in its records say, may still run: nothing is told of it before it has ended, so that nothing
// else begins in its files.
func TestAnApologyWaitsForAnApplyThatRuns(t *testing.T) {
	t.Parallel()
	for name, spoilt := range map[string]bool{"its record is damaged": true, "its record can be read": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := fragile(t)
			d.pace.doubt = 0
			f := newSmall()
			d.Forges = map[string]vcs.Forge{"f": f}
			d.Runner = runner.New(runner.Config{Self: "/bin/false", Data: d.Options.Data, Environ: []string{}})
			it := d.comment(t, "ana", "apply", 5)
			r := journal.Run{ID: d.Journal.NewRunID(), Event: it.ev.Seq, Pull: pr(1), Command: cmdApply, State: journal.Running, Started: time.Now()}
			dir := d.jobDir(r.ID, 1)
			must(t, d.Journal.CreateRun(t.Context(), r, []journal.Job{{Run: r.ID, N: 1, State: journal.JobRunning, Job: runner.Job{
				ID: r.ID + "/1", Action: runner.Apply, Dir: dir, Checkout: "/c", DataDir: "/d", PlanFile: "/p", Project: network(), Tool: runner.Tool{Path: "/t"},
			}}}))
			if spoilt {
				d.spoil(t, "jobs", r.ID+"\x00\x00\x00\x01")
			}
			step := filepath.Join(dir, "1-apply")
			must(t, os.MkdirAll(step, 0o700))
			lock, err := os.Create(filepath.Join(step, "lock"))
			must(t, err)
			must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)) // as its supervisor holds it
			soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := d.apologise(soon, it, errors.New("of ours")); !errors.Is(err, context.DeadlineExceeded) || f.posts != 0 {
				t.Errorf("the apology while it runs = %v with %d answers, want it to wait:\n%s", err, f.posts, bodies(f.scripted))
			}
			must(t, lock.Close())
			must(t, d.apologise(t.Context(), it, errors.New("of ours")))
			if f.posts != 1 {
				t.Errorf("%d answers after its end, want one", f.posts)
			}
		})
	}
}
