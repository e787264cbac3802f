package workdir

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Checkout is a directory with the files of a merge. Its path depends on repository, pull request and
// workspace alone: it is the same from plan to apply and after a restart.
type Checkout struct {
	// Root is the absolute path of the files.
	Root string
	// Base is the parent of Root: the server's own, nothing of it is for jobs but what is below TFData.
	Base string
	// ID is another one when the files were made from nothing, so that what a job once left beside them
	// is not there any more. Empty for a checkout that an older version made.
	ID string
}

const (
	treeName   = "tree"
	indexName  = "index"
	stateName  = "checkout.json"
	dotGitName = "dotgit"
)

// checkoutState is checkout.json. It is on disk before a tree is touched, so that a move that was cut
// short is known, and is completed before anything else: files that it had already written are
// tracked by no other commit and would stay for ever.
type checkoutState struct {
	Format int `json:"format"`
	// ID was drawn when the tree was made from nothing.
	ID string `json:"id,omitempty"`
	// At is the commit that the tree was last completely moved to.
	At string `json:"at,omitempty"`
	// Moving is the commit that the tree is being moved to.
	Moving string `json:"moving,omitempty"`
}

// Checkout makes the checkout of a pull request for a workspace, or moves it to another merge.
//
// At this merge already, nothing is touched: what a plan generated or changed is there for its apply.
// Otherwise tracked files become exactly the merge's, local changes to them are gone, files that the merge
// does not have any more go, and files that never were tracked stay. Links in the tree are never
// written through. The tree gets a .git of its own, for steps that ask git where they are; the server
// never reads it.
//
// The caller sees to it that nothing else works on the same pull request and workspace meanwhile, jobs
// included. Different checkouts can be made at the same time.
func (s *Store) Checkout(ctx context.Context, repo Repo, pull int, workspace string, merge Merge) (Checkout, error) {
	if err := checkObject(merge.Commit); err != nil {
		return Checkout{}, err
	}
	parent, err := s.checkouts(repo)
	if err != nil {
		return Checkout{}, err
	}
	number, err := pullDir(pull)
	if err != nil {
		return Checkout{}, err
	}
	name, err := encodeName(workspace)
	if err != nil {
		return Checkout{}, err
	}
	m, err := s.mirror(ctx, repo)
	if err != nil {
		return Checkout{}, err
	}
	mv := &mover{mirror: m, base: filepath.Join(parent, number, name), ref: ref(pull, "at/"+name)}
	if err := mv.to(ctx, merge.Commit); err != nil {
		return Checkout{}, fmt.Errorf("checking out %s for %q: %w", merge.Commit, workspace, err)
	}
	return Checkout{Root: filepath.Join(mv.base, treeName), Base: mv.base, ID: mv.state.ID}, nil
}

// Is reports whether the files at root are still those of the checkout with that ID. It says so of
// any files when the ID is empty.
func (s *Store) Is(root, id string) (bool, error) {
	if id == "" {
		return true, nil
	}
	dir, err := os.OpenRoot(filepath.Dir(root))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at a checkout: %w", err)
	}
	mv := &mover{dir: dir}
	err = errors.Join(mv.load(), dir.Close())
	return mv.state.ID == id, err
}

// mover moves one checkout.
type mover struct {
	mirror *mirror
	base   string
	// ref keeps the commit that the tree is at, when the pull request's merge has gone on.
	ref string
	// dir is base, opened. Only what is below base/tree was written by others.
	dir   *os.Root
	state checkoutState
}

// to moves the checkout to a commit.
func (mv *mover) to(ctx context.Context, commit string) (err error) {
	if err := os.MkdirAll(mv.base, 0o700); err != nil {
		return err
	}
	if mv.dir, err = os.OpenRoot(mv.base); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mv.dir.Close()) }()
	if err := mv.load(); err != nil {
		return err
	}
	info, err := mv.dir.Lstat(treeName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && info.IsDir() && (mv.state.At != "" || mv.state.Moving != "") {
		if mv.state.Moving == "" && mv.state.At == commit {
			return nil
		}
		was := mv.state
		err = mv.move(ctx, commit)
		if err == nil || !errors.Is(err, errGone) && (ctx.Err() != nil || !mv.astray(ctx, was, commit)) {
			return err
		}
		mv.mirror.log.WarnContext(ctx, "making a checkout anew, what it was at can't be read any more", "dir", mv.base, "cause", err)
	}
	if err := mv.clear(); err != nil {
		return err
	}
	return mv.step(ctx, commit)
}

// errGone: the commit that a move was cut short at is not in the mirror any more.
var errGone = errors.New("the commit is gone")

// astray reports whether the mirror has lost anything of what a checkout was at before it was to move to a commit: how to get there from
// it can't be told then.
func (mv *mover) astray(ctx context.Context, was checkoutState, commit string) bool {
	for _, id := range []string{was.At, was.Moving} {
		if id == "" || id == commit {
			continue
		}
		_, err := mv.mirror.run(ctx, command{args: []string{"rev-list", "--objects", "--quiet", "--no-walk", id, "--"}})
		if err != nil {
			return ctx.Err() == nil
		}
	}
	return false
}

// move completes what was cut short, and goes on to commit.
func (mv *mover) move(ctx context.Context, commit string) error {
	if cut := mv.state.Moving; cut != "" && cut != commit {
		mv.mirror.log.InfoContext(ctx, "completing a checkout that was cut short", "dir", mv.base)
		if there, err := mv.mirror.has(ctx, cut); err != nil {
			return err
		} else if !there {
			return errGone
		}
		if err := mv.step(ctx, cut); err != nil {
			return err
		}
	}
	return mv.step(ctx, commit)
}

