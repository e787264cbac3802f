package gitlab_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitlab"
	"github.com/tidegate/tidegate/vcs/internal/forgetest"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // the testing package's way to take a flag

const (
	pullHook = "Merge Request Hook"
	noteHook = "Note Hook"
	botToken = "glpat-nobody-may-see-this-token"
)

// recordings is where go-gitlab keeps what GitLab has sent and answered.
var recordings = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // found once
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/xanzy/go-gitlab").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "testdata"), err
})

func recordingsDir(tb testing.TB) string {
	tb.Helper()
	dir, err := recordings()
	if err != nil {
		tb.Fatalf("looking for go-gitlab: %v", err)
	}
	return dir
}

// recorded is a delivery that go-gitlab has recorded, as if it came from gitlab.com.
func recorded(tb testing.TB, name string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(recordingsDir(tb), "webhooks", name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, host := range []string{"http://example.com", "http://10.40.8.5:3200"} {
		raw = bytes.ReplaceAll(raw, []byte(host), []byte("https://gitlab.com"))
	}
	return raw
}

func headers(event string) http.Header {
	h := http.Header{}
	h.Set("X-Gitlab-Event", event)
	h.Set("X-Gitlab-Event-UUID", "13792a34-cac6-4fda-95a8-c58e00a3954e")
	h.Set("Content-Type", "application/json")
	return h
}

// hookOf is the name of the event that a recorded delivery came as.
func hookOf(body []byte) string {
	var p struct {
		Kind string `json:"object_kind"`
	}
	_ = json.Unmarshal(body, &p)
	switch p.Kind {
	case "merge_request":
		return pullHook
	case "note":
		return noteHook
	case "":
		return "Member Hook"
	default:
		return strings.ToUpper(p.Kind[:1]) + strings.ReplaceAll(p.Kind[1:], "_", " ") + " Hook"
	}
}

// pushed is a delivery in which commits came, with a project two groups deep.
func pushed(tb testing.TB) []byte {
	tb.Helper()
	body := recorded(tb, "service_merge_request")
	return forgetest.Change(tb, body, "project.path_with_namespace", "acme/live/eu-1/infra.core")
}

// updated is an update in which no commits came.
func updated(tb testing.TB, changes map[string]any) []byte {
	tb.Helper()
	return forgetest.Change(tb, forgetest.Change(tb, pushed(tb), "object_attributes.oldrev", nil), "changes", changes)
}

func client(tb testing.TB, c gitlab.Config) *gitlab.Client {
	tb.Helper()
	if c.Token == nil {
		c.Token = func() (string, error) { return botToken, nil }
	}
	cl, err := gitlab.New(c)
	if err != nil {
		tb.Fatalf("New() error = %v", err)
	}
	return cl
}

// TestParseRecorded: every delivery that go-gitlab has recorded. Some are made up from GitLab's old
// documentation and do not hang together; they are not events.
func TestParseRecorded(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{})
	files, err := filepath.Glob(filepath.Join(recordingsDir(t), "webhooks", "*.json"))
	if err != nil || len(files) != 21 {
		t.Fatalf("recorded deliveries: %d, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := recorded(t, name)
			golden := filepath.Join("testdata", "webhooks", name+".golden")
			forgetest.Golden(t, golden, *update, forgetest.Parse(t, c, headers(hookOf(body)), body))
		})
	}
}

