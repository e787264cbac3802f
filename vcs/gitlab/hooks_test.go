package gitlab_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitlab"
	"github.com/tidegate/tidegate/vcs/gitlab/gitlabtest"
	ft "github.com/tidegate/tidegate/vcs/internal/forgetest"
)

// TestWebhooks: what is wrong with one is said, and mended.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	repo := s.pull(t).Repo
	const to = "https://tidegate.example.com/events"
	must(t, s.client.SetWebhook(t.Context(), repo, 0, to, []byte("a secret")))
	made := s.project.Webhooks()[0]
	if made.URL != to || made.Token != "a secret" || !made.Merges || !made.Notes || !made.TLS {
		t.Errorf("the webhook is %+v", made)
	}
	s.project.SetWebhook(0, func(h *gitlabtest.Webhook) { h.Merges, h.Notes, h.TLS, h.Alert = false, false, false, "disabled" })
	all, err := s.client.Webhooks(t.Context(), repo)
	want := []vcs.Webhook{{ID: made.ID, URL: to, Untold: true, Wrong: []string{
		"GitLab has switched it off after failures (disabled): send a test from its settings",
		"it does not send merge request events and comments", "it does not look at the server's certificate",
	}}}
	if diff := cmp.Diff(want, all); err != nil || diff != "" {
		t.Errorf("Webhooks() error = %v, differs (-want +got):\n%s", err, diff)
	}
	must(t, s.client.SetWebhook(t.Context(), repo, made.ID, to, []byte("another")))
	if now := s.project.Webhooks(); len(now) != 1 || now[0].Token != "another" || !now[0].Notes {
		t.Errorf("the webhooks are %+v, want that one mended", now)
	}
	if err := s.client.SetWebhook(t.Context(), repo, 1, to, nil); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("SetWebhook() of none: error = %v, want ErrNotFound", err)
	}
	const developer = "glpat-of-a-developer"
	s.AddUser("dev", developer)
	s.AddMember("acme", "dev", 30)
	c := client(t, gitlab.Config{APIURL: s.URL, Token: func() (string, error) { return developer, nil }})
	if _, err := c.Webhooks(t.Context(), repo); !errors.Is(err, vcs.ErrRefused) {
		t.Errorf("Webhooks() of a developer: error = %v, want ErrRefused", err)
	}
	if _, err := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, `[{"url":"x"}]`)}}}).Webhooks(t.Context(), somePull().Repo); err == nil {
		t.Error("Webhooks() without an id = nil error")
	}
}

// TestLogin: whose token it is, in a form that a user's name has.
func TestLogin(t *testing.T) {
	t.Parallel()
	if got, err := newStand(t).client.Login(t.Context()); err != nil || got != bot {
		t.Errorf("Login() = %q, %v, want %q", got, err, bot)
	}
	for _, answer := range []string{`{}`, `{"username":"a b"}`, `{"username":"` + strings.Repeat("a", 300) + `"}`} {
		if got, err := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, answer)}}}).Login(t.Context()); err == nil {
			t.Errorf("Login() of %.40s = %q, want an error", answer, got)
		}
	}
}

// TestTokenLacks: which scopes it has, and until when.
func TestTokenLacks(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	repo := s.pull(t).Repo
	ends := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	if got, err := s.client.Token(t.Context(), repo); err != nil || len(got.Lacks) > 0 || !got.Ends.Equal(ends) {
		t.Errorf("Token() = %+v, %v, want one until %s", got, err, ends)
	}
	s.Limit(botToken, "read_api", "read_repository")
	if got, err := s.client.Token(t.Context(), repo); err != nil || !slices.Equal(got.Lacks, []string{"api"}) {
		t.Errorf("Token() with read_api = %+v, %v, want that it lacks api", got, err)
	}
	for answer, ok := range map[string]bool{`{"scopes":["api"],"expires_at":null}`: true, `{"scopes":["api"],"expires_at":"soon"}`: false} {
		c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, answer)}}})
		if got, err := c.Token(t.Context(), somePull().Repo); (err == nil) != ok || !got.Ends.IsZero() {
			t.Errorf("Token() of %s = %+v, %v", answer, got, err)
		}
	}
	old := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusNotFound, `{"error":"404 Not Found"}`)}}})
	if got, err := old.Token(t.Context(), somePull().Repo); err != nil || len(got.Lacks) > 0 {
		t.Errorf("Token() of an old GitLab = %+v, %v, want nothing", got, err)
	}
}
