package gitlab

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	eventHeader    = "X-Gitlab-Event"
	deliveryHeader = "X-Gitlab-Event-UUID"
	tokenHeader    = "X-Gitlab-Token" //nolint:gosec // the name of a header
)

// Claims reports whether the delivery is GitLab's.
func (c *Client) Claims(h http.Header) bool { return h.Get(eventHeader) != "" }

// Verify compares the token that a delivery comes with. GitLab signs nothing: the token is the secret itself.
func (c *Client) Verify(h http.Header, _ []byte) error {
	values := h.Values(tokenHeader)
	switch {
	case len(values) == 0:
		return fmt.Errorf("%s is not there: %w", tokenHeader, vcs.ErrSignature)
	case len(values) > 1:
		return fmt.Errorf("%s is there more than once: %w", tokenHeader, vcs.ErrSignature)
	}
	// Of equal length whatever was sent: how long a comparison takes tells nothing of the secret.
	got := sha256.Sum256([]byte(values[0]))
	good := 0
	for _, secret := range c.secrets() {
		// Anybody can send an empty one.
		if len(secret) == 0 {
			continue
		}
		want := sha256.Sum256(secret)
		good |= subtle.ConstantTimeCompare(want[:], got[:])
	}
	if good != 1 {
		return fmt.Errorf("%s is wrong: %w", tokenHeader, vcs.ErrSignature)
	}
	return nil
}

