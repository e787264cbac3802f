package gitea_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitea"
)

// read reads a pull request as the client does.
func (w *world) read(t *testing.T, number int) vcs.Pull {
	t.Helper()
	p, err := w.client(t, gitea.Config{}).Pull(t.Context(), w.pull(t).Repo, number)
	must(t, err)
	return p
}

// TestStrangersPush: who may only read can push a pull request without a branch into the repository itself. It is
// nobody's of the repository.
func TestStrangersPush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "agit")
	sha := w.Commit(t, "evil")
	w.Push(t, "eve", "refs/for/main/topic", "-o", "title=evil")
	got := w.read(t, 2)
	if !got.Fork() || got.Author != "eve" || got.Head.SHA != sha || got.HeadRef != "refs/pull/2/head" {
		t.Errorf("Pull() = %+v, fork %v; want one by eve that counts as a fork's, at %s", got, got.Fork(), sha)
	}
	n, err := w.client(t, gitea.Config{}).News(t.Context(), w.pull(t).Repo, time.Time{}, nil)
	must(t, err)
	for _, p := range n.Pulls {
		if p.Number == 2 && !p.Fork() {
			t.Errorf("News() = %+v, want it to count as a fork's", p)
		}
	}
}

// TestFork: a pull request from a fork, and after the fork is gone.
func TestFork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "forked")
	w.Call(t, "eve", http.MethodPost, "/repos/acme/forked/forks", map[string]any{}, nil)
	fork := *w.Clone
	fork.URL = w.Server.URL + "/eve/forked.git"
	sha := w.Commit(t, "from outside")
	fork.Push(t, "eve", "refs/heads/outside")
	status, raw := w.await(t, "eve", http.MethodPost, "/repos/acme/forked/pulls", map[string]any{"title": "outside", "head": "eve:outside", "base": "main"}, http.StatusCreated)
	if status != http.StatusCreated {
		t.Fatalf("making a pull request: %d %s", status, raw)
	}
	got := w.read(t, 2)
	if !got.Fork() || got.Head.Repo.ID == 0 || got.Head.Ref != "outside" || got.Head.SHA != sha || got.Repo != w.pull(t).Repo {
		t.Errorf("Pull() = %+v, want one from a fork at %s", got, sha)
	}
	w.Call(t, "eve", http.MethodDelete, "/repos/eve/forked", nil, nil)
	got = w.read(t, 2)
	if !got.Fork() || got.Head.Repo.ID != 0 || got.Head.SHA != sha {
		t.Errorf("after the fork is gone Pull() = %+v, want one from nowhere at %s", got, sha)
	}
}

// TestOddBranches: a stranger's branch with an odd name is heard of and read, and so is a comment on it.
func TestOddBranches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "odd")
	r := newReceiver(t, w, "json")
	c := w.client(t, gitea.Config{})
	w.Call(t, "eve", http.MethodPost, "/repos/acme/odd/forks", map[string]any{}, nil)
	fork := *w.Clone
	fork.URL = w.Server.URL + "/eve/odd.git"
	w.Commit(t, "from outside")
	for i, name := range []string{"@", "-x"} {
		number := i + 2
		fork.Push(t, "eve", "refs/heads/"+name)
		opened := map[string]any{"title": "odd", "head": "eve:" + name, "base": "main"}
		if status, raw := w.await(t, "eve", http.MethodPost, "/repos/acme/odd/pulls", opened, http.StatusCreated); status != http.StatusCreated {
			t.Fatalf("making a pull request from %q: %d %s", name, status, raw)
		}
		if d := r.next(t, "pull_request", "opened"); d.err != nil || d.event.Pull != number {
			t.Errorf("its delivery: %+v, %v", d.event, d.err)
		}
		w.ask(t, "eve", http.MethodPost, fmt.Sprintf("/issues/%d/comments", number), map[string]any{"body": "plan"}, nil)
		if d := r.next(t, "issue_comment", "created"); d.err != nil || d.event.Pull != number {
			t.Errorf("the delivery of a comment on it: %+v, %v", d.event, d.err)
		}
		if got := w.read(t, number); got.Head.Ref != name {
			t.Errorf("Pull() = %+v, want one from %q", got, name)
		}
		for _, since := range []time.Time{{}, time.Now().Add(-time.Minute)} {
			n, err := c.News(t.Context(), w.pull(t).Repo, since, nil)
			if err != nil || !slices.ContainsFunc(n.Pulls, func(p vcs.Pull) bool { return p.Head.Ref == name }) {
				t.Errorf("News(%v) = %+v, %v, want the pull request from %q", since, n.Pulls, err, name)
			}
		}
	}
}

