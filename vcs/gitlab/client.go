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
	"fmt"
	"log/slog"
	"net/http"

	gl "github.com/xanzy/go-gitlab"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
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

// Client is a vcs.Hook. It is safe for concurrent use.
type Client struct {
	address
	user    string
	secrets func() [][]byte
	rest    *rest.Client
	api     *gl.Client
}

var _ vcs.Hook = (*Client)(nil)

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
