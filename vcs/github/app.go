package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	jwt "github.com/golang-jwt/jwt/v4"
	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	// spare is how long a token must last still when it is used: git may go on with it for a while.
	spare = 5 * time.Minute
	// settling is how long a forge may need to know a token that it has made.
	settling = time.Second
	// steady is how long git's token stays at least, whatever is said of it.
	steady = time.Minute
	// skew is how far the forge's clock may be behind ours, and signed how long a signature is good by ours. GitHub
	// takes none that is good for more than 10 minutes.
	skew   = time.Minute
	signed = 5 * time.Minute
	// maxRepos bounds what is remembered.
	maxRepos = 10_000
)

// App is a GitHub App. ID and Key are needed.
type App struct {
	ID int64
	// Key is the private key, RSA in PEM. It is asked anew whenever something is signed, so that the key can be changed
	// meanwhile.
	Key func() ([]byte, error)
	// InstallationID is the installation that all repositories belong to. 0 means that the forge is asked for
	// that of each repository.
	InstallationID int64
}

// app hands out clients that ask as one of the App's installations.
type app struct {
	App
	// self asks as the App itself.
	self *Client

	mu            sync.Mutex
	installations map[int64]*installation
	repos         map[repoKey]*Client
}

// repoKey has the names as well: a repository that was renamed or transferred is asked for anew.
type repoKey struct {
	id          int64
	owner, name string
}

// account is the App in one repository.
type account struct {
	app  *app
	repo vcs.Repo
	// in is the repository's installation, nil when it is not known.
	in atomic.Pointer[installation]
}

// installation is the App in the repositories of one account.
type installation struct {
	id int64
	// all may do what the App may, reads only reads files: git gets it, and what git's credential is handed to.
	all, reads *grant
}

func newInstallation(id int64) *installation {
	return &installation{
		id:    id,
		all:   &grant{id: id, turn: make(chan struct{}, 1)},
		reads: &grant{id: id, turn: make(chan struct{}, 1), may: &gh.InstallationPermissions{Contents: gh.String("read"), Metadata: gh.String("read")}},
	}
}

// grant has one token of an installation.
type grant struct {
	id int64
	// may narrows what the token may do. Nil is all that the App may.
	may *gh.InstallationPermissions
	// turn is held by who looks at the rest.
	turn   chan struct{}
	tokens *ghinstallation.Transport
	// handed is the token that was handed out last.
	handed string
	// made is when the token was.
	made time.Time
}

// notInstalledError is a vcs.ErrNotFound about a whole repository: it says nothing about what is in it.
type notInstalledError struct{ repo string }

func (e *notInstalledError) Error() string { return "the App is not installed on " + e.repo }
func (e *notInstalledError) Unwrap() error { return vcs.ErrNotFound }

func isNotInstalled(err error) bool {
	hidden := (*notInstalledError)(nil)
	return errors.As(err, &hidden)
}

// AppError is an App that can't ask, because of its id or its private key.
type AppError struct{ err error }

func (e *AppError) Error() string { return e.err.Error() }
func (e *AppError) Unwrap() error { return e.err }

// newApp makes the App that self asks as.
func newApp(a App, self *Client) (*app, error) {
	switch {
	case a.ID <= 0 || a.InstallationID < 0:
		return nil, errors.New("an App's id and that of its installation are positive numbers")
	case a.Key == nil:
		return nil, errors.New("an App needs its private key")
	}
	made := &app{App: a, self: self, installations: map[int64]*installation{}, repos: map[repoKey]*Client{}}
	_, err := made.sign()
	return made, err
}

