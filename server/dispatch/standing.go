package dispatch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// standing is where one project of a pull request stands: its newest plan job, and the plan that is
// kept for it.
type standing struct {
	project runner.Project
	job     journal.Job
	plan    *journal.Plan // nil when the job made none, or it is not the current one any more
}

// done: there is nothing left to apply.
func (s standing) done() bool {
	return s.plan != nil && (s.plan.State == journal.PlanNoChanges || s.plan.State == journal.PlanApplied)
}

// standing answers where the projects of a pull request stand: those of the newest run that planned
// everything the pull request touches, and those planned by name since. Where everything was
// let go of, it begins anew. A damaged run or job after that is an error: what it planned would be left out. To
// plan everything, or an unlock, puts it behind.
func (e *Engine) standing(ctx context.Context, id vcs.PullID) ([]standing, error) {
	plans, err := e.plans(ctx, id)
	if err != nil {
		return nil, err
	}
	byID := map[string]*journal.Plan{}
	for i := range plans {
		byID[plans[i].ID] = &plans[i]
	}
	var out []standing
	seen := map[runner.Project]bool{}
	rec, _, err := e.Journal.Pull(ctx, id)
	if err != nil {
		return nil, err
	}
	for before := ""; ; {
		runs, err := e.Journal.Runs(ctx, journal.Filter{Pull: &id, Before: before, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(runs) == 0 {
			return out, nil
		}
		r := runs[0]
		before = r.ID
		if r.ID <= rec.Since {
			return out, nil
		}
		if r.Command != cmdPlan {
			continue
		}
		jobs, err := e.Journal.Jobs(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		for _, j := range jobs {
			if !seen[j.Job.Project] {
				seen[j.Job.Project] = true
				out = append(out, standing{project: j.Job.Project, job: j, plan: byID[j.PlanID]})
			}
		}
		if len(jobs) > 0 && !r.Targeted {
			return out, nil
		}
	}
}

// beginAnew lets nothing stand that was planned until now.
func (e *Engine) beginAnew(ctx context.Context, s scene) error {
	return e.editPull(ctx, s.pull.ID(), func(rec *journal.PullRecord) (bool, error) {
		rec.Since = s.run.ID
		return true, nil
	})
}

// freeIdle frees the locks under which nothing is planned, after a push that led to no jobs: the run that
// it superseded has left them for it.
func (e *Engine) freeIdle(ctx context.Context, s scene) error {
	plans, err := e.plans(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	touched, err := e.touched(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	held, err := e.Locks.Held(ctx, lockPull(s.pull.ID()))
	if err != nil {
		return err
	}
	var free []locking.Key
	for _, l := range held {
		p := projectOf(l.Key)
		planned := slices.ContainsFunc(plans, func(pl journal.Plan) bool { return pl.Project == p && pl.State == journal.PlanReady })
		if !planned && !touched(p) {
			free = append(free, l.Key)
		}
	}
	return e.free(ctx, s, free, "nothing is planned for it")
}

// keepOnly lets go of what an earlier run planned and the pull request does not touch any more.
func (e *Engine) keepOnly(ctx context.Context, s scene, keep []journal.Job) error {
	kept := map[runner.Project]bool{}
	for _, j := range keep {
		kept[j.Job.Project] = true
	}
	plans, err := e.plans(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	touched, err := e.touched(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	for _, p := range plans {
		if !kept[p.Project] && p.State == journal.PlanReady {
			if err := e.Journal.SetPlanState(ctx, p.ID, journal.PlanSuperseded, s.ask.user, "not touched any more"); err != nil {
				return err
			}
		}
	}
	var free []locking.Key
	held, err := e.Locks.Held(ctx, lockPull(s.pull.ID()))
	if err != nil {
		return err
	}
	for _, l := range held {
		if p := projectOf(l.Key); !kept[p] && !touched(p) {
			free = append(free, l.Key)
		}
	}
	if err := e.leave(ctx, s, func(p runner.Project) bool { return !kept[p] }); err != nil {
		return err
	}
	return e.free(ctx, s, free, "not touched any more")
}

// leave takes the pull request out of the lines for the projects that are meant.
func (e *Engine) leave(ctx context.Context, s scene, meant func(runner.Project) bool) error {
	waiters, err := e.Locks.Waiters(ctx)
	if err != nil {
		return err
	}
	var keys []locking.Key
	for _, w := range waiters {
		if pullID(w.Pull) == s.pull.ID() && meant(projectOf(w.Key)) {
			keys = append(keys, w.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	_, err = e.Locks.Leave(ctx, lockPull(s.pull.ID()), keys)
	return err
}

// touched answers which projects an apply of the pull request may have changed. Their locks stay
// until it is merged or closed: the base does not know yet what was done.
func (e *Engine) touched(ctx context.Context, id vcs.PullID) (func(runner.Project) bool, error) {
	applied, err := e.applies(ctx, id)
	if journal.Damaged(err) {
		return all, e.spare(ctx, err)
	}
	return func(p runner.Project) bool { return applied[p] }, err
}

func (e *Engine) applies(ctx context.Context, id vcs.PullID) (map[runner.Project]bool, error) {
	runs, err := e.Journal.Runs(ctx, journal.Filter{Pull: &id})
	if err != nil {
		return nil, err
	}
	out := map[runner.Project]bool{}
	for _, r := range runs {
		if r.Command != cmdApply {
			continue
		}
		jobs, err := e.Journal.Jobs(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		for _, j := range jobs {
			if changedSomething(j) {
				out[j.Job.Project] = true
			}
		}
	}
	return out, nil
}

func changedSomething(j journal.Job) bool {
	if j.Result == nil {
		return j.State == journal.JobRunning
	}
	switch j.Result.End {
	case runner.NotStarted, runner.Cancelled:
		return false
	case runner.Failed:
		return !j.Result.Changes.Empty()
	case runner.Succeeded, runner.Errored, runner.Interrupted, runner.PartlyApplied, runner.Unknown:
	}
	return true
}

// supersedePlan lets the current plan of a project go.
func (e *Engine) supersedePlan(ctx context.Context, s scene, p runner.Project, why string) error {
	plans, err := e.plans(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	for _, old := range plans {
		if old.Project == p && old.State == journal.PlanReady {
			return e.Journal.SetPlanState(ctx, old.ID, journal.PlanSuperseded, s.ask.user, why)
		}
	}
	return nil
}

func (e *Engine) planByID(ctx context.Context, id vcs.PullID, plan string) (journal.Plan, bool, error) {
	plans, err := e.plans(ctx, id)
	if err != nil {
		return journal.Plan{}, false, err
	}
	for _, p := range plans {
		if p.ID == plan {
			return p, true, nil
		}
	}
	return journal.Plan{}, false, nil
}

// settle frees the locks that protect nothing, leaves the lines for what does not wait any more, and
// remembers what was autoplanned.
func (e *Engine) settle(ctx context.Context, s scene, jobs []journal.Job) error {
	switch {
	case s.ask.kind == askMend:
		return e.mendDone(ctx, s)
	case !s.ask.plans():
		return nil
	}
	touched, err := e.touched(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	// Whose turn came to nothing must not be called again for it.
	over := map[runner.Project]bool{}
	for _, j := range jobs {
		over[j.Job.Project] = j.State != journal.JobWaiting
	}
	if err := e.leave(ctx, s, func(p runner.Project) bool { return over[p] }); err != nil {
		return err
	}
	var free []locking.Key
	for _, j := range jobs {
		if errors.Is(context.Cause(s.stop), errSuperseded) { //nolint:contextcheck // stop is derived from ctx
			break // the push that ended it plans on under the same locks
		}
		if j.State == journal.JobWaiting || touched(j.Job.Project) || j.Result == nil || keepsPlan(j) {
			continue
		}
		if j.Result.End != runner.Succeeded || j.Result.Changes.Empty() {
			free = append(free, lockKey(s.pull.Repo.ID, j.Job.Project))
		}
	}
	if !targeted(s.ask) {
		if err := e.keepOnly(ctx, s, jobs); err != nil {
			return err
		}
	}
	if err := e.free(ctx, s, free, "nothing is planned for it"); err != nil {
		return err
	}
	if s.stop.Err() != nil || targeted(s.ask) || slices.ContainsFunc(jobs, wasCancelled) {
		return nil
	}
	return e.markAutoplan(ctx, s.pull.ID(), s.run.Head, s.run.Base, s.run.ID)
}

// wasCancelled: somebody, or a stop, has ended it before it did anything.
func wasCancelled(j journal.Job) bool { return j.Result != nil && j.Result.End == runner.Cancelled }

func targeted(a ask) bool { return a.turn != nil || a.left != nil || a.cmd.Targeted() }

// markAutoplan remembers what was autoplanned last; nothing at all after what undoes it.
func (e *Engine) markAutoplan(ctx context.Context, id vcs.PullID, head, base, run string) error {
	return e.editPull(ctx, id, func(rec *journal.PullRecord) (bool, error) {
		rec.LastAutoplan.Head, rec.LastAutoplan.Base, rec.LastAutoplan.Run = head, base, run
		return rec.ID == id, nil
	})
}

// free releases locks of the pull request and calls who waits for them.
func (e *Engine) free(ctx context.Context, s scene, keys []locking.Key, why string) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := e.Locks.Release(ctx, locking.Release{
		Pull: lockPull(s.pull.ID()), Keys: keys, Why: why, By: s.ask.user, At: time.Now().UTC(),
	})
	if err != nil {
		return err
	}
	return e.callNext(ctx)
}

func (e *Engine) heldKeys(ctx context.Context, id vcs.PullID) (map[locking.Key]bool, error) {
	locks, err := e.Locks.Held(ctx, lockPull(id))
	if err != nil {
		return nil, err
	}
	out := map[locking.Key]bool{}
	for _, l := range locks {
		out[l.Key] = true
	}
	return out, nil
}

// inOrder are keys in an order that is always the same.
func inOrder(keys map[locking.Key]bool) []locking.Key {
	return slices.SortedFunc(maps.Keys(keys), func(a, b locking.Key) int { return bytes.Compare(a.Bytes(), b.Bytes()) })
}

func lockPull(id vcs.PullID) locking.Pull {
	return locking.Pull{Forge: id.Repo.Forge, Repo: id.Repo.ID, Number: id.Number}
}

func pullID(p locking.Pull) vcs.PullID {
	return vcs.PullID{Repo: vcs.RepoID{Forge: p.Forge, ID: p.Repo}, Number: p.Number}
}

func lockKey(r vcs.RepoID, p runner.Project) locking.Key {
	return locking.Key{Forge: r.Forge, Repo: r.ID, Dir: p.Dir, Workspace: p.Workspace, Project: p.Name}
}

func projectOf(k locking.Key) runner.Project {
	return runner.Project{Dir: k.Dir, Workspace: k.Workspace, Name: k.Project}
}

func (e *Engine) stateDir(r vcs.RepoID, p runner.Project) string {
	if !e.Options.LocalState {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{p.Dir, p.Workspace, p.Name}, "\x00")))
	return filepath.Join(e.Options.Data, "states", strings.ReplaceAll(r.String(), ":", "_"), hex.EncodeToString(sum[:12]))
}

// The parts of a digest are kept beside the job, so that a refusal can say what moved.
func writeDigest(jobDir string, d project.Digested) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(jobDir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(jobDir, "digest.json"), raw, 0o600)
}

func readDigest(jobDir string) (d project.Digested, err error) {
	raw, err := os.ReadFile(filepath.Join(jobDir, "digest.json")) //nolint:gosec // a path of ours below the data directory
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(raw, &d)
}
