package github_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/e2e/contract"
	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/devforge"
	"github.com/tidegate/tidegate/vcs/github"
	"github.com/tidegate/tidegate/vcs/vcstest"
)

const appLogin = "tidegate[bot]"

// appKey is the private key of every App here.
var appKey = sync.OnceValue(func() *rsa.PrivateKey { //nolint:gochecknoglobals // making one takes long
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func inPEM(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func theApp(id int64) *github.App {
	return &github.App{ID: id, Key: func() ([]byte, error) { return inPEM(appKey()), nil }}
}

func appClient(tb testing.TB, c github.Config) *github.Client {
	tb.Helper()
	cl, err := github.New(c)
	must(tb, err)
	return cl
}

// grounds is a devforge with an App, without a network: it works in a bubble of fake time.
type grounds struct {
	*devforge.Forge
	handler http.Handler
	app     int64
	mu      sync.Mutex
	asked   []asked
	spoil   func(req *http.Request) *http.Response
}

// asked is a request that was made.
type asked struct{ what, token string }

func newGrounds(tb testing.TB, repos ...string) *grounds {
	tb.Helper()
	f, err := devforge.New(devforge.Config{Dir: tb.TempDir(), URL: "https://ghe.example"})
	must(tb, err)
	tb.Cleanup(f.Close)
	g := &grounds{Forge: f, handler: f.Handler()}
	g.app, err = f.CreateApp("tidegate", &appKey().PublicKey)
	must(tb, err)
	for _, r := range repos {
		owner, name, _ := strings.Cut(r, "/")
		must(tb, f.CreateRepo(owner, name))
	}
	return g
}

func (g *grounds) RoundTrip(req *http.Request) (*http.Response, error) {
	g.mu.Lock()
	g.asked = append(g.asked, asked{
		req.Method + " " + strings.TrimPrefix(req.URL.Path, "/api/v3"), strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "),
	})
	spoil := g.spoil
	g.mu.Unlock()
	if spoil != nil {
		if resp := spoil(req); resp != nil {
			return resp, nil
		}
	}
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	g.handler.ServeHTTP(rec, in)
	resp := rec.Result()
	resp.Request = req
	return resp, req.Context().Err()
}

func (g *grounds) client(tb testing.TB) *github.Client {
	tb.Helper()
	return appClient(tb, github.Config{Hostname: "ghe.example", HTTP: g, App: theApp(g.app)})
}

func (g *grounds) install(tb testing.TB, owner string, names ...string) int64 {
	tb.Helper()
	id, err := g.Install(g.app, owner, names...)
	must(tb, err)
	return id
}

// take answers what was asked since the last time.
func (g *grounds) take() []asked {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.asked
	g.asked = nil
	return all
}

func whats(all []asked) []string {
	var w []string
	for _, a := range all {
		w = append(w, a.what)
	}
	return w
}

func at(name string, id int64) vcs.Repo {
	owner, name, _ := strings.Cut(name, "/")
	page := "https://ghe.example/" + owner + "/" + name
	return vcs.Repo{ID: vcs.RepoID{Forge: "ghe.example", ID: id}, Owner: owner, Name: name, URL: page, CloneURL: page + ".git"}
}

// reads lists the pull requests of a repository.
func reads(ctx context.Context, c *github.Client, r vcs.Repo) error {
	_, err := c.News(ctx, r, time.Time{}, nil)
	return err
}

func (d *dev) makeApp(t *testing.T) *github.App {
	t.Helper()
	id, err := d.CreateApp("tidegate", &appKey().PublicKey)
	must(t, err)
	_, err = d.Install(id, "acme")
	must(t, err)
	return theApp(id)
}

func TestExerciseApp(t *testing.T) {
	t.Parallel()
	eachEdition(t, func(t *testing.T, edition contract.Edition) {
		t.Helper()
		d := newEdition(t, edition)
		k := d.kit(t)
		k.Forge, k.Bot = appClient(t, github.Config{APIURL: d.url + "/api/v3", App: d.makeApp(t)}), appLogin
		vcstest.Exercise(t, k)
	})
}

// TestInstallations: each repository is asked about with the token of its own installation, which is found once.
func TestInstallations(t *testing.T) {
	t.Parallel()
	g := newGrounds(t, "acme/infra", "acme/live", "beta/infra", "gamma/infra")
	acme, beta := g.install(t, "acme"), g.install(t, "beta", "infra")
	c := g.client(t)
	for range 2 {
		for i, name := range []string{"acme/infra", "acme/live", "beta/infra"} {
			must(t, reads(t.Context(), c, at(name, int64(i+1))))
		}
	}
	all := g.take()
	token := func(o int64) string { return fmt.Sprintf("POST /app/installations/%d/access_tokens", o) }
	if diff := cmp.Diff([]string{
		"GET /repos/acme/infra/installation", token(acme), "GET /repos/acme/infra/pulls",
		"GET /repos/acme/live/installation", "GET /repos/acme/live/pulls",
		"GET /repos/beta/infra/installation", token(beta), "GET /repos/beta/infra/pulls",
		"GET /repos/acme/infra/pulls", "GET /repos/acme/live/pulls", "GET /repos/beta/infra/pulls",
	}, whats(all)); diff != "" {
		t.Errorf("requests differ (-want +got):\n%s", diff)
	}
	tokens := map[string][]string{}
	for _, a := range all {
		owner, _, _ := strings.Cut(strings.TrimPrefix(a.what, "GET /repos/"), "/")
		if strings.HasSuffix(a.what, "/pulls") && !slices.Contains(tokens[owner], a.token) {
			tokens[owner] = append(tokens[owner], a.token)
		}
	}
	if len(tokens["acme"]) != 1 || len(tokens["beta"]) != 1 || tokens["acme"][0] == tokens["beta"][0] {
		t.Errorf("tokens by owner = %v, want one for each", tokens)
	}
	named := appClient(t, github.Config{Hostname: "ghe.example", HTTP: g, App: theApp(g.app), User: appLogin})
	if got, err := named.CloneCredential(t.Context(), at("beta/infra", 3)); err != nil || got.User != "x-access-token" {
		t.Errorf("CloneCredential() = %+v, %v, want a user that git can have", got, err)
	}
	got, err := c.CloneCredential(t.Context(), at("beta/infra", 3))
	if err != nil || got.User != "x-access-token" || got.Password == tokens["beta"][0] {
		t.Errorf("CloneCredential() = %+v, %v, want a token that is not the one of requests", got, err)
	}
	err = reads(t.Context(), c, at("gamma/infra", 4))
	checkError(t, err, vcs.ErrNotFound, "the App is not installed on gamma/infra")
}

// TestInstallationsLimits: each has its own, and the least counts until the forge counts anew.
func TestInstallationsLimits(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		g := newGrounds(t, "acme/infra", "beta/infra")
		g.install(t, "acme")
		g.install(t, "beta")
		c, first, second := g.client(t), at("acme/infra", 1), at("beta/infra", 2)
		limit := func(left int, reset time.Duration) {
			g.spoil = func(req *http.Request) *http.Response {
				if !strings.HasSuffix(req.URL.Path, "/pulls") {
					return nil
				}
				clock := time.Now().Add(-time.Hour) // the forge's own
				return answered(req, http.StatusOK, `[]`, "X-RateLimit-Remaining", fmt.Sprint(left), "X-RateLimit-Reset", fmt.Sprint(clock.Add(reset).Unix()),
					"Date", clock.UTC().Format(http.TimeFormat))
			}
		}
		check := func(want int, known bool) {
			t.Helper()
			if left, told := c.RequestsLeft(); left != want || told != known {
				t.Errorf("RequestsLeft() = %d, %v, want %d, %v", left, told, want, known)
			}
		}
		check(0, false)
		limit(10, 30*time.Minute)
		must(t, reads(t.Context(), c, first))
		limit(4000, 50*time.Minute)
		must(t, reads(t.Context(), c, second))
		check(10, true)
		time.Sleep(40 * time.Minute) //nolint:forbidigo // of the bubble's time
		check(4000, true)
		time.Sleep(20 * time.Minute) //nolint:forbidigo // of the bubble's time
		check(0, false)
	})
}

// TestRenamedIsHeldBack: a repository is held back whatever its name.
func TestRenamedIsHeldBack(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		g := newGrounds(t, "acme/infra", "acme/live")
		g.install(t, "acme")
		g.spoil = func(req *http.Request) *http.Response {
			if req.Method != http.MethodPatch {
				return nil
			}
			g.spoil = nil
			return answered(req, http.StatusTooManyRequests, `{}`, "Retry-After", "60")
		}
		c := g.client(t)
		go func() { _ = c.EditComment(t.Context(), vcs.Pull{Repo: at("acme/infra", 1), Number: 1}, 5, "x") }()
		synctest.Wait()
		began := time.Now()
		checkError(t, c.EditComment(t.Context(), vcs.Pull{Repo: at("acme/live", 1), Number: 1}, 5, "x"), vcs.ErrNotFound, "")
		if took := time.Since(began); took < 50*time.Second {
			t.Errorf("it took %s, want a minute", took)
		}
		synctest.Wait()
		time.Sleep(2 * time.Minute) //nolint:forbidigo // of the bubble's time
	})
}

