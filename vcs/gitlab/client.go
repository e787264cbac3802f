// Package gitlab speaks GitLab's dialect: gitlab.com, and servers of one's own from 15.0 on. It takes
// webhook deliveries in and is the account that reads merge requests, writes notes and sets statuses.
//
// It knows no command and no run. What the forge sends is checked before it becomes one of vcs's
// values: paths and commits have the form they must have, and addresses are made here from the path of
// a project, so that no credential is ever offered to another host.
//
// Start with New. parse.go takes deliveries in, convert.go checks what comes, retry.go says what an
// error means.
package gitlab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	gl "github.com/xanzy/go-gitlab"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	perPage = 100
	// maxPages ends a list that never ends.
	maxPages = 1000
)

// Config is what a Client is made of. Token is needed, everything else may be zero.
type Config struct {
	// APIURL is the root of the REST API, with or without /api/v4. "" means the one of Hostname. Plain
	// http is taken for loopback hosts only.
	APIURL string
	// Hostname is the host of the forge's pages, with its port. "" and "gitlab.com" mean gitlab.com, or
	// APIURL's host where that is given.
	Hostname string
	// User is the account's name, used when cloning. "" means oauth2.
	User string
	// Token is asked anew for each request, so that the token can be changed meanwhile.
	Token func() (string, error)
	// WebhookSecrets are the secrets a delivery may come with. None, or an empty one, verifies nothing.
	// It is asked anew for each delivery.
	WebhookSecrets func() [][]byte
	// HTTP sends requests. nil means net/http's own with the environment's proxies.
	HTTP http.RoundTripper
	// Log hears of retries. nil means nobody does.
	Log *slog.Logger
}

// Client is a vcs.Forge, a vcs.Hook, and has most abilities of a forge. It is safe for concurrent use.
type Client struct {
	address
	user    string
	secrets func() [][]byte
	rest    *rest.Client
	api     *gl.Client
	targets targets
}

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
	addr, err := newAddress(c)
	if err != nil {
		return nil, err
	}
	if c.WebhookSecrets == nil {
		c.WebhookSecrets = func() [][]byte { return nil }
	}
	cl := &Client{address: addr, user: c.User, secrets: c.WebhookSecrets}
	cl.rest, err = rest.New(rest.Config{
		API: addr.api, Token: c.Token, HTTP: c.HTTP, Log: c.Log, Judge: cl.judge,
		Authorize: func(h http.Header, token string) { h.Set("PRIVATE-TOKEN", token) },
	})
	if err != nil {
		return nil, err
	}
	// Waiting and trying again is what package rest does.
	cl.api, err = gl.NewClient("", gl.WithBaseURL(addr.api.String()), gl.WithHTTPClient(cl.rest.HTTP), gl.WithoutRetries(), gl.WithCustomLimiter(unlimited{}))
	if err != nil {
		return nil, fmt.Errorf("making a client of the API: %w", err)
	}
	cl.api.UserAgent = rest.UserAgent
	return cl, nil
}

// Pull reads a merge request. A project is asked for by its id, which a renamed one keeps.
func (c *Client) Pull(ctx context.Context, repo vcs.Repo, number int) (vcs.Pull, error) {
	const op = "reading a merge request"
	if err := c.ours(repo); err != nil {
		return vcs.Pull{}, fmt.Errorf("%s: %w", op, err)
	}
	_, p, err := c.read(ctx, op, repo, number)
	return p, err
}

// Comments lists the notes made at or after since, oldest first. What GitLab itself wrote is none.
func (c *Client) Comments(ctx context.Context, pull vcs.Pull, since time.Time) ([]vcs.Comment, error) {
	return c.notes(ctx, pull, since, func(note) bool { return true })
}

// notes are the Comments that are wanted.
func (c *Client) notes(ctx context.Context, pull vcs.Pull, since time.Time, wanted func(note) bool) ([]vcs.Comment, error) {
	const op = "listing notes"
	if err := c.ours(pull.Repo); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	since = since.UTC().Truncate(time.Second)
	opts := &listNotes{Sort: "desc", OrderBy: "created_at"}
	var all []vcs.Comment
	// GitLab has no since: the newest come first, until one is older.
	err := pages(op, &opts.ListOptions, func() (*gl.Response, error) {
		var some []note
		resp, err := c.readPage(ctx, op, mergePath(pull.Repo, pull.Number)+"/notes", opts, &some)
		if err != nil {
			return nil, err
		}
		for _, n := range some {
			if n.System {
				continue
			}
			got, err := c.comment(pull, n)
			if err != nil {
				return nil, fmt.Errorf("%s: the forge's answer: %w", op, err)
			}
			if got.CreatedAt.Before(since) {
				return last(resp), nil
			}
			if wanted(n) {
				all = append(all, got)
			}
		}
		return resp, nil
	})
	if err != nil {
		return nil, err
	}
	return rest.InOrder(all), nil
}

