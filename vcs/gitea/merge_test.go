package gitea_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitea"
	"github.com/tidegate/tidegate/vcs/internal/forgetest"
)

func oursAlone(name string) bool { return strings.HasPrefix(name, "tidegate/") }

// toMerge is the pull request of aPull.
func toMerge() vcs.Pull {
	p := somePull()
	p.Head, p.Base.Ref = vcs.Branch{Ref: "grow", SHA: strings.Repeat("a", 40), Repo: p.Repo.ID}, "main"
	return p
}

// TestMergeRefusals: each answer of the forge has its meaning, and nothing is tried again.
func TestMergeRefusals(t *testing.T) {
	t.Parallel()
	is := func(change func(pull, head, base map[string]any)) forgetest.Step {
		return forgetest.Reply(http.StatusOK, aPull(change))
	}
	set := func(key string, value any) forgetest.Step {
		return is(func(pull, _, _ map[string]any) { pull[key] = value })
	}
	open := set("state", "open")
	moved := is(func(_, head, _ map[string]any) { head["sha"] = strings.Repeat("c", 40) })
	says := func(status int, message string) forgetest.Step {
		text, _ := jsonOf(map[string]any{"message": message, "url": "https://gitea.com/api/swagger"})
		return forgetest.Reply(status, text)
	}
	type steps = []forgetest.Step
	forgetest.Merges{
		Open: open, Closed: set("state", "closed"), Merged: set("merged", true), Moved: moved,
		Done: forgetest.Reply(http.StatusOK, ``), Refused: says(405, "Please try again later"), Fault: says(500, ""), Missing: says(404, "not found"),
	}.Run(t, map[string]forgetest.MergeCase{
		"moved, as is seen later": {Steps: steps{open, says(409, "head out of date"), open}, Want: &vcs.NotMergedError{Moved: true, Reason: "its head has moved"}},
		"the base has moved":      {Steps: steps{open, says(409, "merge push out of date"), open}, Want: &vcs.NotMergedError{Again: true, Reason: "`main` has moved meanwhile"}},
		"conflicts":               {Steps: steps{open, forgetest.Reply(409, `{"Style":"merge","StdOut":"CONFLICT","StdErr":"","Err":{}}`), open}, Want: &vcs.NotMergedError{Reason: "it has conflicts with `main`"}},
		"a hook of the forge":     {Steps: steps{open, says(409, "PushRejected with remote message: not on\nSunday"), open}, Want: &vcs.NotMergedError{Reason: "the forge answers 409: `PushRejected with remote message: not on Sunday`"}},
		"not looked at yet":       {Steps: steps{open, says(405, "Please try again later"), open}, Want: &vcs.NotMergedError{Again: true, Reason: "it has conflicts with `main`, or the forge is still looking for them"}},
		"a draft":                 {Steps: steps{open, says(405, "Work in progress PRs cannot be merged"), open}, Want: &vcs.NotMergedError{Reason: "it is a draft"}},
		"may not":                 {Steps: steps{open, says(405, "User not allowed to merge PR"), open}, Want: &vcs.NotMergedError{Reason: "the account of the token may not merge into `main`"}},
		"a method that is off":    {Steps: steps{open, says(405, "merge is not allowed an allowed merge style for this repository"), open}, Want: &vcs.NotMergedError{Reason: "`acme/infra` does not allow this method to merge"}},
		"the rules":               {Steps: steps{open, says(405, "Does not have enough approvals"), open}, Want: &vcs.NotMergedError{Reason: "the forge answers 405: `Does not have enough approvals`"}},
		"the rules of a Forgejo":  {Steps: steps{open, says(405, "not allowed to merge [reason: Does not have enough approvals]"), open}, Want: &vcs.NotMergedError{Reason: "the forge answers 405: `Does not have enough approvals`"}},
		"no scope":                {Steps: steps{open, says(403, ""), open}, Want: &vcs.NotMergedError{Reason: "the forge answers 403: `no reason`"}},
		"without end":             {Steps: steps{open, says(403, strings.Repeat("x`", 5000)), open}, Want: &vcs.NotMergedError{Reason: "the forge answers 403: `" + strings.Repeat("x'", 98) + "x…`"}},
		"archived":                {Steps: steps{open, says(423, "Repository is archived"), open}, Want: &vcs.NotMergedError{Reason: "the forge answers 423: `Repository is archived`"}},
	}, func(ctx context.Context, transport http.RoundTripper) error {
		return client(t, gitea.Config{HTTP: transport}).Merge(ctx, toMerge(), vcs.Merging{})
	})
}

