package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The names of the forge and of the state behind a proxy. Nobody can look them up.
const (
	hiddenForge = "ghe.tidegate.test"
	hiddenState = "state.tidegate.test"
)

// tlsProxy is the way out of a company's network: it ends TLS with an authority of its own, and looks into everything.
type tlsProxy struct {
	http  *httptest.Server
	inner *http.Server
	conns chan net.Conn
	over  chan struct{}
	to    map[string]http.Handler // by host
	cert  tls.Certificate

	mu   sync.Mutex
	seen map[string]bool
}

// newTLSProxy starts one, and writes the certificate of its authority.
func newTLSProxy(authority string, to map[string]string) (*tlsProxy, error) {
	p := &tlsProxy{conns: make(chan net.Conn), over: make(chan struct{}), to: map[string]http.Handler{}, seen: map[string]bool{}}
	for host, address := range to {
		u, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		p.to[host] = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	}
	var err error
	if p.cert, err = issue(authority, hiddenForge, hiddenState); err != nil {
		return nil, err
	}
	quiet := log.New(io.Discard, "", 0)
	p.inner = &http.Server{Handler: http.HandlerFunc(p.forward), ReadHeaderTimeout: patience, ErrorLog: quiet}
	go func() { _ = p.inner.Serve(handed{p}) }()
	p.http = httptest.NewUnstartedServer(http.HandlerFunc(p.connect))
	p.http.Config.ErrorLog = quiet
	p.http.Start()
	return p, nil
}

func (p *tlsProxy) close() {
	_ = p.inner.Close()
	p.http.CloseClientConnections()
	p.http.Close()
}

// connect takes a tunnel over and speaks TLS in it.
func (p *tlsProxy) connect(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil || p.to[host] == nil {
		http.Error(w, "nothing but "+hiddenForge+" and "+hiddenState+" is behind this", http.StatusForbidden)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	ours := tls.Server(read{conn, buffered.Reader}, &tls.Config{Certificates: []tls.Certificate{p.cert}, MinVersion: tls.VersionTLS12})
	select {
	case p.conns <- ours:
	case <-p.over:
		_ = conn.Close()
	}
}

func (p *tlsProxy) forward(w http.ResponseWriter, r *http.Request) {
	agent, _, _ := strings.Cut(r.UserAgent(), "/")
	p.mu.Lock()
	p.seen[r.Host+" "+agent] = true
	p.mu.Unlock()
	if next := p.to[r.Host]; next != nil {
		next.ServeHTTP(w, r)
		return
	}
	http.NotFound(w, r)
}

// read reads what was read ahead first.
type read struct {
	net.Conn
	from *bufio.Reader
}

func (r read) Read(b []byte) (int, error) { return r.from.Read(b) }

// handed is a listener for connections that are there already.
type handed struct{ p *tlsProxy }

func (h handed) Accept() (net.Conn, error) {
	select {
	case conn := <-h.p.conns:
		return conn, nil
	case <-h.p.over:
		return nil, net.ErrClosed
	}
}

// Close is called once: http.Server sees to it.
func (h handed) Close() error {
	close(h.p.over)
	return nil
}

func (h handed) Addr() net.Addr { return &net.TCPAddr{} }

// issue makes an authority, writes its certificate, and answers one that it vouches for.
func issue(authority string, hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority of the story"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootRaw, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leafRaw, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootRaw})
	return tls.Certificate{Certificate: [][]byte{leafRaw}, PrivateKey: key}, os.WriteFile(authority, text, 0o644)
}

// behind: from now on the forge and the state are reached by names that nobody can look up, through a proxy that ends TLS.
// $PROXY is its address, $AUTHORITY the file of who vouches for it.
func cmdBehind(ts *testscript.TestScript, w *world, _ []string) error {
	authority := filepath.Join(w.dir, "authority.pem")
	p, err := newTLSProxy(authority, map[string]string{hiddenForge: w.dev.http.URL, hiddenState: w.states.http.URL})
	if err != nil {
		return err
	}
	ts.Defer(p.close)
	w.proxy, w.dev.hidden = p, hiddenForge
	w.dev.SetURL("https://" + hiddenForge)
	ts.Setenv("PROXY", p.http.URL)
	ts.Setenv("AUTHORITY", authority)
	return nil
}

// proxied FILE: who asked whom through the proxy, a line each.
func cmdProxied(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "proxied FILE"); err != nil {
		return err
	}
	if w.proxy == nil {
		return errors.New("nothing is behind a proxy")
	}
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	var lines []string
	for line := range w.proxy.seen {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	text := fmt.Sprintln(strings.Join(lines, "\n"))
	ts.Logf("%s", text)
	return os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600)
}
