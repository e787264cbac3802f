//go:build linux

package supervisor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// act is the other side of the tests: the programs that are supervised.
func act() int {
	args := strings.Split(os.Getenv("ACT"), "\x1f")
	acts := map[string]func([]string) int{
		"facts": actFacts, "exit": actExit, "count": actCount, "stubborn": actStubborn, "spew": actSpew,
		"read": actRead, "leave": actLeave, "linger": actLinger, "heed": actHeed, "die": actDie,
		"server": actServer, "level": actLevel, "terraform": actTerraform, "adopt": actAdopt,
	}
	return acts[args[0]](args[1:])
}

func say(words ...any) {
	f, err := os.OpenFile(os.Getenv("SAY"), os.O_WRONLY, 0)
	if err == nil {
		_, _ = fmt.Fprintln(f, words...)
		_ = f.Close()
	}
}

// listen answers the words that the test sends.
func listen() *bufio.Scanner {
	f, err := os.Open(os.Getenv("TELL"))
	if err != nil {
		os.Exit(99)
	}
	return bufio.NewScanner(f)
}

// facts is what a process sees of itself.
type facts struct {
	Env, Args, Files   []string
	PID, Group, Parent int
	Session            int
	Dir                string
	NoNewPrivs         bool
	Blocking           bool
}

func actFacts([]string) int {
	f := facts{Env: os.Environ(), Args: os.Args, PID: os.Getpid(), Group: unix.Getpgrp(), Parent: os.Getppid()}
	f.Session, _ = unix.Getsid(0)
	f.Dir, _ = os.Getwd()
	for fd := range 64 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
			f.Files = append(f.Files, to)
		}
	}
	v, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	f.NoNewPrivs = v == 1
	flags, err := unix.FcntlInt(1, unix.F_GETFL, 0)
	f.Blocking = err == nil && flags&unix.O_NONBLOCK == 0
	_ = json.NewEncoder(os.Stdout).Encode(f)
	return 0
}

// actExit prints to both outputs and exits with a code.
func actExit(args []string) int {
	fmt.Println("to stdout")
	fmt.Fprintln(os.Stderr, "to stderr")
	say("was here")
	code, _ := strconv.Atoi(args[0])
	return code
}

// actCount counts SIGINTs until it is told to end.
func actCount([]string) int {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	words := make(chan string)
	go func() {
		for l := listen(); l.Scan(); {
			words <- l.Text()
		}
	}()
	say("ready", os.Getpid())
	n := 0
	for {
		select {
		case s := <-signals:
			n++
			fmt.Println("got", s)
			say("got", s)
		case w := <-words:
			fmt.Println("told", w)
			if w == "end" {
				fmt.Println("signals:", n)
				return 0
			}
			say("heard", w)
		}
	}
}

// actStubborn heeds nothing, and has a child that does so too.
func actStubborn(args []string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	if len(args) == 0 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{"ACT=stubborn\x1fchild", "SAY=" + os.Getenv("SAY"), "TELL=" + os.Getenv("TELL")}
		cmd.Stdout = os.Stdout
		_ = cmd.Start()
		say("ready", cmd.Process.Pid)
	}
	select {}
}

// actSpew prints numbered lines.
func actSpew(args []string) int {
	n, _ := strconv.Atoi(args[0])
	w := bufio.NewWriter(os.Stdout)
	for i := range n {
		_, _ = fmt.Fprintf(w, "line %08d\n", i)
	}
	_ = w.Flush()
	return len(args) - 1
}

// actRead tries each path and says what came of it, by JSON.
func actRead(args []string) int {
	out := map[string]string{}
	for _, a := range args {
		how, path, _ := strings.Cut(a, ":")
		out[a] = attempt(how, path)
	}
	_ = json.NewEncoder(os.Stdout).Encode(out)
	return 0
}

func attempt(how, path string) string {
	var err error
	switch how {
	case "read":
		_, err = os.ReadFile(path)
	case "list":
		_, err = os.ReadDir(path)
	case "write":
		err = os.WriteFile(path, []byte("x"), 0o600)
	case "append":
		var f *os.File
		if f, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, err = f.WriteString("x")
			_ = f.Close()
		}
	case "truncate":
		err = os.Truncate(path, 0)
	case "mkdir":
		err = os.Mkdir(path, 0o700)
	case "remove":
		err = os.Remove(path)
	case "stat":
		_, err = os.Stat(path)
	case "chmod":
		err = os.Chmod(path, 0o777)
	case "exec":
		err = exec.Command(path).Run()
	case "signal":
		pid, _ := strconv.Atoi(path)
		err = unix.Kill(pid, 0)
	case "rename":
		from, to, _ := strings.Cut(path, ",")
		err = os.Rename(from, to)
	}
	switch {
	case err == nil:
		return "ok"
	case os.IsPermission(err):
		return "denied"
	default:
		return err.Error()
	}
}

// actLeave ends at once and leaves a process behind, in its group or in a session of its own.
func actLeave(args []string) int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"ACT=linger", "SAY=" + os.Getenv("SAY"), "TELL=" + os.Getenv("TELL")}
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: args[0] == "session"}
	if err := cmd.Start(); err != nil {
		return 1
	}
	fmt.Println("parent ends")
	say("left", cmd.Process.Pid)
	return 0
}

func actLinger([]string) int {
	select {}
}

// actHeed is like terraform: SIGTERM interrupts it as well, and it says so.
func actHeed([]string) int {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	say("ready", os.Getpid())
	fmt.Println("Interrupt received.", <-signals)
	say("interrupted")
	l := listen()
	l.Scan()
	fmt.Println("more signals:", len(signals))
	return 1
}

// actDie ends by a signal.
func actDie([]string) int {
	_ = unix.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// actServer has a secret in its environment.
func actServer(args []string) int {
	if args[0] == "protect" {
		if _, err := supervisor.Protect(); err != nil {
			return 1
		}
	}
	say("ready", os.Getpid())
	select {}
}

// actAdopt is the next server.
func actAdopt(args []string) int {
	if _, err := supervisor.Protect(); err != nil {
		return 1
	}
	status, err := supervisor.Wait(context.Background(), args[0])
	fmt.Println(status, err)
	return 0
}

func actLevel([]string) int {
	l, err := supervisor.Protect()
	if err != nil {
		return 1
	}
	if v, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || v != 0 {
		return 2
	}
	_ = json.NewEncoder(os.Stdout).Encode(l)
	return 0
}
