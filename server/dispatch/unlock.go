package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// unlock discards the plans of the pull request, then releases its locks and its places in line.
func (e *Engine) unlock(ctx context.Context, s scene) (verdict, error) {
	if s.beside != "" {
		return verdict{answer: sayUnlockRefused(s), outcome: s.beside + " is running"}, nil
	}
	// The run is journalled first: should the process die on the way, the next one knows by its id what
	// this unlock has ended already, and says so.
	if err := e.Journal.CreateRun(ctx, s.run, nil); err != nil {
		return verdict{}, err
	}
	freed, plans, err := e.letGo(ctx, s, "unlock, run "+s.run.ID)
	if err != nil {
		return verdict{}, err
	}
	kept, err := e.unstored(ctx, s.pull.ID())
	if err != nil {
		return verdict{}, err
	}
	v := verdict{answer: e.sayUnlocked(freed, plans, kept), outcome: "unlocked"}
	if len(plans)+len(freed.Left) > 0 && s.pull.State == vcs.Open {
		v.plan = e.status(s, cmdPlan, vcs.Failure, "given up by unlock")
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
	kept, err := e.unstored(ctx, s.pull.ID())
	if err != nil {
		return verdict{}, err
	}
	if len(kept) == 0 {
		e.sweep(ctx, s)
	} else if err := e.notice(ctx, s.pull.ID(), "unstored", strconv.FormatUint(s.ev.Seq, 10), unstoredNotice(s, kept)); err != nil {
		return verdict{}, err
	}
	v := verdict{outcome: fmt.Sprintf("%s: %s released, %s discarded", s.pull.State,
		count(len(freed.Locks), "lock"), count(len(plans), "plan"))}
	err = e.editPull(ctx, s.pull.ID(), func(rec *journal.PullRecord) (bool, error) {
		rec.CleanedUp = true
		v.plan, v.apply = e.endPending(s, *rec)
		return true, nil
	})
	return v, err
}

// mayCut asks the forge whether an unlock or a close may end the plan that is in its way.
func (e *Engine) mayCut(ctx context.Context, it item) bool {
	wait := e.pace.retry
	for {
		var may bool
		err := guarded(func() error {
			s, err := e.look(ctx, ctx, it)
			if err != nil {
				return err
			}
			if it.ask.kind == askClosed {
				may = s.pull.State != vcs.Open
				return nil
			}
			_, refused, err := e.may(ctx, s)
			may = err == nil && !refused
			return err
		})
		if err == nil || ctx.Err() != nil {
			return may
		}
		e.Log.WarnContext(ctx, "asking whether a plan may be ended", "event", it.ev.Seq, "err", err)
		if sleep(ctx, wait) != nil {
			return false
		}
		wait = min(wait*2, time.Minute)
	}
}

// letGo discards every plan, then releases everything. In that order a lock never comes free while a
// plan that it protected could still be applied. It answers all that was ended for that reason, by an
// earlier process too.
func (e *Engine) letGo(ctx context.Context, s scene, why string) (locking.Freed, []journal.Plan, error) {
	var none locking.Freed
	plans, err := e.plans(ctx, s.pull.ID())
	if err != nil {
		return none, nil, err
	}
	plans = slices.DeleteFunc(plans, func(p journal.Plan) bool {
		return !p.State.Open() && (p.State != journal.PlanDiscarded || p.Why != why)
	})
	for _, p := range plans {
		if !p.State.Open() {
			continue
		}
		if err := e.Journal.SetPlanState(ctx, p.ID, journal.PlanDiscarded, s.ask.user, why); err != nil {
			return none, nil, err
		}
	}
	if err := errors.Join(e.markAutoplan(ctx, s.pull.ID(), "", "", ""), e.beginAnew(ctx, s)); err != nil {
		return none, nil, err
	}
	e.Hook(AtDiscarded)
	freed, err := e.Locks.Release(ctx, locking.Release{
		Pull: lockPull(s.pull.ID()), All: true, Why: why, By: s.ask.user, At: time.Now().UTC(), Waiters: true,
	})
	if err != nil {
		return none, nil, fmt.Errorf("releasing locks: %w", err)
	}
	e.Hook(AtReleased)
	if s.known {
		if freed, err = e.freedFor(ctx, s, why); err != nil {
			return none, nil, err
		}
	}
	return freed, plans, e.callNext(ctx)
}

// freedFor reads from the record of all changes what was released for a reason.
func (e *Engine) freedFor(ctx context.Context, s scene, why string) (locking.Freed, error) {
	var f locking.Freed
	log, err := e.Locks.Audit(ctx, 0)
	if err != nil {
		return f, err
	}
	for _, a := range log {
		switch {
		case a.Why != why || a.Pull != lockPull(s.pull.ID()):
		case a.What == locking.Released:
			f.Locks = append(f.Locks, locking.Lock{Key: a.Key, Pull: a.Pull})
		case a.What == locking.Left:
			f.Left = append(f.Left, locking.Waiter{Key: a.Key, Pull: a.Pull})
		}
	}
	return f, nil
}

// callNext calls the first waiter of every lock that is free. While there is no room it calls nobody: who is called could only
// be refused, and would lose its place.
func (e *Engine) callNext(ctx context.Context) error {
	if e.noRoom() != nil {
		return nil
	}
	next, err := e.Locks.Next(ctx)
	if err != nil {
		return fmt.Errorf("reading who waits: %w", err)
	}
	const most = 16 << 10 // bytes of names in one event
	current, size := map[vcs.PullID]*journal.Internal{}, map[vcs.PullID]int{}
	var calls []*journal.Internal
	for _, w := range next {
		id, p := pullID(w.Pull), projectOf(w.Key)
		if e.lanes.coming(id)[p] {
			continue
		}
		in := current[id]
		if size[id] += len(p.Dir) + len(p.Workspace) + len(p.Name); in == nil || size[id] > most {
			in = &journal.Internal{Kind: "unlocked", Pull: id, User: w.User, Cause: "unlock"}
			current[id], size[id] = in, 0
			calls = append(calls, in)
		}
		in.Projects = append(in.Projects, p)
	}
	var errs []error
	for _, in := range calls {
		if _, _, err := e.Journal.AddInternal(ctx, *in, "turn/"+e.Journal.NewRunID()); err != nil {
			errs = append(errs, fmt.Errorf("calling %s: %w", in.Pull, err))
		}
		e.Hook(AtCalled)
	}
	return errors.Join(errs...)
}

// myTurn answers which of the projects that a waiter was called for it still waits for.
func (e *Engine) myTurn(ctx context.Context, s scene) ([]runner.Project, error) {
	next, err := e.Locks.Next(ctx)
	if err != nil {
		return nil, err
	}
	out := []runner.Project{}
	for _, w := range next {
		p := projectOf(w.Key)
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
		_, err = e.Locks.LeaveAll(ctx, lockPull(s.pull.ID()))
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
	if len(cycles) == 0 {
		return nil, nil
	}
	waiters, err := e.Locks.Waiters(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range cycles {
		text := e.cycleText(s, c)
		for _, p := range c.Pulls {
			id := pullID(p)
			if id == me {
				notes = append(notes, text)
				continue
			}
			if err := e.notice(ctx, id, "cycle", cycleID(c, waiters), noticeText{
				headline: "This pull request and others wait for each other", body: text,
			}); err != nil {
				return nil, err
			}
		}
	}
	return notes, nil
}

func (e *Engine) cycleText(s scene, c locking.Cycle) string {
	pull := func(p locking.Pull) templates.Holder {
		return templates.Holder{Ref: s.site.PullRef(p.Number), URL: s.site.PullURL(s.pull.Repo, p.Number)}
	}
	var holds []templates.Hold
	for i, p := range c.Pulls {
		holds = append(holds, templates.Hold{Label: c.Keys[i].Dir, Holder: pull(p), Waiter: pull(c.Pulls[(i+1)%len(c.Pulls)])})
	}
	return templates.CircleNote(holds)
}

// cycleID is another one when the same pull requests come to wait for each other again.
func cycleID(c locking.Cycle, waiters []locking.Waiter) string {
	h := sha256.New()
	for i, p := range c.Pulls {
		_, _ = fmt.Fprintf(h, "%v %v\n", p, c.Keys[i])
		for _, w := range waiters {
			if k := c.Keys[i]; w.Pull == c.Pulls[(i+1)%len(c.Pulls)] && w.Key.Repo == k.Repo && w.Key.Dir == k.Dir && w.Key.Workspace == k.Workspace {
				_, _ = fmt.Fprintf(h, "%d\n", w.Seq)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// ErrRunning says that a lock is not released while a plan or an apply runs under it.
var ErrRunning = errors.New("a plan or an apply of this pull request is running")

// ErrNoLock says that there is no such lock, or no more.
var ErrNoLock = errors.New("no such lock")

// ErrStopping says that nothing begins any more, because the server stops.
var ErrStopping = errStopping

// Release releases one lock from outside its pull request: it discards the plan, tells the pull
// request, and is recorded under by's name.
func (e *Engine) Release(ctx context.Context, lockID, by string) error {
	end, ok := e.enter()
	if !ok {
		return ErrStopping
	}
	defer end()
	l, ok, err := e.Locks.Get(ctx, lockID)
	switch {
	case err != nil:
		return err
	case !ok:
		return ErrNoLock
	}
	if l.Pull != (locking.Pull{}) { // the holder of a damaged lock may be unknown
		end, ok := e.lanes.hold(pullID(l.Pull))
		if !ok {
			return ErrRunning
		}
		defer end()
		if err := e.releasing(ctx, l, by); err != nil {
			return err
		}
	}
	if _, err := e.Locks.Release(ctx, locking.Release{
		Pull: l.Pull, Keys: []locking.Key{l.Key}, Why: "released on the locks page", By: by, At: time.Now().UTC(),
	}); err != nil {
		return err
	}
	return e.callNext(ctx)
}

// releasing discards the plan under a lock that is about to be released, and tells its pull request.
func (e *Engine) releasing(ctx context.Context, l locking.Lock, by string) error {
	id := pullID(l.Pull)
	// Right after a start a run of the last process may go on that has no lane yet.
	running, err := e.Journal.Runs(ctx, journal.Filter{Pull: &id, Running: true})
	if err = e.spare(ctx, err); err != nil {
		return err
	}
	if slices.ContainsFunc(running, func(r journal.Run) bool { return r.Command == cmdApply || r.Command == cmdPlan }) {
		return ErrRunning
	}
	project := projectOf(l.Key)
	plans, err := e.plans(ctx, id)
	if err != nil {
		return err
	}
	for _, p := range plans {
		if p.Project == project && p.State.Open() {
			if err := e.Journal.SetPlanState(ctx, p.ID, journal.PlanDiscarded, by, "released by "+by); err != nil {
				return err
			}
		}
	}
	if err := e.markAutoplan(ctx, id, "", "", ""); err != nil {
		return err
	}
	return e.notice(ctx, id, cmdRelease, e.Journal.NewRunID(), releaseNotice(project, by))
}
