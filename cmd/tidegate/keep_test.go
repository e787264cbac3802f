package main

import (
	"testing"
	"time"
)

func TestParseAge(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"90d": 2160 * time.Hour, "36h": 36 * time.Hour, "0": 0, "0d": 0, "1d": 24 * time.Hour} {
		if got, err := parseAge(text); got != want || err != nil {
			t.Errorf("parseAge(%q) = %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "90", "1h", "soon", "99999999999d", "-36h"} {
		if got, err := parseAge(text); err == nil {
			t.Errorf("parseAge(%q) = %s", text, got)
		}
	}
}
