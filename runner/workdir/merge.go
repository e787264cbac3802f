package workdir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mergeDate is the date of every merge commit: with the same base and head it is the same commit.
const mergeDate = "@946684800 +0000"

// mostPaths is how much of a list of paths is read.
const mostPaths = 64 << 20

// Merge fetches base and head, whole histories of these two and nothing else, and merges them in the
// mirror. The same base and head always give the same commit; a ref keeps it until [Store.Remove].
//
// Errors: [*ConflictError]; [*MovedError] when the head is another commit than asked for, also when the
// forge has not published the new one yet; [*RefGoneError]; [ErrUnrelated]; [ErrUnauthorized]; [*SubmoduleError].
func (s *Store) Merge(ctx context.Context, repo Repo, req MergeRequest) (Merge, error) {
	if _, err := pullDir(req.Pull); err != nil {
		return Merge{}, err
	}
	base := "refs/heads/" + req.BaseRef
	for _, name := range []string{base, req.HeadRef} {
		if err := checkRef(name); err != nil {
			return Merge{}, err
		}
	}
	if req.HeadSHA != "" {
		if err := checkObject(req.HeadSHA); err != nil {
			return Merge{}, err
		}
	}
	m, err := s.mirror(ctx, repo)
	if err != nil {
		return Merge{}, err
	}
	specs := []string{
		"+" + base + ":" + ref(req.Pull, "base"),
		"+" + req.HeadRef + ":" + ref(req.Pull, "head"),
	}
	var merge Merge
	err = m.healing(ctx, repo, specs, func() error {
		if err := m.fetch(ctx, repo, specs); err != nil {
			return fmt.Errorf("fetching %s and %s: %w", base, req.HeadRef, err)
		}
		var err error
		if merge, err = m.merge(ctx, repo, req, s.submodules); err != nil {
			return fmt.Errorf("merging %s into %s: %w", req.HeadRef, base, err)
		}
		return nil
	})
	if err != nil {
		return Merge{}, err
	}
	return merge, nil
}

// merge merges what was fetched.
func (m *mirror) merge(ctx context.Context, repo Repo, req MergeRequest, submodules bool) (Merge, error) {
	refs, err := m.refs(ctx, refPrefix(req.Pull))
	if err != nil {
		return Merge{}, err
	}
	merge := Merge{Base: refs[ref(req.Pull, "base")], Head: refs[ref(req.Pull, "head")]}
	if merge.Base == "" || merge.Head == "" {
		return Merge{}, errors.New("what was fetched is not there")
	}
	if req.HeadSHA != "" && req.HeadSHA != merge.Head {
		return Merge{}, &MovedError{Want: req.HeadSHA, Got: merge.Head}
	}
	if merge.Tree, err = m.mergeTree(ctx, merge.Base, merge.Head); err != nil {
		return Merge{}, err
	}
	if submodules {
		g, err := m.grafter(ctx, repo, req.Pull)
		if err != nil {
			return Merge{}, err
		}
		if merge.Tree, err = g.graft(ctx, merge.Tree); err != nil {
			return Merge{}, err
		}
		// One of the base that can't be had any more counts as changed.
		if merge.baseTree, err = g.graft(ctx, merge.Base); err != nil && (ctx.Err() != nil || isDamage(err)) {
			return Merge{}, err
		}
	}
	if merge.Commit, err = m.commit(ctx, merge); err != nil {
		return Merge{}, err
	}
	_, err = m.run(ctx, command{args: []string{"update-ref", ref(req.Pull, "merge"), merge.Commit}})
	return merge, err
}

