package forgetest

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tidegate/tidegate/vcs"
)

// Merges are a forge's answers about a pull request that is merged at a commit of 40 times a, out of which come the cases
// that are the same for all forges that are asked how it stands before a merge and after a refusal.
type Merges struct {
	// Open, Closed, Merged and Moved are the pull request. Moved has another head.
	Open, Closed, Merged, Moved Step
	// Before is what else is read before the merge is asked for.
	Before []Step
	// Done and Refused are what is said to the merge, Fault and Missing to anything.
	Done, Refused, Fault, Missing Step
}

// MergeCase is a merge with what comes of it.
type MergeCase struct {
	Steps []Step
	// Want is nil where Err is one of vcs's, or where it is merged.
	Want *vcs.NotMergedError
	Err  error
}

// Run merges in fake time: by each answer as in the cases of all forges, and as in those of one.
func (m Merges) Run(t *testing.T, own map[string]MergeCase, merge func(ctx context.Context, transport http.RoundTripper) error) {
	t.Helper()
	asked := func(answers ...Step) []Step { return slices.Concat([]Step{m.Open}, m.Before, answers) }
	closed := &vcs.NotMergedError{Reason: "it is closed"}
	moved := &vcs.NotMergedError{Moved: true, Reason: "its head is not " + strings.Repeat("a", 7) + " any more"}
	all := map[string]MergeCase{
		"merged":                     {Steps: asked(m.Done)},
		"merged before":              {Steps: []Step{m.Merged}},
		"merged meanwhile":           {Steps: asked(m.Refused, m.Merged)},
		"closed":                     {Steps: []Step{m.Closed}, Want: closed},
		"closed meanwhile":           {Steps: asked(m.Refused, m.Closed), Want: closed},
		"moved":                      {Steps: []Step{m.Moved}, Want: moved},
		"moved meanwhile":            {Steps: asked(m.Refused, m.Moved), Want: moved},
		"no answer":                  {Steps: asked(Cut(errors.New("reset"))), Err: vcs.ErrInDoubt},
		"a fault":                    {Steps: asked(m.Fault), Err: vcs.ErrInDoubt},
		"not there":                  {Steps: []Step{m.Missing}, Err: vcs.ErrNotFound},
		"refused, and then not read": {Steps: asked(m.Refused, m.Missing), Err: vcs.ErrNotFound},
	}
	for name := range own {
		if _, twice := all[name]; twice {
			t.Fatalf("the case %q is every forge's", name)
		}
	}
	maps.Copy(all, own)
	for name, tt := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &Script{Steps: tt.Steps}
				CheckMerge(t, merge(t.Context(), s), tt.Want, tt.Err)
				s.CheckSent(t, len(tt.Steps))
			})
		})
	}
}
