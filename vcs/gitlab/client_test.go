package gitlab_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitlab"
	"github.com/tidegate/tidegate/vcs/gitlab/gitlabtest"
	ft "github.com/tidegate/tidegate/vcs/internal/forgetest"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// aMerge is a merge request as the API has it, with one key changed.
func aMerge(tb testing.TB, key string, value any) string {
	tb.Helper()
	return string(ft.Change(tb, []byte(`{
		"iid": 12, "project_id": 7, "source_project_id": 7, "target_project_id": 7, "state": "opened", "title": "t", "draft": false,
		"author": {"username": "ana"}, "source_branch": "grow", "target_branch": "main", "sha": "`+someSHA+`",
		"web_url": "https://gitlab.com/acme/live/infra/-/merge_requests/12", "labels": [{"name": "a"}, 7],
		"diff_refs": {"start_sha": "`+strings.Repeat("b", 40)+`"}
	}`), key, value))
}

func TestPull(t *testing.T) {
	t.Parallel()
	want := func(change func(*vcs.Pull)) *vcs.Pull {
		p := somePull()
		p.Title, p.URL, p.State, p.HeadRef = "t", "https://gitlab.com/acme/live/infra/-/merge_requests/12", vcs.Open, "refs/merge-requests/12/head"
		p.Head = vcs.Branch{Ref: "grow", SHA: someSHA, Repo: p.Repo.ID}
		p.Base = vcs.Branch{Ref: "main", SHA: strings.Repeat("b", 40), Repo: p.Repo.ID}
		change(&p)
		return &p
	}
	for _, tt := range []struct {
		name, key string
		value     any
		want      *vcs.Pull // nil: an error
	}{
		{"open", "x", nil, want(func(*vcs.Pull) {})},
		{"closed", "state", "closed", want(func(p *vcs.Pull) { p.State = vcs.Closed })},
		{"merged", "state", "merged", want(func(p *vcs.Pull) { p.State = vcs.Merged })},
		{"being merged", "state", "locked", want(func(*vcs.Pull) {})},
		{"draft", "draft", true, want(func(p *vcs.Pull) { p.Draft = true })},
		{"draft of an older GitLab", "work_in_progress", true, want(func(p *vcs.Pull) { p.Draft = true })},
		{"of a user who was deleted", "author", nil, want(func(p *vcs.Pull) { p.Author = "ghost" })},
		{"from a fork", "source_project_id", 8, want(func(p *vcs.Pull) { p.Head.Repo.ID = 8 })},
		{"from a fork that was deleted", "source_project_id", nil, want(func(p *vcs.Pull) { p.Head.Repo = vcs.RepoID{} })},
		{"in the form of an older GitLab", "web_url", "https://gitlab.com/acme/live/infra/merge_requests/12", want(func(*vcs.Pull) {})},
		{"just made", "diff_refs", nil, want(func(p *vcs.Pull) { p.Base.SHA = "" })},
		{"in a project that was renamed", "web_url", "https://gitlab.com/other/name/-/merge_requests/12", want(func(p *vcs.Pull) {
			p.Repo.Owner, p.Repo.Name, p.Repo.URL, p.Repo.CloneURL = "other", "name", "https://gitlab.com/other/name", "https://gitlab.com/other/name.git"
			p.URL = "https://gitlab.com/other/name/-/merge_requests/12"
		})},
		{"of another project", "project_id", 9, nil},
		{"of none", "project_id", nil, nil},
		{"with another number than its page", "iid", 13, nil},
		{"a state that is none", "state", "open", nil},
		{"a page elsewhere", "web_url", "https://evil.example.com/acme/live/infra/-/merge_requests/12", nil},
		{"a page of something else", "web_url", "https://gitlab.com/acme/live/infra/-/issues/12", nil},
		{"a page of another one", "web_url", "https://gitlab.com/acme/live/infra/-/merge_requests/13", nil},
		{"a page of no project", "web_url", "https://gitlab.com/-/merge_requests/12", nil},
		{"a page of a hostile project", "web_url", "https://gitlab.com/acme/..%2f..%2fx/-/merge_requests/12", nil},
		{"no page", "web_url", nil, nil},
		{"no head", "sha", nil, nil},
		{"a head that is no commit", "sha", "main", nil},
		{"a base that is no commit", "diff_refs.start_sha", "HEAD", nil},
		{"a base that is no branch", "target_branch", "a..b", nil},
		{"a number that is none", "iid", 0, nil},
		{"another number", "iid", 13, nil},
	} {
		c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, aMerge(t, tt.key, tt.value))}}})
		got, err := c.Pull(t.Context(), somePull().Repo, 12)
		if tt.want == nil {
			if !errors.Is(err, vcs.ErrUnusable) && !errors.Is(err, vcs.ErrNotFound) {
				t.Errorf("Pull(%s) = %+v, %v, want an error that it can't be used, or is not there", tt.name, got, err)
			}
			continue
		}
		if diff := cmp.Diff(*tt.want, got); err != nil || diff != "" {
			t.Errorf("Pull(%s) error = %v, differs (-want +got):\n%s", tt.name, err, diff)
		}
		if fork := tt.want.Head.Repo.ID != 7; got.Fork() != fork {
			t.Errorf("Pull(%s).Fork() = %v, want %v", tt.name, got.Fork(), fork)
		}
	}
}