// TestParseUpdates: what an update of a merge request is to us.
func TestParseUpdates(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{})
	from := func(key string, previous, current any) map[string]any {
		return map[string]any{key: map[string]any{"previous": previous, "current": current}}
	}
	both := from("draft", true, false)
	leaving, staying := from("draft", true, false), from("draft", false, false)
	leaving["title"] = map[string]any{"previous": "Draft: WIP: grow", "current": "WIP: grow"}
	staying["title"] = map[string]any{"previous": "WIP: grow", "current": "grow"}
	titled := func(body []byte, title string) []byte {
		return forgetest.Change(t, body, "object_attributes.title", title)
	}
	untold := func(body []byte) []byte { // whether it is a draft
		return forgetest.Change(t, forgetest.Change(t, body, "object_attributes.draft", nil), "object_attributes.work_in_progress", nil)
	}
	both["target_branch"] = map[string]any{"previous": "main", "current": "stable"}
	for _, tt := range []struct {
		name string
		body []byte
		want vcs.EventKind
	}{
		{"commits", pushed(t), vcs.PullPushed},
		{"commits to a draft", forgetest.Change(t, pushed(t), "object_attributes.draft", true), vcs.PullPushed},
		{"nothing", updated(t, nil), ""},
		{"a title", updated(t, from("title", "one", "two")), ""},
		{"a label", updated(t, map[string]any{"labels": map[string]any{"previous": []any{}, "current": []any{map[string]any{"id": 1}}}}), ""},
		{"changes in a form of their own", updated(t, map[string]any{"last_edited_at": []any{nil, "2026-03-01"}}), ""},
		{"a target branch", updated(t, from("target_branch", "main", "stable")), vcs.PullRetargeted},
		{"leaving draft", updated(t, from("draft", true, false)), vcs.PullReady},
		{"leaving draft, and a target branch", updated(t, both), vcs.PullRetargeted},
		{"becoming a draft", forgetest.Change(t, updated(t, from("draft", false, true)), "object_attributes.draft", true), ""},
		{"leaving draft by the title", updated(t, from("title", "Draft: grow", "grow")), vcs.PullReady},
		{"leaving draft by an old title", updated(t, from("title", "[WIP] grow", "grow")), vcs.PullReady},
		{"leaving draft with a title that once marked one", titled(updated(t, leaving), "WIP: grow"), vcs.PullReady},
		{"a title that once marked a draft", updated(t, staying), ""},
		{"becoming a draft by the title alone", titled(untold(updated(t, from("title", "grow", "Draft: grow"))), "Draft: grow"), ""},
		{"leaving draft by the title alone", untold(updated(t, from("title", "Draft: grow", "grow"))), vcs.PullReady},
		{"one draft title for another, alone", titled(untold(updated(t, from("title", "Draft: a", "(draft) b"))), "(draft) b"), ""},
		{"a title that speaks of drafts", updated(t, from("title", "Drafts of a plan", "x")), ""},
	} {
		got := forgetest.Parse(t, c, headers(pullHook), tt.body)
		switch {
		case tt.want == "" && (got.Ignored == nil || got.Ignored.Event != "merge_request update"):
			t.Errorf("Parse(%s) = %s, want it ignored", tt.name, forgetest.JSON(t, got))
		case tt.want != "" && (got.Event == nil || got.Event.Kind != tt.want):
			t.Errorf("Parse(%s) = %s, want %q", tt.name, forgetest.JSON(t, got), tt.want)
		}
	}
}

// TestParseActions: the other things that happen to a merge request.
func TestParseActions(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{})
	for action, want := range map[string]vcs.EventKind{
		"open": vcs.PullOpened, "reopen": vcs.PullOpened, "close": vcs.PullClosed, "merge": vcs.PullClosed,
		"approved": "", "unapproved": "", "approval": "", "unapproval": "", "whatever_comes": "",
	} {
		got := forgetest.Parse(t, c, headers(pullHook), forgetest.Change(t, pushed(t), "object_attributes.action", action))
		if want == "" && got.Ignored == nil || want != "" && (got.Event == nil || got.Event.Kind != want) {
			t.Errorf("Parse(%s) = %s, want %q", action, forgetest.JSON(t, got), want)
		}
	}
	for action, want := range map[string]bool{"close": true, "merge": true, "open": false, "update": false} {
		body := forgetest.Change(t, forgetest.Change(t, pushed(t), "object_attributes.action", action), "object_attributes.last_commit", nil)
		if got := forgetest.Parse(t, c, headers(pullHook), body); (got.Event != nil) != want || (got.Ignored != nil) == want {
			t.Errorf("Parse(%s, without commits) = %s, want an event = %v, or it ignored", action, forgetest.JSON(t, got), want)
		}
	}
	got := forgetest.Parse(t, c, headers(pullHook), pushed(t))
	want := vcs.Event{
		Kind: vcs.PullPushed, Delivery: "13792a34-cac6-4fda-95a8-c58e00a3954e", Pull: 2, Sender: "test", BaseRef: "master",
		Repo: vcs.Repo{
			ID: vcs.RepoID{Forge: "gitlab.com", ID: 2}, Owner: "acme/live/eu-1", Name: "infra.core",
			URL: "https://gitlab.com/acme/live/eu-1/infra.core", CloneURL: "https://gitlab.com/acme/live/eu-1/infra.core.git",
		},
		Head: "0ab96a10266b95b4b533dcfd98738015fbe70889", At: time.Date(2021, 9, 27, 5, 1, 21, 0, time.UTC),
	}
	if got.Event == nil || *got.Event != want {
		t.Errorf("Parse() = %s, want %s", forgetest.JSON(t, got), forgetest.JSON(t, want))
	}
}

