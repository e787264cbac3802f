package github_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// TestAddresses: which requests go where, and what the instance is called.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hostname, api, web               string
		instance, rest, graphql, pageURL string
	}{
		{"", "", "", "github.com", "https://api.github.com/repos/", "https://api.github.com/graphql", "https://github.com/acme"},
		{"github.com", "", "", "github.com", "https://api.github.com/repos/", "https://api.github.com/graphql", "https://github.com/acme"},
		{"GHE.corp.example", "", "", "ghe.corp.example", "https://ghe.corp.example/api/v3/repos/", "https://ghe.corp.example/api/graphql", "https://ghe.corp.example/acme"},
		{"ghe.corp.example:8443", "", "", "ghe.corp.example:8443", "https://ghe.corp.example:8443/api/v3/repos/", "https://ghe.corp.example:8443/api/graphql", "https://ghe.corp.example:8443/acme"},
		{"ghe.corp.example:443", "", "", "ghe.corp.example", "https://ghe.corp.example/api/v3/repos/", "https://ghe.corp.example/api/graphql", "https://ghe.corp.example/acme"},
		{"acme.ghe.com", "", "", "acme.ghe.com", "https://api.acme.ghe.com/repos/", "https://api.acme.ghe.com/graphql", "https://acme.ghe.com/acme"},
		{"", "https://api.github.com", "", "github.com", "https://api.github.com/repos/", "https://api.github.com/graphql", "https://github.com/acme"},
		{"", "https://api.acme.ghe.com/", "", "acme.ghe.com", "https://api.acme.ghe.com/repos/", "https://api.acme.ghe.com/graphql", "https://acme.ghe.com/acme"},
		{"github.com", "http://127.0.0.1:3000/api/v3", "", "127.0.0.1:3000", "http://127.0.0.1:3000/api/v3/repos/", "http://127.0.0.1:3000/api/graphql", "http://127.0.0.1:3000/acme"},
		{"", "http://localhost:3000/", "", "localhost:3000", "http://localhost:3000/repos/", "http://localhost:3000/graphql", "http://localhost:3000/acme"},
		{"", "http://[::1]:3000/api", "", "[::1]:3000", "http://[::1]:3000/api/repos/", "http://[::1]:3000/api/graphql", "http://[::1]:3000/acme"},
		{"git.corp.example", "https://api.git.corp.example/rest", "", "git.corp.example", "https://api.git.corp.example/rest/repos/", "https://api.git.corp.example/rest/graphql", "https://git.corp.example/acme"},
		{"git.corp.example", "http://127.0.0.1:8080/api/v3", "", "git.corp.example", "http://127.0.0.1:8080/api/v3/repos/", "http://127.0.0.1:8080/api/graphql", "https://git.corp.example/acme"},
		{"git.corp.example", "", "https://www.corp.example/git/", "git.corp.example", "https://git.corp.example/api/v3/repos/", "https://git.corp.example/api/graphql", "https://www.corp.example/git/acme"},
	} {
		t.Run(tt.hostname+" "+tt.api, func(t *testing.T) {
			t.Parallel()
			s := &script{steps: []step{reply(http.StatusNotFound, `{}`), reply(http.StatusOK, `{"data":{}}`)}}
			c := client(t, github.Config{Hostname: tt.hostname, APIURL: tt.api, WebURL: tt.web, HTTP: s})
			if got := c.Site().Instance; got != tt.instance {
				t.Errorf("Site().Instance = %q, want %q", got, tt.instance)
			}
			repo := vcs.Repo{ID: vcs.RepoID{Forge: tt.instance, ID: 7}, Owner: "acme", Name: "infra"}
			_, _ = c.Pull(t.Context(), repo, 12)
			if err := c.Fold(t.Context(), vcs.Pull{Repo: repo}, []vcs.Comment{{Node: "x"}}); err != nil {
				t.Errorf("Fold() error = %v", err)
			}
			if got, want := s.reqs[0].URL.String(), tt.rest+"acme/infra/pulls/12"; got != want {
				t.Errorf("REST request to %s, want %s", got, want)
			}
			if got := s.reqs[1].URL.String(); got != tt.graphql {
				t.Errorf("GraphQL request to %s, want %s", got, tt.graphql)
			}
			if got, want := c.Site().PullURL(repo, 12), tt.pageURL+"/infra/pull/12"; got != want {
				t.Errorf("Site().PullURL() = %s, want %s", got, want)
			}
		})
	}
}

