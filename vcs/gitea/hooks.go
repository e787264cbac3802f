package gitea

import (
	"context"
	"fmt"
	"slices"
	"strings"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// hookEvents are what a webhook has to send. Asked for the first, the forge sends all that is about pull requests.
func hookEvents() []string {
	return []string{"pull_request", "pull_request_sync", "pull_request_comment"}
}

var (
	_ vcs.Hooker  = (*Client)(nil)
	_ vcs.Insider = (*Client)(nil)
)

// Login asks whose token it is.
func (c *Client) Login(ctx context.Context) (string, error) {
	const op = "asking whose token it is"
	var got *sdk.User
	err := c.do(ctx, op, func(api *sdk.Client) (resp *sdk.Response, err error) {
		got, resp, err = api.GetMyUserInfo()
		return resp, err
	})
	if err != nil {
		return "", err
	}
	if !rest.IsName(login(got)) {
		return "", fmt.Errorf("%s: the forge's answer is not a user's name", op)
	}
	return got.UserName, nil
}

// Webhooks are those of a repository, without those of its organisation, its owner or the server. The forge does not
// tell whether one signs, nor what became of its deliveries.
func (c *Client) Webhooks(ctx context.Context, repo vcs.Repo) ([]vcs.Webhook, error) {
	const op = "listing webhooks"
	if err := c.kin.Ours(repo); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var all []vcs.Webhook
	err := c.pages(op, func(page sdk.ListOptions) (resp *sdk.Response, n int, more bool, err error) {
		var some []*sdk.Hook
		err = c.do(ctx, op, func(api *sdk.Client) (*sdk.Response, error) {
			some, resp, err = api.ListRepoHooks(repo.Owner, repo.Name, sdk.ListHooksOptions{ListOptions: page})
			return resp, err
		})
		for _, h := range some {
			if h == nil || h.ID <= 0 {
				return nil, 0, false, fmt.Errorf("%s: the forge's answer: a webhook has no id", op)
			}
			all = append(all, c.webhook(h))
		}
		return resp, len(some), true, err
	})
	return all, err
}

func (c *Client) webhook(h *sdk.Hook) vcs.Webhook {
	out := vcs.Webhook{ID: h.ID, URL: c.rest.Clean(h.Config["url"]), Untold: true}
	if !h.Active {
		out.Wrong = append(out.Wrong, "it is switched off")
	}
	if h.Type != "gitea" && h.Type != "forgejo" {
		out.Wrong = append(out.Wrong, fmt.Sprintf("its type is %q, not gitea", c.rest.Clean(h.Type)))
	}
	var lacks []string
	for _, want := range hookEvents() {
		if !slices.Contains(h.Events, want) {
			lacks = append(lacks, want)
		}
	}
	if len(lacks) > 0 {
		out.Wrong = append(out.Wrong, "it does not send "+strings.Join(lacks, " and "))
	}
	return out
}

// SetWebhook makes a webhook. One that is to be mended is replaced, and has another id then: the forge does not
// change a secret.
func (c *Client) SetWebhook(ctx context.Context, repo vcs.Repo, id int64, url string, secret []byte) error {
	const op = "setting a webhook"
	if err := c.kin.Ours(repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	hook := sdk.CreateHookOption{
		Type: sdk.HookTypeGitea, Active: true, Events: hookEvents(),
		Config: map[string]string{"url": url, "content_type": "json", "secret": string(secret)},
	}
	err := c.write(ctx, op, repo.ID, rest.More, func(api *sdk.Client) (*sdk.Response, error) {
		_, resp, err := api.CreateRepoHook(repo.Owner, repo.Name, hook)
		return resp, err
	})
	if err != nil || id == 0 {
		return err
	}
	// The old one goes last: what is sent by both is one event.
	return c.write(ctx, op, repo.ID, rest.Same, func(api *sdk.Client) (*sdk.Response, error) {
		return api.DeleteRepoHook(repo.Owner, repo.Name, id)
	})
}