// await asks until the answer is the one that is wanted: the forge takes pushes in from a queue.
func (w *world) await(t *testing.T, user, method, path string, in any, want int) (status int, raw []byte) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		if status, raw = w.Ask(t, user, method, path, in); status == want {
			break
		}
	}
	return status, raw
}

// TestBranchesGone: a merged pull request whose branches were deleted can still be read.
func TestBranchesGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "gone")
	w.Git(t, owner, "-C", w.Dir, "checkout", "-q", "main")
	w.Branch(t, "base")
	w.Push(t, owner, "base")
	w.edit(t, map[string]any{"title": "no draft", "base": "base"})
	if status, raw := w.await(t, "rosa", http.MethodPost, "/repos/acme/gone/pulls/1/merge", map[string]any{"Do": "merge", "delete_branch_after_merge": true}, http.StatusOK); status != http.StatusOK {
		t.Fatalf("merging: %d %s", status, raw)
	}
	w.ask(t, owner, http.MethodDelete, "/branches/base", nil, nil)
	got := w.read(t, 1)
	if got.State != vcs.Merged || got.Draft || got.Fork() || got.Head.SHA != w.head || got.Head.Ref != "grow" || got.Base.Ref != "base" || got.Base.SHA != "" {
		t.Errorf("Pull() = %+v, want it merged from grow at %s into base, which has no commit", got, w.head)
	}
}

// TestPushedWhileClosed: what was pushed while a pull request was closed is its head when it is opened again, and can be
// fetched.
func TestPushedWhileClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "reopened")
	at := func(sha string) {
		t.Helper()
		must(t, w.Settle())
		p := w.read(t, 1)
		said := w.Git(t, owner, "ls-remote", w.URL, p.HeadRef)
		if got, _, _ := strings.Cut(said, "\t"); p.State != vcs.Open || p.Head.SHA != sha || got != sha {
			t.Errorf("it is %s, its head at %s, %s at %q, want it open and both at %s", p.State, p.Head.SHA, p.HeadRef, got, sha)
		}
	}
	at(w.head)
	w.Git(t, "ana", "-C", w.Dir, "push", "-q", w.URL, ":refs/heads/grow")
	must(t, w.Settle())
	if got := w.read(t, 1); got.State != vcs.Closed || got.Head.SHA != w.head {
		t.Fatalf("after its branch is gone it is %s at %s, want it closed at %s", got.State, got.Head.SHA, w.head)
	}
	sha := w.push(t)
	must(t, w.Settle())
	w.edit(t, map[string]any{"state": "open"})
	at(sha)
	at(w.push(t))
}

