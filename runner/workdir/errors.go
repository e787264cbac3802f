package workdir

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnauthorized means that the forge wants another user or password than the one it got, or any at all.
var ErrUnauthorized = errors.New("the forge refused the credential")

// ErrTooLarge means that a file or a listing is beyond what is read into memory.
var ErrTooLarge = errors.New("too large")

// ErrUnrelated means that head and base have no commit in common: a branch was begun anew, say.
var ErrUnrelated = errors.New("head and base have no history in common")

// ErrClosed means that the Store was closed.
var ErrClosed = errors.New("closed")

// IsGit reports that a git process has failed, which does not always say why.
func IsGit(err error) bool {
	_, ok := errors.AsType[*gitError](err)
	return ok
}

// ConflictError says that head cannot be merged into base. Files is sorted, and hostile.
type ConflictError struct{ Files []string }

func (e *ConflictError) Error() string {
	const most = 5
	var names []string
	for _, f := range e.Files[:min(most, len(e.Files))] {
		names = append(names, fmt.Sprintf("%q", f))
	}
	if n := len(e.Files) - most; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return "merge conflict in " + strings.Join(names, ", ")
}

// MovedError says that the pull request's head is another commit than the one asked for.
type MovedError struct{ Want, Got string }

func (e *MovedError) Error() string {
	return fmt.Sprintf("the head is at %s, not at %s", e.Got, e.Want)
}

// RefGoneError says that the remote has no such ref: the base branch was deleted, say.
type RefGoneError struct{ Ref string }

func (e *RefGoneError) Error() string { return fmt.Sprintf("the remote has no ref %q", e.Ref) }

// EscapeError says that Path leads out of the tree, because Link points to Target. Link is empty when
// the path itself does.
type EscapeError struct{ Path, Link, Target string }

func (e *EscapeError) Error() string {
	if e.Link == "" {
		return fmt.Sprintf("%q leads out of the repository", e.Path)
	}
	return fmt.Sprintf("%q leads out of the repository: %q is a link to %q", e.Path, e.Link, e.Target)
}
