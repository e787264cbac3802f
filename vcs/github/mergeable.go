package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	isClosed  = "it is closed"
	isDraft   = "it is a draft"
	isUnknown = "the forge is still working out whether it can be merged"
)

func hasMoved(p vcs.Pull) string { return "its head is not " + p.Head.SHA[:7] + " any more" }

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
		return blocked(hasMoved(pull))
	case now.State == vcs.Merged:
		return blocked("it is merged already")
	case now.State == vcs.Closed:
		return blocked(isClosed)
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
// ready.
func (c *Client) blocked(ctx context.Context, op string, pull vcs.Pull, ours func(string) bool, behind bool) (vcs.Mergeable, error) {
	var why []string
	if behind {
		why = append(why, fmt.Sprintf("%s has moved on, and wants branches that are up to date with it", rest.Quote(pull.Base.Ref)))
	}
	base, err := c.branch(ctx, op, pull.Repo, pull.Base.Ref)
	if err != nil {
		return vcs.Mergeable{}, err
	}
	rules, err := c.rules(ctx, op, pull)
	if err != nil {
		return vcs.Mergeable{}, err
	}
	contexts := slices.Concat(base.Protection.Checks.Contexts, rules.contexts)
	slices.Sort(contexts)
	unmet, own, err := c.unmet(ctx, op, pull, slices.Compact(contexts), ours)
	if err != nil {
		return vcs.Mergeable{}, err
	}
	review, err := c.review(ctx, op, pull)
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

// unmet tells which of the contexts that must be successful are not, and whether one of ours is among them. What is ours
// is not told.
func (c *Client) unmet(ctx context.Context, op string, pull vcs.Pull, contexts []string, ours func(string) bool) (why []string, own bool, err error) {
	if len(contexts) == 0 {
		return nil, false, nil
	}
	states, err := c.statuses(ctx, op, pull)
	if err != nil {
		return nil, false, err
	}
	hidden := false
	if slices.ContainsFunc(contexts, func(name string) bool { return !ours(name) }) {
		if hidden, err = c.checks(ctx, op, pull, states); err != nil {
			return nil, false, err
		}
	}
	for _, name := range contexts {
		state, known := states[name]
		switch {
		case known && state == vcs.Success:
		case ours(name):
			own = true
		case known && state == vcs.Failure:
			why = append(why, rest.Quote(name)+" is required and has failed")
		case known:
			why = append(why, rest.Quote(name)+" is required and is not done yet")
		case hidden:
			why = append(why, rest.Quote(name)+" is required, and whether it is successful the account may not see (permission Checks: read)")
		default:
			why = append(why, rest.Quote(name)+" is required and has not been reported")
		}
	}
	return why, own, nil
}

// statuses are the states of the statuses at the head.
func (c *Client) statuses(ctx context.Context, op string, pull vcs.Pull) (map[string]vcs.StatusState, error) {
	states := map[string]vcs.StatusState{}
	err := c.pages(op, func(page gh.ListOptions) (resp *gh.Response, err error) {
		var some *gh.CombinedStatus
		err = c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
			some, resp, err = c.api.Repositories.GetCombinedStatus(ctx, pull.Repo.Owner, pull.Repo.Name, pull.Head.SHA, &page)
			return resp, err
		})
		if err != nil {
			return resp, err
		}
		for _, s := range some.Statuses {
			states[s.GetContext()] = stateOf(s.GetState())
		}
		return resp, nil
	})
	return states, err
}

// checks adds those of the check runs at the head: of a status and a check run with one name both must be successful. It
// reports whether they are hidden from the account.
func (c *Client) checks(ctx context.Context, op string, pull vcs.Pull, states map[string]vcs.StatusState) (hidden bool, err error) {
	err = c.pages(op, func(page gh.ListOptions) (resp *gh.Response, err error) {
		var some *gh.ListCheckRunsResults
		err = c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
			opts := &gh.ListCheckRunsOptions{ListOptions: page}
			some, resp, err = c.api.Checks.ListCheckRunsForRef(ctx, pull.Repo.Owner, pull.Repo.Name, pull.Head.SHA, opts)
			return resp, err
		})
		if err != nil {
			return resp, err
		}
		for _, run := range some.CheckRuns {
			if state, known := states[run.GetName()]; !known || state == vcs.Success {
				states[run.GetName()] = stateOf(run.GetConclusion())
			}
		}
		return resp, nil
	})
	if errors.Is(err, vcs.ErrRefused) || isNotFound(err) {
		return true, nil
	}
	return false, err
}

// stateOf reads the state of a status, and the conclusion of a check run: "" is that of one that runs.
// https://docs.github.com/pull-requests/collaborating-with-pull-requests/collaborating-on-repositories-with-code-quality-features/about-status-checks
func stateOf(s string) vcs.StatusState {
	switch s {
	case "success", "neutral", "skipped":
		return vcs.Success
	case "pending", "":
		return vcs.Pending
	default:
		return vcs.Failure
	}
}

// decision asks for what the reviews come to. REST tells no such thing.
const decision = `query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) { reviewDecision } }
}`

// review tells what is missing of the reviews that the base asks for.
func (c *Client) review(ctx context.Context, op string, pull vcs.Pull) ([]string, error) {
	body, err := json.Marshal(query{Query: decision, Variables: map[string]any{
		"owner": pull.Repo.Owner, "name": pull.Repo.Name, "number": pull.Number,
	}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var got struct {
		Repository struct {
			PullRequest struct {
				ReviewDecision string `json:"reviewDecision"`
			} `json:"pullRequest"`
		} `json:"repository"`
	}
	if err := c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) { return c.query(ctx, body, &got) }); err != nil {
		return nil, err
	}
	switch got.Repository.PullRequest.ReviewDecision {
	case "CHANGES_REQUESTED":
		return []string{"a review asks for changes"}, nil
	case "REVIEW_REQUIRED":
		return []string{"a review that approves is missing"}, nil
	}
	return nil, nil
}
