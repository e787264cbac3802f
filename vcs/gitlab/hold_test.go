package gitlab_test

import (
	"context"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/vcs/gitlab"
	ft "github.com/tidegate/tidegate/vcs/internal/forgetest"
)

// TestAHoldEnds: however long the forge asks to wait, a repository is held back for no longer than a limit can last.
func TestAHoldEnds(t *testing.T) {
	t.Parallel()
	for name, h := range map[string][]string{
		"seconds":                   {"Retry-After", "2147483647"},
		"a date far away":           {"Retry-After", "Fri, 01 Jan 2100 00:00:00 GMT"},
		"a date in no one's time":   {"Retry-After", "Fri, 31 Dec 9999 00:00:00 GMT"},
		"a reset in milliseconds":   {"RateLimit-Remaining", "0", "RateLimit-Reset", strconv.FormatInt(time.Now().UnixMilli(), 10)},
		"GitHub's, in milliseconds": {"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", strconv.FormatInt(time.Now().UnixMilli(), 10)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &ft.Script{Steps: []ft.Step{
					ft.Reply(http.StatusTooManyRequests, `{}`, h...),
					ft.Reply(http.StatusCreated, `{"id":5,"created_at":"2026-01-01T00:00:00Z","body":"x"}`),
				}}
				c, began := client(t, gitlab.Config{HTTP: s}), time.Now()
				if _, err := c.CreateComment(t.Context(), somePull(), "x"); err == nil || time.Since(began) > time.Minute {
					t.Errorf("who is asked to wait that long: %v after %s, want an error at once", err, time.Since(began))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
				defer cancel()
				if _, err := c.CreateComment(ctx, somePull(), "y"); err != nil || time.Since(began) < time.Hour {
					t.Errorf("who has two hours: %v after %s, want it to wait and succeed", err, time.Since(began))
				}
			})
		})
	}
}
