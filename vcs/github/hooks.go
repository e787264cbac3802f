package github

import (
	"context"
	"fmt"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// hookEvents are what a webhook has to send.
func hookEvents() []string { return []string{"issue_comment", "pull_request"} }

var (
	_ vcs.Hooker  = (*Client)(nil)
	_ vcs.Insider = (*Client)(nil)
)

// Webhooks are those of a repository. One that belongs to its organisation, or to an App, is not among them.
func (c *Client) Webhooks(ctx context.Context, repo vcs.Repo) ([]vcs.Webhook, error) {
	const op = "listing webhooks"
	c, err := c.as(repo)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var all []vcs.Webhook
	err = c.pages(op, func(page gh.ListOptions) (resp *gh.Response, err error) {
		var some []*gh.Hook
		err = c.do(ctx, op, func(ctx context.Context) (*gh.Response, error) {
			some, resp, err = c.api.Repositories.ListHooks(ctx, repo.Owner, repo.Name, &page)
			return resp, err
		})
		for _, h := range some {
			if h.GetID() <= 0 || h.Config == nil {
				return nil, fmt.Errorf("%s: the forge's answer: a webhook has no id or no settings", op)
			}
			all = append(all, c.webhook(h))
		}
		return resp, err
	})
	return all, err
}

func (c *Client) webhook(h *gh.Hook) vcs.Webhook {
	out := vcs.Webhook{ID: h.GetID(), URL: c.rest.Clean(h.Config.GetURL())}
	wrong := func(is bool, what string) {
		if is {
			out.Wrong = append(out.Wrong, what)
		}
	}
	wrong(!h.GetActive(), "it is switched off")
	var lacks []string
	for _, want := range hookEvents() {
		if !slices.Contains(h.Events, want) && !slices.Contains(h.Events, "*") {
			lacks = append(lacks, want)
		}
	}
	wrong(len(lacks) > 0, "it does not send "+strings.Join(lacks, " and "))
	wrong(h.Config.GetContentType() != "json", "its content type is not application/json")
	wrong(h.Config.GetSecret() == "", "it has no secret, so nothing is signed")
	wrong(h.Config.GetInsecureSSL() == "1", "it does not look at the server's certificate")
	// The last answer is {"code": 200, "status": "active", "message": "OK"}, and has null for a code when nothing was sent yet.
	code, told := h.LastResponse["code"].(float64)
	if told && (code < 200 || code > 299) {
		said, _ := h.LastResponse["message"].(string)
		out.Failed = strings.TrimSpace(fmt.Sprintf("%.0f %s", code, c.rest.Clean(said)))
	}
	return out
}

// SetWebhook makes or mends a webhook.
func (c *Client) SetWebhook(ctx context.Context, repo vcs.Repo, id int64, url string, secret []byte) error {
	const op = "setting a webhook"
	c, err := c.as(repo)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	hook := &gh.Hook{
		Active: gh.Bool(true), Events: hookEvents(),
		Config: &gh.HookConfig{URL: &url, ContentType: gh.String("json"), InsecureSSL: gh.String("0"), Secret: gh.String(string(secret))},
	}
	effect := rest.Same
	if id == 0 {
		effect = rest.More
	}
	return c.write(ctx, op, repo.ID, effect, func(ctx context.Context) (resp *gh.Response, err error) {
		if id != 0 {
			_, resp, err = c.api.Repositories.EditHook(ctx, repo.Owner, repo.Name, id, hook)
			return resp, err
		}
		_, resp, err = c.api.Repositories.CreateHook(ctx, repo.Owner, repo.Name, hook)
		return resp, err
	})
}