// TestOneTokenForMany: who needs a token at the same time gets the same.
func TestOneTokenForMany(t *testing.T) {
	t.Parallel()
	g := newGrounds(t, "acme/infra", "acme/live")
	g.install(t, "acme")
	c := g.client(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := reads(t.Context(), c, at([]string{"acme/infra", "acme/live"}[i%2], int64(i%2+1))); err != nil {
				t.Errorf("News() error = %v", err)
			}
		})
	}
	all.Wait()
	made := slices.DeleteFunc(whats(g.take()), func(s string) bool { return !strings.HasSuffix(s, "/access_tokens") })
	if len(made) != 1 {
		t.Errorf("%d tokens were made, want one", len(made))
	}
}

// TestOneInstallation: the one of the configuration is used, whatever the forge would say.
func TestOneInstallation(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		g := newGrounds(t, "acme/infra", "beta/infra")
		app := theApp(g.app)
		app.InstallationID = g.install(t, "acme")
		g.install(t, "beta")
		c := appClient(t, github.Config{Hostname: "ghe.example", HTTP: g, App: app})
		must(t, reads(t.Context(), c, at("acme/infra", 1)))
		checkError(t, reads(t.Context(), c, at("beta/infra", 2)), vcs.ErrNotFound, "")
		if all := whats(g.take()); slices.ContainsFunc(all, func(s string) bool { return strings.HasSuffix(s, "/installation") }) {
			t.Errorf("requests = %q, want no installation asked for", all)
		}
		must(t, g.Uninstall(app.InstallationID))
		checkError(t, reads(t.Context(), c, at("acme/infra", 1)), vcs.ErrNotFound, "the App is not installed on acme/infra")
	})
}

