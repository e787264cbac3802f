package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs/devforge"
)

// TestForgeSpeaksAsGitHub says everything to devforge that it knows, and holds each answer and each
// webhook against what GitHub publishes, without a server of Tidegate's. Every deviation is told.
func TestForgeSpeaksAsGitHub(t *testing.T) {
	t.Parallel()
	github, err := published()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := &conversation{t: t, events: map[string]bool{}}
	f := forgeReporting(t, dir, github, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(f.close)
	receiver := httptest.NewServer(http.HandlerFunc(c.webhook))
	t.Cleanup(receiver.Close)
	must(t, f.target(receiver.URL))
	c.world = &world{t: t, dir: dir, data: filepath.Join(dir, "data"), forge: f, dev: f, seen: map[int64]bool{}}
	c.push("main", "# one\n")
	c.push("other", "# two\n")
	sha := c.push("change", "# three\n")

	c.about(sha)
	c.pulls()
	c.comments()
	c.merges()
	c.hooks(receiver.URL)
	if err := c.world.until("the webhooks", func() (bool, error) { return f.Undelivered() == 0, nil }); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"issue_comment created", "issue_comment deleted", "issue_comment edited", "ping ", "pull_request closed", "pull_request converted_to_draft",
		"pull_request edited", "pull_request opened", "pull_request ready_for_review", "pull_request reopened", "pull_request synchronize",
	}
	if diff := cmp.Diff(want, c.kinds()); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
}

// conversation is what a test says to a forge.
type conversation struct {
	t     *testing.T
	world *world

	mu     sync.Mutex
	events map[string]bool
}

func (c *conversation) webhook(_ http.ResponseWriter, req *http.Request) {
	var in struct{ Action string }
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events[req.Header.Get("X-GitHub-Event")+" "+in.Action] = true
}

func (c *conversation) kinds() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for k := range c.events {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (c *conversation) push(branch, text string) string {
	c.t.Helper()
	from := filepath.Join(c.t.TempDir(), "files")
	if err := os.MkdirAll(from, 0o750); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "main.tf"), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	sha, err := c.world.push(branch, from, branch)
	if err != nil {
		c.t.Fatal(err)
	}
	return sha
}

// ask says one thing, expects a status and gives the answer's id back. body is JSON, or empty.
func (c *conversation) ask(user, method, path, body string, want int) int64 {
	c.t.Helper()
	var in, out any
	if body != "" {
		in = json.RawMessage(body)
	}
	got, err := c.world.api(user, method, path, in, &out)
	if got != want || err != nil && want < http.StatusBadRequest && want != http.StatusNoContent {
		c.t.Errorf("%s %s: %d, want %d: %v", method, path, got, want, err)
	}
	if m, ok := out.(map[string]any); ok {
		id, _ := m["id"].(float64)
		return int64(id)
	}
	return 0
}

// about asks about people, the repository and a commit.
func (c *conversation) about(sha string) {
	c.ask(ana, "GET", "/user", "", 200)
	c.ask("mallory", "GET", "/user", "", 401)
	c.ask(ana, "GET", repoPath(""), "", 200)
	c.ask(ana, "GET", "/repos/acme/nothing", "", 404)
	for _, user := range []string{ana, eve, bot} {
		c.ask(bot, "GET", repoPath("/collaborators/%s/permission", user), "", 200)
	}
	c.ask(bot, "GET", repoPath("/collaborators/mallory/permission"), "", 404)
	for _, state := range []string{"pending", "success", "failure", "error"} {
		body := fmt.Sprintf(`{"state":%q,"context":"tidegate/plan","description":"planned","target_url":"http://localhost/jobs/1"}`, state)
		c.ask(bot, "POST", repoPath("/statuses/%s", sha), body, 201)
	}
	c.ask(bot, "GET", repoPath("/commits/%s/statuses?per_page=3&page=1", sha), "", 200)
	c.ask(bot, "GET", repoPath("/commits/%s/status?per_page=1", sha), "", 200)
	c.ask(bot, "GET", repoPath("/commits/%s/check-runs?per_page=1", sha), "", 200)
	c.ask(eve, "POST", repoPath("/statuses/%s", sha), `{"state":"success"}`, 403)
	c.ask(bot, "POST", repoPath("/statuses/%s", strings.Repeat("0", 40)), `{"state":"success"}`, 422)
}

