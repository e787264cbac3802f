package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/e2e/internal/httpstate"
	"github.com/tidegate/tidegate/vcs/devforge"
)

const (
	owner, name = "acme", "infra"
	person, bot = "ana", "tidegate"
	secret      = "the-webhook-secret" //nolint:gosec // of this run alone
	tick        = 20 * time.Millisecond
	projects    = 8 // the even ones keep their state far away
)

// world is what everything happens in.
type world struct {
	dir, bin, addr string
	group          group
	forge          *devforge.Forge
	http           *httptest.Server
	states         httpstate.Server
	stateHTTP      *httptest.Server

	mu     sync.Mutex // server
	server *exec.Cmd
	dead   chan struct{} // closed when server has ended
	born   time.Time

	git chan struct{} // holds who works in the only clone

	patience time.Duration // a bound for hangs
	faults   bool          // the forge misbehaves

	said   sync.Mutex // what people and killers add to the facts
	facts  facts
	wanted string // the point that a killer waits for
}

func (w *world) trouble(format string, args ...any) {
	w.said.Lock()
	defer w.said.Unlock()
	w.facts.trouble = append(w.facts.trouble, fmt.Sprintf(format, args...))
}

func newWorld(ctx context.Context, o options) (*world, error) {
	w := &world{dir: o.dir, bin: o.bin, git: make(chan struct{}, 1), patience: o.patience, faults: o.faults}
	w.facts.killed, w.facts.branches = map[string]bool{}, map[int]string{}
	if o.faults {
		w.patience *= 3
	}
	for _, d := range []string{"state", "failpoints", "home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	for file, v := range map[string]string{"token": bot + "-token", "secret": secret} {
		if err := os.WriteFile(filepath.Join(w.dir, file), []byte(v), 0o600); err != nil {
			return nil, err
		}
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is closed at once
	if err != nil {
		return nil, err
	}
	w.addr = lis.Addr().String()
	if err := errors.Join(lis.Close(), w.found()); err != nil {
		return nil, err
	}
	files := map[string]string{}
	for i := range projects {
		files[fmt.Sprintf("p%d/main.tf", i)] = "terraform {\n" + w.backend(i) + "}\n"
	}
	return w, w.push(ctx, "main", files)
}

// found makes the forge.
func (w *world) found() (err error) {
	w.forge, err = devforge.New(devforge.Config{Dir: filepath.Join(w.dir, "forge"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	w.http = httptest.NewServer(w.forge.Faulty(w.watched(w.forge.Handler())))
	w.stateHTTP = httptest.NewServer(&w.states)
	w.forge.SetURL(w.http.URL)
	return errors.Join(
		w.forge.Found(owner, name,
			devforge.Member{Login: person, Password: person + "-password", Token: person + "-token", Permission: "write"},
			devforge.Member{Login: bot, Password: bot + "-password", Token: bot + "-token", Permission: "write"}),
		w.forge.AddHook(owner, name, "http://"+w.addr+"/events", secret),
	)
}

func (w *world) backend(i int) string {
	if i%2 == 0 {
		return httpstate.Config(w.stateHTTP.URL, projectName(i))
	}
	return fmt.Sprintf("  backend \"local\" {\n    path = %q\n  }\n", w.stateFile(i))
}

func (w *world) stateFile(i int) string {
	return filepath.Join(w.dir, "state", fmt.Sprintf("p%d.tfstate", i))
}

// wish tells people which point is wanted.
func (w *world) wish(point string) {
	w.said.Lock()
	defer w.said.Unlock()
	w.wanted = point
}

func (w *world) wants(point string) bool {
	w.said.Lock()
	defer w.said.Unlock()
	return w.wanted == point
}

// start starts a server, and does not wait for it.
func (w *world) start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(w.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	//nolint:noctx // it is killed, again and again
	cmd := exec.Command(w.bin, "server", "--repo-allowlist", strings.TrimPrefix(w.http.URL, "http://")+"/"+owner+"/"+name,
		"--gh-api-url", w.http.URL+"/api/v3", "--gh-user", bot, "--gh-token-file", filepath.Join(w.dir, "token"),
		"--gh-webhook-secret-file", filepath.Join(w.dir, "secret"), "--listen", w.addr, "--data-dir", w.data(),
		"--log-level", "debug", "--reconcile-interval", "10s", "--forge-writes-per-hour", "0", "--lock-timeout", "2s",
		"--automerge", "--delete-source-branch-on-merge")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "home"), "TMPDIR=" + filepath.Join(w.dir, "tmp"),
		"TIDEGATE_FAILPOINTS=" + filepath.Join(w.dir, "failpoints"), "CHAOS_NONCE=" + w.dir,
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := w.group.take(cmd.Process.Pid); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		err := cmd.Wait()
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
			w.trouble("the server ended by itself: %v", err)
		}
	}()
	w.server, w.dead, w.born = cmd, dead, time.Now()
	return nil
}

// seen waits until the server has seen the repository. What is lost before that is not found.
func (w *world) seen(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	w.until(limit, func() bool {
		raw, _ := os.ReadFile(filepath.Join(w.dir, "server.log"))
		return bytes.Contains(raw, []byte("a repository is served from now on"))
	})
	if limit.Err() != nil {
		return fmt.Errorf("waiting for the first sight of the repository: %w", limit.Err())
	}
	pause(ctx, 2*time.Second) // a forge's clock ticks in seconds
	return nil
}

func (w *world) data() string { return filepath.Join(w.dir, "data") }

func (w *world) end() {
	if w.server != nil {
		for _, p := range append(w.processes(), process{pid: w.server.Process.Pid}) {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		<-w.dead
	}
	w.group.remove()
	w.forge.Close()
	w.http.CloseClientConnections()
	w.http.Close()
	w.stateHTTP.Close()
}

// ask asks an HTTP server, and decodes the answer into out, if given.
func ask(ctx context.Context, method, url, user string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+user+"-token")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return fmt.Errorf("%s %s: %d %s", method, url, resp.StatusCode, got)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(got, out)
}

func (w *world) api(ctx context.Context, method, path string, body, out any) error {
	return ask(ctx, method, w.http.URL+"/api/v3/repos/"+owner+"/"+name+path, person, body, out)
}

// push lays files over a branch, which is made from main.
func (w *world) push(ctx context.Context, branch string, files map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	select {
	case w.git <- struct{}{}:
		defer func() { <-w.git }()
	case <-ctx.Done():
		return ctx.Err()
	}
	clone := filepath.Join(w.dir, "clone")
	run := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", clone, "-c", "user.name=Ana", "-c", "user.email=ana@acme.example"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "home"), "GIT_CONFIG_NOSYSTEM=1"}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %v: %w\n%s", args, err, out)
		}
		return nil
	}
	if _, err := os.Stat(clone); err != nil {
		url := strings.Replace(w.http.URL, "http://", "http://"+person+":"+person+"-password@", 1) + "/" + owner + "/" + name + ".git"
		if err := errors.Join(os.MkdirAll(clone, 0o755), run("init", "-q", "-b", "main"), run("remote", "add", "origin", url)); err != nil {
			return err
		}
	} else if err := errors.Join(run("fetch", "-q", "origin"), run("checkout", "-q", "-f", "-B", branch, "origin/main")); err != nil {
		return err
	}
	_ = run("reset", "-q", "--hard", "origin/"+branch) // it may be new
	for file, text := range files {
		path := filepath.Join(clone, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	return errors.Join(run("add", "-A"), run("commit", "-q", "-m", "more"), run("push", "-q", "origin", "HEAD:refs/heads/"+branch))
}
