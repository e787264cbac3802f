package gitea_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitea"
	"github.com/tidegate/tidegate/vcs/gitea/giteatest"
)

// described compares each request with the server's own description of its API before it is sent.
type described struct {
	*testing.T
	router routers.Router
	lower  bool // the newest servers describe Do in lower case
	mu     sync.Mutex
	asked  map[string]bool
}

func newDescribed(t *testing.T) *described {
	t.Helper()
	raw, err := giteatest.Swagger()
	must(t, err)
	var old openapi2.T
	must(t, json.Unmarshal(raw, &old))
	doc, err := openapi2conv.ToV3(&old)
	must(t, err)
	doc.Servers = openapi3.Servers{{URL: "/api/v1"}}
	router, err := gorillamux.NewRouter(doc)
	must(t, err)
	return &described{T: t, router: router, lower: doc.Components.Schemas["MergePullRequestOption"].Value.Properties["do"] != nil, asked: map[string]bool{}}
}

func (d *described) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	d.check(req, body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	return http.DefaultTransport.RoundTrip(req)
}

func (d *described) check(req *http.Request, body []byte) {
	if d.lower { // all of them take it as the SDK has it
		body = bytes.Replace(body, []byte(`"Do":`), []byte(`"do":`), 1)
	}
	plain := req.Clone(req.Context())
	plain.URL = &url.URL{Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery}
	plain.Body, plain.GetBody = io.NopCloser(bytes.NewReader(body)), nil
	// The SDK writes names as they go over the wire, which net/http does not look up.
	plain.Header = http.Header{}
	for name, values := range req.Header {
		plain.Header[http.CanonicalHeaderKey(name)] = values
	}
	route, path, err := d.router.FindRoute(plain)
	if err != nil {
		d.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
		return
	}
	d.mu.Lock()
	d.asked[req.Method+" "+route.Path] = true
	d.mu.Unlock()
	in := &openapi3filter.RequestValidationInput{
		Request: plain, PathParams: path, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if err := openapi3filter.ValidateRequest(req.Context(), in); err != nil {
		d.Errorf("%s %s: %v", req.Method, route.Path, err)
	}
	whole := []string{"/repos/{owner}/{repo}/issues/{index}/comments", "/repos/{owner}/{repo}/branch_protections"}
	// The description forbids nothing that it does not name; the server does not look at it, either.
	for name := range req.URL.Query() {
		// The SDK asks for a page of each list, also of those that have none.
		if (name == "page" || name == "limit") && slices.Contains(whole, route.Path) {
			continue
		}
		if route.Operation.Parameters.GetByInAndName("query", name) == nil {
			d.Errorf("%s %s has no parameter %q", req.Method, route.Path, name)
		}
	}
	if len(body) == 0 {
		return
	}
	var fields map[string]json.RawMessage
	must(d, json.Unmarshal(body, &fields))
	known := route.Operation.RequestBody.Value.Content.Get("application/json").Schema.Value.Properties
	for name := range fields {
		if known[name] == nil {
			d.Errorf("%s %s takes no field %q", req.Method, route.Path, name)
		}
	}
}

// TestSwagger: what the client asks for is in the server's description of its API.
func TestSwagger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "described")
	d := newDescribed(t)
	c, ctx, pull := w.client(t, gitea.Config{HTTP: d}), t.Context(), w.pull(t)
	w.review(t, "raj", "approve")
	made, err := c.CreateComment(ctx, pull, "plan")
	must(t, err)
	for name, do := range map[string]func() error{
		"Pull":        func() error { return second(c.Pull(ctx, pull.Repo, 1)) },
		"Comments":    func() error { return second(c.Comments(ctx, pull, time.Now().Add(-time.Hour))) },
		"EditComment": func() error { return c.EditComment(ctx, pull, made.ID, "edited") },
		"SetStatus": func() error {
			return c.SetStatus(ctx, pull.Repo, w.head, vcs.Status{Context: "x", State: vcs.Failure, URL: w.Server.URL})
		},
		"Approval":      func() error { return second(c.Approval(ctx, pull)) },
		"Repo":          func() error { return second(c.Repo(ctx, owner, w.repo)) },
		"News":          func() error { return second(c.News(ctx, pull.Repo, time.Now().Add(-time.Hour), nil)) },
		"Login":         func() error { return second(c.Login(ctx)) },
		"SetWebhook":    func() error { return c.SetWebhook(ctx, pull.Repo, 0, "https://x.example.com/", []byte("secret")) },
		"React":         func() error { return c.React(ctx, pull, made.ID) },
		"DeleteComment": func() error { return c.DeleteComment(ctx, pull, 1<<40) },
		"Fold":          func() error { return c.Fold(ctx, pull, []vcs.Comment{made}) },
	} {
		if err := do(); err != nil {
			t.Errorf("%s() error = %v", name, err)
		}
	}
	w.rule(t, map[string]any{"enable_status_check": true, "required_approvals": 1, "block_on_rejected_reviews": true})
	other := w.another(t)
	if can, err := c.Mergeable(ctx, other, oursAlone); err != nil || can.State != vcs.MergeBlocked {
		t.Errorf("Mergeable() = %+v, %v, want it blocked", can, err)
	}
	w.protect(t)
	w.merge(t, c, other, vcs.Merging{Method: vcs.MergeSquash})
	w.merge(t, c, other, vcs.Merging{DeleteBranch: true})
	w.merge(t, c, w.another(t), vcs.Merging{DeleteBranch: true})
	hooks, err := c.Webhooks(ctx, pull.Repo)
	must(t, err)
	must(t, c.SetWebhook(ctx, pull.Repo, hooks[0].ID, "https://y.example.com/", []byte("secret")))
	if err := c.SetStatus(ctx, pull.Repo, strings.Repeat("0", 40), vcs.Status{Context: "x", State: vcs.Success}); err == nil {
		t.Error("SetStatus(no such commit) = nil error")
	}
	want := []string{
		"DELETE /repos/{owner}/{repo}/branches/{branch}",
		"DELETE /repos/{owner}/{repo}/hooks/{id}",
		"DELETE /repos/{owner}/{repo}/issues/comments/{id}",
		"GET /repos/{owner}/{repo}",
		"GET /repos/{owner}/{repo}/branch_protections",
		"GET /repos/{owner}/{repo}/branches/{branch}",
		"GET /repos/{owner}/{repo}/collaborators/{collaborator}/permission",
		"GET /repos/{owner}/{repo}/commits/{ref}/statuses",
		"GET /repos/{owner}/{repo}/git/commits/{sha}",
		"GET /repos/{owner}/{repo}/hooks",
		"GET /repos/{owner}/{repo}/issues/comments",
		"GET /repos/{owner}/{repo}/issues/comments/{id}",
		"GET /repos/{owner}/{repo}/issues/{index}/comments",
		"GET /repos/{owner}/{repo}/issues/{index}/dependencies",
		"GET /repos/{owner}/{repo}/pulls",
		"GET /repos/{owner}/{repo}/pulls/{index}",
		"GET /repos/{owner}/{repo}/pulls/{index}/reviews",
		"GET /user",
		"PATCH /repos/{owner}/{repo}/issues/comments/{id}",
		"POST /repos/{owner}/{repo}/hooks",
		"POST /repos/{owner}/{repo}/issues/comments/{id}/reactions",
		"POST /repos/{owner}/{repo}/issues/{index}/comments",
		"POST /repos/{owner}/{repo}/pulls/{index}/merge",
		"POST /repos/{owner}/{repo}/statuses/{sha}",
	}
	var got []string
	for ask := range d.asked {
		got = append(got, ask)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was asked for differs (-want +got):\n%s", diff)
	}
}
