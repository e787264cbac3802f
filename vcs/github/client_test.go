package github_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// aPull is a pull request as the API has it. change alters it.
func aPull(change func(pull, head, base map[string]any)) string {
	repo := func(id int, owner string) map[string]any {
		return map[string]any{"id": id, "name": "infra", "full_name": owner + "/infra", "owner": map[string]any{"login": owner}}
	}
	head := map[string]any{"ref": "grow", "sha": strings.Repeat("a", 40), "repo": repo(7, "acme")}
	base := map[string]any{"ref": "main", "sha": strings.Repeat("b", 40), "repo": repo(7, "acme")}
	pull := map[string]any{
		"number": 12, "state": "open", "title": "t", "user": map[string]any{"login": "ana"},
		"html_url": "https://github.com/acme/infra/pull/12", "head": head, "base": base,
	}
	change(pull, head, base)
	raw, _ := json.Marshal(pull)
	return string(raw)
}

func TestPull(t *testing.T) {
	t.Parallel()
	want := func(change func(*vcs.Pull)) *vcs.Pull {
		p := somePull()
		p.Title, p.URL, p.State, p.HeadRef = "t", "https://github.com/acme/infra/pull/12", vcs.Open, "refs/pull/12/head"
		p.Head = vcs.Branch{Ref: "grow", SHA: strings.Repeat("a", 40), Repo: p.Repo.ID}
		p.Base = vcs.Branch{Ref: "main", SHA: strings.Repeat("b", 40), Repo: p.Repo.ID}
		change(&p)
		return &p
	}
	set := func(key string, value any) func(pull, head, base map[string]any) {
		return func(pull, _, _ map[string]any) { pull[key] = value }
	}
	for _, tt := range []struct {
		name   string
		change func(pull, head, base map[string]any)
		want   *vcs.Pull // nil: an error
	}{
		{"open", func(_, _, _ map[string]any) {}, want(func(*vcs.Pull) {})},
		{"closed", set("state", "closed"), want(func(p *vcs.Pull) { p.State = vcs.Closed })},
		{"merged", func(p, _, _ map[string]any) { p["state"], p["merged"] = "closed", true }, want(func(p *vcs.Pull) { p.State = vcs.Merged })},
		{"draft", set("draft", true), want(func(p *vcs.Pull) { p.Draft = true })},
		{"of a user who was deleted", set("user", nil), want(func(p *vcs.Pull) { p.Author = "ghost" })},
		{"from a fork", func(_, h, _ map[string]any) {
			h["repo"] = map[string]any{"id": 8}
		}, want(func(p *vcs.Pull) { p.Head.Repo.ID = 8 })},
		{"from a fork that was deleted", func(_, h, _ map[string]any) { h["repo"] = nil }, want(func(p *vcs.Pull) { p.Head.Repo = vcs.RepoID{} })},
		{"in a repository that was renamed", func(_, _, b map[string]any) {
			b["repo"] = map[string]any{"id": 7, "name": "live", "owner": map[string]any{"login": "acme"}}
		}, want(func(p *vcs.Pull) {
			p.Repo.Name, p.Repo.URL, p.Repo.CloneURL = "live", "https://github.com/acme/live", "https://github.com/acme/live.git"
		})},
		{"of another repository", func(_, _, b map[string]any) { b["repo"].(map[string]any)["id"] = 9 }, nil},
		{"another one", set("number", 13), nil},
		{"a state that is none", set("state", "locked"), nil},
		{"a page elsewhere", set("html_url", "https://evil.example.com/"), nil},
		{"a clone URL elsewhere", func(_, _, b map[string]any) {
			b["repo"].(map[string]any)["clone_url"] = "https://evil.example.com/x.git"
		}, nil},
		{"a head that is no commit", func(_, h, _ map[string]any) { h["sha"] = "main" }, nil},
		{"a base that is no branch", func(_, _, b map[string]any) { b["ref"] = "a..b" }, nil},
	} {
		c := client(t, github.Config{HTTP: &script{steps: []step{reply(http.StatusOK, aPull(tt.change))}}})
		got, err := c.Pull(t.Context(), somePull().Repo, 12)
		if tt.want == nil {
			if !errors.Is(err, vcs.ErrUnusable) && !errors.Is(err, vcs.ErrNotFound) {
				t.Errorf("Pull(%s) = %+v, %v, want an error that it can't be used, or is not there", tt.name, got, err)
			}
			continue
		}
		if diff := cmp.Diff(*tt.want, got); err != nil || diff != "" {
			t.Errorf("Pull(%s) error = %v, differs (-want +got):\n%s", tt.name, err, diff)
		}
		if fork := tt.want.Head.Repo.ID != 7; got.Fork() != fork {
			t.Errorf("Pull(%s).Fork() = %v, want %v", tt.name, got.Fork(), fork)
		}
	}
}

