package github_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// TestPublishedExamples reads every delivery that GitHub's own examples have of github.com and of two Enterprise Servers
// (@octokit/webhooks-examples, which e2e/contract/fetch.sh fetches). What becomes of each stands in testdata/examples.
func TestPublishedExamples(t *testing.T) {
	t.Parallel()
	cache := filepath.Join(cmp.Or(os.Getenv("TIDEGATE_CACHE"), filepath.Join("..", "..", ".cache")), "contract")
	for _, from := range []string{"api.github.com", "ghes-3.4", "ghes-3.5"} {
		raw, err := os.ReadFile(filepath.Join(cache, "examples-"+from+".json"))
		if err != nil {
			t.Fatalf("%v: run make test-tools", err)
		}
		var all []struct {
			Name     string
			Examples []json.RawMessage
		}
		must(t, json.Unmarshal(raw, &all))
		var got []string
		for _, event := range all {
			for i, body := range event.Examples {
				got = append(got, fmt.Sprintf("%s %d: %s", event.Name, i, outcomeOf(t, event.Name, body)))
			}
		}
		slices.Sort(got)
		golden := filepath.Join("testdata", "examples", from+".txt")
		text := strings.Join(got, "\n") + "\n"
		if *update {
			must(t, os.MkdirAll(filepath.Dir(golden), 0o755))
			must(t, os.WriteFile(golden, []byte(text), 0o600))
		}
		want, err := os.ReadFile(golden)
		must(t, err)
		if diff := gocmp.Diff(string(want), text); diff != "" {
			t.Errorf("%s (-want +got):\n%s", golden, diff)
		}
	}
}

// outcomeOf parses an example with a client of the host that it is from.
func outcomeOf(t *testing.T, event string, body []byte) string {
	t.Helper()
	var where struct {
		Repository struct {
			HTMLURL string `json:"html_url"`
		}
	}
	must(t, json.Unmarshal(body, &where))
	at, err := url.Parse(where.Repository.HTMLURL)
	must(t, err)
	c := client(t, github.Config{Hostname: at.Host})
	ev, err := c.Parse(http.Header{"X-Github-Event": {event}, "Content-Type": {"application/json"}}, body)
	var ignored *vcs.IgnoredError
	switch {
	case errors.As(err, &ignored):
		return fmt.Sprintf("%s, ignored: %s", ignored.Event, ignored.Reason)
	case err != nil:
		return "refused: " + err.Error()
	}
	if ev.Comment != nil {
		return fmt.Sprintf("%s %s#%d by %s: %q", ev.Kind, ev.Repo.FullName(), ev.Pull, ev.Sender, ev.Comment.Body)
	}
	return fmt.Sprintf("%s %s#%d by %s, %.7s onto %s", ev.Kind, ev.Repo.FullName(), ev.Pull, ev.Sender, ev.Head, ev.BaseRef)
}
