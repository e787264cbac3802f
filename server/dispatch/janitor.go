package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// Keep is how long is kept what nothing needs any more. What is needed stays, however old: everything of an open
// pull request but files in which nothing is planned, runs that are not answered, states that could not be
// stored, plans that can be applied and what they were made with.
type Keep struct {
	// Runs are those of closed pull requests, with their logs and answers; 0 is for good.
	Runs time.Duration
	// Checkouts are those of open pull requests in which nothing is planned; 0 is for good.
	Checkouts time.Duration
	// Unused are mirrors, tools, providers and what was fetched from Git LFS; 0 is for good.
	Unused time.Duration
	// Quota is how many bytes the data directory should have at most; 0 is any number. Above it the
	// oldest goes before its time.
	Quota int64
}

// less is what is kept when there is no room: for half the time, at last for none. What is kept for good is.
func (k Keep) less(last bool) Keep {
	for _, d := range []*time.Duration{&k.Runs, &k.Checkouts, &k.Unused} {
		if *d /= 2; last && *d > 0 {
			*d = 1
		}
	}
	return k
}

const (
	tidyEvery = time.Hour
	// leastKeys is how long an event is known at least. GitHub sends a delivery of the last three days
	// again when somebody asks for it; what comes later is told by its age, and by its answer.
	leastKeys = 30 * 24 * time.Hour
	// leastUnused is more than the times of use are exact to.
	leastUnused = 48 * time.Hour
	// fresh is how long a file may be without a record that names it: it is written first. What was fetched may be needed for the next
	// project as long.
	fresh = time.Hour
	// mostAtOnce is how many runs or events go in one round.
	mostAtOnce = 10_000
)

// Disk is what the data directory held when it was measured last.
type Disk struct {
	Bytes, Quota int64
	// Over: it is above the quota, and nothing more may go.
	Over bool
}

// Disk answers for metrics; zero before the first measure.
func (e *Engine) Disk() Disk {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.disk
}

