package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Interrupt asks for the one SIGINT. It may be asked any number of times, by anybody, at any time:
// before the start, the process will not be executed; after the end, nothing happens. It does not wait.
// On a full disk it may have to be asked again (InterruptOn).
func Interrupt(dir string) error {
	// The file first, then the call: the supervisor makes its FIFO first, then looks for the file.
	_, unnoted := touch(dir, interruptName)
	if unnoted != nil && !isFull(unnoted) {
		return fmt.Errorf("asking for the interrupt: %w", unnoted)
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
	switch state := l.state(); {
	case state == Ended || state == Unknown:
		return nil
	case l.mark != nil && l.mark.Orphaned:
		return interruptOrphan(dir, l.mark)
	case unnoted != nil: // a supervisor that comes later does not know of it
		return fmt.Errorf("asking for the interrupt: %w", unnoted)
	}
	return nil
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// askEvery is how often an interrupt is asked for that can't be, mostly because the disk is full.
const askEvery = 200 * time.Millisecond

// InterruptOn asks for the SIGINT when ctx ends, as often as it takes, until ended is closed.
func InterruptOn(ctx context.Context, dir string, ended <-chan struct{}) error {
	select {
	case <-ctx.Done():
	case <-ended:
		return nil
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		err := Interrupt(dir)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return err
		}
	}
}

// interruptOrphan sends the one SIGINT to a process that has no supervisor.
func interruptOrphan(dir string, mark *Mark) error {
	first, err := touch(dir, interruptedName)
	if err != nil {
		return fmt.Errorf("interrupting a process without supervisor: %w", err)
	}
	if !first {
		return nil
	}
	if err := signalProcess(mark, syscall.SIGINT); err != nil {
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
