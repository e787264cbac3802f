package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// MergeMethods are all: a repository, or a rule for a branch, may allow fewer.
func (c *Client) MergeMethods() []vcs.MergeMethod {
	return []vcs.MergeMethod{vcs.MergeCommit, vcs.MergeRebase, vcs.MergeSquash}
}

// Merge merges pull.Head.SHA. It is sent once: after a doubt the error wraps vcs.ErrInDoubt.
func (c *Client) Merge(ctx context.Context, pull vcs.Pull, how vcs.Merging) error {
	const op = "merging a pull request"
	c, err := c.as(pull.Repo)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := usable(op, pull); err != nil {
		return err
	}
	if how.Method != vcs.DefaultMethod && !slices.Contains(c.MergeMethods(), how.Method) {
		return fmt.Errorf("%s: %q is no way to merge: %w", op, how.Method, vcs.ErrRefused)
	}
	rules, err := c.rules(ctx, op, pull)
	if err != nil {
		return err
	}
	if err := c.mergeBy(ctx, op, pull, rules, how.Method); err != nil {
		return err
	}
	if how.DeleteBranch {
		c.tidy(ctx, pull)
	}
	return nil
}

// usable refuses what would change a request's path.
func usable(op string, pull vcs.Pull) error {
	if !rest.IsSHA(pull.Head.SHA) || !rest.IsRef(pull.Base.Ref) {
		return fmt.Errorf("%s: %q is no commit, or %q no branch: %w", op, pull.Head.SHA, pull.Base.Ref, vcs.ErrNotFound)
	}
	return nil
}

// methods are the ways of merging to try, one after the other.
func (c *Client) methods(ctx context.Context, op string, pull vcs.Pull, of rules, want vcs.MergeMethod) ([]vcs.MergeMethod, error) {
	if want != vcs.DefaultMethod {
		return []vcs.MergeMethod{want}, nil
	}
	var repo struct {
		Merge  *bool `json:"allow_merge_commit"`
		Rebase *bool `json:"allow_rebase_merge"`
		Squash *bool `json:"allow_squash_merge"`
	}
	if err := c.get(ctx, op, c.path(pull.Repo, ""), &repo); err != nil {
		return nil, err
	}
	told := map[vcs.MergeMethod]*bool{vcs.MergeCommit: repo.Merge, vcs.MergeRebase: repo.Rebase, vcs.MergeSquash: repo.Squash}
	all := slices.DeleteFunc(c.MergeMethods(), func(m vcs.MergeMethod) bool { // who may not write is not told
		return told[m] != nil && !*told[m] || !of.allow(m)
	})
	if len(all) == 0 {
		return nil, &vcs.NotMergedError{Reason: fmt.Sprintf("the rules for %s allow no way of merging that the repository allows", rest.Quote(pull.Base.Ref))}
	}
	return all, nil
}

// mergeBy merges by the first of the methods that is taken. That one is not taken may be told by the refusal alone: the
// rules of a branch's protection are for administrators to read.
func (c *Client) mergeBy(ctx context.Context, op string, pull vcs.Pull, of rules, want vcs.MergeMethod) error {
	if of.has("merge_queue") { // an account that may pass it by would be let through
		_, now, err := c.look(ctx, op, pull.Repo, pull.Number)
		if err != nil || now.State == vcs.Merged && now.Head.SHA == pull.Head.SHA {
			return err
		}
		if why := rest.StandsStill(now, pull); why != nil {
			return why
		}
		return &vcs.NotMergedError{Reason: byQueue(now)}
	}
	methods, err := c.methods(ctx, op, pull, of, want)
	if err != nil {
		return err
	}
	for i, method := range methods {
		said, err := c.mergeOnce(ctx, op, pull, method)
		if said == nil {
			return err
		}
		if i == len(methods)-1 || !wantsAnother(said) {
			return c.whyNot(ctx, op, pull, said)
		}
	}
	return nil
}

func wantsAnother(said *gh.ErrorResponse) bool {
	words := strings.ToLower(said.Message)
	return strings.Contains(words, "not allowed on this repository") || strings.Contains(words, "must not contain merge commits")
}

// mergeOnce asks for the merge, and answers what the forge says against it.
func (c *Client) mergeOnce(ctx context.Context, op string, pull vcs.Pull, method vcs.MergeMethod) (*gh.ErrorResponse, error) {
	var got *gh.PullRequestMergeResult
	var said *gh.ErrorResponse
	err := c.write(ctx, op, pull.Repo.ID, rest.More, func(ctx context.Context) (resp *gh.Response, err error) {
		said = nil
		how := &gh.PullRequestOptions{SHA: pull.Head.SHA, MergeMethod: string(method)}
		got, resp, err = c.api.PullRequests.Merge(ctx, pull.Repo.Owner, pull.Repo.Name, pull.Number, "", how)
		errors.As(err, &said)
		return resp, err
	})
	switch {
	case err == nil && !got.GetMerged():
		return nil, fmt.Errorf("%s: the forge took it, but its answer does not say that it is merged: %w", op, vcs.ErrInDoubt)
	case said == nil:
		return nil, err
	}
	switch said.Response.StatusCode {
	case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusUnprocessableEntity:
		return said, nil
	}
	return nil, err
}

