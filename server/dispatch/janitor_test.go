package dispatch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/terraform"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

const day = 24 * time.Hour

// kept is one pull request with a run, an event, a plan, an answer and a checkout.
type kept struct {
	run   string
	event uint64
}

// household makes pull requests and their traces, all of today.
type household struct {
	*Engine
	t      *testing.T
	remote remote
}

func newHousehold(t *testing.T) household {
	t.Helper()
	e, _, r := onRepo(t)
	e.Tools = terraform.NewFinder(terraform.FinderConfig{Dir: filepath.Join(e.Options.Data, "tools")})
	e.Options.Keep = Keep{Runs: 90 * day, Checkouts: 14 * day, Unused: 30 * day}
	must(t, e.Journal.PutRepo(t.Context(), journal.RepoRecord{Repo: aPull(1).Repo, FirstSeen: time.Now(), Watermark: time.Now().Add(50 * day)}))
	return household{Engine: e, t: t, remote: r}
}

// pullRequest makes one. spoil changes its records before they are written.
func (h household) pullRequest(n int, state vcs.PullState, spoil func(*journal.Run, *journal.Plan, *journal.Report)) kept {
	h.t.Helper()
	ctx, p := h.t.Context(), h.remote.head(n, map[string]string{"network/main.tf": fmt.Sprint(n)})
	p.State = state
	ev := vcs.Event{Kind: vcs.Commented, Repo: p.Repo, Pull: n, At: time.Now(), Comment: &vcs.Comment{ID: int64(n), CreatedAt: time.Now()}}
	seq, _, err := h.Journal.AddEvent(ctx, ev, ev.Key())
	must(h.t, err)
	id := h.Journal.NewRunID()
	r := journal.Run{ID: id, Event: seq, Pull: p.ID(), Command: cmdPlan, State: journal.RunDone, Started: time.Now(), Ended: time.Now()}
	plan := journal.Plan{
		ID: id + "/1", Run: id, N: 1, Pull: p.ID(), Project: network(), State: journal.PlanReady, Made: time.Now(),
		File: filepath.Join(h.Options.Data, "plans", fmt.Sprintf("plan%d", n)),
	}
	if state != vcs.Open {
		plan.State = journal.PlanDiscarded
	}
	rep := journal.Report{ID: id, Run: id, Pull: p.ID(), Kind: kindAnswer, Comment: 5, Posted: time.Now(), Intended: time.Now(), Body: strings.Repeat("long ", 5000) + fmt.Sprint(n)}
	if spoil != nil {
		spoil(&r, &plan, &rep)
	}
	must(h.t, h.Journal.CreateRun(ctx, r, []journal.Job{{
		Run: id, N: 1, State: journal.JobDone, PlanID: plan.ID, Started: time.Now(), Result: &runner.Summary{End: runner.Succeeded},
		Job: runner.Job{ID: id + "/1", Action: runner.Plan, Project: network(), Dir: h.jobDir(id, 1), Checkout: "/x"},
	}}))
	must(h.t, h.Journal.PutPlan(ctx, plan))
	must(h.t, h.Journal.PutReport(ctx, rep))
	must(h.t, h.Journal.EventDone(ctx, seq, id, ""))
	must(h.t, h.Journal.PutPull(ctx, journal.PullRecord{ID: p.ID(), Repo: p.Repo, State: state, CleanedUp: state != vcs.Open, LastEvent: r.Ended}))
	for _, f := range []string{plan.File, filepath.Join(h.jobDir(id, 1), "result.json"), filepath.Join(h.checkout(n), "default", "tree", "main.tf")} {
		must(h.t, os.MkdirAll(filepath.Dir(f), 0o700))
		must(h.t, os.WriteFile(f, []byte("{}"), 0o600))
	}
	return kept{run: id, event: seq}
}

func (h household) checkout(n int) string {
	return filepath.Join(h.Options.Data, "checkouts", "f", fmt.Sprint(aPull(1).Repo.ID.ID), fmt.Sprint(n))
}

