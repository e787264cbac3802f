// Package server owns the chi router, the listener, what stands in front of every request, and the
// order in which it all stops.
//
// It knows no forge and no terraform: webhooks, pages and figures are handlers that it is given.
// Start with Server.
package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// Config is what a Server serves. All fields but the credentials are needed.
type Config struct {
	// Events takes webhooks in.
	Events http.Handler
	// Pages serves everything that is not named here.
	Pages http.Handler
	// Metrics serves /metrics.
	Metrics http.Handler
	// Ready answers why the server can't take work now, or nil. Only an Unready is shown to who asks.
	Ready func(context.Context) error
	// Status is what /status shows, as JSON.
	Status func(context.Context) (any, error)
	// User and Password open the pages. Both empty: the pages answer on this machine only, and only if
	// Private is set.
	User     string
	Password func() (string, error)
	// Private: no other machine is meant to reach the server. One that has a public address has a proxy
	// in front, which may hand on requests that look like this machine's own.
	Private bool
	Log     *slog.Logger
}

// Unready is why a server takes no work now, in words that anybody may read.
type Unready string

func (u Unready) Error() string { return string(u) }

// Server is the HTTP side of Tidegate.
type Server struct {
	Config
	http *http.Server
	lis  net.Listener
	open bool // on this machine nobody has to log in
}

// New makes a server on a listener, which it owns from now on.
func New(c Config, lis net.Listener) *Server {
	s := &Server{Config: c, lis: lis}
	addr, ok := lis.Addr().(*net.TCPAddr)
	s.open = ok && addr.IP.IsLoopback() && c.Private
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      120 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(c.Log.Handler(), slog.LevelWarn),
	}
	return s
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.lis.Addr() }

// Serve answers requests until ctx ends, then lets those under way finish, for at most five seconds.
func (s *Server) Serve(ctx context.Context) error {
	s.http.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.lis) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving http: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := s.http.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		return errors.Join(err, served)
	}
	return err
}

func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(identify, s.recover, middleware.GetHead)
	r.Handle("/events", s.Events)
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	r.Get("/readyz", s.readyz)
	r.Group(func(r chi.Router) {
		r.Use(s.gate, http.NewCrossOriginProtection().Handler)
		r.Get("/status", s.status)
		r.Method(http.MethodGet, "/metrics", s.Metrics)
		r.Mount("/", s.Pages)
	})
	return r
}

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	err := s.Ready(ctx)
	if err == nil {
		plain(w, http.StatusOK, "ready")
		return
	}
	why, ok := errors.AsType[Unready](err)
	if !ok {
		s.Log.ErrorContext(ctx, "not ready", "err", err)
		why = "the journal can't be written; the server's log has the cause"
	}
	plain(w, http.StatusServiceUnavailable, "not ready: "+string(why))
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	v, err := s.Status(r.Context())
	if err != nil {
		s.Log.ErrorContext(r.Context(), "reading the status", "err", err)
		plain(w, http.StatusInternalServerError, "internal error")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v)
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text)
}

// recover turns a panic into a 500, so that one bad request does not end the server.
func (s *Server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { //nolint:contextcheck // the request ends here
			v := recover()
			if v == nil {
				return
			}
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(v) //nolint:forbidigo // net/http's own way to end a request
			}
			id := w.Header().Get("X-Request-Id")
			s.Log.ErrorContext(r.Context(), "panic in a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			plain(w, http.StatusInternalServerError, "internal error, request "+id)
		}()
		next.ServeHTTP(w, r)
	})
}

// gate keeps everything but webhooks and probes off the open network. Whoever reaches a loopback
// listener by another name than a loopback one, or through a proxy, is not on this machine.
func (s *Server) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.User != "":
			if !s.knows(r) {
				w.Header().Set("WWW-Authenticate", `Basic realm="Tidegate", charset="UTF-8"`)
				plain(w, http.StatusUnauthorized, "user and password are needed")
				return
			}
		case !s.open || !local(r):
			plain(w, http.StatusForbidden, "This page needs a login: start the server with --web-username and --web-password-file.\n"+
				"Without one it is shown on the machine itself only: with --listen 127.0.0.1:PORT, a --url on this machine or none, and through no proxy.")
			return
		default:
			// Nobody has checked that name, and what is done here is told in it.
			r.Header.Del("Authorization")
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) knows(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	if !ok {
		return false
	}
	want, err := s.Password()
	if err != nil || want == "" {
		s.Log.ErrorContext(r.Context(), "reading the password of the pages", "err", err)
		return false
	}
	return same(user, s.User)&same(password, want) == 1
}

// same compares in constant time, whatever the lengths.
func same(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

func local(r *http.Request) bool {
	// No browser speaks HTTP/1.0, but proxies do.
	if !r.ProtoAtLeast(1, 1) {
		return false
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