// sign makes a token with which the forge is asked as the App. Neither the key nor a part of it is in the error.
func (a *app) sign() (string, error) {
	raw, err := a.Key()
	if err != nil {
		return "", fmt.Errorf("reading the App's private key: %w", err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(raw)
	if err != nil {
		return "", errors.New("the App's private key is not an RSA key in PEM, without a password")
	}
	now := time.Now()
	token, err := ghinstallation.NewRSASigner(jwt.SigningMethodRS256, key).Sign(&jwt.RegisteredClaims{
		Issuer: strconv.FormatInt(a.ID, 10), IssuedAt: jwt.NewNumericDate(now.Add(-skew)), ExpiresAt: jwt.NewNumericDate(now.Add(signed)),
	})
	if err != nil {
		return "", errors.New("the App's private key can sign nothing: it is too short")
	}
	return token, nil
}

// judge says what an error of a request of the App's own means.
func (a *app) judge(ans *rest.Answer, err error) *rest.Failure {
	f := a.self.judge(ans, err)
	answer := (*gh.ErrorResponse)(nil)
	if !errors.As(err, &answer) {
		return f
	}
	switch status := answer.Response.StatusCode; {
	case status == http.StatusUnauthorized:
		f.Text = fmt.Sprintf("the forge does not take the signature of the App %d: %s; the App's id or private key is wrong, or a clock", a.ID, a.self.words(answer))
		f.Kind = vcs.ErrRefused
	case status == http.StatusNotFound && answer.Message == "Integration not found":
		f.Text, f.Kind = fmt.Sprintf("the forge has no App with the id %d", a.ID), vcs.ErrRefused
	}
	return f
}

// client is the client for a repository.
func (a *app) client(repo vcs.Repo) *Client {
	key := repoKey{repo.ID.ID, repo.Owner, repo.Name}
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.repos[key]; known != nil {
		return known
	}
	if len(a.repos) >= maxRepos {
		clear(a.repos)
	}
	cl := *a.self
	cl.account = &account{app: a, repo: repo}
	cl.speak(a.self.rest.As(rest.Account{Token: cl.account.token, Judge: cl.judge, Note: cl.note}))
	cl.fetches = a.self.rest.As(rest.Account{Token: cl.account.readToken, Judge: cl.judge, Note: cl.note})
	a.repos[key] = &cl
	return &cl
}

// token is that of the repository's installation. It is asked for once: who needs it tries again.
func (a *account) token(ctx context.Context) (string, error) {
	return a.tokenOf(ctx, func(in *installation) *grant { return in.all })
}

// readToken is one of the same installation that can read files and do nothing else.
func (a *account) readToken(ctx context.Context) (string, error) {
	return a.tokenOf(ctx, func(in *installation) *grant { return in.reads })
}

func (a *account) tokenOf(ctx context.Context, of func(*installation) *grant) (string, error) {
	ctx = rest.Aside(ctx)
	if in := a.in.Load(); in != nil {
		token, err := a.app.token(ctx, a.repo, of(in))
		if !isNotInstalled(err) {
			return token, err
		}
		a.forget(in)
	}
	in, err := a.app.find(ctx, a.repo)
	if err != nil {
		return "", err
	}
	a.in.Store(in)
	return a.app.token(ctx, a.repo, of(in))
}

// forget has the installation asked for anew, and its token.
func (a *account) forget(in *installation) {
	a.in.CompareAndSwap(in, nil)
	a.app.mu.Lock()
	defer a.app.mu.Unlock()
	if a.app.installations[in.id] == in {
		delete(a.app.installations, in.id)
	}
}

// refused takes it in that the forge has not answered a request, and reports whether it would answer another one.
// An App that was installed anew, or whose repository was transferred, has another installation.
func (a *account) refused(ctx context.Context, status int) bool {
	in := a.in.Load()
	switch {
	case in == nil:
	case status == http.StatusUnauthorized && in.all.age(ctx) > settling:
		a.forget(in) // the attempt that follows takes a new token
	case status == http.StatusNotFound && a.app.InstallationID == 0:
		now, err := a.app.find(rest.Aside(ctx), a.repo)
		if err != nil || now.id != in.id {
			a.in.CompareAndSwap(in, nil)
			return true
		}
	}
	return false
}

// find asks for the installation of a repository. The forge shows an App none that is not its own.
func (a *app) find(ctx context.Context, repo vcs.Repo) (*installation, error) {
	id := a.InstallationID
	if id == 0 {
		var got *gh.Installation
		err := a.self.rest.Once(ctx, "finding the App's installation", a.self.answered(func(ctx context.Context) (resp *gh.Response, err error) {
			got, resp, err = a.self.api.Apps.FindRepositoryInstallation(ctx, repo.Owner, repo.Name)
			return resp, err
		}))
		switch id = got.GetID(); {
		case isNotFound(err):
			return nil, &notInstalledError{repo.FullName()}
		case err != nil:
			return nil, err
		case got.SuspendedAt != nil:
			return nil, fmt.Errorf("the App is suspended on %s: %w", repo.FullName(), vcs.ErrRefused)
		case id <= 0:
			return nil, fmt.Errorf("the forge tells no installation of the App on %s", repo.FullName())
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.installations[id] == nil {
		a.installations[id] = newInstallation(id)
	}
	return a.installations[id], nil
}

// token is that of an installation. The error is a *notInstalledError when there is no such installation.
func (a *app) token(ctx context.Context, repo vcs.Repo, g *grant) (token string, err error) {
	err = a.self.rest.Once(ctx, "asking for a token for "+repo.FullName(), func(ctx context.Context) (*rest.Answer, error) {
		if err := g.take(ctx); err != nil {
			return nil, err
		}
		defer g.leave()
		if !g.lasts() {
			if g.tokens, err = a.transport(g); err != nil {
				return nil, err
			}
			g.made = time.Now()
		}
		var ans *rest.Answer
		token, ans, err = ask(ctx, g.tokens)
		g.handed = token
		return ans, err
	})
	if isNotFound(err) {
		return "", &notInstalledError{repo.FullName()}
	}
	return token, err
}

// ask reads the token, or has it made. What the forge answers is judged as any other answer.
func ask(ctx context.Context, t *ghinstallation.Transport) (string, *rest.Answer, error) {
	token, err := t.Token(ctx)
	if refused := (*ghinstallation.HTTPError)(nil); errors.As(err, &refused) && refused.Response != nil {
		defer func() { _ = refused.Response.Body.Close() }()
		if said := gh.CheckResponse(refused.Response); said != nil {
			err = said
		}
		return "", rest.From(refused.Response), err
	}
	if err == nil && token == "" {
		return "", &rest.Answer{Status: http.StatusCreated}, errors.New("there is no token in it")
	}
	return token, nil, err
}

// transport keeps the token of a grant. Its requests go where all go, and are signed there.
func (a *app) transport(g *grant) (*ghinstallation.Transport, error) {
	// One for each: the library writes to it without asking who else does.
	t, err := ghinstallation.NewAppsTransportWithOptions(a.self.rest.HTTP.Transport, a.ID, ghinstallation.WithSigner(unsigned{}))
	if err != nil {
		return nil, err
	}
	t.BaseURL = a.self.address.api.String()
	of := ghinstallation.NewFromAppsTransport(t, g.id)
	of.InstallationTokenOptions = &gh.InstallationTokenOptions{Permissions: g.may} // without it the body is null
	return of, nil
}

// unsigned leaves it to the sender to sign.
type unsigned struct{}

func (unsigned) Sign(jwt.Claims) (string, error) { return "", nil }

func (g *grant) take(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *grant) leave() { <-g.turn }

// lasts reports whether there is a token that can be used for a while.
func (g *grant) lasts() bool {
	if g.tokens == nil {
		return false
	}
	end, _, err := g.tokens.Expiry()
	return err == nil && time.Until(end) >= spare
}

// drop forgets the token if it is this one, and reports whether the next is another.
func (g *grant) drop(ctx context.Context, token string) bool {
	if g.take(ctx) != nil {
		return false
	}
	defer g.leave()
	if g.tokens == nil || g.handed != token {
		return true
	}
	if time.Since(g.made) < steady {
		return false
	}
	g.tokens = nil
	return true
}

// age is that of the token; 0 when ctx has ended before it can be said.
func (g *grant) age(ctx context.Context) time.Duration {
	if g.take(ctx) != nil {
		return 0
	}
	defer g.leave()
	return time.Since(g.made)
}
