package project

import (
	"context"
	"path"
	"slices"
	"strings"
)

// Select answers the projects that a push plans, because a changed file touches them. changed are the
// paths that differ, of renamed files both.
//
// With configured projects it is those whose autoplan is on and whose when_modified matches, in the order
// of the file, as far as their directory is there. Without, projects are found: see [find].
func Select(ctx context.Context, t Tree, c Config, changed []string) ([]Project, error) {
	return choose(ctx, t, c, changed, false)
}

// SelectAll answers the projects that a "plan" without a target plans: those of [Select] and those whose
// autoplan is off.
func SelectAll(ctx context.Context, t Tree, c Config, changed []string) ([]Project, error) {
	return choose(ctx, t, c, changed, true)
}

func choose(ctx context.Context, t Tree, c Config, changed []string, all bool) ([]Project, error) {
	ix := newIndex(t)
	if len(c.Projects) == 0 {
		return find(ctx, ix, changed)
	}
	var out []Project
	matchers := newMatchers()
	for _, p := range c.Projects {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !p.Autoplan && !all || !ix.hasDir(ctx, p.Dir) {
			continue
		}
		if slices.ContainsFunc(changed, matchers.of(p).match) {
			out = append(out, p)
		}
	}
	return out, ctx.Err()
}

// find answers the projects that changed files touch in a repository that configures none, sorted by
// directory. Files of terraform and tofu count, their variables and lock files too.
//
// A file touches the directory it is in, if that holds a project file (*.tf, *.tf.json, *.tofu,
// *.tofu.json, terragrunt.hcl). In "env" it touches the directory above; below "modules" the directory
// that "modules" is in. And it touches every directory that calls its directory as a module, by way of
// other modules too. A directory that is called, and has no backend or cloud block, is a module and never
// a project: there is nowhere its state could be.
func find(ctx context.Context, ix *index, changed []string) ([]Project, error) {
	changed = slices.DeleteFunc(slices.Clone(changed), func(f string) bool { return !touches(f) })
	if len(changed) == 0 {
		return nil, ctx.Err()
	}
	g, err := ix.graph(ctx)
	if err != nil {
		return nil, err
	}
	var dirs []string
	seen := map[string]bool{}
	for _, f := range changed {
		from := path.Dir(f)
		if seen[from] {
			continue
		}
		seen[from] = true
		if dir, ok := ix.place(from); ok && !g.isModule(dir) {
			dirs = append(dirs, dir)
		}
		for _, user := range g.users(from) {
			if dir, ok := ix.place(user); ok && dir == user && !g.isModule(user) {
				dirs = append(dirs, user)
			}
		}
	}
	var out []Project
	for _, dir := range unique(dirs) {
		p, err := ix.found(ctx, dir)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// touches reports files that say something about a project.
func touches(file string) bool {
	if strings.Contains(file, "terraform.tfstate") || strings.Contains(file, "tflint.hcl") {
		return false
	}
	base := path.Base(file)
	if base == "terragrunt.hcl" || base == ".terraform.lock.hcl" {
		return true
	}
	for _, end := range []string{".tf", ".tf.json", ".tfvars", ".tfvars.json", ".tofu", ".tofu.json"} {
		if strings.HasSuffix(base, end) {
			return true
		}
	}
	return false
}

// place answers the project's directory that a file in dir belongs to.
func (ix *index) place(dir string) (string, bool) {
	if path.Base(dir) == "env" && ix.isProject(path.Dir(dir)) {
		dir = path.Dir(dir)
	}
	parts := strings.Split(dir, "/")
	if i := slices.Index(parts, "modules"); i >= 0 {
		dir = path.Join(".", path.Join(parts[:i]...))
	}
	return dir, ix.isProject(dir)
}

// found makes a project of a directory that is not configured.
func (ix *index) found(ctx context.Context, dir string) (Project, error) {
	p := Project{Dir: dir, Workspace: DefaultWorkspace, Autoplan: true}
	f, err := ix.facts(ctx, dir)
	if err != nil {
		return p, err
	}
	if validWorkspace(f.workspace) {
		p.Workspace = f.workspace
	}
	if strings.ContainsFunc(dir, isUnprintable) {
		p.Unsupported = []string{"a directory with control characters in its name is not supported"}
	}
	return p, nil
}
