//go:build linux

package pid1_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/cmd/tidegate/internal/pid1"
	"github.com/tidegate/tidegate/runner/supervisor"
)

const patience = time.Minute

func TestMain(m *testing.M) {
	// os.Exit under the race detector takes a second.
	switch {
	case os.Getenv(supervisor.EnvDir) != "":
		unix.Exit(supervisor.Main(os.Args))
	case len(os.Args) > 1 && os.Args[1] == "init":
		unix.Exit(pid1.Main(os.Args[2:]))
	case len(os.Args) > 2 && os.Args[1] == "act":
		unix.Exit(act(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

// act is what init starts in the tests, and what runs below that.
func act(name string, args []string) int {
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	switch name {
	case "exit":
		say("exits")
		code, _ := strconv.Atoi(args[0])
		return code
	case "killed":
		say("exits")
		_ = unix.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "crash-once":
		if _, err := os.Lstat(args[0]); err == nil {
			return 0
		}
		_ = os.WriteFile(args[0], nil, 0o600)
		return 3
	case "serve":
		say("serves")
		say("got", <-signals)
		say("heard", hear())
		say("more signals:", len(signals))
		return 0
	case "powerless":
		return powerless(args)
	case "peek":
		say("parent's environment:", readable("/proc/"+strconv.Itoa(os.Getppid())+"/environ"))
		return 0
	case "orphan":
		middle := exec.Command(os.Args[0], "act", "middle")
		_ = middle.Run()
		<-signals
		return 0
	case "middle":
		child := exec.Command(os.Args[0], "act", "listener")
		_ = child.Start()
		say("orphan", child.Process.Pid)
		return 0
	case "listener":
		hear()
		return 0
	case "supervise":
		one := exec.Command(os.Args[0])
		one.Env = []string{supervisor.EnvDir + "=" + args[0]}
		one.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		if err := one.Start(); err != nil {
			return 1
		}
		<-signals
		say("server ends")
		return 0
	case "deaf":
		say("works", os.Getppid())
		go func() {
			for range signals {
				say("interrupted")
			}
		}()
		hear()
		return 0
	case "job":
		say("works", os.Getppid())
		words := make(chan string, 1)
		go func() { words <- hear() }()
		select {
		case <-words:
			return 0
		case <-signals:
			say("interrupted")
			return 1
		}
	}
	return 99
}

// powerless becomes another program of root's or of anybody's that has no power over others' files.
func powerless(args []string) int {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_SECUREBITS, 1, 0, 0, 0) // SECBIT_NOROOT: exec does not give them back
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_ = unix.Capset(&header, &none[0])
	_ = unix.Exec(os.Args[0], append(os.Args[:1:1], args...), os.Environ())
	return 99
}

// readable reports whether there is anything to read for us in a file.
func readable(path string) bool {
	raw, err := os.ReadFile(path)
	return err == nil && len(raw) > 0
}

func say(words ...any) {
	if f, err := os.OpenFile(os.Getenv("SAY"), os.O_WRONLY, 0); err == nil {
		_, _ = fmt.Fprintln(f, words...)
		_ = f.Close()
	}
}

func hear() string {
	f, err := os.Open(os.Getenv("TELL"))
	if err != nil {
		return ""
	}
	line, _ := bufio.NewReader(f).ReadString('\n')
	return strings.TrimSpace(line)
}

// said is what init wrote to stderr.
type said struct {
	mu   sync.Mutex
	text string
	more chan struct{}
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text += string(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

func (s *said) await(t *testing.T, text string) {
	t.Helper()
	over := time.After(patience)
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.more:
		case <-over:
			t.Fatalf("init said %q, want %q", s.String(), text)
		}
	}
}

type world struct {
	root string
	cmd  *exec.Cmd
	errs said
	from *bufio.Reader
	to   *os.File
}

// start runs init with flags and a program of act.
func start(t *testing.T, flags []string, command ...string) *world {
	t.Helper()
	w := &world{root: t.TempDir(), errs: said{more: make(chan struct{}, 1)}}
	w.from = bufio.NewReader(fifo(t, filepath.Join(w.root, "say")))
	w.to = fifo(t, filepath.Join(w.root, "tell"))
	args := append([]string{"init", "--backoff=1ms"}, flags...)
	args = append(args, "--", os.Args[0], "act")
	for _, c := range command {
		args = append(args, strings.ReplaceAll(c, "ROOT", w.root))
	}
	w.cmd = exec.CommandContext(t.Context(), os.Args[0], args...)
	w.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, w.env()...)
	w.cmd.Stderr = &w.errs
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("init said:\n%s", w.errs.String())
		}
	})
	return w
}

