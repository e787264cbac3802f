package gitlab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitlab"
	"github.com/tidegate/tidegate/vcs/gitlab/gitlabtest"
	ft "github.com/tidegate/tidegate/vcs/internal/forgetest"
)

// toMerge is the merge request of aMerge.
func toMerge() vcs.Pull {
	p := somePull()
	p.Head = vcs.Branch{Ref: "grow", SHA: someSHA, Repo: p.Repo.ID}
	p.Base.Ref = "main"
	return p
}

// merging answers with aMerge, with keys and values changed that stand in turn.
func merging(tb testing.TB, changes ...any) ft.Step {
	tb.Helper()
	raw := []byte(aMerge(tb, "merge_status", "can_be_merged"))
	for i := 0; i < len(changes); i += 2 {
		raw = ft.Change(tb, raw, fmt.Sprint(changes[i]), changes[i+1])
	}
	return ft.Reply(http.StatusOK, string(raw))
}

func pipeline(status string) map[string]any {
	return map[string]any{"id": 9, "project_id": 8, "ref": "grow", "sha": someSHA, "status": status}
}

func resultPipeline() map[string]any {
	return map[string]any{"id": 9, "project_id": 7, "ref": "refs/merge-requests/12/merge", "sha": strings.Repeat("d", 40), "status": "failed"}
}