// TestPullWithoutCommits: what is closed may have lost them, and is read all the same: its locks wait for that.
func TestPullWithoutCommits(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"closed", "merged"} {
		answer := string(ft.Change(t, []byte(aMerge(t, "sha", nil)), "state", state))
		c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, answer), ft.Reply(http.StatusOK, "["+answer+"]")}}})
		if got, err := c.Pull(t.Context(), somePull().Repo, 12); err != nil || got.Head.SHA != "" || string(got.State) != state {
			t.Errorf("Pull(%s, without commits) = %+v, %v, want it read", state, got, err)
		}
		if n, err := c.News(t.Context(), somePull().Repo, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), nil); err != nil || len(n.Pulls) != 1 {
			t.Errorf("News(%s, without commits) = %+v, %v, want it told", state, n.Pulls, err)
		}
	}
	bad := string(ft.Change(t, []byte(aMerge(t, "sha", "main")), "state", "closed"))
	c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, bad)}}})
	if got, err := c.Pull(t.Context(), somePull().Repo, 12); err == nil {
		t.Errorf("Pull(closed, with a head that is no commit) = %+v, want an error", got)
	}
}

// TestPullAnother: an answer about another merge request is none.
func TestPullAnother(t *testing.T) {
	t.Parallel()
	answer := strings.ReplaceAll(aMerge(t, "iid", 13), "merge_requests/12", "merge_requests/13")
	c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{ft.Reply(http.StatusOK, answer)}}})
	if got, err := c.Pull(t.Context(), somePull().Repo, 12); err == nil || !strings.Contains(err.Error(), "#13") {
		t.Errorf("Pull(!12) answered with !13 = %+v, %v, want an error that says so", got, err)
	}
}

// TestCommentsSince: the newest come first, and reading ends with the first that is too old. What GitLab wrote itself
// does not count.
func TestCommentsSince(t *testing.T) {
	t.Parallel()
	made := func(id int, at string, system bool) string {
		return fmt.Sprintf(`{"id":%d,"created_at":%q,"author":null,"body":"x","system":%v}`, id, at, system)
	}
	s := &ft.Script{Steps: []ft.Step{
		ft.Reply(http.StatusOK, "["+strings.Join([]string{
			made(9, "2026-03-01T13:00:01.900Z", true), made(4, "2026-03-01T13:00:00.500Z", false),
		}, ",")+"]", "X-Next-Page", "2"),
		ft.Reply(http.StatusOK, "["+strings.Join([]string{
			made(4, "2026-03-01T13:00:00.500Z", false), made(3, "2026-03-01T12:00:00.001Z", false), made(2, "2026-03-01T12:00:00.002Z", false), made(1, "2026-03-01T11:59:59.999Z", false),
		}, ",")+"]", "X-Next-Page", "3"),
	}}
	since := time.Date(2026, 3, 1, 12, 0, 0, 999, time.UTC)
	got, err := client(t, gitlab.Config{HTTP: s}).Comments(t.Context(), somePull(), since)
	var ids []int64
	for _, c := range got {
		ids = append(ids, c.ID)
		if c.Author != "ghost" || c.CreatedAt.Nanosecond() != 0 {
			t.Errorf("comment %d is of %q, at %v, want ghost and whole seconds", c.ID, c.Author, c.CreatedAt)
		}
	}
	if diff := cmp.Diff([]int64{2, 3, 4}, ids); err != nil || diff != "" {
		t.Errorf("Comments() error = %v, ids differ (-want +got):\n%s", err, diff)
	}
	if n := len(s.Requests); n != 2 {
		t.Errorf("%d requests, want two", n)
	}
}

