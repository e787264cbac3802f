package github_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// TestTokenLacks: a classic token tells its scopes, a fine-grained one is tried, and nothing that is asked for can come about.
func TestTokenLacks(t *testing.T) {
	t.Parallel()
	const me, no, none = `{"login":"tidegate"}`, `{"message":"Resource not accessible by personal access token"}`, `{"message":"Not Found"}`
	missing := reply(422, `{"message":"No commit found for SHA"}`)
	ends := []string{"GitHub-Authentication-Token-Expiration", "2026-03-01 12:00:00 UTC"}
	all := []string{"pull requests and issues: write", "commit statuses: write"}
	for _, tt := range []struct {
		name  string
		steps []step
		want  vcs.Token
	}{
		{"classic", []step{reply(200, me, "X-OAuth-Scopes", "read:org, repo")}, vcs.Token{}},
		{"classic, public", []step{reply(200, me, "X-OAuth-Scopes", "public_repo")}, vcs.Token{}},
		{"classic, too little", []step{reply(200, me, "X-OAuth-Scopes", "repo:status")}, vcs.Token{Lacks: []string{"repo"}}},
		{"classic, nothing", []step{reply(200, me, "X-OAuth-Scopes", "")}, vcs.Token{Lacks: []string{"repo"}}},
		{"fine-grained", []step{reply(200, me, ends...), reply(404, none), missing}, vcs.Token{Ends: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}},
		{"fine-grained, no statuses", []step{reply(200, me), reply(404, none), reply(403, no)}, vcs.Token{Lacks: all[1:]}},
		{"fine-grained, nothing", []step{reply(200, me), reply(403, no), reply(403, no)}, vcs.Token{Lacks: all}},
		{"hidden", []step{reply(200, me), reply(404, none), reply(404, none)}, vcs.Token{}},
	} {
		s := &script{steps: tt.steps}
		got, err := appClient(t, github.Config{HTTP: s, Token: func() (string, error) { return botToken, nil }}).Token(t.Context(), somePull().Repo)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: Token() error = %v, and differs (-want +got):\n%s", tt.name, err, diff)
		}
		for i, want := range []string{"/user", "/repos/acme/infra/issues/2147483647/comments", "/repos/acme/infra/statuses/0000000000000000000000000000000000000001"} {
			if i < len(s.reqs) && s.reqs[i].URL.Path != want {
				t.Errorf("%s: it asks %s, want %s", tt.name, s.reqs[i].URL.Path, want)
			}
		}
		if len(s.reqs) != len(tt.steps) {
			t.Errorf("%s: it asks %d times, want %d", tt.name, len(s.reqs), len(tt.steps))
		}
	}
	_, err := appClient(t, github.Config{HTTP: &script{}, App: theApp(17)}).Token(t.Context(), somePull().Repo)
	checkError(t, err, vcs.ErrRefused, "an App asks")
}
