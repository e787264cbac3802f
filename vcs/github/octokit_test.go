package github_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// installed is where make test-tools puts what testdata/octokit asks for.
func installed(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(cmp.Or(os.Getenv("TIDEGATE_CACHE"), filepath.Join("..", "..", ".cache")), "octokit"))
	must(t, err)
	return dir
}

// octokit starts GitHub's own library for webhooks. It ends with the test.
func octokit(t *testing.T, what string, input any) io.Reader {
	t.Helper()
	in, err := json.Marshal(input)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join("testdata", "octokit", "client.mjs"), installed(t), what)
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &complaints
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("@octokit/webhooks, which make test-tools installs: %s", complaints.String())
		}
	})
	return out
}

// TestOctokitReads: what devforge sends is what GitHub's own library verifies and reads, and only with the right secret.
func TestOctokitReads(t *testing.T) {
	t.Parallel()
	const secret, refused = "a sëcret \U0001f511", "[@octokit/webhooks] signature does not match event payload and secret"
	d := newDev(t)
	k := d.kit(t)
	lines := json.NewDecoder(bufio.NewReader(octokit(t, "serve", map[string]string{"secret": secret})))
	var started struct{ Port int }
	must(t, lines.Decode(&started))
	addHook := func(secret string) (id int) {
		t.Helper()
		var made struct{ ID int }
		d.call(t, "root", http.MethodPost, "/hooks", map[string]any{
			"name": "web", "events": []string{"pull_request", "issue_comment"},
			"config": map[string]string{"url": fmt.Sprintf("http://127.0.0.1:%d/hook", started.Port), "content_type": "json", "secret": secret},
		}, &made)
		return made.ID
	}
	type told struct{ ID, Name, Action, Repo, Sender, Comment, Head, Error string }
	next := func(want told) {
		t.Helper()
		var got told
		must(t, lines.Decode(&got))
		if got.ID == "" && want.Error == "" {
			t.Errorf("%+v has no id", got)
		}
		if got.ID = ""; got != want {
			t.Errorf("it read %+v, want %+v", got, want)
		}
	}

	right := addHook(secret)
	next(told{Name: "ping", Repo: "acme/infra", Sender: "root"})
	const text = "tidegate plan \u2028 <&> \\ \"ünïcödé\" 计划 \U0001f680"
	k.Comment(t, "raj", text)
	next(told{Name: "issue_comment", Action: "created", Repo: "acme/infra", Sender: "raj", Comment: text})
	next(told{Name: "pull_request", Action: "synchronize", Repo: "acme/infra", Sender: "ana", Head: k.Push(t)})
	d.call(t, "root", http.MethodDelete, fmt.Sprintf("/hooks/%d", right), nil, nil)
	addHook("another")
	next(told{Error: refused})
	k.Comment(t, "raj", text)
	next(told{Error: refused})
}

// TestOctokitTypes: what devforge sends is of the types that GitHub's own library has for it.
func TestOctokitTypes(t *testing.T) {
	t.Parallel()
	d := newDev(t)
	k := d.kit(t)
	sent := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var payload map[string]any
		if err := json.NewDecoder(r.Body).Decode(&payload); err != nil {
			sent <- err.Error()
			return
		}
		event := r.Header.Get("X-GitHub-Event")
		if action, ok := payload["action"]; ok {
			event = fmt.Sprint(event, ".", action)
		}
		withoutProperties(payload)
		raw, err := json.Marshal(payload)
		sent <- fmt.Sprintf("EmitterWebhookEvent<%q>[\"payload\"] = %s; // %v\n", event, raw, err)
	}))
	t.Cleanup(receiver.Close)
	d.call(t, "root", http.MethodPost, "/hooks", map[string]any{
		"name": "web", "events": []string{"pull_request", "issue_comment"}, "config": map[string]string{"url": receiver.URL, "content_type": "json"},
	}, nil)
	comment := fmt.Sprintf("/issues/comments/%d", k.Comment(t, "raj", "plan"))
	d.call(t, "raj", http.MethodPatch, comment, map[string]any{"body": "apply"}, nil)
	d.call(t, "raj", http.MethodDelete, comment, nil, nil)
	k.Push(t)
	for _, change := range []map[string]any{{"title": "Another"}, {"state": "closed"}, {"state": "open"}} {
		d.call(t, "ana", http.MethodPatch, "/pulls/1", change, nil)
	}
	must(t, d.SetDraft("acme", "infra", 1, false))
	must(t, d.SetDraft("acme", "infra", 1, true))
	more := k.Another(t)
	must(t, k.Forge.(vcs.Merger).Merge(t.Context(), more, vcs.Merging{}))

	var source strings.Builder
	fmt.Fprintf(&source, "import type { EmitterWebhookEvent } from %q;\n", filepath.Join(installed(t), "node_modules/@octokit/webhooks/dist-types/types.js"))
	for i := range 12 {
		select {
		case line := <-sent:
			fmt.Fprintf(&source, "export const payload%d: %s", i, line)
		case <-time.After(20 * time.Second):
			t.Fatalf("%d deliveries came, want 12", i)
		}
	}
	file := filepath.Join(t.TempDir(), "payloads.ts")
	must(t, os.WriteFile(file, []byte(source.String()), 0o600))
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(installed(t), "node_modules", "typescript", "bin", "tsc"),
		"--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the types of @octokit/webhooks, which make test-tools installs: %v\n%s", err, out)
	}
}

// withoutProperties takes out what GitHub's schemas of webhooks want in a pull request's repositories, and these types do not know.
func withoutProperties(payload map[string]any) {
	pull, _ := payload["pull_request"].(map[string]any)
	for _, side := range []string{"head", "base"} {
		branch, _ := pull[side].(map[string]any)
		repo, _ := branch["repo"].(map[string]any)
		delete(repo, "custom_properties")
	}
}

// TestOctokitSigns: what GitHub's own library signs is verified, with the secret that it was signed with alone, and so is
// by it what the tests sign.
func TestOctokitSigns(t *testing.T) {
	t.Parallel()
	type signing struct {
		Secret string `json:"secret"`
		Body   string `json:"body"`
		By     string `json:"by"`
	}
	var all []signing
	for _, secret := range []string{"s", "a sëcret \U0001f511", "with a\nline"} {
		for _, body := range []string{`{}`, `{"body":"ünïcödé 计划 \u2028 🚀"}`, "{\n  \"a\": \"\\ud83d\\ude80 \u2028\"\n}\n", `not JSON`} {
			all = append(all, signing{secret, body, sign(secret, body)})
		}
	}
	lines := json.NewDecoder(octokit(t, "sign", all))
	for _, one := range all {
		var got struct {
			Signature string
			Verified  bool
		}
		must(t, lines.Decode(&got))
		if !got.Verified {
			t.Errorf("%q, signed with %q, is not verified by the library", one.Body, one.Secret)
		}
		verify := func(secret, body string) error {
			c := client(t, github.Config{WebhookSecrets: func() [][]byte { return [][]byte{[]byte(secret)} }})
			return c.Verify(http.Header{"X-Hub-Signature-256": {got.Signature}}, []byte(body))
		}
		must(t, verify(one.Secret, one.Body))
		for _, err := range []error{verify(one.Secret+" ", one.Body), verify(one.Secret, one.Body+" ")} {
			if !errors.Is(err, vcs.ErrSignature) {
				t.Errorf("%q, signed with %q: %v, want ErrSignature", one.Body, one.Secret, err)
			}
		}
	}
}