// mergeTree merges two commits by the attributes of base. The head's do not count: it would decide by
// which rules it is merged.
func (m *mirror) mergeTree(ctx context.Context, base, head string) (string, error) {
	worktree, err := m.attributes(ctx, base)
	if err != nil {
		return "", fmt.Errorf("reading the base's attributes: %w", err)
	}
	c := command{
		args:  []string{"merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", base, head},
		limit: mostPaths,
	}
	if worktree != "" {
		defer func() { _ = os.RemoveAll(worktree) }()
		c.dir, c.env = worktree, []string{"GIT_WORK_TREE=" + worktree}
	}
	out, err := m.run(ctx, c)
	if failure, ok := errors.AsType[*gitError](err); ok && failure.code == 1 {
		_, files, err := parseMergeTree(out)
		if err != nil {
			return "", err
		}
		slices.Sort(files)
		return "", &ConflictError{Files: slices.Compact(files)}
	} else if ok && strings.Contains(failure.text, "refusing to merge unrelated histories") {
		return "", ErrUnrelated
	}
	if err != nil {
		return "", err
	}
	tree, _, err := parseMergeTree(out)
	return tree, err
}

// attributes answers a directory that holds nothing but the .gitattributes files of a commit, or "" if it
// has none. In a bare repository git 2.39 reads no attributes at all from trees; from a working tree it
// does, in every directory. A directory of its own for each merge needs no lock, as info/attributes would,
// and cannot leak into checkouts.
func (m *mirror) attributes(ctx context.Context, commit string) (string, error) {
	tree, err := m.tree(ctx, commit)
	if err != nil {
		return "", err
	}
	var files []listed
	for _, e := range tree.entries {
		isFile := e.mode != modeDir && e.mode != modeLink && e.mode != modeSubmodule
		if isFile && (e.path == ".gitattributes" || strings.HasSuffix(e.path, "/.gitattributes")) {
			files = append(files, e)
		}
	}
	if len(files) == 0 {
		return "", nil
	}
	dir, err := m.scratch("merge-*")
	if err != nil {
		return "", err
	}
	if err := m.writeFiles(ctx, dir, files); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// writeFiles writes blobs below dir and nowhere else, whatever their paths are.
func (m *mirror) writeFiles(ctx context.Context, dir string, files []listed) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for _, f := range files {
		content, err := m.blobs.read(ctx, f.hash, mostBlob)
		if err != nil {
			return err
		}
		if err := root.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
			return err
		}
		if err := root.WriteFile(f.path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// commit makes the merge commit.
func (m *mirror) commit(ctx context.Context, merge Merge) (string, error) {
	out, err := m.run(ctx, command{
		args: []string{
			"commit-tree", merge.Tree, "-p", merge.Base, "-p", merge.Head,
			"-m", "Merge " + merge.Head + " into " + merge.Base,
		},
		env: []string{
			"GIT_AUTHOR_NAME=Tidegate", "GIT_AUTHOR_EMAIL=tidegate@localhost", "GIT_AUTHOR_DATE=" + mergeDate,
			"GIT_COMMITTER_NAME=Tidegate", "GIT_COMMITTER_EMAIL=tidegate@localhost", "GIT_COMMITTER_DATE=" + mergeDate,
		},
	})
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(out))
	return id, checkObject(id)
}

// Changed answers the paths that differ between the base and the merge result, sorted: what is new, gone
// or different, and so both names of what was renamed.
func (s *Store) Changed(ctx context.Context, repo Repo, merge Merge) ([]string, error) {
	base := cmp.Or(merge.baseTree, merge.Base)
	for _, id := range []string{base, merge.Tree} {
		if err := checkObject(id); err != nil {
			return nil, err
		}
	}
	m, err := s.mirror(ctx, repo)
	if err != nil {
		return nil, err
	}
	out, err := m.run(ctx, command{
		args: []string{
			"diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff",
			"--ignore-submodules=none", base, merge.Tree, "--",
		},
		limit: mostPaths,
	})
	if err != nil {
		return nil, fmt.Errorf("comparing base and merge: %w", err)
	}
	paths, err := parsePaths(out)
	slices.Sort(paths)
	return paths, err
}