// CreateComment posts a note. It is sent once: after a doubt the error wraps vcs.ErrInDoubt.
func (c *Client) CreateComment(ctx context.Context, pull vcs.Pull, body string) (vcs.Comment, error) {
	const op = "posting a note"
	if err := c.ours(pull.Repo); err != nil {
		return vcs.Comment{}, fmt.Errorf("%s: %w", op, err)
	}
	var got note
	path := mergePath(pull.Repo, pull.Number) + "/notes"
	if err := c.send(ctx, op, pull.Repo.ID, rest.More, http.MethodPost, path, noteText{noCommands(body)}, &got); err != nil {
		return vcs.Comment{}, err
	}
	made, err := c.comment(pull, got)
	return rest.Posted(op, made, err)
}

// EditComment replaces a note's text.
func (c *Client) EditComment(ctx context.Context, pull vcs.Pull, id int64, body string) error {
	const op = "editing a note"
	if err := c.ours(pull.Repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return c.send(ctx, op, pull.Repo.ID, rest.Same, http.MethodPut, notePath(pull, id), noteText{noCommands(body)}, nil)
}

// DeleteComment deletes a note. One that is gone is no error.
func (c *Client) DeleteComment(ctx context.Context, pull vcs.Pull, id int64) error {
	const op = "deleting a note"
	if err := c.ours(pull.Repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	err := c.send(ctx, op, pull.Repo.ID, rest.Same, http.MethodDelete, notePath(pull, id), nil, nil)
	if errors.Is(err, vcs.ErrNotFound) {
		return nil
	}
	return err
}

// React answers a note with a pair of eyes. A second pair is the first one.
func (c *Client) React(ctx context.Context, pull vcs.Pull, comment int64) error {
	const op = "reacting to a note"
	if err := c.ours(pull.Repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	type emoji struct {
		Name string `json:"name"`
	}
	path, eyes := notePath(pull, comment)+"/award_emoji", emoji{"eyes"}
	err := c.send(ctx, op, pull.Repo.ID, rest.Same, http.MethodPost, path, eyes, nil)
	if !errors.Is(err, vcs.ErrNotFound) {
		return err
	}
	// GitLab says not found of a note that is gone, and of an emoji that is there.
	var there []emoji
	if c.get(ctx, op, path, &gl.ListOptions{PerPage: perPage}, &there) != nil {
		return err
	}
	for _, one := range there {
		if one == eyes {
			return nil
		}
	}
	return err
}

// CloneCredential is the account's token. It is given for this forge's own clone URLs only.
func (c *Client) CloneCredential(ctx context.Context, repo vcs.Repo) (vcs.Credential, error) {
	const op = "choosing a credential for git"
	if err := c.ours(repo); err != nil {
		return vcs.Credential{}, fmt.Errorf("%s: %w", op, err)
	}
	return c.rest.Credential(ctx, c.kin.Web, repo, c.user, "oauth2")
}

// ours refuses repositories of other forges, and names that would change a request's path.
func (c *Client) ours(repo vcs.Repo) error {
	if repo.ID.Forge != c.kin.Instance {
		return fmt.Errorf("%s is a repository of %q, this is %q: %w", repo.FullName(), repo.ID.Forge, c.kin.Instance, vcs.ErrRefused)
	}
	if !isPath(repo.FullName()) {
		return fmt.Errorf("%q is not the path of a project: %w", repo.FullName(), vcs.ErrNotFound)
	}
	return nil
}

// projectPath is where a project is asked for: by its id where that is known.
func projectPath(repo vcs.Repo) string {
	if repo.ID.ID > 0 {
		return "projects/" + strconv.FormatInt(repo.ID.ID, 10)
	}
	return "projects/" + gl.PathEscape(repo.FullName())
}

func mergePath(repo vcs.Repo, number int) string {
	return fmt.Sprintf("%s/merge_requests/%d", projectPath(repo), number)
}

func notePath(pull vcs.Pull, id int64) string {
	return fmt.Sprintf("%s/notes/%d", mergePath(pull.Repo, pull.Number), id)
}

// noCommands keeps GitLab from taking a line for one of its quick actions, which would be carried out with our
// account's permissions. It looks for them in edited notes too, and older versions of it in blocks of code that
// are fenced with more than three backticks. It drops every carriage return before it looks.
// https://docs.gitlab.com/user/project/quick_actions/
func noCommands(body string) string {
	body = strings.ReplaceAll(body, "\r", "")
	if strings.HasPrefix(body, "/") {
		body = " " + body
	}
	return strings.ReplaceAll(body, "\n/", "\n /")
}
