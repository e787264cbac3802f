package dispatch

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

const elsewhere = "01HF7YAT00ZZZZZZZZZZZZZZZ0" // a run that the journal does not know

// stands puts a comment with a marker of ours on the pull request.
func stands(e bench, f *small, m marker) vcs.Comment {
	c := vcs.Comment{ID: 99, Author: "bot", Body: "### Done\n\n" + e.sign.write(pr(1), m), CreatedAt: time.Now()}
	f.comments = append(f.comments, c)
	return c
}

// TestWhatWasAnsweredIsDone: a command whose answer stands there is not carried out again, though the journal does
// not know of it; anything else is.
func TestWhatWasAnsweredIsDone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		mark marker
		mine bool // the marker's run is in the journal
		push bool
		done bool
	}{
		{"a comment", marker{Run: elsewhere, Command: cmdUnlock, Source: "comment:7", Part: partAnswer}, false, false, true},
		{"another comment", marker{Run: elsewhere, Command: cmdUnlock, Source: "comment:70", Part: partAnswer}, false, false, false},
		{"only its progress", marker{Run: elsewhere, Command: cmdUnlock, Source: "comment:7", Part: partProgress}, false, false, false},
		{"a push", marker{Run: "after the backup", Command: cmdPlan, Source: "push:a1", Part: partAnswer}, false, true, true},
		{"a push that was answered long ago", marker{Run: elsewhere, Command: cmdPlan, Source: "push:a1", Part: partAnswer}, false, true, false},
		{"a push back to an old head", marker{Command: cmdPlan, Source: "push:a1", Part: partAnswer}, true, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newSmall()
			var seq uint64
			onSmall(t, f, func(e bench) {
				if tt.mine {
					tt.mark.Run = e.Journal.NewRunID()
					if err := e.Journal.CreateRun(e.t.Context(), journal.Run{ID: tt.mark.Run, Pull: pr(1), State: journal.RunDone}, nil); err != nil {
						e.t.Fatal(err)
					}
				}
				backup := time.Now()
				if tt.mark.Run == "after the backup" {
					time.Sleep(time.Second) //nolint:forbidigo // of the bubble's time
					tt.mark.Run = e.Journal.NewRunID()
					time.Sleep(time.Second) //nolint:forbidigo // of the bubble's time
				}
				e.restore(e.t, journal.Restoration{Taken: backup, At: time.Now()})
				if tt.push {
					ev := vcs.Event{Kind: vcs.PullPushed, Repo: aPull(1).Repo, Pull: 1, Head: "a1", At: time.Now()}
					var err error
					if seq, _, err = e.Journal.AddEvent(e.t.Context(), ev, ev.Key()); err != nil {
						e.t.Fatal(err)
					}
				} else {
					seq = addComment(e.t, e.Engine, 1, 7, "unlock")
				}
				stands(e, f, tt.mark)
			}, func(e bench) {
				ev, _, err := e.Journal.Event(context.WithoutCancel(e.t.Context()), seq)
				if err != nil || ev.State != journal.EventDone {
					e.t.Errorf("the event is %+v, %v, want it done", ev, err)
				}
				if said := strings.Contains(ev.Outcome, "answered already in comment 99"); said != tt.done || (f.posts == 0) != tt.done {
					e.t.Errorf("%d answers, outcome %q, want it done already: %v", f.posts, ev.Outcome, tt.done)
				}
			})
		})
	}
}

// A marker that somebody else wrote, or that stands for another pull request, answers nothing.
func TestAForgedMarkerAnswersNothing(t *testing.T) {
	f := newSmall()
	onSmall(t, f, func(e bench) {
		addComment(e.t, e.Engine, 1, 7, "unlock")
		m := marker{Run: elsewhere, Command: cmdUnlock, Source: "comment:7", Part: partAnswer}
		f.comments = append(f.comments,
			vcs.Comment{ID: 98, Body: "<!-- " + m.text() + " mac=" + strings.Repeat("0", 32) + " -->"},
			vcs.Comment{ID: 99, Body: e.sign.write(pr(2), m)})
	}, func(e bench) {
		if f.posts != 1 {
			e.t.Errorf("%d answers, want one", f.posts)
		}
	})
}

