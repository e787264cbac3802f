package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDeck(t *testing.T) {
	t.Parallel()
	cards := deck(500, 7)
	per, when := map[string]int{}, map[moment]int{}
	for _, c := range cards {
		per[c.point]++
		when[c.when]++
	}
	for _, point := range points() {
		if per[point] < 10 {
			t.Errorf("%d kills of 500 at %q, want at least 10", per[point], point)
		}
	}
	if when[inAnApply] < 150 || when[newborn] < 50 {
		t.Errorf("%d kills of 500 in an apply and %d in a first second, want at least 150 and 50", when[inAnApply], when[newborn])
	}
	same := cmp.AllowUnexported(card{})
	if diff := cmp.Diff(cards, deck(500, 7), same); diff != "" {
		t.Errorf("the same seed deals others (-first +second):\n%s", diff)
	}
	if cmp.Equal(cards, deck(500, 8), same) {
		t.Error("another seed deals the same")
	}
	if n := len(deck(3, 1)); n != 3 {
		t.Errorf("deck(3) has %d cards", n)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	cards, err := choose(deck(100, 1), "posted,in an apply")
	if err != nil || len(cards) != 100 {
		t.Fatalf("choose = %d cards, %v, want 100", len(cards), err)
	}
	for _, c := range cards {
		if c.point != "posted" && c.when != inAnApply {
			t.Errorf("%v was not chosen", c)
		}
	}
	if _, err := choose(deck(100, 1), "elsewhere"); err == nil {
		t.Error("there is no such card, and no error")
	}
}
