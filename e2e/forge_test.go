package e2e

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/e2e/contract"
	"github.com/tidegate/tidegate/vcs/devforge"
)

// forge is where a story's repository and its people are.
type forge interface {
	// api is the root of the REST API, host the forge's in the allowlist.
	api() string
	host() string
	cloneURL(user string) string
	// cloneOf is the same for another repository, OWNER/NAME; found makes it, empty and private: ana may write, the bot may read.
	cloneOf(user, repo string) string
	found(tb testing.TB, repo string) error
	token(user string) string
	// renew takes the bot's token back, and gives out another one: that one, where the forge lets it be chosen.
	renew(tb testing.TB, to string) (string, error)
	// bot is the account whose comments are the server's.
	bot() string
	// serving are the flags of a server for this forge, whose secrets lie in a directory.
	serving(secrets string) []string
	// target is where webhooks go from now on.
	target(events string) error
	// settle waits until what was pushed is known to the API.
	settle() error
	// undelivered is how many webhooks are under way.
	undelivered() (int, error)
	// redeliver sends the webhooks so far once more, under their own ids or under others. What a forge can't do is nothing.
	redeliver(newIDs bool) error
	// path is where the API has the repository, and what is below it; references are made of a mark and a number, and pages
	// of pull requests lie below pages.
	path(below string) string
	references() (mark, pages string)
	// sign makes a body a webhook with a secret; "" does not sign it.
	sign(h http.Header, event, id, secret string, body []byte)
	open(as asks, title, head, base string) (int, error)
	pull(as asks, number string) (pullNow, error)
	// set changes a pull request's state (open, closed), title or base.
	set(as asks, pull, key, value string) error
	comment(as asks, pull, text string) error
	comments(as asks, pull int) ([]comment, error)
	// branch is an error that isNotFound where there is none.
	branch(as asks, name string) error
	// check sets a commit status: pending, success or failure.
	check(as asks, sha, context, state string) error
	// statuses of a commit, newest first.
	statuses(as asks, sha string) ([]status, error)
	merge(as asks, pull string) error
	// protect lets a branch take only heads that have these statuses, successful ones; none is no rule.
	protect(branch string, contexts []string) error
	review(as asks, pull, event string) error
	// dismiss takes back what every review says, and answers how many there were.
	dismiss(as asks, pull string) (int, error)
	setDraft(as asks, pull int, draft bool) error
	// folded counts the bot's comments that are folded away.
	folded(pull int) (int, error)
	close()
}

// asks is the forge's REST API, asked as a user.
type asks func(method, path string, body, out any) error

// as is the API as a user has it.
func (w *world) as(user string) asks {
	return func(method, path string, body, out any) error {
		_, err := w.api(user, method, path, body, out)
		return err
	}
}

type status struct{ State, Context, Description string }

// pullNow is open, closed or merged.
type pullNow struct{ State, SHA string }

// devForge is devforge on loopback.
type devForge struct {
	*devforge.Forge
	githubLike
	http *httptest.Server

	mu    sync.Mutex
	sent  []sentHook
	calls map[string]int // the bot's, by method and path
	app   *devApp        // nil: the bot asks with its token
	// hidden is the name that servers have for it; "" is its address.
	hidden string
}

// sentHook is a webhook as it was sent first.
type sentHook struct {
	event string
	body  []byte
}

// published is what GitHub says about itself: large, and read once.
var published = sync.OnceValues(func() (*contract.Contract, error) { //nolint:gochecknoglobals // see above
	return contract.Load(filepath.Join(cmp.Or(os.Getenv("TIDEGATE_CACHE"), filepath.Join("..", ".cache")), "contract"), contract.DotCom)
})

