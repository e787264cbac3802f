package vcs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Hook takes one forge's webhook deliveries in.
type Hook interface {
	// Claims reports, from the headers alone, whether the delivery is this forge's.
	Claims(h http.Header) bool
	// Verify checks the signature over the raw body in constant time. It is called before
	// anything of the body is parsed. ErrSignature (wrapped) when missing or wrong.
	Verify(h http.Header, body []byte) error
	// Parse reads a verified delivery. *IgnoredError when there is nothing for us in it,
	// *PayloadError when it is not what the forge sends.
	Parse(h http.Header, body []byte) (Event, error)
}

// Forge is one forge instance as the account that Tidegate uses sees it. Implementations are safe
// for concurrent use, page through lists, and retry what is worth it (with backoff, honouring
// Retry-After and rate limits) until ctx ends. Errors that say "never" wrap ErrRefused or
// ErrNotFound.
type Forge interface {
	// Pull reads a pull request. ErrUnusable when the forge's answer can't be used: asking again helps only after
	// something has changed there.
	Pull(ctx context.Context, repo Repo, number int) (Pull, error)
	// Comments lists the conversation's comments made at or after since, oldest first.
	Comments(ctx context.Context, pull Pull, since time.Time) ([]Comment, error)
	// CreateComment is NOT retried after an answer was possibly lost: the caller looks first.
	CreateComment(ctx context.Context, pull Pull, body string) (Comment, error)
	EditComment(ctx context.Context, pull Pull, id int64, body string) error
	// DeleteComment of a comment that is gone is no error.
	DeleteComment(ctx context.Context, pull Pull, id int64) error
	SetStatus(ctx context.Context, repo Repo, sha string, status Status) error
	// Permission of a user whom the forge does not know is NoPermission.
	Permission(ctx context.Context, repo Repo, user string) (Permission, error)
	// Site says how this forge writes links and how long a comment may be.
	Site() Site
}

// Approver is a forge with reviews.
type Approver interface {
	Approval(ctx context.Context, pull Pull) (Approval, error)
}

// Folder is a forge that can fold comments away as outdated.
type Folder interface {
	Fold(ctx context.Context, pull Pull, comments []Comment) error
}

// Reactor is a forge that can answer a comment with a reaction.
type Reactor interface {
	// React says "seen".
	React(ctx context.Context, pull Pull, comment int64) error
}

// Cloner is a forge whose repositories need a credential to fetch from.
type Cloner interface {
	CloneCredential(ctx context.Context, repo Repo) (Credential, error)
}

// Renewer is a Cloner that can have another credential made in the place of one that git was refused with.
type Renewer interface {
	// RenewCredential takes it in that the forge did not take that password of CloneCredential's, and reports whether the next call
	// answers another one.
	RenewCredential(ctx context.Context, repo Repo, refused string) bool
}

// Metered is a forge that tells how much may still be asked of it.
type Metered interface {
	// RequestsLeft is how many requests the account may still make until the forge counts anew; false
	// as long as the forge has not told.
	RequestsLeft() (int, bool)
}

// Lister is a forge that can be asked what happened: what a webhook never told is found with it.
type Lister interface {
	// Repo reads a repository by its names.
	Repo(ctx context.Context, owner, name string) (Repo, error)
	// News lists what happened in a repository at or after since, by the forge's clock. The zero time
	// asks for how things stand instead: every open pull request, and no comments. tags are those of
	// the last answer: with them it costs nothing to learn that nothing has happened. What can't be used of the answer
	// is left out: one pull request that is odd keeps nobody from hearing of the others.
	News(ctx context.Context, repo Repo, since time.Time, tags map[string]string) (News, error)
}

// Hooker is a forge whose webhooks an account can read and set that administers the repository.
type Hooker interface {
	// Webhooks are those of a repository, as the forge has them. ErrRefused or ErrNotFound: the account may not see them.
	Webhooks(ctx context.Context, repo Repo) ([]Webhook, error)
	// SetWebhook makes a webhook that sends all that we need to a URL, signed with the secret. One that goes there
	// already, by its id, is mended instead; 0 is none.
	SetWebhook(ctx context.Context, repo Repo, id int64, url string, secret []byte) error
}

