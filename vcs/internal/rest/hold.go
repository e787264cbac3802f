package rest

import (
	"context"
	"sync"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

// holds keep everything that is to be written to a repository back after the forge has asked one of its
// writers to slow down: GitHub counts who goes on against the account.
type holds struct {
	mu    sync.Mutex
	until map[vcs.RepoID]time.Time
}

// extend holds a repository back for so long, at least.
func (h *holds) extend(repo vcs.RepoID, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until == nil {
		h.until = map[vcs.RepoID]time.Time{}
	}
	if at := time.Now().Add(d); at.After(h.until[repo]) {
		h.until[repo] = at
	}
}

// left is how long a repository is still held back.
func (h *holds) left(repo vcs.RepoID) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := time.Until(h.until[repo])
	if d <= 0 {
		delete(h.until, repo)
	}
	return max(d, 0)
}

// wait waits until a repository is not held back any more. When ctx ends before that, it does not wait.
func (h *holds) wait(ctx context.Context, repo vcs.RepoID) error {
	for {
		d := h.left(repo)
		if d == 0 {
			return nil
		}
		if end, has := ctx.Deadline(); has && time.Until(end) < d {
			return context.DeadlineExceeded
		}
		if err := Sleep(ctx, d); err != nil {
			return err
		}
	}
}
