// Package github speaks GitHub's dialect: github.com, GitHub Enterprise and whatever else answers
// the same REST and GraphQL requests. It takes webhook deliveries in and is the account that reads
// pull requests, comments and sets statuses.
//
// It knows no command and no run. What the forge sends is checked before it becomes one of vcs's
// values: names and commits have the form they must have, and addresses lie on the forge's own
// host, so that no credential is ever offered to another one.
//
// Start with New. parse.go takes deliveries in, convert.go checks what comes, retry.go says what an
// error means, app.go has a token for each installation of a GitHub App.
package github

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	// commentLimit leaves room below the 65,536 characters that GitHub takes.
	commentLimit = 60_000
	// descriptionLimit is what GitHub takes of a status's description, in characters.
	descriptionLimit = 140
	perPage          = 100
	// maxPages ends a list that never ends.
	maxPages = 1000
)

// Config is what a Client is made of. Token or App is needed, everything else may be zero.
type Config struct {
	// APIURL is the root of the REST API. "" means the one of Hostname. Plain http is taken for
	// loopback hosts only.
	APIURL string
	// Hostname is the host of the forge's pages, with its port. "" and "github.com" mean
	// github.com, or APIURL's host where that is given.
	Hostname string
	// WebURL is the root of the forge's pages and clone URLs. "" means the one of Hostname.
	WebURL string
	// User is the account's name: that of a user who has a token is used when cloning, where "" means
	// x-access-token.
	User string
	// Token is asked anew for each request, so that the token can be changed meanwhile.
	Token func() (string, error)
	// App is who asks, in place of a user with a token.
	App *App
	// WebhookSecrets are the secrets a delivery may be signed with. None, or an empty one, verifies
	// nothing. It is asked anew for each delivery.
	WebhookSecrets func() [][]byte
	// HTTP sends requests. nil means net/http's own with the environment's proxies.
	HTTP http.RoundTripper
	// Log hears of retries. nil means nobody does.
	Log *slog.Logger
}

// Client is a vcs.Forge, a vcs.Hook, and has all abilities of a forge. It is safe for concurrent use.
type Client struct {
	address
	user    string
	secrets func() [][]byte
	rest    *rest.Client
	api     *gh.Client
	meter   *meter
	// app is nil for a user with a token.
	app *app
	// account is nil but for a client that asks as an installation, and fetches is what chooses git's token then.
	account *account
	fetches *rest.Client
}

// Every ability is there.
var (
	_ vcs.Forge    = (*Client)(nil)
	_ vcs.Hook     = (*Client)(nil)
	_ vcs.Approver = (*Client)(nil)
	_ vcs.Folder   = (*Client)(nil)
	_ vcs.Reactor  = (*Client)(nil)
	_ vcs.Cloner   = (*Client)(nil)
	_ vcs.Renewer  = (*Client)(nil)
	_ vcs.Lister   = (*Client)(nil)
	_ vcs.Metered  = (*Client)(nil)
	_ vcs.Merger   = (*Client)(nil)
)

// New makes a client. It sends nothing yet.
func New(c Config) (*Client, error) {
	addr, err := newAddress(c)
	if err != nil {
		return nil, err
	}
	if c.WebhookSecrets == nil {
		c.WebhookSecrets = func() [][]byte { return nil }
	}
	cl := &Client{address: addr, user: c.User, secrets: c.WebhookSecrets, meter: &meter{}}
	how := rest.Config{
		API: addr.api, Beside: []*url.URL{addr.graphql}, Token: c.Token, HTTP: c.HTTP, Log: c.Log, Judge: cl.judge, Note: cl.note,
		Authorize: func(h http.Header, token string) { h.Set("Authorization", "Bearer "+token) },
	}
	if c.App != nil {
		if c.Token != nil {
			return nil, errors.New("either a token or an App asks, not both")
		}
		if cl.app, err = newApp(*c.App, cl); err != nil {
			return nil, &AppError{err}
		}
		// What an App asks as itself is not counted with the rest.
		how.Token, how.Judge, how.Note = cl.app.sign, cl.app.judge, nil
	}
	asks, err := rest.New(how)
	if err != nil {
		return nil, err
	}
	cl.speak(asks)
	return cl, nil
}