func (w *world) env() []string {
	return []string{"SAY=" + filepath.Join(w.root, "say"), "TELL=" + filepath.Join(w.root, "tell")}
}

func fifo(t *testing.T, path string) *os.File {
	t.Helper()
	must(t, unix.Mkfifo(path, 0o600))
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	must(t, err)
	must(t, f.SetReadDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func (w *world) expect(t *testing.T, want string) string {
	t.Helper()
	line, err := w.from.ReadString('\n')
	must(t, err)
	got, ok := strings.CutPrefix(strings.TrimSpace(line), want)
	if !ok {
		t.Fatalf("said %q, want %q", line, want)
	}
	return strings.TrimSpace(got)
}

func (w *world) send(t *testing.T, word string) {
	t.Helper()
	_, err := w.to.WriteString(word + "\n")
	must(t, err)
}

func (w *world) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	must(t, w.cmd.Process.Signal(s))
}

func (w *world) end(t *testing.T, want int) {
	t.Helper()
	_ = w.cmd.Wait()
	if got := w.cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("init = %d, want %d", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestServerThatEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command []string
		code    int
		starts  int
		says    string
	}{
		"well":                {[]string{"exit", "0"}, 0, 1, ""},
		"usage error":         {[]string{"exit", "2"}, 2, 1, "can't start as it is configured"},
		"configuration error": {[]string{"exit", "78"}, 78, 1, "can't start as it is configured"},
		"crashes":             {[]string{"exit", "1"}, 1, 5, "the server keeps crashing; giving up"},
		"killed":              {[]string{"killed"}, 137, 5, "the server keeps crashing; giving up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, nil, c.command...)
			must(t, w.cmd.Start())
			for range c.starts {
				w.expect(t, "exits")
			}
			w.end(t, c.code)
			if !strings.Contains(w.errs.String(), c.says) || (c.says == "") != (w.errs.String() == "") {
				t.Errorf("init said %q, want %q", w.errs.String(), c.says)
			}
			if n := strings.Count(w.errs.String(), "starting it again\""); c.starts == 5 && n != 4 {
				t.Errorf("%d restarts are told, want 4", n)
			}
		})
	}
}

// The secrets of the server stand in the environment of init, too.
func TestJobsCantReadTheEnvironment(t *testing.T) {
	t.Parallel()
	w := start(t, nil, "peek")
	w.cmd.Args = append([]string{w.cmd.Args[0], "act", "powerless"}, w.cmd.Args[1:]...)
	must(t, w.cmd.Start())
	w.expect(t, "parent's environment: false")
	w.end(t, 0)
}

func TestCrashedServerIsStartedAgain(t *testing.T) {
	t.Parallel()
	w := start(t, nil, "crash-once", "ROOT/crashed")
	must(t, w.cmd.Start())
	w.end(t, 0)
	if !strings.Contains(w.errs.String(), `"the server crashed; starting it again" process=init code=3`) {
		t.Errorf("init said %q", w.errs.String())
	}
}

func TestStopWhileWaitingToStartAgain(t *testing.T) {
	t.Parallel()
	w := start(t, []string{"--backoff=1h"}, "exit", "1")
	must(t, w.cmd.Start())
	w.expect(t, "exits")
	w.signal(t, syscall.SIGTERM)
	w.end(t, 1)
}

func TestStopIsPassedOnOnce(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		w := start(t, nil, "serve")
		must(t, w.cmd.Start())
		w.expect(t, "serves")
		w.signal(t, s)
		w.expect(t, "got "+s.String())
		w.signal(t, syscall.SIGTERM)
		w.signal(t, syscall.SIGINT)
		w.send(t, "end")
		w.expect(t, "heard end")
		w.expect(t, "more signals: 0")
		w.end(t, 0)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	w := start(t, nil, "orphan")
	must(t, w.cmd.Start())
	pid := w.expect(t, "orphan ")
	w.send(t, "end")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.After(patience)
	for {
		// A zombie would stay in /proc as long as init lives.
		if _, err := os.Stat("/proc/" + pid); err != nil {
			break
		}
		select {
		case <-tick.C:
		case <-over:
			t.Fatal("the orphan was not reaped")
		}
	}
	w.signal(t, syscall.SIGTERM)
	w.end(t, 0)
}

