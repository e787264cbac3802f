package workdir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// deepestModule is how deep submodules may lie in each other, mostModules how many a repository may have with all below.
	deepestModule = 5
	mostModules   = 100
	// mostModuleFile bounds .gitmodules.
	mostModuleFile = 256 << 10
	// deepestPath is how many directories may be above a submodule in its repository.
	deepestPath = 64
	// mostModule is how much may come for one submodule, in bytes.
	mostModule = 2 << 30
	// longestHome is how long the forge may take for the submodules of a merge, longestElsewhere all other servers.
	longestHome, longestElsewhere = 10 * time.Minute, 2 * time.Minute
	// sizeWatch is how often is looked at what came.
	sizeWatch = 200 * time.Millisecond
	// listingRest is what a line of a listing has beside hash and path, in bytes.
	listingRest = len("100644 blob \t/\x00")
)

// SubmoduleError says that what a submodule records can't be had. Path is hostile.
type SubmoduleError struct {
	Path string
	// Why are our words, for people.
	Why string
	err error
}

func (e *SubmoduleError) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("the submodule %q %s: %s", e.Path, e.Why, e.Said()), ": ")
}

func (e *SubmoduleError) Unwrap() error { return e.err }

// Said is what git, or somebody else's server, said of it: hostile, without secrets; "" for nothing.
func (e *SubmoduleError) Said() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// grafter puts the files of submodules into the trees of one merge. A tree that has them as its own is checked out, compared and hashed as any
// other: no repository is made in a checkout, and no git of ours has anything to do there.
type grafter struct {
	mirror *mirror
	repo   Repo
	pull   int
	// kept are the refs of the pull request, by name.
	kept map[string]string
	// home is how long the forge may still take, elsewhere all other servers.
	home, elsewhere time.Duration
	// most is how much may come for one submodule, in bytes.
	most int64
	// left are how many submodules, room how many bytes of listings, one tree may still have.
	left, room int
}

func (m *mirror) grafter(ctx context.Context, repo Repo, pull int) (*grafter, error) {
	kept, err := m.refs(ctx, refPrefix(pull)+"sub/")
	return &grafter{mirror: m, repo: repo, pull: pull, kept: kept, home: longestHome, elsewhere: longestElsewhere, most: mostModule}, err
}

// graft answers the tree of a commit or tree with the files of its submodules, at the commits that are recorded, and of theirs. What is
// missing is fetched.
func (g *grafter) graft(ctx context.Context, treeish string) (string, error) {
	g.left, g.room = mostModules, mostListing
	t, err := g.mirror.tree(ctx, treeish)
	if err != nil {
		return "", err
	}
	return g.tree(ctx, t, g.repo.URL, "", 0)
}

// tree grafts one tree. from is the URL that relative ones are relative to, at the path below the root, for people.
func (g *grafter) tree(ctx context.Context, t *Tree, from, at string, depth int) (string, error) {
	var modules []listed
	for _, e := range t.entries {
		g.room -= len(at) + len(e.path) + len(e.hash) + listingRest
		if e.mode == modeSubmodule {
			modules = append(modules, e)
		}
	}
	if g.room < 0 && depth > 0 {
		return "", &SubmoduleError{Path: at, Why: "has more files than are looked at in one merge"}
	}
	if len(modules) == 0 {
		return t.root, nil
	}
	urls, err := g.urls(ctx, t)
	if _, refused := errors.AsType[*moduleFileError](err); refused {
		return "", &SubmoduleError{Path: path.Join(at, modules[0].path), Why: "is not described by a .gitmodules that can be read", err: err}
	}
	if err != nil {
		return "", err
	}
	for i, e := range modules {
		if modules[i].hash, err = g.module(ctx, e, urls, from, at, depth); err != nil {
			return "", err
		}
	}
	return g.join(ctx, t, modules)
}

// module answers the tree of one submodule.
func (g *grafter) module(ctx context.Context, e listed, urls map[string]string, from, at string, depth int) (string, error) {
	name := path.Join(at, e.path)
	if g.left--; g.left < 0 || depth >= deepestModule {
		return "", &SubmoduleError{Path: name, Why: fmt.Sprintf("is one too many: %d are fetched, %d deep in each other", mostModules, deepestModule)}
	}
	if strings.Count(e.path, "/") >= deepestPath {
		return "", &SubmoduleError{Path: name, Why: fmt.Sprintf("lies more than %d directories deep", deepestPath)}
	}
	raw, ok := urls[e.path]
	if !ok {
		return "", &SubmoduleError{Path: name, Why: "has no URL in .gitmodules"}
	}
	where, err := moduleURL(from, g.repo.URL, raw)
	if err != nil {
		return "", &SubmoduleError{Path: name, Why: err.Error()}
	}
	if err := g.fetch(ctx, where, e.hash, name); err != nil {
		return "", err
	}
	t, err := g.mirror.tree(ctx, e.hash)
	if errors.Is(err, ErrTooLarge) {
		return "", &SubmoduleError{Path: name, Why: "has more files than are looked at in one merge"}
	}
	if err != nil {
		return "", err
	}
	return g.tree(ctx, t, where, name, depth+1)
}

