package supervisor

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes this process the parent of all below it that lose theirs: nothing that was started
// here can get out of sight, not by a session of its own either.
func adoptOrphans() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// reap forgets the children that have ended, and reports whether there are others. Only for when nobody
// waits for a child of his own.
func reap() (left bool) {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR), pid > 0:
		default:
			return err == nil
		}
	}
}

func killChildren() {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A child's number is not given to others before it is reaped.
		if parent, ok := parentOf(pid); ok && parent == os.Getpid() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
