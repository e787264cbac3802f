// Package gitlabtest is a small GitLab in memory, for tests: projects in groups of any depth, merge requests with
// notes, approvals, pipelines and statuses. It answers what the REST API of a real one answers, in the form of
// go-gitlab's recordings, and refuses what a real one refuses.
//
// Made with New it holds no repository and sends no webhook; made with NewWithGit it does both.
package gitlabtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/vcs/internal/githttp"
)

// Server is a GitLab. Its methods may be called while it serves.
type Server struct {
	// URL is the root of its pages, without a slash at its end. The API is below /api/v4.
	URL string

	tb       testing.TB
	mu       sync.Mutex
	mux      *http.ServeMux
	now      time.Time
	last     int64
	users    []*user
	tokens   map[string]*user
	scopes   map[string][]string // of tokens that may not do all
	groups   map[string]map[int64]int
	projects []*Project
	faults   []Fault
	asked    []string

	web      *httptest.Server
	git      *githttp.Git // nil: there are no repositories
	dir      string
	ctx      context.Context
	stop     context.CancelFunc
	sending  sync.WaitGroup
	outboxes map[int64]*outbox
}

// Fault is what happens to a request instead of an answer.
type Fault struct {
	// Status is what is answered; 0 means that the answer is cut.
	Status int
	// Body is the answer's body. "" means GitLab's own words for the status.
	Body string
	// Header is added to the answer.
	Header http.Header
	// After carries the request out first.
	After bool
}

type user struct {
	id          int64
	name, state string
	// person: what its notes ask GitLab for is done.
	person bool
}

// New starts a server that lives as long as the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{
		tb: tb, now: time.Date(2026, 3, 1, 12, 0, 0, 345_000_000, time.UTC), last: 100,
		tokens: map[string]*user{}, scopes: map[string][]string{}, groups: map[string]map[int64]int{}, outboxes: map[int64]*outbox{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.mux = s.routes()
	s.web = httptest.NewServer(http.HandlerFunc(s.serve))
	tb.Cleanup(s.Close)
	s.URL = s.web.URL
	return s
}

// AddUser makes a user who may sign in with a token; "" means that nobody does as that user.
func (s *Server) AddUser(name, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &user{id: s.id(), name: name, state: "active"}
	s.users = append(s.users, u)
	if token != "" {
		s.tokens[token] = u
	}
}

// SetToken ends a user's tokens, and gives out another one.
func (s *Server) SetToken(name, token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.user(name)
	maps.DeleteFunc(s.tokens, func(_ string, of *user) bool { return of == u })
	s.tokens[token] = u
}

// Limit gives a token no more than these scopes. Nothing is refused for it; it is told who asks.
func (s *Server) Limit(token string, scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scopes[token] = scopes
}

// Block keeps a user from doing anything, and leaves the memberships.
func (s *Server) Block(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user(name).state = "blocked"
}

// AddMember makes a user a member of a group or a project, by its whole path.
func (s *Server) AddMember(path, name string, level int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups[path] == nil {
		s.groups[path] = map[int64]int{}
	}
	s.groups[path][s.user(name).id] = level
}

// Fail has the next requests end so, one after the other.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Asked are the requests so far, as "METHOD /path?query" below /api/v4.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func (s *Server) user(name string) *user {
	for _, u := range s.users {
		if strings.EqualFold(u.name, name) {
			return u
		}
	}
	s.tb.Errorf("gitlabtest: there is no user %q", name)
	return &user{}
}

// level is what a user may do: the most that a membership of the project, or of a group above it, gives.
func (s *Server) level(path string, id int64) int {
	most := 0
	for path != "" {
		most = max(most, s.groups[path][id])
		path = path[:max(strings.LastIndex(path, "/"), 0)]
	}
	return most
}

func (s *Server) id() int64 {
	s.last++
	return s.last
}

// tick is a new id and the time now.
func (s *Server) tick() (int64, time.Time) {
	s.now = s.clock()
	return s.id(), s.now
}

// RoundTrip answers a request without a connection, for tests in which time is made.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	out := httptest.NewRecorder()
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = in.URL.RequestURI()
	s.serve(out, in)
	_ = in.Body.Close()
	resp := out.Result()
	resp.Request = r
	return resp, nil
}

// serve keeps a token that is not known out, and carries faults out.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.repositories() && strings.Contains(r.URL.Path, ".git/") {
		s.serveGit(w, r)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/api/v4"))
	if len(s.faults) > 0 {
		f := s.faults[0]
		s.faults = s.faults[1:]
		s.fail(w, r, f)
		return
	}
	s.answer(w, r)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("Private-Token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	u := s.tokens[token]
	if u == nil || u.state != "active" {
		refuse(w, http.StatusUnauthorized, "401 Unauthorized")
		return
	}
	s.mux.ServeHTTP(w, r.WithContext(as(r.Context(), u)))
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, f Fault) {
	out := httptest.NewRecorder()
	if f.After || f.Status == 0 {
		s.answer(out, r)
	}
	if f.Status == 0 {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(out.Body.Len()))
		w.WriteHeader(out.Code)
		_, _ = w.Write(out.Body.Bytes()[:out.Body.Len()/2])
		return
	}
	for name, values := range f.Header {
		w.Header()[name] = values
	}
	if f.Body == "" {
		refuse(w, f.Status, fmt.Sprintf("%d %s", f.Status, http.StatusText(f.Status)))
		return
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(f.Body))
}

// document is a JSON object.
type document map[string]any

func refuse(w http.ResponseWriter, status int, message any) {
	write(w, status, document{"message": message})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// page cuts a list, and says in the headers where it goes on.
func page[T any](w http.ResponseWriter, r *http.Request, all []T) []T {
	number := func(name string, usual int) int {
		n, err := strconv.Atoi(r.FormValue(name))
		if err != nil || n < 1 {
			return usual
		}
		return n
	}
	p, n := number("page", 1), min(number("per_page", 20), 100)
	from, to := min((p-1)*n, len(all)), min(p*n, len(all))
	h := w.Header()
	h.Set("X-Page", strconv.Itoa(p))
	h.Set("X-Per-Page", strconv.Itoa(n))
	h.Set("X-Total", strconv.Itoa(len(all)))
	h.Set("X-Next-Page", "")
	if to < len(all) {
		h.Set("X-Next-Page", strconv.Itoa(p+1))
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(p+1))
		h.Set("Link", fmt.Sprintf(`<http://%s%s?%s>; rel="next"`, r.Host, r.URL.EscapedPath(), q.Encode()))
	}
	return append([]T{}, all[from:to]...)
}
