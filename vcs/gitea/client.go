// Package gitea speaks the dialect of Gitea and Forgejo. It takes webhook deliveries in and is the account that reads
// pull requests, comments and sets statuses.
//
// It knows no command and no run. What the forge sends is checked before it becomes one of vcs's values: names and
// commits have the form they must have, and addresses lie on the forge's own host, so that no credential is ever
// offered to another one.
//
// Start with New. parse.go takes deliveries in, convert.go checks what comes, retry.go says what an error means.
package gitea

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	publicURL = "https://gitea.com"
	// commentLimit is ours, in bytes: the forge takes comments of any length, and renders each of them on each view
	// of the page.
	commentLimit = 60_000
	// descriptionLimit is ours as well, in characters: a status is one line of a table.
	descriptionLimit = 140
	// usualPageSize is the most that a server gives at once by its own defaults.
	usualPageSize = 50
	// pollTime is short: what has conflicts is all that the forge goes on about.
	pollTime = 10 * time.Second
	// maxPages ends a list that never ends.
	maxPages = 1000
)

// Config is what a Client is made of. Token is needed, everything else may be zero.
type Config struct {
	// BaseURL is the root of the forge's pages, below which its API lies. "" means https://gitea.com. Plain http is
	// taken for loopback hosts only. It must be what the server calls itself (its ROOT_URL).
	BaseURL string
	// User is the account's name, used when cloning and to be mentioned by. "" means that it is not known; the
	// token is enough to clone with.
	User string
	// Token is asked anew for each request, so that the token can be changed meanwhile.
	Token func() (string, error)
	// WebhookSecrets are the secrets a delivery may be signed with. None, or an empty one, verifies nothing. It is
	// asked anew for each delivery.
	WebhookSecrets func() [][]byte
	// PageSize is how many entries of a list are asked for at once. 0 means 50. A server gives fewer if it wants to.
	PageSize int
	// HTTP sends requests. nil means net/http's own with the environment's proxies.
	HTTP http.RoundTripper
	// Log hears of retries. nil means nobody does.
	Log *slog.Logger
}

// Client is a vcs.Forge, a vcs.Hook, and has all abilities of a forge but to tell how much may still be asked of it.
// It is safe for concurrent use.
type Client struct {
	kin      rest.Kin
	user     string
	secrets  func() [][]byte
	pageSize int
	rest     *rest.Client
	// pollTime is how long is waited for what the forge is still working out.
	pollTime time.Duration
}

// Every ability is there.
var (
	_ vcs.Forge    = (*Client)(nil)
	_ vcs.Hook     = (*Client)(nil)
	_ vcs.Approver = (*Client)(nil)
	_ vcs.Folder   = (*Client)(nil)
	_ vcs.Reactor  = (*Client)(nil)
	_ vcs.Cloner   = (*Client)(nil)
	_ vcs.Lister   = (*Client)(nil)
	_ vcs.Merger   = (*Client)(nil)
)

// New makes a client. It sends nothing yet.
func New(c Config) (*Client, error) {
	if c.BaseURL == "" {
		c.BaseURL = publicURL
	}
	web, err := rest.ParseRoot(c.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("the base URL %w", err)
	}
	switch {
	case c.PageSize < 0:
		return nil, fmt.Errorf("a page of %d entries is none", c.PageSize)
	case c.PageSize == 0:
		c.PageSize = usualPageSize
	}
	if c.HTTP == nil {
		c.HTTP = rest.Transport()
	}
	if c.WebhookSecrets == nil {
		c.WebhookSecrets = func() [][]byte { return nil }
	}
	cl := &Client{
		kin:  rest.Kin{Web: web, Instance: web.Host, IsLogin: rest.IsName},
		user: c.User, secrets: c.WebhookSecrets, pageSize: c.PageSize, pollTime: pollTime,
	}
	cl.rest, err = rest.New(rest.Config{
		API: web, Token: c.Token, HTTP: mover{c.HTTP, web}, Log: c.Log, Judge: cl.judge,
		Authorize: func(h http.Header, token string) { h.Set("Authorization", "token "+token) },
	})
	if err != nil {
		return nil, err
	}
	return cl, nil
}