// onInfra is an App with one repository.
func onInfra(tb testing.TB) (*grounds, *github.Client, vcs.Repo) {
	tb.Helper()
	g := newGrounds(tb, "acme/infra")
	g.install(tb, "acme")
	return g, g.client(tb), at("acme/infra", 1)
}

// gitToken is what git is given.
func gitToken(tb testing.TB, c *github.Client, repo vcs.Repo) string {
	tb.Helper()
	got, err := c.CloneCredential(tb.Context(), repo)
	must(tb, err)
	return got.Password
}

// TestTokenIsRenewed: a token that ends soon is not used any more, and none is used after its end.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		g, c, repo := onInfra(t)
		credential := func() string { return gitToken(t, c, repo) }
		first := credential()
		must(t, reads(t.Context(), c, repo))
		for _, step := range []struct {
			pass  time.Duration
			renew bool
		}{{54 * time.Minute, false}, {2 * time.Minute, true}, {54 * time.Minute, false}, {48 * time.Hour, true}} {
			time.Sleep(step.pass) //nolint:forbidigo // of the bubble's time
			g.take()
			must(t, reads(t.Context(), c, repo))
			all := g.take()
			second := credential()
			if renewed := len(all) > 1; renewed != step.renew || len(all) > 2 || all[len(all)-1].token == second || (second != first) != step.renew {
				t.Errorf("after %s: another token %v, want %v; requests %q", step.pass, second != first, step.renew, whats(all))
			}
			first = second
		}
	})
}

