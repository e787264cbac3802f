package rest_test

import (
	"strings"
	"testing"

	"github.com/tidegate/tidegate/vcs/internal/rest"
)

func TestOnSite(t *testing.T) {
	t.Parallel()
	const (
		host  = "https://git.example.com"
		below = host + "/for%C3%A9ge"
	)
	for _, tt := range []struct{ root, url, want string }{
		{host, host + "/acme/infra.git", ""},
		{host, "https://Git.Example.com:443/acme/infra#issuecomment-1", ""},
		{host, host, ""},
		{host, "http://git.example.com/acme/infra", "the scheme"},
		{host, "https://git.example.com.evil.com/acme/infra", "the host"},
		{host, "https://git.example.com:8443/acme/infra", "the host"},
		{host, "https://git.example.com@evil.com/acme/infra", "without user"},
		{host, host + "/acme/infra?x", "query"},
		{host, host + "/acme/../../infra", "the path"},
		{host, host + "/acme/%2e%2E/infra", "the path"},
		{host, `https://git.example.com/acme/..\infra`, "the path"},
		{host, "", "is not a URL"},
		{host, "acme/infra", "the scheme"},
		{below, below + "/acme/infra.git", ""},
		{below, below, ""},
		{below, host + "/forége/acme/infra.git", ""},
		{below, host + "/for%c3%a9ge/acme/infra.git", ""},
		{below, host + "/acme/infra.git", `the path "/acme/infra.git", want one below "/forége/"`},
		{below, below + "s/acme/infra.git", "the path"},
		{below, host + "//for%C3%A9ge/acme/infra.git", "the path"},
		{below, below + "%2Facme/infra.git", "the path"},
		{below, below + "/../acme/infra.git", "the path"},
		{below, below + "/acme/%2E./..%2Fother/infra.git", "the path"},
	} {
		web, err := rest.ParseRoot(tt.root + "/")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := rest.OnSite(web, tt.url); err != nil {
			got = err.Error()
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("OnSite(%s, %q) = %q, want %q", tt.root, tt.url, got, tt.want)
		}
	}
}

func TestRootHasNoDots(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"https://git.example.com/a/../b", "https://git.example.com/./", "https://git.example.com/%2e%2e/b"} {
		if u, err := rest.ParseRoot(raw); err == nil {
			t.Errorf("ParseRoot(%s) = %s, want an error", raw, u)
		}
	}
}
