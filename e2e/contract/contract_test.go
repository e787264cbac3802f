package contract

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The description is large, and read once.
var loaded = sync.OnceValues(func() (*Contract, error) { //nolint:gochecknoglobals // see above
	return Load(filepath.Join(cmp.Or(os.Getenv("TIDEGATE_CACHE"), filepath.Join("..", "..", ".cache")), "contract"), DotCom)
})

func load(t *testing.T) *Contract {
	t.Helper()
	c, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	permission = "/api/v3/repos/acme/infra/collaborators/ana/permission"
	comments   = "/api/v3/repos/acme/infra/issues/1/comments"
	statuses   = "/api/v3/repos/acme/infra/statuses/0123456789012345678901234567890123456789"
	deciding   = `{"query":"query($owner: String!, $name: String!, $number: Int!) {\n  repository(owner: $owner, name: $name) { pullRequest(number: $number) { reviewDecision } }\n}","variables":{"owner":"acme","name":"infra","number":12}}`
	folding    = `{"query":"mutation($c0: ID!, $c1: ID!) {\n  c0: minimizeComment(input: {subjectId: $c0, classifier: OUTDATED}) { minimizedComment { isMinimized } }\n  c1: minimizeComment(input: {subjectId: $c1, classifier: OUTDATED}) { minimizedComment { isMinimized } }\n}","variables":{"c0":"IC_1","c1":"IC_2"}}`
	allowed    = `{"permission":"write","role_name":"write","user":null}`
)

func TestFront(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		method, path, body string
		status             int
		answer             string
		want               string // a part of what is reported, empty for nothing
	}{
		"right":                   {method: "GET", path: permission, status: 200, answer: allowed},
		"right with a query":      {method: "GET", path: comments + "?per_page=100&page=2", status: 200, answer: `[]`},
		"a described error":       {method: "GET", path: permission, status: 404, answer: `{"message":"Not Found"}`},
		"no answer body":          {method: "DELETE", path: "/api/v3/repos/acme/infra/issues/comments/7", status: 204},
		"not the API":             {method: "GET", path: "/acme/infra/pull/1", status: 200, answer: `{`},
		"GraphQL that folds":      {method: "POST", path: "/api/graphql", body: folding, status: 200, answer: `{}`},
		"only the prefix's start": {method: "GET", path: "/api/v3x", status: 200, answer: `{}`},
		"an exception":            {method: "GET", path: permission, status: 401, answer: `{}`},

		"GraphQL that does":       {method: "POST", path: "/api/graphql", body: `{"query":"mutation { addStar }"}`, status: 200, answer: `{}`, want: "folds nothing"},
		"GraphQL that asks":       {method: "POST", path: "/api/graphql", body: `{"query":"query { viewer { login } }"}`, status: 200, answer: `{}`, want: "the query's variables"},
		"GraphQL about reviews":   {method: "POST", path: "/api/graphql", body: deciding, status: 200, answer: `{}`},
		"GraphQL about more":      {method: "POST", path: "/api/graphql", body: strings.Replace(deciding, "} }", "title } }", 1), status: 200, answer: `{}`, want: "the query is"},
		"a branch with a slash":   {method: "DELETE", path: "/api/v3/repos/acme/infra/git/refs/heads/more/one", status: 204},
		"GraphQL and more":        {method: "POST", path: "/api/graphql", body: strings.Replace(folding, "} }", "} } deleteIssue", 1), status: 200, answer: `{}`, want: "the query is"},
		"GraphQL without an id":   {method: "POST", path: "/api/graphql", body: strings.Replace(folding, "IC_2", "", 1), status: 200, answer: `{}`, want: "no variable c1"},
		"GraphQL by another way":  {method: "GET", path: "/api/graphql", status: 200, answer: `{}`, want: "the description does not know it"},
		"unknown path":            {method: "GET", path: "/api/v3/repos/acme/infra/nothing", status: 404, answer: `{}`, want: "the description does not know it"},
		"unknown method":          {method: "DELETE", path: permission, status: 404, answer: `{}`, want: "the description does not know it"},
		"unknown query parameter": {method: "GET", path: comments + "?perpage=1", status: 200, answer: `[]`, want: `query parameter "perpage"`},
		"wrong query parameter":   {method: "GET", path: comments + "?page=two", status: 200, answer: `[]`, want: "request: "},
		"request without a body":  {method: "POST", path: comments, status: 422, answer: `{"message":"m","documentation_url":"u"}`, want: "request: "},
		"request of wrong type":   {method: "POST", path: comments, body: `{"body":7}`, status: 422, answer: `{"message":"m","documentation_url":"u"}`, want: "request: "},
		"unknown field":           {method: "POST", path: comments, body: `{"body":"b","bodi":"b"}`, status: 410, answer: `{"message":"m"}`, want: `field "bodi"`},
		"a state of no status":    {method: "POST", path: statuses, body: `{"state":"running"}`, status: 201, answer: `{}`, want: "request: "},
		"answer without a field":  {method: "GET", path: permission, status: 200, answer: `{"permission":"write"}`, want: "answer: "},
		"answer of wrong type":    {method: "GET", path: comments, status: 200, answer: `{}`, want: "answer: "},
		"answer is not JSON":      {method: "GET", path: permission, status: 200, answer: `{`, want: "answer: "},
		"unknown status":          {method: "GET", path: permission, status: 418, answer: `{}`, want: "status is not supported"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen string
			next := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				raw, _ := io.ReadAll(req.Body)
				seen = string(raw)
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.answer)
			})
			var got []string
			req := httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, strings.NewReader(tc.body))
			if tc.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			rec := httptest.NewRecorder()
			load(t).Front(next, "/api/v3", func(err error) { got = append(got, err.Error()) }).ServeHTTP(rec, req)
			if seen != tc.body || rec.Code != tc.status || rec.Body.String() != tc.answer {
				t.Errorf("the call did not pass untouched: body %q, answered %d %q", seen, rec.Code, rec.Body)
			}
			switch {
			case tc.want == "" && len(got) > 0:
				t.Errorf("reported %q", got)
			case tc.want != "" && (len(got) != 1 || !strings.Contains(got[0], tc.want) || !strings.HasPrefix(got[0], tc.method+" "+tc.path)):
				t.Errorf("reported %q, want one with %q", got, tc.want)
			}
		})
	}
}

