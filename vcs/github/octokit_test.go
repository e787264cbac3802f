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
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// octokit starts GitHub's own library for webhooks. It ends with the test.
func octokit(t *testing.T, what string, input any) io.Reader {
	t.Helper()
	in, err := json.Marshal(input)
	must(t, err)
	cache, err := filepath.Abs(cmp.Or(os.Getenv("TIDEGATE_CACHE"), filepath.Join("..", "..", ".cache")))
	must(t, err)
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join("testdata", "octokit", "client.mjs"), filepath.Join(cache, "octokit"), what)
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
