package gitea_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitea"
	"github.com/tidegate/tidegate/vcs/internal/forgetest"
)

func jsonOf(v any) (string, error) {
	raw, err := json.Marshal(v)
	return string(raw), err
}

func TestNew(t *testing.T) {
	t.Parallel()
	token := func() (string, error) { return noToken, nil }
	for base, want := range map[string]string{
		"": "gitea.com", "https://git.example.com": "git.example.com", "https://Git.example.com:443/": "git.example.com",
		"https://git.example.com:8443/forge/": "git.example.com:8443", "http://127.0.0.1:3000": "127.0.0.1:3000",
	} {
		c, err := gitea.New(gitea.Config{BaseURL: base, Token: token, User: "me"})
		if err != nil || c.Site().Instance != want || c.Site().Account != "me" {
			t.Errorf("New(%q) = %v, want the instance %q", base, err, want)
		}
	}
	for name, c := range map[string]gitea.Config{
		"plain http":    {BaseURL: "http://git.example.com", Token: token},
		"a password":    {BaseURL: "https://me:pw@git.example.com", Token: token},
		"a host alone":  {BaseURL: "git.example.com", Token: token},
		"a query":       {BaseURL: "https://git.example.com/?x", Token: token},
		"no token":      {},
		"a page of -1":  {Token: token, PageSize: -1},
		"another thing": {BaseURL: "ssh://git.example.com", Token: token},
	} {
		if _, err := gitea.New(c); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("New(%s) error = %v, want one without a secret", name, err)
		}
	}
}

// TestBelowAPath: a forge whose root is not its host's.
func TestBelowAPath(t *testing.T) {
	t.Parallel()
	s := &forgetest.Script{Steps: []forgetest.Step{forgetest.Reply(200, `[]`)}}
	c := client(t, gitea.Config{BaseURL: "https://gitea.com/forge/", HTTP: s})
	must(t, list(t.Context(), c))
	if got := s.Requests[0].URL.Path; got != "/forge/api/v1/repos/acme/infra/issues/12/comments" {
		t.Errorf("the request goes to %s", got)
	}
	if got := c.Site().FileURL(somePull().Repo, "abc", "a b/ü#.tf", 3); got != "https://gitea.com/forge/acme/infra/src/commit/abc/a%20b/%C3%BC%23.tf#L3" {
		t.Errorf("FileURL() = %s", got)
	}
}

// aPull is a pull request as the API has it. change alters it.
func aPull(change func(pull, head, base map[string]any)) string {
	repo := map[string]any{"id": 7, "name": "infra", "full_name": "acme/infra", "owner": map[string]any{"login": "acme"}}
	head := map[string]any{"label": "grow", "ref": "grow", "sha": strings.Repeat("a", 40), "repo_id": 7}
	base := map[string]any{"label": "main", "ref": "main", "sha": strings.Repeat("b", 40), "repo_id": 7, "repo": repo}
	pull := map[string]any{
		"number": 12, "state": "open", "title": "t", "user": map[string]any{"login": "ana"},
		"html_url": "https://gitea.com/acme/infra/pulls/12", "head": head, "base": base,
	}
	change(pull, head, base)
	text, _ := jsonOf(pull)
	return text
}

func TestPull(t *testing.T) {
	t.Parallel()
	const ownRef = "refs/pull/12/head"
	want := func(change func(*vcs.Pull)) *vcs.Pull {
		p := somePull()
		p.Title, p.URL, p.State, p.HeadRef = "t", "https://gitea.com/acme/infra/pulls/12", vcs.Open, "refs/heads/grow"
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
		{"closed", set("state", "closed"), want(func(p *vcs.Pull) { p.State, p.HeadRef = vcs.Closed, ownRef })},
		{"merged", func(p, _, _ map[string]any) { p["state"], p["merged"] = "closed", true }, want(func(p *vcs.Pull) { p.State, p.HeadRef = vcs.Merged, ownRef })},
		{"draft, says the forge", set("draft", true), want(func(p *vcs.Pull) { p.Draft = true })},
		{"no draft, says the forge, whatever the title", func(p, _, _ map[string]any) { p["draft"], p["title"] = false, "[wip] t" }, want(func(p *vcs.Pull) { p.Title = "[wip] t" })},
		{"draft, says the title", set("title", "[wip] t"), want(func(p *vcs.Pull) { p.Title, p.Draft = "[wip] t", true })},
		{"of a user who was deleted", set("user", nil), want(func(p *vcs.Pull) { p.Author = "ghost" })},
		{"of a user with a hostile name", set("user", map[string]any{"login": "a\n@b"}), want(func(p *vcs.Pull) { p.Author = "ghost" })},
		{"from a fork", func(_, h, _ map[string]any) { h["repo_id"] = 8 }, want(func(p *vcs.Pull) { p.Head.Repo.ID, p.HeadRef = 8, ownRef })},
		{"from a fork that was deleted", func(_, h, _ map[string]any) { h["repo_id"] = -1 }, want(func(p *vcs.Pull) { p.Head.Repo, p.HeadRef = vcs.RepoID{}, ownRef })},
		{"from a branch that was deleted", func(_, h, _ map[string]any) { h["ref"] = ownRef }, want(func(p *vcs.Pull) { p.HeadRef = ownRef })},
		{"from no branch", func(_, h, _ map[string]any) { h["ref"], h["label"] = ownRef, "" }, want(func(p *vcs.Pull) {
			p.Head.Ref, p.Head.Repo, p.HeadRef = ownRef, vcs.RepoID{}, ownRef
		})},
		{"closed, without commits", func(p, h, b map[string]any) { p["state"], h["sha"], b["sha"] = "closed", "", "" }, want(func(p *vcs.Pull) {
			p.State, p.Head.SHA, p.Base.SHA, p.HeadRef = vcs.Closed, "", "", ownRef
		})},
		{"open, without a commit", func(_, h, _ map[string]any) { h["sha"] = "" }, nil},
		{"open, without a base", func(_, _, b map[string]any) { b["sha"] = "" }, nil},
		{"without a head", set("head", nil), nil},
		{"without a repository", func(_, _, b map[string]any) { b["repo"] = nil }, nil},
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
		c := client(t, gitea.Config{HTTP: &forgetest.Script{Steps: []forgetest.Step{forgetest.Reply(http.StatusOK, aPull(tt.change))}}})
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
	}
}

// TestCommentsSince: the forge's since is about edits, ours about when a comment was made.
func TestCommentsSince(t *testing.T) {
	t.Parallel()
	made := func(id, at string) string {
		return `{"id":` + id + `,"created_at":"` + at + `","updated_at":"2026-03-01T15:00:00Z","user":null,"body":"x"}`
	}
	s := &forgetest.Script{Steps: []forgetest.Step{forgetest.Reply(http.StatusOK, "["+strings.Join([]string{
		made("4", "2026-03-01T13:00:00Z"), made("2", "2026-03-01T12:00:00Z"), made("1", "2026-03-01T11:59:59Z"), made("3", "2026-03-01T12:00:00Z"), made("3", "2026-03-01T12:00:00Z"),
	}, ",")+"]")}}
	since := time.Date(2026, 3, 1, 12, 0, 0, 999, time.UTC)
	got, err := client(t, gitea.Config{HTTP: s}).Comments(t.Context(), somePull(), since)
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
	if got := s.Requests[0].URL.Query().Get("since"); got != "2026-03-01T12:00:00Z" {
		t.Errorf("since = %q", got)
	}
}