// TestParseNotes: which notes can be commands.
func TestParseNotes(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{})
	note := recorded(t, "note_merge_request")
	old := forgetest.Change(t, note, "object_attributes.action", nil)
	for _, tt := range []struct {
		name, hook string
		body       []byte
		event      bool
	}{
		{"a new one", noteHook, note, true},
		{"a new one of an older GitLab", noteHook, old, true},
		{"a new internal one", "Confidential Note Hook", note, true},
		{"one in a thread", noteHook, forgetest.Change(t, note, "object_attributes.type", "DiscussionNote"), true},
		{"without the user's id", noteHook, forgetest.Change(t, note, "user.id", nil), true},
		{"an edit", noteHook, forgetest.Change(t, note, "object_attributes.action", "update"), false},
		{"an edit of an older GitLab", noteHook, forgetest.Change(t, old, "object_attributes.updated_at", "2015-05-17 18:22:36 UTC"), false},
		{"GitLab's own", noteHook, forgetest.Change(t, note, "object_attributes.system", true), false},
		{"on a commit", noteHook, recorded(t, "note_commit"), false},
		{"on an issue", noteHook, recorded(t, "note_issue"), false},
		{"on a snippet", noteHook, recorded(t, "note_snippet"), false},
	} {
		got := forgetest.Parse(t, c, headers(tt.hook), tt.body)
		if tt.event && got.Event == nil || !tt.event && got.Ignored == nil {
			t.Errorf("Parse(%s) = %s, want an event = %v", tt.name, forgetest.JSON(t, got), tt.event)
		}
	}
}