// Undisturbed calls f while nothing that is kept is removed.
func (e *Engine) Undisturbed(ctx context.Context, f func() error) error {
	select {
	case e.tidying <- struct{}{}:
		defer func() { <-e.tidying }()
		return f()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keepTidy removes what is not needed, at once and then every hour.
func (e *Engine) keepTidy(ctx context.Context) {
	for {
		err := e.Undisturbed(ctx, func() error { return guarded(func() error { return e.tidyUp(ctx, time.Now()) }) })
		if err != nil && ctx.Err() == nil {
			e.Log.ErrorContext(ctx, "removing what is not needed any more", "err", err)
		}
		if sleep(ctx, tidyEvery) != nil {
			return
		}
	}
}

// tidyUp removes what is old. While there is more than the quota it does so again for half the age, until
// nothing but what is needed is left.
func (e *Engine) tidyUp(ctx context.Context, now time.Time) error {
	const halvings = 12
	keep := e.Options.Keep
	for n := 0; ; n++ {
		if err := e.tidyOnce(ctx, now, keep); err != nil {
			return err
		}
		if keep.Quota == 0 {
			return nil
		}
		size, err := measure(ctx, e.Options.Data)
		if err != nil {
			return err
		}
		over := size > keep.Quota
		e.mu.Lock()
		e.disk = Disk{Bytes: size, Quota: keep.Quota, Over: over && n == halvings}
		e.mu.Unlock()
		if !over {
			return nil
		}
		if n == halvings {
			e.Log.WarnContext(ctx, "the data directory is above --data-quota, and all that is in it is needed", "bytes", size, "quota", keep.Quota)
			return nil
		}
		keep = keep.less(n == halvings-1)
	}
}

// tidyOnce removes what is older than what is to be kept. Records go first, and then what no record names: a
// process that dies in between leaves something for the next round, and nothing that is named is gone.
func (e *Engine) tidyOnce(ctx context.Context, now time.Time, keep Keep) error {
	pulls, err := e.Journal.Pulls(ctx)
	if err = e.spare(ctx, err); err != nil {
		return err
	}
	var errs []error
	left := mostAtOnce
	for _, p := range pulls {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := e.tidyPull(ctx, now, keep, p, left)
		left -= n
		errs = append(errs, err)
	}
	errs = append(errs, e.tidyEvents(ctx, now, keep), e.tidyFiles(ctx, now), e.tidyMirrors(ctx, now, keep), e.tidyTools(ctx, now, keep))
	return errors.Join(errs...)
}

func repoOf(p journal.PullRecord) workdir.Repo {
	return workdir.Repo{Forge: p.ID.Repo.Forge, ID: p.ID.Repo.ID, URL: p.Repo.CloneURL}
}

// tidyPull removes what is old of one pull request, and answers how many runs it were.
func (e *Engine) tidyPull(ctx context.Context, now time.Time, keep Keep, p journal.PullRecord, most int) (int, error) {
	closed := p.State != vcs.Open && p.CleanedUp
	there, err := e.Work.Has(repoOf(p), p.ID.Number)
	if err != nil || !closed && !there {
		return 0, err
	}
	end, ok := e.lanes.hold(p.ID)
	if !ok {
		return 0, nil
	}
	defer end()
	unstored, err := e.unstored(ctx, p.ID)
	if err != nil || len(unstored) > 0 {
		return 0, err
	}
	if there {
		if there, err = e.tidyCheckouts(ctx, now, keep, p, closed); err != nil {
			return 0, err
		}
	}
	before := now.Add(-keep.Runs)
	if !closed || keep.Runs == 0 || !p.LastEvent.Before(before) {
		return 0, nil
	}
	n, err := e.tidyRuns(ctx, before, p.ID, most)
	if err == nil && !there {
		_, err = e.Journal.ForgetPull(ctx, p.ID)
	}
	return n, err
}

// tidyCheckouts removes the checkouts of a pull request if nothing is done in them any more. It reports
// whether they are still there.
func (e *Engine) tidyCheckouts(ctx context.Context, now time.Time, keep Keep, p journal.PullRecord, closed bool) (bool, error) {
	running, err := e.Journal.Runs(ctx, journal.Filter{Pull: &p.ID, Running: true})
	if err = e.spare(ctx, err); err != nil || len(running) > 0 {
		return true, err
	}
	if !closed {
		if keep.Checkouts == 0 || p.LastEvent.After(now.Add(-keep.Checkouts)) {
			return true, nil
		}
		plans, err := e.Journal.Plans(ctx, p.ID)
		if err != nil {
			return true, e.spare(ctx, err)
		}
		for _, plan := range plans {
			if plan.State == journal.PlanReady {
				return true, nil
			}
		}
	}
	if err := e.Work.Remove(ctx, repoOf(p), p.ID.Number); err != nil {
		return true, fmt.Errorf("removing the checkouts of %s: %w", p.ID, err)
	}
	return false, nil
}

func (e *Engine) tidyRuns(ctx context.Context, before time.Time, id vcs.PullID, most int) (int, error) {
	runs, err := e.Journal.Runs(ctx, journal.Filter{Pull: &id})
	if err = e.spare(ctx, err); err != nil {
		return 0, err
	}
	n := 0
	for _, r := range runs {
		if n == most || ctx.Err() != nil {
			break
		}
		if r.State != journal.RunDone || !r.Ended.Before(before) {
			continue
		}
		gone, err := e.Journal.Forget(ctx, r.ID)
		if err = e.spare(ctx, err); err != nil {
			return n, err
		}
		if gone {
			n++
		}
	}
	return n, nil
}

// tidyEvents removes events whose runs are gone, with the keys that the same event is known by. None goes that
// could be told of again: one that a look at the forge would still list, because it is not older than the
// repository's watermark (less the overlap), or one that is younger than leastKeys. Where no look was ever taken, the
// first one lets nothing older in.
func (e *Engine) tidyEvents(ctx context.Context, now time.Time, keep Keep) error {
	if keep.Runs == 0 {
		return nil
	}
	named, err := e.Journal.Named(ctx)
	if err != nil {
		return e.spare(ctx, err)
	}
	repos, err := e.Journal.Repos(ctx)
	if err != nil {
		return e.spare(ctx, err)
	}
	listed := map[vcs.RepoID]time.Time{}
	for _, r := range repos {
		listed[r.Repo.ID] = r.Watermark.Add(-overlap - time.Hour)
	}
	before := now.Add(-max(keep.Runs, leastKeys))
	_, err = e.Journal.ForgetEvents(ctx, func(ev journal.Event) bool {
		since, looked := listed[ev.Event.Repo.ID]
		again := ev.Internal == nil && looked && !ev.Event.At.Before(since)
		return ev.Done.Before(before) && ev.Received.Before(before) && !named.Runs[ev.Run] && !again
	}, mostAtOnce)
	return err
}

// tidyFiles removes what no record names: directories of runs, plans that can't be applied, long texts. A run
// is journalled before its directory is made, so one without a run was forgotten.
func (e *Engine) tidyFiles(ctx context.Context, now time.Time) error {
	named, err := e.Journal.Named(ctx)
	if err != nil {
		return e.spare(ctx, err) // what can't be read may name them
	}
	old := func(at time.Time) bool { return at.Before(now.Add(-fresh)) }
	return errors.Join(
		e.removeFrom(ctx, "runs", func(name string, _ time.Time) bool {
			_, known, err := e.Journal.Run(ctx, name)
			_, run := journal.RunTime(name)
			return run && !known && err == nil
		}),
		e.removeFrom(ctx, "plans", func(name string, at time.Time) bool { return old(at) && !named.Plans[name] }),
		e.removeFrom(ctx, "reports", func(name string, at time.Time) bool { return old(at) && !named.Bodies[name] }),
	)
}

func (e *Engine) removeFrom(ctx context.Context, dir string, unneeded func(name string, at time.Time) bool) error {
	dir = filepath.Join(e.Options.Data, dir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if ctx.Err() != nil {
			break
		}
		info, ierr := entry.Info()
		if ierr != nil || !unneeded(entry.Name(), info.ModTime()) {
			continue
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return err
}

// tidyMirrors removes the mirrors of repositories of which nothing was heard, and of the others what was fetched from Git LFS and is used no more.
func (e *Engine) tidyMirrors(ctx context.Context, now time.Time, keep Keep) error {
	if keep.Unused == 0 {
		return nil
	}
	pulls, err := e.Journal.Pulls(ctx)
	if err != nil {
		return e.spare(ctx, err)
	}
	repos, err := e.Journal.Repos(ctx)
	if err != nil {
		return e.spare(ctx, err)
	}
	last := map[vcs.RepoID]time.Time{}
	for _, r := range repos {
		last[r.Repo.ID] = time.Time{}
	}
	for _, p := range pulls {
		if at, ok := last[p.ID.Repo]; !ok || at.Before(p.LastEvent) {
			last[p.ID.Repo] = p.LastEvent
		}
	}
	var errs []error
	for id, at := range last {
		if at.Before(now.Add(-max(keep.Unused, leastUnused))) && ctx.Err() == nil {
			_, err := e.Work.RemoveMirror(ctx, workdir.Repo{Forge: id.Forge, ID: id.ID})
			errs = append(errs, err)
		}
		if ctx.Err() == nil {
			_, err := e.Work.RemoveLarge(ctx, workdir.Repo{Forge: id.Forge, ID: id.ID}, now.Add(-max(keep.Unused, fresh)))
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// tidyTools removes tools and providers that nothing has used. A plan is applied with those it was made with.
func (e *Engine) tidyTools(ctx context.Context, now time.Time, keep Keep) error {
	if keep.Unused == 0 {
		return nil
	}
	named, err := e.Journal.Named(ctx)
	if err != nil {
		return e.spare(ctx, err)
	}
	since := now.Add(-max(keep.Unused, leastUnused))
	if !named.Oldest.IsZero() && named.Oldest.Add(-leastUnused).Before(since) {
		since = named.Oldest.Add(-leastUnused)
	}
	_, err = e.Tools.RemoveUnused(since)
	_, perr := e.Runner.RemoveUnused(since)
	return errors.Join(err, perr)
}

// measure answers how much a directory holds.
func measure(ctx context.Context, dir string) (int64, error) {
	var size int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
			return nil // it went meanwhile, or a job has closed it
		case err != nil:
			return err
		case !d.Type().IsRegular():
			return nil
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measuring the data directory: %w", err)
	}
	return size, nil
}
