package gitea

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// Repo reads a repository by its names.
func (c *Client) Repo(ctx context.Context, owner, name string) (vcs.Repo, error) {
	const op = "reading a repository"
	if !rest.IsName(owner) || !rest.IsName(name) {
		return vcs.Repo{}, fmt.Errorf("%s: %q is not the name of a repository: %w", op, owner+"/"+name, vcs.ErrNotFound)
	}
	var got *sdk.Repository
	err := c.do(ctx, op, func(api *sdk.Client) (resp *sdk.Response, err error) {
		got, resp, err = api.GetRepo(owner, name)
		return resp, err
	})
	if err != nil {
		return vcs.Repo{}, err
	}
	r, err := c.repo(got)
	if err != nil {
		return vcs.Repo{}, fmt.Errorf("%s: the forge's answer: %w", op, err)
	}
	return r, nil
}

// News makes two requests, and more only for more than a page of pull requests that were touched or comments that
// were made. The forge tags no answers, so there are no tags.
func (c *Client) News(ctx context.Context, repo vcs.Repo, since time.Time, _ map[string]string) (vcs.News, error) {
	const op = "reading what happened"
	if err := c.kin.Ours(repo); err != nil {
		return vcs.News{}, fmt.Errorf("%s: %w", op, err)
	}
	w := &news{Client: c, op: op, repo: repo, since: since.UTC().Truncate(time.Second)}
	if err := w.pulls(ctx); err != nil {
		return vcs.News{}, err
	}
	if since.IsZero() {
		return w.out, nil
	}
	if err := w.comments(ctx); err != nil {
		return vcs.News{}, err
	}
	return w.out, nil
}

// news is one look at what happened in a repository.
type news struct {
	*Client
	op    string
	repo  vcs.Repo
	since time.Time
	out   vcs.News
}

func (w *news) pulls(ctx context.Context) error {
	opts := sdk.ListPullRequestsOptions{State: sdk.StateAll, Sort: "recentupdate"}
	if w.since.IsZero() {
		opts.State = sdk.StateOpen
	}
	return w.pages(w.op, func(page sdk.ListOptions) (resp *sdk.Response, n int, more bool, err error) {
		opts.ListOptions = page
		var some []*pullRequest
		err = w.rest.Do(ctx, w.op, func(ctx context.Context) (*rest.Answer, error) {
			some = nil
			answer, err := w.once(ctx, http.MethodGet, pullPath(w.repo, 0)+"?"+opts.QueryEncode(), nil, &some)
			if answer != nil {
				resp = &sdk.Response{Response: &http.Response{Header: answer.Header}}
			}
			return answer, err
		})
		if err != nil {
			return nil, 0, false, err
		}
		w.asked(resp)
		for _, p := range some {
			if p == nil {
				continue
			}
			if p.Updated != nil && p.Updated.Before(w.since) {
				return resp, len(some), false, nil
			}
			got, err := w.pull(p)
			if err != nil {
				w.rest.LeaveOut(ctx, w.op, w.repo, int(p.Index), err)
				continue
			}
			if got.Repo.ID != w.repo.ID {
				return nil, 0, false, fmt.Errorf("%s: %s is another repository now: %w", w.op, w.repo.FullName(), vcs.ErrNotFound)
			}
			w.out.Pulls = append(w.out.Pulls, got)
		}
		return resp, len(some), true, nil
	})
}

func (w *news) comments(ctx context.Context) error {
	opts := sdk.ListIssueCommentOptions{Since: w.since}
	return w.pages(w.op, func(page sdk.ListOptions) (resp *sdk.Response, n int, more bool, err error) {
		opts.ListOptions = page
		var some []*sdk.Comment
		err = w.do(ctx, w.op, func(api *sdk.Client) (*sdk.Response, error) {
			some, resp, err = api.ListRepoIssueComments(w.repo.Owner, w.repo.Name, opts)
			return resp, err
		})
		if err != nil {
			return nil, 0, false, err
		}
		w.asked(resp)
		for _, k := range some {
			w.add(ctx, k)
		}
		return resp, len(some), true, nil
	})
}

// add takes a comment in. The forge's own since looks at when it was edited last.
func (w *news) add(ctx context.Context, k *sdk.Comment) {
	if k == nil {
		return
	}
	number := pullOfComment(k)
	if number == 0 || k.Created.Before(w.since) {
		return
	}
	if k.Updated.After(k.Created) {
		return
	}
	got, err := w.comment(k)
	if err != nil {
		w.rest.LeaveOut(ctx, w.op, w.repo, number, err)
		return
	}
	got.Body = rest.CutComment(got.Body)
	w.out.Comments = append(w.out.Comments, vcs.Event{
		Kind: vcs.Commented, Repo: w.repo, Pull: number, Sender: got.Author, At: got.CreatedAt, Comment: &got,
	})
}

// asked keeps the forge's time of the first question.
func (w *news) asked(resp *sdk.Response) {
	if at := rest.Clock(resp.Header); w.out.At.IsZero() || at.Before(w.out.At) {
		w.out.At = at
	}
}

// pullOfComment is the number of the pull request that a comment stands on; 0 for an issue's.
func pullOfComment(k *sdk.Comment) int {
	page, err := url.Parse(k.PRURL)
	if err != nil || k.PRURL == "" {
		return 0
	}
	dir, number := path.Split(page.Path)
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !rest.IsNumber(n) || path.Base(dir) != "pulls" {
		return 0
	}
	return int(n)
}
