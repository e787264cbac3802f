package journal_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// hostileIDs are pull requests whose ids try to meet.
func hostileIDs() []vcs.PullID {
	var out []vcs.PullID
	for _, forge := range []string{"a", "a\x00", "a\x00\x00\x00\x01b", "b", ""} {
		for _, repo := range []int64{0, 1, -1, 256, math.MaxInt64, math.MinInt64} {
			for _, n := range []int{0, 1, -1, math.MaxInt} {
				out = append(out, vcs.PullID{Repo: vcs.RepoID{Forge: forge, ID: repo}, Number: n})
			}
		}
	}
	return out
}

// Each pull request and each repository has its own records, whatever its ids are.
func TestIDsNeverMeet(t *testing.T) {
	t.Parallel()
	j := open(t)
	ctx := t.Context()
	runs := map[vcs.PullID]string{}
	for i, id := range hostileIDs() {
		r := run(j, 0, 0)
		r.Pull, runs[id] = id, r.ID
		ok(t, j.CreateRun(ctx, r, nil))
		p := plan(r.ID, 1, runner.Project{Dir: "d\x00\n", Workspace: strings.Repeat("w", i)})
		p.Pull = id
		ok(t, j.PutPlan(ctx, p))
		rep := report(r.ID, i)
		rep.Pull = id
		ok(t, j.PutReport(ctx, rep))
		ok(t, j.PutPull(ctx, journal.PullRecord{ID: id}))
		ok(t, j.PutRepo(ctx, journal.RepoRecord{Repo: vcs.Repo{ID: id.Repo}}))
	}
	for id, run := range runs {
		rs, err := j.Runs(ctx, journal.Filter{Pull: &id})
		if err != nil || len(rs) != 1 || rs[0].ID != run {
			t.Errorf("Runs(%q) = %v, %v, want its own", id, rs, err)
		}
		ps, err := j.Plans(ctx, id)
		if err != nil || len(ps) != 1 || ps[0].Run != run || ps[0].Project.Dir != "d\x00\n" {
			t.Errorf("Plans(%q) = %v, %v, want its own", id, ps, err)
		}
		reps, err := j.Reports(ctx, id)
		if err != nil || len(reps) != 1 || reps[0].ID != run {
			t.Errorf("Reports(%q) = %v, %v, want its own", id, reps, err)
		}
		if rec, found, err := j.Pull(ctx, id); err != nil || !found || rec.ID != id {
			t.Errorf("Pull(%q) = %+v, %v, %v, want its own", id, rec, found, err)
		}
		if rec, found, err := j.Repo(ctx, id.Repo); err != nil || !found || rec.Repo.ID != id.Repo {
			t.Errorf("Repo(%q) = %+v, %v, %v, want its own", id.Repo, rec, found, err)
		}
	}
}

// The same event from many sides at once is one; so is one that differs in its delivery alone, and a
// comment that was edited. The same number on another forge is another.
func TestTheSameEventAtOnce(t *testing.T) {
	t.Parallel()
	j := open(t)
	comment := func(forge, delivery, body string) vcs.Event {
		r := repo()
		r.ID.Forge = forge
		return vcs.Event{Kind: vcs.Commented, Delivery: delivery, Repo: r, Pull: 1, Comment: &vcs.Comment{ID: 5, Body: body, CreatedAt: at(1)}}
	}
	var mu sync.Mutex
	seqs, added := map[string]map[uint64]bool{}, map[string]int{}
	var wg sync.WaitGroup
	for i := range 40 {
		for _, forge := range []string{"github.com", "ghe.example.com"} {
			wg.Go(func() {
				ev := comment(forge, fmt.Sprint("delivery-", i), fmt.Sprint("plan, edited ", i))
				seq, is, err := j.AddEvent(t.Context(), ev, ev.Key())
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if seqs[forge] == nil {
					seqs[forge] = map[uint64]bool{}
				}
				if seqs[forge][seq] = true; is {
					added[forge]++
				}
			})
		}
	}
	wg.Wait()
	for forge, of := range seqs {
		if len(of) != 1 || added[forge] != 1 {
			t.Errorf("%s: events %v, added %d times, want one", forge, of, added[forge])
		}
	}
	if q, err := j.Queued(t.Context()); err != nil || len(q) != 2 {
		t.Errorf("Queued() = %d, %v, want 2", len(q), err)
	}
}

// What a key can't hold is refused, and nothing else with it.
func TestNamesThatAreTooLong(t *testing.T) {
	t.Parallel()
	j := open(t)
	long := strings.Repeat("x", 40_000)
	r := run(j, 1, 0)
	ok(t, j.CreateRun(t.Context(), r, nil))
	if err := j.PutPlan(t.Context(), plan(r.ID, 1, runner.Project{Dir: long})); err == nil {
		t.Error("PutPlan() of a project with a name of 40,000 bytes = nil error")
	}
	if _, found, err := j.Plan(t.Context(), r.ID+"/1"); err != nil || found {
		t.Errorf("Plan() = %v, %v, want nothing by half", found, err)
	}
	if err := j.PutReport(t.Context(), report(long, 1)); err == nil {
		t.Error("PutReport() with an id of 40,000 bytes = nil error")
	}
	for _, id := range []string{"", "\x00", long, "../../etc/passwd"} {
		if _, found, err := j.Run(t.Context(), id); found || err != nil {
			t.Errorf("Run(%.20q) = %v, %v, want nothing", id, found, err)
		}
		if _, found, err := j.Report(t.Context(), id); found || err != nil {
			t.Errorf("Report(%.20q) = %v, %v, want nothing", id, found, err)
		}
	}
	if seq, added, err := j.AddEvent(t.Context(), event(1), long); seq != 1 || !added || err != nil {
		t.Errorf("AddEvent() with a key of 40,000 bytes = %d, %v, %v, want it: keys are hashed", seq, added, err)
	}
}
