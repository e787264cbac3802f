package github_test

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
	"github.com/tidegate/tidegate/vcs/vcstest"
)

const (
	botToken = "ghp_nobody-may-see-this-token"
	bot      = "tidegate-bot"
)

// fake is one repository with one pull request on a server that answers as GitHub's documentation
// says it does.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	now      time.Time
	last     int64
	heads    []string
	closed   bool
	locked   bool
	roles    map[string]string
	comments []*fakeComment
	reviews  []*fakeReview
	statuses map[string]map[string]map[string]any
}

type fakeComment struct {
	id           int64
	author, body string
	at           time.Time
	folded       bool
	reactions    map[string]int
}

type fakeReview struct {
	id          int64
	user, state string
}

func newFake(tb testing.TB) *fake {
	tb.Helper()
	f := &fake{
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), last: 1000, heads: []string{sha("head 0")},
		roles:    map[string]string{"ana": "write", "raj": "maintain", "root": "admin", "eve": "triage", "mallory": "none"},
		statuses: map[string]map[string]map[string]any{},
	}
	mux := http.NewServeMux()
	repo := "/api/v3/repos/acme/infra"
	mux.HandleFunc("GET "+repo+"/pulls/{n}", f.getPull)
	mux.HandleFunc("GET "+repo+"/pulls/{n}/reviews", f.getReviews)
	mux.HandleFunc("GET "+repo+"/issues/{n}/comments", f.getComments)
	mux.HandleFunc("POST "+repo+"/issues/{n}/comments", f.postComment)
	mux.HandleFunc("PATCH "+repo+"/issues/comments/{id}", f.patchComment)
	mux.HandleFunc("DELETE "+repo+"/issues/comments/{id}", f.deleteComment)
	mux.HandleFunc("POST "+repo+"/issues/comments/{id}/reactions", f.postReaction)
	mux.HandleFunc("POST "+repo+"/statuses/{sha}", f.postStatus)
	mux.HandleFunc("GET "+repo+"/collaborators/{user}/permission", f.getPermission)
	mux.HandleFunc("GET /api/v3/user", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, map[string]any{"login": bot}) })
	mux.HandleFunc("POST /api/graphql", f.postGraphQL)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusNotFound, message("Not Found")) })
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer "+botToken {
			answer(w, http.StatusUnauthorized, message("Bad credentials"))
			return
		}
		mux.ServeHTTP(w, r)
	}))
	tb.Cleanup(f.Close)
	return f
}

func sha(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func message(s string) map[string]any { return map[string]any{"message": s} }

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (f *fake) tick() (int64, time.Time) {
	f.last++
	if f.last%3 == 0 { // several things happen within a second
		f.now = f.now.Add(time.Second)
	}
	return f.last, f.now
}

func (f *fake) missing(w http.ResponseWriter, r *http.Request) bool {
	if n := r.PathValue("n"); n != "" && n != "12" {
		answer(w, http.StatusNotFound, message("Not Found"))
		return true
	}
	return false
}

func (f *fake) getPull(w http.ResponseWriter, r *http.Request) {
	if f.missing(w, r) {
		return
	}
	state := "open"
	if f.closed {
		state = "closed"
	}
	repo := map[string]any{
		"id": 7, "name": "infra", "full_name": "acme/infra", "owner": map[string]any{"login": "acme"},
		"html_url": f.URL + "/acme/infra", "clone_url": f.URL + "/acme/infra.git",
	}
	answer(w, http.StatusOK, map[string]any{
		"number": 12, "state": state, "merged": false, "draft": true, "title": "Grow the <cluster>",
		"user": map[string]any{"login": "ana"}, "html_url": f.URL + "/acme/infra/pull/12",
		"head": map[string]any{"ref": "grow", "sha": f.heads[len(f.heads)-1], "repo": repo},
		"base": map[string]any{"ref": "main", "sha": sha("base"), "repo": repo},
	})
}

func page[T any](f *fake, w http.ResponseWriter, r *http.Request, all []T) []T {
	n, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
	p, _ := strconv.Atoi(r.URL.Query().Get("page"))
	from, to := min((p-1)*n, len(all)), min(p*n, len(all))
	if to < len(all) {
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(p+1))
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, f.URL, r.URL.Path, q.Encode()))
	}
	return all[from:to]
}

func (f *fake) asComment(c *fakeComment) map[string]any {
	return map[string]any{
		"id": c.id, "node_id": fmt.Sprintf("IC_%d", c.id), "body": c.body, "user": map[string]any{"login": c.author},
		"created_at": c.at.Format(time.RFC3339), "updated_at": c.at.Format(time.RFC3339),
		"html_url": fmt.Sprintf("%s/acme/infra/pull/12#issuecomment-%d", f.URL, c.id),
	}
}

func (f *fake) getComments(w http.ResponseWriter, r *http.Request) {
	if f.missing(w, r) {
		return
	}
	since, _ := time.Parse(time.RFC3339, r.URL.Query().Get("since"))
	all := []map[string]any{}
	for _, c := range f.comments {
		if !c.at.Before(since) {
			all = append(all, f.asComment(c))
		}
	}
	answer(w, http.StatusOK, page(f, w, r, all))
}

