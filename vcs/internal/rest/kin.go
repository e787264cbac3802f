package rest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

// Ghost is what a user is called who was deleted.
const Ghost = "ghost"

// Kin reads what GitHub and the forges that follow it send alike: repositories, and deliveries of webhooks.
type Kin struct {
	// Web is the root of the forge's pages and clone URLs, without a slash at its end.
	Web *url.URL
	// Instance is the key of vcs.RepoID.Forge.
	Instance string
	// IsLogin reports whether a user can have that name.
	IsLogin func(string) bool
}

// Payload is what is read of a delivery.
type Payload struct {
	Action      string      `json:"action"`
	Number      *int64      `json:"number"`
	Repository  *RawRepo    `json:"repository"`
	Sender      *RawUser    `json:"sender"`
	PullRequest *RawPull    `json:"pull_request"`
	Issue       *RawIssue   `json:"issue"`
	Comment     *RawComment `json:"comment"`
	Changes     RawChanges  `json:"changes"`
}

// RawUser is a user in a delivery.
type RawUser struct {
	Login string `json:"login"`
}

// RawRepo is a repository in a delivery.
type RawRepo struct {
	ID       int64    `json:"id"`
	Name     string   `json:"name"`
	FullName string   `json:"full_name"`
	Owner    *RawUser `json:"owner"`
	HTMLURL  string   `json:"html_url"`
	CloneURL string   `json:"clone_url"`
}

// RawPull is a pull request in a delivery.
type RawPull struct {
	Number    int64      `json:"number"`
	Title     string     `json:"title"`
	Draft     *bool      `json:"draft"`
	UpdatedAt time.Time  `json:"updated_at"`
	Head      *RawBranch `json:"head"`
	Base      *RawBranch `json:"base"`
}

// RawBranch is one side of a pull request in a delivery.
type RawBranch struct {
	Ref  string `json:"ref"`
	SHA  string `json:"sha"`
	Repo *struct {
		ID int64 `json:"id"`
	} `json:"repo"`
}

// RawIssue is what a comment in a delivery stands on.
type RawIssue struct {
	Number int64 `json:"number"`
	// PullRequest is there when it is one.
	PullRequest *struct{} `json:"pull_request"`
}

// RawComment is a comment in a delivery.
type RawComment struct {
	ID        int64     `json:"id"`
	NodeID    string    `json:"node_id"`
	HTMLURL   string    `json:"html_url"`
	Body      string    `json:"body"`
	User      *RawUser  `json:"user"`
	CreatedAt time.Time `json:"created_at"`
}

// RawChanges are what an edit changed.
type RawChanges struct {
	// Base is there when GitHub tells of another base branch, Ref when Gitea does.
	Base *struct{} `json:"base"`
	Ref  *struct{} `json:"ref"`
	// Title holds the one before.
	Title *struct {
		From string `json:"from"`
	} `json:"title"`
}

// Repo checks a repository. Its addresses are made up where the forge leaves them out.
func (k Kin) Repo(raw RawRepo) (vcs.Repo, error) {
	switch {
	case raw.ID <= 0:
		return vcs.Repo{}, errors.New("the id is missing or not positive")
	case raw.Owner == nil || !IsName(raw.Owner.Login):
		return vcs.Repo{}, errors.New("the owner is missing or not a name")
	case !IsName(raw.Name):
		return vcs.Repo{}, errors.New("the name is missing or not a name")
	case raw.FullName != "" && !strings.EqualFold(raw.FullName, raw.Owner.Login+"/"+raw.Name):
		return vcs.Repo{}, errors.New("the full name is not that of owner and name")
	}
	r := vcs.Repo{
		ID: vcs.RepoID{Forge: k.Instance, ID: raw.ID}, Owner: raw.Owner.Login, Name: raw.Name,
		URL: raw.HTMLURL, CloneURL: raw.CloneURL,
	}
	page := k.Web.JoinPath(r.Owner, r.Name).String()
	if r.URL == "" {
		r.URL = page
	}
	if r.CloneURL == "" {
		r.CloneURL = page + ".git"
	}
	if err := OnSite(k.Web, r.URL); err != nil {
		return vcs.Repo{}, fmt.Errorf("html_url %w", err)
	}
	if err := OnSite(k.Web, r.CloneURL); err != nil {
		return vcs.Repo{}, fmt.Errorf("clone_url %w", err)
	}
	return r, nil
}

