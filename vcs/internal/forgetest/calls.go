package forgetest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

// Calls are calls of a client about one pull request, for a Try.
type Calls struct{ Pull vcs.Pull }

// Create posts a comment, which must come back with the id 5.
func (c Calls) Create(ctx context.Context, f vcs.Forge) error {
	got, err := f.CreateComment(ctx, c.Pull, "hi")
	if err == nil && got.ID != 5 {
		return fmt.Errorf("comment %d, want 5", got.ID)
	}
	return err
}

// Edit edits comment 5.
func (c Calls) Edit(ctx context.Context, f vcs.Forge) error {
	return f.EditComment(ctx, c.Pull, 5, "hi")
}

// Remove deletes comment 5.
func (c Calls) Remove(ctx context.Context, f vcs.Forge) error {
	return f.DeleteComment(ctx, c.Pull, 5)
}

// Status sets a status of a commit.
func (c Calls) Status(ctx context.Context, f vcs.Forge) error {
	return f.SetStatus(ctx, c.Pull.Repo, strings.Repeat("a", 40), vcs.Status{Context: "x", State: vcs.Success})
}

// List lists the comments.
func (c Calls) List(ctx context.Context, f vcs.Forge) error {
	_, err := f.Comments(ctx, c.Pull, time.Time{})
	return err
}

// Read reads the pull request.
func (c Calls) Read(ctx context.Context, f vcs.Forge) error {
	_, err := f.Pull(ctx, c.Pull.Repo, c.Pull.Number)
	return err
}