// supervised starts a server with one job, and stops the server.
func supervised(t *testing.T, flags ...string) (w *world, dir string) {
	t.Helper()
	return supervising(t, "job", flags...)
}

// supervising is supervised with a job that act knows.
func supervising(t *testing.T, what string, flags ...string) (w *world, dir string) {
	t.Helper()
	w = start(t, flags, "supervise", "ROOT/step")
	dir = filepath.Join(w.root, "step")
	must(t, os.Mkdir(dir, 0o700))
	job := filepath.Join(w.root, "job")
	must(t, os.WriteFile(job, fmt.Appendf(nil, "#!/bin/sh\nexec '%s' act %s\n", os.Args[0], what), 0o700))
	must(t, supervisor.Spec{Argv0: job, Patient: true, Env: append(w.env(), "PATH="+os.Getenv("PATH"))}.Write(dir))
	must(t, w.cmd.Start())
	w.expect(t, "works")
	w.signal(t, syscall.SIGTERM)
	w.expect(t, "server ends")
	return w, dir
}

func TestLeavesWhenNothingRunsAnyMore(t *testing.T) {
	t.Parallel()
	w, dir := supervised(t, "--grace=1h")
	w.send(t, "end")
	w.end(t, 0)
	if state, _, status, err := supervisor.Inspect(dir); state != supervisor.Ended || status.ExitCode != 0 || status.Interrupted {
		t.Errorf("the job's end = %v %+v %v, want a good one", state, status, err)
	}
}

func TestInterruptsWhatStillRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		grace string
		hurry bool
	}{"after the grace": {"1ms", false}, "at another signal": {"1h", true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, dir := supervised(t, "--grace="+c.grace)
			if c.hurry {
				// Until init is past its server, it would not be another one.
				w.errs.await(t, "waiting for running processes")
				w.signal(t, syscall.SIGTERM)
			}
			w.expect(t, "interrupted")
			w.end(t, 0)
			if state, _, status, err := supervisor.Inspect(dir); state != supervisor.Ended || status.ExitCode != 1 || !status.Interrupted || status.Killed {
				t.Errorf("the job's end = %v %+v %v, want an interrupted one", state, status, err)
			}
		})
	}
}

// An apply that does not heed its interrupt is waited for, and never killed. One more signal, and it goes on without us.
func TestAnApplyThatIsDeafIsLeftAlone(t *testing.T) {
	t.Parallel()
	w, dir := supervising(t, "deaf", "--grace=1ms")
	w.expect(t, "interrupted")
	w.errs.await(t, "the grace is over; waiting on for what does not heed its interrupt")
	w.signal(t, syscall.SIGTERM)
	w.end(t, 0)
	if said := w.errs.String(); !strings.Contains(said, "leaving; what still runs goes on") || strings.Count(said, "interrupting a running process") != 1 {
		t.Errorf("init said %q", said)
	}
	if state, _, _, err := supervisor.Inspect(dir); state != supervisor.Running {
		t.Errorf("the job is %v, %v, want it running", state, err)
	}
	w.send(t, "end")
	status, err := supervisor.Wait(t.Context(), dir)
	if err != nil || status == nil || status.ExitCode != 0 || !status.Interrupted || status.Killed {
		t.Errorf("the job's end = %+v, %v, want a good one", status, err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{
		"": 2, "--": 2, "--grace=-1s -- true": 2, "--crashes=0 -- true": 2, "--nonsense": 2,
		"-- /no/such/program": 2, "--help": 0, "-h": 0,
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"init"}, strings.Fields(args)...)...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want || !strings.Contains(string(out), "init") {
			t.Errorf("init %s = %d, want %d; it said %q", args, code, want, out)
		}
		if want == 0 && !strings.Contains(string(out), "\n  --grace ") {
			t.Errorf("init %s said %q, want the flags as they are written", args, out)
		}
	}
}
