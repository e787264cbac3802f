package github_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
	"github.com/tidegate/tidegate/vcs/internal/forgetest"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // the testing package's way to take a flag

func headers(event string) http.Header {
	h := http.Header{}
	h.Set("X-GitHub-Event", event)
	h.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	h.Set("Content-Type", "application/json")
	return h
}

func recorded(tb testing.TB, name string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "webhooks", name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestParseRecorded(t *testing.T) {
	t.Parallel()
	c := client(t, github.Config{})
	files, err := filepath.Glob(filepath.Join("testdata", "webhooks", "*.json"))
	if err != nil || len(files) < 12 {
		t.Fatalf("recorded deliveries: %d, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := recorded(t, name)
			event, _, _ := strings.Cut(name, ".")
			got := forgetest.Parse(t, c, headers(event), body)
			forgetest.Golden(t, strings.TrimSuffix(file, ".json")+".golden", *update, got)

			h := headers(event)
			h.Set("Content-Type", "application/x-www-form-urlencoded")
			form := forgetest.Parse(t, c, h, []byte(url.Values{"payload": {string(body)}}.Encode()))
			if a, b := forgetest.JSON(t, form), forgetest.JSON(t, got); a != b {
				t.Errorf("Parse(%s as a form) = %s, want %s", name, a, b)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	c := client(t, github.Config{})
	for _, tt := range []struct {
		name  string
		extra string
		event string
		want  bool
	}{
		{"GitHub", "", "push", true},
		{"Gitea, which sends GitHub's headers too", "X-Gitea-Event", "push", false},
		{"Forgejo", "x-forgejo-delivery", "push", false},
		{"Gogs", "X-Gogs-Event", "push", false},
		{"GitLab", "X-Gitlab-Event", "", false},
		{"nobody", "", "", false},
	} {
		h := http.Header{}
		if tt.event != "" {
			h.Set("X-GitHub-Event", tt.event)
		}
		if tt.extra != "" {
			h[tt.extra] = []string{"push"}
		}
		if got := c.Claims(h); got != tt.want {
			t.Errorf("Claims(%s) = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func TestVerify(t *testing.T) {
	t.Parallel()
	const body = `{"zen":"Keep it logically awesome."}`
	old := hmac.New(sha1.New, []byte("secret"))
	old.Write([]byte(body))
	oldSignature := "sha1=" + hex.EncodeToString(old.Sum(nil))
	good := sign("secret", body)
	for _, tt := range []struct {
		name    string
		secrets []string
		header  http.Header
		body    string
		want    bool
	}{
		{"signed", []string{"secret"}, http.Header{"X-Hub-Signature-256": {good}}, body, true},
		{"signed with the second secret", []string{"new", "secret"}, http.Header{"X-Hub-Signature-256": {good}}, body, true},
		{"signed with the first secret", []string{"secret", "new"}, http.Header{"X-Hub-Signature-256": {good}}, body, true},
		{"missing", []string{"secret"}, http.Header{}, body, false},
		{"empty", []string{"secret"}, http.Header{"X-Hub-Signature-256": {""}}, body, false},
		{"another secret", []string{"other"}, http.Header{"X-Hub-Signature-256": {good}}, body, false},
		{"another body", []string{"secret"}, http.Header{"X-Hub-Signature-256": {good}}, body + " ", false},
		{"sha1 only", []string{"secret"}, http.Header{"X-Hub-Signature": {oldSignature}}, body, false},
		{"sha1 in its place", []string{"secret"}, http.Header{"X-Hub-Signature-256": {oldSignature}}, body, false},
		{"no prefix", []string{"secret"}, http.Header{"X-Hub-Signature-256": {strings.TrimPrefix(good, "sha256=")}}, body, false},
		{"cut", []string{"secret"}, http.Header{"X-Hub-Signature-256": {good[:len(good)-2]}}, body, false},
		{"longer", []string{"secret"}, http.Header{"X-Hub-Signature-256": {good + "00"}}, body, false},
		{"not hex", []string{"secret"}, http.Header{"X-Hub-Signature-256": {"sha256=" + strings.Repeat("z", 64)}}, body, false},
		{"twice", []string{"secret"}, http.Header{"X-Hub-Signature-256": {good, good}}, body, false},
		{"no secrets", nil, http.Header{"X-Hub-Signature-256": {sign("", body)}}, body, false},
		{"an empty secret", []string{""}, http.Header{"X-Hub-Signature-256": {sign("", body)}}, body, false},
		{"an empty secret beside a good one", []string{"", "secret"}, http.Header{"X-Hub-Signature-256": {sign("", body)}}, body, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var secrets [][]byte
			for _, s := range tt.secrets {
				secrets = append(secrets, []byte(s))
			}
			c := client(t, github.Config{WebhookSecrets: func() [][]byte { return secrets }})
			err := c.Verify(tt.header, []byte(tt.body))
			if tt.want && err != nil || !tt.want && !errors.Is(err, vcs.ErrSignature) {
				t.Errorf("Verify() error = %v, want verified = %v", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), good[10:]) {
				t.Errorf("Verify() error = %v tells the signature", err)
			}
		})
	}
	if err := client(t, github.Config{}).Verify(http.Header{"X-Hub-Signature-256": {sign("", body)}}, []byte(body)); !errors.Is(err, vcs.ErrSignature) {
		t.Errorf("Verify() without any secret: error = %v, want ErrSignature", err)
	}
}

func TestParseHostile(t *testing.T) {
	t.Parallel()
	c := client(t, github.Config{})
	const pull, comment = "pull_request.opened", "issue_comment.created.on-pull"
	for _, tt := range []struct {
		file, path string
		value      any
	}{
		{pull, "action", nil},
		{pull, "action", "opened\n"},
		{pull, "action", 7},
		{pull, "repository", nil},
		{pull, "repository.id", nil},
		{pull, "repository.id", -1},
		{pull, "repository.id", 0},
		{pull, "repository.id", 1.5},
		{pull, "repository.id", json.Number("9223372036854775808")},
		{pull, "repository.id", "186853002"},
		{pull, "repository.name", nil},
		{pull, "repository.name", ".."},
		{pull, "repository.name", "."},
		{pull, "repository.name", "a/b"},
		{pull, "repository.name", "../x"},
		{pull, "repository.name", "a\x00b"},
		{pull, "repository.name", "a\nb"},
		{pull, "repository.name", "ａ"},
		{pull, "repository.name", strings.Repeat("a", 101)},
		{pull, "repository.full_name", "evil/other"},
		{pull, "repository.owner", nil},
		{pull, "repository.owner.login", "a b"},
		{pull, "repository.owner.login", ".."},
		{pull, "repository.clone_url", "https://evil.example.com/Codertocat/Hello-World.git"},
		{pull, "repository.clone_url", "http://github.com/Codertocat/Hello-World.git"},
		{pull, "repository.clone_url", "https://github.com@evil.example.com/x.git"},
		{pull, "repository.clone_url", "https://github.com:8443/x.git"},
		{pull, "repository.clone_url", "https://user:pw@github.com/x.git"},
		{pull, "repository.clone_url", "file:///etc/passwd"},
		{pull, "repository.clone_url", "ext::sh -c id"},
		{pull, "repository.clone_url", "-uhttps://github.com/x"},
		{pull, "repository.clone_url", "https://github.com/x\n"},
		{pull, "repository.html_url", "javascript:alert(1)"},
		{pull, "repository.html_url", "https://github.com.evil.example.com/"},
		{pull, "sender", nil},
		{pull, "sender.login", ""},
		{pull, "sender.login", strings.Repeat("a", 101)},
		{pull, "sender.login", "a\u202eb"},
		{pull, "pull_request", nil},
		{pull, "pull_request", []any{}},
		{pull, "pull_request.number", 0},
		{pull, "pull_request.number", -2},
		{pull, "pull_request.number", json.Number("2147483648")},
		{pull, "number", 3},
		{pull, "pull_request.updated_at", nil},
		{pull, "pull_request.updated_at", "yesterday"},
		{pull, "pull_request.head", nil},
		{pull, "pull_request.head.sha", "HEAD"},
		{pull, "pull_request.head.sha", strings.Repeat("A", 40)},
		{pull, "pull_request.head.sha", strings.Repeat("a", 41)},
		{pull, "pull_request.head.sha", "--upload-pack=id"},
		{pull, "pull_request.head.ref", "a..b"},
		{pull, "pull_request.base", nil},
		{pull, "pull_request.base.sha", nil},
		{pull, "pull_request.base.ref", ""},
		{pull, "pull_request.base.ref", "a b"},
		{pull, "pull_request.base.ref", "a:b"},
		{pull, "pull_request.base.ref", "x.lock"},
		{pull, "pull_request.base.ref", "a\tb"},
		{pull, "pull_request.base.repo.id", 5},
		{comment, "issue", nil},
		{comment, "issue.number", 0},
		{comment, "issue.number", nil},
		{comment, "comment", nil},
		{comment, "comment.id", nil},
		{comment, "comment.id", -1},
		{comment, "comment.user", nil},
		{comment, "comment.user.login", "x<script>"},
		{comment, "comment.created_at", nil},
		{comment, "comment.node_id", "a\"b"},
		{comment, "comment.body", 7},
		{comment, "comment.html_url", "https://evil.example.com/"},
		{comment, "repository.id", nil},
		{comment, "sender", nil},
	} {
		event, _, _ := strings.Cut(tt.file, ".")
		forgetest.Spoilt(t, c, headers(event), recorded(t, tt.file), tt.path, tt.value)
	}
}

func TestParseForms(t *testing.T) {
	t.Parallel()
	c := client(t, github.Config{})
	good := recorded(t, "pull_request.opened")
	for _, tt := range []struct {
		name, kind string
		body       []byte
		want       string
	}{
		{"no content type", "", good, "Content-Type"},
		{"text", "text/plain", good, "Content-Type"},
		{"a form without a payload", "application/x-www-form-urlencoded", []byte("a=b"), "payload"},
		{"a form with two", "application/x-www-form-urlencoded", []byte("payload={}&payload={}"), "payload"},
		{"a broken form", "application/x-www-form-urlencoded", []byte("payload=%zz"), "payload"},
		{"JSON called a form", "application/x-www-form-urlencoded", good, "payload"},
		{"empty", "application/json", nil, "JSON object"},
		{"null", "application/json", []byte("null"), "JSON object"},
		{"a list", "application/json", []byte("[]"), "JSON object"},
		{"cut", "application/json", good[:len(good)/2], "not JSON"},
		{"two", "application/json", append(bytes.Clone(good), '{', '}'), "not JSON"},
		{"deep", "application/json", []byte(`{"a":` + strings.Repeat("[", 20000)), "JSON"},
	} {
		h := headers("pull_request")
		h.Set("Content-Type", tt.kind)
		if got := forgetest.Parse(t, c, h, tt.body); !strings.Contains(got.Problem, tt.want) {
			t.Errorf("Parse(%s) = %+v, want a problem with %q", tt.name, got, tt.want)
		}
	}
	h := headers("pull_request")
	h.Set("Content-Type", "application/json; charset=utf-8")
	if got := forgetest.Parse(t, c, h, good); got.Event == nil {
		t.Errorf("Parse(with a charset) = %+v, want an event", got)
	}
	if got := forgetest.Parse(t, c, headers("no event\n"), good); got.Problem == "" {
		t.Errorf("Parse(a hostile event name) = %+v, want a problem", got)
	}
	// The name of the event is not signed: a body under another name must not become an event.
	for file, as := range map[string]string{
		"pull_request.opened": "issue_comment", "issue_comment.created.on-pull": "pull_request", "push": "pull_request",
		"pull_request_review.submitted": "issue_comment", "issue_comment.deleted": "pull_request",
	} {
		if got := forgetest.Parse(t, c, headers(as), recorded(t, file)); got.Event != nil {
			t.Errorf("Parse(%s sent as %s) = %+v, want no event", file, as, got.Event)
		}
	}
}

func TestParseDelivery(t *testing.T) {
	t.Parallel()
	c := client(t, github.Config{})
	h := headers("pull_request")
	h.Set("X-GitHub-Delivery", "a\x1b[31m")
	if got := forgetest.Parse(t, c, h, recorded(t, "pull_request.opened")); got.Event == nil || got.Event.Delivery != "" {
		t.Errorf("Parse(a hostile delivery id) = %+v, want an event without one", got)
	}
}

func TestParsePing(t *testing.T) {
	t.Parallel()
	c := client(t, github.Config{})
	for body, want := range map[string]string{
		`{"hook":{"events":["pull_request","issue_comment"]}}`: "works",
		`{"hook":{"events":["*"]}}`:                            "works",
		`{"hook":{"events":["push"]}}`:                         "pull_request and issue_comment",
	} {
		got := forgetest.Parse(t, c, headers("ping"), []byte(body))
		if got.Ignored == nil || got.Ignored.Event != "ping" || !strings.HasSuffix(strings.Split(got.Ignored.Reason, ":")[0], want) {
			t.Errorf("Parse(ping %s) = %+v, want ignored with %q", body, got.Ignored, want)
		}
	}
}

// TestParseLongComment: what is cut must not look like a whole comment.
func TestParseLongComment(t *testing.T) {
	t.Parallel()
	c := client(t, github.Config{})
	for name, text := range map[string]string{
		"ascii":            "plan\n" + strings.Repeat("x", 50_000),
		"a character cut":  strings.Repeat("x", vcs.MaxCommentText-1) + "🌊🌊🌊",
		"characters":       strings.Repeat("漢", 20_000),
		"a command, blank": "apply" + strings.Repeat(" ", vcs.MaxCommentText-5) + "漢",
	} {
		body := forgetest.Change(t, recorded(t, "issue_comment.created.on-pull"), "comment.body", text)
		got := forgetest.Parse(t, c, headers("issue_comment"), body)
		if got.Event == nil || len(got.Event.Comment.Body) != vcs.MaxCommentText+1 || !utf8.ValidString(got.Event.Comment.Body) {
			t.Errorf("Parse(%s) = %+v, want %d bytes of valid text", name, got, vcs.MaxCommentText+1)
		}
	}
	whole := strings.Repeat("漢", vcs.MaxCommentText/3)
	body := forgetest.Change(t, recorded(t, "issue_comment.created.on-pull"), "comment.body", whole)
	if got := forgetest.Parse(t, c, headers("issue_comment"), body); got.Event == nil || got.Event.Comment.Body != whole {
		t.Errorf("Parse(a comment that fits) = %+v, want it whole", got)
	}
}

func TestParseEnterprise(t *testing.T) {
	t.Parallel()
	c := client(t, github.Config{Hostname: "ghe.corp.example:8443"})
	body := recorded(t, "issue_comment.created.on-pull")
	if got := forgetest.Parse(t, c, headers("issue_comment"), body); !strings.Contains(got.Problem, `leads to the host "github.com"`) {
		t.Errorf("Parse(github.com's on another instance) = %+v, want a problem that names the host", got)
	}
	body = bytes.ReplaceAll(body, []byte("https://github.com/"), []byte("https://ghe.corp.example:8443/"))
	if got := forgetest.Parse(t, c, headers("issue_comment"), body); got.Event == nil || got.Event.Repo.ID.Forge != "ghe.corp.example:8443" {
		t.Errorf("Parse(its own) = %+v, want an event of ghe.corp.example:8443", got)
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "webhooks", "*.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		event, _, _ := strings.Cut(filepath.Base(file), ".")
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(event, "application/json", raw)
	}
	f.Add("ping", "application/x-www-form-urlencoded", []byte("payload=%7B%7D"))
	c := client(f, github.Config{})
	f.Fuzz(func(t *testing.T, event, kind string, body []byte) {
		h := http.Header{}
		h.Set("X-GitHub-Event", event)
		h.Set("Content-Type", kind)
		forgetest.Fuzzed(t, c, "https://github.com", h, body)
	})
}
