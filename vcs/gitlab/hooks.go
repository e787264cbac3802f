package gitlab

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	gl "github.com/xanzy/go-gitlab"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

var (
	_ vcs.Hooker  = (*Client)(nil)
	_ vcs.Insider = (*Client)(nil)
)

// webhook is what is read of one. GitLab tells no secret, nor whether there is one.
type webhook struct {
	ID     int64  `json:"id"`
	URL    string `json:"url"`
	Merges bool   `json:"merge_requests_events"`
	Notes  bool   `json:"note_events"`
	TLS    bool   `json:"enable_ssl_verification"`
	// Alert says that GitLab sends nothing any more, for a while or for good, because too much has failed.
	Alert string `json:"alert_status"`
}

// webhookText is what is written of one.
type webhookText struct {
	URL           string `json:"url"`
	Token         string `json:"token"`
	Merges        bool   `json:"merge_requests_events"`
	Notes         bool   `json:"note_events"`
	InternalNotes bool   `json:"confidential_note_events"`
	Pushes        bool   `json:"push_events"`
	TLS           bool   `json:"enable_ssl_verification"`
}

// Login asks whose token it is.
func (c *Client) Login(ctx context.Context) (string, error) {
	const op = "asking whose token it is"
	var me user
	if err := c.get(ctx, op, "user", nil, &me); err != nil {
		return "", err
	}
	if !isUser(me.Username) {
		return "", fmt.Errorf("%s: the forge's answer is not a user's name", op)
	}
	return me.Username, nil
}

// Webhooks are those of a project, without those of its groups.
func (c *Client) Webhooks(ctx context.Context, repo vcs.Repo) ([]vcs.Webhook, error) {
	const op = "listing webhooks"
	if err := c.ours(repo); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var all []vcs.Webhook
	opts := &gl.ListOptions{}
	err := pages(op, opts, func() (*gl.Response, error) {
		var some []webhook
		resp, err := c.readPage(ctx, op, projectPath(repo)+"/hooks", opts, &some)
		if err != nil {
			return nil, err
		}
		for _, h := range some {
			if h.ID <= 0 {
				return nil, fmt.Errorf("%s: the forge's answer: a webhook has no id", op)
			}
			all = append(all, vcs.Webhook{ID: h.ID, URL: c.rest.Clean(h.URL), Wrong: c.wrong(h), Untold: true})
		}
		return resp, nil
	})
	return all, err
}

// wrong is what is to be mended of a webhook.
func (c *Client) wrong(h webhook) []string {
	var all, lacks []string
	if h.Alert != "" && h.Alert != "executable" {
		all = append(all, "GitLab has switched it off after failures ("+c.rest.Clean(h.Alert)+"): send a test from its settings")
	}
	if !h.Merges {
		lacks = append(lacks, "merge request events")
	}
	if !h.Notes {
		lacks = append(lacks, "comments")
	}
	if len(lacks) > 0 {
		all = append(all, "it does not send "+strings.Join(lacks, " and "))
	}
	if !h.TLS {
		all = append(all, "it does not look at the server's certificate")
	}
	return all
}

// SetWebhook makes or mends a webhook.
func (c *Client) SetWebhook(ctx context.Context, repo vcs.Repo, id int64, url string, secret []byte) error {
	const op = "setting a webhook"
	if err := c.ours(repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	// Internal notes are found by who looks for what no webhook told: they are sent, too.
	body := webhookText{URL: url, Token: string(secret), Merges: true, Notes: true, InternalNotes: true, TLS: true}
	path := projectPath(repo) + "/hooks"
	if id != 0 {
		return c.send(ctx, op, repo.ID, rest.Same, http.MethodPut, fmt.Sprintf("%s/%d", path, id), body, nil)
	}
	return c.send(ctx, op, repo.ID, rest.More, http.MethodPost, path, body, nil)
}
