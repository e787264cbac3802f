package workdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const (
	// mostListing is how much of a tree's listing is read: more than half a million files. A few objects
	// are enough for a tree whose listing never ends.
	mostListing = 64 << 20
	// mostBlob is how much of one file is read.
	mostBlob = 1 << 20
	// mostLinks is how many links one path may go through, as in Linux.
	mostLinks = 40
)

// Tree is the listing of one git tree, read once. Paths have forward slashes and no leading one; they are
// what strangers wrote: any bytes but NUL. It is safe for concurrent use.
type Tree struct {
	mirror *mirror
	root   string
	// entries are in git's order: a directory before what is in it.
	entries []listed
	byPath  map[string]int
}

// Tree lists a commit or tree of the mirror, by its object id.
func (s *Store) Tree(ctx context.Context, repo Repo, treeish string) (*Tree, error) {
	if err := checkObject(treeish); err != nil {
		return nil, err
	}
	m, err := s.mirror(ctx, repo)
	if err != nil {
		return nil, err
	}
	t, err := m.tree(ctx, treeish)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", treeish, err)
	}
	return t, nil
}

func (m *mirror) tree(ctx context.Context, treeish string) (*Tree, error) {
	out, err := m.run(ctx, command{args: []string{"rev-parse", "--verify", "--quiet", treeish + "^{tree}"}})
	if failure, ok := errors.AsType[*gitError](err); ok && failure.code == 1 {
		return nil, fmt.Errorf("%s is not in the mirror: %w", treeish, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	t := &Tree{mirror: m, root: strings.TrimSpace(string(out))}
	if out, err = m.run(ctx, command{
		args:  []string{"ls-tree", "-r", "-t", "-z", "--full-tree", t.root},
		limit: mostListing,
	}); err != nil {
		return nil, err
	}
	if t.entries, err = parseListing(out); err != nil {
		return nil, err
	}
	t.byPath = make(map[string]int, len(t.entries))
	for i, e := range t.entries {
		t.byPath[e.path] = i
	}
	return t, nil
}

func (t *Tree) lookup(path string) (listed, bool) {
	i, ok := t.byPath[path]
	if !ok {
		return listed{}, false
	}
	return t.entries[i], true
}

// Files answers the paths of all files and symbolic links, sorted by bytes; not those of directories and
// submodules.
func (t *Tree) Files() []string {
	var files []string
	for _, e := range t.entries {
		if e.mode != modeDir && e.mode != modeSubmodule {
			files = append(files, e.path)
		}
	}
	slices.Sort(files)
	return files
}

// Hash answers git's hash of what path itself is: of a file's content, of all below a directory, of a
// link's target (text, not what it leads to), the commit of a submodule. "." is the whole tree.
func (t *Tree) Hash(path string) (string, bool) {
	if path == "." {
		return t.root, true
	}
	e, ok := t.lookup(path)
	return e.hash, ok
}

// Link reports whether path itself is a symbolic link.
func (t *Tree) Link(path string) bool {
	e, ok := t.lookup(path)
	return ok && e.mode == modeLink
}

// Submodule reports whether path itself is a submodule: a directory that stays empty in checkouts.
func (t *Tree) Submodule(path string) bool {
	e, ok := t.lookup(path)
	return ok && e.mode == modeSubmodule
}

// Submodules answers the paths of all submodules, in git's order.
func (t *Tree) Submodules() []string {
	var found []string
	for _, e := range t.entries {
		if e.mode == modeSubmodule {
			found = append(found, e.path)
		}
	}
	return found
}

// ReadFile reads a file as a process in a checkout would: through links, as long as they stay inside
// ([*EscapeError]). There is no file: [fs.ErrNotExist]. More than 1 MiB: [ErrTooLarge].
func (t *Tree) ReadFile(ctx context.Context, name string) ([]byte, error) {
	real, err := t.Real(ctx, name)
	if err != nil {
		return nil, err
	}
	e, ok := t.lookup(real)
	if !ok || e.mode == modeDir || e.mode == modeSubmodule {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	content, err := t.mirror.blobs.read(ctx, e.hash, mostBlob)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, err)
	}
	return content, nil
}

// Real answers where a path leads to when all links in it are followed: a path of this tree that goes
// through none, "." for the root. Nothing needs to be there.
func (t *Tree) Real(ctx context.Context, name string) (string, error) {
	read := func(link string) (string, bool, error) {
		e, ok := t.lookup(link)
		if !ok || e.mode != modeLink {
			return "", false, nil
		}
		target, err := t.mirror.blobs.read(ctx, e.hash, mostBlob)
		return string(target), true, err
	}
	return follow(name, read)
}

// follow walks a path component by component; readlink answers the target of what is a link. The result
// has no links, "." and "..".
func follow(name string, readlink func(string) (target string, isLink bool, err error)) (string, error) {
	if strings.HasPrefix(name, "/") {
		return "", &EscapeError{Path: name}
	}
	rest := strings.Split(name, "/")
	at, link, target := ".", "", ""
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "." {
				return "", &EscapeError{Path: name, Link: link, Target: target}
			}
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		to, isLink, err := readlink(next)
		if err != nil {
			return "", fmt.Errorf("following %q: %w", name, err)
		}
		if !isLink {
			at = next
			continue
		}
		if links++; links > mostLinks {
			return "", fmt.Errorf("following %q: too many links", name)
		}
		link, target = next, to
		if strings.HasPrefix(to, "/") {
			return "", &EscapeError{Path: name, Link: link, Target: target}
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return at, nil
}
