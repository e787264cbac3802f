package github_test

import (
	"cmp"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/e2e/contract"
	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// published is what GitHub publishes of an edition's API. Each is read once.
func published(tb testing.TB, edition contract.Edition) *contract.Contract {
	tb.Helper()
	readers.Lock()
	read := readers.of[edition]
	if read == nil {
		read = sync.OnceValues(func() (*contract.Contract, error) {
			return contract.Load(filepath.Join(cmp.Or(os.Getenv("TIDEGATE_CACHE"), filepath.Join("..", "..", ".cache")), "contract"), edition)
		})
		readers.of[edition] = read
	}
	readers.Unlock()
	c, err := read()
	must(tb, err)
	return c
}

var readers = struct { //nolint:gochecknoglobals // 12 MB of each are read once
	sync.Mutex
	of map[contract.Edition]func() (*contract.Contract, error)
}{of: map[contract.Edition]func() (*contract.Contract, error){}}

// eachEdition runs a test against GitHub and against each Enterprise Server.
func eachEdition(t *testing.T, test func(*testing.T, contract.Edition)) {
	t.Helper()
	for _, edition := range contract.Editions() {
		t.Run(string(edition), func(t *testing.T) {
			t.Parallel()
			test(t, edition)
		})
	}
}

// TestAppContract: what an App asks, and what devforge answers, is what GitHub's own descriptions have.
func TestAppContract(t *testing.T) {
	t.Parallel()
	eachEdition(t, testAppContract)
}

func testAppContract(t *testing.T, edition contract.Edition) {
	t.Helper()
	c := published(t, edition)
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
	must(t, app.SetAppWebhook(t.Context(), "https://tidegate.example/events", []byte("secret")))
	self, err := app.App(t.Context())
	want := vcs.App{
		Webhook: vcs.Webhook{URL: "https://tidegate.example/events"},
		Unsent:  []string{},
		May:     map[string]string{"contents": "write", "issues": "write", "metadata": "read", "pull_requests": "write", "statuses": "write"},
	}
	if err != nil || !reflect.DeepEqual(self, want) {
		t.Errorf("App() = %+v, %v, want %+v", self, err, want)
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
	for _, want := range []string{"GET /api/v3/app", "PATCH /api/v3/app/hook/config", "GET /api/v3/app/hook/deliveries", "GET /api/v3/repos/acme/infra/installation", "POST /api/v3/app/installations/"} {
		if !strings.Contains(strings.Join(calls, "\n"), want) {
			t.Errorf("nobody has called %s: %q", want, calls)
		}
	}
}
