package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Interrupt asks for the one SIGINT. It may be asked any number of times, by anybody, at any time:
// before the start, the process will not be executed; after the end, nothing happens. It does not wait.
func Interrupt(dir string) error {
	// The file first, then the call: the supervisor makes its FIFO first, then looks for the file.
	if _, err := touch(dir, interruptName); err != nil {
		return fmt.Errorf("asking for the interrupt: %w", err)
	}
	heard, err := ring(dir)
	if err != nil {
		return fmt.Errorf("asking for the interrupt: %w", err)
	}
	if heard {
		return nil
	}
	l, err := look(dir)
	if err != nil {
		return fmt.Errorf("asking for the interrupt: %w", err)
	}
	if l.state() != Running || !l.mark.Orphaned {
		return nil
	}
	first, err := touch(dir, interruptedName)
	if err != nil || !first {
		return err
	}
	if err := signalProcess(l.mark, syscall.SIGINT); err != nil {
		return fmt.Errorf("interrupting a process without supervisor: %w", err)
	}
	return nil
}

// ring wakes the supervisor; heard is false when there is none.
func ring(dir string) (heard bool, err error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(filepath.Join(dir, controlName), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, unix.ENXIO) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// A full FIFO is as good: there is something to read in it.
	_, err = retry(func() (int, error) { return unix.Write(fd, []byte{'i'}) })
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	return err == nil, errors.Join(err, unix.Close(fd))
}

// openControl makes the FIFO. Open for writing as well, it never comes to an end.
func openControl(dir string) (*os.File, error) {
	if err := unix.Mkfifo(filepath.Join(dir, controlName), 0o600); err != nil {
		return nil, fmt.Errorf("making %s: %w", controlName, err)
	}
	return open(dir, controlName, os.O_RDWR|unix.O_NONBLOCK)
}

func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}