// left is what there is of pull request n: its records and what lies beside them.
func (h household) left(n int, k kept) string {
	h.t.Helper()
	ctx := h.t.Context()
	var out []string
	see := func(name string, there bool, err error) {
		h.t.Helper()
		must(h.t, err)
		if there {
			out = append(out, name)
		}
	}
	file := func(name, path string) {
		_, err := os.Lstat(path)
		see(name, err == nil, nil)
	}
	_, there, err := h.Journal.Run(ctx, k.run)
	see("run", there, err)
	_, there, err = h.Journal.Plan(ctx, k.run+"/1")
	see("plan", there, err)
	rep, there, err := h.Journal.Report(ctx, k.run)
	see("report", there, err)
	if there && !strings.Contains(rep.Body, "long") {
		h.t.Errorf("the text of report %d is gone", n)
	}
	_, there, err = h.Journal.Event(ctx, k.event)
	see("event", there, err)
	_, there, err = h.Journal.Pull(ctx, pr(n))
	see("pull", there, err)
	file("plan file", filepath.Join(h.Options.Data, "plans", fmt.Sprintf("plan%d", n)))
	file("job", h.jobDir(k.run, 1))
	file("checkout", h.checkout(n))
	return strings.Join(out, ", ")
}

const everything = "run, plan, report, event, pull, plan file, job, checkout"

// TestTidyUp: after a hundred days what is old and needed by nobody is gone, and everything else is there.
func TestTidyUp(t *testing.T) {
	h := newHousehold(t)
	late := time.Now().Add(95 * day)
	for n, c := range []struct {
		name  string
		state vcs.PullState
		spoil func(*journal.Run, *journal.Plan, *journal.Report)
		after func(kept)
		left  string
	}{
		{"closed", vcs.Closed, nil, nil, ""},
		{"merged", vcs.Merged, nil, nil, ""},
		{"open", vcs.Open, nil, nil, everything},
		{"open, and nothing is planned", vcs.Open, func(_ *journal.Run, p *journal.Plan, _ *journal.Report) { p.State = journal.PlanApplied }, nil, "run, plan, report, event, pull, job"},
		{"closed not long ago", vcs.Closed, func(r *journal.Run, _ *journal.Plan, _ *journal.Report) { r.Ended = late }, nil, "run, plan, report, event, pull, job"},
		{"an answer is owed", vcs.Closed, func(_ *journal.Run, _ *journal.Plan, r *journal.Report) { r.Comment = 0 }, nil, "run, plan, report, event, pull, job"},
		{"it runs", vcs.Closed, func(r *journal.Run, _ *journal.Plan, _ *journal.Report) { r.State = journal.Running }, nil, "run, plan, report, event, pull, job, checkout"},
		{"a state is not stored", vcs.Closed, nil, func(k kept) {
			must(h.t, os.WriteFile(filepath.Join(h.jobDir(k.run, 1), "errored.tfstate"), []byte("{}"), 0o600))
		}, "run, plan, report, event, pull, job, checkout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := h
			h.t = t
			k := h.pullRequest(n+1, c.state, c.spoil)
			if c.after != nil {
				c.after(k)
			}
			must(t, h.tidyUp(t.Context(), time.Now().Add(24*time.Hour)))
			if got, want := h.left(n+1, k), everything; c.state == vcs.Open && got != want && c.spoil == nil {
				t.Errorf("after a day there is %s, want %s", got, want)
			}
			for range 2 { // the second time there is nothing to do
				must(t, h.tidyUp(t.Context(), time.Now().Add(100*day)))
				if got := h.left(n+1, k); got != c.left {
					t.Errorf("after a hundred days there is %q, want %q", got, c.left)
				}
			}
		})
	}
}

// TestKeysOutliveWhatCouldBeToldAgain: an event goes when no look at the forge lists it any more, and not before.
func TestKeysOutliveWhatCouldBeToldAgain(t *testing.T) {
	h := newHousehold(t)
	for _, c := range []struct {
		name string
		at   time.Time // by the forge's clock
		keep Keep
		days int
		gone bool
	}{
		{"long ago", time.Now(), h.Options.Keep, 100, true},
		{"not old enough", time.Now(), h.Options.Keep, 89, false},
		{"at the watermark", time.Now().Add(50*day - time.Minute), h.Options.Keep, 100, false},
		{"after the watermark", time.Now().Add(51 * day), h.Options.Keep, 100, false},
		{"no room", time.Now(), Keep{Runs: 1, Checkouts: 1, Unused: 1, Quota: 1}, 29, false},
		{"no room, a month later", time.Now(), Keep{Runs: 1, Checkouts: 1, Unused: 1, Quota: 1}, 31, true},
	} {
		ev := vcs.Event{Kind: vcs.Commented, Repo: aPull(1).Repo, Pull: 1, At: c.at, Comment: &vcs.Comment{ID: time.Now().UnixNano(), CreatedAt: c.at}}
		seq, _, err := h.Journal.AddEvent(t.Context(), ev, ev.Key())
		must(t, err)
		must(t, h.Journal.EventDone(t.Context(), seq, "", "talk"))
		must(t, h.tidyEvents(t.Context(), time.Now().Add(time.Duration(c.days)*day), c.keep))
		_, added, err := h.Journal.AddEvent(t.Context(), ev, ev.Key())
		must(t, err)
		if added != c.gone {
			t.Errorf("%s: told again, it is a new one: %v, want %v", c.name, added, c.gone)
		}
	}
}

