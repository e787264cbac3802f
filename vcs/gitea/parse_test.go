package gitea_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitea"
	"github.com/tidegate/tidegate/vcs/internal/forgetest"
)

const form = "application/x-www-form-urlencoded"

func headers(event string) http.Header {
	h := http.Header{}
	h.Set("X-Gitea-Event", event)
	h.Set("X-Gitea-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	h.Set("Content-Type", "application/json")
	return h
}

// recordings are the deliveries of a real server: their files, and a client for that server.
func recordings(tb testing.TB) ([]string, *gitea.Client) {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "deliveries", "*.json"))
	if err != nil || len(files) < 19 {
		tb.Fatalf("recorded deliveries: %d, %v", len(files), err)
	}
	return files, client(tb, gitea.Config{BaseURL: recordedAt})
}

func recorded(tb testing.TB, name string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "deliveries", name+".json"))
	must(tb, err)
	return raw
}

func TestParseRecorded(t *testing.T) {
	t.Parallel()
	files, c := recordings(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			event, _, _ := strings.Cut(name, ".")
			body := recorded(t, name)
			got := forgetest.Parse(t, c, headers(event), body)
			forgetest.Golden(t, strings.TrimSuffix(file, ".json")+".golden", *update, got)

			h := headers(event)
			h.Set("Content-Type", form)
			as := forgetest.Parse(t, c, h, []byte(url.Values{"payload": {string(body)}}.Encode()))
			if a, b := forgetest.JSON(t, as), forgetest.JSON(t, got); a != b {
				t.Errorf("Parse(%s as a form) = %s, want %s", name, a, b)
			}
			h = http.Header{"X-Forgejo-Event": {event}, "X-Forgejo-Delivery": h["X-Gitea-Delivery"], "Content-Type": {"application/json"}}
			as = forgetest.Parse(t, c, h, body)
			if a, b := forgetest.JSON(t, as), forgetest.JSON(t, got); a != b {
				t.Errorf("Parse(%s from Forgejo) = %s, want %s", name, a, b)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	c := client(t, gitea.Config{})
	for _, tt := range []struct {
		name   string
		header http.Header
		want   bool
	}{
		{"Gitea", http.Header{"X-Gitea-Event": {"push"}, "X-Github-Event": {"push"}}, true},
		{"Forgejo", http.Header{"X-Forgejo-Event": {"push"}, "X-Gitea-Event": {"push"}}, true},
		{"Forgejo alone", http.Header{"X-Forgejo-Event": {"push"}}, true},
		{"GitHub", http.Header{"X-Github-Event": {"push"}}, false},
		{"GitLab", http.Header{"X-Gitlab-Event": {"Push Hook"}}, false},
		{"Gogs", http.Header{"X-Gogs-Event": {"push"}}, false},
		{"empty", http.Header{"X-Gitea-Event": {""}}, false},
		{"nobody", http.Header{}, false},
	} {
		if got := c.Claims(tt.header); got != tt.want {
			t.Errorf("Claims(%s) = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestVerify(t *testing.T) {
	t.Parallel()
	const body = `{"a":"ü&="}`
	good := sign("secret", body)
	inForm := url.Values{"payload": {body}}.Encode()
	header := func(kind string, fields ...string) http.Header {
		h := http.Header{"Content-Type": {kind}}
		for i := 0; i < len(fields); i += 2 {
			h.Add(fields[i], fields[i+1])
		}
		return h
	}
	const plain = "application/json"
	for _, tt := range []struct {
		name    string
		secrets []string
		header  http.Header
		body    string
		want    bool
	}{
		{"signed", []string{"old", "secret"}, header(plain, "X-Gitea-Signature", good), body, true},
		{"by Forgejo", []string{"secret"}, header(plain, "X-Gitea-Signature", good, "X-Forgejo-Signature", good), body, true},
		{"by Forgejo alone", []string{"secret"}, header(plain, "X-Forgejo-Signature", good), body, true},
		{"a form whose payload is signed", []string{"secret"}, header(form, "X-Gitea-Signature", good), inForm, true},
		{"a form that is signed itself", []string{"secret"}, header(form, "X-Gitea-Signature", sign("secret", inForm)), inForm, false},
		{"a form with two payloads", []string{"secret"}, header(form, "X-Gitea-Signature", good), inForm + "&payload=x", false},
		{"a form without a payload", []string{"secret"}, header(form, "X-Gitea-Signature", sign("secret", "")), "a=b", false},
		{"a broken form", []string{"secret"}, header(form, "X-Gitea-Signature", sign("secret", "")), "payload=%zz", false},
		{"missing", []string{"secret"}, header(plain), body, false},
		{"in GitHub's header only", []string{"secret"}, header(plain, "X-Hub-Signature-256", "sha256="+good), body, false},
		{"not signed", []string{"secret"}, header(plain, "X-Gitea-Signature", ""), body, false},
		{"another secret", []string{"other"}, header(plain, "X-Gitea-Signature", good), body, false},
		{"a good one behind a bad one", []string{"secret"}, header(plain, "X-Gitea-Signature", sign("other", body), "X-Forgejo-Signature", good), body, false},
		{"another body", []string{"secret"}, header(plain, "X-Gitea-Signature", good), body + " ", false},
		{"twice", []string{"secret"}, header(plain, "X-Gitea-Signature", good, "X-Gitea-Signature", good), body, false},
		{"with a prefix", []string{"secret"}, header(plain, "X-Gitea-Signature", "sha256="+good), body, false},
		{"no secret", nil, header(plain, "X-Gitea-Signature", sign("", body)), body, false},
		{"an empty secret", []string{""}, header(plain, "X-Gitea-Signature", sign("", body)), body, false},
	} {
		var secrets [][]byte
		for _, s := range tt.secrets {
			secrets = append(secrets, []byte(s))
		}
		c := client(t, gitea.Config{WebhookSecrets: func() [][]byte { return secrets }})
		err := c.Verify(tt.header, []byte(tt.body))
		if tt.want && err != nil || !tt.want && !errors.Is(err, vcs.ErrSignature) {
			t.Errorf("Verify(%s) error = %v, want verified = %v", tt.name, err, tt.want)
		}
	}
	if err := client(t, gitea.Config{}).Verify(header(plain, "X-Gitea-Signature", sign("", body)), []byte(body)); !errors.Is(err, vcs.ErrSignature) {
		t.Errorf("Verify() without any secret: error = %v, want ErrSignature", err)
	}
}

func TestParseHostile(t *testing.T) {
	t.Parallel()
	_, c := recordings(t)
	const pull, comment, closed = "pull_request.opened", "issue_comment.comment", "pull_request.closed"
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
		{pull, "repository.id", json.Number("9223372036854775808")},
		{pull, "repository.name", ".."},
		{pull, "repository.name", "a/b"},
		{pull, "repository.name", "ａ"},
		{pull, "repository.full_name", "evil/other"},
		{pull, "repository.owner", nil},
		{pull, "repository.owner.login", ".."},
		{pull, "repository.clone_url", "http://evil.example.com/acme/hooks.git"},
		{pull, "repository.clone_url", "https://127.0.0.1:3000/acme/hooks.git"},
		{pull, "repository.clone_url", "http://127.0.0.1:3000@evil.example.com/x.git"},
		{pull, "repository.clone_url", "http://127.0.0.1:3001/acme/hooks.git"},
		{pull, "repository.clone_url", "http://user:pw@127.0.0.1:3000/x.git"},
		{pull, "repository.clone_url", "ext::sh -c id"},
		{pull, "repository.html_url", "javascript:alert(1)"},
		{pull, "sender", nil},
		{pull, "sender.login", ""},
		{pull, "sender.login", "a\u202eb"},
		{pull, "pull_request", nil},
		{pull, "pull_request", []any{}},
		{pull, "pull_request.number", 0},
		{pull, "pull_request.number", json.Number("2147483648")},
		{pull, "number", 3},
		{pull, "pull_request.updated_at", nil},
		{pull, "pull_request.head", nil},
		{pull, "pull_request.head.sha", nil},
		{pull, "pull_request.head.sha", "HEAD"},
		{pull, "pull_request.head.sha", "--upload-pack=id"},
		{pull, "pull_request.head.ref", "a..b"},
		{pull, "pull_request.base", nil},
		{pull, "pull_request.base.sha", ""},
		{pull, "pull_request.base.ref", "a:b"},
		{pull, "pull_request.base.repo.id", 999},
		{closed, "pull_request.base.sha", "HEAD"},
		{closed, "repository", nil},
		{closed, "sender", nil},
		{comment, "issue", nil},
		{comment, "issue.number", 0},
		{comment, "comment", nil},
		{comment, "comment.id", -1},
		{comment, "comment.user", nil},
		{comment, "comment.user.login", "x<script>"},
		{comment, "comment.created_at", nil},
		{comment, "comment.body", 7},
		{comment, "comment.html_url", "https://evil.example.com/"},
		{comment, "repository.id", nil},
		{comment, "sender", nil},
	} {
		event, _, _ := strings.Cut(tt.file, ".")
		forgetest.Spoilt(t, c, headers(event), recorded(t, tt.file), tt.path, tt.value)
	}
}

// TestParseClosedWithoutBranches: when the base branch is deleted the forge has no commit to tell, and the pull
// request is closed all the same.
func TestParseClosedWithoutBranches(t *testing.T) {
	t.Parallel()
	_, c := recordings(t)
	body := recorded(t, "pull_request.closed")
	for path, value := range map[string]any{"pull_request.base.sha": "", "pull_request.head.sha": "", "pull_request.head.ref": "refs/pull/2/head"} {
		got := forgetest.Parse(t, c, headers("pull_request"), forgetest.Change(t, body, path, value))
		if got.Event == nil || got.Event.Kind != vcs.PullClosed || got.Event.Pull != 2 {
			t.Errorf("Parse(closed, %s = %q) = %+v, want it closed", path, value, got)
		}
	}
	got := forgetest.Parse(t, c, headers("pull_request"), forgetest.Change(t, body, "action", "deleted"))
	if got.Event == nil || got.Event.Kind != vcs.PullClosed {
		t.Errorf("Parse(deleted) = %+v, want it closed", got)
	}
}

// TestParseDrafts: only who leaves the state of a draft says that a pull request is ready.
func TestParseDrafts(t *testing.T) {
	t.Parallel()
	_, c := recordings(t)
	for _, tt := range []struct {
		from, to string
		draft    bool
		want     bool
	}{
		{"WIP: x", "x", false, true},
		{"wip:x", "x", false, true},
		{"[WIP] x", "x", false, true},
		{"[Wip]x", "x", false, true},
		{"WIP: x", "[WIP] x", true, false},
		{"WIP: x", "WIP: y", false, false},
		{"WIP: x", "draft: x", true, false},
		{"x", "y", false, false},
		{"WIP: x", "later: x", true, false},
		{"x", "WIP: x", true, false},
		{"a WIP: x", "x", false, false},
	} {
		body := forgetest.Change(t, recorded(t, "pull_request.ready"), "changes.title.from", tt.from)
		body = forgetest.Change(t, body, "pull_request.title", tt.to)
		body = forgetest.Change(t, body, "pull_request.draft", tt.draft)
		got := forgetest.Parse(t, c, headers("pull_request"), body)
		if ready := got.Event != nil && got.Event.Kind == vcs.PullReady; ready != tt.want || !ready && got.Ignored == nil {
			t.Errorf("Parse(%q became %q) = %+v, want ready = %v", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestParseForms(t *testing.T) {
	t.Parallel()
	_, c := recordings(t)
	good := bytes.TrimSpace(recorded(t, "pull_request.opened"))
	for _, tt := range []struct {
		name, kind string
		body       []byte
		want       string
	}{
		{"no content type", "", good, "Content-Type"},
		{"text", "text/plain", good, "Content-Type"},
		{"a form without a payload", form, []byte("a=b"), "payload"},
		{"JSON called a form", form, good, "payload"},
		{"empty", "application/json", nil, "JSON object"},
		{"null", "application/json", []byte("null"), "JSON object"},
		{"cut", "application/json", good[:len(good)/2], "not JSON"},
		{"two", "application/json", append(bytes.Clone(good), '{', '}'), "not JSON"},
	} {
		h := headers("pull_request")
		h.Set("Content-Type", tt.kind)
		if got := forgetest.Parse(t, c, h, tt.body); !strings.Contains(got.Problem, tt.want) {
			t.Errorf("Parse(%s) = %+v, want a problem with %q", tt.name, got, tt.want)
		}
	}
	if got := forgetest.Parse(t, c, headers("no event\n"), good); got.Problem == "" {
		t.Errorf("Parse(a hostile event name) = %+v, want a problem", got)
	}
	h := headers("pull_request")
	h.Set("X-Gitea-Delivery", "a\x1b[31m")
	if got := forgetest.Parse(t, c, h, good); got.Event == nil || got.Event.Delivery != "" {
		t.Errorf("Parse(a hostile delivery id) = %+v, want an event without one", got)
	}
	// The name of the event is not signed: a body under another name must not become an event.
	files, _ := recordings(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		for _, as := range []string{"pull_request", "issue_comment", "pull_request_comment"} {
			event, _, _ := strings.Cut(name, ".")
			if as == event || event == "issue_comment" && as == "pull_request_comment" {
				continue
			}
			if got := forgetest.Parse(t, c, headers(as), recorded(t, name)); got.Event != nil {
				t.Errorf("Parse(%s sent as %s) = %+v, want no event", name, as, got.Event)
			}
		}
	}
}

// TestParseElsewhere: what another instance sends is not ours, even when it is signed with our secret.
func TestParseElsewhere(t *testing.T) {
	t.Parallel()
	c := client(t, gitea.Config{BaseURL: "https://git.example.com/"})
	for _, name := range []string{"pull_request.opened", "issue_comment.comment"} {
		event, _, _ := strings.Cut(name, ".")
		if got := forgetest.Parse(t, c, headers(event), recorded(t, name)); !strings.Contains(got.Problem, "want \"https\"") {
			t.Errorf("Parse(%s of another instance) = %+v, want a problem that says so", name, got)
		}
		body := bytes.ReplaceAll(recorded(t, name), []byte(recordedAt), []byte("https://git.example.com"))
		if got := forgetest.Parse(t, c, headers(event), body); got.Event == nil || got.Event.Repo.ID.Forge != "git.example.com" {
			t.Errorf("Parse(its own %s) = %+v, want an event of git.example.com", name, got)
		}
		below := client(t, gitea.Config{BaseURL: "https://git.example.com/forge"})
		if got := forgetest.Parse(t, below, headers(event), body); !strings.Contains(got.Problem, `want one below "/forge/"`) {
			t.Errorf("Parse(%s of another site on the same host) = %+v, want a problem that says so", name, got)
		}
		body = bytes.ReplaceAll(body, []byte("https://git.example.com"), []byte("https://git.example.com/forge"))
		if got := forgetest.Parse(t, below, headers(event), body); got.Event == nil {
			t.Errorf("Parse(its own %s, below a path) = %+v, want an event", name, got)
		}
	}
}

// TestParseLongComment: what is cut must not look like a whole comment.
func TestParseLongComment(t *testing.T) {
	t.Parallel()
	_, c := recordings(t)
	body := forgetest.Change(t, recorded(t, "issue_comment.comment"), "comment.body", "apply"+strings.Repeat(" ", vcs.MaxCommentText-5)+"漢")
	got := forgetest.Parse(t, c, headers("issue_comment"), body)
	if got.Event == nil || len(got.Event.Comment.Body) != vcs.MaxCommentText+1 || !utf8.ValidString(got.Event.Comment.Body) {
		t.Errorf("Parse(a long comment) = %+v, want %d bytes of valid text", got, vcs.MaxCommentText+1)
	}
}

func FuzzParse(f *testing.F) {
	files, c := recordings(f)
	for _, file := range files {
		event, _, _ := strings.Cut(filepath.Base(file), ".")
		raw, err := os.ReadFile(file)
		must(f, err)
		f.Add(event, "application/json", raw)
	}
	f.Add("pull_request", form, []byte("payload=%7B%7D"))
	f.Fuzz(func(t *testing.T, event, kind string, body []byte) {
		h := http.Header{}
		h.Set("X-Gitea-Event", event)
		h.Set("Content-Type", kind)
		forgetest.Fuzzed(t, c, recordedAt, h, body)
	})
}
