package gitea

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// MergeMethods are the forge's.
func (c *Client) MergeMethods() []vcs.MergeMethod {
	return []vcs.MergeMethod{vcs.MergeCommit, vcs.MergeRebase, vcs.MergeSquash}
}

// Mergeable asks for the pull request and for the rules of its base branch. The forge says in the same way that it has
// found conflicts and that it still looks for them: what it has not called mergeable in time has conflicts.
func (c *Client) Mergeable(ctx context.Context, pull vcs.Pull, ours func(context string) bool) (vcs.Mergeable, error) {
	const op = "asking whether a pull request can be merged"
	if err := c.kin.Ours(pull.Repo); err != nil {
		return vcs.Mergeable{}, fmt.Errorf("%s: %w", op, err)
	}
	var raw *pullRequest
	var now vcs.Pull
	_, err := rest.Poll(ctx, c.pollTime, func() (done bool, err error) {
		raw, now, err = c.read(ctx, op, pull.Repo, pull.Number)
		return raw != nil && raw.Mergeable || now.State != vcs.Open || now.Draft || now.Head.SHA != pull.Head.SHA, err
	})
	if err != nil {
		return vcs.Mergeable{}, err
	}
	why := rest.StandsStill(now, pull)
	switch {
	case why != nil:
		return rest.Blocked(why.Reason), nil
	case now.State == vcs.Merged:
		return rest.Blocked("it is merged already"), nil
	}
	q := question{Client: c, op: op, raw: raw, pull: now, ours: ours}
	switch {
	case now.Draft:
		q.against("it is a draft")
	case !raw.Mergeable:
		q.against("it has conflicts with %s, or the forge could not look for them", rest.Quote(now.Base.Ref))
	}
	if err := q.ask(ctx); err != nil {
		return vcs.Mergeable{}, err
	}
	if len(q.why) > 0 {
		return rest.Blocked(q.why...), nil
	}
	return vcs.Mergeable{State: vcs.MergeReady}, nil
}