// TestQuota: the oldest goes first, and no more than has to; what is needed is told to be too much.
func TestQuota(t *testing.T) {
	h := newHousehold(t)
	big := func(k kept) {
		must(t, os.WriteFile(filepath.Join(h.jobDir(k.run, 1), "output.log"), make([]byte, 1<<20), 0o600))
	}
	aged := func(days int) func(*journal.Run, *journal.Plan, *journal.Report) {
		return func(r *journal.Run, _ *journal.Plan, _ *journal.Report) {
			r.Ended = r.Ended.Add(time.Duration(days) * day)
		}
	}
	older, newer, open := h.pullRequest(1, vcs.Closed, nil), h.pullRequest(2, vcs.Closed, aged(40)), h.pullRequest(3, vcs.Open, nil)
	for _, k := range []kept{older, newer, open} {
		big(k)
	}
	now := time.Now().Add(50 * day)
	tidy := func(quota int64, want ...bool) {
		t.Helper()
		h.Options.Keep.Quota = quota
		must(t, h.tidyUp(t.Context(), now))
		var got []bool
		for _, k := range []kept{older, newer, open} {
			_, there, err := h.Journal.Run(t.Context(), k.run)
			must(t, err)
			got = append(got, there)
		}
		if !slices.Equal(got, want) {
			t.Errorf("with %d bytes there are %v, want %v", quota, got, want)
		}
	}
	tidy(0, true, true, true)
	if d := h.Disk(); d != (Disk{}) {
		t.Errorf("without a quota: %+v", d)
	}
	tidy(16<<20, true, true, true)
	size := h.Disk().Bytes
	if size < 3<<20 || h.Disk().Over {
		t.Errorf("measured %+v", h.Disk())
	}
	tidy(size-1, false, true, true)
	tidy(size-(3<<19), false, false, true)
	tidy(1000, false, false, true)
	if d := h.Disk(); !d.Over || d.Bytes < 1<<20 {
		t.Errorf("with too little: %+v", d)
	}
	if got := h.left(3, open); got != everything {
		t.Errorf("of the open one there is %q", got)
	}
}

