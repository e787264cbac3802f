package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// unlock discards the plans of the pull request, then releases its locks and its places in line.
func (e *Engine) unlock(ctx context.Context, s scene) (verdict, error) {
	if s.beside {
		return verdict{answer: e.sayUnlockRefused(s), outcome: "an apply is running"}, nil
	}
	freed, plans, err := e.letGo(ctx, s, "unlock")
	if err != nil {
		return verdict{}, err
	}
	v := verdict{answer: e.sayUnlocked(freed, plans), outcome: "unlocked"}
	if len(plans) > 0 && s.pull.State == vcs.Open {
		v.plan = e.status(s, cmdPlan, vcs.Failure, "plans discarded by unlock")
		v.apply = e.status(s, cmdApply, vcs.Pending, "nothing is planned")
	}
	return v, nil
}

// cleanUp follows a pull request that was closed or merged.
func (e *Engine) cleanUp(ctx context.Context, s scene) (verdict, error) {
	if s.pull.State == vcs.Open {
		return verdict{outcome: "the pull request is open again"}, nil
	}
	freed, plans, err := e.letGo(ctx, s, string(s.pull.State))
	if err != nil {
		return verdict{}, err
	}
	if err := e.Work.Remove(ctx, s.repo, s.pull.Number); err != nil {
		e.Log.WarnContext(ctx, "removing checkouts", "pull", s.pull.ID().String(), "err", err)
	}
	return verdict{outcome: fmt.Sprintf("%s: %s released, %s discarded", s.pull.State,
		count(len(freed.Locks), "lock"), count(len(plans), "plan"))}, nil
}

// letGo discards every plan, then releases everything. In that order a lock never comes free while a
// plan that it protected could still be applied.
func (e *Engine) letGo(ctx context.Context, s scene, why string) (locking.Freed, []journal.Plan, error) {
	var none locking.Freed
	plans, err := e.Journal.Plans(ctx, s.pull.ID())
	if err != nil {
		return none, nil, err
	}
	plans = slices.DeleteFunc(plans, func(p journal.Plan) bool {
		return p.State != journal.PlanReady && p.State != journal.PlanNoChanges
	})
	for _, p := range plans {
		if err := e.Journal.SetPlanState(ctx, p.ID, journal.PlanDiscarded, s.ask.user, why); err != nil {
			return none, nil, err
		}
	}
	if err := e.markAutoplan(ctx, s.pull.ID(), "", "", ""); err != nil {
		return none, nil, err
	}
	freed, err := e.Locks.Release(ctx, locking.Release{
		Pull: lockPull(s.pull.ID()), Why: why, By: s.ask.user, At: time.Now().UTC(), Waiters: true,
	})
	if err != nil {
		return none, nil, fmt.Errorf("releasing locks: %w", err)
	}
	return freed, plans, e.callNext(ctx)
}

// callNext calls the first waiter of every lock that is free.
func (e *Engine) callNext(ctx context.Context) error {
	next, err := e.Locks.Next(ctx)
	if err != nil {
		return fmt.Errorf("reading who waits: %w", err)
	}
	byPull := map[vcs.PullID]*journal.Internal{}
	var order []vcs.PullID
	for _, w := range next {
		id := pullID(w.Pull)
		in := byPull[id]
		if in == nil {
			in = &journal.Internal{Kind: "unlocked", Pull: id, User: w.User, Cause: "unlock"}
			byPull[id] = in
			order = append(order, id)
		}
		in.Projects = append(in.Projects, runner.Project{Dir: w.Key.Dir, Workspace: w.Key.Workspace, Name: w.Key.Project})
	}
	for _, id := range order {
		if e.called(id) {
			continue
		}
		if _, _, err := e.Journal.AddInternal(ctx, *byPull[id], "turn/"+e.Journal.NewRunID()); err != nil {
			return fmt.Errorf("calling %s: %w", id, err)
		}
	}
	return nil
}

