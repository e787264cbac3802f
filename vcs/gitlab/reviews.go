package gitlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// user is what is read of one.
type user struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
	State    string `json:"state"`
}

// Permission asks what a user may do: as a member of the project, or of a group that it belongs to or was shared with.
func (c *Client) Permission(ctx context.Context, repo vcs.Repo, name string) (vcs.Permission, error) {
	const op = "asking for a user's permission"
	if err := c.ours(repo); err != nil {
		return vcs.NoPermission, fmt.Errorf("%s: %w", op, err)
	}
	if !isUser(name) {
		return vcs.NoPermission, nil
	}
	var all []user
	if err := c.get(ctx, op, "users", struct {
		Username string `url:"username"`
	}{name}, &all); err != nil {
		return vcs.NoPermission, err
	}
	for _, u := range all {
		if strings.EqualFold(u.Username, name) && u.ID > 0 {
			return c.permission(ctx, op, repo, u.ID)
		}
	}
	return vcs.NoPermission, nil
}

func (c *Client) permission(ctx context.Context, op string, repo vcs.Repo, id int64) (vcs.Permission, error) {
	var member struct {
		user
		AccessLevel int `json:"access_level"`
		// Membership is told where a group has a limit of members, by newer versions.
		Membership string `json:"membership_state"`
		Expires    *day   `json:"expires_at"`
	}
	resp, err := c.readPage(ctx, op, fmt.Sprintf("%s/members/all/%d", projectPath(repo), id), nil, &member)
	switch {
	case errors.Is(err, vcs.ErrNotFound):
		return vcs.NoPermission, nil
	case err != nil:
		return vcs.NoPermission, err
	case member.ID != id:
		return vcs.NoPermission, fmt.Errorf("%s: asked for the user %d, the forge answers with %d", op, id, member.ID)
	case member.State != "active" || member.Membership != "" && member.Membership != "active": // blocked, or still to be approved
		return vcs.NoPermission, nil
	// GitLab takes it away some hours later only.
	case member.Expires != nil && !rest.Clock(resp.Header).Before(member.Expires.Time):
		return vcs.NoPermission, nil
	}
	return accessLevel(member.AccessLevel), nil
}

// day is the beginning of one, or a time within it.
type day struct{ time.Time }

// UnmarshalJSON reads a string.
func (d *day) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	var err error
	if d.Time, err = time.Parse(time.DateOnly, s); err != nil {
		d.Time, err = time.Parse(time.RFC3339, s)
	}
	return err
}

// accessLevel reads GitLab's numbers. A role that somebody made up has the number of the role it adds to.
// https://docs.gitlab.com/api/access_requests/#valid-access-levels
func accessLevel(n int) vcs.Permission {
	switch {
	case n >= 40: // maintainer, owner, administrator
		return vcs.AdminPermission
	case n >= 30: // developer
		return vcs.WritePermission
	case n >= 10: // guest, planner, reporter
		return vcs.ReadPermission
	default: // minimal access, none
		return vcs.NoPermission
	}
}

// Approval reads who approves and who asks for changes. GitLab itself takes approvals back when commits come, where a
// project is set so. Where its rules want more approvals than there are it is not approved.
func (c *Client) Approval(ctx context.Context, pull vcs.Pull) (vcs.Approval, error) {
	const op = "reading approvals"
	if err := c.ours(pull.Repo); err != nil {
		return vcs.Approval{}, fmt.Errorf("%s: %w", op, err)
	}
	var approvals struct {
		Left int `json:"approvals_left"`
		By   []struct {
			User user `json:"user"`
		} `json:"approved_by"`
	}
	path := mergePath(pull.Repo, pull.Number)
	if err := c.get(ctx, op, path+"/approvals", nil, &approvals); err != nil {
		return vcs.Approval{}, err
	}
	var reviewers []struct {
		User  user   `json:"user"`
		State string `json:"state"`
	}
	// Only newer versions tell what a reviewer asks for.
	if err := c.get(ctx, op, path+"/reviewers", nil, &reviewers); err != nil && !errors.Is(err, vcs.ErrNotFound) {
		return vcs.Approval{}, err
	}
	ids := map[string]int64{}
	var all []rest.Review
	for _, by := range approvals.By {
		ids[by.User.Username] = by.User.ID
		all = append(all, rest.Review{User: by.User.Username, Says: rest.Approves})
	}
	for _, r := range reviewers {
		if r.State == "requested_changes" {
			ids[r.User.Username] = r.User.ID
			all = append(all, rest.Review{User: r.User.Username, Says: rest.Rejects})
		}
	}
	a, err := rest.Approval(pull.Author, all, func(name string) (vcs.Permission, error) {
		return c.permission(ctx, op, pull.Repo, ids[name])
	})
	a.Approved = a.Approved && approvals.Left <= 0
	return a, err
}
