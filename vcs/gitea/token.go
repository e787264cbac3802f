package gitea

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
)

var _ vcs.Keyholder = (*Client)(nil)

// Token tries what the token may, for the forge tells it to nobody who asks with one: a scope is looked at before anything else
// is, and who lacks it is answered 403, with words that say so.
func (c *Client) Token(ctx context.Context, repo vcs.Repo) (vcs.Token, error) {
	const op = "asking what the token may"
	if err := c.kin.Ours(repo); err != nil {
		return vcs.Token{}, fmt.Errorf("%s: %w", op, err)
	}
	var token vcs.Token
	for _, try := range []struct {
		scope string
		ask   func(*sdk.Client) (*sdk.Response, error)
	}{
		{"write:issue", func(api *sdk.Client) (*sdk.Response, error) {
			_, resp, err := api.CreateIssueComment(repo.Owner, repo.Name, vcs.NowherePull, sdk.CreateIssueCommentOption{Body: "?"})
			return resp, err
		}},
		{"write:repository", func(api *sdk.Client) (*sdk.Response, error) {
			_, resp, err := api.CreateStatus(repo.Owner, repo.Name, vcs.NowhereCommit, sdk.CreateStatusOption{State: sdk.StatusPending, Context: "?"})
			return resp, err
		}},
	} {
		err := c.do(ctx, op, func(api *sdk.Client) (*sdk.Response, error) {
			resp, err := try.ask(api)
			switch {
			case resp == nil, resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusTooManyRequests,
				resp.StatusCode > http.StatusInternalServerError:
				return resp, err
			case resp.StatusCode == http.StatusForbidden && err != nil && strings.Contains(err.Error(), "scope"): // else it is the account that may not
				token.Lacks = append(token.Lacks, try.scope)
			}
			return resp, nil // what is not there is a fault (500) to some of these forges
		})
		if err != nil {
			return vcs.Token{}, err
		}
	}
	return token, nil
}
