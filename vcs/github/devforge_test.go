package github_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/e2e/contract"
	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/devforge"
	"github.com/tidegate/tidegate/vcs/github"
	"github.com/tidegate/tidegate/vcs/vcstest"
)

// dev is a devforge with one repository and one pull request from a branch of it.
type dev struct {
	*devforge.Forge
	url     string
	tree    string // a clone
	head    string
	edition contract.Edition
	// branches are how many were made for pull requests of their own.
	branches int
}

func newDev(t *testing.T) *dev {
	t.Helper()
	return newEdition(t, contract.DotCom)
}

// newEdition holds each call against what GitHub publishes of the edition.
func newEdition(t *testing.T, edition contract.Edition) *dev {
	t.Helper()
	f, err := devforge.New(devforge.Config{Dir: t.TempDir()})
	must(t, err)
	srv := httptest.NewServer(published(t, edition).Front(asServed(edition, f.Handler()), "/api/v3", func(err error) { t.Error(err) }))
	t.Cleanup(func() {
		srv.Close()
		f.Close()
	})
	f.SetURL(srv.URL)
	d := &dev{Forge: f, edition: edition, url: srv.URL, tree: filepath.Join(t.TempDir(), "tree")}
	members := []devforge.Member{{Login: bot, Password: "bot-password", Token: botToken, Permission: "write"}}
	for user, may := range map[string]string{"acme": "admin", "ana": "write", "raj": "write", "root": "admin", "eve": "read"} {
		members = append(members, devforge.Member{Login: user, Password: user + "-password", Token: user + "-token", Permission: may})
	}
	must(t, f.Found("acme", "infra", members...))
	d.git(t, "init", "-q", "-b", "main", d.tree)
	d.commit(t, "one")
	d.push(t, "main")
	d.git(t, "-C", d.tree, "checkout", "-q", "-b", "grow")
	d.head = d.commit(t, "two")
	d.push(t, "grow")
	d.call(t, "ana", http.MethodPost, "/pulls", map[string]any{"title": "Grow the <cluster>", "head": "grow", "base": "main", "draft": true}, nil)
	return d
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func (d *dev) git(tb testing.TB, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "git", args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(d.tree), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (d *dev) commit(tb testing.TB, text string) string {
	tb.Helper()
	must(tb, os.WriteFile(filepath.Join(d.tree, "main.tf"), []byte("# "+text+"\n"), 0o600))
	d.git(tb, "-C", d.tree, "add", "-A")
	d.git(tb, "-C", d.tree, "commit", "-q", "-m", text)
	return d.git(tb, "-C", d.tree, "rev-parse", "HEAD")
}

func (d *dev) push(tb testing.TB, branch string) {
	tb.Helper()
	d.git(tb, "-C", d.tree, "push", "-q", d.remote("ana", "acme/infra"), "HEAD:refs/heads/"+branch)
}

// remote is where git reaches a repository as a user.
func (d *dev) remote(user, repo string) string {
	return strings.Replace(d.url, "http://", fmt.Sprintf("http://%[1]s:%[1]s-token@", user), 1) + "/" + repo + ".git"
}

// call asks the forge as a user, past the client.
func (d *dev) call(tb testing.TB, user, method, path string, in, out any) {
	tb.Helper()
	var body bytes.Buffer
	if in != nil {
		must(tb, json.NewEncoder(&body).Encode(in))
	}
	req, err := http.NewRequestWithContext(tb.Context(), method, d.url+"/api/v3/repos/acme/infra"+path, &body)
	must(tb, err)
	token := user + "-token"
	if user == bot {
		token = botToken
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(tb, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	must(tb, err)
	if resp.StatusCode >= 300 {
		tb.Fatalf("%s %s as %s: %d %s", method, path, user, resp.StatusCode, raw)
	}
	if out != nil {
		must(tb, json.Unmarshal(raw, out))
	}
}

// branch makes a branch on top of main with a commit of one file, whose text is its own.
func (d *dev) branch(tb testing.TB, name, file string) string {
	tb.Helper()
	d.git(tb, "-C", d.tree, "fetch", "-q", d.url+"/acme/infra.git", "main")
	d.git(tb, "-C", d.tree, "checkout", "-q", "-b", name, "FETCH_HEAD")
	must(tb, os.WriteFile(filepath.Join(d.tree, file+".tf"), []byte("# "+name+"\n"), 0o600))
	d.git(tb, "-C", d.tree, "add", "-A")
	d.git(tb, "-C", d.tree, "commit", "-q", "-m", name)
	return d.git(tb, "-C", d.tree, "rev-parse", "HEAD")
}

// another opens a pull request from a branch that has a file of its name.
func (d *dev) another(tb testing.TB, repo vcs.RepoID) vcs.Pull {
	tb.Helper()
	d.branches++
	return d.opens(tb, fmt.Sprintf("more/branch-%d", d.branches), repo)
}

// opens opens a pull request from a new branch.
func (d *dev) opens(tb testing.TB, name string, repo vcs.RepoID) vcs.Pull {
	tb.Helper()
	d.branch(tb, name, filepath.Base(name))
	d.push(tb, name)
	var made struct{ Number int }
	d.call(tb, "ana", http.MethodPost, "/pulls", map[string]any{"title": "More", "head": name, "base": "main"}, &made)
	p, err := client(tb, github.Config{APIURL: d.url + "/api/v3"}).Pull(tb.Context(), vcs.Repo{ID: repo, Owner: "acme", Name: "infra"}, made.Number)
	must(tb, err)
	return p
}

func (d *dev) conversation(tb testing.TB) []vcstest.Remark {
	tb.Helper()
	var all []vcstest.Remark
	for page := 1; ; page++ {
		var some []struct {
			ID   int64
			Body string
			User struct{ Login string }
		}
		d.call(tb, "ana", http.MethodGet, fmt.Sprintf("/issues/1/comments?per_page=100&page=%d", page), nil, &some)
		for _, c := range some {
			all = append(all, vcstest.Remark{ID: c.ID, Author: c.User.Login, Body: c.Body})
		}
		if len(some) < 100 {
			return all
		}
	}
}

func (d *dev) statuses(tb testing.TB, sha string) map[string]vcs.Status {
	tb.Helper()
	var some []struct {
		Context, State, Description string
		URL                         string `json:"target_url"`
	}
	d.call(tb, "ana", http.MethodGet, "/commits/"+sha+"/statuses", nil, &some)
	all := map[string]vcs.Status{}
	for _, s := range some { // newest first
		if _, newer := all[s.Context]; !newer {
			all[s.Context] = vcs.Status{Context: s.Context, State: vcs.StatusState(s.State), Description: s.Description, URL: s.URL}
		}
	}
	return all
}

func (d *dev) kit(t *testing.T) vcstest.Kit {
	t.Helper()
	u, err := url.Parse(d.url)
	must(t, err)
	var repo struct{ ID int64 }
	d.call(t, "ana", http.MethodGet, "", nil, &repo)
	id := vcs.RepoID{Forge: u.Host, ID: repo.ID}
	return vcstest.Kit{
		Forge: client(t, github.Config{APIURL: d.url + "/api/v3", User: bot}),
		Pull: vcs.Pull{
			Repo:   vcs.Repo{ID: id, Owner: "acme", Name: "infra", CloneURL: d.url + "/acme/infra.git", URL: d.url + "/acme/infra"},
			Number: 1, Title: "Grow the <cluster>", Author: "ana", URL: d.url + "/acme/infra/pull/1", State: vcs.Open, Draft: true,
			Head:    vcs.Branch{Ref: "grow", SHA: d.head, Repo: id},
			Base:    vcs.Branch{Ref: "main", SHA: d.git(t, "-C", d.tree, "rev-parse", "main"), Repo: id},
			HeadRef: "refs/pull/1/head",
		},
		Hooker: client(t, github.Config{APIURL: d.url + "/api/v3", Token: func() (string, error) { return "root-token", nil }}),
		Bot:    bot, Author: "ana", Writer: "raj", Admin: "root", Reader: "eve",
		Comment: func(tb testing.TB, user, body string) int64 {
			tb.Helper()
			var made struct{ ID int64 }
			d.call(tb, user, http.MethodPost, "/issues/1/comments", map[string]any{"body": body}, &made)
			return made.ID
		},
		Conversation: d.conversation, Statuses: d.statuses,
		Push: func(tb testing.TB) string {
			tb.Helper()
			sha := d.commit(tb, "three")
			d.push(tb, "grow")
			return sha
		},
		Close: func(tb testing.TB) {
			tb.Helper()
			d.call(tb, "ana", http.MethodPatch, "/pulls/1", map[string]any{"state": "closed"}, nil)
		},
		Review: func(tb testing.TB, user string, v vcstest.Verdict) int64 {
			tb.Helper()
			var made struct{ ID int64 }
			event := map[vcstest.Verdict]string{vcstest.Approve: "APPROVE", vcstest.RequestChanges: "REQUEST_CHANGES", vcstest.Remarks: "COMMENT"}[v]
			d.call(tb, user, http.MethodPost, "/pulls/1/reviews", map[string]any{"event": event, "body": string(v)}, &made)
			return made.ID
		},
		Folded: func(testing.TB) int { return d.FoldedComments("acme", "infra", 1) },
		Another: func(tb testing.TB) vcs.Pull {
			tb.Helper()
			return d.another(tb, id)
		},
		BranchSHA: func(tb testing.TB, branch string) string {
			tb.Helper()
			sha, _, _ := strings.Cut(d.git(tb, "ls-remote", d.url+"/acme/infra.git", "refs/heads/"+branch), "\t")
			return sha
		},
		Require: func(tb testing.TB, contexts ...string) {
			tb.Helper()
			n := len(contexts) / 2
			if d.edition == contract.GHES310 {
				n = len(contexts)
			}
			must(tb, d.Protect("acme", "infra", "main", devforge.Protection{Contexts: contexts[:n], RuleContexts: contexts[n:]}))
		},
		Clash: func(tb testing.TB, p vcs.Pull) {
			tb.Helper()
			d.branch(tb, "clash", filepath.Base(p.Head.Ref))
			d.push(tb, "main")
		},
	}
}

// TestExerciseDevforge: what the client asks, and what devforge answers, is what GitHub's own descriptions have.
func TestExerciseDevforge(t *testing.T) {
	t.Parallel()
	eachEdition(t, func(t *testing.T, edition contract.Edition) {
		t.Helper()
		k := newEdition(t, edition).kit(t)
		vcstest.Exercise(t, k)
		if _, told := k.Forge.(*github.Client).RequestsLeft(); told != (edition == contract.DotCom) {
			t.Errorf("RequestsLeft() is told: %v", told)
		}
	})
}

// asServed lets a forge know what the edition knows: an Enterprise Server tells of no rate limit, and the older one has no rulesets.
func asServed(edition contract.Edition, f http.Handler) http.Handler {
	if edition == contract.DotCom {
		return f
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if edition == contract.GHES310 && strings.Contains(r.URL.Path, "/rules/branches/") {
			answer(w, http.StatusNotFound, message("Not Found"))
			return
		}
		f.ServeHTTP(unlimited{w}, r)
	})
}

// unlimited leaves out what is told of a rate limit.
type unlimited struct{ http.ResponseWriter }

func (u unlimited) WriteHeader(status int) {
	maps.DeleteFunc(u.Header(), func(name string, _ []string) bool { return strings.HasPrefix(name, "X-Ratelimit-") })
	u.ResponseWriter.WriteHeader(status)
}

func (u unlimited) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// TestDevforgeDeliveries: what devforge sends over HTTP is what the hook reads.
func TestDevforgeDeliveries(t *testing.T) {
	t.Parallel()
	const secret = "webhook-secret"
	d := newDev(t)
	k := d.kit(t)
	c := client(t, github.Config{APIURL: d.url + "/api/v3", WebhookSecrets: func() [][]byte { return [][]byte{[]byte(secret)} }})
	type took struct {
		ev  vcs.Event
		err error
	}
	events := make(chan took, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if !c.Claims(r.Header) {
			err = errors.New("not claimed")
		}
		if err = errors.Join(err, c.Verify(r.Header, body)); err != nil {
			events <- took{err: err}
			return
		}
		ev, err := c.Parse(r.Header, body)
		events <- took{ev, err}
	}))
	t.Cleanup(hook.Close)
	must(t, d.AddHook("acme", "infra", hook.URL, secret))
	next := func() took {
		t.Helper()
		select {
		case got := <-events:
			return got
		case <-time.After(20 * time.Second):
			t.Fatal("no delivery came")
			return took{}
		}
	}

	sha := k.Push(t)
	got := next()
	if got.err != nil || got.ev.Kind != vcs.PullPushed || got.ev.Head != sha || got.ev.Repo != k.Pull.Repo || got.ev.Pull != 1 || got.ev.BaseRef != "main" {
		t.Errorf("after a push: %+v, %v", got.ev, got.err)
	}
	id := k.Comment(t, "raj", "plan")
	got = next()
	if got.err != nil || got.ev.Kind != vcs.Commented || got.ev.Comment.ID != id || got.ev.Comment.Author != "raj" || got.ev.Sender != "raj" || got.ev.Comment.Body != "plan" {
		t.Errorf("after a comment: %+v, %v", got.ev, got.err)
	}
	must(t, d.SetDraft("acme", "infra", 1, false))
	if got = next(); got.err != nil || got.ev.Kind != vcs.PullReady {
		t.Errorf("after ready: %+v, %v", got.ev, got.err)
	}
	k.Close(t)
	if got = next(); got.err != nil || got.ev.Kind != vcs.PullClosed {
		t.Errorf("after a close: %+v, %v", got.ev, got.err)
	}
}
