package dispatch

import (
	"context"
	"errors"
	"sync"

	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// live are the jobs that are being carried to their ends, and the plans that have no jobs yet, so that a cancel finds them.
type live struct {
	mu   sync.Mutex
	jobs map[*liveJob]struct{}
}

type liveJob struct {
	item
	pull vcs.PullID
	job  journal.Job
	// merging: it has no jobs yet, and is what was asked for as a whole.
	merging bool
	cancel  context.CancelCauseFunc
}

func newLive() *live { return &live{jobs: map[*liveJob]struct{}{}} }

func (l *live) add(j *liveJob) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs[j] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.jobs, j)
	}
}

// of are those of a pull request.
func (l *live) of(id vcs.PullID) []*liveJob {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*liveJob
	for j := range l.jobs {
		if j.pull == id {
			out = append(out, j)
		}
	}
	return out
}

// heed is the scene in which one job is carried out: a cancel that means the job ends it. end must be called.
func (e *Engine) heed(ctx context.Context, s scene, j journal.Job) (_ scene, end func(), err error) {
	stop, cancel := context.WithCancelCause(s.stop)
	remove := e.live.add(&liveJob{item: s.item, pull: s.pull.ID(), job: j, cancel: cancel})
	end = func() {
		remove()
		cancel(nil)
	}
	// Looked for after the job can be found: a cancel is journalled before it looks for jobs.
	hit, err := e.cancelled(ctx, s, j)
	if err != nil {
		end()
		return s, nil, err
	}
	if hit {
		cancel(errCancelled)
	}
	s.stop = stop
	return s, end, nil
}

// isCancelled reports a job that a cancel has ended. Other ends of its context do not interrupt an apply.
func isCancelled(stop context.Context) bool { return errors.Is(context.Cause(stop), errCancelled) }