// myTurn answers which of the projects that a waiter was called for it still waits for.
func (e *Engine) myTurn(ctx context.Context, s scene) ([]runner.Project, error) {
	next, err := e.Locks.Next(ctx)
	if err != nil {
		return nil, err
	}
	out := []runner.Project{}
	for _, w := range next {
		p := runner.Project{Dir: w.Key.Dir, Workspace: w.Key.Workspace, Name: w.Key.Project}
		if pullID(w.Pull) == s.pull.ID() && slices.Contains(s.ask.turn, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

// skipTurn lets the line go on when a waiter that was called can't go: it stays in line, but does not
// hold it up. One that is closed leaves it.
func (e *Engine) skipTurn(ctx context.Context, s scene) error {
	if s.ask.turn == nil {
		return nil
	}
	var keys []locking.Key
	for _, p := range s.ask.turn {
		keys = append(keys, lockKey(s.pull.Repo.ID, p))
	}
	var err error
	if s.pull.State == vcs.Open {
		err = e.Locks.Skip(ctx, lockPull(s.pull.ID()), keys, true)
	} else {
		_, err = e.Locks.Leave(ctx, lockPull(s.pull.ID()), nil)
	}
	if err != nil {
		return fmt.Errorf("going on with the line: %w", err)
	}
	return e.callNext(ctx)
}

// tellCycles tells every pull request of a circle, once, which unlock ends it. It answers the text
// for the one that closed the circle.
func (e *Engine) tellCycles(ctx context.Context, s scene, cycles []locking.Cycle) ([]string, error) {
	var notes []string
	me := s.pull.ID()
	for _, c := range cycles {
		text := e.cycleText(s, c)
		for _, p := range c.Pulls {
			id := pullID(p)
			if id == me {
				notes = append(notes, text)
				continue
			}
			if err := e.notice(ctx, id, "cycle", cycleID(c), noticeText{
				headline: "This pull request and others wait for each other", body: text,
			}); err != nil {
				return nil, err
			}
		}
	}
	return notes, nil
}

func (e *Engine) cycleText(s scene, c locking.Cycle) string {
	var parts []string
	for i, p := range c.Pulls {
		next := c.Pulls[(i+1)%len(c.Pulls)]
		parts = append(parts, fmt.Sprintf("%s holds %s, which %s waits for",
			s.site.PullRef(p.Number), templates.Code(c.Keys[i].Dir), s.site.PullRef(next.Number)))
	}
	return strings.Join(parts, "; ") + ". None of them can go on by itself: comment `unlock` in one of them."
}

func cycleID(c locking.Cycle) string {
	h := sha256.New()
	for i, p := range c.Pulls {
		_, _ = fmt.Fprintf(h, "%v %v\n", p, c.Keys[i])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// ErrApplyRunning says that a lock is not released while an apply runs under it.
var ErrApplyRunning = errors.New("an apply of this pull request is running")

// ErrNoLock says that there is no such lock, or no more.
var ErrNoLock = errors.New("no such lock")

// Release releases one lock from outside its pull request: it discards the plan, tells the pull
// request, and is recorded under by's name.
func (e *Engine) Release(ctx context.Context, lockID, by string) error {
	l, ok, err := e.Locks.Get(ctx, lockID)
	switch {
	case err != nil:
		return err
	case !ok:
		return ErrNoLock
	}
	id := pullID(l.Pull)
	if e.busy(id) {
		return ErrApplyRunning
	}
	project := runner.Project{Dir: l.Key.Dir, Workspace: l.Key.Workspace, Name: l.Key.Project}
	plans, err := e.Journal.Plans(ctx, id)
	if err != nil {
		return err
	}
	for _, p := range plans {
		if p.Project == project && (p.State == journal.PlanReady || p.State == journal.PlanNoChanges) {
			if err := e.Journal.SetPlanState(ctx, p.ID, journal.PlanDiscarded, by, "released by "+by); err != nil {
				return err
			}
		}
	}
	if err := e.markAutoplan(ctx, id, "", "", ""); err != nil {
		return err
	}
	if err := e.notice(ctx, id, cmdRelease, e.Journal.NewRunID(), releaseNotice(project, by)); err != nil {
		return err
	}
	if _, err := e.Locks.Release(ctx, locking.Release{
		Pull: l.Pull, Keys: []locking.Key{l.Key}, Why: "released on the locks page", By: by, At: time.Now().UTC(),
	}); err != nil {
		return err
	}
	return e.callNext(ctx)
}
