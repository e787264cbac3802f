package gitlab_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

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
	want := []vcs.Webhook{{ID: made.ID, URL: to, Wrong: []string{
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
