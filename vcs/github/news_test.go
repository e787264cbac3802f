package github_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/e2e/contract"
	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// counting counts the answers by status.
type counting struct {
	http.RoundTripper
	status map[int]int
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		c.status[resp.StatusCode]++
	}
	return resp, err
}

// TestNews: what happened since a time is told once, as a webhook would have told it, and learning
// that nothing has happened takes two requests that the forge does not count.
func TestNews(t *testing.T) {
	t.Parallel()
	eachEdition(t, testNews)
}

func testNews(t *testing.T, edition contract.Edition) {
	t.Helper()
	d := newEdition(t, edition)
	k := d.kit(t)
	count := &counting{http.DefaultTransport, map[int]int{}}
	c := client(t, github.Config{APIURL: d.url + "/api/v3", User: bot, HTTP: count})
	repo, err := c.Repo(t.Context(), "acme", "infra")
	must(t, err)
	if repo != k.Pull.Repo {
		t.Fatalf("the repository is %+v, want %+v", repo, k.Pull.Repo)
	}
	begin := time.Now().Add(-time.Minute)
	ids := map[int64]bool{}
	for range 101 { // more than a page
		ids[k.Comment(t, "raj", "plan")] = true
	}
	n, err := c.News(t.Context(), repo, begin, nil)
	must(t, err)
	if len(n.Pulls) != 1 || n.Pulls[0] != k.Pull {
		t.Errorf("pull requests: %+v, want %+v", n.Pulls, k.Pull)
	}
	for _, ev := range n.Comments {
		want := vcs.Event{Kind: vcs.Commented, Repo: repo, Pull: 1, Comment: ev.Comment}
		if !ids[ev.Comment.ID] || ev.Key() != want.Key() || ev.Sender != "raj" || ev.Comment.Body != "plan" {
			t.Errorf("a comment: %+v", ev)
		}
		delete(ids, ev.Comment.ID)
	}
	if len(ids) != 0 {
		t.Errorf("%d comments were not told", len(ids))
	}
	if n.At.Before(begin) || n.At.After(time.Now()) {
		t.Errorf("it was asked at %s", n.At)
	}

	clear(count.status)
	quiet, err := c.News(t.Context(), repo, begin, n.Tags)
	must(t, err)
	if len(quiet.Pulls)+len(quiet.Comments) != 0 || count.status[http.StatusNotModified] != 2 || len(count.status) != 1 {
		t.Errorf("when nothing has happened: %d pull requests, %d comments, answers %v", len(quiet.Pulls), len(quiet.Comments), count.status)
	}
	id := k.Comment(t, "eve", "late")
	n, err = c.News(t.Context(), repo, begin, quiet.Tags)
	must(t, err)
	if len(n.Comments) != 102 || !slices.ContainsFunc(n.Comments, func(ev vcs.Event) bool { return ev.Comment.ID == id }) {
		t.Errorf("%d comments, want 102 with the new one", len(n.Comments))
	}
	if n, err = c.News(t.Context(), repo, time.Now().Add(time.Hour), nil); err != nil || len(n.Pulls)+len(n.Comments) != 0 {
		t.Errorf("of the future: %+v, %v", n, err)
	}
	stand, err := c.News(t.Context(), repo, time.Time{}, n.Tags)
	must(t, err)
	if len(stand.Pulls) != 1 || len(stand.Comments) != 0 {
		t.Errorf("how things stand: %d open pull requests, %d comments, want 1 and none", len(stand.Pulls), len(stand.Comments))
	}
	k.Close(t)
	if n, err = c.News(t.Context(), repo, begin, nil); err != nil || len(n.Pulls) != 1 || n.Pulls[0].State != vcs.Closed {
		t.Errorf("of closed pull requests: %+v, %v", n.Pulls, err)
	}
	if n, err = c.News(t.Context(), repo, time.Time{}, nil); err != nil || len(n.Pulls) != 0 {
		t.Errorf("of open pull requests: %+v, %v", n.Pulls, err)
	}
	repo.ID.ID++
	if _, err = c.News(t.Context(), repo, begin, nil); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("of another repository at that name: %v, want %v", err, vcs.ErrNotFound)
	}
}

// TestNewsOfEditedComments: what a comment says after an edit is not its author's word.
func TestNewsOfEditedComments(t *testing.T) {
	t.Parallel()
	said := func(id int, updated string) string {
		return fmt.Sprintf(`{"id":%d,"user":{"login":"raj"},"body":"tidegate apply","html_url":"https://github.com/acme/infra/pull/12",
			"created_at":"2026-01-01T00:00:00Z","updated_at":%q}`, id, updated)
	}
	comments := "[" + strings.Join([]string{
		said(7, "2026-01-01T00:09:00Z"), said(6, "2026-01-01T00:00:02Z"), said(5, "2026-01-01T00:00:01Z"), said(4, "2026-01-01T00:00:00Z"),
	}, ",") + "]"
	c := client(t, github.Config{HTTP: &script{steps: []step{reply(http.StatusOK, "[]"), reply(http.StatusOK, comments)}}})
	n, err := c.News(t.Context(), somePull().Repo, time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC), nil)
	must(t, err)
	var ids []int64
	for _, ev := range n.Comments {
		ids = append(ids, ev.Comment.ID)
	}
	if !slices.Equal(ids, []int64{5, 4}) {
		t.Errorf("News() tells of %v, want those that nobody has edited: 5 and 4", ids)
	}
}

// TestNewsLeavesOut: what can't be used keeps nobody from hearing of the rest.
func TestNewsLeavesOut(t *testing.T) {
	t.Parallel()
	from := func(branch string) string {
		return aPull(func(pull, head, _ map[string]any) { pull["updated_at"], head["ref"] = "2026-01-01T00:00:00Z", branch })
	}
	pulls := "[" + strings.Join([]string{from("a..b"), from("@"), from("-x"), "null"}, ",") + "]"
	said := `{"id":%d,"user":{"login":"raj"},"body":"x","html_url":"https://github.com/acme/infra/pull/12","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}`
	comments := "[" + fmt.Sprintf(said, 0) + "," + fmt.Sprintf(said, 5) + "]"
	c := client(t, github.Config{HTTP: &script{steps: []step{reply(http.StatusOK, pulls), reply(http.StatusOK, comments)}}})
	n, err := c.News(t.Context(), somePull().Repo, time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC), nil)
	must(t, err)
	if len(n.Pulls) != 2 || n.Pulls[0].Head.Ref != "@" || n.Pulls[1].Head.Ref != "-x" {
		t.Errorf("pull requests: %+v, want those from @ and -x", n.Pulls)
	}
	if len(n.Comments) != 1 || n.Comments[0].Comment.ID != 5 {
		t.Errorf("comments: %+v, want the one with an id", n.Comments)
	}
}