// TestRefusedToken: a token that git was refused with is not handed out again, and whoever says so often gets no more for it.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		_, c, repo := onInfra(t)
		credential := func() string { return gitToken(t, c, repo) }
		if c.RenewCredential(t.Context(), repo, "x") {
			t.Error("RenewCredential() before there is one = true")
		}
		first := credential()
		for _, step := range []struct {
			pass  time.Duration
			renew bool
		}{{time.Second, false}, {time.Minute, true}, {time.Second, false}} {
			time.Sleep(step.pass) //nolint:forbidigo // of the bubble's time
			renewed := c.RenewCredential(t.Context(), repo, first)
			second := credential()
			if renewed != step.renew || (second != first) != step.renew {
				t.Errorf("%s after the token was made: RenewCredential() = %v, another token %v, want %v", step.pass, renewed, second != first, step.renew)
			}
			if !c.RenewCredential(t.Context(), repo, "one before it") || credential() != second {
				t.Error("RenewCredential() of an older token has another one made")
			}
			first = second
		}
		must(t, reads(t.Context(), c, repo))
	})
	fixed := appClient(t, github.Config{Hostname: "ghe.example", Token: func() (string, error) { return "t", nil }})
	if fixed.RenewCredential(t.Context(), at("acme/infra", 1), "t") {
		t.Error("RenewCredential() of an account's token = true")
	}
}

// TestNoLongerInstalled: what the App may not do any more is told as what it is, in every call, and works again
// when it may.
func TestNoLongerInstalled(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		g := newGrounds(t, "acme/infra")
		id := g.install(t, "acme")
		c, repo := g.client(t), at("acme/infra", 1)
		must(t, reads(t.Context(), c, repo))
		time.Sleep(time.Minute) //nolint:forbidigo // of the bubble's time
		const gone = "the App is not installed on acme/infra"
		calls := map[string]func() error{
			"News":          func() error { return reads(t.Context(), c, repo) },
			"DeleteComment": func() error { return c.DeleteComment(t.Context(), vcs.Pull{Repo: repo, Number: 1}, 5) },
			"Permission": func() error {
				_, err := c.Permission(t.Context(), repo, "ana")
				return err
			},
			"CloneCredential": func() error {
				_, err := c.CloneCredential(t.Context(), repo)
				return err
			},
			"Repo": func() error {
				_, err := c.Repo(t.Context(), "acme", "infra")
				return err
			},
		}
		must(t, g.Uninstall(id))
		for _, name := range []string{"News", "DeleteComment", "Permission", "CloneCredential", "Repo"} {
			err := calls[name]()
			if !errors.Is(err, vcs.ErrNotFound) || !strings.Contains(err.Error(), gone) {
				t.Errorf("%s without an installation: error = %v, want %q", name, err, gone)
			}
		}
		id = g.install(t, "acme")
		must(t, calls["News"]())
		must(t, g.Suspend(id, true))
		checkError(t, calls["News"](), vcs.ErrRefused, "suspended")
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble's time
		checkError(t, calls["News"](), vcs.ErrRefused, "suspended")
		checkError(t, reads(t.Context(), g.client(t), repo), vcs.ErrRefused, "the App is suspended on acme/infra")
		must(t, g.Suspend(id, false))
		must(t, calls["News"]())
	})
}