// Webhook is where a forge sends what happens in a repository.
type Webhook struct {
	ID  int64
	URL string
	// Wrong is what is to be mended, in words for people: it is switched off, it does not send what we need, nothing
	// is signed.
	Wrong []string
	// Failed is why the newest delivery did not arrive, in the forge's words; "" when it did, or when that is not told.
	Failed string
	// Untold: the forge never tells what became of a delivery, so that nobody sees from here that the secret is another one.
	Untold bool
}

// Apps is a client that may ask as an application, which has one webhook of its own for all repositories and is given
// permissions by name.
type Apps interface {
	// App is the application that asks. ErrRefused: an account asks.
	App(ctx context.Context) (App, error)
	// SetAppWebhook sets where its webhook goes, signed with the secret. What it sends is set by hand.
	SetAppWebhook(ctx context.Context, url string, secret []byte) error
}

// App is what a forge says of an application.
type App struct {
	// Webhook has no id. Its URL is "" where it has none.
	Webhook Webhook
	// May are its permissions by the forge's names, each "read", "write" or "admin".
	May map[string]string
	// Unsent is what its webhook would have to send and does not, by the forge's names. It can be set by hand alone.
	Unsent []string
}

// Insider is a forge that tells whose token it was asked with.
type Insider interface {
	// Login is the name of the account.
	Login(ctx context.Context) (string, error)
}

// Keyholder is a forge that can be asked what the token lacks that it is asked with.
type Keyholder interface {
	// Token changes nothing: what a forge does not tell is found by asking for what can't be, such as a comment on a pull request
	// that nobody has opened. ErrRefused: an application asks, which has permissions.
	Token(ctx context.Context, repo Repo) (Token, error)
}

// Token is what a forge says of a token.
type Token struct {
	// Lacks are the scopes or permissions that we need in the repository and it has not, by the forge's names. Only what is known
	// to be missing is among them.
	Lacks []string
	// Ends is when it ends by itself; zero for never, or when that is not told.
	Ends time.Time
}

// Nowhere is a pull request and a commit that no repository has.
const (
	NowherePull   = 1<<31 - 1
	NowhereCommit = "0000000000000000000000000000000000000001"
)

// News is what happened in a repository.
type News struct {
	// Pulls are the pull requests in which something happened, closed ones too, in no order.
	Pulls []Pull
	// Comments are the comments on pull requests that were made, as a webhook would tell them. One that was edited since
	// is none of them: its text may be of another than its author.
	Comments []Event
	// At is when the forge was asked, by its clock. What happened later may be missing.
	At time.Time
	// Tags are for the next call.
	Tags map[string]string
}

// Site holds what differs between forges in text: pure functions, no requests.
type Site struct {
	// Instance is the key of RepoID.Forge.
	Instance string
	// Account is the name that people mention us by, without the @; "" where that is not known.
	Account string
	// CommentLimit is in bytes of UTF-8.
	CommentLimit int
	// NoSlashCommands: a comment line that starts with a slash belongs to the forge.
	NoSlashCommands bool
	// PullRef writes a reference to a pull request of the same repository ("#12").
	PullRef func(number int) string
	// PullURL, CommitURL and FileURL write absolute links. line 0 means none.
	PullURL   func(repo Repo, number int) string
	CommitURL func(repo Repo, sha string) string
	FileURL   func(repo Repo, sha, path string, line int) string
}

// Errors of a forge.
var (
	// ErrSignature: a delivery that the forge did not sign with our secret.
	ErrSignature = errors.New("webhook signature missing or wrong")
	// ErrNotFound: the forge does not have it, or does not show it to us.
	ErrNotFound = errors.New("not found on the forge")
	// ErrRefused: the forge will not do it, now or later (locked conversation, no permission).
	ErrRefused = errors.New("refused by the forge")
	// ErrUnusable: the forge's answer about it can't be used.
	ErrUnusable = errors.New("the forge's answer can't be used")
	// ErrInDoubt: the request was sent, but no answer came. It may have been carried out.
	ErrInDoubt = errors.New("no answer from the forge")
)

// IgnoredError is the normal outcome for a delivery that asks nothing of us.
type IgnoredError struct {
	// Event is the forge's name of it, with the action where it has one.
	Event string
	// Reason is for people.
	Reason string
}

func (e *IgnoredError) Error() string { return fmt.Sprintf("%s ignored: %s", e.Event, e.Reason) }

// PayloadError is a delivery that is signed but not what the forge sends.
type PayloadError struct {
	Problem string
}

func (e *PayloadError) Error() string { return "unusable payload: " + e.Problem }