// TestNotAdmin: an account that may only write is told what it lacks.
func TestNotAdmin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "member")
	token := w.Token(t, "raj", "all")
	c := w.client(t, gitea.Config{Token: func() (string, error) { return token, nil }})
	repo := w.pull(t).Repo
	may, err := c.Permission(t.Context(), repo, "ana")
	if may != vcs.NoPermission || !errors.Is(err, vcs.ErrRefused) || !strings.Contains(err.Error(), "must be an administrator of acme/member") {
		t.Errorf("Permission() = %v, %v, want a refusal that says why", may, err)
	}
	if _, err := c.Webhooks(t.Context(), repo); !errors.Is(err, vcs.ErrRefused) && !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("Webhooks() error = %v, want a refusal", err)
	}
	// A token that lacks a scope is refused, and not tried again and again.
	narrow := w.Token(t, "raj", "read:user")
	c = w.client(t, gitea.Config{Token: func() (string, error) { return narrow, nil }})
	if _, err := c.Pull(t.Context(), repo, 1); !errors.Is(err, vcs.ErrRefused) || !strings.Contains(err.Error(), "scope") {
		t.Errorf("Pull() with too narrow a token: error = %v, want a refusal that says so", err)
	}
	// What the account itself may not do is no fault of its token.
	w.AddMember(t, owner, "member", "raj", "read")
	if got, err := c.Token(t.Context(), repo); err != nil || len(got.Lacks) != 2 {
		t.Errorf("Token() of who may not write with too narrow a token = %+v, %v", got, err)
	}
	c = w.client(t, gitea.Config{Token: func() (string, error) { return token, nil }})
	if got, err := c.Token(t.Context(), repo); err != nil || len(got.Lacks) > 0 {
		t.Errorf("Token() of who may not write = %+v, %v, want that it lacks nothing", got, err)
	}
	// Which scopes it lacks is found out, and nothing is changed for it.
	w.AddMember(t, owner, "member", "raj", "admin")
	for scopes, want := range map[string][]string{
		"read:user": {"write:issue", "write:repository"}, "read:user write:repository read:issue": {"write:issue"},
		"read:user read:repository write:issue": {"write:repository"}, "all": nil, "read:user write:repository write:issue": nil,
	} {
		token := w.Token(t, "raj", strings.Fields(scopes)...)
		c := w.client(t, gitea.Config{Token: func() (string, error) { return token, nil }})
		if got, err := c.Token(t.Context(), repo); err != nil || !slices.Equal(got.Lacks, want) {
			t.Errorf("Token() with %s = %+v, %v, want that it lacks %q", scopes, got, err, want)
		}
	}
}

// TestClone: git takes the credential, and the ref of the pull request is there.
func TestClone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "cloned")
	p := w.read(t, 1)
	for _, user := range []string{"", bot} {
		got, err := w.client(t, gitea.Config{User: user}).CloneCredential(t.Context(), p.Repo)
		must(t, err)
		url := strings.Replace(p.Repo.CloneURL, "://", "://"+got.User+":"+got.Password+"@", 1)
		if said := w.Git(t, "nobody", "ls-remote", url, p.HeadRef); !strings.HasPrefix(said, w.head) {
			t.Errorf("git with the credential of %q says %q, want %s", user, said, w.head)
		}
	}
}

// TestRenamed: a repository is found at its old name, and is the same one.
func TestRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "before")
	old := w.pull(t)
	w.Call(t, owner, http.MethodPatch, "/repos/acme/before", map[string]any{"name": "after"}, nil)
	c := w.client(t, gitea.Config{})
	got, err := c.Pull(t.Context(), old.Repo, 1)
	if err != nil || got.Repo.ID != old.Repo.ID || got.Repo.Name != "after" {
		t.Errorf("Pull() at the old name = %+v, %v, want it in acme/after", got, err)
	}
	if made, err := c.CreateComment(t.Context(), old, "x"); err != nil || made.Body != "x" {
		t.Errorf("CreateComment() at the old name = %+v, %v", made, err)
	}
	must(t, c.SetStatus(t.Context(), old.Repo, w.head, vcs.Status{Context: "x", State: vcs.Success}))
	w.repo = "after"
	if got := w.statuses(t, w.head); len(got) != 1 {
		t.Errorf("the statuses are %v, want the one that was set at the old name", got)
	}
	if got := w.conversation(t); len(got) != 1 || got[0].Body != "x" {
		t.Errorf("the conversation is %v, want the comment that was made at the old name", got)
	}
}