// TestMergeStyle: the default is the repository's, or the first that it allows.
func TestMergeStyle(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		repo map[string]any
		how  vcs.MergeMethod
		want string
	}{
		"one that is asked for":       {map[string]any{"default_merge_style": "squash", "allow_squash_merge": true}, vcs.MergeRebase, "rebase"},
		"the repository's":            {map[string]any{"default_merge_style": "rebase-merge", "allow_rebase_explicit": true, "allow_merge_commits": true}, "", "rebase-merge"},
		"a fast-forward":              {map[string]any{"default_merge_style": "fast-forward-only"}, "", "fast-forward-only"},
		"one that nobody could use":   {map[string]any{"default_merge_style": "manually-merged", "allow_rebase": true, "allow_squash_merge": true}, "", "rebase"},
		"one that is not allowed":     {map[string]any{"default_merge_style": "merge", "allow_squash_merge": true}, "", "squash"},
		"none that a server tells of": {nil, "", "merge"},
	} {
		s := &forgetest.Script{Steps: []forgetest.Step{
			forgetest.Reply(http.StatusOK, aPull(func(_, _, base map[string]any) {
				for key, value := range tt.repo {
					base["repo"].(map[string]any)[key] = value
				}
			})),
			forgetest.Reply(http.StatusOK, ``),
		}}
		must(t, client(t, gitea.Config{HTTP: s}).Merge(t.Context(), toMerge(), vcs.Merging{Method: tt.how}))
		want := fmt.Sprintf(`{"Do":%q,"delete_branch_after_merge":false,"head_commit_id":%q}`, tt.want, strings.Repeat("a", 40))
		if got := string(s.Bodies[1]); got != want {
			t.Errorf("%s: what is asked for is %s, want %s", name, got, want)
		}
	}
}

// TestForksBranchStays: the branch of another repository is nobody's to delete, and nothing is asked about it.
func TestForksBranchStays(t *testing.T) {
	t.Parallel()
	ofFork := func(state string) forgetest.Step {
		return forgetest.Reply(http.StatusOK, aPull(func(pull, head, _ map[string]any) { head["repo_id"], pull["merged"] = 8, state == "merged" }))
	}
	p := toMerge()
	p.Head.Repo = vcs.RepoID{Forge: p.Repo.ID.Forge, ID: 8}
	s := &forgetest.Script{Steps: []forgetest.Step{ofFork("open"), forgetest.Reply(http.StatusOK, ``)}}
	must(t, client(t, gitea.Config{HTTP: s}).Merge(t.Context(), p, vcs.Merging{DeleteBranch: true}))
	if got := string(s.Bodies[1]); !strings.Contains(got, `"delete_branch_after_merge":false`) {
		t.Errorf("what is asked for is %s, want that its branch stays", got)
	}
	branch := fmt.Sprintf(`{"name":"grow","commit":{"id":%q}}`, p.Head.SHA)
	s = &forgetest.Script{Steps: []forgetest.Step{ofFork("merged"), forgetest.Reply(http.StatusOK, branch), forgetest.Reply(http.StatusNoContent, ``)}}
	must(t, client(t, gitea.Config{HTTP: s}).Merge(t.Context(), p, vcs.Merging{DeleteBranch: true}))
	for _, req := range s.Requests {
		if req.Method != http.MethodGet {
			t.Errorf("%s %s was asked for of what is merged", req.Method, req.URL.Path)
		}
	}
}

// TestMergeTidiesInTime: a forge that does not tell who needs a branch holds nobody up.
func TestMergeTidiesInTime(t *testing.T) {
	t.Parallel()
	for name, merged := range map[string]bool{"merged": false, "merged before": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			forgetest.InTime(t, 30*time.Second, func(ctx context.Context) error {
				answers := forgetest.Answers(func(req *http.Request) (*http.Response, error) {
					switch path := req.URL.Path; {
					case strings.HasSuffix(path, "/pulls/12"):
						return forgetest.Reply(http.StatusOK, aPull(func(pull, _, _ map[string]any) { pull["merged"] = merged }))(req)
					case strings.HasSuffix(path, "/merge"):
						return forgetest.Reply(http.StatusOK, ``)(req)
					}
					return forgetest.Reply(http.StatusTooManyRequests, "", "Retry-After", "20")(req)
				})
				return client(t, gitea.Config{HTTP: answers}).Merge(ctx, toMerge(), vcs.Merging{DeleteBranch: true})
			})
		})
	}
}