// TestFilesThatNothingNames: they go, but not while a record can't be read, which may name them.
func TestFilesThatNothingNames(t *testing.T) {
	t.Parallel()
	d := fragile(t)
	now := time.Now().Add(day)
	rep := journal.Report{ID: "r", Pull: pr(1), Kind: kindNotice, Comment: 5, Intended: time.Now(), Body: strings.Repeat("long ", 5000)}
	must(t, d.Journal.PutReport(t.Context(), rep))
	rep, _, err := d.Journal.Report(t.Context(), "r")
	must(t, err)
	files := []string{"reports/" + rep.BodyFile, "reports/nobodys", "plans/nobodys", "runs/" + d.Journal.NewRunID(), "runs/not-ours"}
	check := func(want ...string) {
		t.Helper()
		for _, f := range files {
			path := filepath.Join(d.Options.Data, f)
			must(t, os.MkdirAll(filepath.Dir(path), 0o700))
			must(t, os.WriteFile(path, nil, 0o600))
		}
		must(t, d.tidyFiles(t.Context(), now))
		var got []string
		for _, f := range files {
			if _, err := os.Stat(filepath.Join(d.Options.Data, f)); err == nil {
				got = append(got, f)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
	}
	check(files[0], files[4])
	now = time.Now()
	check(files[0], files[1], files[2], files[4]) // written just now, and their record may come
	now = time.Now().Add(day)
	d.spoil(t, "reports", "r")
	check(files...)
}

// TestUnusedThings: mirrors, tools and providers go when nothing has used them for long, and are kept for a plan that
// can be applied.
func TestUnusedThings(t *testing.T) {
	h := newHousehold(t)
	data := h.Options.Data
	p := h.remote.head(1, nil)
	_, err := h.Work.Merge(t.Context(), workdir.Repo{Forge: "f", ID: p.Repo.ID.ID, URL: p.Repo.CloneURL}, workdir.MergeRequest{Pull: 1, BaseRef: "main", HeadRef: p.HeadRef})
	must(t, err)
	tool, set := filepath.Join(data, "tools/terraform/1.5.7"), filepath.Join(data, "providers/.sets/a.json")
	provider := "registry.terraform.io/hashicorp/null/3.2.2/linux_amd64"
	must(t, os.MkdirAll(tool, 0o700))
	must(t, os.MkdirAll(filepath.Join(data, "providers", provider), 0o700))
	must(t, os.MkdirAll(filepath.Dir(set), 0o700))
	must(t, os.WriteFile(set, []byte(`{"format":1,"dirs":["`+provider+`"]}`), 0o600))
	mirror := filepath.Join(data, "mirrors", "f", fmt.Sprint(p.Repo.ID.ID)+".git")
	there := func() []string {
		var out []string
		for _, path := range []string{mirror, tool, set, filepath.Join(data, "providers", provider), filepath.Join(data, "providers", "registry.terraform.io")} {
			if _, err := os.Stat(path); err == nil {
				name, _ := filepath.Rel(data, path)
				out = append(out, name)
			}
		}
		return out
	}
	all := there()
	if len(all) != 5 {
		t.Fatalf("there are %v", all)
	}
	plan := journal.Plan{ID: h.Journal.NewRunID() + "/1", N: 1, Pull: pr(1), Project: network(), State: journal.PlanReady, Made: time.Now()}
	plan.Run = strings.TrimSuffix(plan.ID, "/1")
	must(t, h.Journal.PutPlan(t.Context(), plan))
	must(t, h.Journal.PutPull(t.Context(), journal.PullRecord{ID: pr(1), Repo: p.Repo, State: vcs.Open, LastEvent: time.Now()}))
	for _, c := range []struct {
		days int
		want []string
	}{{29, all}, {31, all[1:]}} {
		must(t, h.tidyUp(t.Context(), time.Now().Add(time.Duration(c.days)*day)))
		if diff := cmp.Diff(c.want, there()); diff != "" {
			t.Errorf("after %d days (-want +got):\n%s", c.days, diff)
		}
	}
	must(t, h.Journal.SetPlanState(t.Context(), plan.ID, journal.PlanApplied, "ana", "applied"))
	must(t, h.tidyUp(t.Context(), time.Now().Add(31*day)))
	if got := there(); len(got) != 0 {
		t.Errorf("still there: %v", got)
	}
	// The mirror is made again.
	_, err = h.Work.Merge(t.Context(), workdir.Repo{Forge: "f", ID: p.Repo.ID.ID, URL: p.Repo.CloneURL}, workdir.MergeRequest{Pull: 1, BaseRef: "main", HeadRef: p.HeadRef})
	must(t, err)
	left, err := fs.Glob(os.DirFS(data), "*/.*gone*")
	if len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestLargeFilesGo: what was fetched from Git LFS goes by its own use, while the mirror that it is in is needed; and before its time when there is
// no room.
func TestLargeFilesGo(t *testing.T) {
	h := newHousehold(t)
	p := h.remote.head(1, nil)
	h.pullRequest(1, vcs.Open, nil)
	repo := workdir.Repo{Forge: "f", ID: p.Repo.ID.ID, URL: p.Repo.CloneURL}
	_, err := h.Work.Merge(t.Context(), repo, workdir.MergeRequest{Pull: 1, BaseRef: "main", HeadRef: p.HeadRef})
	must(t, err)
	mirror := filepath.Join(h.Options.Data, "mirrors", "f", fmt.Sprint(p.Repo.ID.ID)+".git")
	file := filepath.Join(mirror, "lfs", "objects", "aa", "bb", "aabb")
	for name, c := range map[string]struct {
		quota int64
		after time.Duration
		gone  bool
	}{
		"used": {0, 29 * day, false}, "unused": {0, 31 * day, true},
		"no room": {1, 2 * time.Hour, true}, "no room, in use": {1, 30 * time.Minute, false},
	} {
		must(t, os.MkdirAll(filepath.Dir(file), 0o700))
		must(t, os.WriteFile(file, nil, 0o600))
		h.Options.Keep.Quota = c.quota
		must(t, h.tidyUp(t.Context(), time.Now().Add(c.after)))
		_, err := os.Lstat(file)
		if _, merr := os.Stat(filepath.Join(mirror, "HEAD")); (err != nil) != c.gone || merr != nil {
			t.Errorf("%s: %v, want it gone: %v; the mirror: %v", name, err, c.gone, merr)
		}
	}
}
