package devforge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
)

// Handler serves git, the API and the pages.
func (f *Forge) Handler() http.Handler {
	r := chi.NewRouter()
	r.Post("/api/graphql", f.graphql)
	r.Route("/api/v3", func(r chi.Router) {
		f.appRoutes(r)
		r.Group(f.userRoutes)
	})
	r.HandleFunc("/{owner}/{repo}.git/*", func(w http.ResponseWriter, req *http.Request) {
		f.serveGit(w, req, chi.URLParam(req, "owner"), chi.URLParam(req, "repo"), chi.URLParam(req, "*"))
	})
	f.pages(r)
	return r
}

// userRoutes are what is asked as a user.
func (f *Forge) userRoutes(r chi.Router) {
	r.Use(f.authenticated)
	r.Get("/user", func(w http.ResponseWriter, req *http.Request) { f.locked(w, req, f.getUser) })
	r.Route("/repos/{owner}/{repo}", func(r chi.Router) {
		get := func(path string, h handler) { r.Get(path, f.handle(h)) }
		post := func(path string, h handler) { r.Post(path, f.handle(h)) }
		get("/", f.getRepo)
		get("/pulls", f.listPulls)
		post("/pulls", f.createPull)
		get("/pulls/{n}", f.getPull)
		r.Patch("/pulls/{n}", f.handle(f.editPull))
		r.Put("/pulls/{n}/merge", f.handle(f.merge))
		get("/pulls/{n}/reviews", f.listReviews)
		post("/pulls/{n}/reviews", f.createReview)
		r.Put("/pulls/{n}/reviews/{id}/dismissals", f.handle(f.dismissReview))
		r.Put("/issues/{n}/lock", f.handle(f.setLocked(true)))
		r.Delete("/issues/{n}/lock", f.handle(f.setLocked(false)))
		get("/issues/{n}/comments", f.listComments)
		get("/issues/comments", f.listAllComments)
		post("/issues/{n}/comments", f.createComment)
		r.Patch("/issues/comments/{id}", f.handle(f.editComment))
		r.Delete("/issues/comments/{id}", f.handle(f.deleteComment))
		post("/issues/comments/{id}/reactions", f.react)
		post("/statuses/{sha}", f.createStatus)
		get("/commits/{sha}/statuses", f.listStatuses)
		get("/commits/{sha}/status", f.combinedStatus)
		get("/commits/{sha}/check-runs", f.checkRuns)
		get("/branches/*", f.getBranch)
		get("/rules/branches/*", f.getRules)
		get("/git/ref/heads/*", f.getRef)
		r.Delete("/git/refs/heads/*", f.handle(f.deleteRef))
		get("/collaborators/{user}/permission", f.permission)
		get("/hooks", f.listHooks)
		post("/hooks", f.createHook)
		r.Patch("/hooks/{id}", f.handle(f.editHook))
		r.Delete("/hooks/{id}", f.handle(f.deleteHook))
		post("/hooks/{id}/pings", f.pingHook)
		get("/hooks/{id}/deliveries", f.listDeliveries)
	})
}

// call is one request of the API, with f.mu held.
type call struct {
	req   *http.Request
	user  *user
	repo  *repository
	query func(string) string
}

// answer is what the API says.
type answer struct {
	status int
	body   any
	link   string
}

type handler func(call) (answer, error)

// apiError is an error as GitHub writes it.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

func fail(status int, format string, args ...any) (answer, error) {
	return answer{}, &apiError{status, fmt.Sprintf(format, args...)}
}

func (f *Forge) who(req *http.Request) *user {
	if in := f.granted(req); in != nil {
		return f.users[in.app.login()]
	}
	login, password, basic := req.BasicAuth()
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	for _, u := range f.users {
		switch {
		case basic && (u.password == password || u.token == password) && (u.login == login || login == "x-access-token" && u.token == password):
			return u
		case !basic && token != "" && (strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token")) && u.token == token:
			return u
		}
	}
	return nil
}

func (f *Forge) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		f.mu.Lock()
		u, g := f.who(req), f.grantOf(req)
		f.mu.Unlock()
		if u == nil {
			write(w, answer{status: http.StatusUnauthorized, body: map[string]any{"message": "Bad credentials"}})
			return
		}
		if g.in != nil && !g.in.suspended.IsZero() {
			write(w, answer{status: http.StatusForbidden, body: map[string]any{"message": "This installation has been suspended"}})
			return
		}
		if g.in != nil && g.reads() && req.Method != http.MethodGet {
			write(w, answer{status: http.StatusForbidden, body: map[string]any{"message": "Resource not accessible by integration"}})
			return
		}
		w.Header().Set("X-RateLimit-Limit", "5000")
		w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(f.count(u)))
		w.Header().Set("X-RateLimit-Resource", "core")
		next.ServeHTTP(w, req)
	})
}

