package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// foldedHead is how a note begins that is folded.
const foldedHead = "<details>\n<summary>Outdated</summary>\n\n"

// Fold edits notes into a block that is closed until somebody opens it: GitLab can't hide a note. One that is folded
// already, or gone, is left as it is.
func (c *Client) Fold(ctx context.Context, pull vcs.Pull, comments []vcs.Comment) error {
	const op = "folding notes"
	if err := c.ours(pull.Repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	for _, k := range comments {
		var now note
		err := c.get(ctx, op, notePath(pull, k.ID), nil, &now)
		if err == nil && !strings.HasPrefix(now.Body, foldedHead) {
			err = c.send(ctx, op, pull.Repo.ID, rest.Same, http.MethodPut, notePath(pull, k.ID), noteText{noCommands(fold(now.Body))}, nil)
		}
		if err != nil && !errors.Is(err, vcs.ErrNotFound) {
			return err
		}
	}
	return nil
}

// fold closes a text up. An HTML comment that it ends with stays its end: notes are found by it.
func fold(body string) string {
	body = strings.TrimRight(body, " \t\r\n")
	mark := regexp.MustCompile(`<!-- [^<>]* -->$`).FindString(body)
	return strings.TrimRight(foldedHead+strings.TrimSuffix(body, mark), "\r\n") + strings.TrimRight("\n\n</details>\n\n"+mark, "\n")
}