// speak is given who sends requests.
func (c *Client) speak(asks *rest.Client) {
	c.rest, c.api = asks, gh.NewClient(asks.HTTP)
	c.api.BaseURL, c.api.UserAgent = c.address.api, rest.UserAgent
}

// as is the client for a repository: an App has a token for each of its installations. It refuses repositories of
// other forges, and names that would change a request's path.
func (c *Client) as(repo vcs.Repo) (*Client, error) {
	if err := c.kin.Ours(repo); err != nil {
		return nil, err
	}
	if c.app == nil {
		return c, nil
	}
	return c.app.client(repo), nil
}

// Login asks whose token it is. An App's name is its slug with [bot] after it.
func (c *Client) Login(ctx context.Context) (string, error) {
	const op = "asking who we are"
	var login string
	err := c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
		if c.app == nil {
			got, resp, err := c.api.Users.Get(ctx, "")
			login = got.GetLogin()
			return resp, err
		}
		got, resp, err := c.api.Apps.Get(ctx, "")
		login = got.GetSlug() + "[bot]"
		return resp, err
	})
	switch {
	case err != nil:
		return "", err
	case !isLogin(login):
		return "", fmt.Errorf("%s: the forge's answer: %q is no login", op, rest.CutText(login, 100))
	}
	return login, nil
}

// Pull reads a pull request. Where another repository stands at the name now, it is not found.
func (c *Client) Pull(ctx context.Context, repo vcs.Repo, number int) (vcs.Pull, error) {
	const op = "reading a pull request"
	c, err := c.as(repo)
	if err != nil {
		return vcs.Pull{}, fmt.Errorf("%s: %w", op, err)
	}
	_, p, err := c.look(ctx, op, repo, number)
	return p, err
}

// look reads a pull request, and answers it as the forge has it, too.
func (c *Client) look(ctx context.Context, op string, repo vcs.Repo, number int) (raw *gh.PullRequest, p vcs.Pull, err error) {
	err = c.do(ctx, op, func(ctx context.Context) (resp *gh.Response, err error) {
		raw, resp, err = c.api.PullRequests.Get(ctx, repo.Owner, repo.Name, number)
		return resp, err
	})
	if err != nil {
		return nil, vcs.Pull{}, err
	}
	p, err = c.pull(raw)
	p, err = rest.Wanted(op, repo, number, p, err)
	return raw, p, err
}

// Comments lists the conversation's comments made at or after since, oldest first.
func (c *Client) Comments(ctx context.Context, pull vcs.Pull, since time.Time) ([]vcs.Comment, error) {
	const op = "listing comments"
	c, err := c.as(pull.Repo)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	// Forge clocks tick in seconds; a comment of the same second is at or after since.
	since = since.UTC().Truncate(time.Second)
	opts := &gh.IssueListCommentsOptions{}
	if !since.IsZero() {
		opts.Since = &since
	}
	var all []vcs.Comment
	err = c.pages(op, func(page gh.ListOptions) (resp *gh.Response, err error) {
		opts.ListOptions = page
		var some []*gh.IssueComment
		err = c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
			some, resp, err = c.api.Issues.ListComments(ctx, pull.Repo.Owner, pull.Repo.Name, pull.Number, opts)
			return resp, err
		})
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
		return resp, err
	})
	if err != nil {
		return nil, err
	}
	return rest.InOrder(all), nil
}

// pages calls list for every page of a list.
func (c *Client) pages(op string, list func(gh.ListOptions) (*gh.Response, error)) error {
	opts := gh.ListOptions{PerPage: perPage, Page: 1}
	for range maxPages {
		resp, err := list(opts)
		if err != nil {
			return err
		}
		if resp.NextPage <= opts.Page {
			return nil
		}
		opts.Page = resp.NextPage
	}
	return fmt.Errorf("%s: the list has more than %d pages", op, maxPages)
}

