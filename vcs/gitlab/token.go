package gitlab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

var _ vcs.Keyholder = (*Client)(nil)

// token is what GitLab says of one.
type token struct {
	Scopes []string `json:"scopes"`
	// Ends is the day from whose beginning (UTC) on it is not good any more; "" for never.
	Ends string `json:"expires_at"`
}

// Token reads what the token may. A GitLab before 15.5 does not tell: nothing is known to be missing then.
// https://docs.gitlab.com/api/personal_access_tokens/#self-inform
func (c *Client) Token(ctx context.Context, repo vcs.Repo) (vcs.Token, error) {
	const op = "asking what the token may"
	if err := c.ours(repo); err != nil {
		return vcs.Token{}, fmt.Errorf("%s: %w", op, err)
	}
	var got token
	err := c.get(ctx, op, "personal_access_tokens/self", nil, &got)
	if errors.Is(err, vcs.ErrNotFound) {
		return vcs.Token{}, nil
	}
	if err != nil {
		return vcs.Token{}, err
	}
	var out vcs.Token
	if !slices.Contains(got.Scopes, "api") {
		out.Lacks = []string{"api"}
	}
	if got.Ends != "" {
		if out.Ends, err = time.Parse(time.DateOnly, got.Ends); err != nil {
			return vcs.Token{}, fmt.Errorf("%s: the forge's answer: expires_at is not a day", op)
		}
	}
	return out, nil
}
