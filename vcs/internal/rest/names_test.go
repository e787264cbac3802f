package rest_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// TestIsRef: a branch has a name if git says so.
func TestIsRef(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"main", "feature/grow", "@", "-x", "--upload-pack=id", "a@b", "@acme/x", "a/@", "ümlaut", "a.b", "a.lock.b", "a-", "'; id #", "$(id)",
		".", "..", "a..b", ".a", "a/.b", "a.", "a./b", "a.lock", "a.lock/b", "/a", "a/", "a//b", "a@{1}", "a b", "a\tb", "a\x7f", "a~1", "a^", "a:b",
		"a?", "a*", "a[b", `a\b`, "a\nb",
	} {
		want := exec.CommandContext(t.Context(), "git", "check-ref-format", "refs/heads/"+name).Run() == nil
		if got := rest.IsRef(name); got != want {
			t.Errorf("IsRef(%q) = %v, git says %v", name, got, want)
		}
	}
	for _, name := range []string{"", strings.Repeat("a", 1025)} {
		if rest.IsRef(name) {
			t.Errorf("IsRef(%.10q of %d bytes) = true", name, len(name))
		}
	}
}