// TestCommentsSince: GitHub's since is about edits, ours about when a comment was made.
func TestCommentsSince(t *testing.T) {
	t.Parallel()
	made := func(id int, at string) string {
		return fmt.Sprintf(`{"id":%d,"created_at":%q,"updated_at":"2026-03-01T15:00:00Z","user":null,"body":"x"}`, id, at)
	}
	s := &script{steps: []step{reply(http.StatusOK, "["+strings.Join([]string{
		made(4, "2026-03-01T13:00:00Z"), made(2, "2026-03-01T12:00:00Z"), made(1, "2026-03-01T11:59:59Z"), made(3, "2026-03-01T12:00:00Z"), made(3, "2026-03-01T12:00:00Z"),
	}, ",")+"]")}}
	since := time.Date(2026, 3, 1, 12, 0, 0, 999, time.UTC)
	got, err := client(t, github.Config{HTTP: s}).Comments(t.Context(), somePull(), since)
	var ids []int64
	for _, c := range got {
		ids = append(ids, c.ID)
		if c.Author != "ghost" {
			t.Errorf("the author of %d is %q, want ghost", c.ID, c.Author)
		}
	}
	if diff := cmp.Diff([]int64{2, 3, 4}, ids); err != nil || diff != "" {
		t.Errorf("Comments() error = %v, ids differ (-want +got):\n%s", err, diff)
	}
	if got := s.reqs[0].URL.Query().Get("since"); got != "2026-03-01T12:00:00Z" {
		t.Errorf("since = %q", got)
	}
}

// TestEndlessList: a forge that always has another page does not keep us for ever.
func TestEndlessList(t *testing.T) {
	t.Parallel()
	next := func(req *http.Request) (*http.Response, error) {
		page := 0
		_, _ = fmt.Sscan(req.URL.Query().Get("page"), &page)
		return reply(http.StatusOK, `[]`, "Link", fmt.Sprintf(`<https://api.github.com/x?page=%d>; rel="next"`, page+1))(req)
	}
	s := &script{steps: steps(2000, next)}
	if _, err := client(t, github.Config{HTTP: s}).Comments(t.Context(), somePull(), time.Time{}); err == nil || len(s.reqs) != 1000 {
		t.Errorf("Comments() = %v after %d requests, want an error after 1000", err, len(s.reqs))
	}
	same := reply(http.StatusOK, `[]`, "Link", `<https://api.github.com/x?page=1>; rel="next"`)
	s = &script{steps: steps(5, same)}
	if _, err := client(t, github.Config{HTTP: s}).Comments(t.Context(), somePull(), time.Time{}); err != nil || len(s.reqs) != 1 {
		t.Errorf("Comments() = %v after %d requests, want one", err, len(s.reqs))
	}
}

// TestFoldQuery: ids travel as variables, in one request.
func TestFoldQuery(t *testing.T) {
	t.Parallel()
	const hostile = `x"}) { a } deleteRepo(input: {id: "1`
	var sent struct {
		Query     string
		Variables map[string]string
	}
	s := &script{steps: []step{reply(http.StatusOK, `{"data":{}}`)}}
	keep := keeper{script: s}
	err := client(t, github.Config{HTTP: &keep}).Fold(t.Context(), somePull(), []vcs.Comment{{Node: "IC_1"}, {}, {Node: hostile}})
	if err != nil || len(s.reqs) != 1 {
		t.Fatalf("Fold() error = %v after %d requests, want one", err, len(s.reqs))
	}
	must(t, json.Unmarshal(keep.bodies[0], &sent))
	if diff := cmp.Diff(map[string]string{"c0": "IC_1", "c1": hostile}, sent.Variables); diff != "" {
		t.Errorf("variables differ (-want +got):\n%s", diff)
	}
	const want = `mutation($c0: ID!, $c1: ID!) {
  c0: minimizeComment(input: {subjectId: $c0, classifier: OUTDATED}) { minimizedComment { isMinimized } }
  c1: minimizeComment(input: {subjectId: $c1, classifier: OUTDATED}) { minimizedComment { isMinimized } }
}`
	if diff := cmp.Diff(want, sent.Query); diff != "" {
		t.Errorf("query differs (-want +got):\n%s", diff)
	}
}

// TestStatusBody: what GitHub gets to see of a status.
func TestStatusBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status vcs.Status
		want   map[string]string
	}{
		{
			vcs.Status{Context: "tidegate/plan", State: vcs.Pending, Description: "planning", URL: "https://t.example.com/runs/1"},
			map[string]string{"context": "tidegate/plan", "state": "pending", "description": "planning", "target_url": "https://t.example.com/runs/1"},
		},
		{
			vcs.Status{Context: "x", State: vcs.Failure, Description: strings.Repeat("ü", 140)},
			map[string]string{"context": "x", "state": "failure", "description": strings.Repeat("ü", 140)},
		},
		{
			vcs.Status{Context: "x", State: vcs.Success, Description: strings.Repeat("🌊", 141)},
			map[string]string{"context": "x", "state": "success", "description": strings.Repeat("🌊", 139) + "…"},
		},
		{
			vcs.Status{Context: "x", State: vcs.Success, Description: "a\xff"},
			map[string]string{"context": "x", "state": "success", "description": "a\uFFFD"},
		},
	} {
		keep := keeper{script: &script{steps: []step{reply(http.StatusCreated, `{}`)}}}
		must(t, client(t, github.Config{HTTP: &keep}).SetStatus(t.Context(), somePull().Repo, strings.Repeat("a", 40), tt.status))
		got := map[string]string{}
		must(t, json.Unmarshal(keep.bodies[0], &got))
		if diff := cmp.Diff(tt.want, got); diff != "" || !utf8.ValidString(got["description"]) {
			t.Errorf("SetStatus(%+v) differs (-want +got):\n%s", tt.status, diff)
		}
	}
}