// TestNews: what happened since a time is told once, as a webhook would have told it.
func TestNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "news")
	c := w.client(t, gitea.Config{PageSize: 7})
	repo, err := c.Repo(t.Context(), owner, "news")
	must(t, err)
	pull := w.pull(t)
	if repo != pull.Repo {
		t.Fatalf("the repository is %+v, want %+v", repo, pull.Repo)
	}
	begin := time.Now().Add(-time.Minute)
	ids := map[int64]bool{}
	for i := range 23 { // more than three pages
		ids[w.comment(t, "raj", fmt.Sprint("plan ", i))] = true
	}
	w.ask(t, "raj", http.MethodPost, "/issues", map[string]any{"title": "help"}, nil)
	w.ask(t, "raj", http.MethodPost, "/issues/2/comments", map[string]any{"body": "plan"}, nil)
	n, err := c.News(t.Context(), repo, begin, nil)
	must(t, err)
	if diff := cmp.Diff([]vcs.Pull{pull}, n.Pulls); diff != "" {
		t.Errorf("pull requests differ (-want +got):\n%s", diff)
	}
	for _, ev := range n.Comments {
		want := vcs.Event{Kind: vcs.Commented, Repo: repo, Pull: 1, Comment: ev.Comment}
		if !ids[ev.Comment.ID] || ev.Key() != want.Key() || ev.Sender != "raj" || !strings.HasPrefix(ev.Comment.Body, "plan ") {
			t.Errorf("a comment: %+v", ev)
		}
		delete(ids, ev.Comment.ID)
	}
	if len(ids) != 0 {
		t.Errorf("%d comments were not told", len(ids))
	}
	if n.At.Before(begin) || n.At.After(time.Now()) {
		t.Errorf("it was asked at %s", n.At)
	}
	if n, err = c.News(t.Context(), repo, time.Now().Add(time.Hour), nil); err != nil || len(n.Pulls)+len(n.Comments) != 0 {
		t.Errorf("of the future: %+v, %v", n, err)
	}
	if n, err = c.News(t.Context(), repo, time.Time{}, nil); err != nil || len(n.Pulls) != 1 || len(n.Comments) != 0 {
		t.Errorf("how things stand: %+v, %v, want one pull request and no comments", n, err)
	}
	w.edit(t, map[string]any{"state": "closed"})
	if n, err = c.News(t.Context(), repo, begin, nil); err != nil || len(n.Pulls) != 1 || n.Pulls[0].State != vcs.Closed {
		t.Errorf("of closed pull requests: %+v, %v", n.Pulls, err)
	}
	if n, err = c.News(t.Context(), repo, time.Time{}, nil); err != nil || len(n.Pulls) != 0 {
		t.Errorf("of open pull requests: %+v, %v", n.Pulls, err)
	}
	repo.ID.ID++
	if _, err = c.News(t.Context(), repo, begin, nil); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("of another repository at that name: %v, want %v", err, vcs.ErrNotFound)
	}
}

// TestNewsOfEditedComments: what a comment says after an edit is not its author's word; a reaction is no edit.
func TestNewsOfEditedComments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "edited")
	c := w.client(t, gitea.Config{})
	pull := w.pull(t)
	begin := time.Now().Add(-time.Minute)
	edited, plain := w.comment(t, "raj", "looks odd to me"), w.comment(t, "raj", "plan")
	told := func() (ids []int64) {
		t.Helper()
		n, err := c.News(t.Context(), pull.Repo, begin, nil)
		must(t, err)
		for _, ev := range n.Comments {
			ids = append(ids, ev.Comment.ID)
		}
		return ids
	}
	if ids := told(); !slices.Contains(ids, edited) || !slices.Contains(ids, plain) {
		t.Fatalf("News() tells of %v, want %d and %d", ids, edited, plain)
	}
	// The forge's clock ticks in seconds: an edit in the second of the making does not show.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range 300 {
		<-tick.C
		must(t, c.EditComment(t.Context(), pull, edited, fmt.Sprint("apply ", i)))
		if !slices.Contains(told(), edited) {
			break
		}
	}
	must(t, c.React(t.Context(), pull, plain))
	if ids := told(); !slices.Equal(ids, []int64{plain}) {
		t.Errorf("News() tells of %v, want the comment that nobody has edited: %d", ids, plain)
	}
}

