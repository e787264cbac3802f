package gitlab_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitlab"
	ft "github.com/tidegate/tidegate/vcs/internal/forgetest"
)

// TestAddresses: which requests go where, and what the instance is called.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hostname, api       string
		instance, rest, web string
	}{
		{"", "", "gitlab.com", "https://gitlab.com/api/v4/", "https://gitlab.com/"},
		{"GitLab.com", "", "gitlab.com", "https://gitlab.com/api/v4/", "https://gitlab.com/"},
		{"git.corp.example:8443", "", "git.corp.example:8443", "https://git.corp.example:8443/api/v4/", "https://git.corp.example:8443/"},
		{"git.corp.example:443", "", "git.corp.example", "https://git.corp.example/api/v4/", "https://git.corp.example/"},
		{"", "https://git.corp.example", "git.corp.example", "https://git.corp.example/api/v4/", "https://git.corp.example/"},
		{"", "https://git.corp.example/api/v4/", "git.corp.example", "https://git.corp.example/api/v4/", "https://git.corp.example/"},
		{"", "https://corp.example/gitlab", "corp.example", "https://corp.example/gitlab/api/v4/", "https://corp.example/gitlab/"},
		{"", "https://corp.example/gitlab/api/v4", "corp.example", "https://corp.example/gitlab/api/v4/", "https://corp.example/gitlab/"},
		{"git.corp.example", "http://127.0.0.1:8080/api/v4", "git.corp.example", "http://127.0.0.1:8080/api/v4/", "https://git.corp.example/"},
		{"", "http://localhost:3000/", "localhost:3000", "http://localhost:3000/api/v4/", "http://localhost:3000/"},
		{"", "http://[::1]:3000", "[::1]:3000", "http://[::1]:3000/api/v4/", "http://[::1]:3000/"},
	} {
		t.Run(tt.hostname+" "+tt.api, func(t *testing.T) {
			t.Parallel()
			s := &ft.Script{Steps: ft.Times(2, ft.Reply(http.StatusNotFound, `{}`))}
			c := client(t, gitlab.Config{Hostname: tt.hostname, APIURL: tt.api, HTTP: s})
			if got := c.Site().Instance; got != tt.instance {
				t.Errorf("Site().Instance = %q, want %q", got, tt.instance)
			}
			repo := vcs.Repo{ID: vcs.RepoID{Forge: tt.instance, ID: 7}, Owner: "acme/live", Name: "infra.core"}
			_, _ = c.Pull(t.Context(), repo, 12)
			_, _ = c.Repo(t.Context(), "acme/live", "infra.core")
			for i, want := range []string{"projects/7/merge_requests/12", "projects/acme%2Flive%2Finfra%2Ecore"} {
				if got := s.Requests[i].URL.String(); got != tt.rest+want {
					t.Errorf("request to %s, want %s", got, tt.rest+want)
				}
			}
			if got, want := c.Site().PullURL(repo, 12), tt.web+"acme/live/infra.core/-/merge_requests/12"; got != want {
				t.Errorf("Site().PullURL() = %s, want %s", got, want)
			}
		})
	}
}

