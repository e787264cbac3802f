package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// Permission asks what a user may do. GitHub answers for people only: apps have no permission here.
func (c *Client) Permission(ctx context.Context, repo vcs.Repo, user string) (vcs.Permission, error) {
	const op = "asking for a user's permission"
	c, err := c.as(repo)
	if err != nil {
		return vcs.NoPermission, fmt.Errorf("%s: %w", op, err)
	}
	if !isLogin(user) {
		return vcs.NoPermission, nil
	}
	var got struct {
		Permission string `json:"permission"`
		RoleName   string `json:"role_name"`
	}
	path := fmt.Sprintf("repos/%s/%s/collaborators/%s/permission", repo.Owner, repo.Name, url.PathEscape(user))
	err = c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
		req, err := c.api.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			return nil, err
		}
		return c.api.Do(ctx, req, &got)
	})
	switch {
	case isNotFound(err):
		return vcs.NoPermission, nil
	case err != nil:
		return vcs.NoPermission, err
	}
	return permission(got.Permission, got.RoleName), nil
}

// permission reads GitHub's two answers: the base permission, and the name of the role, which may be
// one that an organization made up. Where both are known the lesser counts.
// https://docs.github.com/rest/collaborators/collaborators#get-repository-permissions-for-a-user
func permission(base, role string) vcs.Permission {
	known := func(s string) (vcs.Permission, bool) {
		switch s {
		case "admin":
			return vcs.AdminPermission, true
		case "maintain", "write":
			return vcs.WritePermission, true
		case "triage", "read":
			return vcs.ReadPermission, true
		case "none":
			return vcs.NoPermission, true
		default:
			return vcs.NoPermission, false
		}
	}
	b, okBase := known(base)
	r, okRole := known(role)
	switch {
	case okBase && okRole:
		return min(b, r)
	case okBase:
		return b
	default:
		return r
	}
}

// Approval reads the reviews. As in GitHub's own branch protection only users who may write have a say.
func (c *Client) Approval(ctx context.Context, pull vcs.Pull) (vcs.Approval, error) {
	const op = "listing reviews"
	c, err := c.as(pull.Repo)
	if err != nil {
		return vcs.Approval{}, fmt.Errorf("%s: %w", op, err)
	}
	says := map[string]rest.Says{"APPROVED": rest.Approves, "CHANGES_REQUESTED": rest.Rejects, "DISMISSED": rest.Dismissed}
	var all []rest.Review
	err = c.pages(op, func(page gh.ListOptions) (resp *gh.Response, err error) {
		var some []*gh.PullRequestReview
		err = c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
			some, resp, err = c.api.PullRequests.ListReviews(ctx, pull.Repo.Owner, pull.Repo.Name, pull.Number, &page)
			return resp, err
		})
		for _, r := range some {
			all = append(all, rest.Review{User: r.GetUser().GetLogin(), Says: says[strings.ToUpper(r.GetState())]})
		}
		return resp, err
	})
	if err != nil {
		return vcs.Approval{}, err
	}
	return rest.Approval(pull.Author, all, func(user string) (vcs.Permission, error) { return c.Permission(ctx, pull.Repo, user) })
}
