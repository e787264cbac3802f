package journal_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
)

func plan(run string, n int, p runner.Project) journal.Plan {
	return journal.Plan{
		ID: fmt.Sprintf("%s/%d", run, n), Pull: pull(1), Project: p, State: journal.PlanReady, Run: run, N: n,
		File: "/plans/x", SHA256: "x", Digest: "d", Made: at(n),
	}
}

func dns() runner.Project { return runner.Project{Dir: "dns", Workspace: "default"} }

func states(t *testing.T, j *journal.Journal) []string {
	t.Helper()
	ps, err := j.Plans(t.Context(), pull(1))
	ok(t, err)
	var out []string
	for _, p := range ps {
		out = append(out, fmt.Sprintf("%s %s %s", p.Project.Dir, p.Project.Name, p.State))
	}
	return out
}

func TestNewPlanSupersedesTheOneBefore(t *testing.T) {
	t.Parallel()
	j := open(t)
	a, b := j.NewRunID(), j.NewRunID()
	named := runner.Project{Dir: "dns", Workspace: "default", Name: "a"}
	ok(t, j.PutPlan(t.Context(), plan(a, 1, dns())))
	ok(t, j.PutPlan(t.Context(), plan(a, 2, named)))
	other := plan(a, 3, dns())
	other.Pull = pull(2)
	ok(t, j.PutPlan(t.Context(), other))
	ok(t, j.PutPlan(t.Context(), plan(b, 1, dns())))
	want(t, "current", states(t, j), []string{"dns  ready", "dns a ready"})
	old, found, err := j.Plan(t.Context(), a+"/1")
	if err != nil || !found || old.State != journal.PlanSuperseded || old.Why != "planned again as "+b+"/1" || old.Changed.IsZero() {
		t.Errorf("Plan() of the older one = %+v, %v, %v, want it superseded", old, found, err)
	}
	if p, _, err := j.Plan(t.Context(), other.ID); err != nil || p.State != journal.PlanReady {
		t.Errorf("Plan() of another pull request = %+v, %v, want it ready", p, err)
	}
	ok(t, j.PutPlan(t.Context(), plan(b, 1, dns())))
	want(t, "journalled again", states(t, j), []string{"dns  ready", "dns a ready"})
}

func TestWhatBecameOfAPlanStays(t *testing.T) {
	t.Parallel()
	j := open(t)
	a, b := j.NewRunID(), j.NewRunID()
	ok(t, j.PutPlan(t.Context(), plan(a, 1, dns())))
	ok(t, j.SetPlanState(t.Context(), a+"/1", journal.PlanApplied, "ada", "applied in run x"))
	ok(t, j.PutPlan(t.Context(), plan(b, 1, dns())))
	p, _, err := j.Plan(t.Context(), a+"/1")
	ok(t, err)
	if p.State != journal.PlanApplied || p.By != "ada" || p.Why != "applied in run x" {
		t.Errorf("Plan() = %+v, want it still applied", p)
	}
}

// A job that is carried out again after a crash does not bring its plan back, nor put it before a newer.
func TestPlanThatIsOverIsNotPutAgain(t *testing.T) {
	t.Parallel()
	j := open(t)
	a, b := j.NewRunID(), j.NewRunID()
	ok(t, j.PutPlan(t.Context(), plan(a, 1, dns())))
	ok(t, j.SetPlanState(t.Context(), a+"/1", journal.PlanDiscarded, "ada", "unlock"))
	ok(t, j.PutPlan(t.Context(), plan(a, 1, dns())))
	want(t, "discarded, put again", states(t, j), []string{"dns  discarded"})
	ok(t, j.PutPlan(t.Context(), plan(b, 1, dns())))
	ok(t, j.PutPlan(t.Context(), plan(a, 1, dns())))
	want(t, "an older one, put again", states(t, j), []string{"dns  ready"})
	if ps, err := j.Plans(t.Context(), pull(1)); err != nil || ps[0].ID != b+"/1" {
		t.Errorf("Plans() = %+v, %v, want the newer plan", ps, err)
	}
}

func TestPlanIsNeverReadyAgain(t *testing.T) {
	t.Parallel()
	j := open(t)
	id := j.NewRunID()
	ok(t, j.PutPlan(t.Context(), plan(id, 1, dns())))
	ok(t, j.SetPlanState(t.Context(), id+"/1", journal.PlanNoChanges, "", ""))
	ok(t, j.SetPlanState(t.Context(), id+"/1", journal.PlanDiscarded, "ada", "unlock"))
	for _, s := range []journal.PlanState{journal.PlanReady, journal.PlanNoChanges} {
		if err := j.SetPlanState(t.Context(), id+"/1", s, "", ""); !errors.Is(err, journal.ErrPlanOver) {
			t.Errorf("SetPlanState(%s) of a discarded plan = %v, want ErrPlanOver", s, err)
		}
	}
	want(t, "state", states(t, j), []string{"dns  discarded"})
	if err := j.SetPlanState(t.Context(), id+"/2", journal.PlanStale, "", ""); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("SetPlanState() of no plan = %v, want ErrUnknown", err)
	}
}

func TestReportPlans(t *testing.T) {
	t.Parallel()
	j := open(t)
	a, b := j.NewRunID(), j.NewRunID()
	for i, dir := range []string{"a", "b", "c"} {
		ok(t, j.PutPlan(t.Context(), plan(a, i+1, runner.Project{Dir: dir, Workspace: "default"})))
	}
	ok(t, j.PutPlan(t.Context(), plan(b, 1, runner.Project{Dir: "d", Workspace: "default"})))
	ok(t, j.ReportPlans(t.Context(), a, 42, at(5)))
	ps, err := j.Plans(t.Context(), pull(1))
	ok(t, err)
	for _, p := range ps {
		if p.Run == a && (p.Report != 42 || !p.ReportedAt.Equal(at(5))) || p.Run == b && p.Report != 0 {
			t.Errorf("plan %s: stood in %d at %v", p.ID, p.Report, p.ReportedAt)
		}
	}
	ok(t, j.ReportPlans(t.Context(), j.NewRunID(), 1, at(5)))
}

func TestPutPlanRefuses(t *testing.T) {
	t.Parallel()
	j := open(t)
	p := plan(j.NewRunID(), 1, dns())
	p.N = 2
	if err := j.PutPlan(t.Context(), p); err == nil {
		t.Error("PutPlan() with another job's id = nil error")
	}
	if err := j.PutPlan(t.Context(), plan(j.NewRunID(), 1, runner.Project{Dir: "a\xff"})); err == nil {
		t.Error("PutPlan() of a directory that JSON would rename = nil error")
	}
}

// A plan that a newer Tidegate stored is not applied by this one.
func TestPlanOfANewerFormat(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "tidegate.db"))
	j, err := journal.Open(db)
	ok(t, err)
	p := plan(j.NewRunID(), 1, dns())
	ok(t, j.PutPlan(t.Context(), p))
	ok(t, db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("plans"))
		raw := strings.Replace(string(b.Get([]byte(p.ID))), `"format":1`, `"format":2`, 1)
		return b.Put([]byte(p.ID), []byte(raw))
	}))
	_, err = j.Plans(t.Context(), pull(1))
	newer := new(journal.FormatError)
	if !errors.As(err, &newer) || !strings.Contains(err.Error(), "made by a newer Tidegate (format 2, this one reads 1)") {
		t.Errorf("Plans() = %v, want a FormatError", err)
	}
	ok(t, j.Close())
}
