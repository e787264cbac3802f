// Package demo shows Tidegate on one machine, without an account: a small forge with a repository
// and two pull requests, and a real server that plans and applies them.
//
// The server is our own binary, started as an operator would start it; the repository is pushed with
// git; everything else goes over the forge's HTTP API. Start with Run.
package demo

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed all:seed
var seed embed.FS

// Options are what `tidegate demo` was told.
type Options struct {
	// Self is our own executable.
	Self string
	// Script plays everything through by itself and ends.
	Script bool
	// Keep is a directory that is not removed at the end; empty: a temporary one that is.
	Keep string
	// Listen is the address of the forge; the server takes the next port. Empty: loopback.
	Listen string
	Out    io.Writer
}

// The people of the demo.
const (
	owner, repo = "acme", "infra"
	bot         = "tidegate"
	writer      = "ana"
	reader      = "eve"
)

// demo is one running demo.
type demo struct {
	Options
	dir   string
	nonce string
	// password of the people. Whoever pushes makes terraform run.
	password string
	forge    *forge
	server   *server
	began    time.Time
}

// Run shows the demo until ctx ends, or until the script is through. It removes what it made.
func Run(ctx context.Context, o Options) error {
	d := &demo{Options: o, began: time.Now()}
	err := d.run(ctx)
	// Whatever broke because ctx ended is somebody's wish.
	if err != nil && ctx.Err() != nil {
		d.say("\nstopping")
		err = nil
		if d.Script {
			err = errInterrupted
		}
	}
	return errors.Join(err, d.stop(), d.clean()) //nolint:contextcheck // they end, after ctx, what ctx has started
}

// errInterrupted is how a script ends that was not let through to its end.
var errInterrupted = errors.New("interrupted")

// run works until ctx ends, which is an error, or until the script is through.
func (d *demo) run(ctx context.Context) error {
	if err := errors.Join(d.check(ctx), d.checkListen()); err != nil {
		return err
	}
	if err := d.makeDir(); err != nil {
		return err
	}
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.openPulls(ctx); err != nil {
		return d.explain(err)
	}
	if d.Script {
		if err := d.play(ctx); err != nil {
			return d.explain(err)
		}
		return nil
	}
	d.invite()
	<-ctx.Done()
	return ctx.Err()
}

func (d *demo) clean() error {
	switch {
	case d.dir == "":
		return nil
	case d.Keep != "":
		d.say("kept: %s", d.dir)
		return nil
	}
	return os.RemoveAll(d.dir)
}

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.Out, format+"\n", args...) }

