// Package devforge is a small forge: real bare git repositories over HTTP, GitHub's REST dialect, signed
// webhooks, and a page per pull request. The demo and the stories run on it.
//
// Its state is in memory, its repositories on disk. Start with New.
package devforge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/vcs/internal/githttp"
)

// Config is what a Forge works with.
type Config struct {
	// Dir holds the repositories.
	Dir string
	// URL is where the forge is reached, without a slash at the end; SetURL changes it.
	URL string
	Log *slog.Logger
	// Webhook, if set, is called with each delivery before it is sent; it must not change the body.
	Webhook func(event string, body []byte)
	// Faults say how it misbehaves; SetFaults changes it. Faulty carries them out.
	Faults Faults
}

// Forge is safe for concurrent use. Serve Handler, and Close at the end.
type Forge struct {
	dir  string
	log  *slog.Logger
	stop context.CancelFunc
	ctx  context.Context
	wg   sync.WaitGroup
	sent func(event string, body []byte)
	bare githttp.Git

	mishaps mishaps

	mu     sync.Mutex
	url    string
	lastID int64
	users  map[string]*user
	repos  map[string]*repository
	// What there is of Apps.
	apps      []*application
	installed []*installed
	grants    map[string]grant
}

type user struct {
	id       int64
	login    string
	password string
	token    string
	created  time.Time
	// asked counts the calls of the API, and unchanged those whose answer the caller had already.
	asked, unchanged int
	// person: somebody whom a page's visitor may act as.
	person bool
}

type repository struct {
	id          int64
	owner, name string
	dir         string
	fork        *repository // what it is a fork of
	permissions map[string]string
	pulls       []*pull
	statuses    map[string][]*status
	hooks       []*hook
	created     time.Time
	// methods are how its pull requests can be merged, protected what its branches ask for that.
	methods   []string
	protected map[string]Protection
	private   bool
}

// hidden reports whether a user, nil for none, is not to know of the repository.
func (r *repository) hidden(u *user) bool {
	return r.private && (u == nil || r.permissions[u.login] == "")
}

func (r *repository) full() string { return r.owner + "/" + r.name }

type pull struct {
	id               int64
	number           int
	title, body      string
	author           string
	state            string
	draft, locked    bool
	merged           bool
	mergeSHA         string
	mergedBy         string
	size             size
	headRepo         *repository
	headRef, headSHA string
	baseRef, baseSHA string
	judged           [2]string // the base and the head of which it was asked whether they can be merged
	created, updated time.Time
	closed           time.Time
	comments         []*comment
	reviews          []*review
}

type comment struct {
	id               int64
	node             string
	author, body     string
	created, updated time.Time
	folded           bool
	reactions        []reaction
}

type reaction struct {
	id          int64
	by, content string
	at          time.Time
}

type review struct {
	id                  int64
	Author, State, body string
	at                  time.Time
	sha                 string
}

type status struct {
	id                        int64
	Context, State, Desc, URL string
	creator                   string
	at                        time.Time
}

