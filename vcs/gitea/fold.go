package gitea

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
)

const (
	foldHead = "<details><summary>Outdated</summary>\n\n"
	foldTail = "\n\n</details>\n\n"
)

// Fold puts the text of comments into a block that opens on a click: the forge cannot hide them. Each is read first,
// so that none is folded twice; one that is gone is no error.
func (c *Client) Fold(ctx context.Context, pull vcs.Pull, comments []vcs.Comment) error {
	const op = "folding comments"
	if err := c.kin.Ours(pull.Repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	for _, k := range comments {
		if err := c.fold(ctx, op, pull, k.ID); err != nil && !errors.Is(err, vcs.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (c *Client) fold(ctx context.Context, op string, pull vcs.Pull, id int64) error {
	var got *sdk.Comment
	err := c.do(ctx, op, func(api *sdk.Client) (resp *sdk.Response, err error) {
		got, resp, err = api.GetIssueComment(pull.Repo.Owner, pull.Repo.Name, id)
		return resp, err
	})
	if err != nil {
		return err
	}
	if got == nil || got.ID != id {
		return fmt.Errorf("%s: the forge's answer is another comment than %d", op, id)
	}
	if strings.HasPrefix(got.Body, foldHead) {
		return nil
	}
	return c.edit(ctx, op, pull, id, folded(got.Body))
}

// lastNote is an HTML comment at the end of a text: what a comment is recognised by.
var lastNote = regexp.MustCompile(`<!--[^<>]*-->\s*$`)

// folded wraps a text. What it is recognised by stays at its end.
func folded(body string) string {
	note := lastNote.FindString(body)
	return foldHead + strings.TrimSpace(strings.TrimSuffix(body, note)) + foldTail + note
}
