//go:build failpoints

package supervisor

import (
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// failpoint halts at a point for which a test has put a file into the directory "failpoints" beside
// the data directory, until that test has killed whom it wants to and takes the file away.
func failpoint(dir, point string) {
	data := filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(dir))))
	at := filepath.Join(filepath.Dir(data), "failpoints")
	hit := filepath.Join(at, "hit")
	if os.Rename(filepath.Join(at, "armed "+point), hit) != nil {
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