// TestEndlessList: a forge that always has another page does not keep us for ever.
func TestEndlessList(t *testing.T) {
	t.Parallel()
	next := func(req *http.Request) (*http.Response, error) {
		page := 0
		_, _ = fmt.Sscan(req.URL.Query().Get("page"), &page)
		return ft.Reply(http.StatusOK, `[]`, "X-Next-Page", fmt.Sprint(page+1))(req)
	}
	s := &ft.Script{Steps: ft.Times(2000, next)}
	if err := list(t.Context(), client(t, gitlab.Config{HTTP: s})); err == nil || len(s.Requests) != 1000 {
		t.Errorf("Comments() = %v after %d requests, want an error after 1000", err, len(s.Requests))
	}
	s = &ft.Script{Steps: ft.Times(5, ft.Reply(http.StatusOK, `[]`, "X-Next-Page", "1"))}
	if err := list(t.Context(), client(t, gitlab.Config{HTTP: s})); err != nil || len(s.Requests) != 1 {
		t.Errorf("Comments() = %v after %d requests, want one", err, len(s.Requests))
	}
}

// TestNoQuickActions: GitLab carries out lines that begin with a slash, in new notes and in edited ones. The stand-in
// fails the test on any.
func TestNoQuickActions(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	p := s.pull(t)
	const body = "/approve\nplan\n````\n```\n/merge\n```\n````\n a/b\n/close"
	const want = " /approve\nplan\n````\n```\n /merge\n```\n````\n a/b\n /close"
	for body, want := range map[string]string{
		body: want, "\r/merge": " /merge", "x\r\n/merge": "x\n /merge", "x\n\r/close": "x\n /close", "x\n\r\r/approve\r\n": "x\n /approve\n",
	} {
		made, err := s.client.CreateComment(t.Context(), p, body)
		must(t, err)
		if made.Body != want {
			t.Errorf("CreateComment() of %q posted %q, want %q", body, made.Body, want)
		}
		must(t, s.client.DeleteComment(t.Context(), p, made.ID))
	}
	made, err := s.client.CreateComment(t.Context(), p, body)
	must(t, err)
	must(t, s.client.EditComment(t.Context(), p, made.ID, "x\n/merge"))
	id := s.merge.AddNote(bot, body)
	must(t, s.client.Fold(t.Context(), p, []vcs.Comment{made, {ID: id}}))
	if got := s.merge.Notes()[0].Body; !strings.Contains(got, "x\n /merge") {
		t.Errorf("the edited note is %q", got)
	}
}

// TestFold: a note is folded once, by what it says now, and what it ends with stays its end.
func TestFold(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	const mark = "<!-- tidegate:1 run=x mac=00 -->"
	plain, marked := s.merge.AddNote(bot, "one\n"), s.merge.AddNote(bot, "two\n\n<!-- not the last -->\nthree\n\n"+mark+"\n")
	for range 2 {
		must(t, s.client.Fold(t.Context(), s.pull(t), []vcs.Comment{{ID: plain}, {ID: 1}, {ID: marked}}))
	}
	const head = "<details>\n<summary>Outdated</summary>\n\n"
	for i, want := range []string{head + "one\n\n</details>", head + "two\n\n<!-- not the last -->\nthree\n\n</details>\n\n" + mark} {
		if got := s.merge.Notes()[i].Body; got != want {
			t.Errorf("note %d = %q, want %q", i, got, want)
		}
	}
	edits := 0
	for _, asked := range s.Asked() {
		if strings.HasPrefix(asked, "PUT ") {
			edits++
		}
	}
	if edits != 2 {
		t.Errorf("%d edits, want each note edited once", edits)
	}
	long := s.merge.AddNote(bot, strings.Repeat("🌊", s.client.Site().CommentLimit/4))
	must(t, s.client.Fold(t.Context(), s.pull(t), []vcs.Comment{{ID: long}}))
	full := s.merge.AddNote(bot, strings.Repeat("x", s.client.Site().CommentLimit))
	must(t, s.client.Fold(t.Context(), s.pull(t), []vcs.Comment{{ID: full}}))
}

