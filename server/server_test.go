package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/tidegate/tidegate/server"
)

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

func config() server.Config {
	return server.Config{
		Events: text("events"), Metrics: text("metrics"),
		Pages: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("boom")
			}
			_, _ = io.WriteString(w, "page")
		}),
		Ready:  func(context.Context) error { return nil },
		Status: func(context.Context) (any, error) { return map[string]int{"n": 1}, nil },
		Log:    slog.New(slog.DiscardHandler), Private: true,
	}
}

// serve serves on the address until the test ends, and answers the port.
func serve(t *testing.T, c server.Config, addr string) string {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := server.New(c, lis)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	_, port, _ := net.SplitHostPort(s.Addr().String())
	return port
}

// start serves on the address until the test ends, and answers how to ask it.
func start(t *testing.T, c server.Config, addr string) func(method, path string, edit func(*http.Request)) (int, string) {
	t.Helper()
	port := serve(t, c, addr)
	return func(method, path string, edit func(*http.Request)) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:"+port+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			edit(r)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
}

func TestPagesStayOffTheOpenNetwork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, addr string
		edit       func(*http.Request)
		want       int
	}{
		{"loopback", "127.0.0.1:0", nil, 200},
		{"loopback by name", "127.0.0.1:0", func(r *http.Request) { r.Host = "localhost:4141" }, 200},
		{"another name for loopback", "127.0.0.1:0", func(r *http.Request) { r.Host = "evil.example" }, 403},
		{"through a proxy", "127.0.0.1:0", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, 403},
		{"all addresses", "0.0.0.0:0", nil, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ask := start(t, config(), tt.addr)
			for _, path := range []string{"/", "/locks", "/runs/x", "/status", "/metrics"} {
				status, body := ask(http.MethodGet, path, tt.edit)
				if status != tt.want {
					t.Errorf("GET %s = %d, want %d", path, status, tt.want)
				}
				if status == 403 && !strings.Contains(body, "--web-username") {
					t.Errorf("GET %s = %q, want the flag named", path, body)
				}
			}
			for _, path := range []string{"/events", "/healthz", "/readyz"} {
				if status, _ := ask(http.MethodGet, path, tt.edit); status != 200 {
					t.Errorf("GET %s = %d, want 200", path, status)
				}
			}
		})
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	c := config()
	c.User, c.Password = "ops", func() (string, error) { return "right", nil }
	ask := start(t, c, "0.0.0.0:0")
	for _, tt := range []struct {
		user, password string
		want           int
	}{{"ops", "right", 200}, {"ops", "wrong", 401}, {"other", "right", 401}, {"", "", 401}, {"ops", "", 401}} {
		status, _ := ask(http.MethodGet, "/", func(r *http.Request) {
			if tt.user != "" {
				r.SetBasicAuth(tt.user, tt.password)
			}
		})
		if status != tt.want {
			t.Errorf("login %q/%q = %d, want %d", tt.user, tt.password, status, tt.want)
		}
	}
}

func TestLoginWithoutAPasswordLetsNobodyIn(t *testing.T) {
	t.Parallel()
	for _, password := range []func() (string, error){
		func() (string, error) { return "", nil },
		func() (string, error) { return "", errors.New("file is gone") },
	} {
		c := config()
		c.User, c.Password = "ops", password
		ask := start(t, c, "127.0.0.1:0")
		if status, _ := ask(http.MethodGet, "/", func(r *http.Request) { r.SetBasicAuth("ops", "") }); status != 401 {
			t.Errorf("login with an empty password = %d, want 401", status)
		}
	}
}

