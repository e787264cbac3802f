package github_test

import (
	"cmp"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/e2e/contract"
	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// published is what GitHub publishes of its API. It is read once.
func published(tb testing.TB) *contract.Contract {
	tb.Helper()
	c, err := readContract()
	must(tb, err)
	return c
}

var readContract = sync.OnceValues(func() (*contract.Contract, error) { //nolint:gochecknoglobals // 12 MB are read once
	return contract.Load(filepath.Join(cmp.Or(os.Getenv("TIDEGATE_CACHE"), filepath.Join("..", "..", ".cache")), "contract"))
})

// TestAppContract: what an App asks, and what devforge answers, is what GitHub's own description has.
func TestAppContract(t *testing.T) {
	t.Parallel()
	c := published(t)
	g := newGrounds(t, "acme/infra", "beta/infra")
	var calls []string
	checked := c.Front(g.handler, "/api/v3", func(err error) { t.Error(err) })
	g.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls = append(calls, r.Method+" "+r.URL.Path)
		checked.ServeHTTP(w, r)
	})
	id, app := g.install(t, "acme"), g.client(t)
	login, err := app.Login(t.Context())
	if err != nil || login != appLogin {
		t.Errorf("Account() = %q, %v, want %q", login, err, appLogin)
	}
	repo, err := app.Repo(t.Context(), "acme", "infra")
	must(t, err)
	_, err = app.CloneCredential(t.Context(), repo)
	must(t, err)
	checkError(t, reads(t.Context(), app, at("beta/infra", 2)), vcs.ErrNotFound, "not installed")
	must(t, g.Suspend(id, true))
	one := theApp(g.app)
	one.InstallationID = id
	checkError(t, reads(t.Context(), appClient(t, github.Config{Hostname: "ghe.example", HTTP: g, App: one}), repo), vcs.ErrRefused, "suspended")
	checkError(t, reads(t.Context(), g.client(t), repo), vcs.ErrRefused, "suspended")
	for _, want := range []string{"GET /api/v3/app", "GET /api/v3/repos/acme/infra/installation", "POST /api/v3/app/installations/"} {
		if !strings.Contains(strings.Join(calls, "\n"), want) {
			t.Errorf("nobody has called %s: %q", want, calls)
		}
	}
}