// TestStatusBody: what GitLab gets to see of a status.
func TestStatusBody(t *testing.T) {
	t.Parallel()
	pipes := ft.Reply(http.StatusOK, `[{"id":9,"sha":"`+someSHA+`","ref":"grow","source":"push"}]`)
	for _, tt := range []struct {
		status vcs.Status
		want   map[string]any
	}{
		{
			vcs.Status{Context: "tidegate/plan", State: vcs.Pending, Description: "planning", URL: "https://t.example.com/runs/1"},
			map[string]any{"name": "tidegate/plan", "state": "pending", "description": "planning", "target_url": "https://t.example.com/runs/1", "ref": "grow", "pipeline_id": 9.0},
		},
		{
			vcs.Status{Context: "x", State: vcs.Failure, Description: strings.Repeat("ü", 255)},
			map[string]any{"name": "x", "state": "failed", "description": strings.Repeat("ü", 255), "ref": "grow", "pipeline_id": 9.0},
		},
		{
			vcs.Status{Context: "x", State: vcs.Success, Description: strings.Repeat("🌊", 256)},
			map[string]any{"name": "x", "state": "success", "description": strings.Repeat("🌊", 254) + "…", "ref": "grow", "pipeline_id": 9.0},
		},
	} {
		s := &ft.Script{Steps: []ft.Step{pipes, ft.Reply(http.StatusCreated, `{}`)}}
		must(t, client(t, gitlab.Config{HTTP: s}).SetStatus(t.Context(), somePull().Repo, someSHA, tt.status))
		got := map[string]any{}
		must(t, json.Unmarshal(s.Bodies[1], &got))
		if diff := cmp.Diff(tt.want, got); diff != "" || !utf8.Valid(s.Bodies[1]) {
			t.Errorf("SetStatus(%+v) differs (-want +got):\n%s", tt.status, diff)
		}
	}
}

// TestStatusPipelines: on which pipeline a status lands.
func TestStatusPipelines(t *testing.T) {
	t.Parallel()
	const own = "refs/merge-requests/1/head"
	for name, tt := range map[string]struct {
		pipes [][2]string // source, ref
		want  int         // index of the pipeline
	}{
		"the branch's":                       {[][2]string{{"push", "grow"}}, 0},
		"the newest of the branch":           {[][2]string{{"push", "grow"}, {"web", "grow"}}, 1},
		"the merge request's own":            {[][2]string{{"push", "grow"}, {"merge_request_event", own}, {"push", "grow"}}, 1},
		"the newest of its own":              {[][2]string{{"merge_request_event", own}, {"merge_request_event", own}}, 1},
		"not the one of statuses":            {[][2]string{{"push", "grow"}, {"external", "grow"}}, 0},
		"not a child":                        {[][2]string{{"push", "grow"}, {"parent_pipeline", "grow"}}, 0},
		"a reference that the branch is not": {[][2]string{{"push", "another-branch-with-the-commit"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t)
			synctest.Test(t, func(t *testing.T) { statusOn(t, s, tt.pipes, tt.want) })
		})
	}
}

func statusOn(t *testing.T, s *stand, pipes [][2]string, want int) {
	t.Helper()
	c := client(t, gitlab.Config{APIURL: s.URL, HTTP: s})
	sha := s.merge.Push()
	var ids []int64
	for _, p := range pipes {
		ids = append(ids, s.project.AddPipeline(sha, p[1], p[0]))
	}
	// What is pending is told of in other words again and again.
	for i, said := range []string{"pending", "running", "pending", "running", "success", "pending", "failed"} {
		state, text := statesOf[said], fmt.Sprint("text ", i)
		must(t, c.SetStatus(t.Context(), s.pull(t).Repo, sha, vcs.Status{Context: "tidegate/plan", State: state, Description: text}))
		if got := s.project.Statuses(sha)["tidegate/plan"]; got.Pipeline != ids[want] || got.Ref != pipes[want][1] || got.State != said || got.Description != text {
			t.Errorf("after %q and %q the status is %+v, want it %s on pipeline %d of %v", state, text, got, said, ids[want], ids)
		}
	}
	lists := 0
	for _, asked := range s.Asked() {
		if strings.Contains(asked, "/pipelines?") {
			lists++
		}
	}
	if lists != 1 {
		t.Errorf("pipelines were listed %d times, want once for statuses that come together", lists)
	}
}

