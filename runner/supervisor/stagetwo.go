package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// heedTime: who sends SIGTERM to stage two may have sent it to the process as well (a service
	// manager that stops a control group), and a second signal would make terraform exit without
	// saving. So the process gets this long to say that it was interrupted.
	heedTime = time.Second
	// groupGrace is what the rest of the processes has after the process itself has ended.
	groupGrace = 2 * time.Second
	// killTime is how long they are killed: each may have children, which are ours then.
	killTime = 5 * time.Second
	// outputGrace is how long output is read on when only processes that left the group hold it.
	outputGrace = time.Second
	groupPoll   = 10 * time.Millisecond
)

// stageTwo supervises. Its stderr is supervisor.log.
func stageTwo(dir string, args []string) int {
	s := &supervision{dir: dir, signals: make(chan os.Signal, 4), asked: make(chan struct{}, 1)}
	signal.Notify(s.signals, syscall.SIGINT, syscall.SIGTERM)
	// Caught, not ignored: what is ignored would stay so for the process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	if len(args) < 2 {
		return complain(os.Stderr, exitTrouble, errors.New("the second stage was called without its directory"))
	}
	s.args = args[2:]
	if err := setUp(); err != nil {
		return complain(os.Stderr, exitTrouble, err)
	}
	lock, err := hold(dir)
	if err != nil {
		return complain(os.Stderr, exitTrouble, err)
	}
	defer func() { _ = lock.Close() }()
	if err := unused(dir); err != nil {
		return complain(os.Stderr, exitTrouble, err)
	}
	if err := s.run(); err != nil {
		s.status.Error = err.Error()
	}
	failpoint(dir, "process ended")
	forgetEnv(dir)
	s.status.Ended = time.Now().UTC()
	if err := writeStatus(dir, s.status); err != nil {
		return complain(os.Stderr, exitTrouble, fmt.Errorf("writing how it ended: %w", err))
	}
	failpoint(dir, "status file")
	s.tidyUp()
	return 0
}

