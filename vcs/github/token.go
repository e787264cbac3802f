package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
)

var _ vcs.Keyholder = (*Client)(nil)

// scopesHeader names the scopes of a classic token. Fine-grained ones and those of Apps have none, and it is not sent then.
// https://docs.github.com/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
const scopesHeader = "X-Oauth-Scopes"

// Token reads what a classic token may, and tries what is not told of a fine-grained one: who lacks a permission is answered 403,
// whatever is asked for.
func (c *Client) Token(ctx context.Context, repo vcs.Repo) (vcs.Token, error) {
	const op = "asking what the token may"
	if err := c.kin.Ours(repo); err != nil {
		return vcs.Token{}, fmt.Errorf("%s: %w", op, err)
	}
	if c.app != nil {
		return vcs.Token{}, fmt.Errorf("%s: an App asks, which has permissions: %w", op, vcs.ErrRefused)
	}
	var token vcs.Token
	var scopes []string
	err := c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
		_, resp, err := c.api.Users.Get(ctx, "")
		if resp != nil {
			scopes, token.Ends = resp.Header.Values(scopesHeader), resp.TokenExpiration.Time
		}
		return resp, err
	})
	if err != nil {
		return vcs.Token{}, err
	}
	if len(scopes) > 0 {
		may := strings.FieldsFunc(strings.Join(scopes, ","), func(r rune) bool { return r == ',' || r == ' ' })
		if !slices.Contains(may, "repo") && !slices.Contains(may, "public_repo") {
			token.Lacks = []string{"repo"}
		}
		return token, nil
	}
	token.Lacks, err = c.tries(ctx, op, repo)
	return token, err
}

// tries asks for what can't be.
func (c *Client) tries(ctx context.Context, op string, repo vcs.Repo) (lacks []string, err error) {
	for _, try := range []struct {
		what string
		ask  func(context.Context) (*gh.Response, error)
	}{
		{"pull requests and issues: write", func(ctx context.Context) (*gh.Response, error) {
			_, resp, err := c.api.Issues.CreateComment(ctx, repo.Owner, repo.Name, vcs.NowherePull, &gh.IssueComment{Body: gh.String("?")})
			return resp, err
		}},
		{"commit statuses: write", func(ctx context.Context) (*gh.Response, error) {
			_, resp, err := c.api.Repositories.CreateStatus(ctx, repo.Owner, repo.Name, vcs.NowhereCommit, &gh.RepoStatus{State: gh.String("pending"), Context: gh.String("?")})
			return resp, err
		}},
	} {
		status := 0
		err := c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
			resp, err := try.ask(ctx)
			if resp != nil {
				status = resp.StatusCode
			}
			return resp, err
		})
		switch {
		case errors.Is(err, vcs.ErrRefused) && status == http.StatusForbidden:
			lacks = append(lacks, try.what)
		case err != nil && !errors.Is(err, vcs.ErrRefused) && !errors.Is(err, vcs.ErrNotFound):
			return nil, err
		}
	}
	return lacks, nil
}
