package gitlab

import (
	"context"
	"fmt"
	"maps"
	"time"

	gl "github.com/xanzy/go-gitlab"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// Repo reads a project by its path. One that was renamed is found by its old path too.
func (c *Client) Repo(ctx context.Context, owner, name string) (vcs.Repo, error) {
	const op = "reading a project"
	asked := vcs.Repo{ID: vcs.RepoID{Forge: c.kin.Instance}, Owner: owner, Name: name}
	if err := c.ours(asked); err != nil {
		return vcs.Repo{}, fmt.Errorf("%s: %w", op, err)
	}
	var got rawProject
	if err := c.get(ctx, op, projectPath(asked), nil, &got); err != nil {
		return vcs.Repo{}, err
	}
	if err := rest.OnSite(c.kin.Web, got.WebURL); err != nil {
		return vcs.Repo{}, fmt.Errorf("%s: the forge's answer: web_url %w", op, err)
	}
	r, err := c.repo(got.ID, got.Path)
	if err != nil {
		return vcs.Repo{}, fmt.Errorf("%s: the forge's answer: %w", op, err)
	}
	return r, nil
}

type listMerges struct {
	gl.ListOptions
	Scope        string     `url:"scope"`
	State        string     `url:"state"`
	OrderBy      string     `url:"order_by"`
	Sort         string     `url:"sort"`
	UpdatedAfter *time.Time `url:"updated_after,omitempty"`
}

// News makes one request when nothing has happened, and one more for each merge request that was touched and has notes.
// GitLab has no tags that save a request.
func (c *Client) News(ctx context.Context, repo vcs.Repo, since time.Time, tags map[string]string) (vcs.News, error) {
	const op = "reading what happened"
	if err := c.ours(repo); err != nil {
		return vcs.News{}, fmt.Errorf("%s: %w", op, err)
	}
	since = since.UTC().Truncate(time.Second)
	opts := &listMerges{Scope: "all", State: "all", OrderBy: "updated_at", Sort: "desc"}
	if since.IsZero() {
		opts.State = "opened"
	} else {
		opts.UpdatedAfter = &since
	}
	n := vcs.News{Tags: maps.Clone(tags)}
	if n.Tags == nil {
		n.Tags = map[string]string{}
	}
	err := pages(op, &opts.ListOptions, func() (*gl.Response, error) {
		var some []mergeRequest
		resp, err := c.readPage(ctx, op, projectPath(repo)+"/merge_requests", opts, &some)
		if err != nil {
			return nil, err
		}
		if n.At.IsZero() {
			n.At = rest.Clock(resp.Header)
		}
		return resp, c.touched(ctx, op, repo, some, since, &n)
	})
	if err != nil {
		return vcs.News{}, err
	}
	return n, nil
}

// touched takes in merge requests in which something happened, with their new notes.
func (c *Client) touched(ctx context.Context, op string, repo vcs.Repo, some []mergeRequest, since time.Time, n *vcs.News) error {
	for _, m := range some {
		// Without commits there is nothing to plan.
		if m.SHA == "" && m.State == "opened" {
			continue
		}
		p, err := c.pull(m)
		if err != nil {
			c.rest.LeaveOut(ctx, op, repo, int(m.IID), err)
			continue
		}
		if repo.ID.ID != 0 && p.Repo.ID != repo.ID {
			return fmt.Errorf("%s: asked for the project %d, the forge answers with %d", op, repo.ID.ID, p.Repo.ID.ID)
		}
		n.Pulls = append(n.Pulls, p)
		if since.IsZero() || m.Notes == 0 {
			continue
		}
		// Maintainers can edit what others wrote. GitLab does not tell an edit from a thread that was resolved.
		notes, err := c.notes(ctx, p, since, func(one note) bool { return !one.UpdatedAt.After(one.CreatedAt) })
		if err != nil {
			return err
		}
		for _, k := range notes {
			k.Body = rest.CutComment(k.Body)
			n.Comments = append(n.Comments, vcs.Event{
				Kind: vcs.Commented, Repo: p.Repo, Pull: p.Number, Sender: k.Author, At: k.CreatedAt, Comment: &k,
			})
		}
	}
	return nil
}
