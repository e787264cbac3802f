package main

import (
	"math"
	"strings"
	"testing"
)

// TestRoomForMore: what is to be fetched must leave what is to stay free.
func TestRoomForMore(t *testing.T) {
	t.Parallel()
	space := room{dir: t.TempDir(), least: 1}
	if err := space.fits(1); err != nil {
		t.Errorf("a byte more: %v, want room for it", err)
	}
	if err := space.fits(math.MaxInt64 / 2); err == nil || !strings.Contains(err.Error(), "--min-free-disk") {
		t.Errorf("more than there is: %v, want a refusal", err)
	}
}