// Parse reads a verified delivery. What the header calls it must be what the body is.
// https://docs.gitlab.com/user/project/integrations/webhook_events/
func (c *Client) Parse(h http.Header, body []byte) (vcs.Event, error) {
	name := h.Get(eventHeader)
	var kind string
	var read func(payload) (vcs.Event, error)
	switch name {
	case "Merge Request Hook":
		kind, read = "merge_request", c.pullEvent
	case "Note Hook", "Confidential Note Hook":
		kind, read = "note", c.noteEvent
	default:
		if !isHook(name) {
			return vcs.Event{}, rest.Bad("%s is not the name of an event", eventHeader)
		}
		return vcs.Event{}, &vcs.IgnoredError{Event: name, Reason: "no command comes with this kind of event"}
	}
	var p payload
	if err := rest.Decode(h, body, &p); err != nil {
		return vcs.Event{}, err
	}
	if p.ObjectKind != kind {
		return vcs.Event{}, rest.Bad("object_kind is not %s", kind)
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

func (c *Client) pullEvent(p payload) (vcs.Event, error) {
	var m rawMerge
	if err := attributes(p, &m); err != nil {
		return vcs.Event{}, err
	}
	if !rest.IsWord(m.Action) {
		return vcs.Event{}, rest.Bad("object_attributes.action is missing or not a word")
	}
	ev := vcs.Event{}
	reason := ""
	switch m.Action {
	case "open", "reopen":
		ev.Kind = vcs.PullOpened
	case "close", "merge":
		ev.Kind = vcs.PullClosed
	case "update":
		ev.Kind, reason = p.Changes.kind(m)
	default:
		reason = "it changes nothing that a plan is made from"
	}
	if reason != "" {
		return vcs.Event{}, &vcs.IgnoredError{Event: "merge_request " + m.Action, Reason: reason}
	}
	if err := c.who(p, &ev); err != nil {
		return vcs.Event{}, err
	}
	switch {
	case !rest.IsNumber(m.IID):
		return vcs.Event{}, rest.Bad("object_attributes.iid is not a number of a merge request")
	case m.TargetProjectID != ev.Repo.ID.ID:
		return vcs.Event{}, rest.Bad("object_attributes.target_project_id is another project than project")
	case m.UpdatedAt.IsZero():
		return vcs.Event{}, rest.Bad("object_attributes.updated_at is missing")
	case m.LastCommit.ID != "" && !rest.IsSHA(m.LastCommit.ID):
		return vcs.Event{}, rest.Bad("object_attributes.last_commit is not a commit")
	case !rest.IsRef(m.SourceBranch) || !rest.IsRef(m.TargetBranch):
		return vcs.Event{}, rest.Bad("object_attributes.source_branch or target_branch is not the name of a branch")
	// It may have none yet, and what is closed may have lost them.
	case m.LastCommit.ID == "" && ev.Kind != vcs.PullClosed:
		return vcs.Event{}, &vcs.IgnoredError{Event: "merge_request " + m.Action, Reason: "it has no commits"}
	}
	ev.Pull, ev.At = int(m.IID), m.UpdatedAt.UTC()
	ev.Head, ev.BaseRef = m.LastCommit.ID, m.TargetBranch
	return ev, nil
}

// kind is what an update has changed, or why that is nothing to us. GitLab sends oldrev only when commits came.
func (ch rawChanges) kind(m rawMerge) (kind vcs.EventKind, reason string) {
	switch {
	case m.OldRev != "":
		return vcs.PullPushed, ""
	case ch.TargetBranch != nil:
		return vcs.PullRetargeted, ""
	case m.isDraft():
	case ch.Draft != nil && ch.Draft.Previous, ch.Draft == nil && ch.Title != nil && hasDraftTitle(ch.Title.Previous):
		return vcs.PullReady, ""
	}
	return "", "neither its commits nor its target branch changed, and it did not leave draft"
}

// isDraft is what GitLab says, or where it says nothing what the title does.
func (m rawMerge) isDraft() bool {
	if m.Draft == nil && m.WorkInProgress == nil {
		return hasDraftTitle(m.Title)
	}
	return m.Draft != nil && *m.Draft || m.WorkInProgress != nil && *m.WorkInProgress
}

func (c *Client) noteEvent(p payload) (vcs.Event, error) {
	var k rawNote
	if err := attributes(p, &k); err != nil {
		return vcs.Event{}, err
	}
	ev := vcs.Event{Kind: vcs.Commented}
	ignore := func(reason string) (vcs.Event, error) {
		return vcs.Event{}, &vcs.IgnoredError{Event: "note", Reason: reason}
	}
	switch {
	case k.NoteableType != "MergeRequest":
		return ignore("the note is not on a merge request")
	case k.System:
		return ignore("GitLab itself wrote the note")
	case k.Action != "" && k.Action != "create", k.Action == "" && !k.UpdatedAt.Equal(k.CreatedAt.Time):
		return ignore("only a new note can be a command")
	}
	if err := c.who(p, &ev); err != nil {
		return vcs.Event{}, err
	}
	switch m := p.MergeRequest; {
	case m == nil || !rest.IsNumber(m.IID):
		return vcs.Event{}, rest.Bad("merge_request is missing, or its iid is not a number of a merge request")
	case m.TargetProjectID != ev.Repo.ID.ID:
		return vcs.Event{}, rest.Bad("merge_request.target_project_id is another project than project")
	case k.ID <= 0:
		return vcs.Event{}, rest.Bad("object_attributes.id is missing or not positive")
	case k.CreatedAt.IsZero():
		return vcs.Event{}, rest.Bad("object_attributes.created_at is missing")
	case k.AuthorID != p.User.ID && p.User.ID != 0:
		return vcs.Event{}, rest.Bad("object_attributes.author_id is another user than user")
	}
	ev.Pull, ev.At = int(p.MergeRequest.IID), k.CreatedAt.UTC()
	ev.Comment = &vcs.Comment{
		ID: k.ID, Author: ev.Sender, Body: rest.CutComment(k.Note),
		URL: c.notePage(ev.Repo, ev.Pull, k.ID), CreatedAt: ev.At,
	}
	return ev, nil
}

// attributes reads what a delivery is about.
func attributes(p payload, into any) error {
	if len(p.Attributes) == 0 {
		return rest.Bad("object_attributes is missing")
	}
	if err := json.Unmarshal(p.Attributes, into); err != nil {
		return rest.Bad("object_attributes does not have the form it should have")
	}
	return nil
}

// who reads what every event has.
func (c *Client) who(p payload, ev *vcs.Event) error {
	if p.Project == nil {
		return rest.Bad("project is missing")
	}
	var err error
	if ev.Repo, err = c.repo(p.Project.ID, p.Project.Path); err != nil {
		return rest.Bad("project: %v", err)
	}
	if err := rest.OnSite(c.kin.Web, p.Project.WebURL); err != nil {
		return rest.Bad("project.web_url %v", err)
	}
	if p.User == nil || !isUser(p.User.Username) {
		return rest.Bad("user is missing or not a user's name")
	}
	ev.Sender = p.User.Username
	return nil
}

// payload is what is read of a delivery.
type payload struct {
	ObjectKind   string          `json:"object_kind"`
	User         *rawUser        `json:"user"`
	Project      *rawProject     `json:"project"`
	Attributes   json.RawMessage `json:"object_attributes"`
	MergeRequest *rawMerge       `json:"merge_request"`
	Changes      rawChanges      `json:"changes"`
}

type rawUser struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
}

type rawProject struct {
	ID     int64  `json:"id"`
	Path   string `json:"path_with_namespace"`
	WebURL string `json:"web_url"`
}

type rawMerge struct {
	IID             int64  `json:"iid"`
	TargetProjectID int64  `json:"target_project_id"`
	SourceBranch    string `json:"source_branch"`
	TargetBranch    string `json:"target_branch"`
	Title           string `json:"title"`
	Draft           *bool  `json:"draft"`
	WorkInProgress  *bool  `json:"work_in_progress"`
	UpdatedAt       moment `json:"updated_at"`
	Action          string `json:"action"`
	OldRev          string `json:"oldrev"`
	LastCommit      struct {
		ID string `json:"id"`
	} `json:"last_commit"`
}

type rawChanges struct {
	TargetBranch *struct{} `json:"target_branch"`
	Draft        *struct {
		Previous bool `json:"previous"`
	} `json:"draft"`
	Title *struct {
		Previous string `json:"previous"`
	} `json:"title"`
}

type rawNote struct {
	ID           int64  `json:"id"`
	Note         string `json:"note"`
	NoteableType string `json:"noteable_type"`
	AuthorID     int64  `json:"author_id"`
	System       bool   `json:"system"`
	Action       string `json:"action"`
	CreatedAt    moment `json:"created_at"`
	UpdatedAt    moment `json:"updated_at"`
}

// moment is a time in either of the forms that webhooks have, cut to the second: some versions of GitLab
// tell fractions of it, others do not.
type moment struct{ time.Time }

// UnmarshalJSON reads a string, or null as no time.
func (m *moment) UnmarshalJSON(raw []byte) error {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil {
		return err
	}
	for _, form := range []string{time.RFC3339, "2006-01-02 15:04:05 UTC", "2006-01-02 15:04:05 -0700"} {
		if t, err := time.Parse(form, *s); err == nil {
			m.Time = t.UTC().Truncate(time.Second)
			return nil
		}
	}
	return fmt.Errorf("%q is not a time", rest.CutText(*s, 40))
}

// hasDraftTitle reports whether a title marks a draft, as it did before there was a field for it.
func hasDraftTitle(title string) bool {
	title = strings.ToLower(strings.TrimSpace(title))
	for _, mark := range []string{"draft:", "[draft]", "(draft)", "wip:", "[wip]"} {
		if strings.HasPrefix(title, mark) {
			return true
		}
	}
	return false
}