// TestRecovered: the forge is not asked for what its webhook has told just now.
func TestRecovered(t *testing.T) {
	t.Parallel()
	now := time.Now()
	e := &Engine{began: now.Add(-time.Hour)}
	for _, tt := range []struct {
		name     string
		delivery string
		received time.Duration
		asked    time.Duration
		want     bool
	}{
		{"told now", "d", 0, 0, false},
		{"found", "", 0, 0, true},
		{"told late", "d", 0, 2 * time.Minute, true},
		{"told to an earlier process", "d", 2 * time.Hour, 2 * time.Hour, true},
	} {
		ev := journal.Event{Received: now.Add(-tt.received), Event: vcs.Event{Delivery: tt.delivery, At: now.Add(-tt.asked)}}
		if got := e.recovered(ev); got != tt.want {
			t.Errorf("%s: recovered() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestABackupInTheMiddleOfAnApply: nothing that the backup says of the apply counts as its end. If its answer
// stands there it is taken over, else the end is unknown, and why.
func TestABackupInTheMiddleOfAnApply(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{false, true} {
		t.Run(map[bool]string{false: "not answered", true: "answered"}[answered], func(t *testing.T) {
			f := newSmall()
			var plan, run string
			onSmall(t, f, func(e bench) {
				plan, run = restoredApply(e)
				if answered {
					stands(e, f, marker{Run: run, Command: cmdApply, Source: "comment:7", Part: partAnswer})
				}
			}, func(e bench) {
				ctx := context.WithoutCancel(e.t.Context())
				if said := bodies(f.scripted); answered != (f.posts == 0) || !answered && (!strings.Contains(said, "restored from a backup") || !strings.Contains(said, "unknown")) {
					e.t.Errorf("%d answers: %s", f.posts, said)
				}
				jobs, err := e.Journal.Jobs(ctx, run)
				if err != nil || len(jobs) != 2 || jobs[0].Result.End != runner.Unknown || jobs[1].Result.End != runner.NotStarted {
					e.t.Errorf("jobs %+v, %v, want one unknown and one not started", jobs, err)
				}
				if p, _, err := e.Journal.Plan(ctx, plan); err != nil || p.State != journal.PlanStale {
					e.t.Errorf("the plan is %q, %v, want %q", p.State, err, journal.PlanStale)
				}
				if r, _, err := e.Journal.Run(ctx, run); err != nil || r.State != journal.RunDone {
					e.t.Errorf("the run is %+v, %v, want it done", r, err)
				}
				if r, ok, err := e.Journal.Report(ctx, run); err != nil || !ok || r.Comment == 0 {
					e.t.Errorf("the report is %+v, %v, want it posted", r, err)
				}
				if n := queued(e.t, e.Engine); n != 0 {
					e.t.Errorf("%d events are left", n)
				}
			})
		})
	}
}

// restoredApply is a journal out of a backup that was taken when the first of two applies ran.
func restoredApply(e bench) (plan, run string) {
	e.t.Helper()
	ctx := e.t.Context()
	projects := []runner.Project{{Dir: "network", Workspace: "default"}, {Dir: "dns", Workspace: "default"}}
	planned := journal.Run{ID: e.Journal.NewRunID(), Pull: pr(1), Command: cmdPlan, State: journal.RunDone, Started: time.Now()}
	applied := journal.Run{
		ID: e.Journal.NewRunID(), Event: addComment(e.t, e.Engine, 1, 7, "apply"), Pull: pr(1), Command: cmdApply, Source: "comment:7",
		State: journal.Running, Started: time.Now(), Head: "a1",
	}
	var jobs []journal.Job
	for i, p := range projects {
		id := planned.ID + "/" + string(rune('1'+i))
		if err := e.Journal.PutPlan(ctx, journal.Plan{ID: id, Run: planned.ID, N: i + 1, Pull: pr(1), Project: p, State: journal.PlanReady}); err != nil {
			e.t.Fatal(err)
		}
		jobs = append(jobs, journal.Job{Run: applied.ID, N: i + 1, State: journal.JobQueued, PlanID: id, Job: runner.Job{
			ID: applied.ID + "/" + string(rune('1'+i)), Action: runner.Apply, Project: p, Dir: filepath.Join(e.Options.Data, "runs", applied.ID, "1"),
		}})
	}
	jobs[0].State = journal.JobRunning
	must(e.t, e.Journal.CreateRun(ctx, planned, nil))
	must(e.t, e.Journal.CreateRun(ctx, applied, jobs))
	e.restore(e.t, journal.Restoration{Taken: time.Now(), At: time.Now().Add(time.Second)})
	return planned.ID + "/1", applied.ID
}

// restore makes it the engine of a server whose journal came out of a backup.
func (e *Engine) restore(t *testing.T, r journal.Restoration) {
	t.Helper()
	must(t, e.Journal.MarkRestored(t.Context(), r, "", ""))
	e.restored = r
}