// whyNot reads the pull request that was not merged, and says why. One that is merged at the head is no error.
// https://docs.github.com/rest/pulls/pulls#merge-a-pull-request
func (c *Client) whyNot(ctx context.Context, op string, pull vcs.Pull, said *gh.ErrorResponse) error {
	raw, now, err := c.look(ctx, op, pull.Repo, pull.Number)
	if err != nil {
		return err
	}
	words, status := strings.ToLower(said.Message), said.Response.StatusCode
	no := &vcs.NotMergedError{Reason: "the forge answers: " + rest.Quote(c.words(said))}
	switch {
	case now.Head.SHA != pull.Head.SHA:
		no.Reason, no.Moved = rest.HasMoved(pull), true
	case now.State == vcs.Merged:
		return nil
	case now.State == vcs.Closed:
		no.Reason = rest.IsClosed
	case now.Draft:
		no.Reason = isDraft
	case strings.Contains(words, "through the merge queue"):
		no.Reason = byQueue(now)
	case strings.HasPrefix(words, "base branch was modified"), strings.HasPrefix(words, "merge already in progress"):
		no.Again = true
	case raw.Mergeable != nil && !raw.GetMergeable():
		no.Reason = conflicts(now)
	case raw.Mergeable == nil && isNotMergeable(words):
		no.Reason, no.Again = isUnknown, true
	case status == http.StatusConflict, isNotMergeable(words):
		// It is what it was when it was read, and what was in the way is gone.
		no.Again = true
	case status == http.StatusForbidden, status == http.StatusNotFound:
		no.Reason = "the account may not merge here; " + no.Reason
	}
	return no
}

func byQueue(p vcs.Pull) string {
	return fmt.Sprintf("%s is merged by its merge queue: add the pull request to the queue on its page", rest.Quote(p.Base.Ref))
}

// isNotMergeable: GitHub says so of conflicts, and while it has not looked for them.
func isNotMergeable(words string) bool {
	return strings.HasPrefix(words, "pull request is not mergeable")
}

// tidy deletes the branch of a pull request that is merged. Whatever keeps it from that keeps the branch.
func (c *Client) tidy(ctx context.Context, pull vcs.Pull) {
	const op = "deleting a merged branch"
	ctx, cancel := context.WithTimeout(ctx, rest.TidyTime)
	defer cancel()
	needed, err := c.needed(ctx, op, pull)
	if err == nil && !needed {
		err = c.write(ctx, op, pull.Repo.ID, rest.Same, func(ctx context.Context) (*gh.Response, error) {
			req, err := c.api.NewRequest(http.MethodDelete, c.path(pull.Repo, "git/refs/heads", pull.Head.Ref), nil)
			if err != nil {
				return nil, err
			}
			return c.api.Do(ctx, req, nil)
		})
	}
	if err != nil && !isNotFound(err) {
		c.rest.Forgo(ctx, op, pull.Repo, pull.Number, err)
	}
}

// needed reports whether the branch of a merged pull request is needed still. An open pull request from it or to it
// would be closed by the deletion.
func (c *Client) needed(ctx context.Context, op string, pull vcs.Pull) (bool, error) {
	if pull.Fork() || pull.Head.Ref == pull.Base.Ref || !rest.IsRef(pull.Head.Ref) {
		return true, nil
	}
	var repo struct {
		Default string `json:"default_branch"`
	}
	if err := c.get(ctx, op, c.path(pull.Repo, ""), &repo); err != nil || repo.Default == pull.Head.Ref {
		return true, err
	}
	branch, err := c.branch(ctx, op, pull.Repo, pull.Head.Ref)
	if err != nil || branch.Protected || branch.Commit.SHA != pull.Head.SHA {
		return true, err
	}
	for _, open := range []url.Values{{"base": {pull.Head.Ref}}, {"head": {pull.Repo.Owner + ":" + pull.Head.Ref}}} {
		var some []struct{}
		open.Set("per_page", "1")
		if err := c.get(ctx, op, c.path(pull.Repo, "pulls")+"?"+open.Encode(), &some); err != nil || len(some) > 0 {
			return true, err
		}
	}
	return false, nil
}

// path is that of a request about a repository: one of the API's own, and after it the name of a branch.
func (c *Client) path(repo vcs.Repo, path string, branch ...string) string {
	parts := []string{"repos", repo.Owner, repo.Name}
	if path != "" {
		parts = append(parts, path)
	}
	for _, b := range branch {
		for part := range strings.SplitSeq(b, "/") {
			parts = append(parts, url.PathEscape(part))
		}
	}
	return strings.Join(parts, "/")
}

// get reads what is at a path.
func (c *Client) get(ctx context.Context, op, path string, into any) error {
	return c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
		req, err := c.api.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			return nil, err
		}
		return c.api.Do(ctx, req, into)
	})
}