// Merge merges, by the repository's own default style unless a method is asked for.
func (c *Client) Merge(ctx context.Context, pull vcs.Pull, how vcs.Merging) error {
	const op = "merging a pull request"
	if err := c.kin.Ours(pull.Repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	raw, done, err := c.settled(ctx, op, pull, how)
	if done || err != nil {
		return err
	}
	// The SDK's own options always send what is not asked for, and its call leaves out why the forge refuses. Its name of
	// the style is the one that servers of all ages take.
	// What becomes of the branch is always said: the repository's own setting would hold otherwise.
	body := map[string]any{
		"Do": style(raw.Base.Repository, how.Method), "head_commit_id": pull.Head.SHA,
		"delete_branch_after_merge": how.DeleteBranch && c.useless(ctx, pull),
	}
	refused, err := c.merge(ctx, op, pull, body)
	if refused == nil {
		return err
	}
	if _, done, err = c.settled(ctx, op, pull, how); done || err != nil {
		return err
	}
	return c.why(refused, pull)
}

// settled reads a pull request again and reports whether nothing is left to be asked for: it is merged at that head, and
// what else there was to do is done. The error says as well that it never will be.
func (c *Client) settled(ctx context.Context, op string, pull vcs.Pull, how vcs.Merging) (*pullRequest, bool, error) {
	raw, now, err := c.read(ctx, op, pull.Repo, pull.Number)
	if err != nil {
		return nil, false, err
	}
	if now.State == vcs.Merged && now.Head.SHA != pull.Head.SHA {
		if now.Head.SHA, err = c.mergedHead(ctx, op, now); err != nil {
			return nil, false, err
		}
	}
	if why := rest.StandsStill(now, pull); why != nil {
		return nil, false, why
	}
	if now.State == vcs.Merged {
		c.finish(ctx, now, how)
		return nil, true, nil
	}
	return raw, false, nil
}

// mergedHead is what was merged. As long as the branch is there, the forge tells where that stands now.
func (c *Client) mergedHead(ctx context.Context, op string, pull vcs.Pull) (string, error) {
	var refs []*sdk.Reference
	err := c.do(ctx, op, func(api *sdk.Client) (resp *sdk.Response, err error) {
		refs, resp, err = api.GetRepoRefs(pull.Repo.Owner, pull.Repo.Name, pull.HeadRef)
		return resp, err
	})
	if err != nil {
		return "", err
	}
	for _, r := range refs {
		if r != nil && r.Ref == pull.HeadRef && r.Object != nil {
			return r.Object.SHA, nil
		}
	}
	return "", fmt.Errorf("%s: the forge does not tell at which commit it is merged", op)
}

// merge asks for it. The refusal is the forge's own, with the error that it makes.
func (c *Client) merge(ctx context.Context, op string, pull vcs.Pull, body map[string]any) (*refusal, error) {
	var refused *refusal
	err := c.rest.Write(ctx, op, pull.Repo.ID, rest.More, func(ctx context.Context) (*rest.Answer, error) {
		answer, err := c.once(ctx, http.MethodPost, pullPath(pull.Repo, pull.Number)+"/merge", body, nil)
		refused = nil
		errors.As(err, &refused)
		return answer, err
	})
	if refused != nil && !refused.final() {
		refused = nil
	}
	return refused, err
}

// final reports whether the forge has looked at the pull request, and will not merge it.
func (r *refusal) final() bool {
	switch r.status {
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusLocked:
		return true
	}
	return false
}

// why is what a refusal means, by the forge's own words for it. Conflicts alone have none.
func (c *Client) why(r *refusal, pull vcs.Pull) *vcs.NotMergedError {
	said := strings.ToLower(r.said)
	base := rest.Quote(pull.Base.Ref)
	switch {
	case r.status == http.StatusConflict && strings.Contains(said, "head out of date"):
		return &vcs.NotMergedError{Reason: "its head has moved", Moved: true}
	case r.status == http.StatusConflict && strings.Contains(said, "push out of date"):
		return &vcs.NotMergedError{Reason: base + " has moved meanwhile", Again: true}
	case r.status == http.StatusConflict && said == "":
		return &vcs.NotMergedError{Reason: "it has conflicts with " + base}
	case strings.Contains(said, "try again later"):
		return &vcs.NotMergedError{Reason: "it has conflicts with " + base + ", or the forge is still looking for them", Again: true}
	case strings.Contains(said, "work in progress"):
		return &vcs.NotMergedError{Reason: "it is a draft"}
	case strings.Contains(said, "user not allowed to merge"):
		return &vcs.NotMergedError{Reason: "the account of the token may not merge into " + base}
	case strings.Contains(said, "allowed merge style"):
		return &vcs.NotMergedError{Reason: rest.Quote(pull.Repo.FullName()) + " does not allow this method to merge"}
	}
	reason := strings.TrimSuffix(strings.TrimPrefix(r.said, "not allowed to merge [reason: "), "]") // as a Forgejo says it
	return &vcs.NotMergedError{Reason: fmt.Sprintf("the forge answers %d: %s", r.status, rest.Quote(cmp.Or(c.rest.Clean(reason), "no reason")))}
}

// style is the forge's name of a method; see vcs.DefaultMethod.
func style(repo *sdk.Repository, m vcs.MergeMethod) sdk.MergeStyle {
	if m != vcs.DefaultMethod {
		return sdk.MergeStyle(m)
	}
	allowed := map[sdk.MergeStyle]bool{
		sdk.MergeStyleMerge: repo.AllowMerge, sdk.MergeStyleRebase: repo.AllowRebase, sdk.MergeStyleSquash: repo.AllowSquash,
		sdk.MergeStyleRebaseMerge: repo.AllowRebaseMerge,
	}
	if may, known := allowed[repo.DefaultMergeStyle]; may || !known && repo.DefaultMergeStyle == sdk.MergeStyleFastForwardOnly {
		return repo.DefaultMergeStyle
	}
	for _, s := range []sdk.MergeStyle{sdk.MergeStyleMerge, sdk.MergeStyleRebase, sdk.MergeStyleSquash} {
		if allowed[s] {
			return s
		}
	}
	return cmp.Or(repo.DefaultMergeStyle, sdk.MergeStyleMerge)
}

// useless reports whether nobody needs the head's branch after the merge. What the forge itself would see, it leaves
// to the forge: that the branch has moved on, or is protected.
func (c *Client) useless(ctx context.Context, pull vcs.Pull) bool {
	if pull.Fork() || pull.Head.Ref == pull.Base.Ref {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, rest.TidyTime)
	defer cancel()
	open, err := c.News(ctx, pull.Repo, time.Time{}, nil)
	return err == nil && !slices.ContainsFunc(open.Pulls, func(p vcs.Pull) bool {
		return p.Number != pull.Number && (p.Base.Ref == pull.Head.Ref || !p.Fork() && p.Head.Ref == pull.Head.Ref)
	})
}

// finish deletes the branch of what is merged already. That it can't is no error.
func (c *Client) finish(ctx context.Context, pull vcs.Pull, how vcs.Merging) {
	const op = "deleting the branch of what is merged"
	if !how.DeleteBranch {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, rest.TidyTime)
	defer cancel()
	var branch *sdk.Branch
	err := c.do(ctx, op, func(api *sdk.Client) (resp *sdk.Response, err error) {
		branch, resp, err = api.GetRepoBranch(pull.Repo.Owner, pull.Repo.Name, pull.Head.Ref)
		return resp, err
	})
	if err != nil || branch == nil || branch.Commit == nil || branch.Commit.ID != pull.Head.SHA || branch.Protected || !c.useless(ctx, pull) {
		return
	}
	err = c.write(ctx, op, pull.Repo.ID, rest.Same, func(api *sdk.Client) (*sdk.Response, error) {
		_, resp, err := api.DeleteRepoBranch(pull.Repo.Owner, pull.Repo.Name, pull.Head.Ref)
		return resp, err
	})
	if err != nil {
		c.rest.Forgo(ctx, op, pull.Repo, pull.Number, err)
	}
}