// TestOtherInstallation: a repository whose installation is another one now is asked about with the new one's token
// in the same call, whether the old one still lives or not.
func TestOtherInstallation(t *testing.T) {
	t.Parallel()
	for _, lives := range []bool{true, false} {
		g := newGrounds(t, "acme/infra")
		old := g.install(t, "acme", "infra")
		c, repo := g.client(t), at("acme/infra", 1)
		must(t, reads(t.Context(), c, repo))
		must(t, g.Uninstall(old))
		now := g.install(t, "acme", "infra")
		if lives {
			// The old token is good, and does not reach the repository.
			g.spoil = func(req *http.Request) *http.Response {
				if token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "); token == g.asked[2].token {
					return answered(req, http.StatusNotFound, `{"message":"Not Found"}`)
				}
				return nil
			}
		}
		if err := c.SetStatus(t.Context(), repo, strings.Repeat("a", 40), vcs.Status{Context: "x", State: vcs.Success}); lives && (err == nil || !strings.Contains(err.Error(), "No commit found")) {
			t.Errorf("SetStatus() of a repository with another installation: error = %v, want the answer to the new token", err)
		}
		want := fmt.Sprintf("POST /app/installations/%d/access_tokens", now)
		if all := whats(g.take()); lives && !slices.Contains(all, want) {
			t.Errorf("requests = %q, want %q", all, want)
		}
	}
}

func answered(req *http.Request, status int, body string, headers ...string) *http.Response {
	resp, _ := reply(status, body, headers...)(req)
	return resp
}

// TestUnknownComment: what is not there is looked for once, with one question after the installation.
func TestUnknownComment(t *testing.T) {
	t.Parallel()
	g := newGrounds(t, "acme/infra")
	g.install(t, "acme")
	c, repo := g.client(t), at("acme/infra", 1)
	must(t, reads(t.Context(), c, repo))
	g.take()
	checkError(t, c.EditComment(t.Context(), vcs.Pull{Repo: repo, Number: 1}, 999, "x"), vcs.ErrNotFound, "")
	if diff := cmp.Diff([]string{"PATCH /repos/acme/infra/issues/comments/999", "GET /repos/acme/infra/installation"}, whats(g.take())); diff != "" {
		t.Errorf("requests differ (-want +got):\n%s", diff)
	}
}

// connected is an answer over a connection, as net/http's own transport tells it.
func connected(s step) step {
	return func(req *http.Request) (*http.Response, error) {
		if tr := httptrace.ContextClientTrace(req.Context()); tr != nil {
			tr.GetConn("api.github.com:443")
			tr.GotConn(httptrace.GotConnInfo{})
		}
		return s(req)
	}
}

const (
	found   = `{"id":5,"app_id":1,"suspended_at":null}`
	granted = `{"token":"ghs_nobody-may-see-this","expires_at":"2100-01-01T00:00:00Z"}`
)

