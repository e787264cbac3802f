package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// tailShown is what of the log goes to stderr when the process failed: terraform-exec makes its error
// of it and keeps it in memory.
const tailShown = 4 << 10

// stageOne is what terraform-exec starts and may kill.
func stageOne(dir string, args []string, out, errs io.Writer) int {
	if slices.Equal(args, []string{"version", "-json"}) {
		return answerVersion(dir, out, errs)
	}
	// A hangup is nothing to us; caught, not ignored: what is ignored would stay so for the process.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	cmd, err := startStageTwo(dir, args)
	if err != nil {
		return complain(errs, exitTrouble, fmt.Errorf("starting the supervisor: %w", err))
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				continue
			}
			if err := Interrupt(dir); err != nil {
				complain(errs, 0, err)
			}
		case err := <-ended:
			return report(dir, err, errs)
		}
	}
}

func answerVersion(dir string, out, errs io.Writer) int {
	spec, err := readSpec(dir)
	if err == nil && spec.Versions == "" {
		err = errors.New("the spec does not say the versions")
	}
	if err == nil {
		_, err = io.WriteString(out, spec.Versions)
	}
	if err != nil {
		return complain(errs, exitTrouble, err)
	}
	return 0
}

func startStageTwo(dir string, args []string) (*exec.Cmd, error) {
	if err := closeOnExec(); err != nil {
		return nil, err
	}
	self, err := self()
	if err != nil {
		return nil, err
	}
	trouble, err := open(dir, troubleName, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return nil, err
	}
	defer func() { _ = trouble.Close() }()
	// No context ends it: that it goes on without us is the point.
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Args = append([]string{twoArgv0, dir}, args...)
	cmd.Env = stageEnv(dir, stageTwoName)
	cmd.Stderr = trouble
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, cmd.Start()
}

// report passes the end on as an exit code, and a failure's last lines to stderr.
func report(dir string, waited error, errs io.Writer) int {
	s, err := readStatus(dir)
	switch {
	case err != nil:
		return complain(errs, exitTrouble, fmt.Errorf("reading how it ended: %w", err))
	case s == nil:
		tail(dir, troubleName, errs)
		return complain(errs, exitTrouble, fmt.Errorf("the supervisor left no word of how it ended: %w", orSilent(waited)))
	case s.Error != "":
		complain(errs, 0, errors.New(s.Error))
	}
	code := exitCode(s)
	if code != 0 {
		tail(dir, outputName, errs)
	}
	return code
}

func orSilent(err error) error {
	if err == nil {
		return errors.New("it ended without an error")
	}
	return err
}

func exitCode(s *Status) int {
	switch {
	case s.ExitCode >= 0:
		return s.ExitCode
	case s.Signal != "":
		return 128 + int(unix.SignalNum(s.Signal))
	case s.Interrupted && s.Error == "":
		return 128 + int(syscall.SIGINT)
	default:
		return exitTrouble
	}
}

// tail writes the last lines of a file, as far as there are any.
func tail(dir, name string, w io.Writer) {
	f, err := open(dir, name, os.O_RDONLY)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(-tailShown, io.SeekEnd); err != nil {
		_, _ = f.Seek(0, io.SeekStart)
	}
	_, _ = io.Copy(w, io.LimitReader(f, tailShown))
}
