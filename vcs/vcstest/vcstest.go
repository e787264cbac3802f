// Package vcstest is the story that every forge client passes: a pull request is read, talked about,
// given statuses, reviewed, and its comments are folded away.
//
// It knows no forge. A Kit brings the client together with ways to set facts on the forge's own
// side and to look at them there, past the client.
//
// Start with Exercise.
package vcstest

import (
	"context"
	"testing"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

// patience bounds a whole exercise: it is for hangs.
const patience = 2 * time.Minute

// Kit is a client with a repository and an open pull request that the exercise may do anything to.
type Kit struct {
	Forge vcs.Forge
	// Pull is how the pull request must read: open, made by Author, its head on a branch of the
	// same repository.
	Pull vcs.Pull
	// Bot is the account that the client is.
	Bot string
	// Author and Writer may write to the repository, Admin may administer it, Reader may read it,
	// and the forge knows Stranger who may do nothing; "" where everybody may read.
	Author, Writer, Admin, Reader, Stranger string

	// ByID says that the forge finds a repository by its id, whatever name it is asked for with.
	ByID bool

	// Comment posts a comment as a user and answers its id.
	Comment func(t testing.TB, user, body string) int64
	// Conversation is every comment of the pull request, oldest first, as the forge has it.
	Conversation func(t testing.TB) []Remark
	// Statuses are the latest statuses of a commit by context, as the forge has them.
	Statuses func(t testing.TB, sha string) map[string]vcs.Status
	// Push moves the pull request's head and answers the new commit.
	Push func(t testing.TB) string
	// Close closes the pull request without merging it.
	Close func(t testing.TB)

	// Hooker is a client whose account administers the repository. Forge's does not, unless it is the same. nil where the
	// client is no vcs.Hooker.
	Hooker vcs.Hooker

	// Review reviews as a user and answers the review's id. nil where the client is no
	// vcs.Approver.
	Review func(t testing.TB, user string, verdict Verdict) int64
	// Dismiss dismisses a review. nil where the forge can't.
	Dismiss func(t testing.TB, review int64)
	// Folded counts the folded comments. nil where Remark.Folded says which they are.
	Folded func(t testing.TB) int
	// Another opens another pull request from a branch of its own that can be merged, with a commit of its own. nil where
	// the client is no vcs.Merger, or another kit shows that it is. Needed with it is BranchSHA: where a branch stands, ""
	// when it is gone.
	Another   func(t testing.TB) vcs.Pull
	BranchSHA func(t testing.TB, branch string) string
	// Require lets the base branch take only heads that have successful statuses of these contexts; none is no rule. nil
	// where the forge can't.
	Require func(t testing.TB, contexts ...string)
	// Clash moves the base branch so that the pull request has conflicts with it. nil where the forge can't.
	Clash func(t testing.TB, p vcs.Pull)
	// Lock locks or unlocks the conversation for all, the bot included. nil where the forge can't.
	Lock func(t testing.TB, locked bool)
}

// Remark is a comment as the forge has it.
type Remark struct {
	ID           int64
	Author, Body string
	// Folded says that it is hidden as outdated. It is not looked at where Kit.Folded counts.
	Folded bool
	// Reactions counts them by name. nil where the forge does not tell.
	Reactions map[string]int
}

// Verdict is what a review says.
type Verdict string

// The verdicts.
const (
	Approve        Verdict = "approve"
	RequestChanges Verdict = "request changes"
	Remarks        Verdict = "remarks"
)

// Exercise tells the whole story. Its chapters build on each other.
func Exercise(t *testing.T, k Kit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, chapter := range []struct {
		name string
		tell func(*story)
	}{
		{"pull", (*story).pull},
		{"comments", (*story).comments},
		{"comments since", (*story).since},
		{"comment pages", (*story).commentPages},
		{"comment limits", (*story).limits},
		{"statuses", (*story).statuses},
		{"permission", (*story).permission},
		{"approval", (*story).approval},
		{"fold", (*story).fold},
		{"react", (*story).react},
		{"clone", (*story).clone},
		{"site", (*story).site},
		{"token", (*story).token},
		{"webhooks", (*story).webhooks},
		{"merging", (*story).merging},
		{"elsewhere", (*story).elsewhere},
		{"cancelled", (*story).cancelled},
		{"locked", (*story).locked},
		{"closed", (*story).closed},
	} {
		t.Run(chapter.name, func(t *testing.T) { chapter.tell(&story{T: t, Kit: k, ctx: ctx}) })
	}
}

// story is one chapter being told.
type story struct {
	*testing.T
	Kit
	ctx context.Context
}
