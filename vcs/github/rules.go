package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// branch is what everybody who may read is told of a branch.
type branch struct {
	Commit struct {
		SHA string `json:"sha"`
	} `json:"commit"`
	Protected  bool `json:"protected"`
	Protection struct {
		Checks struct {
			Contexts []string        `json:"contexts"`
			Checks   []requiredCheck `json:"checks"`
		} `json:"required_status_checks"`
	} `json:"protection"`
}

// requiredCheck is one of a branch's protection. App is null or -1 where everybody's counts.
type requiredCheck struct {
	Context string `json:"context"`
	App     int64  `json:"app_id"`
}

func (c *Client) branch(ctx context.Context, op string, repo vcs.Repo, name string) (branch, error) {
	var got branch
	if err := c.get(ctx, op, c.path(repo, "branches", name), &got); err != nil {
		return branch{}, err
	}
	if !rest.IsSHA(got.Commit.SHA) { // what it requires would seem to be nothing
		return branch{}, fmt.Errorf("%s: the forge's answer is no branch", op)
	}
	return got, nil
}

// rules are what rulesets ask of a branch.
type rules struct {
	kinds []string
	// needs are the statuses and checks that must be successful.
	needs []need
	// strict: only what has all of the base is merged. resolved: only what has no conversation that is not resolved.
	strict, resolved bool
	// methods are the ways of merging that each rule about them has.
	methods [][]vcs.MergeMethod
}

func (r rules) has(kind string) bool { return slices.Contains(r.kinds, kind) }

func (r rules) allow(m vcs.MergeMethod) bool {
	for _, some := range r.methods {
		if !slices.Contains(some, m) {
			return false
		}
	}
	return m != vcs.MergeCommit || !r.has("required_linear_history")
}

// rules reads what rulesets ask of a pull request's base. A server that knows no rulesets answers that there is nothing,
// and a plan without them that they are not to be had: there are no rules then.
// https://docs.github.com/rest/repos/rules#get-rules-for-a-branch
func (c *Client) rules(ctx context.Context, op string, pull vcs.Pull) (rules, error) {
	var all rules
	err := c.pages(op, func(page gh.ListOptions) (resp *gh.Response, err error) {
		q := url.Values{"per_page": {strconv.Itoa(page.PerPage)}, "page": {strconv.Itoa(page.Page)}}
		path := c.path(pull.Repo, "rules/branches", pull.Base.Ref) + "?" + q.Encode()
		var some []rule
		err = c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
			req, err := c.api.NewRequest(http.MethodGet, path, nil)
			if err != nil {
				return nil, err
			}
			resp, err = c.api.Do(ctx, req, &some)
			return resp, err
		})
		for _, r := range some {
			if err := all.add(r); err != nil {
				return nil, fmt.Errorf("%s: the forge's answer: a rule of %s: %w", op, pull.Base.Ref, err)
			}
		}
		return resp, err
	})
	if isNotFound(err) || errors.Is(err, vcs.ErrRefused) {
		return rules{}, nil
	}
	return all, err
}

// rule is one of a branch. What its parameters are depends on its type.
type rule struct {
	Type       string          `json:"type"`
	Parameters json.RawMessage `json:"parameters"`
}

func (r *rules) add(one rule) error {
	r.kinds = append(r.kinds, one.Type)
	switch one.Type {
	case "required_status_checks":
		var p struct {
			Checks []struct {
				Context string `json:"context"`
				App     int64  `json:"integration_id"`
			} `json:"required_status_checks"`
			Strict bool `json:"strict_required_status_checks_policy"`
		}
		if err := json.Unmarshal(one.Parameters, &p); err != nil {
			return err
		}
		for _, check := range p.Checks {
			r.needs = append(r.needs, need{name: check.Context, app: max(check.App, 0)})
		}
		r.strict = r.strict || p.Strict
	case "pull_request":
		var p struct {
			Methods  []vcs.MergeMethod `json:"allowed_merge_methods"`
			Resolved bool              `json:"required_review_thread_resolution"`
		}
		if err := json.Unmarshal(one.Parameters, &p); err != nil {
			return err
		}
		r.resolved = r.resolved || p.Resolved
		if len(p.Methods) > 0 { // an older server does not tell
			r.methods = append(r.methods, p.Methods)
		}
	}
	return nil
}