func (f *fake) add(author, body string) *fakeComment {
	id, at := f.tick()
	c := &fakeComment{id: id, author: author, body: body, at: at, reactions: map[string]int{}}
	f.comments = append(f.comments, c)
	return c
}

func body(r *http.Request) map[string]any {
	got := map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&got)
	return got
}

func (f *fake) postComment(w http.ResponseWriter, r *http.Request) {
	text, _ := body(r)["body"].(string)
	switch {
	case f.missing(w, r):
	case f.locked:
		answer(w, http.StatusForbidden, message("Unable to create comment because issue is locked."))
	case text == "" || utf8.RuneCountInString(text) > 65536:
		answer(w, http.StatusUnprocessableEntity, map[string]any{
			"message": "Validation Failed",
			"errors":  []map[string]string{{"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": "Body is too long (maximum is 65536 characters)"}},
		})
	default:
		answer(w, http.StatusCreated, f.asComment(f.add(bot, text)))
	}
}

func (f *fake) comment(w http.ResponseWriter, r *http.Request) *fakeComment {
	for _, c := range f.comments {
		if fmt.Sprint(c.id) == r.PathValue("id") {
			return c
		}
	}
	answer(w, http.StatusNotFound, message("Not Found"))
	return nil
}

func (f *fake) patchComment(w http.ResponseWriter, r *http.Request) {
	if c := f.comment(w, r); c != nil {
		c.body, _ = body(r)["body"].(string)
		answer(w, http.StatusOK, f.asComment(c))
	}
}

func (f *fake) deleteComment(w http.ResponseWriter, r *http.Request) {
	if c := f.comment(w, r); c != nil {
		f.comments = slices.DeleteFunc(f.comments, func(o *fakeComment) bool { return o == c })
		w.WriteHeader(http.StatusNoContent)
	}
}

func (f *fake) postReaction(w http.ResponseWriter, r *http.Request) {
	if c := f.comment(w, r); c != nil {
		what, _ := body(r)["content"].(string)
		c.reactions[what] = 1 // one of a kind for each user
		answer(w, http.StatusCreated, map[string]any{"id": 1, "content": what})
	}
}

func (f *fake) postStatus(w http.ResponseWriter, r *http.Request) {
	got, at := body(r), r.PathValue("sha")
	description, _ := got["description"].(string)
	if !slices.Contains(f.heads, at) || utf8.RuneCountInString(description) > 140 {
		answer(w, http.StatusUnprocessableEntity, message("No commit found for SHA, or description is too long"))
		return
	}
	if f.statuses[at] == nil {
		f.statuses[at] = map[string]map[string]any{}
	}
	name, _ := got["context"].(string)
	f.statuses[at][name] = got
	answer(w, http.StatusCreated, got)
}

func (f *fake) getPermission(w http.ResponseWriter, r *http.Request) {
	role, known := f.roles[r.PathValue("user")]
	if !known {
		answer(w, http.StatusNotFound, message("Not Found"))
		return
	}
	base := map[string]string{"maintain": "write", "triage": "read"}[role]
	if base == "" {
		base = role
	}
	answer(w, http.StatusOK, map[string]any{"permission": base, "role_name": role})
}

func (f *fake) getReviews(w http.ResponseWriter, r *http.Request) {
	all := []map[string]any{}
	for _, v := range f.reviews {
		all = append(all, map[string]any{"id": v.id, "state": v.state, "user": map[string]any{"login": v.user}})
	}
	answer(w, http.StatusOK, page(f, w, r, all))
}

func (f *fake) postGraphQL(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Query     string
		Variables map[string]string
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	data, problems := map[string]any{}, []map[string]any{}
	for _, m := range regexp.MustCompile(`(\w+): minimizeComment\(input: \{subjectId: \$(\w+), classifier: OUTDATED\}\)`).FindAllStringSubmatch(q.Query, -1) {
		i := slices.IndexFunc(f.comments, func(c *fakeComment) bool { return fmt.Sprintf("IC_%d", c.id) == q.Variables[m[2]] })
		if i < 0 {
			data[m[1]] = nil
			problems = append(problems, map[string]any{"type": "NOT_FOUND", "path": []string{m[1]}, "message": "Could not resolve to a node"})
			continue
		}
		f.comments[i].folded = true
		data[m[1]] = map[string]any{"minimizedComment": map[string]any{"isMinimized": true}}
	}
	got := map[string]any{"data": data}
	if len(problems) > 0 {
		got["errors"] = problems
	}
	answer(w, http.StatusOK, got)
}