// TestTokenRequests: the request for a token is tried again within the patience of what needs it, and what needs
// it has not been sent when it fails.
func TestTokenRequests(t *testing.T) {
	t.Parallel()
	appKey()
	inst, tok, made := reply(200, found), reply(201, granted), reply(201, madeComment)
	for _, tt := range []struct {
		name  string
		steps []step
		err   error
		text  string
		last  string // the method and the path that was asked last
	}{
		{name: "all is well", steps: []step{inst, tok, made}},
		{name: "faults", steps: []step{reply(502, `{}`), inst, reply(500, `{}`), inst, tok, made}},
		{name: "a cut connection", steps: []step{cut(errors.New("EOF")), inst, cut(errors.New("EOF")), inst, tok, made}},
		{name: "nobody answers", steps: []step{hangs, inst, hangs, inst, tok, made}},
		{name: "nobody is there for the comment", steps: []step{connected(inst), connected(tok), refused, made}},
		{name: "the comment may have been made", steps: []step{inst, tok, hangs}, err: vcs.ErrInDoubt},
		{name: "the token's limit", steps: []step{inst, reply(429, `{}`, "Retry-After", "7"), inst, tok, made}},
		{name: "a token that the forge does not know yet", steps: []step{inst, tok, reply(401, `{}`), made}},
		{name: "no token in the answer", steps: []step{inst, reply(201, `{}`), inst, tok, made}},
		{name: "an answer that is none", steps: []step{inst, reply(201, `<html>`), inst, tok, made}},
		{name: "an answer without an end", steps: []step{inst, reply(201, `{"token":"`+strings.Repeat("x", 33<<20)+`"}`), inst, tok, made}},
		{name: "a repository that was renamed", steps: []step{reply(301, ``, "Location", "https://api.github.com/repositories/7/installation"), inst, tok, made}},
		{name: "an installation without an id", steps: []step{reply(200, `{}`)}, text: "tells no installation"},
		{name: "suspended meanwhile", steps: []step{inst, reply(403, `{"message":"This installation has been suspended"}`)}, err: vcs.ErrRefused, text: "asking for a token for acme/infra"},
		{name: "no such App", steps: []step{reply(404, `{"message":"Integration not found"}`)}, err: vcs.ErrRefused, text: "no App with the id 17"},
		{name: "a wrong key", steps: steps(4, reply(401, `{"message":"A JSON web token could not be decoded"}`)), err: vcs.ErrRefused, text: "could not be decoded; the App's id or private key is wrong, or a clock"},
		{name: "sent elsewhere", steps: []step{inst, reply(307, ``, "Location", "https://evil.example/token")}, text: "sends us elsewhere"},
		{name: "sent elsewhere at first", steps: []step{reply(302, ``, "Location", "https://evil.example/x")}, text: "sends us elsewhere"},
		{name: "a token that can't be one", steps: []step{inst, reply(201, `{"token":"two words","expires_at":"2100-01-01T00:00:00Z"}`)}, text: "a character that no token has"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s := &script{steps: tt.steps}
				c := appClient(t, github.Config{HTTP: s, App: theApp(17), Log: slog.New(slog.NewTextHandler(&log, nil))})
				err := create(t.Context(), c)
				checkError(t, err, tt.err, tt.text)
				if len(s.reqs) != len(tt.steps) {
					t.Errorf("%d requests, want %d", len(s.reqs), len(tt.steps))
				}
				for _, r := range s.reqs {
					if r.URL.Host != "api.github.com" {
						t.Errorf("a request to %s", r.URL.Host)
					}
				}
				for _, said := range []string{fmt.Sprint(err), log.String()} {
					if strings.Contains(said, "ghs_") || strings.Contains(said, "eyJ") {
						t.Errorf("a secret is in %q", said)
					}
				}
			})
		})
	}
}

// TestAppSecretsStayIn: a forge that repeats what it was sent does not bring it into errors and logs.
func TestAppSecretsStayIn(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		echo := func(status int) step {
			return func(req *http.Request) (*http.Response, error) {
				return reply(status, fmt.Sprintf(`{"message":"you sent %s"}`, req.Header.Get("Authorization")))(req)
			}
		}
		s := &script{steps: []step{
			echo(500), echo(403), reply(200, found), echo(500), reply(200, found), echo(403),
			reply(200, found), reply(201, granted), echo(500), echo(403),
		}}
		c := appClient(t, github.Config{HTTP: s, App: theApp(17), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		said := ""
		for range 3 {
			err := list(t.Context(), c)
			checkError(t, err, vcs.ErrRefused, "you sent Bearer [token]")
			said += fmt.Sprintf("%v %+v %#v", err, err, err)
		}
		said += log.String()
		if len(s.reqs) != len(s.steps) || strings.Contains(said, "ghs_") || strings.Contains(said, "eyJ") {
			t.Errorf("after %d requests, a secret is in %s", len(s.reqs), said)
		}
	})
}

