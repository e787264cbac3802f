package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The people of every story. The bot is one of them.
const (
	ana = "ana" // may write
	raj = "raj" // may write
	eve = "eve" // may read
	bot = "tidegate"

	owner, name   = "acme", "infra"
	webhookSecret = "webhook-secret-nobody-may-see"
	botToken      = "bot-token-nobody-may-see"
)

// patience is how long a story waits for what must come. It is a bound for hangs, not a measure.
const patience = 3 * time.Minute

// world is what one story happens in: a forge, a repository, and at times a server.
type world struct {
	t     *testing.T
	dir   string // the story's $WORK
	data  string
	forge forge
	dev   *devForge // the forge, where it is devforge
	// states serves terraform's http and s3 backends; nil outside of stories.
	states *states
	ssh    *sshServer
	proxy  *tlsProxy // nil: nothing is behind one
	bin    string
	// nobody: the server runs as a user without rights.
	nobody bool
	grace  string // of the init that a server is to have around it

	server *process
	// counted and unchanged are the bot's calls when the story last looked.
	counted, unchanged int
	seen               map[int64]bool // the bot's comments that the story has read
}

// process is a running `tidegate server`.
type process struct {
	cmd  *exec.Cmd
	url  string
	done chan error
	log  *os.File
	told bool // it got its SIGTERM
}

// api asks the forge's REST API as a user and decodes the answer into out, if given.
func (w *world) api(user, method, path string, body, out any) (int, error) {
	var rd io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		rd = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.forge.api()+path, rd)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+w.forge.token(user))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode >= 400 {
		return resp.StatusCode, fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, raw)
	}
	if out == nil {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.Unmarshal(raw, out)
}

func repoPath(format string, args ...any) string {
	return fmt.Sprintf("/repos/%s/%s", owner, name) + fmt.Sprintf(format, args...)
}

// comment is a comment as the forge's API shows it.
type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User struct {
		Login string `json:"login"`
	} `json:"user"`
	CreatedAt time.Time `json:"created_at"`
}

func (w *world) comments(pull int) ([]comment, error) { return w.forge.comments(w.as(ana), pull) }

// answers are the bot's comments on a pull request, without progress.
func (w *world) answers(pull int) ([]comment, error) {
	all, err := w.comments(pull)
	if err != nil {
		return nil, err
	}
	var out []comment
	for _, c := range all {
		if c.User.Login == w.forge.bot() && !strings.Contains(c.Body, " part=0/1 ") {
			out = append(out, c)
		}
	}
	return out, nil
}

// errOver: what is waited for can't come any more.
var errOver = errors.New("it is over")

// until asks again and again whether something has come about, and gives up after a while.
func (w *world) until(what string, ask func() (bool, error)) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(patience)
	defer end.Stop()
	var last error
	for {
		ok, err := ask()
		if ok {
			return nil
		}
		last = err
		if errors.Is(err, errOver) {
			return errors.Join(err, w.lastLog())
		}
		select {
		case <-tick.C:
		case <-end.C:
			return fmt.Errorf("waited %s for %s: %w", patience, what, errors.Join(last, w.lastLog()))
		}
	}
}

func (w *world) lastLog() error {
	raw, err := os.ReadFile(filepath.Join(w.dir, "server.log"))
	if err != nil {
		return err
	}
	if len(raw) > 6000 {
		raw = raw[len(raw)-6000:]
	}
	return fmt.Errorf("the server's log ends with:\n%s", raw)
}

