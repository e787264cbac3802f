// Package pid1 is the first process of a container: it starts the server, starts it again when it
// crashes, reaps every orphan, passes the first SIGTERM or SIGINT on, and leaves only when no
// supervised process lives any more. Supervisors whose server is gone become its children.
//
// It knows of the server only how it ended. It works as any other process as well, by being the
// subreaper of its descendants where the system has that. Start at Main.
package pid1

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// The codes by which a server says that starting it again would not help: a usage error, and
// EX_CONFIG of sysexits.h.
const (
	exitUsage  = 2
	exitConfig = 78
)

// EnvGrace tells the server the grace of the init that started it.
const EnvGrace = "TIDEGATE_INIT_GRACE"

// InterruptAfter is when in a grace what still runs gets its SIGINT: 15 s before the end, which is the time
// terraform has to save its state and the server to tell of it. Server and init both go by it.
func InterruptAfter(grace time.Duration) time.Duration {
	const last = 15 * time.Second
	return grace - min(last, grace*3/5)
}

// defaultGrace is what a container has. Elsewhere nobody is in such a hurry.
func defaultGrace() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("TIDEGATE_SHUTDOWN_GRACE")); err == nil && d >= 0 {
		return d
	}
	if os.Getpid() == 1 {
		return 25 * time.Second
	}
	return 10 * time.Minute
}

// crashWindow is the time in which only so many crashes are put up with.
const crashWindow = time.Minute

type config struct {
	command []string
	grace   time.Duration
	backoff time.Duration
	crashes int
	log     *slog.Logger
}

// Main runs `tidegate init [flags] -- command...`, given what follows `init`. It answers the server's
// exit code, 128+n when signal n ended it.
func Main(args []string) int {
	cfg, err := parse(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "tidegate init:", err)
		return exitUsage
	}
	cfg.log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("process", "init")
	first := &process{cfg: cfg, children: make(chan os.Signal, 1), stop: make(chan os.Signal, 4)}
	signal.Notify(first.children, syscall.SIGCHLD)
	signal.Notify(first.stop, syscall.SIGTERM, syscall.SIGINT)
	// The server's secrets stand in our environment, too, and jobs run as our user.
	if _, err := supervisor.Protect(); err != nil {
		cfg.log.Warn("protecting the memory of init", "error", err)
	}
	if err := becomeReaper(); err != nil {
		cfg.log.Warn("becoming the parent of orphans", "error", err)
	}
	code := first.keepRunning()
	first.seeOut()
	return code
}

func parse(args []string, errs io.Writer) (config, error) {
	var cfg config
	fs := flag.NewFlagSet("tidegate init", flag.ContinueOnError)
	fs.SetOutput(errs)
	fs.Usage = func() {
		_, _ = fmt.Fprintln(errs, "Usage: tidegate init [flags] -- tidegate server ...")
		fs.VisitAll(func(f *flag.Flag) {
			_, _ = fmt.Fprintf(errs, "  --%-9s %s (default %s)\n", f.Name, f.Usage, f.DefValue)
		})
	}
	fs.DurationVar(&cfg.grace, "grace", defaultGrace(), "time from SIGTERM to the end; what still runs is interrupted 15 s before")
	fs.DurationVar(&cfg.backoff, "backoff", 500*time.Millisecond, "pause before a crashed server is started again; doubled each time")
	fs.IntVar(&cfg.crashes, "crashes", 5, "crashes within a minute after which to give up")
	if err := fs.Parse(args); err != nil {
		return config{}, err
	}
	cfg.command = fs.Args()
	if len(cfg.command) == 0 {
		return config{}, errors.New("no command: tidegate init -- tidegate server")
	}
	if cfg.grace < 0 || cfg.backoff < 0 || cfg.crashes < 1 {
		return config{}, errors.New("--grace and --backoff can't be negative, --crashes must be 1 at least")
	}
	return cfg, nil
}

// process is all of it: one goroutine, so that nothing is reaped behind anybody's back.
type process struct {
	cfg      config
	children chan os.Signal
	stop     chan os.Signal
	// server is its pid, 0 when none runs; ended how the last one ended.
	server   int
	ended    int
	stopping bool
	// since is when the stop began.
	since time.Time
}

// keepRunning answers the code that the last server ended with.
func (p *process) keepRunning() int {
	var crashes []time.Time
	for {
		code := p.runServer()
		switch {
		case p.stopping || code == 0:
			return code
		case code == exitUsage || code == exitConfig:
			p.cfg.log.Error("the server can't start as it is configured; not starting it again", "code", code)
			return code
		}
		now := time.Now()
		crashes = slices.DeleteFunc(crashes, func(t time.Time) bool { return now.Sub(t) > crashWindow })
		crashes = append(crashes, now)
		if len(crashes) >= p.cfg.crashes {
			p.cfg.log.Error("the server keeps crashing; giving up", "code", code, "crashes", len(crashes), "within", crashWindow)
			return code
		}
		pause := p.cfg.backoff << (len(crashes) - 1)
		p.cfg.log.Error("the server crashed; starting it again", "code", code, "in", pause)
		if p.pause(pause); p.stopping {
			return code
		}
	}
}

// runServer starts the server and waits for its end.
func (p *process) runServer() int {
	path, err := exec.LookPath(p.cfg.command[0])
	if err != nil {
		p.cfg.log.Error("finding the server's program", "error", err)
		return exitUsage
	}
	// A group of its own: what a terminal sends to ours, it gets from us, once.
	server, err := os.StartProcess(path, p.cfg.command, &os.ProcAttr{
		Env:   append(os.Environ(), EnvGrace+"="+p.cfg.grace.String()),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		p.cfg.log.Error("starting the server", "error", err)
		return exitUsage
	}
	p.server = server.Pid
	// We wait for it with all others.
	_ = server.Release()
	for p.server != 0 {
		select {
		case <-p.children:
			p.reap()
		case s := <-p.stop:
			p.forward(s)
		}
	}
	return p.ended
}

func (p *process) forward(s os.Signal) {
	if p.stopping {
		return
	}
	p.stopping, p.since = true, time.Now()
	p.cfg.log.Info("stopping the server", "signal", s.String())
	if number, ok := s.(syscall.Signal); ok {
		// It is not reaped yet, so the pid is its own.
		_ = syscall.Kill(p.server, number)
	}
}

// reap waits for all children that have ended.
func (p *process) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if pid != p.server {
			continue
		}
		p.server, p.ended = 0, status.ExitStatus()
		if status.Signaled() {
			p.ended = 128 + int(status.Signal())
		}
	}
}

// pause waits, reaping; a signal ends it.
func (p *process) pause(d time.Duration) {
	over := time.After(d)
	for !p.stopping {
		select {
		case <-p.children:
			p.reap()
		case <-p.stop:
			p.stopping, p.since = true, time.Now()
		case <-over:
			return
		}
	}
}
