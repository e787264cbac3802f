package github_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/devforge"
	"github.com/tidegate/tidegate/vcs/github"
	"github.com/tidegate/tidegate/vcs/internal/forgetest"
)

// ripePull is somePull with what is needed to merge it.
func ripePull() vcs.Pull {
	p := somePull()
	p.Head, p.Base = vcs.Branch{Ref: "grow", SHA: sha("head"), Repo: p.Repo.ID}, vcs.Branch{Ref: "main", SHA: sha("base"), Repo: p.Repo.ID}
	return p
}

// told is how GitHub tells of ripePull, with what is otherwise.
func told(otherwise map[string]any) forgetest.Step {
	repo := map[string]any{"id": 7, "name": "infra", "full_name": "acme/infra", "owner": map[string]any{"login": "acme"}}
	p := map[string]any{
		"number": 12, "state": "open", "merged": false, "draft": false, "title": "Grow", "user": map[string]any{"login": "ana"},
		"html_url": "https://github.com/acme/infra/pull/12", "mergeable": true, "mergeable_state": "clean",
		"head": map[string]any{"ref": "grow", "sha": sha("head"), "repo": repo},
		"base": map[string]any{"ref": "main", "sha": sha("base"), "repo": repo},
	}
	maps.Copy(p, otherwise)
	return forgetest.Reply(http.StatusOK, text(p))
}

func text(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func says(status int, words string) forgetest.Step {
	return forgetest.Reply(status, text(map[string]any{"message": words, "documentation_url": "https://docs.github.com/rest"}))
}

const rulesOfMain = "GET /rules/branches/main?page=1&per_page=100"

// merge merges ripePull, in fake time, and answers what was asked. Where a method is asked for, the branch's rules, of which
// there are none then, are not among the steps and not among what was asked.
func merge(t *testing.T, how vcs.Merging, steps ...forgetest.Step) (asked []string, err error) {
	t.Helper()
	if how.Method != vcs.DefaultMethod && how.Method != "octopus" {
		asked, err = mergeByRules(t, how, append([]forgetest.Step{forgetest.Reply(http.StatusOK, `[]`)}, steps...)...)
		if len(asked) == 0 || asked[0] != rulesOfMain {
			t.Fatalf("asked %q, want the rules of the branch first", asked)
		}
		return asked[1:], err
	}
	return mergeByRules(t, how, steps...)
}

// mergeByRules is merge with all that is asked among the steps.
func mergeByRules(t *testing.T, how vcs.Merging, steps ...forgetest.Step) (asked []string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &forgetest.Script{Steps: steps}
		err = client(t, github.Config{HTTP: s}).Merge(t.Context(), ripePull(), how)
		for i, req := range s.Requests {
			asked = append(asked, strings.TrimSpace(req.Method+" "+strings.TrimPrefix(req.URL.RequestURI(), "/repos/acme/infra")+" "+strings.TrimSpace(string(s.Bodies[i]))))
		}
		if len(s.Requests) != len(steps) {
			t.Errorf("%d requests, want %d: %q", len(s.Requests), len(steps), asked)
		}
	})
	return asked, err
}

func putting(method string) string {
	return fmt.Sprintf(`PUT /pulls/12/merge {"merge_method":"%s","sha":"%s"}`, method, sha("head"))
}

