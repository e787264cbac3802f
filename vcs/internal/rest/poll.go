package rest

import (
	"context"
	"time"
)

const (
	// PollTime is how long a forge is asked for what it is still working out.
	PollTime    = 30 * time.Second
	longestPoll = 8 * time.Second
	// TidyTime is how long a branch that is not needed any more may take to go, or to be looked at: nobody who has merged
	// is held up by more.
	TidyTime = 30 * time.Second
)

// Poll asks, with pauses that grow, until the forge has worked something out, and reports whether it has. It gives up
// after limit.
func Poll(ctx context.Context, limit time.Duration, ask func() (bool, error)) (bool, error) {
	end := time.Now().Add(limit)
	for pause := firstPause; ; pause = min(2*pause, longestPoll) {
		done, err := ask()
		left := time.Until(end)
		if done || err != nil || left <= 0 {
			return done, err
		}
		if err := Sleep(ctx, min(pause, left)); err != nil {
			return false, err
		}
	}
}
