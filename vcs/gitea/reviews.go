package gitea

import (
	"context"
	"errors"
	"fmt"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// Permission asks what a user may do. The forge tells it only to who administers the repository.
func (c *Client) Permission(ctx context.Context, repo vcs.Repo, user string) (vcs.Permission, error) {
	const op = "asking for a user's permission"
	if err := c.kin.Ours(repo); err != nil {
		return vcs.NoPermission, fmt.Errorf("%s: %w", op, err)
	}
	if !rest.IsName(user) {
		return vcs.NoPermission, nil
	}
	var got *sdk.CollaboratorPermissionResult
	err := c.do(ctx, op, func(api *sdk.Client) (resp *sdk.Response, err error) {
		got, resp, err = api.CollaboratorPermission(repo.Owner, repo.Name, user)
		return resp, err
	})
	switch {
	case errors.Is(err, vcs.ErrNotFound):
		return vcs.NoPermission, nil
	case errors.Is(err, vcs.ErrRefused):
		return vcs.NoPermission, fmt.Errorf("the account of the token must be an administrator of %s, because only those are told what others may do: %w", repo.FullName(), err)
	case err != nil:
		return vcs.NoPermission, err
	case got == nil:
		return vcs.NoPermission, fmt.Errorf("%s: the forge's answer is none", op)
	}
	switch got.Permission {
	case sdk.AccessModeOwner, sdk.AccessModeAdmin:
		return vcs.AdminPermission, nil
	case sdk.AccessModeWrite:
		return vcs.WritePermission, nil
	case sdk.AccessModeRead:
		return vcs.ReadPermission, nil
	default:
		return vcs.NoPermission, nil
	}
}

// Approval reads the reviews. A review that was asked for, or is being written, says nothing.
func (c *Client) Approval(ctx context.Context, pull vcs.Pull) (vcs.Approval, error) {
	const op = "listing reviews"
	if err := c.kin.Ours(pull.Repo); err != nil {
		return vcs.Approval{}, fmt.Errorf("%s: %w", op, err)
	}
	says := map[sdk.ReviewStateType]rest.Says{sdk.ReviewStateApproved: rest.Approves, sdk.ReviewStateRequestChanges: rest.Rejects}
	some, err := c.listReviews(ctx, op, pull)
	if err != nil {
		return vcs.Approval{}, err
	}
	var all []rest.Review
	for _, r := range some {
		review := rest.Review{User: login(r.Reviewer), Says: says[r.State]}
		if r.Dismissed && review.Says != rest.Nothing {
			review.Says = rest.Dismissed
		}
		all = append(all, review)
	}
	return rest.Approval(pull.Author, all, func(user string) (vcs.Permission, error) { return c.Permission(ctx, pull.Repo, user) })
}

func (c *Client) listReviews(ctx context.Context, op string, pull vcs.Pull) (all []*sdk.PullReview, err error) {
	err = c.pages(op, func(page sdk.ListOptions) (resp *sdk.Response, n int, more bool, err error) {
		var some []*sdk.PullReview
		err = c.do(ctx, op, func(api *sdk.Client) (*sdk.Response, error) {
			some, resp, err = api.ListPullReviews(pull.Repo.Owner, pull.Repo.Name, int64(pull.Number), sdk.ListPullReviewsOptions{ListOptions: page})
			return resp, err
		})
		for _, r := range some {
			if r != nil {
				all = append(all, r)
			}
		}
		return resp, len(some), true, err
	})
	return all, err
}