// newForge starts a forge whose every call and webhook is held against what GitHub publishes; the first
// deviation fails the story.
func newForge(tb testing.TB, dir string) *devForge {
	tb.Helper()
	github, err := published()
	if err != nil {
		tb.Fatal(err)
	}
	var first sync.Once
	deviates := func(err error) {
		if err != nil {
			first.Do(func() { tb.Errorf("not as on GitHub: %v", err) })
		}
	}
	return forgeReporting(tb, dir, github, deviates)
}

// forgeReporting starts a forge with everybody and the repository.
func forgeReporting(tb testing.TB, dir string, github *contract.Contract, deviates func(error)) *devForge {
	tb.Helper()
	out := &devForge{calls: map[string]int{}}
	f, err := devforge.New(devforge.Config{
		Dir: filepath.Join(dir, "forge"), Log: slog.New(slog.DiscardHandler),
		Webhook: func(event string, body []byte) {
			deviates(github.Webhook(event, body))
			out.mu.Lock()
			defer out.mu.Unlock()
			out.sent = append(out.sent, sentHook{event, bytes.Clone(body)})
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	s := httptest.NewServer(out.counted(f.Faulty(github.Front(f.Handler(), "/api/v3", deviates)))) // a fault is not held against what is published
	f.SetURL(s.URL)
	var all []devforge.Member
	for _, m := range []struct{ login, token, permission string }{
		{ana, ana + "-token", "write"}, {raj, raj + "-token", "write"}, {eve, eve + "-token", "read"}, {bot, botToken, "write"},
	} {
		all = append(all, devforge.Member{Login: m.login, Password: m.login + "-password", Token: m.token, Permission: m.permission})
	}
	must(tb, f.Found(owner, name, all...))
	must(tb, f.AddHook(owner, name, "http://127.0.0.1:1/events", webhookSecret))
	out.Forge, out.http = f, s
	return out
}

// counted stands before the forge and counts what the bot asks of it.
func (f *devForge) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if path, ok := strings.CutPrefix(req.URL.Path, "/api/"); ok && req.Header.Get("Authorization") == "Bearer "+botToken {
			path = variable.ReplaceAllString(strings.TrimPrefix(path, "v3"), "/*")
			f.mu.Lock()
			f.calls[req.Method+" "+path]++
			f.mu.Unlock()
		}
		next.ServeHTTP(w, req)
	})
}

// variable is what a path has in another place each time: numbers and commits.
var variable = regexp.MustCompile(`/([0-9]+|[0-9a-f]{40})\b`)

// asked are the bot's calls since it was asked last.
func (f *devForge) asked() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.calls
	f.calls = map[string]int{}
	return out
}

// late is the first webhook of that action on a pull request, as one that was held up on its way: its
// time is another one, so that nobody knows it yet.
func (f *devForge) late(pull int, action string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.sent {
		var body map[string]any
		if err := json.Unmarshal(h.body, &body); err != nil {
			return nil, err
		}
		pr, ok := body["pull_request"].(map[string]any)
		if !ok || body["action"] != action || pr["number"] != float64(pull) {
			continue
		}
		pr["updated_at"] = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
		return json.Marshal(body)
	}
	return nil, fmt.Errorf("no webhook said that #%d was %s", pull, action)
}

func (f *devForge) close() {
	f.Close()
	f.http.CloseClientConnections()
	f.http.Close()
}

func (f *devForge) api() string  { return f.http.URL + "/api/v3" }
func (f *devForge) host() string { return cmp.Or(f.hidden, strings.TrimPrefix(f.http.URL, "http://")) }

func (f *devForge) cloneURL(user string) string { return f.cloneOf(user, owner+"/"+name) }

func (f *devForge) found(_ testing.TB, repo string) error {
	owner, name, _ := strings.Cut(repo, "/")
	return errors.Join(
		f.CreateRepo(owner, name), f.MakePrivate(owner, name),
		f.SetPermission(owner, name, ana, "write"), f.SetPermission(owner, name, bot, "read"),
	)
}

