package vcs_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/vcs"
)

func TestAllowlistReaches(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]bool{
		"github.com/acme/*": true, "GitHub.com/acme/infra": true, "*": true, "*/acme/infra": true, "github.com/*": true,
		"acme/*": false, "acme/infra": false, "gitlab.com/*": false, "github.com.acme.example/*": false, "gitlab.com/a/b, github.com/a/b": true,
	} {
		a, err := vcs.ParseAllowlist(list)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Reaches("github.com"); got != want {
			t.Errorf("%q reaches github.com: %t, want %t", list, got, want)
		}
	}
}

func TestAllowlist(t *testing.T) {
	t.Parallel()
	repo := func(s string) vcs.Repo {
		p := strings.Split(s, "/")
		return vcs.Repo{ID: vcs.RepoID{Forge: p[0]}, Owner: strings.Join(p[1:len(p)-1], "/"), Name: p[len(p)-1]}
	}
	for _, tt := range []struct {
		list, repo string
		want       bool
	}{
		{"github.com/acme/infra", "github.com/acme/infra", true},
		{"github.com/Acme/Infra", "GitHub.com/acme/infra", true},
		{"github.com/acme/infra", "github.com/acme/infra2", false},
		{"github.com/acme/*", "github.com/acme/infra", true},
		{"github.com/acme/*", "github.com/acme2/infra", false},
		{"github.com/acme/*", "evil.com/github.com/acme/infra", false},
		{"*", "any.host/a/b", true},
		{"*/infra", "gitlab.com/a/b/infra", true},
		{"gitlab.com/*/infra-*", "gitlab.com/a/b/infra-x", true},
		{"github.com/acme/*, !github.com/acme/secret", "github.com/acme/secret", false},
		{"github.com/acme/*, !github.com/acme/secret", "github.com/acme/open", true},
		{"127.0.0.1:3000/acme/*", "127.0.0.1:3000/acme/infra", true},
		{"a.com/x*x", "a.com/x", false},
	} {
		a, err := vcs.ParseAllowlist(tt.list)
		if err != nil {
			t.Fatalf("ParseAllowlist(%q): %v", tt.list, err)
		}
		if got := a.Allows(repo(tt.repo)); got != tt.want {
			t.Errorf("Allowlist(%q).Allows(%s) = %v, want %v", tt.list, tt.repo, got, tt.want)
		}
	}
}

func TestAllowlistProblems(t *testing.T) {
	t.Parallel()
	_, err := vcs.ParseAllowlist("https://github.com/acme/*, infra")
	if err == nil {
		t.Fatal("ParseAllowlist() = nil error, want two problems")
	}
	for _, want := range []string{"without a scheme", `"infra"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("ParseAllowlist() error = %q, want %q in it", err, want)
		}
	}
	for _, empty := range []string{"", " , ", "!github.com/acme/*"} {
		if _, err := vcs.ParseAllowlist(empty); err == nil {
			t.Errorf("ParseAllowlist(%q) = nil error, want one", empty)
		}
	}
	if (vcs.Allowlist{}).Allows(vcs.Repo{}) {
		t.Error("the zero Allowlist allows, want nothing allowed")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	a, err := vcs.ParseAllowlist("GitHub.com/Acme/infra,github.com/acme/*,ghe.acme.example/a/b,github.com/acme/out,!github.com/acme/out,github.com/a/b/c,github.com/acme/,github.com/acme,*")
	if err != nil {
		t.Fatal(err)
	}
	forge := vcs.RepoID{Forge: "github.com"}
	want := []vcs.Repo{{ID: forge, Owner: "acme", Name: "infra"}, {ID: forge, Owner: "a/b", Name: "c"}}
	if got := a.Names("github.com"); !slices.Equal(got, want) {
		t.Errorf("Names() = %+v, want %+v", got, want)
	}
}
