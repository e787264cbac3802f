package github

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	isDraft   = "it is a draft"
	isUnknown = "the forge is still working out whether it can be merged"
)

func conflicts(p vcs.Pull) string {
	return fmt.Sprintf("it has conflicts with %s", rest.Quote(p.Base.Ref))
}

// Mergeable reads what GitHub says of merging, and finds out what blocks it, as GitHub does not say that.
func (c *Client) Mergeable(ctx context.Context, pull vcs.Pull, ours func(context string) bool) (vcs.Mergeable, error) {
	const op = "asking whether a pull request can be merged"
	c, err := c.as(pull.Repo)
	if err != nil {
		return vcs.Mergeable{}, fmt.Errorf("%s: %w", op, err)
	}
	if err := usable(op, pull); err != nil {
		return vcs.Mergeable{}, err
	}
	raw, now, err := c.judged(ctx, op, pull)
	if err != nil {
		return vcs.Mergeable{}, err
	}
	blocked := func(why string) (vcs.Mergeable, error) {
		return rest.Blocked(why), nil
	}
	switch state := raw.GetMergeableState(); {
	case now.Head.SHA != pull.Head.SHA:
		return blocked(rest.HasMoved(pull))
	case now.State == vcs.Merged:
		return blocked("it is merged already")
	case now.State == vcs.Closed:
		return blocked(rest.IsClosed)
	case now.Draft:
		return blocked(isDraft)
	case undecided(raw):
		return vcs.Mergeable{State: vcs.MergeUnknown, Why: []string{isUnknown}}, nil
	case !raw.GetMergeable(), state == "dirty":
		return blocked(conflicts(now))
	case slices.Contains([]string{"clean", "unstable", "has_hooks"}, state):
		return vcs.Mergeable{State: vcs.MergeReady}, nil
	default:
		return c.blocked(ctx, op, now, ours, state == "behind")
	}
}

// judged reads a pull request until GitHub has found out whether it can be merged, which it begins when it is asked. A draft,
// and one that is not open any more, is not waited for.
// https://docs.github.com/rest/guides/using-the-rest-api-to-interact-with-your-git-database#checking-mergeability-of-pull-requests
func (c *Client) judged(ctx context.Context, op string, pull vcs.Pull) (raw *gh.PullRequest, now vcs.Pull, err error) {
	_, err = rest.Poll(ctx, rest.PollTime, func() (done bool, err error) {
		raw, now, err = c.look(ctx, op, pull.Repo, pull.Number)
		return err != nil || !undecided(raw) || now.State != vcs.Open || now.Draft || now.Head.SHA != pull.Head.SHA, err
	})
	return raw, now, err
}

// undecided reports whether GitHub has not found out yet.
func undecided(raw *gh.PullRequest) bool {
	return raw.Mergeable == nil || raw.GetMergeableState() == "unknown" && raw.GetMergeable()
}

// blocked finds out what is in the way of a pull request that GitHub would not merge. Where all of that is ours it is
// ready: a rule that can't be looked at is not in the way then, as nothing could be applied where there is one.
func (c *Client) blocked(ctx context.Context, op string, pull vcs.Pull, ours func(string) bool, behind bool) (vcs.Mergeable, error) {
	base, err := c.branch(ctx, op, pull.Repo, pull.Base.Ref)
	if err != nil {
		return vcs.Mergeable{}, err
	}
	rules, err := c.rules(ctx, op, pull)
	if err != nil {
		return vcs.Mergeable{}, err
	}
	if !behind && rules.strict { // GitHub may say "blocked" of what is behind as well
		if behind, err = c.behind(ctx, op, pull, base); err != nil {
			return vcs.Mergeable{}, err
		}
	}
	var why []string
	if behind {
		why = append(why, fmt.Sprintf("%s has moved on, and wants branches that are up to date with it", rest.Quote(pull.Base.Ref)))
	}
	unmet, own, err := c.unmet(ctx, op, pull, neededBy(base, rules), ours)
	if err != nil {
		return vcs.Mergeable{}, err
	}
	review, err := c.review(ctx, op, pull, rules)
	if err != nil {
		return vcs.Mergeable{}, err
	}
	why = append(append(why, unmet...), review...)
	switch {
	case len(why) > 0:
		return rest.Blocked(why...), nil
	case own:
		return vcs.Mergeable{State: vcs.MergeReady}, nil
	}
	return rest.Blocked(untold(pull, rules)), nil
}

