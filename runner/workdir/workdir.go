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
//	    checkout.json   which commit the tree is at, and which one it is being moved to
//	    index           the server's git index of the tree
//	    tree/           the files
//	    tf/<hash>/      TF_DATA_DIR of one project
//
// Start at [Open], then [Store.Merge] and [Store.Checkout].
package workdir

import (
	"context"
	"log/slog"
)

// Config says where a Store keeps its files.
type Config struct {
	// Data is the data directory. It is made absolute.
	Data string
	// Git is the git binary; empty means the git in PATH.
	Git string
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
}
