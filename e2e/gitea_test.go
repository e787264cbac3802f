package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate/tidegate/vcs/gitea/giteatest"
)

// notOnGitea are the stories that a Gitea can't tell, and why.
func notOnGitea() map[string]string {
	return map[string]string{
		"race": "a Gitea tells of a push after it shows it, so a comment that follows may come first",
	}
}

// TestStoriesOnGitea tells the same stories on a real Gitea, with its own webhooks and pushes: all but those that need a forge
// which does as it is told.
func TestStoriesOnGitea(t *testing.T) {
	t.Parallel()
	storiesOn(t, "gitea", notOnGitea(), func(tb testing.TB, dir string) forge { tb.Helper(); return newGitea(tb, dir, webhookSecret) })
}

// giteaForge is a Gitea of the story's own.
type giteaForge struct {
	*giteatest.Server
	githubLike
	tokens map[string]string
	hook   int64
	owners int64  // 0: the owner has no webhook
	secret string // of its webhooks
}

// newGitea starts a Gitea with everybody and the repository. The bot administers it: others are not told who may do what.
func newGitea(tb testing.TB, dir, secret string) *giteaForge {
	tb.Helper()
	s, err := giteatest.Start(context.Background(), filepath.Join(dir, "forge"))
	must(tb, err)
	f := &giteaForge{Server: s, tokens: map[string]string{}, secret: secret}
	for _, user := range []string{owner, ana, raj, eve, bot, "mallory"} {
		f.tokens[user] = s.AddUser(tb, user)
	}
	f.tokens[bot] = s.Token(tb, bot, "write:repository", "write:issue", "read:user")
	s.Call(tb, owner, http.MethodPost, "/user/repos", map[string]any{"name": name, "private": true, "default_branch": "main"}, nil)
	for user, may := range map[string]string{ana: "write", raj: "write", eve: "read", bot: "admin"} {
		s.AddMember(tb, owner, name, user, may)
	}
	var made struct{ ID int64 }
	s.Call(tb, owner, http.MethodPost, repoPath("/hooks"), f.hookTo("http://127.0.0.1:1/events"), &made)
	f.hook = made.ID
	must(tb, os.WriteFile(filepath.Join(dir, "secrets", "token"), []byte(f.tokens[bot]+"\n"), 0o600))
	return f
}

func (f *giteaForge) api() string              { return f.URL + "/api/v1" }
func (f *giteaForge) host() string             { return strings.TrimPrefix(f.URL, "http://") }
func (f *giteaForge) token(user string) string { return f.tokens[user] }

func (f *giteaForge) renew(tb testing.TB, _ string) (string, error) {
	tb.Helper()
	var all []struct{ ID int64 }
	f.Call(tb, bot, http.MethodGet, "/users/"+bot+"/tokens?limit=50", nil, &all)
	for _, one := range all {
		f.Call(tb, bot, http.MethodDelete, fmt.Sprintf("/users/%s/tokens/%d", bot, one.ID), nil, nil)
	}
	return f.Token(tb, bot, "write:repository", "write:issue", "read:user"), nil
}

func (f *giteaForge) bot() string { return bot }

func (f *giteaForge) cloneURL(user string) string { return f.cloneOf(user, owner+"/"+name) }

func (f *giteaForge) cloneOf(user, repo string) string {
	u := url.URL{Scheme: "http", Host: f.host(), User: url.UserPassword(user, f.tokens[user]), Path: "/" + repo + ".git"}
	return u.String()
}

func (f *giteaForge) found(tb testing.TB, repo string) error {
	tb.Helper()
	of, name, _ := strings.Cut(repo, "/")
	if of != owner {
		return fmt.Errorf("%s is not below %s", repo, owner)
	}
	f.Call(tb, owner, http.MethodPost, "/user/repos", map[string]any{"name": name, "private": true, "default_branch": "main"}, nil)
	f.AddMember(tb, owner, name, ana, "write")
	f.AddMember(tb, owner, name, bot, "read")
	return nil
}

func (f *giteaForge) serving(secrets string) []string {
	return []string{
		"--gitea-base-url", f.URL, "--gitea-user", bot,
		"--gitea-token-file", filepath.Join(secrets, "token"), "--gitea-webhook-secret-file", filepath.Join(secrets, "webhook"),
	}
}

func (f *giteaForge) target(events string) error {
	return f.as(owner)(http.MethodPatch, repoPath("/hooks/%d", f.hook), f.hookTo(events), nil)
}

func (f *giteaForge) hookTo(events string) map[string]any {
	return map[string]any{
		"type": "gitea", "active": true, "config": map[string]string{"url": events, "content_type": "json", "secret": f.secret},
		"events": []string{"pull_request", "pull_request_sync", "pull_request_comment", "pull_request_label", "issue_comment"},
	}
}

// as is the API as a user has it.
func (f *giteaForge) as(user string) asks {
	w := &world{forge: f}
	return w.as(user)
}

