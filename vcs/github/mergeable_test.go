package github_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/devforge"
	"github.com/tidegate/tidegate/vcs/github"
	"github.com/tidegate/tidegate/vcs/internal/forgetest"
)

func ours(context string) bool { return strings.HasPrefix(context, "tidegate/") }

var ready = vcs.Mergeable{State: vcs.MergeReady} //nolint:gochecknoglobals // a constant

func inTheWay(why ...string) vcs.Mergeable { return vcs.Mergeable{State: vcs.MergeBlocked, Why: why} }

// mergeable asks about ripePull in fake time.
func mergeable(t *testing.T, tt forgetest.Try) (got vcs.Mergeable) {
	t.Helper()
	tt.Run(t, func(ctx context.Context, transport http.RoundTripper) (err error) {
		got, err = client(t, github.Config{HTTP: transport}).Mergeable(ctx, ripePull(), ours)
		return err
	})
	return got
}

// TestMergeableStates: what GitHub says in one word. What it is still working out it is asked for again.
func TestMergeableStates(t *testing.T) {
	t.Parallel()
	is := func(mergeable any, state string) forgetest.Step {
		return told(map[string]any{"mergeable": mergeable, "mergeable_state": state})
	}
	unknown := is(nil, "unknown")
	for name, tt := range map[string]struct {
		steps []forgetest.Step
		waits []int
		want  vcs.Mergeable
	}{
		"clean":         {[]forgetest.Step{is(true, "clean")}, nil, ready},
		"unstable":      {[]forgetest.Step{is(true, "unstable")}, nil, ready},
		"hooks":         {[]forgetest.Step{is(true, "has_hooks")}, nil, ready},
		"conflicts":     {[]forgetest.Step{is(false, "dirty")}, nil, inTheWay("it has conflicts with `main`")},
		"conflicts too": {[]forgetest.Step{is(false, "unknown")}, nil, inTheWay("it has conflicts with `main`")},
		"a draft":       {[]forgetest.Step{told(map[string]any{"draft": true, "mergeable": nil})}, nil, inTheWay("it is a draft")},
		"closed":        {[]forgetest.Step{told(map[string]any{"state": "closed", "mergeable": nil})}, nil, inTheWay("it is closed")},
		"merged":        {[]forgetest.Step{told(map[string]any{"state": "closed", "merged": true})}, nil, inTheWay("it is merged already")},
		"moved": {
			[]forgetest.Step{told(map[string]any{"head": map[string]any{"ref": "grow", "sha": sha("other")}, "mergeable": nil})},
			nil,
			inTheWay("its head is not " + sha("head")[:7] + " any more"),
		},
		"later":         {[]forgetest.Step{unknown, unknown, unknown, is(true, "clean")}, []int{0, 1, 2}, ready},
		"half known":    {[]forgetest.Step{is(true, "unknown"), is(true, "clean")}, []int{0}, ready},
		"a draft later": {[]forgetest.Step{unknown, told(map[string]any{"draft": true})}, []int{0}, inTheWay("it is a draft")},
		"never": {
			forgetest.Times(8, unknown),
			[]int{0, 1, 2, 4, 8, 8, 6},
			vcs.Mergeable{State: vcs.MergeUnknown, Why: []string{"the forge is still working out whether it can be merged"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, mergeable(t, forgetest.Try{Steps: tt.steps, Want: tt.waits})); diff != "" {
				t.Errorf("Mergeable() (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no pull request", func(t *testing.T) {
		t.Parallel()
		mergeable(t, forgetest.Try{Steps: []forgetest.Step{says(http.StatusNotFound, "Not Found")}, Err: vcs.ErrNotFound, Text: "asking whether a pull request can be merged"})
	})
	t.Run("a strange base", func(t *testing.T) {
		t.Parallel()
		p := ripePull()
		p.Base.Ref = "../../other"
		_, err := client(t, github.Config{HTTP: &forgetest.Script{}}).Mergeable(t.Context(), p, ours)
		forgetest.CheckError(t, err, vcs.ErrNotFound, "no branch")
	})
}

// site answers by path; what it does not know is not found.
type site map[string]forgetest.Step

func (s site) RoundTrip(req *http.Request) (*http.Response, error) {
	path := strings.TrimPrefix(req.URL.Path, "/repos/acme/infra")
	if q := (url.Values{"page": req.URL.Query()["page"]}).Encode(); q != "" && q != "page=1" {
		path += "?" + q
	}
	if step := s[path]; step != nil {
		return step(req)
	}
	return says(http.StatusNotFound, "Not Found")(req)
}

// TestMergeableBlocked: GitHub says that it is blocked, and not why. What is ours is not in the way.
func TestMergeableBlocked(t *testing.T) {
	t.Parallel()
	statuses := func(some ...string) forgetest.Step { // names and states in turn
		var all []any
		for i := 0; i < len(some); i += 2 {
			all = append(all, map[string]any{"context": some[i], "state": some[i+1]})
		}
		return forgetest.Reply(http.StatusOK, text(map[string]any{"statuses": all}))
	}
	runs := func(some ...any) forgetest.Step { // names and conclusions in turn
		var all []any
		for i := 0; i < len(some); i += 2 {
			all = append(all, map[string]any{"name": some[i], "conclusion": some[i+1]})
		}
		return forgetest.Reply(http.StatusOK, text(map[string]any{"check_runs": all}))
	}
	protected := func(contexts ...string) forgetest.Step {
		return forgetest.Reply(http.StatusOK, text(map[string]any{
			"commit": map[string]any{"sha": sha("base")}, "protected": true,
			"protection": map[string]any{"required_status_checks": map[string]any{"contexts": contexts}},
		}))
	}
	ruled := func(kind, parameters string) forgetest.Step {
		return forgetest.Reply(http.StatusOK, fmt.Sprintf(`[{"type":%q,"parameters":%s}]`, kind, parameters))
	}
	reviews := func(decision string) forgetest.Step {
		return forgetest.Reply(http.StatusOK, fmt.Sprintf(`{"data":{"repository":{"pullRequest":{"reviewDecision":%s}}}}`, decision))
	}
	talks := func(pages ...string) forgetest.Step { // whether the conversations of each page are resolved
		return func(req *http.Request) (*http.Response, error) {
			var asked struct {
				Query     string
				Variables struct {
					Owner, Name, After string
					Number             int
				}
			}
			must(t, json.NewDecoder(req.Body).Decode(&asked))
			of := asked.Variables
			if of.Owner != "acme" || of.Name != "infra" || of.Number != 12 {
				t.Errorf("asked about %+v", of)
			}
			if !strings.Contains(asked.Query, "reviewThreads") {
				return reviews("null")(req)
			}
			page := 0
			if of.After != "" {
				_, err := fmt.Sscanf(of.After, "page %d", &page)
				must(t, err)
			}
			nodes, end := pages[page], fmt.Sprintf("page %d", page+1)
			return forgetest.Reply(http.StatusOK, fmt.Sprintf(`{"data":{"repository":{"pullRequest":{"reviewThreads":{"nodes":[%s],"pageInfo":{"hasNextPage":%v,"endCursor":%q}}}}}}`, nodes, page+1 < len(pages), end))(req)
		}
	}
	const resolved, open = `{"isResolved":true}`, `{"isResolved":false}`
	bound := func(app any, more string) forgetest.Step { // ci/lint must be of an App
		return ruled("required_status_checks", fmt.Sprintf(`{"required_status_checks":[{"context":"ci/lint","integration_id":%v},{"context":"tidegate/apply"}]%s}`, app, more))
	}
	byApp := func(app int, conclusion string) forgetest.Step {
		return forgetest.Reply(http.StatusOK, fmt.Sprintf(`{"check_runs":[{"name":"ci/lint","conclusion":%q,"app":{"id":%d}}]}`, conclusion, app))
	}
	setBy := func(avatar string) forgetest.Step {
		return forgetest.Reply(http.StatusOK, fmt.Sprintf(`{"statuses":[{"context":"ci/lint","state":"success","avatar_url":%q}]}`, avatar))
	}
	shows := func(checks string) forgetest.Step { // the protection of a branch, as newer servers show it
		return forgetest.Reply(http.StatusOK, `{"commit":{"sha":"`+sha("base")+`"},"protected":true,"protection":{"required_status_checks":{"contexts":["ci/lint","tidegate/apply"],"checks":`+checks+`}}}`)
	}
	behindBy := func(n int) forgetest.Step { return forgetest.Reply(http.StatusOK, fmt.Sprintf(`{"behind_by":%d}`, n)) }
	paged := func(more string, s forgetest.Step) forgetest.Step { // there is another page
		return func(req *http.Request) (*http.Response, error) {
			resp, err := s(req)
			resp.Header.Set("Link", fmt.Sprintf(`<https://api.github.com%s?page=2>; rel="next"`, more))
			return resp, err
		}
	}
	state := func(s string) forgetest.Step { return told(map[string]any{"mergeable_state": s}) }
	const (
		pull, branch, rules, graph = "/pulls/12", "/branches/main", "/rules/branches/main", "/graphql"
		checking                   = `{"required_status_checks":[{"context":"ci/lint"},{"context":"tidegate/apply"}]}`
		strict                     = `,"strict_required_status_checks_policy":true`
		notOfApp                   = "`ci/lint` of the App with the id 15368 is required and has not been reported"
		openTalk                   = "it has conversations that are not resolved"
		untold                     = "the forge does not tell why it would not merge it into `main`"
	)
	compare := "/compare/" + sha("base") + "..." + sha("head")
	status, check := "/commits/"+sha("head")+"/status", "/commits/"+sha("head")+"/check-runs"
	var many []string
	for i := range 300 {
		many = append(many, strings.Repeat("c", 252)+fmt.Sprint(100+i))
	}
	for name, tt := range map[string]struct {
		site site
		want vcs.Mergeable
	}{
		"only ours":              {site{branch: protected("tidegate/apply"), status: statuses("tidegate/apply", "pending")}, ready},
		"only ours, not yet set": {site{branch: protected("tidegate/apply"), status: statuses()}, ready},
		"another":                {site{branch: protected("ci/lint", "tidegate/apply"), status: statuses(), check: runs()}, inTheWay("`ci/lint` is required and has not been reported")},
		"another by a ruleset":   {site{rules: ruled("required_status_checks", checking), status: statuses("ci/lint", "pending"), check: runs()}, inTheWay("`ci/lint` is required and is not done yet")},
		"one of both":            {site{branch: protected("ci/lint"), rules: ruled("required_status_checks", checking), status: statuses("ci/lint", "failure"), check: runs()}, inTheWay("`ci/lint` is required and has failed")},
		"an error":               {site{branch: protected("ci/lint"), status: statuses("ci/lint", "error"), check: runs()}, inTheWay("`ci/lint` is required and has failed")},
		"a strange name":         {site{branch: protected("a`b\n c"), status: statuses(), check: runs()}, inTheWay("`a'b c` is required and has not been reported")},
		"too many to read": {
			site{branch: protected(many...), status: statuses(), check: runs()},
			inTheWay(append(slices.Repeat([]string{"`" + strings.Repeat("c", 197) + "…` is required and has not been reported"}, 10), "and 290 more")...),
		},
		"a check run":           {site{branch: protected("ci/lint", "tidegate/apply"), status: statuses(), check: runs("ci/lint", "success")}, ready},
		"a skipped check run":   {site{branch: protected("ci/lint", "tidegate/apply"), status: statuses(), check: runs("ci/lint", "skipped")}, ready},
		"a check run that runs": {site{branch: protected("ci/lint"), status: statuses(), check: runs("ci/lint", nil)}, inTheWay("`ci/lint` is required and is not done yet")},
		"a cancelled check run": {site{branch: protected("ci/lint"), status: statuses(), check: runs("ci/lint", "cancelled")}, inTheWay("`ci/lint` is required and has failed")},
		"two of a name":         {site{branch: protected("ci/lint"), status: statuses("ci/lint", "success"), check: runs("ci/lint", "failure")}, inTheWay("`ci/lint` is required and has failed")},
		"two of a name, ours":   {site{branch: protected("ci/lint", "tidegate/apply"), status: statuses("ci/lint", "failure"), check: runs("ci/lint", "success")}, inTheWay("`ci/lint` is required and has failed")},
		"in our name, but of an App": {
			site{rules: ruled("required_status_checks", `{"required_status_checks":[{"context":"tidegate/apply","integration_id":15368}]}`), status: statuses("tidegate/apply", "pending"), check: runs()},
			inTheWay("`tidegate/apply` of the App with the id 15368 is required and has not been reported"),
		},
		"second pages": {
			site{
				rules: paged(rules, ruled("required_signatures", "null")), rules + "?page=2": ruled("required_status_checks", checking),
				status: paged(status, statuses("ci/test", "failure")), status + "?page=2": statuses("ci/lint", "success"),
				check: paged(check, runs("ci/test", "failure")), check + "?page=2": runs("ci/lint", "failure"),
			}, inTheWay("`ci/lint` is required and has failed"),
		},
		"hidden check runs": {
			site{branch: protected("ci/lint", "ci/test"), status: statuses("ci/lint", "success"), check: says(http.StatusForbidden, "Resource not accessible by integration")},
			inTheWay("`ci/test` is required, and whether it is successful the account may not see (permission Checks: read)"),
		},
		"a review":   {site{branch: protected("tidegate/apply"), status: statuses(), graph: reviews(`"REVIEW_REQUIRED"`)}, inTheWay("a review that approves is missing")},
		"changes":    {site{branch: protected(), graph: reviews(`"CHANGES_REQUESTED"`)}, inTheWay("a review asks for changes")},
		"approved":   {site{branch: protected("tidegate/apply"), status: statuses(), graph: reviews(`"APPROVED"`)}, ready},
		"nothing":    {site{branch: protected(), graph: reviews(`null`)}, inTheWay(untold)},
		"signatures": {site{branch: protected(), rules: ruled("required_signatures", "null")}, inTheWay(untold + "; its rules are about signed commits")},
		"a queue":    {site{branch: protected("tidegate/apply"), status: statuses(), rules: ruled("merge_queue", "{}")}, ready},

		"an App's check run":               {site{rules: bound(15368, ""), status: statuses(), check: byApp(15368, "success")}, ready},
		"an App's check run that fails":    {site{rules: bound(15368, ""), status: setBy("https://avatars.githubusercontent.com/in/15368?v=4"), check: byApp(15368, "failure")}, inTheWay("`ci/lint` of the App with the id 15368 is required and has failed")},
		"another App's check run":          {site{rules: bound(15368, ""), status: statuses(), check: byApp(7, "success")}, inTheWay(notOfApp)},
		"another App's failure":            {site{rules: bound(15368, ""), status: setBy("https://avatars.githubusercontent.com/in/15368?v=4"), check: byApp(7, "failure")}, ready},
		"a status in the place of an App":  {site{rules: bound(15368, ""), status: statuses("ci/lint", "success"), check: runs()}, inTheWay(notOfApp)},
		"a user's in the place of an App":  {site{rules: bound(15368, ""), status: setBy("https://avatars.githubusercontent.com/u/15368?v=4"), check: runs()}, inTheWay(notOfApp)},
		"a status by the App":              {site{rules: bound(15368, ""), status: setBy("https://avatars.githubusercontent.com/in/15368?v=4"), check: runs()}, ready},
		"a status by the App, own server":  {site{rules: bound(15368, ""), status: setBy("https://ghe.acme.example/avatars/in/15368?"), check: runs()}, ready},
		"a status by another App":          {site{rules: bound(15368, ""), status: setBy("https://avatars.githubusercontent.com/in/7?v=4"), check: runs()}, inTheWay(notOfApp)},
		"anybody's by a ruleset":           {site{rules: bound(-1, ""), status: statuses("ci/lint", "success"), check: runs()}, ready},
		"an App's by the protection":       {site{branch: shows(`[{"context":"ci/lint","app_id":15368},{"context":"tidegate/apply","app_id":null}]`), status: statuses("ci/lint", "success"), check: runs()}, inTheWay(notOfApp)},
		"anybody's by the protection":      {site{branch: shows(`[{"context":"ci/lint","app_id":-1},{"context":"tidegate/apply","app_id":null}]`), status: statuses("ci/lint", "success"), check: runs()}, ready},
		"a protection that tells half":     {site{branch: shows(`[{"context":"tidegate/apply"}]`), status: statuses(), check: runs()}, inTheWay("`ci/lint` is required and has not been reported")},
		"an open conversation":             {site{branch: protected("tidegate/apply"), status: statuses(), rules: ruled("pull_request", `{"required_review_thread_resolution":true}`), graph: talks(resolved + "," + open)}, inTheWay(openTalk)},
		"an open conversation, far behind": {site{branch: protected("tidegate/apply"), status: statuses(), rules: ruled("pull_request", `{"required_review_thread_resolution":true}`), graph: talks(resolved, resolved, open)}, inTheWay(openTalk)},
		"resolved conversations":           {site{branch: protected("tidegate/apply"), status: statuses(), rules: ruled("pull_request", `{"required_review_thread_resolution":true}`), graph: talks(resolved, resolved)}, ready},
		"open conversations that may be":   {site{branch: protected("tidegate/apply"), status: statuses(), rules: ruled("pull_request", `{}`), graph: talks(open)}, ready},
		"signatures beside ours":           {site{branch: protected("tidegate/apply"), status: statuses(), rules: ruled("required_signatures", "null")}, ready},
		"behind, and ours":                 {site{branch: shows(`null`), rules: bound(-1, strict), status: statuses("ci/lint", "success"), check: runs(), compare: behindBy(2)}, inTheWay("`main` has moved on, and wants branches that are up to date with it")},
		"not behind, and ours":             {site{branch: shows(`null`), rules: bound(-1, strict), status: statuses("ci/lint", "success"), check: runs(), compare: behindBy(0)}, ready},
		"behind where that may be":         {site{branch: shows(`null`), rules: bound(-1, ""), status: statuses("ci/lint", "success"), check: runs(), compare: behindBy(2)}, ready},
		"behind what is gone":              {site{branch: shows(`null`), rules: bound(-1, strict), status: statuses("ci/lint", "success"), check: runs()}, ready},
		"behind": {
			site{pull: state("behind"), branch: protected("ci/lint", "tidegate/apply"), status: statuses("ci/lint", "pending"), check: runs()},
			inTheWay("`main` has moved on, and wants branches that are up to date with it", "`ci/lint` is required and is not done yet"),
		},
		"behind and ours": {site{pull: state("behind"), branch: protected("tidegate/apply"), status: statuses()}, inTheWay("`main` has moved on, and wants branches that are up to date with it")},
		"a new word":      {site{pull: state("frozen"), branch: protected()}, inTheWay(untold)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := site{pull: state("blocked"), branch: protected(), rules: forgetest.Reply(http.StatusOK, `[]`), graph: reviews("null")}
			for path, step := range tt.site {
				all[path] = step
			}
			synctest.Test(t, func(t *testing.T) {
				got, err := client(t, github.Config{HTTP: all}).Mergeable(t.Context(), ripePull(), ours)
				forgetest.CheckError(t, err, nil, "")
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("Mergeable() (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestMergeableUntold: where the forge does not say what the base requires, it must not seem to be nothing.
func TestMergeableUntold(t *testing.T) {
	t.Parallel()
	needs := func(context string) forgetest.Step {
		return forgetest.Reply(http.StatusOK, `{"commit":{"sha":"`+sha("base")+`"},"protected":true,"protection":{"required_status_checks":{"contexts":["`+context+`"]}}}`)
	}
	for name, tt := range map[string]struct {
		branch, graph forgetest.Step
		runs          forgetest.Step
		err           error
		text          string
	}{
		"no branch":       {branch: forgetest.Reply(http.StatusOK, `{}`), text: "no branch"},
		"nothing":         {branch: forgetest.Reply(http.StatusOK, ``), text: "is empty"},
		"no check runs":   {branch: needs("ci/lint"), runs: forgetest.Reply(http.StatusOK, `null`), text: "no list of check runs"},
		"nobody's review": {branch: needs("tidegate/apply"), graph: forgetest.Reply(http.StatusOK, `{"data":{"repository":null},"errors":[{"type":"NOT_FOUND","message":"no"}]}`), err: vcs.ErrNotFound, text: "#12"},
		"no pull request": {branch: needs("tidegate/apply"), graph: forgetest.Reply(http.StatusOK, `{"data":{"repository":{"pullRequest":null}}}`), err: vcs.ErrNotFound, text: "#12"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				all := site{
					"/pulls/12": told(map[string]any{"mergeable_state": "blocked"}), "/branches/main": tt.branch, "/graphql": tt.graph, "/commits/" + sha("head") + "/check-runs": tt.runs,
					"/rules/branches/main": forgetest.Reply(http.StatusOK, `[]`), "/commits/" + sha("head") + "/status": forgetest.Reply(http.StatusOK, `{"statuses":[]}`),
				}
				_, err := client(t, github.Config{HTTP: all}).Mergeable(t.Context(), ripePull(), ours)
				forgetest.CheckError(t, err, tt.err, tt.text)
			})
		})
	}
}

// TestMergeableByRules: a forge with rules says what is in the way, and keeps to it.
func TestMergeableByRules(t *testing.T) {
	t.Parallel()
	d := newDev(t)
	k := d.kit(t)
	m := client(t, github.Config{APIURL: d.url + "/api/v3"})
	p := k.Another(t)
	pull := fmt.Sprintf("/pulls/%d", p.Number)
	asks := func(of devforge.Protection) {
		t.Helper()
		must(t, d.Protect("acme", "infra", "main", of))
	}
	is := func(want vcs.Mergeable, refusal string) {
		t.Helper()
		got, err := m.Mergeable(t.Context(), p, ours)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Mergeable() (-want +got):\n%s", diff)
		}
		forgetest.CheckError(t, m.Merge(t.Context(), p, vcs.Merging{}), vcs.ErrRefused, refusal)
	}
	must(t, d.SetDraft("acme", "infra", p.Number, true))
	is(inTheWay("it is a draft"), "it is a draft")
	must(t, d.SetDraft("acme", "infra", p.Number, false))
	asks(devforge.Protection{Approvals: 1})
	is(inTheWay("a review that approves is missing"), "approving review is required")
	d.call(t, "raj", http.MethodPost, pull+"/reviews", map[string]any{"event": "REQUEST_CHANGES", "body": "no"}, nil)
	is(inTheWay("a review asks for changes"), "approving review is required")
	d.call(t, "raj", http.MethodPost, pull+"/reviews", map[string]any{"event": "APPROVE"}, nil)
	asks(devforge.Protection{Approvals: 1, Queue: true})
	is(ready, "`main` is merged by its merge queue")
	asks(devforge.Protection{Methods: []string{"squash"}})
	must(t, d.AllowMethods("acme", "infra", "merge", "rebase"))
	is(ready, "allow no way of merging")
	must(t, d.AllowMethods("acme", "infra", "squash"))
	other := k.Another(t)
	must(t, m.Merge(t.Context(), other, vcs.Merging{}))
	asks(devforge.Protection{Contexts: []string{"tidegate/apply"}, UpToDate: true})
	is(inTheWay("`main` has moved on, and wants branches that are up to date with it"), "Head branch is out of date")
	asks(devforge.Protection{})
	must(t, m.SetStatus(t.Context(), p.Repo, p.Head.SHA, vcs.Status{Context: "ci/lint", State: vcs.Failure}))
	got, err := m.Mergeable(t.Context(), p, ours)
	if err != nil || !cmp.Equal(got, ready) {
		t.Errorf("Mergeable() with a failure that nobody requires = %+v, %v, want it ready", got, err)
	}
}
