package gitlab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitlab"
	"github.com/tidegate/tidegate/vcs/gitlab/gitlabtest"
)

// hooked is a stand-in with a repository, and what it has sent.
type hooked struct {
	*gitlabtest.Server
	tb      testing.TB
	project *gitlabtest.Project
	client  *gitlab.Client
	clone   string

	mu   sync.Mutex
	sent []sent
}

type sent struct {
	header http.Header
	body   []byte
}

func newHooked(tb testing.TB) *hooked {
	tb.Helper()
	dir := tb.TempDir()
	s := &hooked{Server: gitlabtest.NewWithGit(tb, dir), tb: tb, clone: filepath.Join(dir, "clone")}
	s.AddPerson("ana", "ana-token")
	s.AddPerson("eve", "eve-token")
	s.AddUser(bot, botToken)
	s.project = s.AddProject("acme/live/infra")
	for name, level := range map[string]int{"ana": 30, "eve": 20, bot: 40} {
		s.AddMember("acme", name, level)
	}
	to := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sent = append(s.sent, sent{r.Header, body})
	}))
	tb.Cleanup(to.Close)
	s.client = client(tb, gitlab.Config{APIURL: s.URL, WebhookSecrets: func() [][]byte { return [][]byte{[]byte("the secret")} }})
	repo, err := s.client.Repo(tb.Context(), "acme/live", "infra")
	must(tb, err)
	must(tb, s.client.SetWebhook(tb.Context(), repo, 0, to.URL, []byte("the secret")))
	s.git("", "clone", "-q", s.cloneURL("ana-token"), s.clone)
	s.push("main", "main.tf")
	return s
}

func (s *hooked) cloneURL(token string) string {
	u, _ := url.Parse(s.URL + "/acme/live/infra.git")
	u.User = url.UserPassword("anybody", token)
	return u.String()
}

