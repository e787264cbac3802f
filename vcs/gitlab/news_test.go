package gitlab_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitlab"
	"github.com/tidegate/tidegate/vcs/gitlab/gitlabtest"
	ft "github.com/tidegate/tidegate/vcs/internal/forgetest"
)

// TestNews: what happened since a time is told as a webhook would have told it.
func TestNews(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	// A list does not tell what a merge request was made on.
	want := s.pull(t)
	want.Base.SHA = ""
	repo := want.Repo
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	asked := time.Now().Add(-time.Minute)
	ids := map[int64]bool{}
	for range 101 { // more than a page
		ids[s.merge.AddNote("raj", "plan")] = true
	}
	s.project.AddMerge("raj", "Quiet", "quiet", "main")
	n, err := s.client.News(t.Context(), repo, begin, map[string]string{"kept": "yes"})
	must(t, err)
	if many := len(s.Asked()); many != 3 {
		t.Errorf("%d requests, want one for what was touched and two for 101 notes", many)
	}
	if len(n.Pulls) != 2 || !slices.Contains(n.Pulls, want) || n.Tags["kept"] != "yes" || n.At.Before(asked) || n.At.After(time.Now()) {
		t.Errorf("News() = %+v at %v, want %+v and another one", n.Pulls, n.At, want)
	}
	for _, ev := range n.Comments {
		hint := vcs.Event{Kind: vcs.Commented, Repo: repo, Pull: 1, Comment: ev.Comment}
		if !ids[ev.Comment.ID] || ev.Key() != hint.Key() || ev.Sender != "raj" || ev.Comment.Body != "plan" {
			t.Errorf("a comment: %+v", ev)
		}
		delete(ids, ev.Comment.ID)
	}
	if len(ids) != 0 {
		t.Errorf("%d comments were not told", len(ids))
	}

	before := len(s.Asked())
	quiet, err := s.client.News(t.Context(), repo, begin.Add(24*time.Hour), nil)
	must(t, err)
	if asked := len(s.Asked()) - before; len(quiet.Pulls)+len(quiet.Comments) != 0 || asked != 1 {
		t.Errorf("when nothing has happened: %d pull requests, %d comments, %d requests", len(quiet.Pulls), len(quiet.Comments), asked)
	}
	stand, err := s.client.News(t.Context(), repo, time.Time{}, n.Tags)
	must(t, err)
	if len(stand.Pulls) != 2 || len(stand.Comments) != 0 {
		t.Errorf("how things stand: %d open pull requests, %d comments, want 2 and none", len(stand.Pulls), len(stand.Comments))
	}
	s.merge.Set(func(f *gitlabtest.Facts) { f.State = "closed" })
	if n, err = s.client.News(t.Context(), repo, begin, nil); err != nil || len(n.Pulls) != 2 || n.Pulls[0].State != vcs.Closed {
		t.Errorf("of closed ones: %+v, %v", n.Pulls, err)
	}
	if n, err = s.client.News(t.Context(), repo, time.Time{}, nil); err != nil || len(n.Pulls) != 1 {
		t.Errorf("of open ones: %+v, %v", n.Pulls, err)
	}
	repo.ID.ID++
	if _, err = s.client.News(t.Context(), repo, begin, nil); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("of another project: %v, want %v", err, vcs.ErrNotFound)
	}
}

// TestNewsOfEditedNotes: what a note says after an edit is not its author's word.
func TestNewsOfEditedNotes(t *testing.T) {
	t.Parallel()
	said := func(id int, updated string) string {
		return fmt.Sprintf(`{"id":%d,"author":{"username":"raj"},"body":"tidegate apply","created_at":"2026-01-01T00:00:00.100Z","updated_at":%q}`, id, updated)
	}
	notes := "[" + strings.Join([]string{
		said(7, "2026-01-01T00:09:00.000Z"), said(6, "2026-01-01T00:00:00.900Z"), said(5, "2026-01-01T00:00:00.100Z"),
	}, ",") + "]"
	s := &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, "["+aMerge(t, "user_notes_count", 3)+"]"), ft.Reply(http.StatusOK, notes), ft.Reply(http.StatusOK, notes)}}
	c, since := client(t, gitlab.Config{HTTP: s}), time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)
	n, err := c.News(t.Context(), somePull().Repo, since, nil)
	if err != nil || len(n.Comments) != 1 || n.Comments[0].Comment.ID != 5 {
		t.Errorf("News() = %+v, %v, want the note that nobody has edited: 5", n.Comments, err)
	}
	if all, err := c.Comments(t.Context(), somePull(), since); err != nil || len(all) != 3 {
		t.Errorf("Comments() = %+v, %v, want all three", all, err)
	}
}

