package github_test

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/devforge"
)

// TestPyGithub: a client that was not made for devforge finds in it what it knows of GitHub, and ours reads what that one
// wrote.
func TestPyGithub(t *testing.T) {
	t.Parallel()
	d := newDev(t)
	k := d.kit(t)
	more := k.Another(t)
	must(t, d.Protect("acme", "infra", "main", devforge.Protection{Contexts: []string{"check"}}))
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	t.Cleanup(receiver.Close)
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", filepath.Join("testdata", "client.py"), d.url+"/api/v3", botToken, "root-token", d.head, receiver.URL)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("PyGithub, which make test-tools installs: %v\n%s", err, out)
	}
	if all := k.Conversation(t); len(all) != 120 || all[0].Body != "edited ünïcödé 🚀" || all[0].Author != bot {
		t.Errorf("%d comments, the first %+v", len(all), all[0])
	}
	got, err := k.Forge.(vcs.Approver).Approval(t.Context(), k.Pull)
	if err != nil || !got.Approved || got.By[0] != bot {
		t.Errorf("Approval() = %+v, %v, want that of the other client", got, err)
	}
	if st := d.statuses(t, d.head)["check"]; st.State != vcs.Success || st.Description != "fine" {
		t.Errorf("the status is %+v", st)
	}
	if p, err := k.Forge.Pull(t.Context(), more.Repo, more.Number); err != nil || p.State != vcs.Merged {
		t.Errorf("Pull() = %+v, %v, want what the other client has merged", p, err)
	}
}
