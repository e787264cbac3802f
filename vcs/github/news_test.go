package github_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

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
	d := newDev(t)
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