// TestSignature: the App signs for a clock that is a minute behind, and for less than the ten minutes that GitHub takes.
func TestSignature(t *testing.T) {
	t.Parallel()
	appKey()
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{reply(200, `{"slug":"tidegate"}`)}}
		login, err := appClient(t, github.Config{HTTP: s, App: theApp(17)}).Login(t.Context())
		if err != nil || login != appLogin {
			t.Errorf("Account() = %q, %v, want %q", login, err, appLogin)
		}
		parts := strings.Split(s.reqs[0].Header.Get("Authorization"), ".")
		raw, err := base64.RawURLEncoding.DecodeString(parts[1])
		must(t, err)
		var got struct {
			Iss      string
			Iat, Exp int64
		}
		must(t, json.Unmarshal(raw, &got))
		now := time.Now().Unix()
		if got.Iss != "17" || got.Iat != now-60 || got.Exp <= now+120 || got.Exp > now+480 {
			t.Errorf("claims = %+v at %d, want issued a minute ago and good for some minutes", got, now)
		}
	})
}

// TestAppKey: it is read anew, and neither it nor a part of it is told.
func TestAppKey(t *testing.T) {
	t.Parallel()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	g := newGrounds(t, "acme/infra")
	g.install(t, "acme")
	key, fail := inPEM(appKey()), error(nil)
	c := appClient(t, github.Config{Hostname: "ghe.example", HTTP: g, App: &github.App{ID: g.app, Key: func() ([]byte, error) { return key, fail }}})
	must(t, reads(t.Context(), c, at("acme/infra", 1)))
	key = inPEM(other)
	must(t, reads(t.Context(), c, at("acme/infra", 1))) // the token is still good
	ask := func() error {
		_, err := c.Login(t.Context())
		return err
	}
	checkError(t, ask(), vcs.ErrRefused, "private key is wrong")
	key = inPEM(appKey())
	must(t, ask())
	key, fail = nil, os.ErrPermission
	if err := ask(); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "private key") {
		t.Errorf("Account() without a key: error = %v, want ErrPermission", err)
	}

	good := string(inPEM(appKey()))
	cut := good[:len(good)/2]
	for name, bad := range map[string]string{"empty": "", "a token": "ghp_s3cret", "half": cut, "no RSA": "-----BEGIN EC PRIVATE KEY-----\nczNjcmV0\n-----END EC PRIVATE KEY-----\n"} {
		_, err := github.New(github.Config{App: &github.App{ID: 1, Key: func() ([]byte, error) { return []byte(bad), nil }}})
		if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), good[40:60]) || !strings.Contains(err.Error(), "private key") {
			t.Errorf("New() with a key that is %s: error = %v", name, err)
		}
	}
	token := func() (string, error) { return botToken, nil }
	for name, c := range map[string]github.Config{
		"no id": {App: theApp(0)}, "a negative installation": {App: &github.App{ID: 1, InstallationID: -1, Key: theApp(1).Key}},
		"no key": {App: &github.App{ID: 1}}, "a token too": {App: theApp(1), Token: token}, "neither": {},
	} {
		if _, err := github.New(c); err == nil {
			t.Errorf("New() with %s = nil error", name)
		}
	}
}

