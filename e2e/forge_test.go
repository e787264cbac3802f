package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/e2e/contract"
	"github.com/tidegate/tidegate/vcs/devforge"
)

// forge is the story's forge: devforge on loopback.
type forge struct {
	*devforge.Forge
	http *httptest.Server

	mu   sync.Mutex
	sent []sentHook
}

// sentHook is a webhook as it was sent first.
type sentHook struct {
	event string
	body  []byte
}

// published is what GitHub says about itself: large, and read once.
var published = sync.OnceValues(func() (*contract.Contract, error) { //nolint:gochecknoglobals // see above
	return contract.Load(filepath.Join(cmp.Or(os.Getenv("TIDEGATE_CACHE"), filepath.Join("..", ".cache")), "contract"))
})

// newForge starts a forge whose every call and webhook is held against what GitHub publishes; the first
// deviation fails the story.
func newForge(tb testing.TB, dir string) *forge {
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
func forgeReporting(tb testing.TB, dir string, github *contract.Contract, deviates func(error)) *forge {
	tb.Helper()
	out := &forge{}
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
	s := httptest.NewServer(f.Faulty(github.Front(f.Handler(), "/api/v3", deviates))) // a fault is not held against what is published
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

// late is the first webhook of that action on a pull request, as one that was held up on its way: its
// time is another one, so that nobody knows it yet.
func (f *forge) late(pull int, action string) ([]byte, error) {
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

func (f *forge) close() {
	f.Close()
	f.http.CloseClientConnections()
	f.http.Close()
}

func (f *forge) api() string  { return f.http.URL + "/api/v3" }
func (f *forge) host() string { return strings.TrimPrefix(f.http.URL, "http://") }

func (f *forge) cloneURL(user string) string {
	u := url.URL{Scheme: "http", Host: f.host(), User: url.UserPassword(user, user+"-password"), Path: "/" + owner + "/" + name + ".git"}
	return u.String()
}

func (f *forge) target(events string) { f.MoveHooks(owner, name, events) }
func (f *forge) undelivered() int     { return f.Undelivered() }

func (f *forge) setDraft(pull int, draft bool) error { return f.SetDraft(owner, name, pull, draft) }
func (f *forge) folded(pull int) (int, error)        { return f.FoldedComments(owner, name, pull), nil }

// fork opens a pull request from a user's fork of the repository.
func (f *forge) fork(user, branch string) (int, error) {
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