// TestParseTimes: the same moment is the same event, however a version of GitLab writes it.
func TestParseTimes(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{})
	want := forgetest.Parse(t, c, headers(pullHook), pushed(t)).Event.Key()
	for _, at := range []string{"2021-09-27 05:01:21 UTC", "2021-09-27T05:01:21Z", "2021-09-27T05:01:21.987Z", "2021-09-27T07:01:21+02:00", "2021-09-27 07:01:21 +0200"} {
		got := forgetest.Parse(t, c, headers(pullHook), forgetest.Change(t, pushed(t), "object_attributes.updated_at", at))
		if got.Event == nil || got.Event.Key() != want || got.Event.At.Nanosecond() != 0 || got.Event.At.Location() != time.UTC {
			t.Errorf("Parse(updated_at %s) = %s, want the key %q", at, forgetest.JSON(t, got), want)
		}
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{})
	for name, want := range map[string]bool{"X-Gitlab-Event": true, "X-GitHub-Event": false, "X-Gitea-Event": false, "X-Gitlab-Token": false} {
		h := http.Header{}
		h.Set(name, "push")
		if got := c.Claims(h); got != want {
			t.Errorf("Claims(%s) = %v, want %v", name, got, want)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		secrets []string
		header  http.Header
		want    bool
	}{
		{"right", []string{"secret"}, http.Header{"X-Gitlab-Token": {"secret"}}, true},
		{"the second secret", []string{"new", "secret"}, http.Header{"X-Gitlab-Token": {"secret"}}, true},
		{"the first secret", []string{"secret", "new"}, http.Header{"X-Gitlab-Token": {"secret"}}, true},
		{"a secret that is there twice", []string{"secret", "secret"}, http.Header{"X-Gitlab-Token": {"secret"}}, true},
		{"missing", []string{"secret"}, http.Header{}, false},
		{"empty", []string{"secret"}, http.Header{"X-Gitlab-Token": {""}}, false},
		{"another", []string{"secret"}, http.Header{"X-Gitlab-Token": {"Secret"}}, false},
		{"shorter", []string{"secret"}, http.Header{"X-Gitlab-Token": {"secre"}}, false},
		{"longer", []string{"secret"}, http.Header{"X-Gitlab-Token": {"secret\x00"}}, false},
		{"twice", []string{"secret"}, http.Header{"X-Gitlab-Token": {"secret", "secret"}}, false},
		{"no secrets", nil, http.Header{"X-Gitlab-Token": {""}}, false},
		{"an empty secret", []string{""}, http.Header{"X-Gitlab-Token": {""}}, false},
		{"an empty secret beside a good one", []string{"", "secret"}, http.Header{"X-Gitlab-Token": {""}}, false},
		{"GitHub's signature", []string{"secret"}, http.Header{"X-Hub-Signature-256": {"secret"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var secrets [][]byte
			for _, s := range tt.secrets {
				secrets = append(secrets, []byte(s))
			}
			c := client(t, gitlab.Config{WebhookSecrets: func() [][]byte { return secrets }})
			err := c.Verify(tt.header, []byte("{}"))
			if tt.want && err != nil || !tt.want && !errors.Is(err, vcs.ErrSignature) {
				t.Errorf("Verify() error = %v, want verified = %v", err, tt.want)
			}
			if err != nil && strings.Contains(strings.ToLower(err.Error()), "secre") {
				t.Errorf("Verify() error = %v tells a secret", err)
			}
		})
	}
	if err := client(t, gitlab.Config{}).Verify(http.Header{"X-Gitlab-Token": {""}}, nil); !errors.Is(err, vcs.ErrSignature) {
		t.Errorf("Verify() without any secret: error = %v, want ErrSignature", err)
	}
}

func TestParseHostile(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{})
	pull, note := pushed(t), recorded(t, "note_merge_request")
	for _, tt := range []struct {
		hook, path string
		body       []byte
		value      any
	}{
		{pullHook, "object_kind", pull, nil},
		{pullHook, "object_kind", pull, "note"},
		{pullHook, "object_kind", pull, 7},
		{pullHook, "object_attributes", pull, nil},
		{pullHook, "object_attributes", pull, []any{}},
		{pullHook, "object_attributes.action", pull, nil},
		{pullHook, "object_attributes.action", pull, "open\n"},
		{pullHook, "object_attributes.action", pull, 7},
		{pullHook, "project", pull, nil},
		{pullHook, "project.id", pull, nil},
		{pullHook, "project.id", pull, -2},
		{pullHook, "project.id", pull, 0},
		{pullHook, "project.id", pull, 2.5},
		{pullHook, "project.id", pull, json.Number("9223372036854775808")},
		{pullHook, "project.id", pull, "2"},
		{pullHook, "project.id", pull, 3},
		{pullHook, "project.path_with_namespace", pull, nil},
		{pullHook, "project.path_with_namespace", pull, "infra"},
		{pullHook, "project.path_with_namespace", pull, "/infra"},
		{pullHook, "project.path_with_namespace", pull, "acme/"},
		{pullHook, "project.path_with_namespace", pull, "acme//infra"},
		{pullHook, "project.path_with_namespace", pull, "acme/../infra"},
		{pullHook, "project.path_with_namespace", pull, "acme/./infra"},
		{pullHook, "project.path_with_namespace", pull, "acme/-/infra"},
		{pullHook, "project.path_with_namespace", pull, "acme/--exec=id"},
		{pullHook, "project.path_with_namespace", pull, "acme/a b"},
		{pullHook, "project.path_with_namespace", pull, "acme/a%2fb"},
		{pullHook, "project.path_with_namespace", pull, "acme/a\x00b"},
		{pullHook, "project.path_with_namespace", pull, "acme/a\nb"},
		{pullHook, "project.path_with_namespace", pull, "acme/ａ"},
		{pullHook, "project.path_with_namespace", pull, "acme/" + strings.Repeat("a", 256)},
		{pullHook, "project.path_with_namespace", pull, strings.Repeat("a/", 1000) + "b"},
		{pullHook, "project.web_url", pull, nil},
		{pullHook, "project.web_url", pull, "https://evil.example.com/acme/infra"},
		{pullHook, "project.web_url", pull, "http://gitlab.com/acme/infra"},
		{pullHook, "project.web_url", pull, "https://gitlab.com@evil.example.com/acme/infra"},
		{pullHook, "project.web_url", pull, "https://gitlab.com:8443/acme/infra"},
		{pullHook, "project.web_url", pull, "javascript:alert(1)"},
		{pullHook, "user", pull, nil},
		{pullHook, "user.username", pull, ""},
		{pullHook, "user.username", pull, "../root"},
		{pullHook, "user.username", pull, strings.Repeat("a", 256)},
		{pullHook, "user.username", pull, "a\u202eb"},
		{pullHook, "object_attributes.iid", pull, nil},
		{pullHook, "object_attributes.iid", pull, 0},
		{pullHook, "object_attributes.iid", pull, -2},
		{pullHook, "object_attributes.iid", pull, json.Number("2147483648")},
		{pullHook, "object_attributes.target_project_id", pull, nil},
		{pullHook, "object_attributes.target_project_id", pull, 99},
		{pullHook, "object_attributes.updated_at", pull, nil},
		{pullHook, "object_attributes.updated_at", pull, "yesterday"},
		{pullHook, "object_attributes.updated_at", pull, 7},
		{pullHook, "object_attributes.last_commit.id", pull, "HEAD"},
		{pullHook, "object_attributes.last_commit.id", pull, strings.Repeat("A", 40)},
		{pullHook, "object_attributes.last_commit.id", pull, strings.Repeat("a", 41)},
		{pullHook, "object_attributes.last_commit.id", pull, "--upload-pack=id"},
		{pullHook, "object_attributes.source_branch", pull, "a..b"},
		{pullHook, "object_attributes.target_branch", pull, nil},
		{pullHook, "object_attributes.target_branch", pull, "a b"},
		{pullHook, "object_attributes.target_branch", pull, "a:b"},
		{pullHook, "object_attributes.target_branch", pull, "x.lock"},
		{pullHook, "object_attributes.oldrev", pull, 7},
		{pullHook, "changes", pull, "x"},
		{noteHook, "object_kind", note, "merge_request"},
		{noteHook, "merge_request", note, nil},
		{noteHook, "merge_request.iid", note, 0},
		{noteHook, "merge_request.iid", note, nil},
		{noteHook, "merge_request.target_project_id", note, 6},
		{noteHook, "object_attributes.id", note, nil},
		{noteHook, "object_attributes.id", note, -1},
		{noteHook, "object_attributes.note", note, 7},
		{noteHook, "object_attributes.created_at", note, nil},
		{noteHook, "object_attributes.author_id", note, 2},
		{noteHook, "object_attributes.system", note, "yes"},
		{noteHook, "user", note, nil},
		{noteHook, "user.username", note, "x<script>"},
		{noteHook, "project.id", note, nil},
		{noteHook, "project", note, nil},
	} {
		forgetest.Spoilt(t, c, headers(tt.hook), tt.body, tt.path, tt.value)
	}
}