// Ours refuses repositories of other forges, and names that would change a request's path.
func (k Kin) Ours(repo vcs.Repo) error {
	if repo.ID.Forge != k.Instance {
		return fmt.Errorf("%s is a repository of %q, this is %q: %w", repo.FullName(), repo.ID.Forge, k.Instance, vcs.ErrRefused)
	}
	if !IsName(repo.Owner) || !IsName(repo.Name) {
		return fmt.Errorf("%q is not the name of a repository: %w", repo.FullName(), vcs.ErrNotFound)
	}
	return nil
}

// Author is a user's name, or Ghost where it is none.
func (k Kin) Author(login string) string {
	if k.IsLogin(login) {
		return login
	}
	return Ghost
}

// Page is an address below a repository's page, of path elements.
func (k Kin) Page(r vcs.Repo, elem ...string) *url.URL {
	var all []string
	for _, e := range append(strings.Split(r.FullName(), "/"), elem...) {
		all = append(all, url.PathEscape(e))
	}
	return k.Web.JoinPath(all...)
}

// File is the address of a file's line below a repository's page. line 0 means none.
func (k Kin) File(r vcs.Repo, path string, line int, elem ...string) string {
	u := k.Page(r, append(elem, strings.Split(path, "/")...)...)
	if line > 0 {
		u.Fragment = fmt.Sprintf("L%d", line)
	}
	return u.String()
}

// Wanted answers the pull request that was read, with the error of it, if it is the one that was asked for. An answer
// that can't be used is vcs.ErrUnusable.
func Wanted(op string, repo vcs.Repo, number int, p vcs.Pull, err error) (vcs.Pull, error) {
	switch {
	case err != nil:
		return vcs.Pull{}, fmt.Errorf("%s: the forge's answer: %w: %w", op, err, vcs.ErrUnusable)
	case repo.ID.ID != 0 && p.Repo.ID != repo.ID:
		return vcs.Pull{}, fmt.Errorf("%s: %s is another repository now: %w", op, repo.FullName(), vcs.ErrNotFound)
	case p.Number != number:
		return vcs.Pull{}, fmt.Errorf("%s: asked for #%d, the forge answers with #%d: %w", op, number, p.Number, vcs.ErrUnusable)
	}
	return p, nil
}

// Posted answers the comment that was made, with the error of reading it: the forge took it, whatever it answers.
func Posted(op string, made vcs.Comment, err error) (vcs.Comment, error) {
	if err != nil {
		return vcs.Comment{}, fmt.Errorf("%s: the forge took it, but its answer is no comment (%w): %w", op, err, vcs.ErrInDoubt)
	}
	return made, nil
}

// ReadPayload reads a delivery that has an action, and what read makes of it. An id that is none is left out.
func ReadPayload(h http.Header, body []byte, id string, read func(Payload) (vcs.Event, error)) (vcs.Event, error) {
	var p Payload
	if err := Decode(h, body, &p); err != nil {
		return vcs.Event{}, err
	}
	if !IsWord(p.Action) {
		return vcs.Event{}, Bad("action is missing or not a word")
	}
	ev, err := read(p)
	if err != nil {
		return vcs.Event{}, err
	}
	if IsDelivery(id) {
		ev.Delivery = id
	}
	return ev, nil
}

