package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// server is our own binary, serving.
type server struct {
	url      string
	password string
	cmd      *exec.Cmd
	done     chan error
	log      *os.File
}

const serverPort = "4141"

// stopTime is more than a plan and then an apply may take after they were interrupted.
const stopTime = 90 * time.Second

// startServer starts `tidegate server` and waits until it is ready.
func startServer(ctx context.Context, d *demo) (*server, error) {
	host := "127.0.0.1"
	if d.Listen != "" {
		h, _, err := net.SplitHostPort(d.Listen)
		if err != nil {
			return nil, fmt.Errorf("--listen: %w", err)
		}
		host = h
	}
	lis, err := listen(ctx, net.JoinHostPort(host, serverPort))
	if err != nil {
		return nil, err
	}
	addr := lis.Addr().String()
	if err := lis.Close(); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	s := &server{url: "http://127.0.0.1:" + port, done: make(chan error, 1)}
	// init looks after an apply that outlives the server: it is interrupted and waited for.
	args := []string{
		"init", "--grace=0s", "--", d.Self, "server", "--listen", addr, "--url", s.url, "--data-dir", filepath.Join(d.dir, "data"),
		"--repo-allowlist", d.forge.host() + "/*", "--gh-api-url", d.forge.api(), "--gh-user", bot,
		"--gh-token-file", filepath.Join(d.dir, "token"), "--gh-webhook-secret-file", filepath.Join(d.dir, "webhook-secret"),
	}
	secrets := map[string]string{"token": d.forge.botToken, "webhook-secret": d.forge.secret}
	if !isLoopback(host) {
		s.password = d.nonce
		secrets["password"] = s.password
		args = append(args, "--web-username", "demo", "--web-password-file", filepath.Join(d.dir, "password"))
	}
	for name, value := range secrets {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(value), 0o600); err != nil {
			return nil, err
		}
	}
	if s.log, err = os.Create(filepath.Join(d.dir, "server.log")); err != nil {
		return nil, err
	}
	// Not bound to ctx: it is stopped with SIGTERM, so that it can wait for what runs.
	s.cmd = exec.Command(d.Self, args...) //nolint:noctx // stop ends it
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr = d.dir, d.environ(), s.log, s.log
	detach(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, s.log.Close())
	}
	go func() { s.done <- s.cmd.Wait() }()
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := direct().Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-s.done:
			s.done <- err
			return fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return errors.New("the server was not ready within 30 s")
		case <-tick.C:
		}
	}
}

// stop ends the server as an operator would, and after a while by force.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(os.Interrupt)
	force := time.AfterFunc(stopTime, func() { _ = s.cmd.Process.Kill() })
	err := <-s.done
	s.done <- err
	force.Stop()
	return s.log.Close()
}

// page is where a person looks at Tidegate.
func (s *server) page() string {
	if s.password == "" {
		return s.url + "/"
	}
	return fmt.Sprintf("%s/  (user demo, password %s)", s.url, s.password)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// direct is a client that goes through no proxy.
func direct() *http.Client {
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{Proxy: nil}}
}