// untold is the reason where GitHub tells none.
func untold(pull vcs.Pull, r rules) string {
	text := fmt.Sprintf("the forge does not tell why it would not merge it into %s", rest.Quote(pull.Base.Ref))
	names := [][2]string{
		{"required_signatures", "signed commits"},
		{"required_deployments", "deployments"},
		{"workflows", "workflows"},
		{"code_scanning", "code scanning"},
		{"pull_request", "reviews and resolved conversations"},
		{"merge_queue", "a merge queue"},
	}
	var asks []string
	for _, n := range names {
		if r.has(n[0]) {
			asks = append(asks, n[1])
		}
	}
	if len(asks) == 0 {
		return text
	}
	return text + "; its rules are about " + strings.Join(asks, ", ")
}

// decision asks for what the reviews come to. REST tells no such thing.
const decision = `query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) { reviewDecision } }
}`

// review tells what is missing of the reviews that the base asks for.
func (c *Client) review(ctx context.Context, op string, pull vcs.Pull, of rules) ([]string, error) {
	got, err := c.asked(ctx, op, pull, decision, "")
	if err != nil {
		return nil, err
	}
	var why []string
	switch got.ReviewDecision {
	case "CHANGES_REQUESTED":
		why = append(why, "a review asks for changes")
	case "REVIEW_REQUIRED":
		why = append(why, "a review that approves is missing")
	}
	if of.resolved {
		open, err := c.unresolved(ctx, op, pull)
		if err != nil {
			return nil, err
		}
		if open {
			why = append(why, "it has conversations that are not resolved")
		}
	}
	return why, nil
}

// threads asks for the conversations, which REST does not tell either.
const threads = `query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) {
    reviewThreads(first: 100, after: $after) { nodes { isResolved } pageInfo { hasNextPage endCursor } }
  } }
}`

// unresolved reports whether a conversation is not resolved.
func (c *Client) unresolved(ctx context.Context, op string, pull vcs.Pull) (bool, error) {
	after := ""
	for range maxPages {
		got, err := c.asked(ctx, op, pull, threads, after)
		if err != nil {
			return false, err
		}
		for _, one := range got.Threads.Nodes {
			if !one.Resolved {
				return true, nil
			}
		}
		next := got.Threads.Page
		if !next.More || next.End == after {
			return false, nil
		}
		after = next.End
	}
	return false, fmt.Errorf("%s: the list has more than %d pages", op, maxPages)
}

// answered is what GraphQL tells of a pull request.
type answered struct {
	ReviewDecision string `json:"reviewDecision"`
	Threads        struct {
		Nodes []struct {
			Resolved bool `json:"isResolved"`
		} `json:"nodes"`
		Page struct {
			More bool   `json:"hasNextPage"`
			End  string `json:"endCursor"`
		} `json:"pageInfo"`
	} `json:"reviewThreads"`
}

// asked asks GraphQL about a pull request. after is where a page begins, "" for the first.
func (c *Client) asked(ctx context.Context, op string, pull vcs.Pull, text, after string) (answered, error) {
	q := query{Query: text, Variables: map[string]any{"owner": pull.Repo.Owner, "name": pull.Repo.Name, "number": pull.Number}}
	if after != "" {
		q.Variables["after"] = after
	}
	body, err := json.Marshal(q)
	if err != nil {
		return answered{}, fmt.Errorf("%s: %w", op, err)
	}
	var got struct {
		Repository struct {
			Pull *answered `json:"pullRequest"`
		} `json:"repository"`
	}
	err = c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) { return c.query(ctx, body, &got) })
	switch {
	case err != nil:
		return answered{}, err
	case got.Repository.Pull == nil: // what is asked of its reviews would seem to be nothing
		return answered{}, fmt.Errorf("%s: GraphQL shows the account no pull request #%d: %w", op, pull.Number, vcs.ErrNotFound)
	}
	return *got.Repository.Pull, nil
}
