// Package vcs says what a forge (GitHub, GitLab, Gitea and its kin) is to Tidegate: events that
// come in, pull requests that are read, comments and statuses that are written.
//
// It knows no forge's dialect; each forge has a package of its own below this one that implements
// Forge and Hook. What only some forges can do is a small interface of its own (Approver, Folder,
// Reactor, Cloner, Lister, Merger, Keyholder, Apps), looked for once at start-up.
//
// Start with Event, Pull and Forge.
package vcs

import (
	"fmt"
	"strings"
	"time"
)

// RepoID identifies a repository for good: it survives renames and transfers.
type RepoID struct {
	// Forge is the forge instance: its host, with the port where it is not the usual one.
	Forge string `json:"forge"`
	// ID is the forge's own numeric id.
	ID int64 `json:"id"`
}

// String is "host/id".
func (r RepoID) String() string { return fmt.Sprintf("%s/%d", r.Forge, r.ID) }

// Repo is a repository as the forge describes it now. Everything but ID may change.
type Repo struct {
	ID RepoID `json:"id"`
	// Owner may hold slashes (GitLab's subgroups).
	Owner string `json:"owner"`
	Name  string `json:"name"`
	// CloneURL is the http(s) URL to fetch from. It never holds a credential.
	CloneURL string `json:"clone_url"`
	// URL is the page for people.
	URL string `json:"url"`
}

// FullName is "owner/name".
func (r Repo) FullName() string { return r.Owner + "/" + r.Name }

// PullID identifies a pull request for good.
type PullID struct {
	Repo   RepoID `json:"repo"`
	Number int    `json:"number"`
}

// String is "host/repoid#number".
func (p PullID) String() string { return fmt.Sprintf("%s#%d", p.Repo, p.Number) }

// PullState is open, closed or merged.
type PullState string

// The states of a pull request.
const (
	Open   PullState = "open"
	Closed PullState = "closed"
	Merged PullState = "merged"
)

// Branch is one side of a pull request.
type Branch struct {
	// Ref is the branch name, without refs/heads/.
	Ref string `json:"ref"`
	SHA string `json:"sha"`
	// Repo is zero when the forge no longer knows it (a deleted fork).
	Repo RepoID `json:"repo"`
}

// Pull is a pull request as the forge describes it now.
type Pull struct {
	Repo   Repo      `json:"repo"`
	Number int       `json:"number"`
	Title  string    `json:"title"`
	Author string    `json:"author"`
	URL    string    `json:"url"`
	State  PullState `json:"state"`
	Draft  bool      `json:"draft"`
	Head   Branch    `json:"head"`
	Base   Branch    `json:"base"`
	// HeadRef is the full ref to fetch the head by from Repo, such as refs/pull/7/head. While it is open it is at Head.SHA.
	HeadRef string `json:"head_ref"`
}

// ID is the pull request's lasting identity.
func (p Pull) ID() PullID { return PullID{Repo: p.Repo.ID, Number: p.Number} }

// Fork reports whether the head lives in another repository than the base.
func (p Pull) Fork() bool { return p.Head.Repo != p.Repo.ID }

// EventKind is what happened, in our words.
type EventKind string

// The events that can lead to a run.
const (
	// PullOpened: opened or reopened.
	PullOpened EventKind = "opened"
	// PullPushed: the head moved.
	PullPushed EventKind = "pushed"
	// PullReady: no longer a draft.
	PullReady EventKind = "ready"
	// PullRetargeted: the base branch is another one.
	PullRetargeted EventKind = "retargeted"
	// PullClosed: closed or merged.
	PullClosed EventKind = "closed"
	// Commented: a comment was made.
	Commented EventKind = "commented"
)

// Event is a hint that something happened to a pull request. What counts is what the forge says when
// the run starts.
type Event struct {
	Kind EventKind `json:"kind"`
	// Delivery is the forge's id of the delivery. It is unsigned: good for logs only.
	Delivery string `json:"delivery,omitempty"`
	Repo     Repo   `json:"repo"`
	Pull     int    `json:"pull"`
	// Head and Base are the commits the event speaks of; empty for comments.
	Head    string `json:"head,omitempty"`
	Base    string `json:"base,omitempty"`
	BaseRef string `json:"base_ref,omitempty"`
	// Sender caused the event.
	Sender string `json:"sender,omitempty"`
	// At is the forge's time of the event.
	At      time.Time `json:"at"`
	Comment *Comment  `json:"comment,omitempty"`
}

// PullID is the pull request the event is about.
func (e Event) PullID() PullID { return PullID{Repo: e.Repo.ID, Number: e.Pull} }

// Key is the event's content key: two deliveries with the same key are one event, whatever their
// delivery ids say. The same comment is one event; so is the same change of the same pull request.
func (e Event) Key() string {
	parts := []string{string(e.Kind), e.Repo.ID.String(), fmt.Sprint(e.Pull)}
	if e.Comment != nil {
		return strings.Join(append(parts, fmt.Sprint(e.Comment.ID)), "\n")
	}
	at := e.At.UTC().Format(time.RFC3339)
	return strings.Join(append(parts, e.Head, e.Base, e.BaseRef, at), "\n")
}

// MaxCommentText is how much of a comment is read. A longer one is talk, never a command.
const MaxCommentText = 8 << 10

// Comment is one comment of a pull request's conversation.
type Comment struct {
	ID int64 `json:"id"`
	// Node is the forge's second id where it has one (GitHub's GraphQL node id).
	Node   string `json:"node,omitempty"`
	Author string `json:"author"`
	// Body is at most MaxCommentText+1 bytes in an Event, and whole when listed.
	Body      string    `json:"body"`
	URL       string    `json:"url,omitempty"`
	CreatedAt time.Time `json:"created_at"`
}

// After reports whether c was made after the comment with that time and id, on the forge's own
// clock. Forge clocks tick in seconds; within one, ids decide.
func (c Comment) After(at time.Time, id int64) bool {
	a, b := c.CreatedAt.Truncate(time.Second), at.Truncate(time.Second)
	if a.Equal(b) {
		return c.ID > id
	}
	return a.After(b)
}

// StatusState is the state of a commit status.
type StatusState string

// The states every forge has.
const (
	Pending StatusState = "pending"
	Success StatusState = "success"
	Failure StatusState = "failure"
)

// Status is a commit status.
type Status struct {
	Context string
	State   StatusState
	// Description is cut by the forge's client to what the forge takes (140 characters on GitHub).
	Description string
	// URL is where the status leads; may be empty.
	URL string
}

// Permission is what a user may do in a repository. Bigger may do more.
type Permission int

// The permissions, in order.
const (
	NoPermission Permission = iota
	ReadPermission
	WritePermission
	AdminPermission
)

// Approval is what the reviews of a pull request amount to. Only users with write permission count:
// on a repository that anybody can see, anybody can review.
type Approval struct {
	Approved bool
	// By are the users whose latest review approves; never the author.
	By []string
	// Against are the users whose latest review asks for changes.
	Against []string
}

// Credential opens a repository over http(s).
type Credential struct {
	User, Password string
}