// git runs git as a person without any configuration.
func (s *hooked) git(dir string, args ...string) string {
	s.tb.Helper()
	out, err := s.tryGit(dir, args...)
	if err != nil {
		s.tb.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func (s *hooked) tryGit(dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(s.tb.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=ana",
		"GIT_AUTHOR_EMAIL=ana@acme.example", "GIT_COMMITTER_NAME=ana", "GIT_COMMITTER_EMAIL=ana@acme.example",
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// push pushes a commit with one more file, and answers it.
func (s *hooked) push(branch, file string) string {
	s.tb.Helper()
	s.git(s.clone, "checkout", "-q", "-B", branch)
	s.git(".", "-C", s.clone, "-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", file)
	s.git(s.clone, "push", "-q", "origin", branch)
	return s.git(s.clone, "rev-parse", "HEAD")
}

// ask asks the API as ana.
func (s *hooked) ask(method, path string, body map[string]any) {
	s.tb.Helper()
	raw, err := json.Marshal(body)
	must(s.tb, err)
	req, err := http.NewRequestWithContext(s.tb.Context(), method, s.URL+"/api/v4/projects/acme%2Flive%2Finfra"+path, strings.NewReader(string(raw)))
	must(s.tb, err)
	req.Header.Set("Private-Token", "ana-token")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(s.tb, err)
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 400 {
		said, _ := io.ReadAll(resp.Body)
		s.tb.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, said)
	}
}

// deliveries are all that there was to send, when it is sent.
func (s *hooked) deliveries() []sent {
	for s.Undelivered() > 0 {
		s.ask(http.MethodGet, "", nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// TestStandInWebhooks: what people do on the stand-in that has repositories comes as webhooks, each once and in order,
// shaped as the recorded ones; and git finds there what the API tells.
func TestStandInWebhooks(t *testing.T) {
	t.Parallel()
	s := newHooked(t)
	first := s.push("change", "one")
	s.ask(http.MethodPost, "/merge_requests", map[string]any{"source_branch": "change", "target_branch": "main", "title": "Draft: Change"})
	second := s.push("change", "two")
	s.ask(http.MethodPut, "/merge_requests/1", map[string]any{"title": "Change"})
	s.ask(http.MethodPut, "/merge_requests/1", map[string]any{"labels": "infra", "description": "more"})
	s.ask(http.MethodPost, "/merge_requests/1/notes", map[string]any{"body": "/label ~other\nplan"})
	s.ask(http.MethodPost, "/merge_requests/1/notes", map[string]any{"body": "/close"})
	s.ask(http.MethodPut, "/merge_requests/1", map[string]any{"state_event": "reopen"})
	s.ask(http.MethodPost, "/merge_requests/1/approve", nil)
	s.ask(http.MethodGet, "/merge_requests/1", nil) // it was not looked yet whether it can be merged
	s.ask(http.MethodPut, "/merge_requests/1/merge", map[string]any{"sha": second, "squash": true, "should_remove_source_branch": true})

	var got []string
	for _, d := range s.deliveries() {
		must(t, s.client.Verify(d.header, d.body))
		ev, err := s.client.Parse(d.header, d.body)
		var ignored *vcs.IgnoredError
		switch {
		case errors.As(err, &ignored):
			got = append(got, "ignored "+ignored.Event)
		case err != nil:
			t.Errorf("Parse() error = %v\n%s", err, d.body)
		case ev.Comment != nil:
			got = append(got, fmt.Sprintf("%s %s %q", ev.Kind, ev.Sender, ev.Comment.Body))
		default:
			got = append(got, fmt.Sprintf("%s %s %s", ev.Kind, ev.Sender, ev.Head))
		}
		likeRecorded(t, d)
	}
	want := []string{
		"opened ana " + first, "pushed ana " + second, "ready ana " + second, "ignored merge_request update", "ignored merge_request update",
		`commented ana "plan"`, "closed ana " + second, "opened ana " + second, "ignored merge_request approved", "closed ana " + second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
	s.git(s.clone, "fetch", "-q", "--prune", "origin", "+refs/merge-requests/*:refs/remotes/mr/*", "+refs/heads/*:refs/remotes/origin/*")
	if head := s.git(s.clone, "rev-parse", "mr/1/head"); head != second {
		t.Errorf("refs/merge-requests/1/head = %s, want %s", head, second)
	}
	if log := s.git(s.clone, "log", "--topo-order", "--format=%s", "origin/main"); log != "Merge branch 'change' into 'main'\nChange\nmain.tf" {
		t.Errorf("the target branch has\n%s", log)
	}
	if _, err := s.tryGit(s.clone, "rev-parse", "--verify", "-q", "origin/change"); err == nil {
		t.Error("the source branch is still there")
	}
}

// likeRecorded: a delivery has no field that no recorded one has, and none of another type.
func likeRecorded(t *testing.T, d sent) {
	t.Helper()
	known := map[string]string{
		// They are newer than the recordings. https://docs.gitlab.com/user/project/integrations/webhook_events/
		"object_attributes.draft": "bool",
	}
	names := []string{"merge_request", "group_merge_request", "service_merge_request"}
	if d.header.Get("X-Gitlab-Event") == noteHook {
		names = append(names, "note_merge_request")
	}
	for _, name := range names {
		var all map[string]any
		must(t, json.Unmarshal(recorded(t, name), &all))
		types("", all, known)
	}
	var all map[string]any
	must(t, json.Unmarshal(d.body, &all))
	mine := map[string]string{}
	types("", all, mine)
	for path, kind := range mine {
		was, ok := known[path]
		// A merge request is told alike whatever is told of it.
		if same, of := strings.CutPrefix(path, "merge_request."); of && !ok {
			was, ok = known["object_attributes."+same]
		}
		// Not every change was recorded; all have the same two fields.
		if strings.HasPrefix(path, "changes.") && (strings.HasSuffix(path, ".previous") || strings.HasSuffix(path, ".current")) {
			continue
		}
		if !ok || kind != was && kind != "<nil>" && was != "<nil>" {
			t.Errorf("%s is %s, in what was recorded it is %q", path, kind, was)
		}
	}
}

// types collects the types of all that is in a value.
func types(at string, v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, one := range v {
			types(strings.TrimPrefix(at+"."+k, "."), one, into)
		}
	case []any:
		for _, one := range v {
			types(at+"[]", one, into)
		}
	default:
		if kind := fmt.Sprintf("%T", v); into[at] == "" || into[at] == "<nil>" {
			into[at] = kind
		}
	}
}

// TestStandInGit: who may not read a project does not learn of it by git either, and who may not write can't push.
func TestStandInGit(t *testing.T) {
	t.Parallel()
	s := newHooked(t)
	s.AddPerson("mallory", "mallory-token")
	for token, want := range map[string]string{"eve-token": "", "wrong": "Authentication failed", "mallory-token": "not found"} {
		if out, err := s.tryGit("", "ls-remote", s.cloneURL(token)); (err == nil) != (want == "") || !strings.Contains(out, want) {
			t.Errorf("reading with %s: %v\n%s", token, err, out)
		}
	}
	if out, err := s.tryGit(s.clone, "push", s.cloneURL("eve-token"), "HEAD:refs/heads/eve"); err == nil || !strings.Contains(out, "403") {
		t.Errorf("pushing as a reporter: %v\n%s", err, out)
	}
	s.project.Publish()
	if out, err := s.tryGit("", "ls-remote", s.cloneURL("mallory-token")); err != nil {
		t.Errorf("reading what is public: %v\n%s", err, out)
	}
	if n := len(s.deliveries()); n != 0 {
		t.Errorf("%d webhooks were sent without a merge request", n)
	}
}
