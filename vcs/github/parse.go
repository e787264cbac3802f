package github

import (
	"net/http"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	eventHeader     = "X-GitHub-Event"
	deliveryHeader  = "X-GitHub-Delivery"
	signatureHeader = "X-Hub-Signature-256"
	signaturePrefix = "sha256="
)

// Claims reports whether the delivery is GitHub's. Gitea and its kin send GitHub's headers too.
func (c *Client) Claims(h http.Header) bool {
	for name := range h {
		name = http.CanonicalHeaderKey(name)
		if strings.HasPrefix(name, "X-Gitea-") || strings.HasPrefix(name, "X-Forgejo-") || strings.HasPrefix(name, "X-Gogs-") {
			return false
		}
	}
	return h.Get(eventHeader) != ""
}

// Verify checks the HMAC-SHA256 over the raw body. The older SHA-1 signature is not looked at.
func (c *Client) Verify(h http.Header, body []byte) error {
	return rest.VerifyHMAC(h, signatureHeader, signaturePrefix, body, c.secrets())
}

// Parse reads a verified delivery. The event's name is not signed, so it decides nothing that the
// body does not show as well.
func (c *Client) Parse(h http.Header, body []byte) (vcs.Event, error) {
	name := h.Get(eventHeader)
	var read func(rest.Payload) (vcs.Event, error)
	switch name {
	case "pull_request":
		read = c.pullEvent
	case "issue_comment":
		read = func(p rest.Payload) (vcs.Event, error) { return c.kin.CommentEvent(name, p) }
	case "ping":
		return vcs.Event{}, parsePing(h, body)
	default:
		if !rest.IsWord(name) {
			return vcs.Event{}, rest.Bad("%s is not the name of an event", eventHeader)
		}
		return vcs.Event{}, &vcs.IgnoredError{Event: name, Reason: "no command comes with this kind of event"}
	}
	return rest.ReadPayload(h, body, h.Get(deliveryHeader), read)
}

// parsePing answers GitHub's first delivery, which tells what the webhook will send.
func parsePing(h http.Header, body []byte) error {
	var p struct {
		Hook struct {
			Events []string `json:"events"`
		} `json:"hook"`
	}
	if err := rest.Decode(h, body, &p); err != nil {
		return err
	}
	reason := "the webhook works"
	var lacks []string
	for _, want := range []string{"pull_request", "issue_comment"} {
		if !slices.Contains(p.Hook.Events, want) && !slices.Contains(p.Hook.Events, "*") {
			lacks = append(lacks, want)
		}
	}
	if len(lacks) > 0 {
		reason += ", but it does not send " + strings.Join(lacks, " and ") + ": choose them in its settings"
	}
	return &vcs.IgnoredError{Event: "ping", Reason: reason}
}

func (c *Client) pullEvent(p rest.Payload) (vcs.Event, error) {
	var kind vcs.EventKind
	ignore := func(reason string) (vcs.Event, error) {
		return vcs.Event{}, &vcs.IgnoredError{Event: "pull_request " + p.Action, Reason: reason}
	}
	switch p.Action {
	case "opened", "reopened":
		kind = vcs.PullOpened
	case "synchronize":
		kind = vcs.PullPushed
	case "ready_for_review":
		kind = vcs.PullReady
	case "closed":
		kind = vcs.PullClosed
	case "edited":
		if p.Changes.Base == nil {
			return ignore("the base branch is the same as before")
		}
		kind = vcs.PullRetargeted
	default:
		return ignore("it changes nothing that a plan is made from")
	}
	return c.kin.PullEvent(kind, p)
}