// moduleFileError is what is wrong with a .gitmodules.
type moduleFileError struct{ err error }

func (e *moduleFileError) Error() string { return e.err.Error() }
func (e *moduleFileError) Unwrap() error { return e.err }

// urls reads .gitmodules: the URL by path.
func (g *grafter) urls(ctx context.Context, t *Tree) (map[string]string, error) {
	e, ok := t.lookup(".gitmodules")
	if !ok {
		return nil, nil
	}
	if e.mode == modeLink || e.mode == modeDir || e.mode == modeSubmodule {
		return nil, &moduleFileError{errors.New("it is no file")}
	}
	content, err := g.mirror.blobs.read(ctx, e.hash, mostModuleFile)
	if errors.Is(err, ErrTooLarge) {
		return nil, &moduleFileError{err}
	}
	if err != nil {
		return nil, err
	}
	// Includes are not followed in what is read this way.
	out, err := g.mirror.apart(ctx, command{
		args:   []string{"config", "--file", "-", "--null", "--list"},
		gitDir: g.mirror.dir,
		stdin:  strings.NewReader(string(content)),
	})
	if IsGit(err) || errors.Is(err, ErrTooLarge) {
		return nil, &moduleFileError{err}
	}
	if err != nil {
		return nil, err
	}
	return parseModules(string(out)), nil
}

// parseModules reads "submodule.<name>.<key> LF <value> NUL", any number of times. Of several values the last counts, and
// of several sections with one path the last as well.
func parseModules(out string) map[string]string {
	paths, urls := map[string]string{}, map[string]string{}
	var names []string
	for line := range strings.SplitSeq(out, "\x00") {
		key, value, _ := strings.Cut(line, "\n")
		rest, ok := strings.CutPrefix(key, "submodule.")
		dot := strings.LastIndexByte(rest, '.')
		if !ok || dot < 0 {
			continue
		}
		switch rest[dot+1:] {
		case "path":
			names = append(names, rest[:dot])
			paths[rest[:dot]] = value
		case "url":
			urls[rest[:dot]] = value
		}
	}
	found := map[string]string{}
	for _, name := range names {
		if u, ok := urls[name]; ok {
			found[strings.TrimSuffix(paths[name], "/")] = u
		}
	}
	return found
}

// moduleURL answers where a submodule is fetched from: at the forge, by the scheme of its own clone URLs, or by https elsewhere. from is the
// URL of the repository that it is in. What is written for ssh at the forge's host is the same repository by https.
func moduleURL(from, forge, raw string) (string, error) {
	home, err := url.Parse(forge)
	if err != nil || home.Host == "" {
		return "", errors.New("is in a repository that is not reached by https")
	}
	if strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		base, err := url.Parse(from)
		if err != nil {
			return "", errors.New("has a URL that can't be read")
		}
		up := path.Join(base.Path, raw)
		// Nothing is above the host: git would take the dots for a part of the URL.
		if strings.Count(raw, "../") > strings.Count(strings.Trim(base.Path, "/"), "/")+1 {
			return "", errors.New("has a URL that leads out of the forge")
		}
		return (&url.URL{Scheme: base.Scheme, Host: base.Host, Path: up}).String(), nil
	}
	raw = overHTTPS(raw, home)
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("has a URL that can't be read")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("has a URL with a user, a query or a fragment")
	case u.Host == "" || u.Path == "" || u.Opaque != "":
		return "", errors.New("has a URL that is neither relative nor https")
	case u.Scheme == "https", u.Scheme == home.Scheme && strings.EqualFold(u.Host, home.Host):
		return u.String(), nil
	}
	return "", errors.New("has a URL that is neither relative nor https")
}

// overHTTPS turns git@HOST:PATH and ssh://git@HOST/PATH of the forge's host into a clone URL.
func overHTTPS(raw string, home *url.URL) string {
	for _, start := range []string{"git@" + home.Hostname() + ":", "ssh://git@" + home.Hostname() + "/"} {
		if len(raw) > len(start) && strings.EqualFold(raw[:len(start)], start) {
			return (&url.URL{Scheme: home.Scheme, Host: home.Host, Path: "/" + strings.TrimPrefix(raw[len(start):], "/")}).String()
		}
	}
	return raw
}