// A proxy in front of a loopback address may look like this machine: nginx by default says neither
// whom it asks for nor by which name it was asked.
func TestPagesBehindAProxy(t *testing.T) {
	t.Parallel()
	public := config()
	public.Private = false
	if status, _ := start(t, public, "127.0.0.1:0")(http.MethodGet, "/", nil); status != 403 {
		t.Errorf("GET / of a server with a public address = %d, want 403", status)
	}
	public.User, public.Password = "ops", func() (string, error) { return "right", nil }
	if status, _ := start(t, public, "127.0.0.1:0")(http.MethodGet, "/", func(r *http.Request) { r.SetBasicAuth("ops", "right") }); status != 200 {
		t.Errorf("GET / with a login = %d, want 200", status)
	}
	port := serve(t, config(), "127.0.0.1:0")
	for version, want := range map[string]string{"HTTP/1.1": "200", "HTTP/1.0": "403"} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(conn, "GET / "+version+"\r\nHost: 127.0.0.1:4141\r\nConnection: close\r\n\r\n")
		answer, rerr := io.ReadAll(conn)
		if err := errors.Join(err, rerr, conn.Close()); err != nil {
			t.Fatal(err)
		}
		if fields := strings.Fields(string(answer)); len(fields) < 2 || fields[1] != want {
			t.Errorf("%s: %q, want %s", version, answer, want)
		}
	}
}

// Without a login nobody is whom a request names.
func TestUncheckedNameIsNotPassedOn(t *testing.T) {
	t.Parallel()
	c := config()
	c.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		_, _ = io.WriteString(w, "user "+user)
	})
	named := func(r *http.Request) { r.SetBasicAuth("ops", "right") }
	if _, body := start(t, c, "127.0.0.1:0")(http.MethodGet, "/", named); body != "user " {
		t.Errorf("without a login the pages see %q", body)
	}
	c.User, c.Password = "ops", func() (string, error) { return "right", nil }
	if _, body := start(t, c, "127.0.0.1:0")(http.MethodGet, "/", named); body != "user ops" {
		t.Errorf("with a login the pages see %q", body)
	}
}

func TestOtherSitesCanNotPost(t *testing.T) {
	t.Parallel()
	ask := start(t, config(), "127.0.0.1:0")
	cross := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	if status, _ := ask(http.MethodPost, "/locks/1/release", cross); status != 403 {
		t.Errorf("cross-site POST of a page = %d, want 403", status)
	}
	if status, _ := ask(http.MethodPost, "/events", cross); status != 200 {
		t.Errorf("POST of a webhook = %d, want 200", status)
	}
}

func TestHeadIsAnsweredLikeGet(t *testing.T) {
	t.Parallel()
	c := config()
	pages := chi.NewRouter()
	pages.Get("/locks", text("page").ServeHTTP)
	c.Pages = pages
	ask := start(t, c, "127.0.0.1:0")
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/status": 200, "/metrics": 200, "/locks": 200, "/nowhere": 404} {
		if status, body := ask(http.MethodHead, path, nil); status != want || body != "" {
			t.Errorf("HEAD %s = %d %q, want %d", path, status, body, want)
		}
	}
	open := start(t, config(), "0.0.0.0:0")
	for _, method := range []string{http.MethodHead, http.MethodOptions, http.MethodTrace, "MADE-UP"} {
		for _, path := range []string{"/", "/locks", "/status", "/metrics", "//status", "/./status", "/events/../status", "/healthz/../locks", "/%2e%2e/status"} {
			if status, _ := open(method, path, nil); status < 300 {
				t.Errorf("%s %s = %d on the open network", method, path, status)
			}
		}
	}
}

func TestPanicAndNotReady(t *testing.T) {
	t.Parallel()
	c := config()
	c.Ready = func(context.Context) error { return errors.New("secret path /x") }
	ask := start(t, c, "127.0.0.1:0")
	if status, body := ask(http.MethodGet, "/panic", nil); status != 500 || strings.Contains(body, "boom") {
		t.Errorf("a panic answers %d %q, want 500 without its text", status, body)
	}
	if status, body := ask(http.MethodGet, "/readyz", nil); status != 503 || strings.Contains(body, "secret") {
		t.Errorf("not ready answers %d %q, want 503 without the cause", status, body)
	}
	if status, _ := ask(http.MethodGet, "/healthz", nil); status != 200 {
		t.Errorf("healthz = %d, want 200", status)
	}
}
