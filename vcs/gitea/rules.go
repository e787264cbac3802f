package gitea

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// question is what is in the way of a merge, as it is being found out.
type question struct {
	*Client
	op   string
	raw  *pullRequest
	pull vcs.Pull
	ours func(context string) bool
	why  []string
}

func (q *question) against(format string, args ...any) {
	q.why = append(q.why, fmt.Sprintf(format, args...))
}

// ask asks for the rules of the base branch, and for what the pull request has of what they want. Everybody is told of
// statuses and of approvals, an administrator of the rest.
func (q *question) ask(ctx context.Context) error {
	var base *sdk.Branch
	err := q.do(ctx, q.op, func(api *sdk.Client) (resp *sdk.Response, err error) {
		base, resp, err = api.GetRepoBranch(q.pull.Repo.Owner, q.pull.Repo.Name, q.pull.Base.Ref)
		return resp, err
	})
	switch {
	case err != nil:
		return err
	case base == nil:
		return fmt.Errorf("%s: the forge's answer is no branch", q.op)
	case !base.UserCanMerge:
		q.against("the account of the token may not merge into %s", rest.Quote(q.pull.Base.Ref))
	}
	if base.Protected {
		if err := q.protected(ctx, base); err != nil {
			return err
		}
	}
	return q.dependencies(ctx)
}

// protected looks at the rules of a branch that has some.
func (q *question) protected(ctx context.Context, base *sdk.Branch) error {
	rules, err := q.rules(ctx, base)
	if err != nil {
		return err
	}
	if base.EnableStatusCheck {
		if err := q.statuses(ctx, base.StatusCheckContexts); err != nil {
			return err
		}
	}
	if rules.BlockOnOutdatedBranch && q.raw.MergeBase != q.pull.Base.SHA {
		q.against("it is behind %s, which takes nothing that is", rest.Quote(q.pull.Base.Ref))
	}
	if base.RequiredApprovals > 0 || rules.BlockOnRejectedReviews || rules.BlockOnOfficialReviewRequests {
		return q.reviews(ctx, base.RequiredApprovals, rules)
	}
	return nil
}

// rules are those of a branch that only an administrator is told; none where they are not shown.
func (q *question) rules(ctx context.Context, base *sdk.Branch) (*sdk.BranchProtection, error) {
	if base.EffectiveBranchProtectionName == "" {
		return &sdk.BranchProtection{}, nil
	}
	var all []*sdk.BranchProtection
	err := q.do(ctx, q.op, func(api *sdk.Client) (resp *sdk.Response, err error) {
		all, resp, err = api.ListBranchProtections(q.pull.Repo.Owner, q.pull.Repo.Name, sdk.ListBranchProtectionsOptions{})
		return resp, err
	})
	if err != nil && !errors.Is(err, vcs.ErrRefused) && !errors.Is(err, vcs.ErrNotFound) {
		return nil, err
	}
	for _, r := range all {
		if r != nil && (r.RuleName == base.EffectiveBranchProtectionName || r.BranchName == base.EffectiveBranchProtectionName) {
			return r, nil
		}
	}
	return &sdk.BranchProtection{}, nil
}

// statuses looks at those that a branch requires; without patterns it requires every one that was set.
func (q *question) statuses(ctx context.Context, patterns []string) error {
	states, err := q.latest(ctx)
	if err != nil {
		return err
	}
	bad := map[string]bool{}
	for name, state := range states {
		needed := len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
		if needed && !q.ours(name) && state != sdk.StatusSuccess && state != "skipped" {
			bad[fmt.Sprintf("the status %s is %s", rest.Quote(name), rest.Quote(string(state)))] = true
		}
	}
	for _, p := range patterns {
		found := q.ours(p)
		for name := range states {
			found = found || matches(p, name)
		}
		if !found {
			bad[fmt.Sprintf("the status %s is missing", rest.Quote(p))] = true
		}
	}
	for why := range bad {
		q.against("%s", why)
	}
	slices.Sort(q.why)
	return nil
}