// pulls opens pull requests, asks for them and changes them.
func (c *conversation) pulls() {
	c.ask(ana, "POST", repoPath("/pulls"), `{"title":"Three","head":"change","base":"main","body":"why"}`, 201)
	c.ask(ana, "POST", repoPath("/pulls"), `{"title":"Draft","head":"other","base":"main","draft":true}`, 201)
	c.ask(ana, "POST", repoPath("/pulls"), `{"title":"None","head":"nothing","base":"main"}`, 422)
	if _, err := c.world.dev.fork(eve, "change"); err != nil {
		c.t.Error(err)
	}
	for _, query := range []string{"", "?state=all&per_page=2", "?state=closed"} {
		c.ask(ana, "GET", repoPath("/pulls%s", query), "", 200)
	}
	c.ask(ana, "GET", repoPath("/pulls/1"), "", 200)
	c.ask(ana, "GET", repoPath("/pulls/3"), "", 200)
	c.ask(ana, "GET", repoPath("/pulls/99"), "", 404)
	c.ask(ana, "PATCH", repoPath("/pulls/1"), `{"title":"Four","body":"because"}`, 200)
	c.ask(ana, "PATCH", repoPath("/pulls/1"), `{"base":"other"}`, 200)
	c.ask(ana, "PATCH", repoPath("/pulls/1"), `{"base":"main"}`, 200)
	c.ask(ana, "PATCH", repoPath("/pulls/1"), `{"state":"closed"}`, 200)
	c.ask(ana, "PATCH", repoPath("/pulls/1"), `{"state":"open"}`, 200)
	c.ask(eve, "PATCH", repoPath("/pulls/1"), `{"state":"closed"}`, 403)
	for _, draft := range []bool{true, false} {
		if err := c.world.dev.setDraft(nil, 1, draft); err != nil {
			c.t.Error(err)
		}
	}
	c.push("change", "# five\n")
	for _, event := range []string{"APPROVE", "REQUEST_CHANGES", "COMMENT"} {
		c.ask(raj, "POST", repoPath("/pulls/1/reviews"), fmt.Sprintf(`{"event":%q,"body":"looked at it"}`, event), 200)
	}
	c.ask(ana, "POST", repoPath("/pulls/1/reviews"), `{"event":"APPROVE"}`, 422)
	approval := c.ask(raj, "POST", repoPath("/pulls/1/reviews"), `{"event":"APPROVE","body":"good"}`, 200)
	dismissal := repoPath("/pulls/1/reviews/%d/dismissals", approval)
	c.ask(eve, "PUT", dismissal, `{"message":"no"}`, 404)
	c.ask(ana, "PUT", dismissal, `{"message":"stale"}`, 200)
	c.ask(ana, "PUT", dismissal, `{"message":"stale"}`, 422)
	c.ask(ana, "PUT", repoPath("/pulls/1/reviews/99999/dismissals"), `{"message":"stale"}`, 404)
	c.ask(ana, "GET", repoPath("/pulls/1/reviews?per_page=2"), "", 200)
}