func (f *devForge) cloneOf(user, repo string) string {
	u := url.URL{Scheme: "http", Host: strings.TrimPrefix(f.http.URL, "http://"), User: url.UserPassword(user, user+"-password"), Path: "/" + repo + ".git"}
	return u.String()
}

func (f *devForge) token(user string) string {
	if user == bot {
		return botToken
	}
	return user + "-token"
}

func (f *devForge) renew(_ testing.TB, to string) (string, error) { return to, f.SetToken(bot, to) }

func (f *devForge) bot() string {
	if f.app != nil {
		return bot + "[bot]"
	}
	return bot
}

func (f *devForge) serving(secrets string) []string {
	if f.app != nil {
		return f.app.serving(f.api(), secrets)
	}
	at := []string{"--gh-api-url", f.api()}
	if f.hidden != "" {
		at = []string{"--gh-hostname", f.hidden}
	}
	return append(
		at, "--gh-user", bot,
		"--gh-token-file", filepath.Join(secrets, "token"), "--gh-webhook-secret-file", filepath.Join(secrets, "webhook"),
	)
}

func (f *devForge) target(events string) error {
	f.MoveHooks(owner, name, events)
	return nil
}

func (f *devForge) references() (mark, pages string) { return "#", "pull" }

func (f *devForge) sign(h http.Header, event, id, secret string, body []byte) {
	h.Set("X-GitHub-Event", event)
	h.Set("X-GitHub-Delivery", id)
	if secret != "" {
		h.Set("X-Hub-Signature-256", "sha256="+signature(secret, body))
	}
}

// signature is how GitHub and Gitea sign.
func signature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

func (f *devForge) settle() error             { return nil }
func (f *devForge) undelivered() (int, error) { return f.Undelivered(), nil }

func (f *devForge) redeliver(newIDs bool) error {
	f.RedeliverAll(owner, name, newIDs)
	return nil
}

func (f *devForge) statuses(as asks, sha string) ([]status, error) {
	var list []status
	err := as(http.MethodGet, repoPath("/commits/%s/statuses?per_page=100", sha), nil, &list)
	return list, err
}

func (f *devForge) merge(as asks, pull string) error {
	return as(http.MethodPut, repoPath("/pulls/%s/merge", pull), map[string]string{}, nil)
}

func (f *devForge) review(as asks, pull, event string) error {
	return as(http.MethodPost, repoPath("/pulls/%s/reviews", pull), map[string]string{"event": event, "body": "looked at it"}, nil)
}

func (f *devForge) dismiss(as asks, pull string) (int, error) {
	var list []struct {
		ID    int64
		State string
	}
	if err := as(http.MethodGet, repoPath("/pulls/%s/reviews", pull), nil, &list); err != nil {
		return 0, err
	}
	n := 0
	for _, v := range list {
		if v.State != "APPROVED" && v.State != "CHANGES_REQUESTED" {
			continue
		}
		n++
		if err := as(http.MethodPut, repoPath("/pulls/%s/reviews/%d/dismissals", pull, v.ID), map[string]string{"message": "stale"}, nil); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (f *devForge) setDraft(_ asks, pull int, draft bool) error {
	return f.SetDraft(owner, name, pull, draft)
}
func (f *devForge) folded(pull int) (int, error) { return f.FoldedComments(owner, name, pull), nil }

// fork opens a pull request from a user's fork of the repository.
func (f *devForge) fork(user, branch string) (int, error) {
	if err := f.Fork(owner, name, user); err != nil {
		return 0, err
	}
	body := strings.NewReader(fmt.Sprintf(`{"title":"From a fork","head":"%s:%s","base":"main"}`, user, branch))
	req, err := http.NewRequest(http.MethodPost, f.api()+repoPath("/pulls"), body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+user+"-token")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		return 0, fmt.Errorf("opening from a fork: %d %s %w", resp.StatusCode, raw, err)
	}
	var n int
	_, err = fmt.Sscanf(string(raw[strings.Index(string(raw), `"number":`)+9:]), "%d", &n)
	return n, err
}
