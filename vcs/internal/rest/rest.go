// Package rest asks a forge's REST API: it says where requests may go and which token they carry, what
// is tried again and for how long, and what names and addresses in an answer may look like.
//
// It knows no forge's dialect. A forge's client says what its errors mean (Config.Judge).
//
// Start with Client.Do and Client.Write.
package rest

import (
	"context"
	"errors"
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
	// API is the root of what may be asked. Requests to another host are not sent.
	API *url.URL
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
	holds  holds
}

// New makes a client. It sends nothing yet.
func New(c Config) (*Client, error) {
	if c.Token == nil {
		return nil, errors.New("a token is needed")
	}
	if c.HTTP == nil {
		c.HTTP = newTransport()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Note == nil {
		c.Note = func(http.Header) {}
	}
	s := &sender{base: c.HTTP, api: c.API, token: c.Token, authorize: c.Authorize, note: c.Note}
	return &Client{HTTP: &http.Client{Transport: s, CheckRedirect: checkRedirect}, sender: s, judge: c.Judge, log: c.Log}, nil
}

// Token reads the token now, and checks that it can be one.
func (c *Client) Token() (string, error) { return readToken(c.sender.token) }

// Do carries a request out that reads. It is tried again after a fault, and after a rate limit.
func (c *Client) Do(ctx context.Context, op string, try func(context.Context) (*Answer, error)) error {
	return c.persist(ctx, op, func() *Failure { return c.attempt(ctx, op, Same, try) })
}

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