// PullEvent reads a delivery about a pull request whose kind is known.
func (k Kin) PullEvent(kind vcs.EventKind, p Payload) (vcs.Event, error) {
	ev := vcs.Event{Kind: kind}
	if err := k.who(p, &ev); err != nil {
		return vcs.Event{}, err
	}
	// What is closed may have lost its branches: a forge then has no commit to tell.
	isSHA := func(s string) bool { return IsSHA(s) || s == "" && kind == vcs.PullClosed }
	pr := p.PullRequest
	switch {
	case pr == nil:
		return vcs.Event{}, Bad("pull_request is missing")
	case !IsNumber(pr.Number):
		return vcs.Event{}, Bad("pull_request.number is not a number of a pull request")
	case p.Number != nil && *p.Number != pr.Number:
		return vcs.Event{}, Bad("number and pull_request.number differ")
	case pr.UpdatedAt.IsZero():
		return vcs.Event{}, Bad("pull_request.updated_at is missing")
	case pr.Head == nil || !isSHA(pr.Head.SHA):
		return vcs.Event{}, Bad("pull_request.head.sha is not a commit")
	case pr.Base == nil || !isSHA(pr.Base.SHA):
		return vcs.Event{}, Bad("pull_request.base.sha is not a commit")
	case !IsRef(pr.Head.Ref) || !IsRef(pr.Base.Ref):
		return vcs.Event{}, Bad("pull_request.head.ref or base.ref is not the name of a branch")
	case pr.Base.Repo != nil && pr.Base.Repo.ID != ev.Repo.ID.ID:
		return vcs.Event{}, Bad("pull_request.base.repo is another repository than repository")
	}
	ev.Pull, ev.At = int(pr.Number), pr.UpdatedAt.UTC()
	ev.Head, ev.Base, ev.BaseRef = pr.Head.SHA, pr.Base.SHA, pr.Base.Ref
	return ev, nil
}

// CommentEvent reads a delivery about a comment. *vcs.IgnoredError when it is not a new one on a pull request.
func (k Kin) CommentEvent(event string, p Payload) (vcs.Event, error) {
	ev := vcs.Event{Kind: vcs.Commented}
	ignore := func(reason string) (vcs.Event, error) {
		return vcs.Event{}, &vcs.IgnoredError{Event: event + " " + p.Action, Reason: reason}
	}
	switch {
	case p.Action != "created":
		return ignore("only a new comment can be a command")
	case p.Issue == nil:
		return vcs.Event{}, Bad("issue is missing")
	case p.Issue.PullRequest == nil:
		return ignore("the comment is on an issue, not on a pull request")
	}
	if err := k.who(p, &ev); err != nil {
		return vcs.Event{}, err
	}
	c := p.Comment
	switch {
	case !IsNumber(p.Issue.Number):
		return vcs.Event{}, Bad("issue.number is not a number of a pull request")
	case c == nil || c.ID <= 0:
		return vcs.Event{}, Bad("comment is missing or has no id")
	case c.User == nil || !k.IsLogin(c.User.Login):
		return vcs.Event{}, Bad("comment.user is missing or not a user's name")
	case c.CreatedAt.IsZero():
		return vcs.Event{}, Bad("comment.created_at is missing")
	case !IsNode(c.NodeID):
		return vcs.Event{}, Bad("comment.node_id is not an id")
	}
	if c.HTMLURL != "" {
		if err := OnSite(k.Web, c.HTMLURL); err != nil {
			return vcs.Event{}, Bad("comment.html_url %v", err)
		}
	}
	ev.Pull, ev.At = int(p.Issue.Number), c.CreatedAt.UTC()
	ev.Comment = &vcs.Comment{
		ID: c.ID, Node: c.NodeID, Author: c.User.Login, Body: CutComment(c.Body),
		URL: c.HTMLURL, CreatedAt: c.CreatedAt.UTC(),
	}
	return ev, nil
}

// who reads what every event has.
func (k Kin) who(p Payload, ev *vcs.Event) error {
	if p.Repository == nil {
		return Bad("repository is missing")
	}
	var err error
	if ev.Repo, err = k.Repo(*p.Repository); err != nil {
		return Bad("repository: %v", err)
	}
	if p.Sender == nil || !k.IsLogin(p.Sender.Login) {
		return Bad("sender is missing or not a user's name")
	}
	ev.Sender = p.Sender.Login
	return nil
}