// Site says how links are written.
func (c *Client) Site() vcs.Site {
	return vcs.Site{
		Instance:     c.kin.Instance,
		Account:      c.user,
		CommentLimit: commentLimit,
		PullRef:      func(number int) string { return fmt.Sprintf("#%d", number) },
		PullURL:      func(r vcs.Repo, number int) string { return c.kin.Page(r, "pulls", fmt.Sprint(number)).String() },
		CommitURL:    func(r vcs.Repo, sha string) string { return c.kin.Page(r, "commit", sha).String() },
		FileURL: func(r vcs.Repo, sha, path string, line int) string {
			return c.kin.File(r, path, line, "src", "commit", sha)
		},
	}
}

// Pull reads a pull request. Where another repository stands at the name now, it is not found.
func (c *Client) Pull(ctx context.Context, repo vcs.Repo, number int) (vcs.Pull, error) {
	const op = "reading a pull request"
	if err := c.kin.Ours(repo); err != nil {
		return vcs.Pull{}, fmt.Errorf("%s: %w", op, err)
	}
	_, p, err := c.read(ctx, op, repo, number)
	return p, err
}

// read reads a pull request, and answers it as the forge has it as well.
func (c *Client) read(ctx context.Context, op string, repo vcs.Repo, number int) (*pullRequest, vcs.Pull, error) {
	var got *pullRequest
	err := c.rest.Do(ctx, op, func(ctx context.Context) (*rest.Answer, error) {
		got = nil
		return c.once(ctx, http.MethodGet, pullPath(repo, number), nil, &got)
	})
	if err != nil {
		return nil, vcs.Pull{}, err
	}
	p, err := c.pull(got)
	p, err = rest.Wanted(op, repo, number, p, err)
	return got, p, err
}

// Comments lists the conversation's comments made at or after since, oldest first. The forge gives them all at once.
func (c *Client) Comments(ctx context.Context, pull vcs.Pull, since time.Time) ([]vcs.Comment, error) {
	const op = "listing comments"
	if err := c.kin.Ours(pull.Repo); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	// The forge's clock ticks in seconds; a comment of the same second is at or after since.
	since = since.UTC().Truncate(time.Second)
	var some []*sdk.Comment
	err := c.do(ctx, op, func(api *sdk.Client) (resp *sdk.Response, err error) {
		some, resp, err = api.ListIssueComments(pull.Repo.Owner, pull.Repo.Name, int64(pull.Number), sdk.ListIssueCommentOptions{Since: since})
		return missing(resp, err, pullOf(api, pull))
	})
	if err != nil {
		return nil, err
	}
	var all []vcs.Comment
	for _, raw := range some {
		got, err := c.comment(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: the forge's answer: %w", op, err)
		}
		// The forge's own since looks at when a comment was edited last.
		if !got.CreatedAt.Before(since) {
			all = append(all, got)
		}
	}
	return rest.InOrder(all), nil
}

// CreateComment posts a comment. It is sent once: after a doubt the error wraps vcs.ErrInDoubt.
func (c *Client) CreateComment(ctx context.Context, pull vcs.Pull, body string) (vcs.Comment, error) {
	const op = "posting a comment"
	if err := c.may(pull.Repo, body); err != nil {
		return vcs.Comment{}, fmt.Errorf("%s: %w", op, err)
	}
	var got *sdk.Comment
	err := c.write(ctx, op, pull.Repo.ID, rest.More, func(api *sdk.Client) (resp *sdk.Response, err error) {
		got, resp, err = api.CreateIssueComment(pull.Repo.Owner, pull.Repo.Name, int64(pull.Number), sdk.CreateIssueCommentOption{Body: body})
		return missing(resp, err, pullOf(api, pull))
	})
	if err != nil {
		return vcs.Comment{}, err
	}
	made, err := c.comment(got)
	return rest.Posted(op, made, err)
}

