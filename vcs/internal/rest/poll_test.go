package rest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/vcs/internal/rest"
)

func TestPoll(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		// after is how many questions the forge answers with what it has not worked out.
		after, asked int
		limit, took  time.Duration
		err          error
		done         bool
	}{
		"at once":       {limit: rest.PollTime, asked: 1, done: true},
		"after a while": {limit: rest.PollTime, after: 3, asked: 4, took: 3500 * time.Millisecond, done: true},
		"never":         {limit: rest.PollTime, after: 1 << 30, asked: 8, took: rest.PollTime},
		"once":          {after: 1, asked: 1},
		"an error":      {limit: rest.PollTime, after: 1, asked: 2, took: 500 * time.Millisecond, err: broken},
		"no more time":  {limit: time.Hour, after: 1 << 30, asked: 11, took: time.Minute, err: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				asked, begin := 0, time.Now()
				done, err := rest.Poll(ctx, tt.limit, func() (bool, error) {
					if asked++; asked <= tt.after {
						return false, nil
					}
					if tt.done {
						return true, nil
					}
					return false, tt.err
				})
				if took := time.Since(begin); done != tt.done || !errors.Is(err, tt.err) || asked != tt.asked || took != tt.took {
					t.Errorf("Poll() = %v, %v after %d questions in %s, want %v, %v, %d, %s", done, err, asked, took, tt.done, tt.err, tt.asked, tt.took)
				}
			})
		})
	}
}
