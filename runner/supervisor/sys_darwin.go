package supervisor

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func self() (string, error) { return os.Executable() }

// allocate takes the blocks of a file now.
func allocate(f *os.File, size int64) error {
	if _, err := f.Write(make([]byte, size)); err != nil {
		return err
	}
	return f.Sync()
}

// closeOnExec: Go opens everything so, and there is no list of what others left us.
func closeOnExec() error { return nil }

func hideMemory() error { return errors.ErrUnsupported }

func nameProcess(string) {}

// identify tells a process from any other that had or will have its pid.
func identify(pid int) (start uint64, boot string) {
	start, _ = startOf(pid)
	boot, _ = unix.Sysctl("kern.bootsessionuuid")
	return start, boot
}

// zombie is SZOMB of sys/proc.h.
const zombie = 5

func startOf(pid int) (start uint64, running bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0, false
	}
	t := info.Proc.P_starttime
	return uint64(t.Sec)*1e6 + uint64(t.Usec), info.Proc.P_stat != zombie
}

// alive reports whether the process of the mark runs.
func alive(m *Mark) bool {
	start, boot := identify(m.PID)
	if m.Start == 0 || start != m.Start || boot != m.Boot {
		return false
	}
	_, running := startOf(m.PID)
	return running
}

// signalProcess signals the process of the mark; that it is the same is looked up just before.
func signalProcess(m *Mark, s syscall.Signal) error {
	if !alive(m) {
		return nil
	}
	err := unix.Kill(m.PID, s)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// outputPipe makes the pipe for the process's output. Without a supervisor the process can't write on
// here: there is no way to open the second end of a pipe.
func outputPipe() (ours, theirs *os.File, err error) { return os.Pipe() }

func openOutputOf(int) int { return -1 }

func landlockVersion() int { return 0 }

// enterDomain: there is none here. The server says so at its start.
func enterDomain(Sandbox, string) (int, error) { return 0, nil }

// Below is not known here: processes that lost their parent are not ours.
func Below(int) ([]Supervisor, error) {
	return nil, fmt.Errorf("listing processes: %w", errors.ErrUnsupported)
}

// adoptOrphans: there is nothing like it here, and what leaves the process group goes on.
func adoptOrphans() error { return errors.ErrUnsupported }

func reap() (left bool) { return false }

func killChildren() {}