func TestAddressProblems(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	for _, tt := range []struct{ hostname, api, web, want string }{
		{"", "http://ghe.corp.example/api/v3", "", "loopback"},
		{"", "http://127.0.0.1.evil.example/", "", "loopback"},
		{"", "ftp://127.0.0.1/", "", "neither https nor http"},
		{"", "ghe.corp.example", "", "absolute"},
		{"", "/api/v3", "", "absolute"},
		{"", "https://", "", "absolute"},
		{"", "https://h/?token=x", "", "absolute"},
		{"", "https://u:" + secret + "@h/", "", "user or password"},
		{"", "https://u:" + secret + "@h/%zz", "", "not a URL"},
		{"", "", "http://pages.corp.example", "loopback"},
		{"https://ghe.corp.example", "", "", "not a host name"},
		{"ghe.corp.example/x", "", "", "not a host name"},
		{"u@ghe.corp.example", "", "", "not a host name"},
		{"a b", "", "", "not a host name"},
		{":8443", "", "", "not a host name"},
	} {
		_, err := github.New(github.Config{Hostname: tt.hostname, APIURL: tt.api, WebURL: tt.web, Token: func() (string, error) { return botToken, nil }})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("New(%+v) error = %v, want %q in it", tt, err, tt.want)
		}
	}
	if _, err := github.New(github.Config{}); err == nil {
		t.Error("New() without a token = nil error")
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	site := client(t, github.Config{}).Site()
	repo, sha := somePull().Repo, strings.Repeat("a", 40)
	for _, tt := range []struct{ got, want string }{
		{site.PullRef(12), "#12"},
		{site.CommitURL(repo, sha), "https://github.com/acme/infra/commit/" + sha},
		{site.FileURL(repo, sha, "live/prod/main.tf", 7), "https://github.com/acme/infra/blob/" + sha + "/live/prod/main.tf#L7"},
		{site.FileURL(repo, sha, "a b/ü#?%.tf", 0), "https://github.com/acme/infra/blob/" + sha + "/a%20b/%C3%BC%23%3F%25.tf"},
	} {
		if tt.got != tt.want {
			t.Errorf("link = %s, want %s", tt.got, tt.want)
		}
	}
	if site.CommentLimit != 60_000 || site.NoSlashCommands {
		t.Errorf("Site() = %+v, want 60,000 bytes and slash commands", site)
	}
}

// TestNames: what would change a request's path is not sent.
func TestNames(t *testing.T) {
	t.Parallel()
	s := &script{}
	c := client(t, github.Config{HTTP: s})
	for _, name := range []string{"", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "a\nb"} {
		pull := somePull()
		pull.Repo.Name = name
		for what, err := range map[string]error{
			"EditComment":   c.EditComment(t.Context(), pull, 5, "x"),
			"DeleteComment": c.DeleteComment(t.Context(), pull, 5),
			"SetStatus":     c.SetStatus(t.Context(), pull.Repo, strings.Repeat("a", 40), vcs.Status{State: vcs.Success}),
			"React":         c.React(t.Context(), pull, 5),
			"Fold":          c.Fold(t.Context(), pull, []vcs.Comment{{Node: "x"}}),
		} {
			if err == nil && what != "DeleteComment" {
				t.Errorf("%s(%q) = nil error", what, name)
			}
		}
		if len(s.reqs) != 0 {
			t.Errorf("%d requests for the repository %q, want none", len(s.reqs), name)
		}
	}
	for _, user := range []string{"", "..", "../../../user", "a/b", "a?b", "a\x00"} {
		if got, err := c.Permission(t.Context(), somePull().Repo, user); err != nil || got != vcs.NoPermission || len(s.reqs) != 0 {
			t.Errorf("Permission(%q) = %v, %v after %d requests, want none of each", user, got, err, len(s.reqs))
		}
	}
	for _, sha := range []string{"", "main", "../x", strings.Repeat("a", 39)} {
		if err := c.SetStatus(t.Context(), somePull().Repo, sha, vcs.Status{State: vcs.Success}); err == nil {
			t.Errorf("SetStatus(%q) = nil error", sha)
		}
	}
	if err := c.SetStatus(t.Context(), somePull().Repo, strings.Repeat("a", 40), vcs.Status{State: "running"}); err == nil {
		t.Error("SetStatus(running) = nil error")
	}
}

// TestPermission: both of GitHub's words for it are read, and an unknown one gives nothing.
func TestPermission(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer string
		want   vcs.Permission
	}{
		{`{"permission":"admin","role_name":"admin"}`, vcs.AdminPermission},
		{`{"permission":"write","role_name":"maintain"}`, vcs.WritePermission},
		{`{"permission":"write","role_name":"deployers-of-acme"}`, vcs.WritePermission},
		{`{"permission":"read","role_name":"triage"}`, vcs.ReadPermission},
		{`{"permission":"none","role_name":""}`, vcs.NoPermission},
		{`{"permission":"write"}`, vcs.WritePermission},
		{`{"role_name":"maintain"}`, vcs.WritePermission},
		{`{"permission":"admin","role_name":"read"}`, vcs.ReadPermission},
		{`{"permission":"owner","role_name":"root"}`, vcs.NoPermission},
		{`{}`, vcs.NoPermission},
	} {
		c := client(t, github.Config{HTTP: &script{steps: []step{reply(http.StatusOK, tt.answer)}}})
		if got, err := c.Permission(t.Context(), somePull().Repo, "renovate[bot]"); err != nil || got != tt.want {
			t.Errorf("Permission() of %s = %v, %v, want %v", tt.answer, got, err, tt.want)
		}
	}
}
