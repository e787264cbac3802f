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
	_ vcs.Apps    = (*Client)(nil)
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
	if lacks := unsent(h.Events); len(lacks) > 0 {
		out.Wrong = append(out.Wrong, "it does not send "+strings.Join(lacks, " and "))
	}
	out.Wrong = append(out.Wrong, wrongHook(h.Config)...)
	// The last answer is {"code": 200, "status": "active", "message": "OK"}, and has null for a code when nothing was sent yet.
	code, told := h.LastResponse["code"].(float64)
	if told && (code < 200 || code > 299) {
		said, _ := h.LastResponse["message"].(string)
		out.Failed = strings.TrimSpace(fmt.Sprintf("%.0f %s", code, c.rest.Clean(said)))
	}
	return out
}

// unsent are the events that a webhook has to send and does not.
func unsent(events []string) []string {
	return slices.DeleteFunc(hookEvents(), func(want string) bool { return slices.Contains(events, want) || slices.Contains(events, "*") })
}

// wrongHook is what is to be mended of the settings of a webhook.
func wrongHook(config *gh.HookConfig) (out []string) {
	wrong := func(is bool, what string) {
		if is {
			out = append(out, what)
		}
	}
	wrong(config.GetContentType() != "json", "its content type is not application/json")
	wrong(config.GetSecret() == "", "it has no secret, so nothing is signed")
	wrong(config.GetInsecureSSL() == "1", "it does not look at the server's certificate")
	return out
}

// App is the App that asks, with its webhook.
func (c *Client) App(ctx context.Context) (vcs.App, error) {
	const op = "reading the App"
	if c.app == nil {
		return vcs.App{}, fmt.Errorf("%s: an account asks, and no App: %w", op, vcs.ErrRefused)
	}
	var self *gh.App
	var config *gh.HookConfig
	var sent []*gh.HookDelivery
	for _, ask := range []func(ctx context.Context) (*gh.Response, error){
		func(ctx context.Context) (resp *gh.Response, err error) {
			self, resp, err = c.api.Apps.Get(ctx, "")
			return resp, err
		},
		func(ctx context.Context) (resp *gh.Response, err error) {
			config, resp, err = c.api.Apps.GetHookConfig(ctx)
			return resp, err
		},
		func(ctx context.Context) (resp *gh.Response, err error) {
			sent, resp, err = c.api.Apps.ListHookDeliveries(ctx, &gh.ListCursorOptions{PerPage: 1})
			return resp, err
		},
	} {
		if err := c.do(ctx, op, ask); err != nil {
			return vcs.App{}, err
		}
	}
	out := vcs.App{May: permissions(self.Permissions), Webhook: vcs.Webhook{URL: c.rest.Clean(config.GetURL())}}
	if out.Webhook.URL == "" {
		return out, nil
	}
	out.Unsent, out.Webhook.Wrong = unsent(self.Events), wrongHook(config)
	if len(sent) > 0 && sent[0] != nil {
		if code := sent[0].GetStatusCode(); code < 200 || code > 299 {
			out.Webhook.Failed = strings.TrimSpace(fmt.Sprintf("%d %s", code, c.rest.Clean(sent[0].GetStatus())))
		}
	}
	return out, nil
}

// permissions are those that we may need, by GitHub's names.
func permissions(p *gh.InstallationPermissions) map[string]string {
	if p == nil {
		p = &gh.InstallationPermissions{}
	}
	may := map[string]string{}
	for name, how := range map[string]*string{
		"contents": p.Contents, "issues": p.Issues, "metadata": p.Metadata, "pull_requests": p.PullRequests, "statuses": p.Statuses, "checks": p.Checks,
	} {
		if how != nil {
			may[name] = *how
		}
	}
	return may
}

// SetAppWebhook sets where the App's webhook goes.
func (c *Client) SetAppWebhook(ctx context.Context, url string, secret []byte) error {
	const op = "setting the App's webhook"
	if c.app == nil {
		return fmt.Errorf("%s: an account asks, and no App: %w", op, vcs.ErrRefused)
	}
	config := &gh.HookConfig{URL: &url, ContentType: gh.String("json"), InsecureSSL: gh.String("0"), Secret: gh.String(string(secret))}
	return c.write(ctx, op, vcs.RepoID{}, rest.Same, func(ctx context.Context) (*gh.Response, error) {
		_, resp, err := c.api.Apps.UpdateHookConfig(ctx, config)
		return resp, err
	})
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