// TestMergeRefused: why GitHub has not merged is told in words for people, and whether it may go through soon.
func TestMergeRefused(t *testing.T) {
	t.Parallel()
	const notMergeable = "Pull Request is not mergeable"
	for name, tt := range map[string]struct {
		status       int
		words        string
		pull         map[string]any
		want         string
		again, moved bool
	}{
		"another head":         {409, "Head branch was modified. Review and try the merge again.", map[string]any{"head": map[string]any{"ref": "grow", "sha": sha("other")}}, "its head is not ", false, true},
		"the head it was":      {409, "Head branch was modified. Review and try the merge again.", nil, "the forge answers: `Head branch was modified", true, false},
		"at work":              {409, "Could not merge: another operation is running on this repository", nil, "another operation is running", true, false},
		"409 with conflicts":   {409, "Could not merge", map[string]any{"mergeable": false, "mergeable_state": "dirty"}, "it has conflicts with `main`", false, false},
		"another head, seen":   {405, notMergeable, map[string]any{"head": map[string]any{"ref": "grow", "sha": sha("other")}}, "its head is not ", false, true},
		"another head, merged": {405, notMergeable, map[string]any{"merged": true, "state": "closed", "head": map[string]any{"ref": "grow", "sha": sha("other")}}, "its head is not ", false, true},
		"another base":         {405, "Base branch was modified. Review and try the merge again.", nil, "the forge answers: `Base branch was modified. Review and try the merge again.`", true, false},
		"two at once":          {405, "Merge already in progress", nil, "already in progress", true, false},
		"two at once, as well": {409, "Merge already in progress", nil, "already in progress", true, false},
		"not known yet":        {405, notMergeable, map[string]any{"mergeable": nil, "mergeable_state": "unknown"}, "still working out", true, false},
		"known meanwhile":      {405, notMergeable, nil, "the forge answers: `Pull Request is not mergeable`", true, false},
		"conflicts":            {405, notMergeable, map[string]any{"mergeable": false, "mergeable_state": "dirty"}, "it has conflicts with `main`", false, false},
		"a draft":              {405, "Pull Request is still a draft", map[string]any{"draft": true}, "it is a draft", false, false},
		"closed":               {405, notMergeable, map[string]any{"state": "closed"}, "it is closed", false, false},
		"a status":             {405, `Required status check "ci/lint" is expected.`, nil, "the forge answers: `Required status check \"ci/lint\" is expected.`", false, false},
		"a hostile status":     {405, `Required status check "base branch was modified, through the Merge already in progress, pull request is not mergeable" is in progress.`, nil, "the forge answers: `Required status check", false, false},
		"rules":                {405, "Repository rule violations found\n\n2 of 2 required status checks are expected.\n\n", nil, "the forge answers: `Repository rule violations found 2 of 2 required status checks are expected.`", false, false},
		"a review":             {405, "At least 1 approving review is required by reviewers with write access.", nil, "approving review is required", false, false},
		"a queue":              {405, "Repository rule violations found\n\nChanges must be made through the merge queue\n\n", nil, "`main` is merged by its merge queue: add the pull request to the queue", false, false},
		"a method":             {405, "Squash merges are not allowed on this repository.", nil, "Squash merges are not allowed", false, false},
		"no permission":        {403, "Resource not accessible by integration", nil, "the account may not merge here; the forge answers: `Resource not accessible by integration`", false, false},
		"not shown":            {404, "Not Found", nil, "the account may not merge here", false, false},
		"without end":          {403, strings.Repeat("`x` 漢", 3000), nil, "the account may not merge here; the forge answers: `'x' 漢'x'", false, false},
		"invalid":              {422, "Validation Failed", nil, "the forge answers: `Validation Failed`", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := merge(t, vcs.Merging{Method: vcs.MergeSquash, DeleteBranch: true}, says(tt.status, tt.words), told(tt.pull))
			var got *vcs.NotMergedError
			if !errors.As(err, &got) {
				t.Fatalf("Merge() = %v, want a *vcs.NotMergedError", err)
			}
			if !strings.HasPrefix(got.Reason, tt.want) && !strings.Contains(got.Reason, tt.want) || strings.ContainsAny(got.Reason, "\n") || strings.HasSuffix(got.Reason, ".") {
				t.Errorf("Reason = %q, want %q in it", got.Reason, tt.want)
			}
			if len(got.Reason) > 4<<10 || strings.Count(got.Reason, "`")%2 != 0 {
				t.Errorf("Reason = %q, want at most 4 KiB, and quotes that end", got.Reason)
			}
			if got.Again != tt.again || got.Moved != tt.moved || errors.Is(err, vcs.ErrRefused) == tt.again {
				t.Errorf("Merge() = %+v, want again %v, moved %v", got, tt.again, tt.moved)
			}
		})
	}
}

