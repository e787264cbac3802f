package dispatch

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

// What GitHub allows, and what of a minute is kept for answers.
const (
	writesAnHour   = 500
	writesAMinute  = 80
	answersAMinute = 20
)

func TestWithoutALimitNobodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, began := newBudget(0), time.Now()
		for range 2 * writesAnHour {
			must(t, b.answer(t.Context(), pr(1).Repo))
		}
		if !b.extra(pr(1).Repo) || time.Since(began) != 0 || len(b.repos) != 0 {
			t.Errorf("without a limit: %s were waited for, %d repositories are kept", time.Since(began), len(b.repos))
		}
	})
}

func TestAnswersWaitForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, repo, began := newBudget(writesAnHour), pr(1).Repo, time.Now()
		for i := range writesAnHour + 1 {
			must(t, b.answer(t.Context(), repo))
			switch took := time.Since(began); {
			case i < writesAMinute && took > 0:
				t.Fatalf("answer %d waited %s, want none of the first %d to wait", i, took, writesAMinute)
			case i == writesAMinute && (took < time.Minute || took > 61*time.Second):
				t.Errorf("answer %d came after %s, want a minute", i, took)
			case i == writesAnHour && took < time.Hour:
				t.Errorf("answer %d came after %s, want an hour", i, took)
			}
		}
		other := vcs.RepoID{Forge: "f", ID: 2}
		before := time.Now()
		must(t, b.answer(t.Context(), other))
		if d := time.Since(before); d != 0 {
			t.Errorf("another repository waited %s", d)
		}
	})
}

func TestAnswersGoFirstAndInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, repo := newBudget(writesAnHour), pr(1).Repo
		for b.extra(repo) {
		}
		if m, h := b.least(); m != answersAMinute || h != writesAnHour-(writesAMinute-answersAMinute) {
			t.Errorf("what nobody needs has left %d a minute, %d an hour", m, h)
		}
		for range answersAMinute {
			must(t, b.answer(t.Context(), repo))
		}
		answered := make(chan int, 4)
		gone, leave := context.WithCancelCause(t.Context())
		for i := range 4 {
			ctx := t.Context()
			if i == 1 {
				ctx = gone
			}
			go func() {
				if err := b.answer(ctx, repo); err == nil {
					answered <- i
				} else if !errors.Is(err, errStopping) {
					t.Errorf("an answer that may not wait any longer: %v", err)
				}
			}()
			synctest.Wait()
		}
		leave(errStopping)
		pass(time.Minute - time.Second)
		if b.extra(repo) {
			t.Error("there was room for what nobody needs while answers wait")
		}
		pass(2 * time.Second)
		synctest.Wait()
		close(answered)
		var order []int
		for i := range answered {
			order = append(order, i)
		}
		if want := []int{0, 2, 3}; !slices.Equal(order, want) {
			t.Errorf("answered in the order %v, want %v", order, want)
		}
		pass(2 * time.Hour)
		if m, h := b.least(); m != writesAMinute || h != writesAnHour || len(b.repos) != 0 {
			t.Errorf("after two hours: %d a minute, %d an hour, %d repositories known", m, h, len(b.repos))
		}
	})
}