// start starts a server and waits until it is ready.
func (w *world) start(env []string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(w.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if w.server != nil { // what was sent while nobody was there does not come later
		if err := w.until("webhooks to be sent", w.delivered); err != nil {
			return err
		}
	}
	addr, err := freeAddr(w.server)
	if err != nil {
		return err
	}
	if err := w.forge.target("http://" + addr + "/events"); err != nil {
		return err
	}
	argv := slices.Concat([]string{"server"}, w.flags(addr), []string{"--log-level", "debug"}, args)
	if w.server != nil && w.server.cmd != nil {
		return errors.New("a server is running already")
	}
	if w.grace != "" {
		argv = append([]string{"init", "--grace", w.grace, "--", w.bin}, argv...)
	}
	cmd := exec.Command(w.bin, argv...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if w.nobody {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody, NoSetGroups: false}
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{cmd: cmd, url: "http://" + addr, done: make(chan error, 1), log: log}
	go func() {
		p.done <- cmd.Wait()
		_ = log.Close()
	}()
	w.server = p
	return w.until("the server to be ready", func() (bool, error) {
		select {
		case err := <-p.done:
			p.done <- err
			w.server = &process{url: p.url}
			return false, fmt.Errorf("%w: the server ended: %w", errOver, err)
		default:
		}
		status, _, err := w.get("/readyz")
		return status == http.StatusOK, err
	})
}

// terminate sends SIGTERM; stop waits for the end then.
func (w *world) terminate() error {
	if w.server == nil || w.server.cmd == nil {
		return errors.New("no server is running")
	}
	w.server.told = true
	return w.server.cmd.Process.Signal(syscall.SIGTERM)
}

// stop ends the server with a signal and waits for it.
func (w *world) stop(sig syscall.Signal) error {
	p := w.server
	if p == nil {
		return errors.New("no server is running")
	}
	if p.told && sig == syscall.SIGTERM { // a second one would end it at once
		sig = 0
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-p.done:
		p.done <- err
		w.server = &process{url: p.url}
		return nil
	case <-time.After(patience):
		return errors.Join(errors.New("the server did not end"), p.cmd.Process.Kill(), w.lastLog())
	}
}

// get asks the server.
func (w *world) get(path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.url+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// delivered reports whether no webhook is under way.
func (w *world) delivered() (bool, error) {
	n, err := w.forge.undelivered()
	if err != nil || n > 0 {
		return false, errors.Join(err, fmt.Errorf("%d webhooks are under way", n))
	}
	return true, nil
}

// idle waits until the server has nothing to do.
func (w *world) idle() error {
	return w.until("the server to be idle", func() (bool, error) {
		if ok, err := w.delivered(); !ok {
			return false, err
		}
		_, body, err := w.get("/status")
		if err != nil {
			return false, err
		}
		var s struct {
			Queued  int `json:"queued_events"`
			Running int `json:"running_runs"`
			Owed    int `json:"unposted_answers"`
		}
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			return false, err
		}
		return s.Queued+s.Running+s.Owed == 0, fmt.Errorf("status %+v", s)
	})
}

// git runs git in the story's own clone, with nothing of this machine's configuration.
func (w *world) git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.dir, "nobody"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ana", "GIT_AUTHOR_EMAIL=ana@acme.example", "GIT_COMMITTER_NAME=Ana", "GIT_COMMITTER_EMAIL=ana@acme.example",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// push commits files on a branch (made from main if it is new) and pushes it. Directories in files
// are laid over the tree; a file named DELETE lists paths to remove.
func (w *world) push(branch, from, message string) (string, error) {
	clone := filepath.Join(w.dir, "clone")
	if _, err := os.Stat(clone); err != nil {
		if _, err := w.git(w.dir, "clone", "-q", w.forge.cloneURL(ana), clone); err != nil {
			return "", err
		}
	}
	if _, err := w.git(clone, "fetch", "-q", "--prune", "origin"); err != nil {
		return "", err
	}
	base := "origin/main"
	if _, err := w.git(clone, "rev-parse", "-q", "--verify", "origin/"+branch); err == nil {
		base = "origin/" + branch
	}
	for _, args := range [][]string{
		{"checkout", "-q", "-f", "--detach"},
		{"clean", "-q", "-f", "-d", "-x"},
		{"checkout", "-q", "-f", "-B", branch, base},
	} {
		if _, err := w.git(clone, args...); err != nil { // nothing was ever pushed
			if _, e := w.git(clone, "checkout", "-q", "--orphan", branch); e != nil {
				return "", err
			}
		}
	}
	if err := os.CopyFS(filepath.Join(w.dir, "overlay"), os.DirFS(from)); err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(filepath.Join(w.dir, "overlay")) }()
	if err := w.overlay(clone, filepath.Join(w.dir, "overlay")); err != nil {
		return "", err
	}
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "--allow-empty", "-m", message}, {"push", "-q", "origin", "HEAD:refs/heads/" + branch}} {
		if _, err := w.git(clone, args...); err != nil {
			return "", err
		}
	}
	if err := w.forge.settle(); err != nil {
		return "", err
	}
	return w.git(clone, "rev-parse", "HEAD")
}

func (w *world) overlay(clone, from string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if rel == "DELETE" {
			for _, gone := range strings.Fields(string(raw)) {
				if err := os.RemoveAll(filepath.Join(clone, gone)); err != nil {
					return err
				}
			}
			return nil
		}
		raw = []byte(w.words().Replace(string(raw)))
		to := filepath.Join(clone, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if link, ok := strings.CutPrefix(strings.TrimSpace(string(raw)), "SYMLINK "); ok {
			_ = os.Remove(to)
			return os.Symlink(link, to)
		}
		return os.WriteFile(to, raw, 0o644)
	})
}

// words are what stands in a story's files for what is another place each time.
func (w *world) words() *strings.Replacer {
	words := []string{"@STATE@", w.state(), "@WORK@", w.dir, "@FORGE@", w.forge.host(), "@TIDEGATE@", w.bin}
	if w.ssh != nil {
		words = append(words, "@SSH@", w.ssh.url)
	}
	if w.states != nil {
		words = append(words, "@HTTP@", w.states.http.URL, "@S3@", w.states.s3.URL)
	}
	return strings.NewReplacer(words...)
}

// state is where the stories' projects keep their state, outside of every checkout.
func (w *world) state() string { return filepath.Join(w.dir, "state") }

func theWorld(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

type worldKey struct{}