// kit brings a client of the fake for the exercise.
func (f *fake) kit(tb testing.TB) vcstest.Kit {
	tb.Helper()
	u, err := url.Parse(f.URL)
	if err != nil {
		tb.Fatal(err)
	}
	id := vcs.RepoID{Forge: u.Host, ID: 7}
	return vcstest.Kit{
		Forge: client(tb, github.Config{APIURL: f.URL + "/api/v3"}),
		Pull: vcs.Pull{
			Repo:   vcs.Repo{ID: id, Owner: "acme", Name: "infra", CloneURL: f.URL + "/acme/infra.git", URL: f.URL + "/acme/infra"},
			Number: 12, Title: "Grow the <cluster>", Author: "ana", URL: f.URL + "/acme/infra/pull/12", State: vcs.Open, Draft: true,
			Head: vcs.Branch{Ref: "grow", SHA: sha("head 0"), Repo: id}, Base: vcs.Branch{Ref: "main", SHA: sha("base"), Repo: id},
			HeadRef: "refs/pull/12/head",
		},
		Bot: bot, Author: "ana", Writer: "raj", Admin: "root", Reader: "eve", Stranger: "mallory",
		Comment: func(_ testing.TB, user, body string) int64 {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.add(user, body).id
		},
		Conversation: f.conversation, Statuses: f.statusesOf,
		Push: func(testing.TB) string {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.heads = append(f.heads, sha(fmt.Sprint("head ", len(f.heads))))
			return f.heads[len(f.heads)-1]
		},
		Close: func(testing.TB) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.closed = true
		},
		Lock: func(_ testing.TB, locked bool) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.locked = locked
		},
		Review: f.review, Dismiss: func(_ testing.TB, id int64) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, r := range f.reviews {
				if r.id == id {
					r.state = "DISMISSED"
				}
			}
		},
	}
}

func (f *fake) review(_ testing.TB, user string, v vcstest.Verdict) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, _ := f.tick()
	state := map[vcstest.Verdict]string{vcstest.Approve: "APPROVED", vcstest.RequestChanges: "CHANGES_REQUESTED", vcstest.Remarks: "COMMENTED"}[v]
	f.reviews = append(f.reviews, &fakeReview{id: id, user: user, state: state})
	return id
}

func (f *fake) conversation(testing.TB) []vcstest.Remark {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []vcstest.Remark
	for _, c := range f.comments {
		all = append(all, vcstest.Remark{ID: c.id, Author: c.author, Body: c.body, Folded: c.folded, Reactions: c.reactions})
	}
	return all
}

func (f *fake) statusesOf(_ testing.TB, at string) map[string]vcs.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]vcs.Status{}
	for name, s := range f.statuses[at] {
		text := func(k string) string { v, _ := s[k].(string); return v }
		all[name] = vcs.Status{Context: name, State: vcs.StatusState(text("state")), Description: text("description"), URL: text("target_url")}
	}
	return all
}

// client makes a client of the config with the bot's token, if there is none.
func client(tb testing.TB, c github.Config) *github.Client {
	tb.Helper()
	if c.Token == nil {
		c.Token = func() (string, error) { return botToken, nil }
	}
	cl, err := github.New(c)
	if err != nil {
		tb.Fatalf("New() error = %v", err)
	}
	return cl
}

func TestExercise(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	vcstest.Exercise(t, f.kit(t))
}

// TestFoldDeleted: a comment that is gone needs no folding, and the others are folded all the same.
func TestFoldDeleted(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	k := f.kit(t)
	f.add(bot, "plan")
	err := client(t, github.Config{APIURL: f.URL + "/api/v3"}).Fold(t.Context(), k.Pull, []vcs.Comment{{Node: "IC_0"}, {Node: fmt.Sprintf("IC_%d", f.comments[0].id)}})
	if err != nil || !f.comments[0].folded {
		t.Errorf("Fold() error = %v and folded the other = %v, want none and true", err, f.comments[0].folded)
	}
	many := make([]vcs.Comment, 121)
	many[0].Node = "IC_0"
	for i := range many[1:] {
		i++
		many[i].Node = fmt.Sprintf("IC_%d", f.add(bot, "plan").id)
	}
	if err := client(t, github.Config{APIURL: f.URL + "/api/v3"}).Fold(t.Context(), k.Pull, many); err != nil {
		t.Errorf("Fold(121) error = %v", err)
	}
	for _, c := range f.comments {
		if !c.folded {
			t.Errorf("comment %d of 121 is not folded", c.id)
		}
	}
}

// TestAuthorNeverApproves is about what a forge should not even offer.
func TestAuthorNeverApproves(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	k := f.kit(t)
	f.review(t, "ana", vcstest.Approve)
	f.review(t, "ANA", vcstest.Approve)
	f.review(t, "", vcstest.Approve)
	f.roles["ANA"] = "write"
	got, err := client(t, github.Config{APIURL: f.URL + "/api/v3"}).Approval(t.Context(), k.Pull)
	if err != nil || got.Approved || len(got.By) != 0 {
		t.Errorf("Approval() = %+v, %v, want the author's own not counted", got, err)
	}
	for range 150 {
		f.review(t, "eve", vcstest.Remarks)
	}
	f.review(t, "raj", vcstest.Approve)
	if got, err := client(t, github.Config{APIURL: f.URL + "/api/v3"}).Approval(t.Context(), k.Pull); err != nil || !got.Approved {
		t.Errorf("Approval() with the approval on the second page = %+v, %v, want it approved", got, err)
	}
}
