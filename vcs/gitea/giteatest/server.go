// Package giteatest runs a real Gitea server for tests, on loopback, with a database of its own that is gone
// afterwards. `.ci/gitea` builds it. With TIDEGATE_GITEA=forgejo in the environment it is the Forgejo that `.ci/forgejo` builds.
//
// It knows nothing of vcs: it is the other side.
//
// Start with Start.
package giteatest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// patience bounds the start and the end of the server: it is for hangs.
	patience = time.Minute
	// look is how often the server is asked whether it is there.
	look = 50 * time.Millisecond
	// password is everybody's.
	password = "no-secret-1"
	// Admin administers the server.
	Admin = "site-admin"
)

// Server is a running Gitea.
type Server struct {
	// URL is its root, without a slash at its end.
	URL string
	// Log is the file that it logs to.
	Log    string
	dir    string
	binary string
	cmd    *exec.Cmd
	ended  chan struct{}
	// made counts tokens: each has a name of its own.
	made atomic.Int64
}

// Start starts a server whose files lie in dir, which it makes. The binary comes from $TIDEGATE_CACHE, or else from
// .cache in the repository's root.
func Start(ctx context.Context, dir string) (*Server, error) {
	from, err := built()
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL: fmt.Sprintf("http://127.0.0.1:%d", port), Log: filepath.Join(dir, "gitea.log"), dir: dir,
		binary: filepath.Join(from, "gitea"), ended: make(chan struct{}),
	}
	if err := s.configure(filepath.Join(from, "static"), port); err != nil {
		return nil, err
	}
	if err := s.run(ctx, "migrate"); err != nil {
		return nil, err
	}
	err = s.run(ctx, "admin", "user", "create", "--admin", "--username", Admin, "--password", password,
		"--email", Admin+"@example.com", "--must-change-password=false")
	if err != nil {
		return nil, err
	}
	if err := s.serve(); err != nil { //nolint:contextcheck // it outlives the start
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// built finds the directory that .ci/gitea has written, or .ci/forgejo.
func built() (string, error) {
	kind := cmp.Or(os.Getenv("TIDEGATE_GITEA"), "gitea")
	cache := os.Getenv("TIDEGATE_CACHE")
	for dir := "."; cache == ""; dir = filepath.Join(dir, "..") {
		if root, err := filepath.Abs(dir); err != nil || root == filepath.Dir(root) {
			return "", errors.New("no repository around here: set TIDEGATE_CACHE")
		}
		if _, err := os.Stat(filepath.Join(dir, ".ci", kind)); err == nil {
			cache = filepath.Join(dir, ".cache")
		}
	}
	dir, err := filepath.Abs(filepath.Join(cache, kind))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "made-from")); err != nil {
		return "", fmt.Errorf("there is no %s server to test against (%w): run make test-tools, or .ci/%s", kind, err, kind)
	}
	return dir, nil
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("%v is no TCP address", l.Addr())
	}
	return addr.Port, nil
}

// configure writes the server's settings. What tests do not need is off.
func (s *Server) configure(static string, port int) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	ini := strings.NewReplacer("{dir}", s.dir, "{static}", static, "{url}", s.URL, "{port}", fmt.Sprint(port), "{me}", me.Username).Replace(`
RUN_MODE = prod
RUN_USER = {me}
WORK_PATH = {dir}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = {url}/
STATIC_ROOT_PATH = {static}
OFFLINE_MODE = true
DISABLE_SSH = true
LFS_START_SERVER = false
[database]
DB_TYPE = sqlite3
PATH = {dir}/gitea.db
SQLITE_JOURNAL_MODE = WAL
SQLITE_TIMEOUT = 20000
[security]
INSTALL_LOCK = true
SECRET_KEY = no-secret
PASSWORD_HASH_ALGO = pbkdf2$1$8
[service]
DISABLE_REGISTRATION = true
[webhook]
ALLOWED_HOST_LIST = loopback
[repository]
DEFAULT_BRANCH = main
[indexer]
ISSUE_INDEXER_TYPE = db
[cron]
ENABLED = false
[cron.update_checker]
ENABLED = false
[actions]
ENABLED = false
[packages]
ENABLED = false
[log]
MODE = console
LEVEL = warn
`)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(s.ini(), []byte(ini), 0o600)
}

func (s *Server) ini() string { return filepath.Join(s.dir, "app.ini") }

// command is one of the server's own, which sees nothing of this machine's settings.
func (s *Server) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.binary, append([]string{"--config", s.ini(), "--work-path", s.dir}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GIT_CONFIG_NOSYSTEM=1"}
	cmd.Dir = s.dir
	dieWithParent(cmd)
	return cmd
}

func (s *Server) run(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if out, err := s.command(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("gitea %s: %w\n%s", args[0], err, tail(out))
	}
	return nil
}

// serve starts the server; Stop ends it.
func (s *Server) serve() error {
	log, err := os.Create(s.Log)
	if err != nil {
		return err
	}
	s.cmd = s.command(context.Background(), "web")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting gitea: %w", err), log.Close())
	}
	go func() {
		_ = s.cmd.Wait()
		_ = log.Close()
		close(s.ended)
	}()
	return nil
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t := time.NewTicker(look)
	defer t.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/v1/version", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-t.C:
		case <-s.ended:
			return s.trouble("gitea has ended")
		case <-ctx.Done():
			return s.trouble("gitea does not answer")
		}
	}
}

func (s *Server) trouble(what string) error {
	log, _ := os.ReadFile(s.Log)
	return fmt.Errorf("%s; its log ends with:\n%s", what, tail(log))
}

func tail(out []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-15):], []byte("\n"))
}

// Settle waits until the server has done what it has put off: webhooks are sent, and pull requests looked at.
func (s *Server) Settle() error {
	return s.run(context.Background(), "manager", "flush-queues", "--timeout", patience.String())
}

// Stop ends the server and removes its files.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(os.Interrupt)
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-s.ended:
	case <-t.C:
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	return os.RemoveAll(s.dir)
}

// Swagger is the server's description of its API, as JSON of Swagger 2.0, with its paths below /api/v1.
func Swagger() ([]byte, error) {
	from, err := built()
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(from, "static", "templates", "swagger", "v1_json.tmpl")) //nolint:gosec // the tests say where the server is
	if err != nil {
		return nil, err
	}
	return regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAll(raw, nil), nil
}