func TestExcused(t *testing.T) {
	t.Parallel()
	c := &Contract{exceptions: []exception{
		{method: "GET", path: "/repos/*/*/odd", why: "a test"},
		{path: "/user", status: 404, why: "a test"},
	}}
	for _, tc := range []struct {
		method, path string
		status       int
		want         bool
	}{
		{"GET", "/repos/acme/infra/odd", 0, true},
		{"GET", "/repos/acme/infra/odd", 200, true},
		{"POST", "/repos/acme/infra/odd", 0, false},
		{"GET", "/repos/acme/infra/odd/x", 0, false},
		{"GET", "/user", 0, false},
		{"GET", "/user", 404, true},
		{"GET", "/user", 200, false},
	} {
		req := httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, nil)
		if _, got := c.excused(req, tc.path, tc.status); got != tc.want {
			t.Errorf("%s %s %d: excused %v, want %v", tc.method, tc.path, tc.status, got, tc.want)
		}
	}
	for _, e := range exceptions() {
		if e.why == "" {
			t.Errorf("the exception %+v has no reason", e)
		}
	}
}

// TestUnknownCall: what a description does not know is excused with the one answer that is told of.
func TestUnknownCall(t *testing.T) {
	t.Parallel()
	c := &Contract{router: load(t).router, exceptions: []exception{
		{status: http.StatusNotFound, path: "/repos/*/*/odd", unknown: true, why: "a test"},
		{status: http.StatusNotFound, path: "/repos/*/*/other", why: "a test"},
	}}
	for _, tc := range []struct {
		path   string
		status int
		want   bool
	}{
		{"/repos/acme/infra/odd", http.StatusNotFound, true},
		{"/repos/acme/infra/odd", http.StatusOK, false},
		{"/repos/acme/infra/other", http.StatusNotFound, false},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.path, nil)
		if err := c.check(req, nil, &tee{status: tc.status}); (err == nil) != tc.want {
			t.Errorf("%s, answered with %d: %v, want excused %v", tc.path, tc.status, err, tc.want)
		}
	}
}

