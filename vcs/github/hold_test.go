package github_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// TestARepositoryIsHeldBack: when the forge asks one writer to slow down, all writers of the repository wait as long;
// readers do not, and who has no time for it is told at once.
func TestARepositoryIsHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{
			reply(429, `{}`, "Retry-After", "60", "X-RateLimit-Remaining", "4711"),
			reply(403, `{"message":"Must have admin rights"}`), reply(403, `{"message":"Must have admin rights"}`),
			reply(403, `{"message":"Must have admin rights"}`),
		}}
		c, began := client(t, github.Config{HTTP: s}), time.Now()
		for range 2 {
			go func() { _ = edit(t.Context(), c) }()
			synctest.Wait()
		}
		if len(s.reqs) != 1 {
			t.Fatalf("%d requests, want the second writer to wait", len(s.reqs))
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := edit(short, c); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
			t.Errorf("who has no time: %v after %s", err, time.Since(began))
		}
		if err := read(t.Context(), c); !errors.Is(err, vcs.ErrRefused) || time.Since(began) > time.Second {
			t.Errorf("a reader: %v after %s, want an answer at once", err, time.Since(began))
		}
		time.Sleep(2 * time.Minute) //nolint:forbidigo // of the bubble's time
		synctest.Wait()
		if len(s.reqs) != 4 || s.at[2].Sub(began) < time.Minute || s.at[3].Sub(began) < time.Minute {
			t.Errorf("%d requests, at %v, want the writers after a minute", len(s.reqs), s.at)
		}
		if left, told := c.RequestsLeft(); left != 4711 || !told {
			t.Errorf("RequestsLeft() = %d, %v, want 4711", left, told)
		}
	})
}