// TestFold: what a comment is recognised by stays at its end, and a comment that is gone is no error.
func TestFold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "folded")
	c, pull := w.client(t, gitea.Config{}), w.pull(t)
	const note = "<!-- tidegate:1 run=1 mac=00 -->"
	made, err := c.CreateComment(t.Context(), pull, "### Plan\n\n```diff\n+ a\n```\n\n"+note)
	must(t, err)
	bare, err := c.CreateComment(t.Context(), pull, "<!-- first --> bare")
	must(t, err)
	gone, err := c.CreateComment(t.Context(), pull, "gone")
	must(t, err)
	must(t, c.DeleteComment(t.Context(), pull, gone.ID))
	for range 2 {
		must(t, c.Fold(t.Context(), pull, []vcs.Comment{{ID: gone.ID}, {ID: made.ID}, {ID: bare.ID}}))
	}
	all, err := c.Comments(t.Context(), pull, time.Time{})
	must(t, err)
	var bodies []string
	for _, k := range all {
		bodies = append(bodies, k.Body)
	}
	want := []string{
		"<details><summary>Outdated</summary>\n\n### Plan\n\n```diff\n+ a\n```\n\n</details>\n\n" + note,
		"<details><summary>Outdated</summary>\n\n<!-- first --> bare\n\n</details>\n\n",
	}
	if diff := cmp.Diff(want, bodies); diff != "" {
		t.Errorf("the comments differ (-want +got):\n%s", diff)
	}
}

// TestWebhooks: one is made, found, and replaced with its secret; one of another kind is told to be wrong.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "hooked")
	c, pull := w.client(t, gitea.Config{}), w.pull(t)
	list := func(want int) []vcs.Webhook {
		t.Helper()
		all, err := c.Webhooks(t.Context(), pull.Repo)
		must(t, err)
		if len(all) != want {
			t.Fatalf("%d webhooks, want %d: %+v", len(all), want, all)
		}
		return all
	}
	list(0)
	must(t, c.SetWebhook(t.Context(), pull.Repo, 0, "https://first.example.com/events", []byte("one")))
	first := list(1)[0]
	if first.URL != "https://first.example.com/events" || first.ID == 0 || first.Wrong != nil {
		t.Errorf("the webhook is %+v", first)
	}
	must(t, c.SetWebhook(t.Context(), pull.Repo, first.ID, "https://second.example.com/events", []byte("two")))
	if second := list(1)[0]; second.URL != "https://second.example.com/events" || second.Wrong != nil {
		t.Errorf("the webhook that was mended is %+v", second)
	}
	w.ask(t, owner, http.MethodPost, "/hooks", map[string]any{
		"type": "gogs", "active": false, "events": []string{"push", "pull_request_only"},
		"config": map[string]any{"url": "https://third.example.com/events", "content_type": "json"},
	}, nil)
	all := list(2)
	want := []string{"it is switched off", `its type is "gogs", not gitea`, "it does not send pull_request_sync and pull_request_comment"}
	i := slices.IndexFunc(all, func(h vcs.Webhook) bool { return h.URL == "https://third.example.com/events" })
	if i < 0 || !slices.Equal(all[i].Wrong, want) {
		t.Errorf("the webhooks are %+v, want one with %q", all, want)
	}
	if login, err := c.Login(t.Context()); err != nil || login != bot {
		t.Errorf("Login() = %q, %v, want %q", login, err, bot)
	}
}

// TestSetWebhookSecret: deliveries of a webhook that was set are signed with its newest secret.
func TestSetWebhookSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "resigned")
	r := newReceiver(t, w, "json")
	c, pull := w.client(t, gitea.Config{}), w.pull(t)
	all, err := c.Webhooks(t.Context(), pull.Repo)
	must(t, err)
	must(t, c.SetWebhook(t.Context(), pull.Repo, all[0].ID, all[0].URL, []byte("another")))
	w.comment(t, "raj", "plan")
	if d := r.next(t, "issue_comment", ""); !errors.Is(d.err, vcs.ErrSignature) {
		t.Errorf("with another secret than ours: error = %v, want ErrSignature", d.err)
	} else if h := d.header.Get("X-Gitea-Signature"); h != sign("another", string(d.body)) {
		t.Error("the delivery is not signed with the secret that was set")
	}
}