// TestMergeableIsPolled: what the forge may still work out is asked for again for ten seconds.
func TestMergeableIsPolled(t *testing.T) {
	t.Parallel()
	mergeable := forgetest.Reply(http.StatusOK, aPull(func(pull, _, _ map[string]any) { pull["mergeable"] = true }))
	not := forgetest.Reply(http.StatusOK, aPull(func(_, _, _ map[string]any) {}))
	branch := forgetest.Reply(http.StatusOK, `{"name":"main","user_can_merge":true}`)
	none := forgetest.Reply(http.StatusNotFound, notFound)
	ask := func(want string) func(context.Context, http.RoundTripper) error {
		return func(ctx context.Context, transport http.RoundTripper) error {
			got, err := client(t, gitea.Config{HTTP: transport}).Mergeable(ctx, toMerge(), oursAlone)
			if said := fmt.Sprintf("%s %s", got.State, got.Why); err == nil && said != want {
				return fmt.Errorf("Mergeable() = %s, want %s", said, want)
			}
			return err
		}
	}
	for want, tt := range map[string]forgetest.Try{
		"ready []": {Name: "after a while", Steps: []forgetest.Step{not, not, not, mergeable, branch, none}, Want: []int{0, 1, 2, 0, 0}},
		"blocked [it has conflicts with `main`, or the forge could not look for them]": {
			Name: "never", Steps: append(forgetest.Times(6, not), branch, none), Want: []int{0, 1, 2, 4, 2, 0, 0},
		},
		"": {Name: "a fault in between", Steps: []forgetest.Step{not, none}, Want: []int{0}, Err: vcs.ErrNotFound},
	} {
		t.Run(tt.Name, func(t *testing.T) {
			t.Parallel()
			tt.Run(t, ask(want))
		})
	}
}

// merge merges, as soon as the forge has looked: it may look again after the merge before.
func (w *world) merge(t *testing.T, c *gitea.Client, p vcs.Pull, how vcs.Merging) {
	t.Helper()
	err := c.Merge(t.Context(), p, how)
	if not := (*vcs.NotMergedError)(nil); errors.As(err, &not) && not.Again {
		if _, err := c.Mergeable(t.Context(), p, oursAlone); err != nil {
			t.Fatal(err)
		}
		err = c.Merge(t.Context(), p, how)
	}
	must(t, err)
}

// TestRules: what the base branch asks for, on the real server.
func TestRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ruled")
	c := w.client(t, gitea.Config{})
	c.Hasten()
	expect := func(p vcs.Pull, why ...string) {
		t.Helper()
		state := vcs.MergeBlocked
		if len(why) == 0 {
			state = vcs.MergeReady
		}
		got, err := c.Mergeable(t.Context(), p, oursAlone)
		if diff := cmp.Diff(vcs.Mergeable{State: state, Why: why}, got); err != nil || diff != "" {
			t.Errorf("Mergeable() error = %v, differs (-want +got):\n%s", err, diff)
		}
	}
	refused := func(p vcs.Pull, want string) {
		t.Helper()
		var got *vcs.NotMergedError
		if err := c.Merge(t.Context(), p, vcs.Merging{}); !errors.As(err, &got) || !strings.Contains(got.Reason, want) || got.Again {
			t.Errorf("Merge() = %+v, want a refusal with %q", got, want)
		}
	}
	set := func(p vcs.Pull, name string, state vcs.StatusState) {
		t.Helper()
		must(t, c.SetStatus(t.Context(), p.Repo, p.Head.SHA, vcs.Status{Context: name, State: state}))
	}
	draft := w.read(t, 1)
	expect(draft, "it is a draft")
	refused(draft, "it is a draft")

	p := w.another(t)
	at := fmt.Sprintf("/pulls/%d", p.Number)
	w.rule(t, map[string]any{"enable_status_check": true})
	expect(p)
	set(p, "tidegate/plan", vcs.Pending)
	set(p, "ci", vcs.Success)
	expect(p)
	set(p, "ci", vcs.Pending)
	expect(p, "the status `ci` is `pending`")
	w.protect(t)

	w.rule(t, map[string]any{"enable_status_check": true, "status_check_contexts": []string{"tidegate/*", "c?", "lint/**"}})
	expect(p, "the status `ci` is `pending`", "the status `lint/**` is missing")
	set(p, "ci", vcs.Success)
	set(p, "lint/go/vet", vcs.Success)
	expect(p)
	refused(p, "Not all required status checks successful")
	w.protect(t)

	w.rule(t, map[string]any{"required_approvals": 1, "block_on_rejected_reviews": true})
	expect(p, "it has 0 of the 1 approvals that `main` requires")
	refused(p, "Does not have enough approvals")
	review := func(user string, v string) {
		t.Helper()
		w.ask(t, user, http.MethodPost, at+"/reviews", map[string]any{"event": v, "body": "x"}, nil)
	}
	review("eve", "APPROVED") // who may only read
	expect(p, "it has 0 of the 1 approvals that `main` requires")
	review("rosa", "REQUEST_CHANGES")
	review("raj", "APPROVED")
	expect(p, "`rosa` asks for changes")
	refused(p, "There are requested changes")
	review("rosa", "APPROVED")
	expect(p)
	w.protect(t)

	w.rule(t, map[string]any{"block_on_official_review_requests": true})
	w.ask(t, "ana", http.MethodPost, at+"/requested_reviewers", map[string]any{"reviewers": []string{"acme"}}, nil)
	expect(p, "a review that was asked for is missing")
	refused(p, "There are official review requests")
	w.protect(t)

	w.rule(t, map[string]any{"enable_merge_whitelist": true, "merge_whitelist_usernames": []string{"rosa"}})
	expect(p, "the account of the token may not merge into `main`")
	refused(p, "the account of the token may not merge into `main`")
	w.protect(t)

	w.ask(t, "ana", http.MethodPost, "/issues", map[string]any{"title": "first"}, nil)
	w.ask(t, "ana", http.MethodPost, fmt.Sprintf("/issues/%d/dependencies", p.Number), map[string]any{"index": p.Number + 1, "owner": owner, "repo": w.repo}, nil)
	expect(p, fmt.Sprintf("it depends on #%d, which is open", p.Number+1))
	w.ask(t, "ana", http.MethodPatch, fmt.Sprintf("/issues/%d", p.Number+1), map[string]any{"state": "closed"}, nil)
	expect(p)

	w.rule(t, map[string]any{"block_on_outdated_branch": true})
	w.merge(t, c, w.another(t), vcs.Merging{})
	must(t, w.Settle())
	expect(w.read(t, p.Number), "it has conflicts with `main`, or the forge could not look for them", "it is behind `main`, which takes nothing that is")
}