func TestExceptionsOf(t *testing.T) {
	t.Parallel()
	every, older := len(exceptionsOf(DotCom)), len(exceptionsOf(GHES310))
	if older != every+1 || len(exceptionsOf(GHES319)) != every {
		t.Errorf("%d exceptions of GitHub, %d of the older server", every, older)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	got, err := prune([]byte(`{"openapi": "3.0.3", "info": {}, "tags": [], "paths": {
		"/user": {"get": {"$ref": "#/components/schemas/one"}}, "/users": {"$ref": "#/components/schemas/other"},
		"/repos/{owner}/{repo}/pulls/{pull_number}": {}, "/repos/{owner}/{repo}/actions/runs": {}
	}, "components": {"schemas": {"one": {"$ref": "#/components/parameters/two"}, "other": {}}, "parameters": {"two": {"$ref": "#/components/schemas/one"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"components":{"parameters":{"two":{"$ref":"#/components/schemas/one"}},"schemas":{"one":{"$ref":"#/components/parameters/two"}}},` +
		`"info":{},"openapi":"3.0.3","paths":{"/repos/{owner}/{repo}/pulls/{pull_number}":{},"/user":{"get":{"$ref":"#/components/schemas/one"}}}}`
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for _, wrong := range []string{``, `{}`, `{"paths": []}`, `{"paths": {}, "components": 7}`} {
		if _, err := prune([]byte(wrong)); err == nil {
			t.Errorf("%q passed", wrong)
		}
	}
}

func TestLoadWithoutFiles(t *testing.T) {
	t.Parallel()
	if _, err := Load(t.TempDir(), DotCom); err == nil || !strings.Contains(err.Error(), "make test") {
		t.Errorf("got %v, want an error that says how to get the files", err)
	}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("testdata", "issue_comment_created.json"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		event  string
		change func(payload map[string]any)
		want   string // a part of the error, empty for none
	}{
		"right":             {event: "issue_comment", change: func(map[string]any) {}},
		"without sender":    {event: "issue_comment", change: func(p map[string]any) { delete(p, "sender") }, want: "sender"},
		"unknown field":     {event: "issue_comment", change: func(p map[string]any) { p["extra"] = 1 }, want: "extra"},
		"a number as body":  {event: "issue_comment", change: func(p map[string]any) { p["comment"].(map[string]any)["body"] = 7 }, want: "/comment/body"},
		"no date":           {event: "issue_comment", change: func(p map[string]any) { p["comment"].(map[string]any)["created_at"] = "today" }, want: "/comment/created_at"},
		"unknown action":    {event: "issue_comment", change: func(p map[string]any) { p["action"] = "written" }, want: "finding its schema"},
		"without an action": {event: "issue_comment", change: func(p map[string]any) { delete(p, "action") }, want: "finding its schema"},
		"unknown event":     {event: "nothing", change: func(map[string]any) {}, want: "finding its schema"},
		"of another event":  {event: "pull_request", change: func(p map[string]any) { p["action"] = "opened" }, want: "pull_request$opened"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var payload map[string]any
			if err := json.Unmarshal(raw, &payload); err != nil {
				t.Fatal(err)
			}
			tc.change(payload)
			body, err := json.Marshal(payload)
			if err != nil {
				t.Fatal(err)
			}
			err = load(t).Webhook(tc.event, body)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	if err := load(t).Webhook("issue_comment", []byte("{")); err == nil {
		t.Error("half an object passed")
	}
}

// What is excused stands in docs/contracts.md, each with its reason.
func TestExceptionsAreTold(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/contracts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, told, _ := strings.Cut(string(docs), "## Deviations from GitHub's description")
	told, _, _ = strings.Cut(told, "\n## ")
	for _, e := range exceptions() {
		where, answer := cmp.Or(string(e.only), "every"), "any"
		if e.status != 0 {
			answer = strconv.Itoa(e.status)
		}
		call := strings.TrimSpace(e.method + " " + cmp.Or(strings.Replace(e.path, graphQL, "/graphql", 1), "any"))
		row := "| " + where + " | " + call + " | " + answer + " | " + e.why + " |\n"
		if !strings.Contains(told, row) {
			t.Errorf("docs/contracts.md does not say:\n%s", row)
		}
		told = strings.Replace(told, row, "", 1)
	}
	if n := strings.Count(told, "\n|"); n != 2 {
		t.Errorf("docs/contracts.md tells of %d exceptions that are none:\n%s", n-2, told)
	}
}
