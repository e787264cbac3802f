package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// readKeep reads how long things are kept.
func (s *settings) readKeep(get func(string) string, bad *problems) {
	for _, k := range []struct {
		name string
		to   *time.Duration
	}{{"keep-runs", &s.keep.Runs}, {"keep-checkouts", &s.keep.Checkouts}, {"keep-unused", &s.keep.Unused}} {
		var err error
		if *k.to, err = parseAge(get(k.name)); err != nil {
			bad.add("--%s: %w", k.name, err)
		}
	}
	var err error
	if s.keep.Quota, err = parseSize(get("data-quota")); err != nil {
		bad.add("--data-quota: %w", err)
	}
	if s.minFree, err = parseSize(get("min-free-disk")); err != nil {
		bad.add("--min-free-disk: %w", err)
	}
}

// parseAge reads 90d, or a duration of Go's. Less than a day would remove what people still look at.
func parseAge(text string) (time.Duration, error) {
	const day = 24 * time.Hour
	bad := fmt.Errorf("%q is not an age such as 90d or 36h", text)
	var age time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, bad
		}
		age = time.Duration(n) * day
	} else {
		var err error
		if age, err = time.ParseDuration(text); err != nil {
			return 0, bad
		}
	}
	if age != 0 && age < day {
		return 0, fmt.Errorf("%s is shorter than a day", text)
	}
	return age, nil
}