// clear removes everything that a checkout consists of but the projects' data directories.
func (mv *mover) clear() error {
	if err := mv.store(checkoutState{ID: rand.Text()}); err != nil {
		return err
	}
	for _, name := range []string{treeName, indexName, indexName + ".lock", dotGitName} {
		if err := removeAll(mv.dir, name); err != nil {
			return err
		}
	}
	return mv.dir.Mkdir(treeName, 0o700)
}

// step moves the tree to one commit, marked by the state.
func (mv *mover) step(ctx context.Context, commit string) error {
	if there, err := mv.mirror.has(ctx, commit); err != nil {
		return err
	} else if !there {
		return fmt.Errorf("the mirror does not have it: %w", fs.ErrNotExist)
	}
	if err := mv.store(checkoutState{ID: mv.state.ID, At: mv.state.At, Moving: commit}); err != nil {
		return err
	}
	if _, err := mv.mirror.run(ctx, command{args: []string{"update-ref", mv.ref, commit}}); err != nil {
		return err
	}
	if err := mv.reset(ctx, commit); err != nil {
		return err
	}
	if err := mv.writeDotGit(commit); err != nil {
		return fmt.Errorf("writing the tree's .git: %w", err)
	}
	return mv.store(checkoutState{ID: mv.state.ID, At: commit})
}

// reset makes the tree's tracked files those of commit. What can be in the way, from a killed git or
// planted by a job, is cleared before a second attempt.
func (mv *mover) reset(ctx context.Context, commit string) error {
	if err := removeAll(mv.dir, indexName+".lock"); err != nil {
		return err
	}
	_, err := mv.dir.Lstat(indexName)
	stale := errors.Is(err, fs.ErrNotExist)
	if err == nil {
		stale, err = mv.otherAttributes(ctx, commit)
	}
	if stale {
		err = mv.restoreIndex(ctx)
	}
	if err == nil {
		err = mv.readTree(ctx, "--reset", "-u", commit)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	if werr := makeWritable(mv.dir, treeName); werr != nil {
		return errors.Join(err, werr)
	}
	if rerr := mv.restoreIndex(ctx); rerr != nil {
		return errors.Join(err, rerr)
	}
	return mv.readTree(ctx, "--reset", "-u", commit)
}

// otherAttributes reports whether attributes of the commit differ from those that the tree is at. Then files that are the same in git may be
// others in a tree: all are to be written, which an index makes git do that knows nothing of them.
func (mv *mover) otherAttributes(ctx context.Context, commit string) (bool, error) {
	if mv.state.At == "" {
		return false, nil
	}
	_, err := mv.mirror.run(ctx, command{args: []string{"diff-tree", "-r", "--quiet", mv.state.At, commit, "--", ":(glob)**/.gitattributes"}})
	if failure, ok := errors.AsType[*gitError](err); ok && failure.code == 1 {
		return true, nil
	}
	return false, err
}

// restoreIndex makes the index anew, from the commit that the tree was at: without knowing what was
// tracked, git would let files stay that are gone since.
func (mv *mover) restoreIndex(ctx context.Context) error {
	for _, name := range []string{indexName, indexName + ".lock"} {
		if err := removeAll(mv.dir, name); err != nil {
			return err
		}
	}
	if mv.state.At == "" {
		return nil
	}
	return mv.readTree(ctx, mv.state.At)
}

// readTree runs git with the mirror as its repository, our own index and the tree as nothing but a place
// for files: no configuration, hook or index below the tree is read.
func (mv *mover) readTree(ctx context.Context, args ...string) error {
	tree := filepath.Join(mv.base, treeName)
	_, err := mv.mirror.run(ctx, command{
		args: append([]string{"read-tree"}, args...),
		dir:  tree,
		env:  []string{"GIT_WORK_TREE=" + tree, "GIT_INDEX_FILE=" + filepath.Join(mv.base, indexName)},
	})
	return err
}

// has reports whether the mirror has an object.
func (m *mirror) has(ctx context.Context, id string) (bool, error) {
	_, err := m.run(ctx, command{args: []string{"cat-file", "-e", id}})
	if failure, ok := errors.AsType[*gitError](err); ok && failure.code == 1 {
		return false, nil
	}
	return err == nil, err
}

// load reads checkout.json. One that cannot be read counts as none: the checkout is made anew.
func (mv *mover) load() error {
	content, err := mv.dir.ReadFile(stateName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var state checkoutState
	if err := json.Unmarshal(content, &state); err != nil {
		return nil //nolint:nilerr // see above
	}
	if state.Format > stateFormat {
		return fmt.Errorf("%s is of format %d, newer than this server", stateName, state.Format)
	}
	if state.At != "" && checkObject(state.At) != nil || state.Moving != "" && checkObject(state.Moving) != nil {
		return nil
	}
	mv.state = state
	return nil
}

const stateFormat = 1

// store writes checkout.json durably, whole or not at all.
func (mv *mover) store(state checkoutState) error {
	state.Format = stateFormat
	content, err := json.Marshal(state)
	if err != nil {
		return err
	}
	temp := stateName + ".new"
	file, err := mv.dir.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(content, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := mv.dir.Rename(temp, stateName); err != nil {
		return err
	}
	parent, err := mv.dir.Open(".")
	if err != nil {
		return err
	}
	mv.state = state
	return errors.Join(parent.Sync(), parent.Close())
}