func TestParseForms(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{})
	good := pushed(t)
	for _, tt := range []struct {
		name, kind string
		body       []byte
		want       string
	}{
		{"no content type", "", good, "Content-Type"},
		{"text", "text/plain", good, "Content-Type"},
		{"empty", "application/json", nil, "JSON object"},
		{"null", "application/json", []byte("null"), "JSON object"},
		{"a list", "application/json", []byte("[]"), "JSON object"},
		{"cut", "application/json", good[:len(good)/2], "not JSON"},
		{"two", "application/json", append(bytes.Clone(good), '{', '}'), "not JSON"},
		{"deep", "application/json", []byte(`{"a":` + strings.Repeat("[", 20000)), "JSON"},
	} {
		h := headers(pullHook)
		h.Set("Content-Type", tt.kind)
		if got := forgetest.Parse(t, c, h, tt.body); !strings.Contains(got.Problem, tt.want) {
			t.Errorf("Parse(%s) = %s, want a problem with %q", tt.name, forgetest.JSON(t, got), tt.want)
		}
	}
	if got := forgetest.Parse(t, c, headers("no event\n"), good); got.Problem == "" {
		t.Errorf("Parse(a hostile event name) = %s, want a problem", forgetest.JSON(t, got))
	}
	if got := forgetest.Parse(t, c, headers("System Hook"), good); got.Ignored == nil {
		t.Errorf("Parse(a system hook) = %s, want it ignored", forgetest.JSON(t, got))
	}
	h := headers(pullHook)
	h.Set("X-Gitlab-Event-UUID", "a\x1b[31m")
	if got := forgetest.Parse(t, c, h, good); got.Event == nil || got.Event.Delivery != "" {
		t.Errorf("Parse(a hostile delivery id) = %s, want an event without one", forgetest.JSON(t, got))
	}
	// What the header says is not what the body says.
	if got := forgetest.Parse(t, c, headers(noteHook), good); got.Event != nil {
		t.Errorf("Parse(a merge request sent as a note) = %s, want no event", forgetest.JSON(t, got))
	}
}