// setUp makes the supervisor hard to tamper with, and leaves nothing of its own to the process.
func setUp() error {
	nameProcess(twoArgv0)
	for _, guard := range []func() error{hideMemory, adoptOrphans} {
		if err := guard(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return closeOnExec()
}

// unused refuses a second start, and one that a server has given up.
func unused(dir string) error {
	for _, name := range []string{sealedName, startedName, statusName} {
		there, err := exists(dir, name)
		if err != nil {
			return err
		}
		if there {
			return fmt.Errorf("nothing is executed: there is %s in %s already", name, dir)
		}
	}
	return nil
}

type supervision struct {
	dir     string
	args    []string
	spec    Spec
	control *os.File
	signals chan os.Signal
	asked   chan struct{} // one word at most
	log     *cappedLog
	ear     ear
	child   *child
	status  Status
}

// run does everything between lock and status. Its errors are the supervisor's own.
func (s *supervision) run() (err error) {
	s.status.ExitCode = -1
	if s.spec, err = readSpec(s.dir); err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return err
	}
	if s.log, err = newCappedLog(s.dir, s.spec.LogLimit); err != nil {
		return err
	}
	defer s.closeLog()
	if err := reserve(s.dir); err != nil {
		return fmt.Errorf("taking room for the status: %w", err)
	}
	if s.child, err = startChild(s.dir, s.args, io.MultiWriter(&s.ear, s.log)); err != nil {
		return err
	}
	ready := s.ready()
	err = ready.err
	if err == nil && !s.status.Interrupted {
		failpoint(s.dir, "before the mark")
		err = s.mark(ready.landlock)
		failpoint(s.dir, "started mark")
	}
	if err != nil || s.status.Interrupted {
		s.child.abandon()
		return err
	}
	s.child.proceed()
	failpoint(s.dir, "executed")
	s.supervise()
	if s.child.refused != nil {
		s.status.Started = time.Time{}
		return errors.Join(s.child.refused, s.unmark())
	}
	return nil
}

// listen hears of an Interrupt, be it earlier or later.
func (s *supervision) listen() error {
	control, err := openControl(s.dir)
	if err != nil {
		return err
	}
	s.control = control
	go func() {
		if _, err := control.Read(make([]byte, 1)); err == nil {
			s.ask()
		}
	}()
	there, err := exists(s.dir, interruptName)
	if there {
		s.ask()
	}
	return err
}

func (s *supervision) ask() {
	select {
	case s.asked <- struct{}{}:
	default:
	}
}

// ready waits until stage three has only to be let go. An interrupt until then ends it.
func (s *supervision) ready() (r readiness) {
	select {
	case <-s.asked:
		s.status.Interrupted = true
	case <-s.signals:
		s.status.Interrupted = true
	case r = <-s.child.ready:
	}
	select {
	case <-s.asked:
		s.status.Interrupted = true
	case <-s.signals:
		s.status.Interrupted = true
	default:
	}
	return r
}

func (s *supervision) mark(landlock int) error {
	m := Mark{
		Format: Format, PID: s.child.pid(), Supervisor: os.Getpid(), At: time.Now().UTC(), Landlock: landlock,
	}
	m.Start, m.Boot = identify(m.PID)
	if err := writeDurably(s.dir, startedName, m); err != nil {
		return errors.Join(fmt.Errorf("writing the started mark: %w", err), s.unmark())
	}
	s.status.Started = m.At
	return nil
}

// unmark takes a mark back that nothing followed.
func (s *supervision) unmark() error {
	err := os.Remove(filepath.Join(s.dir, startedName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// supervise waits for the end, and sees to the interrupt.
func (s *supervision) supervise() {
	var heed, grace, over <-chan time.Time
	if s.spec.Timeout > 0 {
		over = time.After(time.Until(s.status.Started.Add(s.spec.Timeout)))
	}
	for {
		select {
		case <-s.child.exited:
			s.gather()
			return
		case <-s.asked:
			if !s.status.Interrupted {
				s.interrupt(true)
				grace = s.patience()
			}
		case <-over:
			if !s.status.Interrupted {
				s.interrupt(true)
			}
			if grace == nil {
				s.status.Timeout = s.spec.Timeout
				grace = time.After(s.spec.Grace)
			}
		case <-s.signals:
			if !s.status.Interrupted && heed == nil {
				heed = time.After(heedTime)
			}
		case <-heed:
			if !s.status.Interrupted {
				s.interrupt(!s.ear.heard())
				grace = s.patience()
			}
		case <-grace:
			s.status.Killed = true
			s.child.killGroup()
		}
	}
}

// patience is when an interrupt that was asked for is followed by SIGKILL; nil is never.
func (s *supervision) patience() <-chan time.Time {
	if s.spec.Patient {
		return nil
	}
	return time.After(s.spec.Grace)
}

// interrupt sends the one SIGINT, unless the process has had it from elsewhere.
func (s *supervision) interrupt(send bool) {
	s.status.Interrupted = true
	made, err := touch(s.dir, interruptedName)
	if !made && err == nil {
		return
	}
	// Without room for the file, the supervisor, which comes here once, is the only one to send.
	if send {
		s.child.signal(syscall.SIGINT)
	}
}

// gather sees the rest of the group out and notes the end.
func (s *supervision) gather() {
	s.child.endRest()
	s.child.endOutput()
	state := s.child.cmd.ProcessState
	s.status.ExitCode = state.ExitCode()
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		s.status.Signal = unix.SignalName(ws.Signal())
	}
	if s.child.refused != nil {
		s.status.ExitCode = -1
	}
}

func (s *supervision) closeLog() {
	s.log.finish()
	s.status.LogBytes = s.log.total
	s.status.Truncated = s.log.short || s.log.lost > 0
	if s.log.err != nil {
		s.status.LogError = s.log.err.Error()
	}
}

// tidyUp removes what would only be in the way of readers: a FIFO, and an empty file.
func (s *supervision) tidyUp() {
	if s.control != nil {
		_ = s.control.Close()
		_ = os.Remove(filepath.Join(s.dir, controlName))
	}
	trouble := filepath.Join(s.dir, troubleName)
	if info, err := os.Lstat(trouble); err == nil && info.Size() == 0 {
		_ = os.Remove(trouble)
	}
}