// TestStatusNewerPipeline: a run that takes its time ends in the pipeline that was made meanwhile.
func TestStatusNewerPipeline(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	synctest.Test(t, func(t *testing.T) {
		c := client(t, gitlab.Config{APIURL: s.URL, HTTP: s})
		sha := s.merge.Push()
		set := func(state vcs.StatusState, want int64) {
			t.Helper()
			must(t, c.SetStatus(t.Context(), s.pull(t).Repo, sha, vcs.Status{Context: "tidegate/apply", State: state, Description: "x"}))
			if got := s.project.Statuses(sha)["tidegate/apply"]; got.Pipeline != want {
				t.Errorf("%s went to pipeline %d, want %d", state, got.Pipeline, want)
			}
		}
		set(vcs.Pending, s.project.AddPipeline(sha, "grow", "push"))
		newer := s.project.AddPipeline(sha, "refs/merge-requests/1/head", "merge_request_event")
		time.Sleep(5 * time.Second) //nolint:forbidigo // of the bubble's time
		set(vcs.Success, newer)
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble's time
		set(vcs.Pending, newer)
		s.project.RemovePipeline(newer)
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble's time
		set(vcs.Pending, s.project.AddPipeline(sha, "grow", "push"))
	})
}

// TestStatusBranch: a status that makes a pipeline makes it on the source branch of the merge request whose head the commit
// is, whatever else has the commit.
func TestStatusBranch(t *testing.T) {
	t.Parallel()
	merge := func(state, branch, sha string) string {
		return string(ft.Change(t, ft.Change(t, []byte(aMerge(t, "state", state)), "source_branch", branch), "sha", sha))
	}
	other := strings.Repeat("c", 40)
	none := ft.Reply(http.StatusOK, `[]`)
	for name, tt := range map[string]struct {
		pipes  ft.Step
		merges []string
		want   string
	}{
		"one":                              {none, []string{merge("opened", "grow", someSHA)}, "grow"},
		"an open one beside others":        {none, []string{merge("closed", "old", someSHA), merge("opened", "grow", someSHA), merge("merged", "older", someSHA)}, "grow"},
		"one that goes on from the commit": {none, []string{merge("opened", "stacked", other), merge("opened", "grow", someSHA)}, "grow"},
		"only such a one":                  {none, []string{merge("opened", "stacked", other)}, ""},
		"a closed one":                     {none, []string{merge("closed", "grow", someSHA)}, "grow"},
		"a branch that is none":            {none, []string{merge("opened", "a..b", someSHA)}, ""},
		"pipelines that may not be seen":   {ft.Reply(http.StatusForbidden, `{}`), []string{merge("opened", "grow", someSHA)}, "grow"},
		"no pipelines in this project":     {ft.Reply(http.StatusNotFound, `{}`), []string{merge("opened", "grow", someSHA)}, "grow"},
		"a pipeline of another commit":     {ft.Reply(http.StatusOK, `[{"id":9,"ref":"grow","source":"push","sha":"`+other+`"}]`), []string{merge("opened", "grow", someSHA)}, "grow"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &ft.Script{Steps: []ft.Step{tt.pipes, ft.Reply(http.StatusOK, "["+strings.Join(tt.merges, ",")+"]"), tt.pipes, tt.pipes}}
				s.Steps = append(s.Steps, ft.Times(2, func(req *http.Request) (*http.Response, error) {
					if req.Method == http.MethodGet { // the open merge request
						return ft.Reply(http.StatusOK, aMerge(t, "x", nil))(req)
					}
					return ft.Reply(http.StatusCreated, `{}`)(req)
				})...)
				must(t, setStatus(t.Context(), client(t, gitlab.Config{HTTP: s})))
				var sent struct {
					Ref      string `json:"ref"`
					Pipeline int    `json:"pipeline_id"`
				}
				must(t, json.Unmarshal(s.Bodies[len(s.Bodies)-1], &sent))
				if sent.Ref != tt.want || sent.Pipeline != 0 {
					t.Errorf("the status went to %q and pipeline %d, want %q and none", sent.Ref, sent.Pipeline, tt.want)
				}
			})
		})
	}
}

