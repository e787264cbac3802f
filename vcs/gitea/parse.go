package gitea

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// header reads a header of a delivery. Gitea sends its own, Forgejo both.
func header(h http.Header, name string) string {
	if v := h.Get("X-Gitea-" + name); v != "" {
		return v
	}
	return h.Get("X-Forgejo-" + name)
}

// Claims reports whether the delivery is Gitea's or Forgejo's.
func (c *Client) Claims(h http.Header) bool { return header(h, "Event") != "" }

// Verify checks the HMAC-SHA256. Gitea signs the JSON, and not the form that it may be sent in.
func (c *Client) Verify(h http.Header, body []byte) error {
	name := "X-Gitea-Signature"
	if len(h.Values(name)) == 0 {
		name = "X-Forgejo-Signature"
	}
	if kind, _, _ := mime.ParseMediaType(h.Get("Content-Type")); kind == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil || len(form["payload"]) != 1 {
			return fmt.Errorf("a form without exactly one payload is not signed: %w", vcs.ErrSignature)
		}
		body = []byte(form.Get("payload"))
	}
	return rest.VerifyHMAC(h, name, "", body, c.secrets())
}

// Parse reads a verified delivery. The event's name is not signed, so it decides nothing that the body does not show
// as well.
func (c *Client) Parse(h http.Header, body []byte) (vcs.Event, error) {
	name := header(h, "Event")
	var read func(rest.Payload) (vcs.Event, error)
	switch name {
	case "pull_request":
		read = c.pullEvent
	case "issue_comment", "pull_request_comment":
		// The second one is a review's as well: it has no new comment.
		read = func(p rest.Payload) (vcs.Event, error) { return c.kin.CommentEvent(name, p) }
	default:
		if !rest.IsWord(name) {
			return vcs.Event{}, rest.Bad("X-Gitea-Event is not the name of an event")
		}
		return vcs.Event{}, &vcs.IgnoredError{Event: name, Reason: "no command comes with this kind of event"}
	}
	return rest.ReadPayload(h, body, header(h, "Delivery"), read)
}

func (c *Client) pullEvent(p rest.Payload) (vcs.Event, error) {
	ignore := func(reason string) (vcs.Event, error) {
		return vcs.Event{}, &vcs.IgnoredError{Event: "pull_request " + p.Action, Reason: reason}
	}
	if p.Comment != nil {
		// A comment's delivery under another name: one that was deleted must not close the pull request.
		return vcs.Event{}, rest.Bad("a pull request's delivery has a comment")
	}
	switch p.Action {
	case "opened", "reopened":
		return c.kin.PullEvent(vcs.PullOpened, p)
	case "synchronized":
		return c.kin.PullEvent(vcs.PullPushed, p)
	case "closed", "deleted":
		return c.kin.PullEvent(vcs.PullClosed, p)
	case "edited":
		switch was := p.Changes.Title; {
		case p.Changes.Ref != nil:
			return c.kin.PullEvent(vcs.PullRetargeted, p)
		case was != nil && isDraft(was.From) && p.PullRequest != nil && !isDraft(p.PullRequest.Title) && !drafted(p.PullRequest.Draft, p.PullRequest.Title):
			return c.kin.PullEvent(vcs.PullReady, p)
		}
		return ignore("neither the base branch is another one, nor was it a draft")
	}
	return ignore("it changes nothing that a plan is made from")
}