// New makes a forge without users and repositories.
func New(c Config) (*Forge, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Webhook == nil {
		c.Webhook = func(string, []byte) {}
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Forge{
		dir: dir, url: strings.TrimRight(c.URL, "/"), log: c.Log, ctx: ctx, stop: cancel, sent: c.Webhook,
		bare:  githttp.Git{Home: dir, Name: "devforge", Log: c.Log},
		users: map[string]*user{}, repos: map[string]*repository{}, grants: map[string]grant{},
	}
	f.SetFaults(c.Faults)
	return f, nil
}

// SetURL says where the forge is reached.
func (f *Forge) SetURL(u string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.url = strings.TrimRight(u, "/")
}

// Close stops delivering webhooks and waits for what is under way.
func (f *Forge) Close() {
	f.stop()
	f.wg.Wait()
}

func (f *Forge) nextID() int64 {
	f.lastID++
	return f.lastID
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// CreateUser makes a user who signs in with the password on pages and with the password or the token
// for git and the API.
func (f *Forge) CreateUser(login, password, token string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users[login] != nil {
		return fmt.Errorf("user %s exists", login)
	}
	f.users[login] = &user{id: f.nextID(), login: login, password: password, token: token, created: now()}
	return nil
}

// SetToken ends a user's token, and gives out another one.
func (f *Forge) SetToken(login, token string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users[login] == nil {
		return errNotFound
	}
	f.users[login].token = token
	return nil
}

// MakePerson lets a page's visitor act as the user.
func (f *Forge) MakePerson(login string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users[login] == nil {
		return errNotFound
	}
	f.users[login].person = true
	return nil
}

// CreateRepo makes an empty public repository.
func (f *Forge) CreateRepo(owner, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.createRepo(owner, name)
	return err
}

func (f *Forge) createRepo(owner, name string) (*repository, error) {
	full := owner + "/" + name
	if f.repos[full] != nil {
		return nil, fmt.Errorf("repository %s exists", full)
	}
	r := &repository{
		id: f.nextID(), owner: owner, name: name, dir: filepath.Join(f.dir, owner, name+".git"),
		permissions: map[string]string{owner: "admin"}, statuses: map[string][]*status{}, created: now(),
		methods: []string{"merge", "squash", "rebase"}, protected: map[string]Protection{},
	}
	if err := f.bare.Init(f.ctx, r.dir); err != nil {
		return nil, err
	}
	f.repos[full] = r
	return r, nil
}

// MakePrivate shows a repository to those alone who have a permission on it.
func (f *Forge) MakePrivate(owner, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.repos[owner+"/"+name]
	if r == nil {
		return errNotFound
	}
	r.private = true
	return nil
}

// SetPermission gives a user read, write or admin on a repository.
func (f *Forge) SetPermission(owner, name, login, permission string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.repos[owner+"/"+name]
	if r == nil {
		return errNotFound
	}
	r.permissions[login] = permission
	return nil
}

// Member is a user with a repository.
type Member struct {
	// What CreateUser takes.
	Login, Password, Token string
	// Permission is what SetPermission takes.
	Permission string
	// Person: a page's visitor may act as the user.
	Person bool
}

// Found makes a repository and its members, who are new.
func (f *Forge) Found(owner, name string, members ...Member) error {
	for _, m := range members {
		if err := f.CreateUser(m.Login, m.Password, m.Token); err != nil {
			return err
		}
		if m.Person {
			if err := f.MakePerson(m.Login); err != nil {
				return err
			}
		}
	}
	if err := f.CreateRepo(owner, name); err != nil {
		return err
	}
	for _, m := range members {
		if err := f.SetPermission(owner, name, m.Login, m.Permission); err != nil {
			return err
		}
	}
	return nil
}

var errNotFound = errors.New("not found")

var ranks = map[string]int{"": 0, "read": 1, "write": 2, "admin": 3} //nolint:gochecknoglobals // a constant table

func (r *repository) mayWrite(login string) bool {
	have := r.permissions[login]
	if have == "" {
		have = "read" // public
	}
	return ranks[have] >= ranks["write"]
}

// Fork copies a repository below another user.
func (f *Forge) Fork(owner, name, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	src := f.repos[owner+"/"+name]
	if src == nil {
		return errNotFound
	}
	r, err := f.createRepo(to, name)
	if err != nil {
		return err
	}
	r.fork = src
	_, err = f.in(r, "fetch", "-q", src.dir, "+refs/heads/*:refs/heads/*")
	return err
}

// SetDraft changes whether a pull request is a draft.
func (f *Forge) SetDraft(owner, name string, number int, draft bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.repos[owner+"/"+name]
	if r == nil || number < 1 || number > len(r.pulls) {
		return errNotFound
	}
	p := r.pulls[number-1]
	if p.draft == draft {
		return nil
	}
	p.draft, p.updated = draft, now()
	action := "ready_for_review"
	if draft {
		action = "converted_to_draft"
	}
	f.emitPull(r, p, action, p.author, nil)
	return nil
}

// FoldedComments counts the comments of a pull request that are folded away.
func (f *Forge) FoldedComments(owner, name string, number int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	if r := f.repos[owner+"/"+name]; r != nil && number >= 1 && number <= len(r.pulls) {
		for _, c := range r.pulls[number-1].comments {
			if c.folded {
				n++
			}
		}
	}
	return n
}