// TestStatusOfResult: where a merge request's pipelines are of the result of its merge, statuses go there, and never to one
// of a commit before.
func TestStatusOfResult(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	synctest.Test(t, func(t *testing.T) {
		c := client(t, gitlab.Config{APIURL: s.URL, HTTP: s})
		sha := s.merge.Push()
		commit, pipe := s.merge.AddResultPipeline()
		set := func(state vcs.StatusState) {
			t.Helper()
			must(t, c.SetStatus(t.Context(), s.pull(t).Repo, sha, vcs.Status{Context: "tidegate/apply", State: state}))
		}
		set(vcs.Pending)
		set(vcs.Success)
		if got := s.project.Statuses(commit)["tidegate/apply"]; got.Pipeline != pipe || got.State != "success" || len(s.project.Statuses(sha)) != 0 {
			t.Errorf("the statuses are %+v and %+v, want a success in pipeline %d", got, s.project.Statuses(sha), pipe)
		}
		sha = s.merge.Push()
		set(vcs.Pending)
		if got := s.project.Statuses(sha)["tidegate/apply"]; got.Ref != "grow" || got.Pipeline == pipe {
			t.Errorf("the status of another head is %+v, want it on the source branch", got)
		}
	})
}

// TestStatusOfResultRefused: a status that is not taken there stands at the commit.
func TestStatusOfResultRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		none := ft.Reply(http.StatusOK, `[]`)
		s := &ft.Script{Steps: []ft.Step{
			none, ft.Reply(http.StatusOK, "["+aMerge(t, "x", nil)+"]"), none, none, merging(t, "head_pipeline", resultPipeline()),
			ft.Reply(http.StatusOK, `{"parent_ids":["`+someSHA+`"]}`), ft.Reply(http.StatusNotFound, `{"message":"404 Commit Not Found"}`), ft.Reply(http.StatusCreated, `{}`),
		}}
		must(t, setStatus(t.Context(), client(t, gitlab.Config{HTTP: s})))
		var sent []string
		for i, req := range s.Requests[6:] {
			sent = append(sent, req.URL.Path, string(s.Bodies[i+6]))
		}
		want := []string{
			"/api/v4/projects/7/statuses/" + strings.Repeat("d", 40), `{"state":"pending","name":"x","description":"pending","ref":"refs/merge-requests/12/merge","pipeline_id":9}`,
			"/api/v4/projects/7/statuses/" + someSHA, `{"state":"pending","name":"x","description":"pending","ref":"grow"}`,
		}
		if diff := cmp.Diff(want, sent); diff != "" {
			t.Errorf("what was sent differs (-want +got):\n%s", diff)
		}
	})
}

// TestStatusWithoutPipeline: where there is none, the status goes to the source branch; one that comes later is taken,
// and one that is deleted is replaced.
func TestStatusWithoutPipeline(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	synctest.Test(t, func(t *testing.T) { statusWithoutPipeline(t, s) })
}

func statusWithoutPipeline(t *testing.T, s *stand) {
	t.Helper()
	c := client(t, gitlab.Config{APIURL: s.URL, HTTP: s})
	sha := s.merge.Push()
	set := func(name string) gitlabtest.Status {
		t.Helper()
		must(t, c.SetStatus(t.Context(), s.pull(t).Repo, sha, vcs.Status{Context: name, State: vcs.Pending}))
		return s.project.Statuses(sha)[name]
	}
	first := set("first")
	if first.Ref != "grow" || first.Pipeline == 0 {
		t.Errorf("the status is %+v, want it on the source branch", first)
	}
	began := time.Now()
	if second := set("second"); second.Pipeline != first.Pipeline || time.Since(began) != 0 {
		t.Errorf("a second status is on pipeline %d after %s, want %d at once", second.Pipeline, time.Since(began), first.Pipeline)
	}
	for range 2 {
		id := s.project.AddPipeline(sha, "refs/merge-requests/1/head", "merge_request_event")
		time.Sleep(5 * time.Second) //nolint:forbidigo // of the bubble's time
		began = time.Now()
		if got := set("third"); got.Pipeline != id {
			t.Errorf("with a pipeline of its own the status is on %d, want %d", got.Pipeline, id)
		}
		s.project.RemovePipeline(id)
	}
	if got := set("fourth"); got.Pipeline != first.Pipeline || time.Since(began) != 0 {
		t.Errorf("after it was deleted the status is on %d after %s, want %d at once", got.Pipeline, time.Since(began), first.Pipeline)
	}
}

