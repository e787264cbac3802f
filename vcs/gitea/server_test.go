package gitea_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitea"
	"github.com/tidegate/tidegate/vcs/gitea/giteatest"
	"github.com/tidegate/tidegate/vcs/vcstest"
)

const (
	bot     = "tidegate-bot"
	owner   = "acme"
	noToken = "0123456789abcdef-nobody-may-see-this"
)

// shared is the one server of this test binary.
type shared struct {
	start sync.Once
	*giteatest.Server
	// token is the bot's.
	token string
	err   error
}

var real shared //nolint:gochecknoglobals // one server is enough for all tests, and must be ended after the last

func TestMain(m *testing.M) {
	code := m.Run()
	if real.Server != nil {
		if err := real.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping Gitea:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// running is the server with everybody on it.
func running(t *testing.T) *shared {
	t.Helper()
	real.start.Do(func() {
		dir, err := os.MkdirTemp("", "tidegate-gitea-") //nolint:usetesting // it outlives the test that starts it
		if err != nil {
			real.err = err
			return
		}
		if real.Server, real.err = giteatest.Start(context.Background(), dir); real.err != nil {
			real.err = errors.Join(real.err, os.RemoveAll(dir))
			return
		}
		for _, user := range []string{owner, "ana", "raj", "rosa", "eve", "mallory"} {
			real.AddUser(t, user)
		}
		real.AddUser(t, bot)
		// What docs/flags.md asks for is enough.
		real.token = real.Token(t, bot, "write:repository", "write:issue", "read:user")
	})
	if real.err != nil || real.token == "" {
		t.Fatalf("there is no server: %v", real.err)
	}
	return &real
}

// world is a repository with one pull request from a branch of it.
type world struct {
	*giteatest.Clone
	token, repo, head string
	// opened counts the pull requests that were opened later.
	opened int
}

func newWorld(t *testing.T, repo string) *world {
	t.Helper()
	s := running(t)
	w := &world{Clone: s.AddRepo(t, owner, repo), token: s.token, repo: repo}
	for user, may := range map[string]string{bot: "admin", "ana": "write", "raj": "write", "rosa": "admin", "eve": "read"} {
		s.AddMember(t, owner, repo, user, may)
	}
	w.Branch(t, "grow")
	w.head = w.Commit(t, "two")
	w.Push(t, "ana", "grow")
	w.ask(t, "ana", http.MethodPost, "/pulls", map[string]any{"title": "WIP: Grow the <cluster>", "head": "grow", "base": "main"}, nil)
	return w
}

// ask asks about the repository, past the client.
func (w *world) ask(tb testing.TB, user, method, path string, in, out any) {
	tb.Helper()
	w.Call(tb, user, method, "/repos/"+owner+"/"+w.repo+path, in, out)
}

func (w *world) client(tb testing.TB, c gitea.Config) *gitea.Client {
	tb.Helper()
	c.BaseURL = w.Server.URL
	if c.Token == nil {
		c.Token = func() (string, error) { return w.token, nil }
	}
	return client(tb, c)
}

func client(tb testing.TB, c gitea.Config) *gitea.Client {
	tb.Helper()
	if c.Token == nil {
		c.Token = func() (string, error) { return noToken, nil }
	}
	cl, err := gitea.New(c)
	must(tb, err)
	return cl
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func (w *world) conversation(tb testing.TB) []vcstest.Remark {
	tb.Helper()
	var some []struct {
		ID   int64
		Body string
		User struct{ Login string }
	}
	w.ask(tb, "ana", http.MethodGet, "/issues/1/comments", nil, &some)
	var all []vcstest.Remark
	for _, c := range some {
		r := vcstest.Remark{ID: c.ID, Author: c.User.Login, Body: c.Body, Reactions: map[string]int{}}
		r.Folded = strings.Count(c.Body, "<details><summary>Outdated</summary>") == 1
		var reactions []struct{ Content string }
		if strings.HasPrefix(c.Body, "apply") {
			w.ask(tb, "ana", http.MethodGet, fmt.Sprintf("/issues/comments/%d/reactions", c.ID), nil, &reactions)
		}
		for _, one := range reactions {
			r.Reactions[one.Content]++
		}
		all = append(all, r)
	}
	return all
}

func (w *world) statuses(tb testing.TB, sha string) map[string]vcs.Status {
	tb.Helper()
	var got struct {
		Statuses []struct {
			Context, Status, Description string
			URL                          string `json:"target_url"`
		}
	}
	w.ask(tb, "ana", http.MethodGet, "/commits/"+sha+"/status", nil, &got)
	all := map[string]vcs.Status{}
	for _, s := range got.Statuses {
		all[s.Context] = vcs.Status{Context: s.Context, State: vcs.StatusState(s.Status), Description: s.Description, URL: s.URL}
	}
	return all
}

func (w *world) pull(t *testing.T) vcs.Pull {
	t.Helper()
	u, err := url.Parse(w.Server.URL)
	must(t, err)
	var repo struct{ ID int64 }
	w.ask(t, "ana", http.MethodGet, "", nil, &repo)
	id := vcs.RepoID{Forge: u.Host, ID: repo.ID}
	page := w.Server.URL + "/" + owner + "/" + w.repo
	return vcs.Pull{
		Repo:   vcs.Repo{ID: id, Owner: owner, Name: w.repo, CloneURL: page + ".git", URL: page},
		Number: 1, Title: "WIP: Grow the <cluster>", Author: "ana", URL: page + "/pulls/1", State: vcs.Open, Draft: true,
		Head:    vcs.Branch{Ref: "grow", SHA: w.head, Repo: id},
		Base:    vcs.Branch{Ref: "main", SHA: w.Git(t, owner, "-C", w.Dir, "rev-parse", "main"), Repo: id},
		HeadRef: "refs/heads/grow",
	}
}

func (w *world) comment(tb testing.TB, user, body string) int64 {
	tb.Helper()
	var made struct{ ID int64 }
	w.ask(tb, user, http.MethodPost, "/issues/1/comments", map[string]any{"body": body}, &made)
	return made.ID
}

func (w *world) review(tb testing.TB, user string, v vcstest.Verdict) int64 {
	tb.Helper()
	var made struct{ ID int64 }
	event := map[vcstest.Verdict]string{vcstest.Approve: "APPROVED", vcstest.RequestChanges: "REQUEST_CHANGES", vcstest.Remarks: "COMMENT"}[v]
	w.ask(tb, user, http.MethodPost, "/pulls/1/reviews", map[string]any{"event": event, "body": string(v)}, &made)
	return made.ID
}

func (w *world) push(tb testing.TB) string {
	tb.Helper()
	sha := w.Commit(tb, "three "+w.Head(tb))
	w.Push(tb, "ana", "grow")
	return sha
}

func (w *world) edit(tb testing.TB, what map[string]any) {
	tb.Helper()
	w.ask(tb, "ana", http.MethodPatch, "/pulls/1", what, nil)
}

// another opens a pull request from a branch at the newest main, and waits until the forge has looked at it. What it does
// about the merge before is done first: it would look again.
func (w *world) another(t *testing.T) vcs.Pull {
	t.Helper()
	must(t, w.Settle())
	w.Git(t, owner, "-C", w.Dir, "fetch", "-q", w.URL, "main")
	w.Git(t, owner, "-C", w.Dir, "checkout", "-q", "--detach", "FETCH_HEAD")
	w.opened++
	branch := fmt.Sprint("more-", w.opened)
	w.Branch(t, branch)
	w.Commit(t, branch)
	w.Push(t, "ana", branch)
	var made struct{ Number int }
	w.ask(t, "ana", http.MethodPost, "/pulls", map[string]any{"title": branch, "head": branch, "base": "main"}, &made)
	must(t, w.Settle())
	return w.read(t, made.Number)
}

// branchSHA is where a branch stands; "" when it is gone.
func (w *world) branchSHA(tb testing.TB, branch string) string {
	tb.Helper()
	var got struct{ Commit struct{ ID string } }
	status, raw := w.Ask(tb, "ana", http.MethodGet, "/repos/"+owner+"/"+w.repo+"/branches/"+branch, nil)
	if status == http.StatusNotFound {
		return ""
	}
	must(tb, json.Unmarshal(raw, &got))
	return got.Commit.ID
}

// protect has main require statuses; without any, it requires nothing.
func (w *world) protect(tb testing.TB, contexts ...string) {
	tb.Helper()
	if len(contexts) == 0 {
		w.ask(tb, owner, http.MethodDelete, "/branch_protections/main", nil, nil)
		return
	}
	w.rule(tb, map[string]any{"enable_status_check": true, "status_check_contexts": contexts})
}

// rule protects main.
func (w *world) rule(tb testing.TB, what map[string]any) {
	tb.Helper()
	what["rule_name"] = "main"
	w.ask(tb, owner, http.MethodPost, "/branch_protections", what, nil)
}

// clash moves main so that a pull request that was opened before has conflicts.
func (w *world) clash(tb testing.TB, _ vcs.Pull) {
	tb.Helper()
	w.Git(tb, owner, "-C", w.Dir, "fetch", "-q", w.URL, "main")
	w.Git(tb, owner, "-C", w.Dir, "checkout", "-q", "--detach", "FETCH_HEAD")
	w.Branch(tb, "main")
	w.Commit(tb, "clash")
	w.Push(tb, owner, "main")
	must(tb, w.Settle())
}

// kit has no Hooker: a webhook that is mended has another id here, see TestWebhooks.
func (w *world) kit(t *testing.T) vcstest.Kit {
	t.Helper()
	c := w.client(t, gitea.Config{User: bot})
	c.Hasten()
	return vcstest.Kit{
		Forge: c, Pull: w.pull(t),
		Bot: bot, Author: "ana", Writer: "raj", Admin: "rosa", Reader: "eve", Stranger: "mallory",
		Comment: w.comment, Conversation: w.conversation, Statuses: w.statuses, Push: w.push, Review: w.review,
		BranchSHA: w.branchSHA, Require: w.protect, Clash: w.clash,
		Another: func(tb testing.TB) vcs.Pull {
			tb.Helper()
			return w.another(t)
		},
		Close: func(tb testing.TB) {
			tb.Helper()
			w.edit(tb, map[string]any{"state": "closed"})
		},
		Dismiss: func(tb testing.TB, review int64) {
			tb.Helper()
			w.ask(tb, owner, http.MethodPost, fmt.Sprintf("/pulls/1/reviews/%d/dismissals", review), map[string]any{"message": "no"}, nil)
		},
	}
}

func TestExercise(t *testing.T) {
	t.Parallel()
	vcstest.Exercise(t, newWorld(t, "infra").kit(t))
}