// TestAppWebhook: what is wrong with an App's webhook is said, whoever sent it where.
func TestAppWebhook(t *testing.T) {
	t.Parallel()
	const (
		may  = `{"slug":"tidegate","permissions":{"contents":"read"},"events":["pull_request"]}`
		bare = `{"url":"https://tg.example/events","content_type":"form","insecure_ssl":"1"}`
	)
	s := &script{steps: []step{reply(200, may), reply(200, bare), reply(200, `[{"id":1,"status":"Invalid HTTP Response: 502","status_code":502}]`)}}
	got, err := appClient(t, github.Config{HTTP: s, App: theApp(17)}).App(t.Context())
	want := vcs.App{May: map[string]string{"contents": "read"}, Unsent: []string{"issue_comment"}, Webhook: vcs.Webhook{
		URL: "https://tg.example/events", Failed: "502 Invalid HTTP Response: 502", Wrong: []string{
			"its content type is not application/json", "it has no secret, so nothing is signed",
			"it does not look at the server's certificate",
		},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("App() = %v, and differs (-want +got):\n%s", err, diff)
	}
	s = &script{steps: []step{reply(200, `{"slug":"tidegate"}`), reply(200, `{"url":null}`), reply(200, `[null]`)}}
	if got, err := appClient(t, github.Config{HTTP: s, App: theApp(17)}).App(t.Context()); err != nil || got.Webhook.URL != "" || len(got.Webhook.Wrong) > 0 {
		t.Errorf("App() without a webhook = %+v, %v", got, err)
	}
	account := appClient(t, github.Config{HTTP: &script{}, Token: func() (string, error) { return botToken, nil }})
	_, err = account.App(t.Context())
	checkError(t, err, vcs.ErrRefused, "no App")
	checkError(t, account.SetAppWebhook(t.Context(), "https://tg.example/events", nil), vcs.ErrRefused, "no App")
}

// TestLogin: who asks is who the forge says, whatever the configuration says.
func TestLogin(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config github.Config
		answer string
		want   string // "" is an error
		path   string
	}{
		{"a user", github.Config{}, `{"login":"tidegate-bot"}`, "tidegate-bot", "/user"},
		{"another user than in the configuration", github.Config{User: "someone"}, `{"login":"tidegate-bot"}`, "tidegate-bot", "/user"},
		{"an App", github.Config{App: theApp(17)}, `{"slug":"tidegate"}`, appLogin, "/app"},
		{"no name", github.Config{}, `{"login":"a b\n"}`, "", "/user"},
		{"no slug", github.Config{App: theApp(17)}, `{"slug":null}`, "", "/app"},
	} {
		s := &script{steps: []step{reply(200, tt.answer)}}
		tt.config.HTTP = s
		if tt.config.App == nil {
			tt.config.Token = func() (string, error) { return botToken, nil }
		}
		got, err := appClient(t, tt.config).Login(t.Context())
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: Login() = %q, %v, want %q", tt.name, got, err, tt.want)
		}
		if len(s.reqs) != 1 || s.reqs[0].URL.Path != tt.path {
			t.Errorf("%s: %d requests, want one to %q", tt.name, len(s.reqs), tt.path)
		}
	}
}

// TestAppClones: git takes the token of the repository's installation, that of another one does not open it, and neither can do
// more than read.
func TestAppClones(t *testing.T) {
	t.Parallel()
	d := newDev(t)
	app := d.makeApp(t)
	must(t, d.CreateRepo("beta", "infra"))
	if _, err := d.Install(app.ID, "beta"); err != nil {
		t.Fatal(err)
	}
	c, host := appClient(t, github.Config{APIURL: d.url + "/api/v3", App: app}), strings.TrimPrefix(d.url, "http://")
	for opens, status := range map[string]int{"acme/infra": http.StatusOK, "beta/infra": http.StatusNotFound} {
		owner, name, _ := strings.Cut(opens, "/")
		got, err := c.CloneCredential(t.Context(), vcs.Repo{ID: vcs.RepoID{Forge: host}, Owner: owner, Name: name, CloneURL: d.url + "/" + opens + ".git"})
		must(t, err)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/acme/infra.git/info/refs?service=git-upload-pack", nil)
		must(t, err)
		req.SetBasicAuth(got.User, got.Password)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != status {
			t.Errorf("git on acme/infra with the token of %s is answered %d, want %d", opens, resp.StatusCode, status)
		}
		writes := appClient(t, github.Config{APIURL: d.url + "/api/v3", Token: func() (string, error) { return got.Password, nil }})
		err = writes.SetStatus(t.Context(), vcs.Repo{ID: vcs.RepoID{Forge: host}, Owner: owner, Name: name}, strings.Repeat("a", 40), vcs.Status{Context: "x", State: vcs.Success})
		checkError(t, err, vcs.ErrRefused, "not accessible by integration")
	}
}