// TestBranchStays: a branch that is needed is not deleted after a merge, by whatever way.
func TestBranchStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "needed")
	c := w.client(t, gitea.Config{})
	how := vcs.Merging{DeleteBranch: true}
	for name, need := range map[string]func(p vcs.Pull){
		"another is based on it": func(p vcs.Pull) {
			w.Branch(t, "child")
			w.Commit(t, "child")
			w.Push(t, "ana", "child")
			w.ask(t, "ana", http.MethodPost, "/pulls", map[string]any{"title": "child", "head": "child", "base": p.Head.Ref}, nil)
		},
		"another comes from it": func(p vcs.Pull) {
			w.Git(t, owner, "-C", w.Dir, "push", "-q", w.URL, "HEAD~1:refs/heads/release")
			w.ask(t, "ana", http.MethodPost, "/pulls", map[string]any{"title": "again", "head": p.Head.Ref, "base": "release"}, nil)
		},
		"it is protected": func(p vcs.Pull) {
			w.ask(t, owner, http.MethodPost, "/branch_protections", map[string]any{"rule_name": p.Head.Ref}, nil)
		},
	} {
		p := w.another(t)
		need(p)
		for range 2 {
			w.merge(t, c, p, how)
			if got := w.branchSHA(t, p.Head.Ref); got != p.Head.SHA {
				t.Errorf("when %s: the branch is at %q, want it at %q", name, got, p.Head.SHA)
			}
		}
	}
	p := w.another(t)
	w.merge(t, c, p, vcs.Merging{})
	sha := w.Commit(t, "more")
	w.Push(t, "ana", p.Head.Ref)
	w.merge(t, c, p, how)
	if got := w.branchSHA(t, p.Head.Ref); got != sha {
		t.Errorf("a branch that has moved on is at %q, want it at %q", got, sha)
	}
	p = w.another(t)
	w.merge(t, c, p, vcs.Merging{})
	w.merge(t, c, p, how)
	if got := w.branchSHA(t, p.Head.Ref); got != "" {
		t.Errorf("a branch that a merge before has left is at %q, want it gone", got)
	}
}

func TestStatusPatterns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"ci", "ci", true},
		{"ci", "ci2", false},
		{"ci", "my-ci", false},
		{"ci/*", "ci/lint/go (push)", true},
		{"*", "", true},
		{"**/go", "ci/lint/go", true},
		{"c?", "ci", true},
		{"c?", "c", false},
		{"[a-c]i", "ci", true},
		{"[!a-c]i", "ci", false},
		{"[!a-c]i", "di", true},
		{"{ci,lint}/go", "lint/go", true},
		{"{ci,lint}/go", "go", false},
		{"a,b}", "a,b}", true},
		{`ci\*`, "ci*", true},
		{`ci\*`, "cio", false},
		{"ci.(x)+", "ci.(x)+", true},
		{"ci.x", "ciax", false},
		{"{ci", "ci", false},
		{"[b-a]", "b", false},
		{"[", "[", true},
	} {
		if got := gitea.Matches(tt.pattern, tt.name); got != tt.want {
			t.Errorf("matches(%q, %q) = %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
	}
}