func (f *giteaForge) references() (mark, pages string) { return "#", "pulls" }

func (f *giteaForge) sign(h http.Header, event, id, secret string, body []byte) {
	h.Set("X-Gitea-Event", event)
	h.Set("X-Gitea-Delivery", id)
	if secret != "" {
		h.Set("X-Gitea-Signature", signature(secret, body))
	}
}

func (f *giteaForge) settle() error { return f.Settle() }

// undelivered sends what is queued. It does not count.
func (f *giteaForge) undelivered() (int, error) { return 0, f.Settle() }

// redeliver has a page of a webhook do it, for there is no other way; what it sends has another id.
func (f *giteaForge) redeliver(newIDs bool) error {
	if !newIDs {
		return nil
	}
	pages := []string{fmt.Sprintf("/%s/%s/settings/hooks/%d", owner, name, f.hook)}
	if f.owners != 0 {
		pages = append(pages, fmt.Sprintf("/user/settings/hooks/%d", f.owners))
	}
	for _, page := range pages {
		if n, err := f.Replay(context.Background(), owner, page); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("%s has sent %d deliveries again", page, n))
		}
	}
	return nil
}

// ownerhook [ORG]: the repository's owner, or an organisation that owns it now, has a webhook, too, for all repositories, to the same
// server and with the same secret.
func cmdOwnerHook(ts *testscript.TestScript, w *world, args []string) error {
	f, ok := w.forge.(*giteaForge)
	if !ok {
		return errors.New("only a Gitea has webhooks of an owner")
	}
	path := "/user/hooks"
	if len(args) > 0 {
		path = "/orgs/" + args[0] + "/hooks"
	}
	status, answer := f.Ask(w.t, owner, http.MethodPost, path, f.hookTo(w.server.url+"/events"))
	ts.Logf("%d %s", status, answer)
	var made struct{ ID int64 }
	if err := json.Unmarshal(answer, &made); err != nil || status != http.StatusCreated {
		return errors.Join(err, fmt.Errorf("the answer is %d", status))
	}
	if len(args) == 0 {
		f.owners = made.ID
	}
	return nil
}

func (f *giteaForge) statuses(as asks, sha string) ([]status, error) {
	var list []struct{ Status, Context, Description string }
	// The names of the orders stand for their opposites: https://github.com/go-gitea/gitea, models/git/commit_status.go.
	err := as(http.MethodGet, repoPath("/commits/%s/statuses?sort=leastindex&limit=50", sha), nil, &list)
	var out []status
	for _, s := range list {
		out = append(out, status{State: s.Status, Context: s.Context, Description: s.Description})
	}
	return out, err
}

// merge waits until the forge has looked whether it can.
func (f *giteaForge) merge(as asks, pull string) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-tick.C {
		if err = as(http.MethodPost, repoPath("/pulls/%s/merge", pull), map[string]string{"Do": "merge"}, nil); err == nil || !strings.Contains(err.Error(), ": 405 ") {
			return err
		}
	}
	return err
}

func (f *giteaForge) review(as asks, pull, event string) error {
	if event == "APPROVE" {
		event = "APPROVED"
	}
	return as(http.MethodPost, repoPath("/pulls/%s/reviews", pull), map[string]string{"event": event, "body": "looked at it"}, nil)
}

func (f *giteaForge) dismiss(_ asks, pull string) (int, error) {
	as := f.as(owner) // who may write may not
	var list []struct {
		ID        int64
		State     string
		Dismissed bool
	}
	if err := as(http.MethodGet, repoPath("/pulls/%s/reviews", pull), nil, &list); err != nil {
		return 0, err
	}
	n := 0
	for _, v := range list {
		if v.Dismissed || v.State != "APPROVED" && v.State != "REQUEST_CHANGES" {
			continue
		}
		n++
		if err := as(http.MethodPost, repoPath("/pulls/%s/reviews/%d/dismissals", pull, v.ID), map[string]string{"message": "stale"}, nil); err != nil {
			return n, err
		}
	}
	return n, nil
}

const draftMark = "WIP: "

func (f *giteaForge) setDraft(as asks, pull int, draft bool) error {
	var now struct{ Title string }
	if err := as(http.MethodGet, repoPath("/pulls/%d", pull), nil, &now); err != nil {
		return err
	}
	title := strings.TrimPrefix(now.Title, draftMark)
	if draft {
		title = draftMark + title
	}
	return as(http.MethodPatch, repoPath("/pulls/%d", pull), map[string]string{"title": title}, nil)
}

func (f *giteaForge) folded(pull int) (int, error) {
	all, err := f.comments(f.as(ana), pull)
	n := 0
	for _, c := range all {
		if c.User.Login == bot && strings.HasPrefix(c.Body, "<details><summary>Outdated</summary>") {
			n++
		}
	}
	return n, err
}

func (f *giteaForge) close() {
	if err := f.Stop(); err != nil {
		panic(fmt.Errorf("stopping Gitea: %w", err))
	}
}