// comments writes comments and changes them.
func (c *conversation) comments() {
	id := c.ask(bot, "POST", repoPath("/issues/1/comments"), `{"body":"hello"}`, 201)
	c.ask(ana, "POST", repoPath("/issues/1/comments"), `{"body":"tidegate plan"}`, 201)
	c.ask(ana, "POST", repoPath("/issues/1/comments"), `{"body":" "}`, 422)
	c.ask(ana, "POST", repoPath("/issues/99/comments"), `{"body":"hello"}`, 404)
	c.ask(bot, "PATCH", repoPath("/issues/comments/%d", id), `{"body":"hello again"}`, 200)
	c.ask(bot, "POST", repoPath("/issues/comments/%d/reactions", id), `{"content":"eyes"}`, 201)
	c.ask(bot, "POST", repoPath("/issues/comments/%d/reactions", id), `{"content":"eyes"}`, 200)
	c.ask(ana, "GET", repoPath("/issues/comments?sort=updated&direction=desc&since=2020-01-01T00:00:00Z"), "", 200)
	c.ask(eve, "PUT", repoPath("/issues/1/lock"), `{}`, 403)
	c.ask(ana, "PUT", repoPath("/issues/1/lock"), `{"lock_reason":"resolved"}`, 204)
	c.ask(eve, "POST", repoPath("/issues/1/comments"), `{"body":"hello"}`, 403)
	c.ask(bot, "POST", repoPath("/issues/1/comments"), `{"body":"hello"}`, 201)
	c.ask(ana, "DELETE", repoPath("/issues/1/lock"), "", 204)
	c.ask(ana, "GET", repoPath("/issues/1/comments?per_page=1&since=2020-01-01T00:00:00Z"), "", 200)
	c.ask(bot, "DELETE", repoPath("/issues/comments/%d", id), "", 204)
	c.ask(bot, "DELETE", repoPath("/issues/comments/%d", id), "", 404)
	c.ask(bot, "PATCH", repoPath("/issues/comments/%d", id), `{"body":"gone"}`, 404)
}

// hooks makes a webhook and changes it.
func (c *conversation) hooks(to string) {
	must(c.t, c.world.dev.SetPermission(owner, name, ana, "admin"))
	made := `{"name":"web","active":true,"events":["pull_request"],"config":{"url":"` + to + `/second","content_type":"json","secret":"hush","insecure_ssl":"0"}}`
	id := c.ask(ana, "POST", repoPath("/hooks"), made, 201)
	c.ask(ana, "POST", repoPath("/hooks"), made, 422)
	c.ask(raj, "POST", repoPath("/hooks"), made, 404)
	c.ask(ana, "PATCH", repoPath("/hooks/%d", id), `{"active":false}`, 200)
	c.ask(ana, "PATCH", repoPath("/hooks/99999"), `{"active":false}`, 404)
	c.ask(ana, "GET", repoPath("/hooks?per_page=1"), "", 200)
	c.ask(raj, "GET", repoPath("/hooks"), "", 404)
}

// merges merges, or not, by the rules that there are.
func (c *conversation) merges() {
	const rules = "/rules/branches/main?per_page=2&page=1"
	c.ask(bot, "GET", repoPath(rules), "", 200)
	c.ask(bot, "GET", repoPath("/branches/main"), "", 200)
	c.ask(bot, "GET", repoPath("/branches/nothing"), "", 404)
	must(c.t, c.world.dev.Protect(owner, name, "main", devforge.Protection{
		Contexts: []string{"ci/lint"}, RuleContexts: []string{"ci/test"}, UpToDate: true, Methods: []string{"merge"}, Queue: true,
	}))
	c.ask(bot, "GET", repoPath(rules), "", 200)
	c.ask(bot, "GET", repoPath("/branches/main"), "", 200)
	c.ask(ana, "GET", repoPath("/pulls/1"), "", 200)
	c.ask(ana, "PUT", repoPath("/pulls/1/merge"), `{}`, 405)
	c.ask(ana, "DELETE", repoPath("/git/refs/heads/main"), "", 422)
	must(c.t, c.world.dev.Protect(owner, name, "main", devforge.Protection{}))
	c.ask(ana, "PUT", repoPath("/pulls/2/merge"), `{}`, 405)
	c.ask(ana, "PUT", repoPath("/pulls/1/merge"), fmt.Sprintf(`{"sha":%q}`, strings.Repeat("0", 40)), 409)
	c.ask(eve, "PUT", repoPath("/pulls/1/merge"), `{}`, 403)
	c.ask(ana, "PUT", repoPath("/pulls/1/merge"), `{"merge_method":"merge"}`, 200)
	c.ask(ana, "GET", repoPath("/pulls/1"), "", 200)
	c.ask(ana, "GET", repoPath("/pulls?state=open&base=main&head=acme:other"), "", 200)
	c.ask(eve, "DELETE", repoPath("/git/refs/heads/change"), "", 403)
	c.ask(ana, "DELETE", repoPath("/git/refs/heads/change"), "", 204)
	c.ask(ana, "DELETE", repoPath("/git/refs/heads/change"), "", 422)
}
