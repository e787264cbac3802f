package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// need is a status or a check run that must be successful.
type need struct {
	name string
	// app is the id of the App that it must be of. Where it is not positive, everybody's counts.
	app int64
}

func (n need) String() string {
	if n.app > 0 {
		return fmt.Sprintf("%s of the App with the id %d", rest.Quote(n.name), n.app)
	}
	return rest.Quote(n.name)
}

// neededBy are what the protection and the rulesets of a branch require, in the order of their names.
func neededBy(base branch, r rules) []need {
	all := slices.Clone(r.needs)
	for _, check := range base.Protection.Checks.Checks {
		all = append(all, need{name: check.Context, app: max(check.App, 0)})
	}
	for _, name := range base.Protection.Checks.Contexts {
		// The same once more, without the Apps; older servers tell this alone.
		if !slices.ContainsFunc(base.Protection.Checks.Checks, func(of requiredCheck) bool { return of.Context == name }) {
			all = append(all, need{name: name})
		}
	}
	slices.SortFunc(all, func(a, b need) int { return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.app, b.app)) })
	return slices.Compact(all)
}

// report is a status or a check run. app is the id of the App that made it, 0 where that is not known.
type report struct {
	state vcs.StatusState
	app   int64
}

// reports are those at a head by their names.
type reports map[string][]report

// state is what they say about a need: of several, such as a status and a check run with one name, all must be successful.
func (r reports) state(n need) (state vcs.StatusState, known bool) {
	for _, one := range r[n.name] {
		if n.app > 0 && one.app != n.app {
			continue
		}
		if known = true; state == "" || state == vcs.Success {
			state = one.state
		}
	}
	return state, known
}

// unmet tells which of the needs are not met, and whether one of ours is among them. What is ours is not told.
func (c *Client) unmet(ctx context.Context, op string, pull vcs.Pull, needs []need, ours func(string) bool) (why []string, own bool, err error) {
	if len(needs) == 0 {
		return nil, false, nil
	}
	all, err := c.statuses(ctx, op, pull)
	if err != nil {
		return nil, false, err
	}
	hidden := false
	if slices.ContainsFunc(needs, func(n need) bool { return !c.isOurs(n, ours) }) {
		if hidden, err = c.checks(ctx, op, pull, all); err != nil {
			return nil, false, err
		}
	}
	for _, n := range needs {
		state, known := all.state(n)
		switch {
		case known && state == vcs.Success:
		case c.isOurs(n, ours):
			own = true
		case known && state == vcs.Failure:
			why = append(why, n.String()+" is required and has failed")
		case known:
			why = append(why, n.String()+" is required and is not done yet")
		case hidden:
			why = append(why, n.String()+" is required, and whether it is successful the account may not see (permission Checks: read)")
		default:
			why = append(why, n.String()+" is required and has not been reported")
		}
	}
	return why, own, nil
}

// isOurs reports whether we set what is needed. What must be of another App is not met by a status of ours.
func (c *Client) isOurs(n need, ours func(string) bool) bool {
	return ours(n.name) && (n.app <= 0 || c.app != nil && c.app.ID == n.app)
}

// statuses are those at the head.
func (c *Client) statuses(ctx context.Context, op string, pull vcs.Pull) (reports, error) {
	all := reports{}
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
			all[s.GetContext()] = append(all[s.GetContext()], report{stateOf(s.GetState()), appOf(s.GetAvatarURL())})
		}
		return resp, nil
	})
	return all, err
}

// appOf is the id of the App whose avatar that is, 0 of anything else: nothing else in a status tells of the App that
// has set it. Users' are at u/ID, Apps' at in/ID, which may stand below a server's own path.
func appOf(avatar string) int64 {
	u, err := url.Parse(avatar)
	if err != nil {
		return 0
	}
	dir, id := path.Split(u.Path)
	n, err := strconv.ParseInt(id, 10, 64)
	if !strings.HasSuffix(dir, "/in/") || err != nil {
		return 0
	}
	return n
}

// checks adds the check runs at the head. It reports whether they are hidden from the account.
func (c *Client) checks(ctx context.Context, op string, pull vcs.Pull, all reports) (hidden bool, err error) {
	err = c.pages(op, func(page gh.ListOptions) (resp *gh.Response, err error) {
		var some *gh.ListCheckRunsResults
		err = c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
			opts := &gh.ListCheckRunsOptions{ListOptions: page}
			some, resp, err = c.api.Checks.ListCheckRunsForRef(ctx, pull.Repo.Owner, pull.Repo.Name, pull.Head.SHA, opts)
			return resp, err
		})
		switch {
		case err != nil:
			return resp, err
		case some == nil:
			return nil, fmt.Errorf("%s: the forge's answer is no list of check runs", op)
		}
		for _, run := range some.CheckRuns {
			all[run.GetName()] = append(all[run.GetName()], report{stateOf(run.GetConclusion()), run.GetApp().GetID()})
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

// behind reports whether the base has commits that the head does not have.
func (c *Client) behind(ctx context.Context, op string, pull vcs.Pull, base branch) (bool, error) {
	var got struct {
		By int `json:"behind_by"`
	}
	err := c.get(ctx, op, c.path(pull.Repo, "compare/"+base.Commit.SHA+"..."+pull.Head.SHA)+"?per_page=1", &got)
	if isNotFound(err) { // one of them is gone
		return false, nil
	}
	return got.By > 0, err
}
