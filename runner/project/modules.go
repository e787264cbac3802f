package project

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const (
	// mostModules is how many directories one project's modules can have.
	mostModules = 5_000
	// mostIndexed is how many configuration files a repository can have for its modules to be known.
	mostIndexed = 20_000
)

// facts reads the configuration files directly in a directory. A path through links is fine.
func (ix *index) facts(ctx context.Context, dir string) (facts, error) {
	var all, tofu facts
	for _, name := range ix.dirs[dir] {
		if !isConfigFile(name) {
			continue
		}
		content, err := ix.ReadFile(ctx, path.Join(dir, name))
		switch {
		case ctx.Err() != nil:
			return facts{}, ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // a link to nowhere
			continue
		case err != nil: // too large, a link out of the repository
			all.unknown = true
			continue
		}
		into := &all
		if strings.Contains(name, ".tofu") {
			into = &tofu
		}
		into.add(factsOf(name, content))
	}
	all.add(tofu)
	all.local = unique(all.local)
	return all, nil
}

// closure is a directory with all local modules that it calls, and those that they call.
type closure struct {
	// dirs are the directories without links in their paths, sorted; the first directory is among them.
	dirs []string
	// outside are the paths that leave the repository, as far as they are known, sorted.
	outside []string
	// unknown: there may be more modules, anywhere in the repository.
	unknown bool
}

func (ix *index) closure(ctx context.Context, dir string) (closure, error) {
	var c closure
	seen := map[string]bool{dir: true}
	for queue := []string{dir}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		real, err := ix.Real(ctx, at)
		if ctx.Err() != nil {
			return closure{}, ctx.Err()
		}
		if err != nil {
			c.outside = append(c.outside, at)
			continue
		}
		c.dirs = append(c.dirs, real)
		f, err := ix.facts(ctx, real)
		if err != nil {
			return closure{}, err
		}
		c.unknown = c.unknown || f.unknown
		for _, src := range f.local {
			// terraform joins paths without looking at links, so this goes on from at and not from real.
			next := path.Join(at, src)
			switch {
			case seen[next]:
			case leaves(next):
				c.outside = append(c.outside, next)
			case len(seen) >= mostModules:
				c.unknown = true
			default:
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	c.dirs, c.outside = unique(c.dirs), unique(c.outside)
	return c, nil
}

func leaves(dir string) bool { return dir == ".." || strings.HasPrefix(dir, "../") }

// graph is which directory of a repository calls which as a module.
type graph struct {
	facts map[string]facts
	// callers has for each directory those that call it.
	callers map[string][]string
}

// graph reads all configuration files of the repository. Of one with too many of them it knows nothing.
func (ix *index) graph(ctx context.Context) (graph, error) {
	g := graph{facts: map[string]facts{}, callers: map[string][]string{}}
	total := 0
	for _, names := range ix.dirs {
		for _, name := range names {
			if isConfigFile(name) {
				total++
			}
		}
	}
	if total > mostIndexed {
		return g, nil
	}
	for _, dir := range ix.projectDirs() {
		f, err := ix.facts(ctx, dir)
		if err != nil {
			return graph{}, err
		}
		g.facts[dir] = f
		for _, src := range f.local {
			if target := path.Join(dir, src); target != dir {
				g.callers[target] = append(g.callers[target], dir)
			}
		}
	}
	return g, nil
}

// isModule reports directories that are no projects of their own: somebody calls them as a module, and
// they say nowhere where their state would be.
func (g graph) isModule(dir string) bool {
	return len(g.callers[dir]) > 0 && !g.facts[dir].backend
}

// users answers all directories that call a directory as a module, by way of others too, sorted.
func (g graph) users(dir string) []string {
	seen := map[string]bool{dir: true}
	var out []string
	for queue := []string{dir}; len(queue) > 0; queue = queue[1:] {
		for _, c := range g.callers[queue[0]] {
			if !seen[c] {
				seen[c] = true
				out = append(out, c)
				queue = append(queue, c)
			}
		}
	}
	slices.Sort(out)
	return out
}
