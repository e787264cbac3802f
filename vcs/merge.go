package vcs

import "context"

// MergeMethod is how a pull request is merged.
type MergeMethod string

// The methods by the names that forges have for them.
const (
	// DefaultMethod is the repository's: what it is set to, or the first of a merge commit, a rebase and a squash that
	// it allows.
	DefaultMethod MergeMethod = ""
	MergeCommit   MergeMethod = "merge"
	MergeRebase   MergeMethod = "rebase"
	MergeSquash   MergeMethod = "squash"
)

// Merger is a forge that merges.
type Merger interface {
	// MergeMethods are those that can be asked for here, beside DefaultMethod.
	MergeMethods() []MergeMethod
	// Mergeable says whether the forge would merge the pull request's head now. Statuses whose context is ours are left
	// out: they wait for what asks. While the forge is still working it out it is asked again, for up to 30 s; what it has
	// not said by then is MergeUnknown.
	Mergeable(ctx context.Context, pull Pull, ours func(context string) bool) (Mergeable, error)
	// Merge merges pull.Head.SHA and nothing else. It is not tried again: the caller looks first. A *NotMergedError says
	// why the forge has not done it. A pull request that is merged at that head is no error: what is left of the work is
	// done, such as the branch.
	Merge(ctx context.Context, pull Pull, how Merging) error
}

// Merging is how it is to be merged.
type Merging struct {
	Method MergeMethod
	// DeleteBranch deletes the head's branch after it, unless it has moved on, is in another repository, is protected, or
	// is what an open pull request is based on. That it could not be deleted is no error. Without it the branch stays,
	// whatever the repository or the pull request are set to; but GitHub's "Automatically delete head branches" can't be
	// overruled.
	DeleteBranch bool
}

// MergeState is what a forge says about merging.
type MergeState string

// The states.
const (
	MergeReady   MergeState = "ready"
	MergeBlocked MergeState = "blocked"
	MergeUnknown MergeState = "unknown"
)

// Mergeable is whether a pull request can be merged.
type Mergeable struct {
	State MergeState
	// Why is what is in the way, each in words for people that begin in lower case and end without a full stop. What they
	// quote of the forge (a name, its own words) stands between backticks and has none itself. There are at most 10 and one
	// that says how many more, of at most 300 bytes each.
	Why []string
}

// NotMergedError is why a forge has not merged. It wraps ErrRefused unless Again.
type NotMergedError struct {
	// Reason is in words for people, as Mergeable.Why, of at most 4 KiB.
	Reason string
	// Again: it may go through soon, when the pull request was read again. The forge is still working it out, or the base
	// has moved meanwhile.
	Again bool
	// Moved: the head is not the one that was to be merged.
	Moved bool
}

func (e *NotMergedError) Error() string { return "not merged: " + e.Reason }

// Unwrap says whether trying again is of use.
func (e *NotMergedError) Unwrap() error {
	if e.Again {
		return nil
	}
	return ErrRefused
}