func (f *Forge) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) { f.locked(w, req, h) }
}

func (f *Forge) locked(w http.ResponseWriter, req *http.Request, h handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := call{req: req, user: f.who(req), query: req.URL.Query().Get}
	if owner := chi.URLParam(req, "owner"); owner != "" {
		if c.repo = f.repos[owner+"/"+chi.URLParam(req, "repo")]; c.repo == nil || f.beyond(req, c.repo) || c.repo.hidden(c.user) {
			write(w, answer{status: http.StatusNotFound, body: map[string]any{"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}})
			return
		}
	}
	a, err := h(c)
	var api *apiError
	switch {
	case errors.As(err, &api):
		a = answer{status: api.status, body: map[string]any{"message": api.message, "documentation_url": "https://docs.github.com/rest"}}
	case errors.Is(err, errNotFound):
		a = answer{status: http.StatusNotFound, body: map[string]any{"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}}
	case err != nil:
		f.log.Error("api", "path", req.URL.Path, "err", err)
		a = answer{status: http.StatusInternalServerError, body: map[string]any{"message": err.Error()}}
	}
	if !unchanged(w, c, a) {
		write(w, a)
	}
}

func write(w http.ResponseWriter, a answer) {
	if a.link != "" {
		w.Header().Set("Link", a.link)
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

func (c call) decode(v any) error {
	raw, err := io.ReadAll(io.LimitReader(c.req.Body, 4<<20))
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return &apiError{http.StatusBadRequest, "Problems parsing JSON"}
	}
	return nil
}

func (c call) pull() (*pull, error) {
	n, err := strconv.Atoi(chi.URLParam(c.req, "n"))
	if err != nil || n < 1 || n > len(c.repo.pulls) {
		return nil, errNotFound
	}
	return c.repo.pulls[n-1], nil
}

func (c call) needsWrite() error {
	if !c.repo.mayWrite(c.user.login) {
		return &apiError{http.StatusForbidden, "Must have write permission"}
	}
	return nil
}

func page[T any](f *Forge, c call, all []T) ([]T, string) {
	size, _ := strconv.Atoi(c.query("per_page"))
	if size < 1 {
		size = 30
	}
	size = min(size, 100)
	n, _ := strconv.Atoi(c.query("page"))
	n = max(n, 1)
	from := min((n-1)*size, len(all))
	to := min(from+size, len(all))
	link := ""
	if to < len(all) {
		u := *c.req.URL
		q := u.Query()
		q.Set("page", strconv.Itoa(n+1))
		u.RawQuery = q.Encode()
		link = fmt.Sprintf(`<%s%s>; rel="next"`, f.url, u.RequestURI())
	}
	return all[from:to], link
}

func (f *Forge) getUser(c call) (answer, error) {
	if f.granted(c.req) != nil {
		return fail(http.StatusForbidden, "Resource not accessible by integration")
	}
	return answer{body: f.ownUserJSON(c.user)}, nil
}

func (f *Forge) getRepo(c call) (answer, error) { return answer{body: f.fullRepoJSON(c)}, nil }

func (f *Forge) createPull(c call) (answer, error) {
	var in struct {
		Title, Head, Base, Body string
		Draft                   bool
	}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	headRepo, ref := c.repo, in.Head
	if owner, branch, ok := strings.Cut(in.Head, ":"); ok {
		ref = branch
		if headRepo = f.repos[owner+"/"+c.repo.name]; headRepo == nil {
			return fail(http.StatusUnprocessableEntity, "Validation Failed: head")
		}
	}
	head, base := f.sha(headRepo, ref), f.sha(c.repo, in.Base)
	if head == "" || base == "" || in.Title == "" {
		return fail(http.StatusUnprocessableEntity, "Validation Failed: title, head and base are needed")
	}
	p := &pull{
		id: f.nextID(), number: len(c.repo.pulls) + 1, title: in.Title, body: in.Body, author: c.user.login, state: "open",
		draft: in.Draft, headRepo: headRepo, headRef: ref, headSHA: head, baseRef: in.Base, baseSHA: base, created: now(), updated: now(),
	}
	c.repo.pulls = append(c.repo.pulls, p)
	f.headRefUpdate(c.repo, p)
	f.emitPull(c.repo, p, "opened", c.user.login, nil)
	return answer{status: http.StatusCreated, body: f.pullJSON(c.repo, p)}, nil
}

func (f *Forge) getPull(c call) (answer, error) {
	p, err := c.pull()
	if err != nil {
		return answer{}, err
	}
	told := f.pullJSON(c.repo, p)
	p.judged = [2]string{p.baseSHA, p.headSHA}
	return answer{body: told}, nil
}

func (f *Forge) editPull(c call) (answer, error) {
	p, err := c.pull()
	if err != nil {
		return answer{}, err
	}
	if err := c.needsWrite(); err != nil {
		return answer{}, err
	}
	var in struct{ Title, Body, State, Base *string }
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	p.updated = now()
	changes := map[string]any{}
	if in.Title != nil && *in.Title != p.title {
		changes["title"] = map[string]any{"from": p.title}
		p.title = *in.Title
	}
	if in.Body != nil && *in.Body != p.body {
		changes["body"] = map[string]any{"from": p.body}
		p.body = *in.Body
	}
	if in.Base != nil && *in.Base != p.baseRef {
		if f.sha(c.repo, *in.Base) == "" {
			return fail(http.StatusUnprocessableEntity, "Validation Failed: base")
		}
		changes["base"] = map[string]any{"ref": map[string]any{"from": p.baseRef}, "sha": map[string]any{"from": p.baseSHA}}
		p.baseRef = *in.Base
	}
	if len(changes) > 0 {
		f.emitPull(c.repo, p, "edited", c.user.login, map[string]any{"changes": changes})
	}
	if in.State != nil {
		f.setState(c.repo, p, *in.State, c.user.login)
	}
	return answer{body: f.pullJSON(c.repo, p)}, nil
}

func (f *Forge) setState(r *repository, p *pull, state, by string) {
	if p.state == state || p.merged {
		return
	}
	p.state, p.updated = state, now()
	action := "reopened"
	p.closed = time.Time{}
	if state == "closed" {
		action, p.closed = "closed", now()
	}
	f.emitPull(r, p, action, by, nil)
}

func (f *Forge) listReviews(c call) (answer, error) {
	p, err := c.pull()
	if err != nil {
		return answer{}, err
	}
	out := []any{}
	for _, r := range p.reviews {
		out = append(out, f.reviewJSON(c.repo, p, r))
	}
	some, link := page(f, c, out)
	return answer{body: some, link: link}, nil
}

func (f *Forge) createReview(c call) (answer, error) {
	p, err := c.pull()
	if err != nil {
		return answer{}, err
	}
	var in struct{ Event, Body string }
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	state := map[string]string{"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}[in.Event]
	if state == "" {
		return fail(http.StatusUnprocessableEntity, "Validation Failed: event")
	}
	if state != "COMMENTED" && c.user.login == p.author {
		return fail(http.StatusUnprocessableEntity, "Can not approve your own pull request")
	}
	v := &review{id: f.nextID(), Author: c.user.login, State: state, body: in.Body, at: now(), sha: p.headSHA}
	p.reviews = append(p.reviews, v)
	return answer{body: f.reviewJSON(c.repo, p, v)}, nil
}

func (f *Forge) createStatus(c call) (answer, error) {
	if err := c.needsWrite(); err != nil {
		return answer{}, err
	}
	var in struct {
		State, Context, Description string
		TargetURL                   string `json:"target_url"`
	}
	in.Context = "default"
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	sha := chi.URLParam(c.req, "sha")
	if _, err := f.in(c.repo, "cat-file", "-e", sha+"^{commit}"); err != nil {
		return fail(http.StatusUnprocessableEntity, "No commit found for SHA: %s", sha)
	}
	if !slices.Contains([]string{"error", "failure", "pending", "success"}, in.State) || utf8.RuneCountInString(in.Description) > 140 {
		return fail(http.StatusUnprocessableEntity, "Validation Failed")
	}
	s := &status{id: f.nextID(), Context: in.Context, State: in.State, Desc: in.Description, URL: in.TargetURL, creator: c.user.login, at: now()}
	c.repo.statuses[sha] = append(c.repo.statuses[sha], s)
	return answer{status: http.StatusCreated, body: f.statusJSON(c.repo, sha, s)}, nil
}

func (f *Forge) listStatuses(c call) (answer, error) {
	sha := chi.URLParam(c.req, "sha")
	out := []any{}
	for _, s := range slices.Backward(c.repo.statuses[sha]) {
		out = append(out, f.statusJSON(c.repo, sha, s))
	}
	some, link := page(f, c, out)
	return answer{body: some, link: link}, nil
}

func (f *Forge) permission(c call) (answer, error) {
	login := chi.URLParam(c.req, "user")
	if f.users[login] == nil {
		return answer{}, errNotFound
	}
	p := c.repo.permissions[login]
	if p == "" {
		p = "read"
	}
	return answer{body: map[string]any{"permission": p, "role_name": p, "user": f.collaboratorJSON(login, p)}}, nil
}
