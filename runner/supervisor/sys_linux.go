package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// self is the program that runs, even if its file was replaced since.
func self() (string, error) { return "/proc/self/exe", nil }

// allocate takes the blocks of a file now.
func allocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	if _, err := f.Write(make([]byte, size)); err != nil {
		return err
	}
	return f.Sync()
}

// closeOnExec keeps descriptors that we were left by others from what we start.
func closeOnExec() error {
	err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC)
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EPERM) {
		return err
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("listing our descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// hideMemory keeps other processes of the same user out of our memory, environment and descriptors.
func hideMemory() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// nameProcess is for people who look at a list of processes.
func nameProcess(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

// identify tells a process from any other that had or will have its pid.
func identify(pid int) (start uint64, boot string) {
	start, _ = startOf(pid)
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return start, ""
	}
	return start, strings.TrimSpace(string(raw))
}

// startOf reads the start time from proc(5)'s stat; running is false for one that has ended and only
// was not waited for yet.
func startOf(pid int) (start uint64, running bool) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	return parseStat(string(raw))
}

func parseStat(stat string) (start uint64, running bool) {
	// The name before the parenthesis may be anything.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, false
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return start, err == nil && !strings.Contains("ZXx", fields[0])
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

// signalProcess signals the process of the mark and no other.
func signalProcess(m *Mark, s syscall.Signal) error {
	fd, err := unix.PidfdOpen(m.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if !alive(m) {
		return nil
	}
	err = unix.PidfdSendSignal(fd, s, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// pipeSize is what a process can print while nobody reads; the usual is 64 KiB.
const pipeSize = 1 << 20

// outputPipe makes the pipe for the process's output. The process gets both of its ends: should we be
// killed, its writes go on to work, and openOutputOf can take over.
func outputPipe() (ours, theirs *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	_, _ = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, pipeSize)
	// Not by os.OpenFile, which would make it non-blocking for the process as well.
	both, err := retry(func() (int, error) {
		return unix.Open(fmt.Sprintf("/proc/self/fd/%d", w.Fd()), unix.O_RDWR|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		// Without /proc it does with one end.
		return r, w, nil
	}
	_ = w.Close()
	return r, os.NewFile(uintptr(both), "output"), nil
}

// openOutputOf opens the reading end of a process's stdout; -1 when that can't be done.
func openOutputOf(pid int) int {
	path := fmt.Sprintf("/proc/%d/fd/1", pid)
	if to, err := os.Readlink(path); err != nil || !strings.HasPrefix(to, "pipe:") {
		return -1
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1
	}
	return fd
}