// latest are the newest statuses of the head by their contexts.
func (q *question) latest(ctx context.Context) (map[string]sdk.StatusState, error) {
	newest := map[string]*sdk.Status{}
	err := q.pages(q.op, func(page sdk.ListOptions) (resp *sdk.Response, n int, more bool, err error) {
		var some []*sdk.Status
		err = q.do(ctx, q.op, func(api *sdk.Client) (*sdk.Response, error) {
			some, resp, err = api.ListStatuses(q.pull.Repo.Owner, q.pull.Repo.Name, q.pull.Head.SHA, sdk.ListStatusesOption{ListOptions: page})
			return resp, err
		})
		for _, s := range some {
			if s != nil && (newest[s.Context] == nil || newest[s.Context].ID < s.ID) {
				newest[s.Context] = s
			}
		}
		return resp, len(some), true, err
	})
	states := map[string]sdk.StatusState{}
	for name, s := range newest {
		states[name] = s.State
	}
	return states, err
}

// reviews looks at those that the forge counts: who reviewed could write, or is on the branch's list.
func (q *question) reviews(ctx context.Context, approvals int64, rules *sdk.BranchProtection) error {
	all, err := q.listReviews(ctx, q.op, q.pull)
	if err != nil {
		return err
	}
	var has int64
	for _, r := range all {
		if !r.Official || r.Dismissed {
			continue
		}
		switch {
		case r.State == sdk.ReviewStateApproved:
			has++
		case r.State == sdk.ReviewStateRequestChanges && rules.BlockOnRejectedReviews:
			q.against("%s asks for changes", rest.Quote(q.kin.Author(login(r.Reviewer))))
		case r.State == sdk.ReviewStateRequestReview && rules.BlockOnOfficialReviewRequests:
			q.against("a review that was asked for is missing")
		}
	}
	if has < approvals {
		q.against("it has %d of the %d approvals that %s requires", has, approvals, rest.Quote(q.pull.Base.Ref))
	}
	return nil
}

// dependencies looks at what the pull request waits for. A repository that has none of these says that they are not
// found.
func (q *question) dependencies(ctx context.Context) error {
	err := q.pages(q.op, func(page sdk.ListOptions) (resp *sdk.Response, n int, more bool, err error) {
		var some []*sdk.Issue
		err = q.do(ctx, q.op, func(api *sdk.Client) (*sdk.Response, error) {
			some, resp, err = api.ListIssueDependencies(q.pull.Repo.Owner, q.pull.Repo.Name, int64(q.pull.Number), sdk.ListIssueDependenciesOptions{ListOptions: page})
			return resp, err
		})
		for _, i := range some {
			if i != nil && i.State == sdk.StateOpen {
				q.against("it depends on #%d, which is open", i.Index)
			}
		}
		return resp, len(some), true, err
	})
	if errors.Is(err, vcs.ErrNotFound) {
		return nil
	}
	return err
}

// glob finds what has a meaning of its own in a pattern for statuses.
var glob = regexp.MustCompile(`\\.|\*+|\?|\[!?[^\]]+\]|[{},]`)

// matches reports whether a pattern of a branch's rules means a status. A star means slashes as well; a pattern
// that can't be read means none.
func matches(pattern, name string) bool {
	var re strings.Builder
	depth, from := 0, 0
	for _, at := range glob.FindAllStringIndex(pattern, -1) {
		re.WriteString(regexp.QuoteMeta(pattern[from:at[0]]))
		from = at[1]
		re.WriteString(meaning(pattern[at[0]:at[1]], &depth))
	}
	re.WriteString(regexp.QuoteMeta(pattern[from:]))
	compiled, err := regexp.Compile("^(?s:" + re.String() + ")$")
	return err == nil && compiled.MatchString(name)
}

// meaning is a piece of a pattern as a regular expression. depth counts the braces that are open.
func meaning(piece string, depth *int) string {
	switch {
	case piece[0] == '\\':
		return regexp.QuoteMeta(piece[1:])
	case piece[0] == '*':
		return ".*"
	case piece == "?":
		return "."
	case piece[0] == '[':
		return strings.Replace(piece, "[!", "[^", 1)
	case piece == "{":
		*depth++
		return "(?:"
	case piece == "}" && *depth > 0:
		*depth--
		return ")"
	case piece == "," && *depth > 0:
		return "|"
	}
	return regexp.QuoteMeta(piece)
}