// TestParseLongComment: what is cut must not look like a whole comment.
func TestParseLongComment(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{})
	note := recorded(t, "note_merge_request")
	for name, text := range map[string]string{
		"ascii":            "plan\n" + strings.Repeat("x", 50_000),
		"a character cut":  strings.Repeat("x", vcs.MaxCommentText-1) + "🌊🌊🌊",
		"a command, blank": "apply" + strings.Repeat(" ", vcs.MaxCommentText-5) + "漢",
	} {
		got := forgetest.Parse(t, c, headers(noteHook), forgetest.Change(t, note, "object_attributes.note", text))
		if got.Event == nil || len(got.Event.Comment.Body) != vcs.MaxCommentText+1 || !utf8.ValidString(got.Event.Comment.Body) {
			t.Errorf("Parse(%s) = %s, want %d bytes of valid text", name, forgetest.JSON(t, got), vcs.MaxCommentText+1)
		}
	}
}

// TestParseOwnServer: a server of one's own, below a path.
func TestParseOwnServer(t *testing.T) {
	t.Parallel()
	c := client(t, gitlab.Config{APIURL: "https://corp.example:8443/gitlab/api/v4/"})
	note := recorded(t, "note_merge_request")
	if got := forgetest.Parse(t, c, headers(noteHook), note); !strings.Contains(got.Problem, `leads to the host "gitlab.com"`) {
		t.Errorf("Parse(gitlab.com's on another instance) = %s, want a problem that names the host", forgetest.JSON(t, got))
	}
	note = bytes.ReplaceAll(note, []byte("https://gitlab.com/"), []byte("https://corp.example:8443/gitlab/"))
	got := forgetest.Parse(t, c, headers(noteHook), note)
	if got.Event == nil || got.Event.Repo.ID.Forge != "corp.example:8443" || got.Event.Repo.CloneURL != "https://corp.example:8443/gitlab/gitlab-org/gitlab-test.git" {
		t.Errorf("Parse(its own) = %s, want an event of corp.example:8443", forgetest.JSON(t, got))
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(recordingsDir(f), "webhooks", "*.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		body := recorded(f, strings.TrimSuffix(filepath.Base(file), ".json"))
		f.Add(hookOf(body), "application/json", body)
	}
	f.Add(pullHook, "application/json", pushed(f))
	f.Add(noteHook, "application/x-www-form-urlencoded", []byte("payload=%7B%7D"))
	c := client(f, gitlab.Config{})
	f.Fuzz(func(t *testing.T, event, kind string, body []byte) {
		h := http.Header{}
		h.Set("X-Gitlab-Event", event)
		h.Set("Content-Type", kind)
		forgetest.Fuzzed(t, c, "https://gitlab.com", h, body)
	})
}

// TestNamesForPeople: groups and projects have names in any script beside their paths. Who and where is read from the paths alone.
func TestNamesForPeople(t *testing.T) {
	t.Parallel()
	body := recorded(t, "service_merge_request")
	c := client(t, gitlab.Config{})
	want := forgetest.Parse(t, c, headers(pullHook), body)
	if want.Event == nil {
		t.Fatalf("the recording is no event: %+v", want)
	}
	for path, name := range map[string]string{
		"project.name": "Größe · インフラ", "project.namespace": "Bäume / 木 \u202e", "user.name": "Ána <b>", "object_attributes.title": "Über\u2028all",
	} {
		body = forgetest.Change(t, body, path, name)
	}
	if got := forgetest.Parse(t, c, headers(pullHook), body); !reflect.DeepEqual(got, want) {
		t.Errorf("with such names it is %+v, want %+v", got.Event, want.Event)
	}
}