// CreateComment posts a comment. It is sent once: after a doubt the error wraps vcs.ErrInDoubt.
func (c *Client) CreateComment(ctx context.Context, pull vcs.Pull, body string) (vcs.Comment, error) {
	const op = "posting a comment"
	c, err := c.as(pull.Repo)
	if err != nil {
		return vcs.Comment{}, fmt.Errorf("%s: %w", op, err)
	}
	var got *gh.IssueComment
	err = c.write(ctx, op, pull.Repo.ID, rest.More, func(ctx context.Context) (resp *gh.Response, err error) {
		got, resp, err = c.api.Issues.CreateComment(ctx, pull.Repo.Owner, pull.Repo.Name, pull.Number, &gh.IssueComment{Body: &body})
		return resp, err
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
	c, err := c.as(pull.Repo)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return c.write(ctx, op, pull.Repo.ID, rest.Same, func(ctx context.Context) (*gh.Response, error) {
		_, resp, err := c.api.Issues.EditComment(ctx, pull.Repo.Owner, pull.Repo.Name, id, &gh.IssueComment{Body: &body})
		return resp, err
	})
}

// DeleteComment deletes a comment. One that is gone is no error.
func (c *Client) DeleteComment(ctx context.Context, pull vcs.Pull, id int64) error {
	const op = "deleting a comment"
	c, err := c.as(pull.Repo)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	err = c.write(ctx, op, pull.Repo.ID, rest.Same, func(ctx context.Context) (*gh.Response, error) {
		return c.api.Issues.DeleteComment(ctx, pull.Repo.Owner, pull.Repo.Name, id)
	})
	if isNotFound(err) {
		return nil
	}
	return err
}

// SetStatus sets a commit status. Its description is cut to what the forge takes.
func (c *Client) SetStatus(ctx context.Context, repo vcs.Repo, sha string, status vcs.Status) error {
	const op = "setting a status"
	c, err := c.as(repo)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !rest.IsSHA(sha) {
		return fmt.Errorf("%s: %q is no commit: %w", op, sha, vcs.ErrNotFound)
	}
	body := &gh.RepoStatus{Context: gh.String(status.Context), Description: gh.String(rest.CutText(status.Description, descriptionLimit))}
	switch status.State {
	case vcs.Pending, vcs.Success, vcs.Failure:
		body.State = gh.String(string(status.State))
	default:
		return fmt.Errorf("%s: %q is no state: %w", op, status.State, vcs.ErrRefused)
	}
	if status.URL != "" {
		body.TargetURL = gh.String(status.URL)
	}
	return c.write(ctx, op, repo.ID, rest.Same, func(ctx context.Context) (*gh.Response, error) {
		_, resp, err := c.api.Repositories.CreateStatus(ctx, repo.Owner, repo.Name, sha, body)
		return resp, err
	})
}

// React answers a comment with a pair of eyes. A second pair is the first one.
func (c *Client) React(ctx context.Context, pull vcs.Pull, comment int64) error {
	const op = "reacting to a comment"
	c, err := c.as(pull.Repo)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return c.write(ctx, op, pull.Repo.ID, rest.Same, func(ctx context.Context) (*gh.Response, error) {
		_, resp, err := c.api.Reactions.CreateIssueCommentReaction(ctx, pull.Repo.Owner, pull.Repo.Name, comment, "eyes")
		return resp, err
	})
}

// CloneCredential is the account's token; for an App one of the repository's installation that can read files, and nothing else. It is
// given for this forge's own clone URLs only.
func (c *Client) CloneCredential(ctx context.Context, repo vcs.Repo) (vcs.Credential, error) {
	const op = "choosing a credential for git"
	c, err := c.as(repo)
	if err != nil {
		return vcs.Credential{}, fmt.Errorf("%s: %w", op, err)
	}
	if c.account != nil {
		return c.fetches.Credential(ctx, c.kin.Web, repo, "", "x-access-token")
	}
	return c.rest.Credential(ctx, c.kin.Web, repo, c.user, "x-access-token")
}

// RenewCredential lets an App's token for git go that the forge does not take, as after somebody has revoked it. Jobs can say so, too, of one
// that is good: what is younger than a minute stays.
func (c *Client) RenewCredential(ctx context.Context, repo vcs.Repo, refused string) bool {
	c, err := c.as(repo)
	if err != nil || c.account == nil {
		return false
	}
	in := c.account.in.Load()
	return in != nil && in.reads.drop(ctx, refused)
}
