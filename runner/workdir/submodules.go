package workdir

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// deepestModule is how deep submodules may lie in each other, mostModules how many a repository may have with all below.
	deepestModule = 5
	mostModules   = 100
	// mostModuleFile bounds .gitmodules.
	mostModuleFile = 256 << 10
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

// grafter puts the files of submodules into trees. A tree that has them as its own is checked out, compared and hashed as any other: no
// repository is made in a checkout, and no git of ours has anything to do there.
type grafter struct {
	mirror *mirror
	repo   Repo
	pull   int
	// kept are the refs of the pull request, by name.
	kept map[string]string
	left int
}

// graft answers the tree of a commit or tree with the files of its submodules, at the commits that are recorded, and of theirs. What is
// missing is fetched.
func (m *mirror) graft(ctx context.Context, repo Repo, pull int, treeish string) (string, error) {
	kept, err := m.refs(ctx, refPrefix(pull)+"sub/")
	if err != nil {
		return "", err
	}
	g := &grafter{mirror: m, repo: repo, pull: pull, kept: kept, left: mostModules}
	return g.tree(ctx, treeish, repo.URL, "", 0)
}

// tree grafts one tree. from is the URL that relative ones are relative to, at the path below the root, for people.
func (g *grafter) tree(ctx context.Context, treeish, from, at string, depth int) (string, error) {
	t, err := g.mirror.tree(ctx, treeish)
	if err != nil {
		return "", err
	}
	var modules []listed
	for _, e := range t.entries {
		if e.mode == modeSubmodule {
			modules = append(modules, e)
		}
	}
	if len(modules) == 0 {
		return t.root, nil
	}
	urls, err := g.urls(ctx, t)
	if err != nil {
		return "", &SubmoduleError{Path: path.Join(at, modules[0].path), Why: "is not described by a .gitmodules that can be read", err: err}
	}
	for i, e := range modules {
		name := path.Join(at, e.path)
		if g.left--; g.left < 0 || depth >= deepestModule {
			return "", &SubmoduleError{Path: name, Why: fmt.Sprintf("is one too many: %d are fetched, %d deep in each other", mostModules, deepestModule)}
		}
		raw, ok := urls[e.path]
		if !ok {
			return "", &SubmoduleError{Path: name, Why: "has no URL in .gitmodules"}
		}
		where, err := moduleURL(from, g.repo.URL, raw)
		if err != nil {
			return "", &SubmoduleError{Path: name, Why: err.Error()}
		}
		if err := g.fetch(ctx, where, e.hash); err != nil {
			if ctx.Err() != nil || isDamage(err) {
				return "", err
			}
			return "", &SubmoduleError{Path: name, Why: "can't be fetched", err: err}
		}
		if modules[i].hash, err = g.tree(ctx, e.hash, where, name, depth+1); err != nil {
			return "", err
		}
	}
	return g.join(ctx, t.root, modules)
}

// urls reads .gitmodules: the URL by path.
func (g *grafter) urls(ctx context.Context, t *Tree) (map[string]string, error) {
	e, ok := t.lookup(".gitmodules")
	if !ok {
		return nil, nil
	}
	if e.mode == modeLink || e.mode == modeDir || e.mode == modeSubmodule {
		return nil, errors.New("it is no file")
	}
	content, err := g.mirror.blobs.read(ctx, e.hash, mostModuleFile)
	if err != nil {
		return nil, err
	}
	// Includes are not followed in what is read this way.
	out, err := g.mirror.run(ctx, command{
		args:  []string{"config", "--file", "-", "--null", "--list"},
		stdin: strings.NewReader(string(content)),
	})
	if err != nil {
		return nil, err
	}
	return parseModules(string(out)), nil
}

// parseModules reads "submodule.<name>.<key> LF <value> NUL", any number of times. Of several values the last counts.
func parseModules(out string) map[string]string {
	paths, urls := map[string]string{}, map[string]string{}
	for line := range strings.SplitSeq(out, "\x00") {
		key, value, _ := strings.Cut(line, "\n")
		rest, ok := strings.CutPrefix(key, "submodule.")
		dot := strings.LastIndexByte(rest, '.')
		if !ok || dot < 0 {
			continue
		}
		switch rest[dot+1:] {
		case "path":
			paths[rest[:dot]] = value
		case "url":
			urls[rest[:dot]] = value
		}
	}
	found := map[string]string{}
	for name, p := range paths {
		if u, ok := urls[name]; ok {
			found[strings.TrimSuffix(p, "/")] = u
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
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
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

// fetch fetches one commit, unless it was fetched for this pull request before: its ref is there only with all that it reaches.
func (g *grafter) fetch(ctx context.Context, from, id string) error {
	name := ref(g.pull, "sub/"+id)
	if g.kept[name] == id {
		return nil
	}
	repo := Repo{Forge: g.repo.Forge, ID: g.repo.ID, URL: from}
	home, err := url.Parse(g.repo.URL)
	if err != nil {
		return err
	}
	if u, err := url.Parse(from); err == nil && u.Scheme == home.Scheme && strings.EqualFold(u.Host, home.Host) {
		repo.Credential = g.repo.Credential
	}
	select {
	case g.mirror.fetching <- struct{}{}:
		defer func() { <-g.mirror.fetching }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return g.mirror.fetchOne(ctx, repo, g.mirror.dir, []string{"+" + id + ":" + name}, []string{
		// What commits we have is nothing to tell another repository's server.
		"fetch.negotiationAlgorithm", "noop",
	})
}

// join answers a tree in which each of the modules is the tree that its hash names.
func (g *grafter) join(ctx context.Context, tree string, modules []listed) (id string, err error) {
	dir, err := g.mirror.scratch("graft-*")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// read-tree wants a work tree, in which it does nothing here.
	env := []string{"GIT_INDEX_FILE=" + filepath.Join(dir, "index"), "GIT_WORK_TREE=" + dir}
	var gone strings.Builder
	steps := []command{{args: []string{"read-tree", tree}}, {args: []string{"update-index", "-z", "--index-info"}}}
	for _, e := range modules {
		gone.WriteString("0 " + strings.Repeat("0", len(e.hash)) + "\t" + e.path + "\x00")
		steps = append(steps, command{args: []string{"read-tree", "-i", "--prefix=" + e.path + "/", e.hash}})
	}
	steps[1].stdin = strings.NewReader(gone.String())
	var out []byte
	for _, c := range append(steps, command{args: []string{"write-tree"}}) {
		c.env = slices.Clone(env)
		if out, err = g.mirror.run(ctx, c); err != nil {
			return "", fmt.Errorf("putting submodules into a tree: %w", err)
		}
	}
	id = strings.TrimSpace(string(out))
	return id, checkObject(id)
}
