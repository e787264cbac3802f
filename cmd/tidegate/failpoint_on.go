//go:build failpoints

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// failpoints answers what halts at a point for which a test has put a file into the directory that
// TIDEGATE_FAILPOINTS names, until that test has killed whom it wants to and takes the file away.
func failpoints() func(string) {
	dir := os.Getenv("TIDEGATE_FAILPOINTS")
	if dir == "" {
		return nil
	}
	hit := filepath.Join(dir, "hit")
	return func(point string) {
		if os.Rename(filepath.Join(dir, "armed "+point), hit) != nil {
			return
		}
		if f, err := os.OpenFile(hit, os.O_WRONLY, 0); err == nil { // it is gone when nobody waits any more
			_, _ = f.WriteString(strconv.Itoa(os.Getpid()))
			_ = f.Close()
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := os.Lstat(hit); err != nil {
				return
			}
		}
	}
}
