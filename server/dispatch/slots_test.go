package dispatch

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
)

func pr(n int) vcs.PullID { return vcs.PullID{Repo: vcs.RepoID{Forge: "f", ID: 1}, Number: n} }

func TestSlotsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2)
		hold, err := s.take(t.Context(), pr(1), rankCommand)
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.take(t.Context(), pr(9), rankCommand)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		ask := func(n int, r rank) {
			go func() {
				give, err := s.take(t.Context(), pr(n), r)
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, fmt.Sprintf("%d/%d", n, r))
				give()
			}()
			synctest.Wait()
		}
		ask(1, rankAutoplan)
		ask(2, rankAutoplan)
		ask(1, rankCommand) // pull request 1 runs a job already
		ask(3, rankCommand)
		ask(4, rankApply)
		hold2 := second
		hold2()
		synctest.Wait()
		hold()
		synctest.Wait()
		want := []string{"4/0", "3/1", "1/1", "2/2", "1/2"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order of slots (-want +got):\n%s", diff)
		}
		if r, w := s.counts(); r != 0 || w != 0 {
			t.Errorf("counts() = %d, %d after all were given back, want 0, 0", r, w)
		}
	})
}

func TestAppliesLeaveASlotForPlans(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2)
		if _, err := s.take(t.Context(), pr(1), rankApply); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		second := make(chan error, 1)
		go func() {
			_, err := s.take(ctx, pr(2), rankApply)
			second <- err
		}()
		synctest.Wait()
		if _, err := s.take(t.Context(), pr(3), rankAutoplan); err != nil {
			t.Errorf("a plan got no slot beside one apply: %v", err)
		}
		why := errors.New("why")
		cancel(why)
		if err := <-second; !errors.Is(err, why) {
			t.Errorf("take() of a cancelled apply = %v, want its cause", err)
		}
		if _, w := s.counts(); w != 0 {
			t.Errorf("%d still wait after the cancel, want 0", w)
		}
	})
}

func TestOneSlotStillApplies(t *testing.T) {
	t.Parallel()
	s := newSlots(0)
	give, err := s.take(t.Context(), pr(1), rankApply)
	if err != nil {
		t.Fatal(err)
	}
	give()
}
