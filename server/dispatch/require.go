package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/vcs"
)

// requirements asks once what the projects of one apply require.
type requirements struct {
	*Engine
	scene
	approval  *vcs.Approval
	mergeable *vcs.Mergeable
}

// unmet answers what an apply of a project still requires, or nil; its why is a sentence in which foreign words stand
// between backticks. What the operator requires holds whatever the pull request's own files say; they can only add to
// it. Undiverged is not asked for: a plan that is fresh is of what is on the base now.
func (r *requirements) unmet(ctx context.Context, p project.Project) (*refusal, error) {
	for _, one := range []struct {
		word string
		ask  func(context.Context) (state, why string, err error)
	}{{project.Approved, r.notApproved}, {project.Mergeable, r.notMergeable}} {
		if !r.requires(p, one.word) {
			continue
		}
		state, why, err := one.ask(ctx)
		if err != nil {
			return nil, err
		}
		if state != "" {
			return &refusal{project: identity(p), state: state, why: why}, nil
		}
	}
	return nil, nil
}

func (r *requirements) requires(p project.Project, word string) bool {
	return slices.Contains(r.Options.ApplyRequirements, word) || slices.Contains(p.ApplyRequirements, word)
}

func (r *requirements) notApproved(ctx context.Context) (state, why string, err error) {
	if r.approval == nil {
		a, ok := r.forge.(vcs.Approver)
		if !ok {
			return "", "", errors.New("this forge has no reviews, but `approved` is required")
		}
		got, err := a.Approval(ctx, r.pull)
		if err != nil {
			return "", "", fmt.Errorf("reading reviews: %w", err)
		}
		r.approval = &got
	}
	switch {
	case r.approval.Approved:
		return "", "", nil
	case len(r.approval.Against) > 0:
		return "not approved", "changes are requested by " + quoted(r.approval.Against...), nil
	default:
		return "not approved", "it needs an approving review", nil
	}
}

func (r *requirements) notMergeable(ctx context.Context) (state, why string, err error) {
	if r.mergeable == nil {
		m, ok := r.forge.(vcs.Merger)
		if !ok {
			return "", "", errors.New("this forge merges nothing, but `mergeable` is required")
		}
		got, err := m.Mergeable(ctx, r.pull, r.ourStatus)
		if err != nil {
			return "", "", fmt.Errorf("reading whether it can be merged: %w", err)
		}
		r.mergeable = &got
	}
	switch r.mergeable.State {
	case vcs.MergeReady:
		return "", "", nil
	case vcs.MergeUnknown:
		return "not mergeable", "the forge has not worked out yet whether it can be merged; ask again in a moment", nil
	case vcs.MergeBlocked:
	}
	return "not mergeable", strings.Join(r.mergeable.Why, "; "), nil
}

// ourStatus: what waits for an apply can't be what an apply waits for.
func (e *Engine) ourStatus(context string) bool {
	return context == e.Options.Name+"/"+cmdPlan || context == e.Options.Name+"/"+cmdApply
}

// quoted puts foreign words between backticks, for a sentence of ours.
func quoted(words ...string) string {
	var out []string
	for _, w := range words {
		out = append(out, "`"+unquoted(w)+"`")
	}
	return strings.Join(out, ", ")
}

// unquoted takes the backticks away, for where a sentence is shown as it is.
func unquoted(s string) string { return strings.ReplaceAll(s, "`", "") }