// manyJobs have failed, and have names that differ at their ends.
func manyJobs(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"id":%d,"name":"%s%d","status":"failed"}`, i+1, strings.Repeat("j", 252), 100+i))
	}
	return "[" + strings.Join(all, ",") + "]"
}

func jobs(all string) ft.Step { return ft.Reply(http.StatusOK, all) }

// TestMergeable: each of GitLab's words has a meaning, and one that is not known yet is asked for again for half a minute.
func TestMergeable(t *testing.T) {
	t.Parallel()
	const status = "detailed_merge_status"
	is := func(word string) ft.Step { return merging(t, status, word) }
	ready := vcs.Mergeable{State: vcs.MergeReady}
	no := func(why ...string) vcs.Mergeable { return vcs.Mergeable{State: vcs.MergeBlocked, Why: why} }
	unknown := func(why string) vcs.Mergeable { return vcs.Mergeable{State: vcs.MergeUnknown, Why: []string{why}} }
	type steps = []ft.Step
	for name, tt := range map[string]struct {
		steps steps
		want  vcs.Mergeable
		err   error
	}{
		"ready":            {steps: steps{is("mergeable")}, want: ready},
		"after a while":    {steps: steps{is("unchecked"), is("checking"), is("preparing"), is("approvals_syncing"), is("mergeable")}, want: ready},
		"never worked out": {steps: ft.Times(8, is("checking")), want: unknown("the forge is still working it out")},
		"a word of later":  {steps: ft.Times(8, is("not_the_right\n`moon`")), want: unknown("the forge says `not_the_right 'moon'`")},
		"then gone":        {steps: steps{is("checking"), ft.Reply(404, `{"message":"404 Not found"}`)}, err: vcs.ErrNotFound},
		"not ours":         {steps: steps{merging(t, "iid", 13)}, err: vcs.ErrUnusable},
		"closed":           {steps: steps{merging(t, status, "not_open", "state", "closed")}, want: no("it is closed")},
		"merged":           {steps: steps{merging(t, status, "not_open", "state", "merged")}, want: no("it is merged already")},
		"being merged":     {steps: ft.Times(8, merging(t, status, "not_open", "state", "locked")), want: unknown("the forge is at work on it")},
		"being merged, merged": {
			steps: steps{merging(t, status, "not_open", "state", "locked"), merging(t, status, "not_open", "state", "merged")}, want: no("it is merged already"),
		},
		"moved":       {steps: steps{merging(t, status, "mergeable", "sha", strings.Repeat("c", 40))}, want: no("its head is not aaaaaaa any more")},
		"who may not": {steps: steps{merging(t, status, "mergeable", "user", map[string]any{"can_merge": false})}, want: no("the account of the token may not merge into `main`")},

		"older: ready":     {steps: steps{merging(t)}, want: ready},
		"older: unchecked": {steps: steps{merging(t, "merge_status", "cannot_be_merged_recheck"), merging(t)}, want: ready},
		"older: conflicts": {steps: steps{merging(t, "merge_status", "cannot_be_merged")}, want: no("it has conflicts with `main`")},
		"older: a draft":   {steps: steps{merging(t, "work_in_progress", true)}, want: no("it is a draft")},
		"older: threads":   {steps: steps{merging(t, "blocking_discussions_resolved", false)}, want: no("it has threads that are not resolved")},

		"no pipeline": {steps: steps{is("ci_must_pass")}, want: no("its head has no pipeline, and the project wants one that has succeeded")},
		"no pipeline but of a commit before": {
			steps: steps{merging(t, status, "ci_must_pass", "head_pipeline", map[string]any{"id": 9, "project_id": 8, "ref": "grow", "sha": strings.Repeat("d", 40), "status": "success"})},
			want:  no("its head has no pipeline, and the project wants one that has succeeded"),
		},
		"a pipeline of the result": {
			steps: steps{merging(t, status, "ci_must_pass", "head_pipeline", resultPipeline()), ft.Reply(200, `{"parent_ids":["`+strings.Repeat("b", 40)+`","`+someSHA+`"]}`), jobs(`[{"id":1,"name":"build","status":"failed"}]`)},
			want:  no("`build` in its pipeline is `failed`"),
		},
		"a pipeline of the result of a commit before": {
			steps: steps{merging(t, status, "ci_must_pass", "head_pipeline", resultPipeline()), ft.Reply(200, `{"parent_ids":["`+strings.Repeat("b", 40)+`","`+strings.Repeat("c", 40)+`"]}`)},
			want:  no("its head has no pipeline, and the project wants one that has succeeded"),
		},
		"a pipeline of a result that is gone": {
			steps: steps{merging(t, status, "ci_must_pass", "head_pipeline", resultPipeline()), ft.Reply(404, `{"message":"404 Commit Not Found"}`)},
			want:  no("its head has no pipeline, and the project wants one that has succeeded"),
		},
		"a pipeline that waits for us": {
			steps: steps{merging(t, status, "ci_still_running", "head_pipeline", pipeline("running")), jobs(`[{"id":1,"name":"build","status":"success","pipeline_id":9},{"id":2,"name":"tidegate/apply","status":"pending","pipeline_id":9,"description":"0 of 1","author":{"username":"Tide-Bot"}}]`)},
			want:  ready,
		},
		"a pipeline that waits for others": {
			steps: steps{merging(t, status, "ci_still_running", "head_pipeline", pipeline("running")), jobs(`[{"id":1,"name":"build","status":"running"},{"id":2,"name":"tidegate/apply","status":"pending","description":"0 of 1"},{"id":3,"name":"lint","status":"created"}]`)},
			want:  no("`build` in its pipeline is `running`", "`lint` in its pipeline is `created`"),
		},
		"a pipeline that failed": {
			steps: steps{merging(t, status, "ci_must_pass", "head_pipeline", pipeline("failed")), jobs(`[{"id":1,"name":"build","status":"failed"},{"id":3,"name":"try","status":"failed","allow_failure":true},{"id":5,"name":"lint","status":"success"},{"id":6,"name":"other","status":"failed","pipeline_id":8}]`)},
			want:  no("`build` in its pipeline is `failed`"),
		},
		"a pipeline that failed, and a status in the name of its job": {
			steps: steps{merging(t, status, "ci_must_pass", "head_pipeline", pipeline("failed")), jobs(`[{"id":1,"name":"build","status":"failed"},{"id":9,"name":"build","status":"success"},{"id":1,"name":"build","status":"failed"},{"id":2,"name":"tidegate/apply","status":"pending","description":"0 of 1"}]`)},
			want:  no("`build` in its pipeline is `failed`"),
		},
		"a pipeline with a job that is named as we are": {
			steps: steps{merging(t, status, "ci_must_pass", "head_pipeline", pipeline("failed")), jobs(`[{"id":1,"name":"tidegate/apply","status":"failed","description":null,"author":{"username":"tide-bot"}},{"id":2,"name":"tidegate/apply","status":"pending","description":"0 of 1","author":{"username":"tide-bot"}}]`)},
			want:  no("`tidegate/apply` in its pipeline is `failed`"),
		},
		"a pipeline with what somebody else says in our name": {
			steps: steps{merging(t, status, "ci_must_pass", "head_pipeline", pipeline("failed")), jobs(`[{"id":1,"name":"tidegate/apply","status":"failed","description":"0 of 1","author":{"username":"ana"}}]`)},
			want:  no("`tidegate/apply` in its pipeline is `failed`"),
		},
		"a pipeline of which GitLab thinks still": {
			steps: steps{merging(t, status, "ci_still_running", "head_pipeline", pipeline("running")), jobs(`[{"id":1,"name":"tidegate/apply","status":"success"}]`), is("mergeable")},
			want:  ready,
		},
		"a pipeline that can't be seen": {
			steps: steps{merging(t, status, "ci_must_pass", "head_pipeline", pipeline("failed")), ft.Reply(403, `{"message":"403 Forbidden"}`)},
			err:   vcs.ErrRefused,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &ft.Script{Steps: tt.steps}
				got, err := client(t, gitlab.Config{HTTP: s, User: "tide-bot"}).Mergeable(t.Context(), toMerge(), ours)
				if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, tt.err) {
					t.Errorf("Mergeable() error = %v, want %v, differs (-want +got):\n%s", err, tt.err, diff)
				}
				if len(s.Requests) != len(tt.steps) {
					t.Errorf("%d requests were sent, want %d", len(s.Requests), len(tt.steps))
				}
			})
		})
	}
}

// TestObstacles: what is in the way is said in words of ours.
func TestObstacles(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"conflict":                       "it has conflicts with `main`",
		"broken_status":                  "its source branch is gone or has no commits, or it has conflicts with `main`",
		"commits_status":                 "its source branch is gone or has no commits, or it has conflicts with `main`",
		"need_rebase":                    "it must be rebased onto `main`",
		"draft_status":                   "it is a draft",
		"not_approved":                   "approvals that the project requires are missing",
		"requested_changes":              "a reviewer asks for changes",
		"discussions_not_resolved":       "it has threads that are not resolved",
		"blocked_status":                 "it waits for another merge request",
		"merge_request_blocked":          "it waits for another merge request",
		"external_status_checks":         "external status checks have not passed",
		"status_checks_must_pass":        "external status checks have not passed",
		"jira_association_missing":       "its title and description name no Jira issue",
		"not_open":                       "it is not open",
		"policies_denied":                "it is against a security policy",
		"security_policy_violations":     "it is against a security policy",
		"security_policy_pipeline_check": "it is against a security policy",
		"locked_paths":                   "it changes files that somebody has locked",
		"locked_lfs_files":               "it changes files that somebody has locked",
		"merge_time":                     "the time that it must not be merged before has not come",
		"title_regex":                    "its title is not what the project wants",
	} {
		s := &ft.Script{Steps: []ft.Step{merging(t, "detailed_merge_status", word)}}
		got, err := client(t, gitlab.Config{HTTP: s}).Mergeable(t.Context(), toMerge(), ours)
		if diff := cmp.Diff(vcs.Mergeable{State: vcs.MergeBlocked, Why: []string{want}}, got); err != nil || diff != "" {
			t.Errorf("%s: Mergeable() error = %v, differs (-want +got):\n%s", word, err, diff)
		}
	}
}

// TestMergeRefusals: why it is not merged is told by how it stands afterwards.
func TestMergeRefusals(t *testing.T) {
	t.Parallel()
	const status = "detailed_merge_status"
	is := func(word string) ft.Step { return merging(t, status, word) }
	open, project := is("mergeable"), ft.Reply(http.StatusOK, `{"id":7}`)
	not := ft.Reply(405, `{"message":"405 Method Not Allowed"}`)
	cannot := ft.Reply(422, `{"message":"Branch cannot be merged"}`)
	no401 := ft.Reply(401, `{"message":"401 Unauthorized"}`)
	type steps = []ft.Step
	ft.Merges{
		Open: open, Closed: merging(t, "state", "closed"), Merged: merging(t, "state", "merged"), Moved: merging(t, "sha", strings.Repeat("c", 40)),
		Before: steps{project}, Done: open, Refused: not,
		Fault: ft.Reply(500, `{"message":"500 Internal Server Error"}`), Missing: ft.Reply(404, `{"message":"404 Not found"}`),
	}.Run(t, map[string]ft.MergeCase{
		"moved, as is seen later":  {Steps: steps{open, project, ft.Reply(409, `{"message":"SHA does not match HEAD of source branch"}`), open}, Want: &vcs.NotMergedError{Moved: true, Reason: "its head has moved"}},
		"merged at another head":   {Steps: steps{merging(t, "state", "merged", "sha", strings.Repeat("c", 40))}, Want: &vcs.NotMergedError{Moved: true, Reason: "its head is not aaaaaaa any more"}},
		"conflicts":                {Steps: steps{open, project, not, is("conflict")}, Want: &vcs.NotMergedError{Reason: "it has conflicts with `main`"}},
		"not looked at yet":        {Steps: steps{open, project, not, is("checking")}, Want: &vcs.NotMergedError{Again: true, Reason: "the forge is still working out whether it can be merged"}},
		"being merged":             {Steps: steps{open, project, not, merging(t, status, "not_open", "state", "locked")}, Want: &vcs.NotMergedError{Again: true, Reason: "the forge is at work on it"}},
		"the pipeline":             {Steps: steps{open, project, not, merging(t, status, "ci_must_pass", "head_pipeline", pipeline("failed")), jobs(`[{"id":1,"name":"tidegate/apply","status":"failed"}]`)}, Want: &vcs.NotMergedError{Reason: "`tidegate/apply` in its pipeline is `failed`"}},
		"the pipeline, not looked": {Steps: steps{open, project, not, merging(t, status, "ci_still_running", "head_pipeline", pipeline("running")), jobs(`[]`)}, Want: &vcs.NotMergedError{Again: true, Reason: "its pipeline is `running`"}},
		"the base has moved":       {Steps: steps{open, project, cannot, open}, Want: &vcs.NotMergedError{Again: true, Reason: "the forge answers 422: `Branch cannot be merged`"}},
		"a hook of the server":     {Steps: steps{open, project, cannot, merging(t, "merge_error", "GL-HOOK-ERR: not on\nSunday")}, Want: &vcs.NotMergedError{Again: true, Reason: "the forge answers 422: `GL-HOOK-ERR: not on Sunday`"}},
		"a pipeline without end": {
			Steps: steps{open, project, not, merging(t, status, "ci_must_pass", "head_pipeline", pipeline("failed")), jobs(manyJobs(300))},
			Want:  &vcs.NotMergedError{Reason: strings.Repeat("`"+strings.Repeat("j", 197)+"…` in its pipeline is `failed`; ", 10) + "and 290 more"},
		},
		"a word of later":       {Steps: steps{open, project, not, is("moon")}, Want: &vcs.NotMergedError{Reason: "the forge answers 405: `405 Method Not Allowed`"}},
		"who may not":           {Steps: steps{merging(t, "user", map[string]any{"can_merge": false}), project}, Want: &vcs.NotMergedError{Reason: "the account of the token may not merge into `main`"}},
		"who may not, says 401": {Steps: steps{open, project, no401, no401, no401, no401, open}, Want: &vcs.NotMergedError{Reason: "the account of the token may not merge into `main`"}},
		"a merge train":         {Steps: steps{open, ft.Reply(http.StatusOK, `{"merge_trains_enabled":true}`)}, Want: &vcs.NotMergedError{Reason: "`main` is merged by its merge train: add the merge request to the train on its page"}},
	}, func(ctx context.Context, transport http.RoundTripper) error {
		return client(t, gitlab.Config{HTTP: transport}).Merge(ctx, toMerge(), vcs.Merging{})
	})
}

// TestMergeBody: what is asked of a merge, for what the merge request and the project are set to.
func TestMergeBody(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		how     vcs.MergeMethod
		squash  bool // the merge request's own
		project string
		want    map[string]any // nil: a refusal
		unset   bool           // the merge request is set not to squash before
	}{
		"as it is set":                         {want: map[string]any{}, squash: true},
		"squashed":                             {how: vcs.MergeSquash, want: map[string]any{"squash": true}},
		"squashed where nobody may":            {how: vcs.MergeSquash, project: `{"squash_option":"never"}`},
		"with a merge commit":                  {how: vcs.MergeCommit, want: map[string]any{}},
		"with a merge commit, set to squash":   {how: vcs.MergeCommit, squash: true, want: map[string]any{}, unset: true},
		"with a merge commit where none is":    {how: vcs.MergeCommit, project: `{"squash_option":"always"}`},
		"squashed where everybody squashes":    {how: vcs.MergeSquash, project: `{"squash_option":"always"}`, want: map[string]any{"squash": true}},
		"as it is set, where everybody has to": {project: `{"squash_option":"always"}`, want: map[string]any{}},
	} {
		project := tt.project
		if project == "" {
			project = `{"squash_option":"default_on"}`
		}
		done := ft.Reply(http.StatusOK, `{}`)
		s := &ft.Script{Steps: []ft.Step{merging(t, "squash", tt.squash), ft.Reply(http.StatusOK, project), done, done}}
		err := client(t, gitlab.Config{HTTP: s}).Merge(t.Context(), toMerge(), vcs.Merging{Method: tt.how})
		if tt.want == nil {
			if not := (*vcs.NotMergedError)(nil); !errors.As(err, &not) || len(s.Requests) != 2 {
				t.Errorf("%s: Merge() = %v after %d requests, want a refusal of ours", name, err, len(s.Requests))
			}
			continue
		}
		must(t, err)
		got := map[string]any{}
		must(t, json.Unmarshal(s.Bodies[len(s.Bodies)-1], &got))
		tt.want["sha"], tt.want["should_remove_source_branch"] = someSHA, false
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: what is asked for differs (-want +got):\n%s", name, diff)
		}
		if unset := len(s.Requests) == 4 && string(s.Bodies[2]) == `{"squash":false}`; unset != tt.unset {
			t.Errorf("%s: it was set not to squash before: %v", name, unset)
		}
	}
}

// TestMergePipelineCost: a pipeline that only waits for us is no obstacle, and is asked for in a way that costs little.
func TestMergePipelineCost(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	p := s.another(t)
	s.require(t, "ci/lint")
	before := len(s.Asked())
	got, err := s.client.Mergeable(t.Context(), p, ours)
	if err != nil || got.State != vcs.MergeBlocked {
		t.Fatalf("Mergeable() = %+v, %v, want it blocked", got, err)
	}
	asked := s.Asked()[before:]
	if len(asked) != 2 || !strings.Contains(asked[1], "/statuses?page=1&per_page=100&pipeline_id=") {
		t.Errorf("it asks for %q", asked)
	}
}

// TestMergeTidiesInTime: a forge that does not tell who needs a branch holds nobody up.
func TestMergeTidiesInTime(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]string{"merged": "opened", "merged before": "merged"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ft.InTime(t, 30*time.Second, func(ctx context.Context) error {
				answers := ft.Answers(func(req *http.Request) (*http.Response, error) {
					switch path := req.URL.Path; {
					case strings.HasSuffix(path, "/merge_requests/12"):
						return merging(t, "state", state)(req)
					case strings.HasSuffix(path, "/projects/7"), req.Method == http.MethodPut:
						return ft.Reply(http.StatusOK, `{"id":7}`)(req)
					}
					return ft.Reply(http.StatusTooManyRequests, "", "Retry-After", "20")(req)
				})
				return client(t, gitlab.Config{HTTP: answers}).Merge(ctx, toMerge(), vcs.Merging{DeleteBranch: true})
			})
		})
	}
}

// TestBranchStays: a branch that is needed is not deleted after a merge, by whatever way.
func TestBranchStays(t *testing.T) {
	t.Parallel()
	how := vcs.Merging{DeleteBranch: true}
	for name, need := range map[string]func(s *stand, m *gitlabtest.Merge, branch string){
		"another is based on it": func(s *stand, _ *gitlabtest.Merge, branch string) {
			s.project.AddMerge("ana", "child", "child", branch)
		},
		"another comes from it": func(s *stand, m *gitlabtest.Merge, branch string) {
			s.project.AddMerge("ana", "again", branch, "release").At(m.Head())
		},
		"it is protected": func(s *stand, _ *gitlabtest.Merge, branch string) {
			s.project.SetRules(gitlabtest.Rules{Protected: []string{branch}})
		},
	} {
		s := newStand(t)
		p := s.another(t)
		need(s, s.merges[p.Number], p.Head.Ref)
		for range 2 {
			must(t, s.client.Merge(t.Context(), p, how))
			if got := s.project.Branch(p.Head.Ref); got != p.Head.SHA {
				t.Errorf("when %s: the branch is at %q, want it at %q", name, got, p.Head.SHA)
			}
		}
	}
	s := newStand(t)
	p := s.another(t)
	s.project.AddMerge("ana", "near", p.Head.Ref, "release").At(p.Head.SHA)
	for range 120 { // more than a page of forks' branches with its name, which are newer
		m := s.project.AddMerge("ana", "far", p.Head.Ref, "main")
		m.Set(func(f *gitlabtest.Facts) { f.SourceProject = 9999 })
	}
	must(t, s.client.Merge(t.Context(), p, how))
	if got := s.project.Branch(p.Head.Ref); got != p.Head.SHA {
		t.Errorf("a branch that is needed, as the second page says, is at %q", got)
	}
	p = s.another(t)
	must(t, s.client.Merge(t.Context(), p, vcs.Merging{}))
	s.project.MoveBranch(p.Head.Ref, someSHA)
	must(t, s.client.Merge(t.Context(), p, how))
	if got := s.project.Branch(p.Head.Ref); got != someSHA {
		t.Errorf("a branch that has moved on is at %q", got)
	}
	fork := s.another(t)
	s.merges[fork.Number].Set(func(f *gitlabtest.Facts) { f.SourceProject = 9999 })
	fork, err := s.client.Pull(t.Context(), fork.Repo, fork.Number)
	must(t, err)
	before := len(s.Asked())
	must(t, s.client.Merge(t.Context(), fork, how))
	for _, one := range s.Asked()[before:] {
		if strings.Contains(one, "branch") {
			t.Errorf("about a fork's branch it asks: %s", one)
		}
	}
}