func TestAddressProblems(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	for _, tt := range []struct{ hostname, api, want string }{
		{"", "http://git.corp.example", "loopback"},
		{"", "http://127.0.0.1.evil.example/", "loopback"},
		{"", "ftp://127.0.0.1/", "neither https nor http"},
		{"", "git.corp.example", "absolute"},
		{"", "/api/v4", "absolute"},
		{"", "https://h/?private_token=x", "absolute"},
		{"", "https://u:" + secret + "@h/", "user or password"},
		{"", "https://u:" + secret + "@h/%zz", "not a URL"},
		{"https://git.corp.example", "", "not a host name"},
		{"git.corp.example/x", "", "not a host name"},
		{"u@git.corp.example", "", "not a host name"},
		{":8443", "", "not a host name"},
	} {
		_, err := gitlab.New(gitlab.Config{Hostname: tt.hostname, APIURL: tt.api, Token: func() (string, error) { return botToken, nil }})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("New(%+v) error = %v, want %q in it", tt, err, tt.want)
		}
	}
	if _, err := gitlab.New(gitlab.Config{}); err == nil {
		t.Error("New() without a token = nil error")
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	site := client(t, gitlab.Config{User: "tidegate-bot"}).Site()
	repo := somePull().Repo
	for _, tt := range []struct{ got, want string }{
		{site.PullRef(118), "!118"},
		{site.Account, "tidegate-bot"},
		{site.CommitURL(repo, someSHA), "https://gitlab.com/acme/live/infra/-/commit/" + someSHA},
		{site.FileURL(repo, someSHA, "live/prod/main.tf", 7), "https://gitlab.com/acme/live/infra/-/blob/" + someSHA + "/live/prod/main.tf#L7"},
		{site.FileURL(repo, someSHA, "a b/ü#?%.tf", 0), "https://gitlab.com/acme/live/infra/-/blob/" + someSHA + "/a%20b/%C3%BC%23%3F%25.tf"},
	} {
		if tt.got != tt.want {
			t.Errorf("link = %s, want %s", tt.got, tt.want)
		}
	}
	if site.CommentLimit > 999_000 || !site.NoSlashCommands {
		t.Errorf("Site() = %+v, want less than 1,000,000 bytes and no slash commands", site)
	}
}

// TestNames: what would change a request's path is not sent.
func TestNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, names)
}

func names(t *testing.T) {
	t.Helper()
	s := &ft.Script{}
	c := client(t, gitlab.Config{HTTP: s})
	for _, name := range []string{"", "..", "-x", "a?b", "a#b", "a%2fb", "a b", "a\nb", "a/", "/a"} {
		for _, id := range []int64{0, 7} {
			pull := somePull()
			pull.Repo.Name, pull.Repo.ID.ID = name, id
			_, pullErr := c.Pull(t.Context(), pull.Repo, 1)
			_, listErr := c.Comments(t.Context(), pull, time.Time{})
			_, createErr := c.CreateComment(t.Context(), pull, "x")
			_, approvalErr := c.Approval(t.Context(), pull)
			_, newsErr := c.News(t.Context(), pull.Repo, time.Time{}, nil)
			_, repoErr := c.Repo(t.Context(), pull.Repo.Owner, name)
			_, mayErr := c.Permission(t.Context(), pull.Repo, "ana")
			_, cloneErr := c.CloneCredential(t.Context(), pull.Repo)
			for what, err := range map[string]error{
				"Pull": pullErr, "Comments": listErr, "CreateComment": createErr, "Approval": approvalErr, "News": newsErr,
				"Repo": repoErr, "Permission": mayErr, "CloneCredential": cloneErr,
				"EditComment": c.EditComment(t.Context(), pull, 5, "x"), "DeleteComment": c.DeleteComment(t.Context(), pull, 5),
				"SetStatus": c.SetStatus(t.Context(), pull.Repo, someSHA, vcs.Status{State: vcs.Success}),
				"React":     c.React(t.Context(), pull, 5), "Fold": c.Fold(t.Context(), pull, []vcs.Comment{{ID: 5}}),
			} {
				if err == nil {
					t.Errorf("%s(%q) = nil error", what, name)
				}
			}
		}
	}
	for _, user := range []string{"", "..", "../../../user", "a/b", "a?b", "a\x00", "a&b"} {
		if got, err := c.Permission(t.Context(), somePull().Repo, user); err != nil || got != vcs.NoPermission {
			t.Errorf("Permission(%q) = %v, %v, want none of each", user, got, err)
		}
	}
	for _, sha := range []string{"", "main", "../x", strings.Repeat("a", 39)} {
		if err := c.SetStatus(t.Context(), somePull().Repo, sha, vcs.Status{State: vcs.Success}); err == nil {
			t.Errorf("SetStatus(%q) = nil error", sha)
		}
	}
	if err := c.SetStatus(t.Context(), somePull().Repo, someSHA, vcs.Status{State: "running"}); err == nil {
		t.Error("SetStatus(running) = nil error")
	}
	if n := len(s.Requests); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}
