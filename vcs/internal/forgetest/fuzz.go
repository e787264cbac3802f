package forgetest

import (
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidegate/tidegate/vcs"
)

// Fuzzed reads a delivery that may be anything, twice, and checks what every event must be: complete, of a repository
// whose name changes no path, and cloned from the forge at web alone.
func Fuzzed(t *testing.T, hook vcs.Hook, web string, h http.Header, body []byte) {
	t.Helper()
	got := Parse(t, hook, h, body)
	if a, b := JSON(t, got), JSON(t, Parse(t, hook, maps.Clone(h), bytes.Clone(body))); a != b {
		t.Fatalf("Parse() twice = %s and %s", a, b)
	}
	if got.Event == nil {
		return
	}
	ev := got.Event
	if ev.Repo.ID.ID <= 0 || ev.Pull <= 0 || ev.Sender == "" || ev.At.IsZero() || ev.Kind == "" {
		t.Fatalf("Parse() = %+v, want all that an event needs", ev)
	}
	for _, name := range append(strings.Split(ev.Repo.Owner, "/"), ev.Repo.Name) {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00\n %?#") {
			t.Fatalf("Parse() repository = %q", ev.Repo.FullName())
		}
	}
	// A host's usual port may be written down.
	u, err := url.Parse(ev.Repo.CloneURL)
	if err != nil || u.User != nil || u.Scheme+"://"+strings.TrimSuffix(strings.ToLower(u.Host), ":443") != web {
		t.Fatalf("Parse() clone URL = %q", ev.Repo.CloneURL)
	}
	if ev.Comment != nil && (len(ev.Comment.Body) > vcs.MaxCommentText+1 || !utf8.ValidString(ev.Comment.Body)) {
		t.Fatalf("Parse() comment has %d bytes", len(ev.Comment.Body))
	}
}