// EditComment replaces a comment's text.
func (c *Client) EditComment(ctx context.Context, pull vcs.Pull, id int64, body string) error {
	const op = "editing a comment"
	if err := c.may(pull.Repo, body); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return c.edit(ctx, op, pull, id, body)
}

func (c *Client) edit(ctx context.Context, op string, pull vcs.Pull, id int64, body string) error {
	return c.write(ctx, op, pull.Repo.ID, rest.Same, func(api *sdk.Client) (*sdk.Response, error) {
		_, resp, err := api.EditIssueComment(pull.Repo.Owner, pull.Repo.Name, id, sdk.EditIssueCommentOption{Body: body})
		return resp, err
	})
}

// DeleteComment deletes a comment. One that is gone is no error.
func (c *Client) DeleteComment(ctx context.Context, pull vcs.Pull, id int64) error {
	const op = "deleting a comment"
	if err := c.kin.Ours(pull.Repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	err := c.write(ctx, op, pull.Repo.ID, rest.Same, func(api *sdk.Client) (*sdk.Response, error) {
		return api.DeleteIssueComment(pull.Repo.Owner, pull.Repo.Name, id)
	})
	if errors.Is(err, vcs.ErrNotFound) {
		return nil
	}
	return err
}

// SetStatus sets a commit status. Its description is cut.
func (c *Client) SetStatus(ctx context.Context, repo vcs.Repo, sha string, status vcs.Status) error {
	const op = "setting a status"
	if err := c.kin.Ours(repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !rest.IsSHA(sha) {
		return fmt.Errorf("%s: %q is no commit: %w", op, sha, vcs.ErrNotFound)
	}
	body := sdk.CreateStatusOption{
		Context: status.Context, Description: rest.CutText(status.Description, descriptionLimit),
		State: sdk.StatusState(status.State), TargetURL: status.URL,
	}
	switch status.State {
	case vcs.Pending, vcs.Success, vcs.Failure:
	default:
		return fmt.Errorf("%s: %q is no state: %w", op, status.State, vcs.ErrRefused)
	}
	return c.write(ctx, op, repo.ID, rest.Same, func(api *sdk.Client) (*sdk.Response, error) {
		_, resp, err := api.CreateStatus(repo.Owner, repo.Name, sha, body)
		return missing(resp, err, func() (*sdk.Response, error) {
			_, resp, err := api.GetSingleCommit(repo.Owner, repo.Name, sha)
			return resp, err
		})
	})
}

// React answers a comment with a pair of eyes. A second pair is the first one.
func (c *Client) React(ctx context.Context, pull vcs.Pull, comment int64) error {
	const op = "reacting to a comment"
	if err := c.kin.Ours(pull.Repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return c.write(ctx, op, pull.Repo.ID, rest.Same, func(api *sdk.Client) (*sdk.Response, error) {
		_, resp, err := api.PostIssueCommentReaction(pull.Repo.Owner, pull.Repo.Name, comment, "eyes")
		return resp, err
	})
}

// CloneCredential is the account's token. It is given for this forge's own clone URLs only.
func (c *Client) CloneCredential(ctx context.Context, repo vcs.Repo) (vcs.Credential, error) {
	const op = "choosing a credential for git"
	if err := c.kin.Ours(repo); err != nil {
		return vcs.Credential{}, fmt.Errorf("%s: %w", op, err)
	}
	// The forge looks at the token alone.
	return c.rest.Credential(ctx, c.kin.Web, repo, c.user, "x-access-token")
}

// may refuses what is not to be written.
func (c *Client) may(repo vcs.Repo, body string) error {
	switch {
	case strings.TrimSpace(body) == "":
		return fmt.Errorf("a comment without text: %w", vcs.ErrRefused)
	case len(body) > commentLimit:
		return fmt.Errorf("a comment of %d bytes, more than %d: %w", len(body), commentLimit, vcs.ErrRefused)
	}
	return c.kin.Ours(repo)
}