// fetch fetches one commit, unless it was fetched for this pull request before: its ref is there only with all that it reaches. The
// error is a [*SubmoduleError] unless it is ours.
func (g *grafter) fetch(ctx context.Context, from, id, path string) (err error) {
	name := ref(g.pull, "sub/"+id)
	if g.kept[name] == id {
		return nil
	}
	// Beside the mirror: others fetch there meanwhile, and what a stranger's server says or sends is not of ours.
	dir, err := g.mirror.scratch("module-*.git")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := initBare(ctx, g.mirror.git, dir); err != nil {
		return err
	}
	if err := g.bring(ctx, from, id, dir); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return &SubmoduleError{Path: path, Why: "can't be fetched", err: err}
	}
	kind, err := g.mirror.apart(ctx, command{args: []string{"cat-file", "-t", id}, gitDir: dir})
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(kind)) != "commit" {
		return &SubmoduleError{Path: path, Why: "records what is no commit"}
	}
	if err := g.mirror.moveIn(dir); err != nil {
		return fmt.Errorf("keeping a submodule: %w", err)
	}
	if _, err = g.mirror.run(ctx, command{args: []string{"update-ref", name, id}}); err == nil {
		g.kept[name] = id
	}
	return err
}

// bring fetches a commit into a repository of its own. What has come already is kept for the next merge when the time is over.
func (g *grafter) bring(ctx context.Context, from, id, dir string) error {
	repo := Repo{Forge: g.repo.Forge, ID: g.repo.ID, URL: from}
	home, err := url.Parse(g.repo.URL)
	if err != nil {
		return err
	}
	left, over := &g.elsewhere, fmt.Errorf("servers other than the forge have %s for the submodules of a merge, and that is over", longestElsewhere)
	if u, err := url.Parse(from); err == nil && u.Scheme == home.Scheme && strings.EqualFold(u.Host, home.Host) {
		repo.Credential, repo.Refused = g.repo.Credential, g.repo.Refused
		left, over = &g.home, fmt.Errorf("the forge has %s for the submodules of a merge, and that is over", longestHome)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	defer func() { *left -= time.Since(began) }()
	defer time.AfterFunc(*left, func() { cancel(over) }).Stop()
	large := fmt.Errorf("more than %d MiB came: %w", g.most>>20, ErrTooLarge)
	size := func() int64 { return sizeOf(dir) }
	defer watchSize(size, g.most, func() { cancel(large) })()
	if err := g.mirror.fetchBy(ctx, g.mirror.apart, repo, dir, []string{"+" + id + ":refs/tidegate/module"}); err != nil {
		return err
	}
	if size() > g.most {
		return large
	}
	return nil
}

// watchSize calls over when a size is more than most bytes. end must be called.
func watchSize(size func() int64, most int64, over func()) (end func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(sizeWatch)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if size() > most {
				over()
				return
			}
		}
	}()
	return func() { close(done) }
}

// sizeOf is how much is below a directory, in bytes. What goes meanwhile does not count.
func sizeOf(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		if info, err := d.Info(); err == nil && !d.IsDir() {
			size += info.Size()
		}
		return nil
	})
	return size
}

// join answers a tree in which each of the modules is the tree that its hash names. Only directories above one are made anew.
func (g *grafter) join(ctx context.Context, t *Tree, modules []listed) (string, error) {
	made, above := map[string]string{}, map[string][]listed{}
	for _, e := range modules {
		made[e.path] = e.hash
		for dir := path.Dir(e.path); ; dir = path.Dir(dir) {
			above[dir] = nil
			if dir == "." {
				break
			}
		}
	}
	for _, e := range t.entries {
		if in, ok := above[path.Dir(e.path)]; ok {
			above[path.Dir(e.path)] = append(in, e)
		}
	}
	// What is below a directory comes before it.
	dirs := slices.SortedFunc(maps.Keys(above), func(a, b string) int { return cmp.Compare(depthOf(b), depthOf(a)) })
	for _, dir := range dirs {
		var lines strings.Builder
		for _, e := range above[dir] {
			if id, ok := made[e.path]; ok {
				e.mode, e.hash = modeDir, id
			}
			fmt.Fprintf(&lines, "%06o %s %s\t%s\x00", e.mode, kindOf(e.mode), e.hash, path.Base(e.path))
		}
		out, err := g.mirror.run(ctx, command{args: []string{"mktree", "-z"}, stdin: strings.NewReader(lines.String())})
		if err != nil {
			return "", fmt.Errorf("putting submodules into a tree: %w", err)
		}
		made[dir] = strings.TrimSpace(string(out))
	}
	return made["."], checkObject(made["."])
}

// depthOf is how many directories a path goes through; the root is above all.
func depthOf(dir string) int {
	if dir == "." {
		return -1
	}
	return strings.Count(dir, "/")
}

// kindOf is the kind of object that an entry of a tree names by its mode.
func kindOf(mode int) string {
	switch mode {
	case modeDir:
		return "tree"
	case modeSubmodule:
		return "commit"
	}
	return "blob"
}
