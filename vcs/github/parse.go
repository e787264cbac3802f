package github

import (
	"net/http"
	"slices"
	"strings"
	"time"

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
	var read func(payload) (vcs.Event, error)
	switch name {
	case "pull_request":
		read = c.pullEvent
	case "issue_comment":
		read = c.commentEvent
	case "ping":
		return vcs.Event{}, parsePing(h, body)
	default:
		if !rest.IsWord(name) {
			return vcs.Event{}, rest.Bad("%s is not the name of an event", eventHeader)
		}
		return vcs.Event{}, &vcs.IgnoredError{Event: name, Reason: "no command comes with this kind of event"}
	}
	var p payload
	if err := rest.Decode(h, body, &p); err != nil {
		return vcs.Event{}, err
	}
	if !rest.IsWord(p.Action) {
		return vcs.Event{}, rest.Bad("action is missing or not a word")
	}
	ev, err := read(p)
	if err != nil {
		return vcs.Event{}, err
	}
	if id := h.Get(deliveryHeader); rest.IsDelivery(id) {
		ev.Delivery = id
	}
	return ev, nil
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

func (c *Client) pullEvent(p payload) (vcs.Event, error) {
	ev := vcs.Event{}
	ignore := func(reason string) (vcs.Event, error) {
		return vcs.Event{}, &vcs.IgnoredError{Event: "pull_request " + p.Action, Reason: reason}
	}
	switch p.Action {
	case "opened", "reopened":
		ev.Kind = vcs.PullOpened
	case "synchronize":
		ev.Kind = vcs.PullPushed
	case "ready_for_review":
		ev.Kind = vcs.PullReady
	case "closed":
		ev.Kind = vcs.PullClosed
	case "edited":
		if p.Changes == nil || p.Changes.Base == nil {
			return ignore("the base branch is the same as before")
		}
		ev.Kind = vcs.PullRetargeted
	default:
		return ignore("it changes nothing that a plan is made from")
	}
	if err := c.who(p, &ev); err != nil {
		return vcs.Event{}, err
	}
	pr := p.PullRequest
	switch {
	case pr == nil:
		return vcs.Event{}, rest.Bad("pull_request is missing")
	case !rest.IsNumber(pr.Number):
		return vcs.Event{}, rest.Bad("pull_request.number is not a number of a pull request")
	case p.Number != nil && *p.Number != pr.Number:
		return vcs.Event{}, rest.Bad("number and pull_request.number differ")
	case pr.UpdatedAt.IsZero():
		return vcs.Event{}, rest.Bad("pull_request.updated_at is missing")
	case pr.Head == nil || !rest.IsSHA(pr.Head.SHA):
		return vcs.Event{}, rest.Bad("pull_request.head.sha is not a commit")
	case pr.Base == nil || !rest.IsSHA(pr.Base.SHA):
		return vcs.Event{}, rest.Bad("pull_request.base.sha is not a commit")
	case !rest.IsRef(pr.Head.Ref) || !rest.IsRef(pr.Base.Ref):
		return vcs.Event{}, rest.Bad("pull_request.head.ref or base.ref is not the name of a branch")
	case pr.Base.Repo != nil && pr.Base.Repo.ID != ev.Repo.ID.ID:
		return vcs.Event{}, rest.Bad("pull_request.base.repo is another repository than repository")
	}
	ev.Pull, ev.At = int(pr.Number), pr.UpdatedAt.UTC()
	ev.Head, ev.Base, ev.BaseRef = pr.Head.SHA, pr.Base.SHA, pr.Base.Ref
	return ev, nil
}

func (c *Client) commentEvent(p payload) (vcs.Event, error) {
	ev := vcs.Event{Kind: vcs.Commented}
	ignore := func(reason string) (vcs.Event, error) {
		return vcs.Event{}, &vcs.IgnoredError{Event: "issue_comment " + p.Action, Reason: reason}
	}
	switch {
	case p.Action != "created":
		return ignore("only a new comment can be a command")
	case p.Issue == nil:
		return vcs.Event{}, rest.Bad("issue is missing")
	case p.Issue.PullRequest == nil:
		return ignore("the comment is on an issue, not on a pull request")
	}
	if err := c.who(p, &ev); err != nil {
		return vcs.Event{}, err
	}
	k := p.Comment
	switch {
	case !rest.IsNumber(p.Issue.Number):
		return vcs.Event{}, rest.Bad("issue.number is not a number of a pull request")
	case k == nil || k.ID <= 0:
		return vcs.Event{}, rest.Bad("comment is missing or has no id")
	case k.User == nil || !isLogin(k.User.Login):
		return vcs.Event{}, rest.Bad("comment.user is missing or not a user's name")
	case k.CreatedAt.IsZero():
		return vcs.Event{}, rest.Bad("comment.created_at is missing")
	case !isNode(k.NodeID):
		return vcs.Event{}, rest.Bad("comment.node_id is not an id")
	}
	if k.HTMLURL != "" {
		if err := rest.OnSite(c.web, k.HTMLURL); err != nil {
			return vcs.Event{}, rest.Bad("comment.html_url %v", err)
		}
	}
	ev.Pull, ev.At = int(p.Issue.Number), k.CreatedAt.UTC()
	ev.Comment = &vcs.Comment{
		ID: k.ID, Node: k.NodeID, Author: k.User.Login, Body: rest.CutComment(k.Body),
		URL: k.HTMLURL, CreatedAt: k.CreatedAt.UTC(),
	}
	return ev, nil
}

// who reads what every event has.
func (c *Client) who(p payload, ev *vcs.Event) error {
	if p.Repository == nil {
		return rest.Bad("repository is missing")
	}
	var err error
	if ev.Repo, err = c.repo(*p.Repository); err != nil {
		return rest.Bad("repository: %v", err)
	}
	if p.Sender == nil || !isLogin(p.Sender.Login) {
		return rest.Bad("sender is missing or not a user's name")
	}
	ev.Sender = p.Sender.Login
	return nil
}

// payload is what is read of a delivery.
type payload struct {
	Action      string      `json:"action"`
	Number      *int64      `json:"number"`
	Repository  *rawRepo    `json:"repository"`
	Sender      *rawUser    `json:"sender"`
	PullRequest *rawPull    `json:"pull_request"`
	Issue       *rawIssue   `json:"issue"`
	Comment     *rawComment `json:"comment"`
	Changes     *rawChanges `json:"changes"`
}

type rawUser struct {
	Login string `json:"login"`
}

type rawRepo struct {
	ID       int64    `json:"id"`
	Name     string   `json:"name"`
	FullName string   `json:"full_name"`
	Owner    *rawUser `json:"owner"`
	HTMLURL  string   `json:"html_url"`
	CloneURL string   `json:"clone_url"`
}

type rawPull struct {
	Number    int64      `json:"number"`
	UpdatedAt time.Time  `json:"updated_at"`
	Head      *rawBranch `json:"head"`
	Base      *rawBranch `json:"base"`
}

type rawBranch struct {
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo *struct {
		ID int64 `json:"id"`
	} `json:"repo"`
}

type rawIssue struct {
	Number      int64     `json:"number"`
	PullRequest *struct{} `json:"pull_request"`
}

type rawComment struct {
	ID        int64     `json:"id"`
	NodeID    string    `json:"node_id"`
	HTMLURL   string    `json:"html_url"`
	Body      string    `json:"body"`
	User      *rawUser  `json:"user"`
	CreatedAt time.Time `json:"created_at"`
}

type rawChanges struct {
	Base *struct{} `json:"base"`
}
