package gitlab_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/vcs"
)

// TestPythonGitLab: a client that was not made for the stand-in finds in it what it knows of GitLab, and ours reads what
// that one wrote.
func TestPythonGitLab(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.another(t)
	cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", filepath.Join("testdata", "client.py"), s.URL, botToken, "acme/live/eu-1/infra.core", s.merge.Head())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("python-gitlab, which make test-tools installs: %v\n%s", err, out)
	}
	if notes := s.merge.Notes(); len(notes) != 120 || notes[0].Body != "edited" || notes[0].Emoji["eyes"] != 1 {
		t.Errorf("%d notes, the first %+v, want 120, the first edited and with eyes", len(notes), notes[0])
	}
	got, err := s.client.Approval(t.Context(), s.pull(t))
	if err != nil || !got.Approved || got.By[0] != bot {
		t.Errorf("Approval() = %+v, %v, want that of the other client", got, err)
	}
	if st := s.statuses(t, s.merge.Head())["check"]; st.State != vcs.Success || st.Description != "fine" {
		t.Errorf("the status is %+v", st)
	}
}
