package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/vcs"
)

// A project in a subgroup that is named whole is looked at from the start.
func TestASubgroupIsNamed(t *testing.T) {
	t.Parallel()
	s, err := parse(t, nil, "--repo-allowlist=gitlab.com/acme/live/infra", "--gitlab-user=bot", "--gitlab-token=tok-hush", "--gitlab-webhook-secret=hook-hush")
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := all.named(s.allow); len(got) != 1 || got[0].FullName() != "acme/live/infra" {
		t.Errorf("named = %v, want acme/live/infra", got)
	}
	if got := s.repositories(all[0], []string{"gitlab.com/acme/other/deep/infra"}); len(got) != 2 {
		t.Errorf("with one more, %v are looked at, want two", got)
	}
	if err := all.checkRepos([]string{"gitlab.com/acme/other/deep/infra"}); err != nil {
		t.Errorf("checkRepos = %v", err)
	}
	for _, name := range []string{"gihtub.com/acme/infra", "acme", "gitlab.com/acme/*", ""} {
		if err := all.checkRepos([]string{name}); err == nil {
			t.Errorf("--repo %q is passed over in silence", name)
		}
	}
}

// What is said of a forge that is not configured is a mistake, and told.
func TestHalfAForge(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--gitlab-hostname=gitlab.acme.example":   "--gitlab-user:",
		"--gitea-base-url=https://git.acme.test":  "--gitea-user:",
		"--gh-app-installation-id=7":              "--gh-token and --gh-app-id:",
		"--gitlab-api-url=https://git.acme.test/": "--gitlab-user:",
	} {
		_, err := parse(t, nil, enough("--repo-allowlist=*", flag)...)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s beside a whole GitHub: %v, want that %s is missing", flag, err, want)
		}
	}
}

// patient is a forge on which the account may write, and whose webhooks are elsewhere.
type patient struct {
	client
	token vcs.Token
}

func (patient) Site() vcs.Site { return vcs.Site{Instance: "git.acme.example"} }
func (patient) Permission(context.Context, vcs.Repo, string) (vcs.Permission, error) {
	return vcs.WritePermission, nil
}

func (p patient) Token(context.Context, vcs.Repo) (vcs.Token, error) { return p.token, nil }

func (patient) Webhooks(context.Context, vcs.Repo) ([]vcs.Webhook, error)         { return nil, nil }
func (patient) SetWebhook(context.Context, vcs.Repo, int64, string, []byte) error { return nil }

// What is enough on one forge is not on another: doctor knows.
func TestDoctorKnowsForges(t *testing.T) {
	t.Parallel()
	app := account{flags: "gh", appID: "7"}
	for name, c := range map[string]struct {
		ask  func(*doctor)
		want string // "" is nothing to mend
	}{
		"write on GitHub": {func(d *doctor) { d.permission(t.Context(), patient{}, account{flags: "gh", user: "bot"}, vcs.Repo{}) }, ""},
		"write on Gitea": {
			func(d *doctor) {
				d.permission(t.Context(), patient{}, account{flags: "gitea", user: "bot"}, vcs.Repo{})
			},
			"bot does not administer the repository",
		},
		"a token that lacks something": {func(d *doctor) {
			d.token(t.Context(), patient{token: vcs.Token{Lacks: []string{"api"}}}, account{flags: "gitlab"}, vcs.Repo{})
		}, "the token lacks api"},
		"a token that does not": {func(d *doctor) { d.token(t.Context(), patient{}, account{flags: "gitlab"}, vcs.Repo{}) }, ""},
		"no webhook": {func(d *doctor) {
			d.webhook(t.Context(), settings{url: "https://t.example"}, patient{}, account{flags: "gh"}, vcs.Repo{})
		}, "no webhook of the repository goes to https://t.example/events"},
		"an App's own webhook": {func(d *doctor) {
			d.webhook(t.Context(), settings{url: "https://t.example"}, patient{}, app, vcs.Repo{})
		}, ""},
	} {
		out := &strings.Builder{}
		d := &doctor{out: out}
		c.ask(d)
		if (d.no > 0) != (c.want != "") || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %d to mend, want %q:\n%s", name, d.no, c.want, out)
		}
	}
}