// TestNewsHostile: one merge request that is not ready keeps nobody from hearing of the others; an answer for another
// project is none.
func TestNewsHostile(t *testing.T) {
	t.Parallel()
	ready, empty := aMerge(t, "x", nil), aMerge(t, "sha", nil)
	c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, "["+empty+","+ready+"]")}}})
	if n, err := c.News(t.Context(), somePull().Repo, time.Time{}, nil); err != nil || len(n.Pulls) != 1 {
		t.Errorf("News() = %+v, %v, want the one that is ready", n.Pulls, err)
	}
	for name, odd := range map[string]string{
		"no number": aMerge(t, "iid", 0), "a page elsewhere": aMerge(t, "web_url", "https://evil.example.com/a/b/-/merge_requests/12"),
		"a branch that is none": aMerge(t, "source_branch", "a..b"),
	} {
		c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, "["+odd+","+ready+"]")}}})
		if n, err := c.News(t.Context(), somePull().Repo, time.Time{}, nil); err != nil || len(n.Pulls) != 1 {
			t.Errorf("News(%s) = %+v, %v, want the other one", name, n.Pulls, err)
		}
	}
	for _, branch := range []string{"@", "-x"} {
		c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, "["+aMerge(t, "source_branch", branch)+"]")}}})
		if n, err := c.News(t.Context(), somePull().Repo, time.Time{}, nil); err != nil || len(n.Pulls) != 1 || n.Pulls[0].Head.Ref != branch {
			t.Errorf("News() of one from %q = %+v, %v", branch, n.Pulls, err)
		}
	}
	c = client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, "["+aMerge(t, "project_id", 8)+"]")}}})
	if n, err := c.News(t.Context(), somePull().Repo, time.Time{}, nil); err == nil {
		t.Errorf("News() of another project = %+v, want an error", n.Pulls)
	}
	long := strings.Repeat("漢", vcs.MaxCommentText)
	c = client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{
		ft.Reply(http.StatusOK, "["+aMerge(t, "user_notes_count", 1)+"]"),
		ft.Reply(http.StatusOK, `[{"id":5,"body":"`+long+`","author":{"username":"raj"},"created_at":"2026-03-01T12:00:00Z"}]`),
	}}})
	n, err := c.News(t.Context(), somePull().Repo, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), nil)
	if err != nil || len(n.Comments) != 1 || len(n.Comments[0].Comment.Body) != vcs.MaxCommentText+1 {
		t.Errorf("News() with a long comment = %+v, %v, want it cut", n.Comments, err)
	}
}

// TestRepoHostile: what a project is said to be is checked.
func TestRepoHostile(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"no id":            `{"path_with_namespace":"acme/infra","web_url":"https://gitlab.com/acme/infra"}`,
		"no path":          `{"id":7,"web_url":"https://gitlab.com/acme/infra"}`,
		"a hostile path":   `{"id":7,"path_with_namespace":"acme/../infra","web_url":"https://gitlab.com/acme/infra"}`,
		"a page elsewhere": `{"id":7,"path_with_namespace":"acme/infra","web_url":"https://evil.example.com/acme/infra"}`,
	} {
		c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, answer)}}})
		if got, err := c.Repo(t.Context(), "acme", "infra"); err == nil {
			t.Errorf("Repo(%s) = %+v, want an error", name, got)
		}
	}
}