// TestStatusCost: what statuses of a commit without a pipeline of its own cost.
func TestStatusCost(t *testing.T) {
	t.Parallel()
	for name, pipes := range map[string]string{
		"none": `[]`, "one that statuses have made": `[{"id":9,"sha":"` + someSHA + `","ref":"grow","source":"external"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { statusCost(t, pipes) })
		})
	}
}

func statusCost(t *testing.T, pipes string) {
	t.Helper()
	s := &ft.Script{Steps: ft.Times(100, func(req *http.Request) (*http.Response, error) {
		switch {
		case strings.HasSuffix(req.URL.Path, "/pipelines"):
			return ft.Reply(http.StatusOK, pipes)(req)
		case strings.HasSuffix(req.URL.Path, "/merge_requests"):
			return ft.Reply(http.StatusOK, "["+aMerge(t, "x", nil)+"]")(req)
		case strings.HasSuffix(req.URL.Path, "/12"):
			return ft.Reply(http.StatusOK, aMerge(t, "x", nil))(req)
		}
		return ft.Reply(http.StatusCreated, `{}`)(req)
	})}
	c := client(t, gitlab.Config{HTTP: s})
	cost := func() string {
		t.Helper()
		before := len(s.Requests)
		for range 4 {
			must(t, setStatus(t.Context(), c))
		}
		asked := map[string]int{}
		for _, req := range s.Requests[before:] {
			asked[req.URL.Path[strings.LastIndex(req.URL.Path, "/")+1:]]++
		}
		return fmt.Sprintf("%d looks, %d for the branch, %d at the merge request, %d statuses", asked["pipelines"], asked["merge_requests"], asked["12"], asked[someSHA])
	}
	if got := cost(); got != "3 looks, 1 for the branch, 1 at the merge request, 4 statuses" {
		t.Errorf("4 statuses cost %s", got)
	}
	time.Sleep(time.Hour) //nolint:forbidigo // of the bubble's time
	if got := cost(); got != "1 looks, 0 for the branch, 1 at the merge request, 4 statuses" {
		t.Errorf("4 later ones cost %s", got)
	}
}

// TestPermission: GitLab's access levels, and whom they help nothing.
func TestPermission(t *testing.T) {
	t.Parallel()
	for level, want := range map[int]vcs.Permission{
		5: vcs.NoPermission, 10: vcs.ReadPermission, 15: vcs.ReadPermission, 20: vcs.ReadPermission, 30: vcs.WritePermission,
		40: vcs.AdminPermission, 50: vcs.AdminPermission,
	} {
		s := newStand(t)
		s.AddUser("Some.One_1", "")
		s.AddMember("acme", "Some.One_1", level)
		for _, name := range []string{"Some.One_1", "some.one_1"} {
			if got, err := s.client.Permission(t.Context(), s.pull(t).Repo, name); err != nil || got != want {
				t.Errorf("Permission() of level %d = %v, %v, want %v", level, got, err, want)
			}
		}
		s.Block("Some.One_1")
		if got, err := s.client.Permission(t.Context(), s.pull(t).Repo, "Some.One_1"); err != nil || got != vcs.NoPermission {
			t.Errorf("Permission() of who is blocked = %v, %v, want none", got, err)
		}
	}
	for name, steps := range map[string][]ft.Step{
		"another user's name": {ft.Reply(200, `[{"id":5,"username":"root"}]`)},
		"no id":               {ft.Reply(200, `[{"username":"ana"}]`)},
		"another member":      {ft.Reply(200, `[{"id":5,"username":"ana"}]`), ft.Reply(200, `{"id":6,"state":"active","access_level":50}`)},
		"a member to be":      {ft.Reply(200, `[{"id":5,"username":"ana"}]`), ft.Reply(200, `{"id":5,"state":"active","membership_state":"awaiting","access_level":50}`)},
		"no state":            {ft.Reply(200, `[{"id":5,"username":"ana"}]`), ft.Reply(200, `{"id":5,"access_level":50}`)},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &ft.Script{Steps: steps}
			got, _ := client(t, gitlab.Config{HTTP: s}).Permission(t.Context(), somePull().Repo, "ana")
			if got != vcs.NoPermission || len(s.Requests) != len(steps) {
				t.Errorf("Permission(%s) = %v after %d requests, want none after %d", name, got, len(s.Requests), len(steps))
			}
		})
	}
}

// TestPermissionExpires: a membership ends with the day before the one it tells, by the forge's clock.
func TestPermissionExpires(t *testing.T) {
	t.Parallel()
	const now = "Sun, 01 Mar 2026 00:00:00 GMT"
	for expires, want := range map[string]vcs.Permission{
		`null`: vcs.AdminPermission, `"2026-03-02"`: vcs.AdminPermission, `"2026-03-01T00:00:01Z"`: vcs.AdminPermission,
		`"2026-03-01"`: vcs.NoPermission, `"2026-03-01T00:00:00Z"`: vcs.NoPermission, `"2020-01-01"`: vcs.NoPermission,
	} {
		s := &ft.Script{Steps: []ft.Step{
			ft.Reply(http.StatusOK, `[{"id":5,"username":"raj"}]`),
			ft.Reply(http.StatusOK, `{"id":5,"state":"active","access_level":40,"expires_at":`+expires+`}`, "Date", now),
		}}
		got, err := client(t, gitlab.Config{HTTP: s}).Permission(t.Context(), somePull().Repo, "raj")
		if err != nil || got != want {
			t.Errorf("Permission(expires %s, today is 2026-03-01) = %v, %v, want %v", expires, got, err, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := &ft.Script{Steps: append([]ft.Step{ft.Reply(http.StatusOK, `[{"id":5,"username":"raj"}]`)},
			ft.Times(40, ft.Reply(http.StatusOK, `{"id":5,"state":"active","access_level":40,"expires_at":"soon"}`))...)}
		if got, err := client(t, gitlab.Config{HTTP: s}).Permission(t.Context(), somePull().Repo, "raj"); err == nil || got != vcs.NoPermission {
			t.Errorf("Permission(expires soon) = %v, %v, want an error", got, err)
		}
	})
}

// TestApproval: what the exercise does not tell.
func TestApproval(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	check := func(after string, want vcs.Approval) {
		t.Helper()
		got, err := s.client.Approval(t.Context(), s.pull(t))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Approval() after %s: error = %v, differs (-want +got):\n%s", after, err, diff)
		}
	}
	s.merge.Review("ana", "approve")
	s.merge.Review("mallory", "approve")
	check("the author's own and a stranger's", vcs.Approval{})
	s.merge.Review("raj", "approve")
	check("one that counts", vcs.Approval{Approved: true, By: []string{"raj"}})
	s.merge.Set(func(f *gitlabtest.Facts) { f.ApprovalsLeft = 1 })
	check("a rule that wants one more", vcs.Approval{By: []string{"raj"}})
	s.merge.Set(func(f *gitlabtest.Facts) { f.ApprovalsLeft = 0 })
	s.merge.Review("ana", "request_changes")
	s.merge.Review("eve", "request_changes")
	check("changes asked for by who has no say", vcs.Approval{Approved: true, By: []string{"raj"}})
	s.Block("raj")
	check("its author was blocked", vcs.Approval{})

	c := client(t, gitlab.Config{HTTP: &ft.Script{Steps: []ft.Step{
		ft.Reply(200, `{"approved_by":[{"user":{"id":5,"username":"raj"}}]}`), ft.Reply(404, `{}`), ft.Reply(200, `{"id":5,"state":"active","access_level":30}`),
	}}})
	if got, err := c.Approval(t.Context(), somePull()); err != nil || !got.Approved {
		t.Errorf("Approval() where reviewers are not told = %+v, %v, want it approved", got, err)
	}
}

// TestRenamed: a project is the same one at another path.
func TestRenamed(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	old := s.pull(t)
	s.project.Rename("acme/platform/infra")
	got, err := s.client.Pull(t.Context(), old.Repo, 1)
	must(t, err)
	if got.Repo.FullName() != "acme/platform/infra" || got.Repo.ID != old.Repo.ID || got.Repo.CloneURL != s.URL+"/acme/platform/infra.git" {
		t.Errorf("Pull() of a renamed project is in %+v", got.Repo)
	}
	_, err = s.client.CreateComment(t.Context(), old, "still here")
	must(t, err)
	must(t, s.client.SetStatus(t.Context(), old.Repo, s.merge.Head(), vcs.Status{Context: "x", State: vcs.Success}))
	if may, err := s.client.Permission(t.Context(), old.Repo, "ana"); err != nil || may != vcs.WritePermission {
		t.Errorf("Permission() in a renamed project = %v, %v, want write", may, err)
	}
	repo, err := s.client.Repo(t.Context(), old.Repo.Owner, old.Repo.Name)
	if err != nil || repo != got.Repo {
		t.Errorf("Repo() by the old path = %+v, %v, want %+v", repo, err, got.Repo)
	}
	if _, err := s.client.Repo(t.Context(), "acme", "nothing"); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("Repo() of nothing: error = %v, want ErrNotFound", err)
	}
}
