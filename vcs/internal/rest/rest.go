// Package rest asks a forge's REST API: it says where requests may go and which token they carry, what
// is tried again and for how long, and what names and addresses in an answer may look like.
//
// It knows no forge's dialect. A forge's client says what its errors mean (Config.Judge).
//
// Start with Client.Do and Client.Write.
package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

// UserAgent is what every request calls itself.
const UserAgent = "tidegate"

// Config is what a Client is made of. API, Token, Authorize and Judge are needed.
type Config struct {
	// API is the root of what may be asked, and Beside what else may be. Requests to what is not below one of them are not
	// sent.
	API    *url.URL
	Beside []*url.URL
	// Token is asked anew for each request.
	Token func() (string, error)
	// Authorize puts the token on a request.
	Authorize func(h http.Header, token string)
	// Judge says what an error means, and nil when it is none of the forge's own. The answer is nil when none came.
	Judge func(a *Answer, err error) *Failure
	// Note hears the headers of every answer. It may be nil.
	Note func(h http.Header)
	// HTTP sends requests. nil means net/http's own with the environment's proxies.
	HTTP http.RoundTripper
	// Log hears of retries. nil means nobody does.
	Log *slog.Logger
}

// Client asks one forge. It is safe for concurrent use.
type Client struct {
	// HTTP sends a request once, with the token.
	HTTP   *http.Client
	sender *sender
	judge  func(*Answer, error) *Failure
	log    *slog.Logger
	holds  *holds
}

// New makes a client. It sends nothing yet.
func New(c Config) (*Client, error) {
	if c.Token == nil {
		return nil, errors.New("a token is needed")
	}
	if c.HTTP == nil {
		c.HTTP = Transport()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Note == nil {
		c.Note = func(http.Header) {}
	}
	token := func(context.Context) (string, error) {
		token, err := c.Token()
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		return token, nil
	}
	s := &sender{base: c.HTTP, roots: append([]*url.URL{c.API}, c.Beside...), token: token, authorize: c.Authorize, note: c.Note}
	return &Client{HTTP: s.client(), sender: s, judge: c.Judge, log: c.Log, holds: &holds{}}, nil
}

// Account is who asks, where it is not always the same.
type Account struct {
	// Token is asked anew for each request, with the request's context. Where it asks the forge itself, it
	// does so with Aside and with Once, whose error says whether it is worth to try again.
	Token func(ctx context.Context) (string, error)
	// Judge and Note are what they are in Config.
	Judge func(a *Answer, err error) *Failure
	Note  func(h http.Header)
}

// As is a client of the same forge with another account. What is held back is held back for both.
func (c *Client) As(a Account) *Client {
	s := &sender{base: c.sender.base, roots: c.sender.roots, token: a.Token, authorize: c.sender.authorize, note: a.Note}
	return &Client{HTTP: s.client(), sender: s, judge: a.Judge, log: c.log, holds: c.holds}
}

// Token is the token for a use other than a request, checked as for one.
func (c *Client) Token(ctx context.Context, op string) (token string, err error) {
	err = c.Do(ctx, op, func(ctx context.Context) (*Answer, error) {
		token, err = c.sender.read(ctx)
		return nil, err
	})
	return token, err
}

// Credential is the token with which git fetches a repository: for clone URLs on the forge's own pages only. user is
// what the forge is told, or usual where that is "".
func (c *Client) Credential(ctx context.Context, web *url.URL, repo vcs.Repo, user, usual string) (vcs.Credential, error) {
	const op = "choosing a credential for git"
	if err := OnSite(web, repo.CloneURL); err != nil {
		return vcs.Credential{}, fmt.Errorf("%s: the clone URL %w", op, err)
	}
	token, err := c.Token(ctx, op)
	if err != nil {
		return vcs.Credential{}, err
	}
	return vcs.Credential{User: cmp.Or(user, usual), Password: token}, nil
}

// Do carries a request out that reads. It is tried again after a fault, and after a rate limit.
func (c *Client) Do(ctx context.Context, op string, try func(context.Context) (*Answer, error)) error {
	return c.persist(ctx, op, func() *Failure { return c.attempt(ctx, op, Same, try) })
}

// Once is Do without a second try. Its error is a *Failure.
func (c *Client) Once(ctx context.Context, op string, try func(context.Context) (*Answer, error)) error {
	if f := c.once(ctx, op, Same, try); f != nil {
		return f
	}
	return nil
}

// LeaveOut tells the log of an entry of a list that can't be used. Where anybody can make one, it must not keep the
// others from being read.
func (c *Client) LeaveOut(ctx context.Context, op string, repo vcs.Repo, number int, err error) {
	c.log.WarnContext(ctx, "leaving out what can't be used of the forge's answer", "op", op, "repo", repo.FullName(), "number", number, "err", err)
}

// Forgo tells the log of what was not done, where nothing depends on it.
func (c *Client) Forgo(ctx context.Context, op string, repo vcs.Repo, number int, err error) {
	c.log.WarnContext(ctx, "going on without it", "op", op, "repo", repo.FullName(), "number", number, "err", err)
}

// Aside is ctx for a request that another request needs first: how far it gets says nothing about the other.
func Aside(ctx context.Context) context.Context { return aside{ctx} }

// aside has none of its context's values: among them is who follows the other request.
type aside struct{ context.Context }

func (aside) Value(any) any { return nil }

// Write is Do for what changes something in a repository. It is not tried again when it may have been
// carried out and would then be carried out twice. It waits while the repository is held back, and
// holds it back when the forge asks to slow down.
func (c *Client) Write(ctx context.Context, op string, repo vcs.RepoID, e Effect, try func(context.Context) (*Answer, error)) error {
	return c.persist(ctx, op, func() *Failure {
		if err := c.holds.wait(ctx, repo); err != nil {
			return &Failure{op: op, Text: "the forge has asked to wait", Cause: err}
		}
		f := c.attempt(ctx, op, e, try)
		if f != nil && f.Verdict == Limited {
			c.holds.extend(repo, f.pause(0))
		}
		return f
	})
}

// Answer is what an answer says besides its body.
type Answer struct {
	Status int
	Header http.Header
}

// From is the answer of a response, which may be nil.
func From(resp *http.Response) *Answer {
	if resp == nil {
		return nil
	}
	return &Answer{Status: resp.StatusCode, Header: resp.Header}
}

// Clock is the forge's time of an answer; ours where it tells none.
func Clock(h http.Header) time.Time {
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		return at.UTC()
	}
	return time.Now().UTC()
}
