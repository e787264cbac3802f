package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// sends is a forge as the server sees it: what it has sent once, and how it signs.
type sends struct {
	body []byte
	// sign is the header of a body.
	sign func(secret string, body []byte) map[string]string
	// lacks are members without which the body is none of the forge's.
	lacks []string
}

func hexHMAC(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// sent is a recording of a forge, as if it came from an address of this machine where nobody is.
func sent(t *testing.T, file, to string, from ...string) []byte {
	t.Helper()
	raw := contents(t, file)
	for _, f := range from {
		raw = strings.ReplaceAll(raw, f, to)
	}
	return []byte(raw)
}

// senders are the forges of one server.
func senders(t *testing.T) map[string]sends {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/xanzy/go-gitlab").Output()
	if err != nil {
		t.Fatal(err)
	}
	recordings := filepath.Join(strings.TrimSpace(string(out)), "testdata", "webhooks")
	github := func(event string) func(string, []byte) map[string]string {
		return func(secret string, body []byte) map[string]string {
			return map[string]string{"X-GitHub-Event": event, "X-Hub-Signature-256": "sha256=" + hexHMAC(secret, body)}
		}
	}
	gitea := func(event string) func(string, []byte) map[string]string {
		return func(secret string, body []byte) map[string]string {
			h := github(event)(secret, body) // it sends these, too
			maps.Copy(h, map[string]string{"X-Gitea-Event": event, "X-Gitea-Signature": hexHMAC(secret, body)})
			return h
		}
	}
	gitlab := func(event string) func(string, []byte) map[string]string {
		return func(secret string, _ []byte) map[string]string {
			return map[string]string{"X-Gitlab-Event": event, "X-Gitlab-Token": secret}
		}
	}
	pull := []string{"repository", "sender", "pull_request", "pull_request.head"}
	talk := []string{"repository", "sender", "issue", "comment"}
	const here, labHere = "http://127.0.0.1:9", "http://127.0.0.1:10"
	labHosts := []string{"http://example.com", "http://10.40.8.5:3200"}
	hub, tea := "../../vcs/github/testdata/webhooks/", "../../vcs/gitea/testdata/deliveries/"
	return map[string]sends{
		"GitHub":            {sent(t, hub+"pull_request.opened.json", here, "https://github.com"), github("pull_request"), pull},
		"GitHub, a comment": {sent(t, hub+"issue_comment.created.on-pull.json", here, "https://github.com"), github("issue_comment"), talk},
		"Gitea":             {sent(t, tea+"pull_request.opened.json", ""), gitea("pull_request"), pull},
		"Gitea, a comment":  {sent(t, tea+"issue_comment.comment.json", ""), gitea("issue_comment"), talk},
		"GitLab": {
			sent(t, filepath.Join(recordings, "service_merge_request.json"), labHere, labHosts...), gitlab("Merge Request Hook"),
			[]string{"project", "user", "object_attributes", "object_attributes.last_commit"},
		},
		"GitLab, a comment": {
			sent(t, filepath.Join(recordings, "note_merge_request.json"), labHere, labHosts...), gitlab("Note Hook"),
			[]string{"project", "user", "object_attributes", "merge_request"},
		},
	}
}

func forgeOf(sender string) string {
	forge, _, _ := strings.Cut(sender, ",")
	return forge
}

// without takes a member out of a JSON object, by its path.
func without(t *testing.T, body []byte, path string) []byte {
	t.Helper()
	whole := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&whole); err != nil {
		t.Fatal(err)
	}
	at, keys := whole, strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		at, _ = at[key].(map[string]any)
	}
	last := keys[len(keys)-1]
	if at[last] == nil {
		t.Fatalf("there is no %s", path)
	}
	delete(at, last)
	raw, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// What no forge sends is refused at the door of the whole server, whichever forge's it is said to be: a body that lacks something or
// is cut, one of another forge, one that somebody else has signed.
func TestDoors(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{"GitHub": "hook-hush-of-github", "GitLab": "hook-hush-of-gitlab", "Gitea": "hook-hush-of-gitea"}
	cmd := tidegate(t, complete(t, t.TempDir(), "--repo-allowlist=127.0.0.1:9/none/*,127.0.0.1:10/none/*,127.0.0.1:3000/none/*",
		"--gh-webhook-secret="+secrets["GitHub"], "--gh-webhook-secret-file=",
		"--gitlab-api-url=http://127.0.0.1:10/api/v4", "--gitlab-user=bot", "--gitlab-token=tok-hush", "--gitlab-webhook-secret="+secrets["GitLab"],
		"--gitea-base-url=http://127.0.0.1:3000", "--gitea-user=bot", "--gitea-token=tok-hush", "--gitea-webhook-secret="+secrets["Gitea"])...)
	addr, rest := begin(t, cmd)
	deliver := func(headers map[string]string, body []byte) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/events", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for name, value := range headers {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		said, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(said)
	}
	all := senders(t)
	for name, from := range all {
		secret := secrets[forgeOf(name)]
		want := func(what string, body []byte, signed string, status int, says string) {
			t.Helper()
			if got, said := deliver(from.sign(signed, body), body); got != status || !strings.Contains(said, says) {
				t.Errorf("%s, %s: %d %s, want %d, %q", name, what, got, said, status, says)
			}
		}
		want("as it was sent", from.body, secret, http.StatusOK, "not in --repo-allowlist")
		for other, theirs := range secrets {
			if theirs != secret {
				want("signed as "+other+" does", from.body, theirs, http.StatusUnauthorized, "signature")
			}
		}
		want("not signed", from.body, "", http.StatusUnauthorized, "signature")
		for _, part := range []int{0, 1, len(from.body) / 2, len(from.body) - 2} {
			want("cut", from.body[:part], secret, http.StatusBadRequest, "unusable payload")
		}
		for _, member := range from.lacks {
			status, says := http.StatusBadRequest, "unusable payload"
			if strings.HasSuffix(member, "last_commit") { // a merge request of an empty branch
				status, says = http.StatusOK, "ignored: it has no commits"
			}
			want("without "+member, without(t, from.body, member), secret, status, says)
		}
		for other, theirs := range all {
			if forgeOf(other) == forgeOf(name) {
				continue
			}
			// That of another kind may be of an action that nothing is read of.
			if alike := strings.HasSuffix(other, "comment") == strings.HasSuffix(name, "comment"); alike {
				want("with a body of "+other, theirs.body, secret, http.StatusBadRequest, "unusable payload")
			} else if status, said := deliver(from.sign(secret, theirs.body), theirs.body); status != http.StatusBadRequest && !strings.HasPrefix(said, "ignored: ") {
				t.Errorf("%s, with a body of %s: %d %s, want it refused or ignored", name, other, status, said)
			}
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text := <-rest
	if err := cmd.Wait(); err != nil || strings.Contains(text, "outcome=accepted") || strings.Contains(text, "-of-git") {
		t.Errorf("it ended with %v, took something in, or logs a secret:\n%s", err, text)
	}
}