// step tells what is going on, with the time since the start.
func (d *demo) step(format string, args ...any) {
	d.say("%6.1f s  %s", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// check names everything that is missing at once.
func (d *demo) check(ctx context.Context) error {
	var missing []string
	if out, err := exec.CommandContext(ctx, "git", "version").Output(); err != nil {
		missing = append(missing, "git 2.38 or newer: https://git-scm.com/downloads")
	} else {
		var major, minor int
		_, _ = fmt.Sscanf(strings.TrimPrefix(string(out), "git version "), "%d.%d", &major, &minor)
		if major < 2 || (major == 2 && minor < 38) {
			missing = append(missing, "git 2.38 or newer; this is "+strings.TrimSpace(string(out)))
		}
	}
	_, noTerraform := exec.LookPath("terraform")
	_, noTofu := exec.LookPath("tofu")
	if noTerraform != nil && noTofu != nil {
		missing = append(missing, "terraform or tofu in PATH: https://developer.hashicorp.com/terraform/install")
	}
	if len(missing) > 0 {
		return fmt.Errorf("the demo needs what is not here:\n  - %s", strings.Join(missing, "\n  - "))
	}
	return nil
}

// checkListen: the demo's parts reach each other on loopback, without encryption, so they must be there.
func (d *demo) checkListen() error {
	if d.Listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(d.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %q is not an address such as 0.0.0.0:3000", d.Listen)
	}
	if ip := net.ParseIP(host); host == "" || isLoopback(host) || (ip != nil && ip.IsUnspecified()) {
		return nil
	}
	return fmt.Errorf("--listen: %s is neither loopback nor all addresses (0.0.0.0)", host)
}

// private reports whether only this machine reaches the demo.
func (d *demo) private() bool {
	if d.Listen == "" {
		return true
	}
	host, _, err := net.SplitHostPort(d.Listen)
	return err == nil && isLoopback(host)
}

func (d *demo) makeDir() (err error) {
	nonce := make([]byte, 6)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	d.nonce, d.password = hex.EncodeToString(nonce), "demo"
	if !d.private() {
		d.password = rand.Text()
	}
	if d.Keep == "" {
		d.dir, err = os.MkdirTemp("", "tidegate-demo-")
	} else {
		d.dir, err = emptyDir(d.Keep)
	}
	if err != nil {
		return err
	}
	for _, sub := range []string{"home", "state", "data", "forge", "clone", "tmp"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// emptyDir makes a directory, or takes one that is there and empty.
func emptyDir(name string) (string, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("--keep: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("--keep: %w", err)
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("--keep: %w", err)
	}
	if len(there) > 0 {
		return "", fmt.Errorf("--keep: %s is not empty: name a new directory", dir)
	}
	return dir, nil
}

// environ is all that our children get: nothing of this machine's configuration reaches the demo.
func (d *demo) environ() []string {
	env := []string{"HOME=" + filepath.Join(d.dir, "home"), "TMPDIR=" + filepath.Join(d.dir, "tmp"), "LANG=C.UTF-8"}
	for _, k := range []string{"PATH", "SystemRoot"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// start brings up the forge, the server and the repository.
func (d *demo) start(ctx context.Context) error {
	d.step("starting the forge")
	var err error
	if d.forge, err = startForge(ctx, d); err != nil {
		return fmt.Errorf("starting the forge: %w", err)
	}
	if err := d.seedMain(ctx); err != nil {
		return err
	}
	d.step("starting Tidegate")
	if d.server, err = startServer(ctx, d); err != nil {
		return d.explain(err)
	}
	return d.forge.hook(d.server.url + "/events")
}

func (d *demo) stop() error {
	var errs []error
	if d.server != nil {
		errs = append(errs, d.server.stop())
	}
	if d.forge != nil {
		errs = append(errs, d.forge.stop())
	}
	return errors.Join(errs...)
}

// explain adds the end of the server's log to an error.
func (d *demo) explain(err error) error {
	raw, rerr := os.ReadFile(filepath.Join(d.dir, "server.log"))
	if err == nil || rerr != nil || len(raw) == 0 {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if len(lines) > 15 {
		lines = lines[len(lines)-15:]
	}
	return fmt.Errorf("%w\nthe server's log ends with:\n  %s", err, strings.Join(lines, "\n  "))
}

// seedMain pushes the repository's first commit.
func (d *demo) seedMain(ctx context.Context) error {
	d.step("pushing %s/%s with four projects", owner, repo)
	clone := filepath.Join(d.dir, "clone")
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"remote", "add", "origin", d.forge.cloneURL(writer)}} {
		if err := d.git(ctx, clone, args...); err != nil {
			return err
		}
	}
	return d.push(ctx, "main", "seed/main", "four projects")
}

// push lays a directory of the seed over the clone and pushes a branch.
func (d *demo) push(ctx context.Context, branch, from, message string) error {
	clone := filepath.Join(d.dir, "clone")
	err := fs.WalkDir(seed, from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := seed.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.NewReplacer("@STATE@", filepath.ToSlash(filepath.Join(d.dir, "state")), "@NONCE@", d.nonce).Replace(string(raw))
		to := filepath.Join(clone, filepath.FromSlash(strings.TrimPrefix(path, from+"/")))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, []byte(text), 0o600)
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", from, err)
	}
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "-m", message}, {"push", "-q", "origin", "HEAD:refs/heads/" + branch}} {
		if err := d.git(ctx, clone, args...); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) git(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(d.environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ana", "GIT_AUTHOR_EMAIL=ana@acme.example", "GIT_COMMITTER_NAME=Ana", "GIT_COMMITTER_EMAIL=ana@acme.example")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// listen takes the address that was asked for, or none; without one the usual port, or a free one.
func (d *demo) listen(ctx context.Context) (net.Listener, error) {
	if d.Listen == "" {
		return listen(ctx, net.JoinHostPort("127.0.0.1", forgePort))
	}
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", d.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("--listen: %s is taken; give another port, or 0 for any", d.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return lis, nil
}

// listen takes an address, or a free port on the same host when it is taken.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		return lis, nil
	}
	host, _, serr := net.SplitHostPort(addr)
	if serr != nil {
		return nil, serr
	}
	return lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
}