// TestMergeDoubts: a merge is sent once. What may have been carried out is a doubt, and never a refusal.
func TestMergeDoubts(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]forgetest.Step{
		"a fault":        forgetest.Reply(http.StatusBadGateway, "<html>"),
		"half an answer": forgetest.Reply(http.StatusOK, `{"sha":"`),
		"no answer":      forgetest.Cut(errors.New("connection reset by peer")),
		"hangs":          forgetest.Hangs,
		"not merged":     forgetest.Reply(http.StatusOK, `{"merged":false}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := merge(t, vcs.Merging{Method: vcs.MergeCommit}, step)
			forgetest.CheckError(t, err, vcs.ErrInDoubt, "merging a pull request")
		})
	}
	t.Run("nothing was sent", func(t *testing.T) {
		t.Parallel()
		_, err := merge(t, vcs.Merging{Method: vcs.MergeCommit}, forgetest.Refused, forgetest.Reply(http.StatusOK, `{"merged":true}`))
		forgetest.CheckError(t, err, nil, "")
	})
	t.Run("no way", func(t *testing.T) {
		t.Parallel()
		_, err := merge(t, vcs.Merging{Method: "octopus"})
		forgetest.CheckError(t, err, vcs.ErrRefused, `"octopus" is no way to merge`)
	})
}

// TestMergeMethod: without a method it is the first that the repository and the rules of the branch allow.
func TestMergeMethod(t *testing.T) {
	t.Parallel()
	const repo = "GET"
	done := forgetest.Reply(http.StatusOK, `{"merged":true}`)
	flags := func(merge, rebase, squash bool) forgetest.Step {
		return forgetest.Reply(http.StatusOK, fmt.Sprintf(`{"allow_merge_commit":%v,"allow_rebase_merge":%v,"allow_squash_merge":%v}`, merge, rebase, squash))
	}
	none := forgetest.Reply(http.StatusOK, `[]`)
	for name, tt := range map[string]struct {
		steps []forgetest.Step
		want  []string
		text  string
	}{
		"all":     {[]forgetest.Step{none, flags(true, true, true), done}, []string{"merge"}, ""},
		"two":     {[]forgetest.Step{none, flags(false, true, true), done}, []string{"rebase"}, ""},
		"one":     {[]forgetest.Step{none, flags(false, false, true), done}, []string{"squash"}, ""},
		"untold":  {[]forgetest.Step{none, forgetest.Reply(http.StatusOK, `{}`), done}, []string{"merge"}, ""},
		"ruled":   {[]forgetest.Step{forgetest.Reply(http.StatusOK, `[{"type":"pull_request","parameters":{"allowed_merge_methods":["squash"]}}]`), flags(true, true, true), done}, []string{"squash"}, ""},
		"a line":  {[]forgetest.Step{forgetest.Reply(http.StatusOK, `[{"type":"required_linear_history"}]`), flags(true, true, true), done}, []string{"rebase"}, ""},
		"neither": {[]forgetest.Step{forgetest.Reply(http.StatusOK, `[{"type":"required_linear_history"}]`), flags(true, false, false)}, nil, "the rules for `main` allow no way of merging"},
		"old":     {[]forgetest.Step{says(http.StatusNotFound, "Not Found"), flags(true, true, true), done}, []string{"merge"}, ""},
		"a plan without": {
			[]forgetest.Step{says(http.StatusForbidden, "Upgrade to GitHub Pro to enable this feature."), flags(true, true, true), done},
			[]string{"merge"},
			"",
		},
		"unreadable": {[]forgetest.Step{forgetest.Reply(http.StatusOK, `[{"type":"pull_request","parameters":7}]`)}, nil, "a rule of main"},
		"protected": {
			[]forgetest.Step{none, flags(true, true, true), says(http.StatusMethodNotAllowed, "This branch must not contain merge commits."), done},
			[]string{"merge", "rebase"},
			"",
		},
		"untold, and not allowed": {
			[]forgetest.Step{
				none, forgetest.Reply(http.StatusOK, `{}`), says(http.StatusMethodNotAllowed, "Merge commits are not allowed on this repository."),
				says(http.StatusMethodNotAllowed, "Rebase merges are not allowed on this repository."),
				says(http.StatusMethodNotAllowed, "Squash merges are not allowed on this repository."), told(nil),
			}, []string{"merge", "rebase", "squash"}, "Squash merges are not allowed on this repository",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := merge(t, vcs.Merging{}, tt.steps...)
			if (err != nil) != (tt.text != "") || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Merge() = %v, want %q", err, tt.text)
			}
			want := []string{rulesOfMain, repo}[:min(2, len(tt.steps))]
			for _, m := range tt.want {
				want = append(want, putting(m))
			}
			if diff := cmp.Diff(want, got[:min(len(got), len(want))]); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMergeQueue: an account that may pass a merge queue by would be let through, and does not ask.
func TestMergeQueue(t *testing.T) {
	t.Parallel()
	queue := forgetest.Reply(http.StatusOK, `[{"type":"merge_queue","parameters":{}}]`)
	const byQueue = "`main` is merged by its merge queue: add the pull request to the queue on its page"
	for name, tt := range map[string]struct {
		pull map[string]any
		want *vcs.NotMergedError
	}{
		"open":    {nil, &vcs.NotMergedError{Reason: byQueue}},
		"merged":  {map[string]any{"merged": true, "state": "closed"}, nil},
		"closed":  {map[string]any{"state": "closed"}, &vcs.NotMergedError{Reason: "it is closed"}},
		"another": {map[string]any{"head": map[string]any{"ref": "grow", "sha": sha("other")}}, &vcs.NotMergedError{Reason: "its head is not " + sha("head")[:7] + " any more", Moved: true}},
	} {
		for _, method := range []vcs.MergeMethod{vcs.DefaultMethod, vcs.MergeSquash} {
			t.Run(name+" "+string(method), func(t *testing.T) {
				t.Parallel()
				_, err := mergeByRules(t, vcs.Merging{Method: method}, queue, told(tt.pull))
				forgetest.CheckMerge(t, err, tt.want, nil)
			})
		}
	}
}

// TestMergeTidies: the branch goes when nobody needs it any more. That it stays is no error, whatever keeps it.
func TestMergeTidies(t *testing.T) {
	t.Parallel()
	done, repo := forgetest.Reply(http.StatusOK, `{"merged":true}`), forgetest.Reply(http.StatusOK, `{"default_branch":"main"}`)
	branch := func(head string, protected bool) forgetest.Step {
		return forgetest.Reply(http.StatusOK, fmt.Sprintf(`{"commit":{"sha":%q},"protected":%v}`, head, protected))
	}
	none, some, gone := forgetest.Reply(http.StatusOK, `[]`), forgetest.Reply(http.StatusOK, `[{"number":13}]`), forgetest.Reply(http.StatusNoContent, "")
	own := []string{"GET", "GET /branches/grow", "GET /pulls?base=grow&per_page=1", "GET /pulls?head=acme%3Agrow&per_page=1", "DELETE /git/refs/heads/grow"}
	for name, steps := range map[string][]forgetest.Step{
		"not needed":         {done, repo, branch(sha("head"), false), none, none, gone},
		"merged before":      {says(http.StatusMethodNotAllowed, "Pull Request is not mergeable"), told(map[string]any{"merged": true, "state": "closed"}), repo, branch(sha("head"), false), none, none, gone},
		"the default":        {done, forgetest.Reply(http.StatusOK, `{"default_branch":"grow"}`)},
		"gone":               {done, repo, says(http.StatusNotFound, "Branch not found")},
		"moved on":           {done, repo, branch(sha("other"), false)},
		"protected":          {done, repo, branch(sha("head"), true)},
		"a base":             {done, repo, branch(sha("head"), false), some},
		"another's head":     {done, repo, branch(sha("head"), false), none, some},
		"gone meanwhile":     {done, repo, branch(sha("head"), false), none, none, says(http.StatusUnprocessableEntity, "Reference does not exist")},
		"not allowed":        {done, repo, branch(sha("head"), false), none, none, says(http.StatusForbidden, "Resource not accessible by integration")},
		"repository unknown": {done, says(http.StatusForbidden, "Forbidden")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := merge(t, vcs.Merging{Method: vcs.MergeRebase, DeleteBranch: true}, steps...)
			forgetest.CheckError(t, err, nil, "")
			got = slices.DeleteFunc(got, func(s string) bool { return s == "GET /pulls/12" })
			if diff := cmp.Diff(append([]string{putting("rebase")}, own[:len(got)-1]...), got); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMergeTidiesInTime: a forge that does not answer any more holds nobody up who has merged.
func TestMergeTidiesInTime(t *testing.T) {
	t.Parallel()
	forgetest.InTime(t, 30*time.Second, func(ctx context.Context) error {
		s := &forgetest.Script{Steps: append([]forgetest.Step{forgetest.Reply(http.StatusOK, `[]`), forgetest.Reply(http.StatusOK, `{"merged":true}`)}, forgetest.Times(99, forgetest.Reply(http.StatusBadGateway, ""))...)}
		return client(t, github.Config{HTTP: s}).Merge(ctx, ripePull(), vcs.Merging{Method: vcs.MergeCommit, DeleteBranch: true})
	})
}

// TestMergeHistory: what becomes of two commits by each method.
func TestMergeHistory(t *testing.T) {
	t.Parallel()
	d := newDev(t)
	id := d.kit(t).Pull.Repo.ID
	m := client(t, github.Config{APIURL: d.url + "/api/v3"})
	for method, want := range map[vcs.MergeMethod]string{ // the subjects on main, oldest first, and how many merges there are
		vcs.MergeCommit: "one, Merge pull request #2 from two-merge; 1",
		vcs.MergeRebase: "one, two-rebase, the second; 0",
		vcs.MergeSquash: "one, More (#2); 0",
	} {
		p := d.opens(t, "two-"+string(method), id)
		d.git(t, "-C", d.tree, "checkout", "-q", p.Head.Ref)
		file := "two-" + string(method) + ".tf"
		must(t, os.WriteFile(filepath.Join(d.tree, file), []byte("# another\n"), 0o600))
		d.git(t, "-C", d.tree, "commit", "-q", "-a", "-m", "the second")
		d.push(t, p.Head.Ref)
		p, err := m.Pull(t.Context(), p.Repo, p.Number)
		must(t, err)
		main := d.git(t, "-C", d.tree, "rev-parse", "main")
		must(t, m.Merge(t.Context(), p, vcs.Merging{Method: method}))
		d.git(t, "-C", d.tree, "fetch", "-q", d.url+"/acme/infra.git", "+main")
		line := d.git(t, "-C", d.tree, "log", "--reverse", "--first-parent", "--format=%s", "FETCH_HEAD")
		got := strings.ReplaceAll(line, "\n", ", ") + "; " + d.git(t, "-C", d.tree, "rev-list", "--count", "--merges", "FETCH_HEAD")
		if want = strings.Replace(want, "#2", fmt.Sprintf("#%d", p.Number), 1); got != want {
			t.Errorf("after Merge(%q) main is %q, want %q", method, got, want)
		}
		if text := d.git(t, "-C", d.tree, "show", "FETCH_HEAD:"+file); text != "# another" {
			t.Errorf("after Merge(%q) the file is %q", method, text)
		}
		d.git(t, "-C", d.tree, "push", "-q", "-f", d.remote("ana", "acme/infra"), main+":refs/heads/main")
	}
}

// TestMergeKeepsBranches: a branch stays that is in another repository, protected, or needed by an open pull request. Others
// go, however strange their names are.
func TestMergeKeepsBranches(t *testing.T) {
	t.Parallel()
	d := newDev(t)
	k := d.kit(t)
	m := client(t, github.Config{APIURL: d.url + "/api/v3"})
	var made struct{ Number int }
	merges := func(p vcs.Pull) {
		t.Helper()
		must(t, m.Merge(t.Context(), p, vcs.Merging{DeleteBranch: true}))
	}
	based, guarded, twice, odd := k.Another(t), k.Another(t), k.Another(t), d.opens(t, "odd/100%41#1", k.Pull.Repo.ID)
	d.call(t, "ana", http.MethodPost, "/pulls", map[string]any{"title": "On it", "head": guarded.Head.Ref, "base": based.Head.Ref}, nil)
	d.call(t, "ana", http.MethodPost, "/pulls", map[string]any{"title": "Elsewhere", "head": twice.Head.Ref, "base": odd.Head.Ref}, &made)
	elsewhere := made.Number
	must(t, d.Protect("acme", "infra", guarded.Head.Ref, devforge.Protection{}))
	must(t, d.Fork("acme", "infra", "raj"))
	foreign := k.Another(t)
	d.call(t, "ana", http.MethodPatch, fmt.Sprintf("/pulls/%d", foreign.Number), map[string]any{"state": "closed"}, nil)
	d.git(t, "-C", d.tree, "push", "-q", d.remote("raj", "raj/infra"), "HEAD:refs/heads/"+foreign.Head.Ref)
	d.call(t, "raj", http.MethodPost, "/pulls", map[string]any{"title": "Far", "head": "raj:" + foreign.Head.Ref, "base": "main"}, &made)
	far, err := m.Pull(t.Context(), k.Pull.Repo, made.Number)
	must(t, err)
	for _, p := range []vcs.Pull{based, guarded, twice, far} {
		merges(p)
		if got := k.BranchSHA(t, p.Head.Ref); got != p.Head.SHA {
			t.Errorf("the branch %s is at %q after the merge, want it kept", p.Head.Ref, got)
		}
	}
	d.call(t, "ana", http.MethodPatch, fmt.Sprintf("/pulls/%d", elsewhere), map[string]any{"state": "closed"}, nil)
	merges(odd)
	if got := k.BranchSHA(t, odd.Head.Ref); got != "" {
		t.Errorf("the branch %s is at %q after the merge, want it gone", odd.Head.Ref, got)
	}
}
