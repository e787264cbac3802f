package journal

import (
	"runtime"

	"go.etcd.io/bbolt"
)

// OpenMigrating opens a journal as a later Tidegate would that has these ways from older formats.
func OpenMigrating(db *bbolt.DB, now int, from map[int]func(*bbolt.Tx) error) (*Journal, error) {
	past := history{now: now, from: map[int]migration{}}
	for is, step := range from {
		past.from[is] = step
	}
	return OpenWith(db, Options{past: past})
}

// WaitForLine returns when n writes stand in line.
func (j *Journal) WaitForLine(n int) {
	for {
		j.writer.mu.Lock()
		there := len(j.writer.line)
		j.writer.mu.Unlock()
		if there >= n {
			return
		}
		runtime.Gosched()
	}
}

// WaitForClose returns when no write is let in any more.
func (j *Journal) WaitForClose() {
	for !j.writer.isClosed() {
		runtime.Gosched()
	}
}
