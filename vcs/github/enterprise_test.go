package github_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/vcs/github"
)

// TestNoRateHeaders: a GitHub Enterprise Server has no rate limit unless it is told to, and then tells of none.
func TestNoRateHeaders(t *testing.T) {
	t.Parallel()
	s := &script{steps: []step{
		reply(http.StatusOK, `{"login":"tidegate-bot"}`), reply(http.StatusOK, `{"login":"tidegate-bot"}`, "X-RateLimit-Remaining", "7"),
	}}
	c := client(t, github.Config{Hostname: "ghe.corp.example", HTTP: s})
	for _, want := range []bool{false, true} {
		_, err := c.Login(t.Context())
		must(t, err)
		if left, told := c.RequestsLeft(); told != want || told && left != 7 {
			t.Errorf("RequestsLeft() = %d, %v, want told %v", left, told, want)
		}
	}
}

// childHost is where the child asks, in its environment.
const childHost = "TIDEGATE_TEST_ENTERPRISE_HOST"

// TestMain is also what TestOwnAuthority starts: the roots and proxies of a process are read once.
func TestMain(m *testing.M) {
	host := os.Getenv(childHost)
	if host == "" {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := github.New(github.Config{Hostname: host, Token: func() (string, error) { return botToken, nil }})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Login(ctx))
}

// tunnel is a proxy that leads everywhere to the same place.
type tunnel struct {
	to    string
	mu    sync.Mutex
	asked []string
}

func (p *tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.mu.Unlock()
	if r.Header.Get("Authorization") != "" || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	out, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = out.Close() }()
	w.WriteHeader(http.StatusOK)
	in, read, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = in.Close() }()
	go func() {
		_, _ = io.Copy(out, read) // what came at once is not in the connection any more
		_ = out.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(in, out)
}

// TestOwnAuthority: a server of one's own is reached with the authority of SSL_CERT_FILE and through the proxy of
// HTTPS_PROXY, and a server that nobody vouches for is not told the token.
func TestOwnAuthority(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, `{"login":"tidegate-bot"}`)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	direct := strings.TrimPrefix(srv.URL, "https://")
	proxy := &tunnel{to: direct}
	through := httptest.NewServer(proxy)
	defer through.Close()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	must(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))

	const good = "/api/v3/user Bearer " + botToken
	for _, tt := range []struct {
		name, host string
		env        []string
		want       string
		server     []string
		proxy      []string
	}{
		{"its authority", direct, []string{"SSL_CERT_FILE=" + roots}, "tidegate-bot <nil>", []string{good}, nil},
		{"no authority", direct, nil, "trusted if SSL_CERT_FILE names", nil, nil},
		{"a proxy, not for this machine", direct, []string{"SSL_CERT_FILE=" + roots, "HTTPS_PROXY=" + through.URL}, "tidegate-bot <nil>", []string{good}, nil},
		{"a proxy", "example.com", []string{"SSL_CERT_FILE=" + roots, "HTTPS_PROXY=" + through.URL}, "tidegate-bot <nil>", []string{good}, []string{"CONNECT example.com:443"}},
		{"a proxy, not for that host", "forge.invalid", []string{"HTTPS_PROXY=" + through.URL, "NO_PROXY=forge.invalid"}, "no answer", nil, nil},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(tt.env, childHost+"="+tt.host, "SSL_CERT_DIR="+t.TempDir(), "GODEBUG="+os.Getenv("GODEBUG"))
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("with %s: %v, want %q in\n%s", tt.name, err, tt.want, out)
		}
		mu.Lock()
		proxy.mu.Lock()
		if got, want := fmt.Sprint(asked, proxy.asked), fmt.Sprint(tt.server, tt.proxy); got != want {
			t.Errorf("with %s: the server and the proxy were asked %s, want %s", tt.name, got, want)
		}
		asked, proxy.asked = nil, nil
		proxy.mu.Unlock()
		mu.Unlock()
	}
}
