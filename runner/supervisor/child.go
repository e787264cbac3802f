package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors of stage three beside the usual ones. Both close when the process is executed.
const (
	goOnFD   = 3 // one byte: go on
	reportFD = 4 // "ready <landlock>\n", then nothing or why it could not be executed
)

// child is stage three, and then the process.
type child struct {
	cmd     *exec.Cmd
	goOn    *os.File
	report  *os.File
	output  *os.File
	ready   chan readiness // once
	refused error          // why nothing was executed; after exited
	exited  chan struct{}  // closed after cmd.Wait
	copied  chan struct{}  // closed after the end of the output
}

// readiness is what stage three reports before it is let go.
type readiness struct {
	landlock int
	err      error
}

// startChild starts stage three, which waits for proceed.
func startChild(dir string, args []string, out io.Writer) (*child, error) {
	self, err := self()
	if err != nil {
		return nil, err
	}
	p, err := openPipes()
	if err != nil {
		return nil, err
	}
	defer p.closeTheirs()
	cmd := exec.CommandContext(context.Background(), self, args...)
	cmd.Env = stageEnv(dir, stageSandbox)
	cmd.Stdout, cmd.Stderr = p.stdout, p.stdout
	cmd.ExtraFiles = []*os.File{p.goOnRead, p.reportWrite}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.closeOurs()
		return nil, fmt.Errorf("starting the sandbox stage: %w", err)
	}
	c := &child{
		cmd: cmd, goOn: p.goOn, report: p.report, output: p.output,
		ready: make(chan readiness, 1), exited: make(chan struct{}), copied: make(chan struct{}),
	}
	go func() {
		defer close(c.copied)
		_, _ = io.Copy(out, c.output)
	}()
	go c.follow()
	return c, nil
}

// follow reads the report to its end, then waits for the process.
func (c *child) follow() {
	defer close(c.exited)
	report := bufio.NewReader(c.report)
	line, err := report.ReadString('\n')
	var r readiness
	version, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "ready ")
	switch {
	case err == nil && ok:
		r.landlock, r.err = strconv.Atoi(version)
	case line == "":
		r.err = errors.New("the sandbox stage ended without a word")
	default:
		r.err = errors.New(strings.TrimSpace(line))
	}
	c.ready <- r
	if r.err == nil {
		if why, _ := io.ReadAll(io.LimitReader(report, maxText)); len(why) > 0 {
			c.refused = errors.New(string(why))
		}
	}
	_ = c.report.Close()
	// That it ended, and how, is all in its ProcessState.
	_ = c.cmd.Wait()
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// proceed lets stage three become the process.
func (c *child) proceed() {
	_, _ = c.goOn.Write([]byte{'g'})
	_ = c.goOn.Close()
}

// abandon ends stage three before it became anything.
func (c *child) abandon() {
	c.signal(syscall.SIGKILL)
	_ = c.goOn.Close()
	<-c.exited
	c.endOutput()
}

func (c *child) signal(s syscall.Signal) { _ = c.cmd.Process.Signal(s) }

func (c *child) killGroup() { _ = unix.Kill(-c.pid(), syscall.SIGKILL) }

// endRest waits for what the process left, in its group or not, then kills it. The number of the group is
// not given to others while one of it is left.
func (c *child) endRest() {
	over := time.Now().Add(groupGrace)
	tick := time.NewTicker(groupPoll)
	defer tick.Stop()
	for {
		inGroup, left := unix.Kill(-c.pid(), 0) == nil, reap()
		now := time.Now()
		switch {
		case !inGroup && !left, now.After(over.Add(killTime)):
			return
		case now.After(over):
			c.killGroup()
			killChildren()
		}
		<-tick.C
	}
}

// endOutput waits for the end of the output.
func (c *child) endOutput() {
	select {
	case <-c.copied:
	case <-time.After(outputGrace):
	}
	_ = c.output.Close()
	<-c.copied
}

type pipes struct {
	goOn, report, output          *os.File // ours
	goOnRead, reportWrite, stdout *os.File // the child's
}

func openPipes() (p pipes, err error) {
	if p.goOnRead, p.goOn, err = os.Pipe(); err != nil {
		return p, err
	}
	if p.report, p.reportWrite, err = os.Pipe(); err == nil {
		p.output, p.stdout, err = outputPipe()
	}
	if err != nil {
		p.closeTheirs()
		p.closeOurs()
	}
	return p, err
}

func (p pipes) closeTheirs() { closeAll(p.goOnRead, p.reportWrite, p.stdout) }
func (p pipes) closeOurs()   { closeAll(p.goOn, p.report, p.output) }

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// sandboxStage enters the Landlock domain and becomes the process, on one thread: a domain belongs to
// the thread that enters it, and goes with the one that executes.
func sandboxStage(dir string, args []string) int {
	runtime.LockOSThread()
	goOn, report := os.NewFile(goOnFD, "go on"), os.NewFile(reportFD, "report")
	spec, landlock, err := confine(dir)
	if err != nil {
		return complain(report, exitTrouble, err)
	}
	_, _ = fmt.Fprintf(report, "ready %d\n", landlock)
	if n, _ := goOn.Read(make([]byte, 1)); n != 1 {
		return exitTrouble
	}
	if err := spec.limit(); err != nil {
		_, _ = fmt.Fprint(report, err)
		return exitTrouble
	}
	err = syscall.Exec(spec.Argv0, append([]string{spec.Argv0}, args...), spec.Env)
	_, _ = fmt.Fprintf(report, "executing %s: %v", spec.Argv0, err)
	return exitTrouble
}

func confine(dir string) (Spec, int, error) {
	if err := closeOnExec(); err != nil {
		return Spec{}, 0, err
	}
	spec, err := readSpec(dir)
	if err != nil {
		return Spec{}, 0, err
	}
	if err := unix.Access(spec.Argv0, unix.X_OK); err != nil {
		return Spec{}, 0, fmt.Errorf("executing %s: %w", spec.Argv0, err)
	}
	landlock, err := enterDomain(spec.Sandbox, dir)
	if err != nil {
		return Spec{}, 0, fmt.Errorf("entering the sandbox: %w", err)
	}
	return spec, landlock, nil
}
