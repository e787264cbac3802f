package terraform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// maxShow bounds the answer of `show -json` that is read.
const maxShow = 256 << 20

// ShowPlan asks terraform itself for the facts of a plan file, in one more process: the way for plan
// formats that ReadPlan does not know. The answer holds secrets in clear, so its step directory is
// removed before it returns.
func (c Command) ShowPlan(ctx context.Context, planFile string) (facts PlanFacts, err error) {
	c.LogLimit = maxShow
	defer func() { err = errors.Join(err, os.RemoveAll(c.StepDir)) }()
	exit, err := c.show(ctx, planFile)
	switch {
	case err != nil:
		return PlanFacts{}, err
	case !exit.Known:
		return PlanFacts{}, fmt.Errorf("terraform show: %w", ErrNotSeen)
	case !exit.ok() || exit.Truncated:
		return PlanFacts{}, fmt.Errorf("%w: terraform show ended with code %d", ErrNotPlan, exit.Code)
	}
	log, err := c.Log(maxShow)
	if err != nil {
		return PlanFacts{}, err
	}
	return parseShow(log)
}

// parseShow finds the plan in what `show -json` printed, between warnings on standard error.
func parseShow(log string) (PlanFacts, error) {
	for line := range strings.SplitSeq(log, "\n") {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var plan tfjson.Plan
		if err := plan.UnmarshalJSON([]byte(line)); err != nil {
			return PlanFacts{}, fmt.Errorf("%w: %w", ErrNotPlan, err)
		}
		return factsOf(plan), nil
	}
	return PlanFacts{}, fmt.Errorf("%w: terraform show printed none", ErrNotPlan)
}

func factsOf(plan tfjson.Plan) PlanFacts {
	facts := PlanFacts{TerraformVersion: plan.TerraformVersion, Changes: Changes{Known: true}}
	for _, rc := range plan.ResourceChanges {
		if r, ok := resourceOf(rc); ok {
			facts.Resources = append(facts.Resources, r)
			facts.Changes.count(r)
		}
	}
	for _, output := range plan.OutputChanges {
		facts.Changes.Outputs = facts.Changes.Outputs || !output.Actions.NoOp()
	}
	slices.SortFunc(facts.Resources, compareResources)
	return facts
}

func resourceOf(rc *tfjson.ResourceChange) (Resource, bool) {
	if rc == nil || rc.Change == nil {
		return Resource{}, false
	}
	r := Resource{Address: rc.Address, Deposed: rc.DeposedKey, Imported: rc.Change.Importing != nil}
	switch a := rc.Change.Actions; {
	case a.Create():
		r.Action = Create
	case a.Read():
		r.Action = Read
	case a.Update():
		r.Action = Update
	case a.Delete():
		r.Action = Delete
	case a.Replace() || len(a) == 2: // create and forget is a replacement that leaves the old object
		r.Action = Replace
	case a.Forget():
		r.Action = Forget
	case r.Imported:
		r.Action = Import
	case rc.PreviousAddress != "" && rc.PreviousAddress != rc.Address:
		r.Action = Move
	default:
		return Resource{}, false
	}
	for _, path := range rc.Change.ReplacePaths {
		if steps, ok := path.([]any); ok {
			r.ForcedBy = append(r.ForcedBy, pathOf(steps))
		}
	}
	slices.Sort(r.ForcedBy)
	return r, true
}

func pathOf(steps []any) string {
	var b strings.Builder
	for i, step := range steps {
		switch v := step.(type) {
		case string:
			// show -json does not tell an attribute from a key.
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(v)
		case float64:
			b.WriteString("[" + strconv.FormatFloat(v, 'f', -1, 64) + "]")
		default:
			b.WriteString("[...]")
		}
	}
	return b.String()
}
