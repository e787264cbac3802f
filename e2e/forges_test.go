package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// giteaSecret is another one than the other forge's.
const giteaSecret = "another-secret-nobody-may-see"

// TestTwoForges serves two forges with one server: each is answered where it asked, and what one has signed is not taken for the
// other's.
func TestTwoForges(t *testing.T) {
	t.Parallel()
	w := newBareWorld(t)
	dir := filepath.Join(t.TempDir(), "gitea")
	for _, d := range []string{"secrets", "nobody"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	g := newGitea(t, dir, giteaSecret)
	t.Cleanup(g.close)
	must(t, os.WriteFile(filepath.Join(dir, "secrets", "webhook"), []byte(giteaSecret+"\n"), 0o600))
	other := &world{dir: dir, forge: g, seen: map[int64]bool{}}
	for _, in := range []*world{w, other} {
		files := filepath.Join(in.dir, "files", soakProject(0))
		must(t, os.MkdirAll(files, 0o755))
		must(t, os.WriteFile(filepath.Join(files, "main.tf"), []byte(soakConfig), 0o600))
		_, err := in.push("main", filepath.Join(in.dir, "nobody"), "nothing")
		must(t, err)
		_, err = in.push("change", filepath.Dir(files), "change")
		must(t, err)
	}
	path := "PATH=" + stubTerraform(t, w) + ":" + os.Getenv("PATH")
	must(t, w.start(append(w.environ(), path), slices.Concat(
		[]string{"--repo-allowlist", w.forge.host() + "/acme/*," + g.host() + "/acme/*"}, g.serving(filepath.Join(dir, "secrets")),
	)...))
	must(t, g.target(w.server.url+"/events"))
	other.server = w.server
	for _, in := range []*world{w, other} {
		_, err := in.forge.open(in.as(ana), "Change", "change", "main")
		must(t, err)
		must(t, in.planAndApply(1, soakProject(0)))
	}
	w.forged(t)
}

// forged sends deliveries that are not whole one forge's.
func (w *world) forged(t *testing.T) {
	t.Helper()
	body, err := w.dev.late(1, "opened")
	must(t, err)
	sign := func(secret string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		return hex.EncodeToString(mac.Sum(nil))
	}
	for what, c := range map[string]struct {
		headers map[string]string
		status  int
	}{
		"GitHub's, signed with Gitea's secret": {map[string]string{"X-GitHub-Event": "pull_request", "X-Hub-Signature-256": "sha256=" + sign(giteaSecret)}, http.StatusUnauthorized},
		"GitHub's body under Gitea's headers, with GitHub's secret": {map[string]string{
			"X-Gitea-Event": "pull_request", "X-GitHub-Event": "pull_request", "X-Gitea-Signature": sign(webhookSecret), "X-Hub-Signature-256": "sha256=" + sign(webhookSecret),
		}, http.StatusUnauthorized},
		"GitHub's body as Gitea's":     {map[string]string{"X-Gitea-Event": "pull_request", "X-Gitea-Signature": sign(giteaSecret)}, http.StatusBadRequest},
		"a forge's that is not served": {map[string]string{"X-Gitlab-Event": "Merge Request Hook", "X-Gitlab-Token": webhookSecret}, http.StatusBadRequest},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.url+"/events", bytes.NewReader(body))
		must(t, err)
		for name, value := range c.headers {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", what, resp.StatusCode, c.status)
		}
	}
	if err := w.idle(); err != nil {
		t.Error(fmt.Errorf("after what was forged: %w", err))
	}
}
