package github

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// Names of the lists, in the tags that News gives back.
const (
	tagPulls    = "pulls"
	tagComments = "comments"
)

// slack is how much later than made GitHub sometimes says that a comment was updated which nobody has edited.
const slack = time.Second

// Repo reads a repository by its names.
func (c *Client) Repo(ctx context.Context, owner, name string) (vcs.Repo, error) {
	const op = "reading a repository"
	c, err := c.as(vcs.Repo{ID: vcs.RepoID{Forge: c.kin.Instance}, Owner: owner, Name: name})
	if err != nil {
		return vcs.Repo{}, fmt.Errorf("%s: %w", op, err)
	}
	var got *gh.Repository
	err = c.do(ctx, op, func(ctx context.Context) (resp *gh.Response, err error) {
		got, resp, err = c.api.Repositories.Get(ctx, owner, name)
		return resp, err
	})
	if err != nil {
		return vcs.Repo{}, err
	}
	r, err := c.kin.Repo(rest.RawRepo{
		ID: got.GetID(), Name: got.GetName(), FullName: got.GetFullName(), Owner: &rest.RawUser{Login: got.GetOwner().GetLogin()},
		HTMLURL: got.GetHTMLURL(), CloneURL: got.GetCloneURL(),
	})
	if err != nil {
		return vcs.Repo{}, fmt.Errorf("%s: the forge's answer: %w", op, err)
	}
	return r, nil
}

// News makes two requests when nothing has happened, and more only for more than a hundred pull requests
// that were touched or comments that were made.
func (c *Client) News(ctx context.Context, repo vcs.Repo, since time.Time, tags map[string]string) (vcs.News, error) {
	const op = "reading what happened"
	c, err := c.as(repo)
	if err != nil {
		return vcs.News{}, fmt.Errorf("%s: %w", op, err)
	}
	n := vcs.News{Tags: maps.Clone(tags)}
	if n.Tags == nil {
		n.Tags = map[string]string{}
	}
	w := &news{Client: c, op: op, repo: repo, since: since.UTC().Truncate(time.Second), out: &n}
	if err := w.pulls(ctx); err != nil {
		return vcs.News{}, err
	}
	if since.IsZero() {
		return n, nil
	}
	if err := w.comments(ctx); err != nil {
		return vcs.News{}, err
	}
	return n, nil
}

// news is one look at what happened in a repository.
type news struct {
	*Client
	op    string
	repo  vcs.Repo
	since time.Time
	out   *vcs.News
}

func (w *news) pulls(ctx context.Context) error {
	query := url.Values{"state": {"all"}, "sort": {"updated"}, "direction": {"desc"}}
	if w.since.IsZero() {
		query.Set("state", "open")
	}
	return changes(ctx, w, tagPulls, "pulls", query, func(p *gh.PullRequest) (more bool, err error) {
		if p.GetUpdatedAt().Before(w.since) {
			return false, nil
		}
		got, err := w.pull(p)
		if err != nil {
			w.rest.LeaveOut(ctx, w.op, w.repo, p.GetNumber(), err)
			return true, nil
		}
		if got.Repo.ID != w.repo.ID {
			return false, fmt.Errorf("%s: %s is another repository now: %w", w.op, w.repo.FullName(), vcs.ErrNotFound)
		}
		w.out.Pulls = append(w.out.Pulls, got)
		return true, nil
	})
}

func (w *news) comments(ctx context.Context) error {
	query := url.Values{"sort": {"updated"}, "direction": {"desc"}, "since": {w.since.Format(time.RFC3339)}}
	return changes(ctx, w, tagComments, "issues/comments", query, func(k *gh.IssueComment) (bool, error) {
		number := pullOfComment(k)
		// The forge's own since looks at when a comment was edited last.
		if number == 0 || k.GetCreatedAt().Before(w.since) {
			return true, nil
		}
		if k.GetUpdatedAt().Sub(k.GetCreatedAt().Time) > slack {
			return true, nil
		}
		got, err := w.comment(k)
		if err != nil {
			w.rest.LeaveOut(ctx, w.op, w.repo, number, err)
			return true, nil
		}
		got.Body = rest.CutComment(got.Body)
		w.out.Comments = append(w.out.Comments, vcs.Event{
			Kind: vcs.Commented, Repo: w.repo, Pull: number, Sender: got.Author, At: got.CreatedAt, Comment: &got,
		})
		return true, nil
	})
}

// changes reads a list of the repository from its newest entry on, until each does not want more. The
// first page is answered only if it is another one than that of the tag.
func changes[T any](ctx context.Context, w *news, tag, list string, query url.Values, each func(T) (bool, error)) error {
	query.Set("per_page", strconv.Itoa(perPage))
	// An answer to another question must not pass for this one.
	question := tag + "?" + query.Encode()
	return w.pages(w.op, func(page gh.ListOptions) (*gh.Response, error) {
		query.Set("page", strconv.Itoa(page.Page))
		address := fmt.Sprintf("repos/%s/%s/%s?%s", w.repo.Owner, w.repo.Name, list, query.Encode())
		var some []T
		var resp *gh.Response
		err := w.do(ctx, w.op, func(ctx context.Context) (*gh.Response, error) {
			req, err := w.api.NewRequest(http.MethodGet, address, nil)
			if err != nil {
				return nil, err
			}
			if old, ok := strings.CutPrefix(w.out.Tags[tag], question+" "); ok && page.Page == 1 {
				req.Header.Set("If-None-Match", old)
			}
			some = nil
			resp, err = w.api.Do(ctx, req, &some)
			if answer := new(gh.ErrorResponse); errors.As(err, &answer) && answer.Response.StatusCode == http.StatusNotModified {
				err = nil
			}
			return resp, err
		})
		if err != nil {
			return nil, err
		}
		w.asked(resp)
		if resp.StatusCode == http.StatusNotModified {
			return last(resp), nil
		}
		if page.Page == 1 {
			w.out.Tags[tag] = question + " " + etag(resp.Header)
		}
		for _, one := range some {
			more, err := each(one)
			if err != nil || !more {
				return last(resp), err
			}
		}
		return resp, nil
	})
}

// asked keeps the forge's time of the first question.
func (w *news) asked(resp *gh.Response) {
	if at := rest.Clock(resp.Header); w.out.At.IsZero() || at.Before(w.out.At) {
		w.out.At = at
	}
}

// last is an answer after which no page is wanted.
func last(resp *gh.Response) *gh.Response {
	if resp == nil {
		return &gh.Response{}
	}
	end := *resp
	end.NextPage = 0
	return &end
}

// etag is the answer's tag, if it is one that can be sent back.
func etag(h http.Header) string {
	tag := h.Get("ETag")
	if len(tag) > 256 || strings.ContainsFunc(tag, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return tag
}

// pullOfComment is the number of the pull request that a comment stands on; 0 for an issue's.
func pullOfComment(k *gh.IssueComment) int {
	page, err := url.Parse(k.GetHTMLURL())
	if err != nil {
		return 0
	}
	dir, number := path.Split(page.Path)
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || !rest.IsNumber(n) || path.Base(dir) != "pull" {
		return 0
	}
	return int(n)
}
