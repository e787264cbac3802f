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
	free, all := disk(space.dir)
	if err := (room{dir: space.dir, least: math.MaxInt64}).fits(free - all/40); err == nil {
		t.Error("what leaves half of what is to stay free: nil, want a refusal")
	}
	if err := space.fits(math.MaxInt64 / 2); err == nil || !strings.Contains(err.Error(), "--min-free-disk") {
		t.Errorf("more than there is: %v, want a refusal", err)
	}
}
