// Package workdir keeps the files that jobs work on: one bare mirror per repository, the result of
// merging a pull request into its base branch, and checkouts of that result.
//
// It knows no forge beyond a URL and a ref name, no terraform and no project. Everything it reads was
// written by strangers: repositories, and after a job has run, every byte below a checkout's tree. So
// the server's git never reads a configuration, an index or a hook from there; see [Store.Checkout].
//
// On disk, below the data directory:
//
//	mirrors/<forge>/<repository id>.git      the bare mirror; its refs are refs/tidegate/pull/<n>/...
//	mirrors/<forge>/<repository id>.lock     flock of the git processes that work for this repository
//	checkouts/<forge>/<repository id>/<pull>/<workspace>/
//	    checkout.json   the ID of the tree, which commit it is at, and which one it is being moved to
//	    index           the server's git index of the tree
//	    tree/           the files
//	    tf/<hash>/      TF_DATA_DIR of one project
//
// Start at [Open], then [Store.Merge] and [Store.Checkout].
package workdir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Config says where a Store keeps its files.
type Config struct {
	// Data is the data directory. It is made absolute.
	Data string
	// Git is the git binary; empty means the git in PATH.
	Git string
	// Submodules has their files fetched: trees have them as files of the repository's own, at the commits that are recorded. Without
	// it they are empty directories.
	Submodules bool
	// LFS is what Fill asks for credentials with; nil where Git LFS is not used. Open looks for git-lfs then.
	LFS Helper
	// Log gets repairs and waits; nil discards them.
	Log *slog.Logger
}

// Repo is a repository on a forge.
type Repo struct {
	// Forge is host[:port] of the forge, ID the forge's numeric id of the repository: together they
	// name the repository for good, whatever it is called and wherever it moves.
	Forge string
	ID    int64
	// URL is what git fetches from: http, https or file, without user and password.
	URL string
	// Credential is asked once per fetch. Nil means that there is none.
	Credential func(ctx context.Context) (user, password string, err error)
	// Refused hears of a password that the forge did not take, and reports whether Credential answers another one now: then it is
	// tried. Nil: never.
	Refused func(ctx context.Context, password string) bool
}

// MergeRequest says what is to be merged into what.
type MergeRequest struct {
	Pull int
	// BaseRef is the name of the base branch ("main").
	BaseRef string
	// HeadRef is the whole name of the head's ref on the remote ("refs/pull/7/head").
	HeadRef string
	// HeadSHA is the commit that HeadRef has to be at. Empty takes what is there.
	HeadSHA string
}

// Merge is the result of merging a pull request's head into its base branch. All are object ids.
type Merge struct {
	Base, Head, Commit, Tree string
	// baseTree is the base's with its submodules, for Changed; "" where they are not fetched.
	baseTree string
}

// Store keeps the mirrors and checkouts of one data directory. It is safe for concurrent use, but for
// [Store.Checkout], whose caller sees to it that nothing else works on that checkout. One process at a
// time may have a data directory open; the caller holds a lock for that.
type Store struct {
	data string
	git  *git
	log  *slog.Logger
	// submodules are fetched.
	submodules bool
	helper     Helper

	mu      sync.Mutex
	mirrors map[string]*mirror

	// trash is held while checkouts are moved to the trash.
	trash sync.Mutex
}

// Open checks that git is 2.38 or newer and prepares the data directory. It touches no mirror and no
// checkout: leftovers of an earlier process are cleared at the first use of each.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Data == "" {
		return nil, errors.New("opening the checkouts: no data directory given")
	}
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		return nil, fmt.Errorf("opening the checkouts: %w", err)
	}
	home := filepath.Join(data, "mirrors", ".home")
	for _, dir := range []string{home, filepath.Join(data, "checkouts")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("opening the checkouts: %w", err)
		}
	}
	g, err := findGit(ctx, cfg.Git, home)
	if err != nil {
		return nil, err
	}
	if cfg.LFS != nil {
		if err := g.findLFS(ctx, home); err != nil {
			return nil, err
		}
	}
	return &Store{data: data, git: g, log: log, submodules: cfg.Submodules, helper: cfg.LFS, mirrors: map[string]*mirror{}}, nil
}

// Close ends the git processes that wait for work, and waits for those that are at work: to have these
// end soon, cancel their contexts. The Store must not be used afterwards.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, m := range s.mirrors {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// mirror answers the prepared mirror of a repository.
func (s *Store) mirror(ctx context.Context, repo Repo) (*mirror, error) {
	forge, err := forgeDir(repo)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(forge, strconv.FormatInt(repo.ID, 10))
	s.mu.Lock()
	m := s.mirrors[name]
	if m == nil {
		path := filepath.Join(s.data, "mirrors", name)
		m = newMirror(s.git, path, s.log.With("forge", repo.Forge, "repo_id", repo.ID))
		s.mirrors[name] = m
	}
	s.mu.Unlock()
	if err := m.prepare(ctx); err != nil {
		return nil, fmt.Errorf("preparing the mirror of %s/%d: %w", repo.Forge, repo.ID, err)
	}
	return m, nil
}

// checkouts is the directory of all checkouts of a repository.
func (s *Store) checkouts(repo Repo) (string, error) {
	forge, err := forgeDir(repo)
	if err != nil {
		return "", err
	}
	return filepath.Join(s.data, "checkouts", forge, strconv.FormatInt(repo.ID, 10)), nil
}
