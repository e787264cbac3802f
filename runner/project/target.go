package project

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// TargetError says that there is nothing of the kind that flags name. Everything in backticks comes from
// the comment or the repository.
type TargetError struct {
	// Headline is what is wrong, without a full stop.
	Headline string
	// Detail is a whole sentence on what to do, "" for nothing to add.
	Detail string
	// There is what could be named in its place, at most 20 of them, as they are and hostile. More is how
	// many were left out.
	There []string
	More  int
	// Flag is how to name them: -d, -w or -p.
	Flag string
	// Suggestion is the one that was probably meant, "" for none.
	Suggestion string
}

func (e *TargetError) Error() string { return e.Headline }

// mostThere is how many alternatives a TargetError lists.
const mostThere = 20

func targetError(flag, typed string, there []string, format string, args ...any) *TargetError {
	there = unique(there)
	e := &TargetError{Headline: fmt.Sprintf(format, args...), Flag: flag, Suggestion: nearest(typed, there)}
	e.There = there[:min(len(there), mostThere)]
	e.More = len(there) - len(e.There)
	return e
}

// Target answers the projects that flags name, whatever has changed. dir is cleaned, "" and the same for
// workspace and name if the flag was not given.
//
// A name is that of one configured project. A directory alone stands for all its configured projects, in
// every workspace; with a workspace, for those in it. A directory that is not configured can be planned
// all the same if it holds a project file, in the workspace given, else its own. A workspace alone means
// the root directory, as in Atlantis, if the root is a project; else every configured project in that
// workspace. What can't be answered is a [*TargetError].
func Target(ctx context.Context, t Tree, c Config, dir, workspace, name string) ([]Project, error) {
	switch {
	case name != "":
		return named(c, name)
	case dir != "":
		return inDir(ctx, newIndex(t), c, dir, workspace)
	default:
		return inWorkspace(ctx, newIndex(t), c, workspace)
	}
}

func named(c Config, name string) ([]Project, error) {
	var names []string
	for _, p := range c.Projects {
		if p.Name == name {
			return []Project{p}, nil
		}
		if p.Name != "" {
			names = append(names, p.Name)
		}
	}
	e := targetError("-p", name, names, "There is no project named %s", code(name))
	if len(names) == 0 {
		e.Detail = "No project of this repository has a name: name its directory, with `-d`."
	}
	return nil, e
}

func inDir(ctx context.Context, ix *index, c Config, dir, workspace string) ([]Project, error) {
	var out []Project
	var workspaces []string
	for _, p := range c.Projects {
		if p.Dir != dir {
			continue
		}
		workspaces = append(workspaces, p.Workspace)
		if workspace == "" || p.Workspace == workspace {
			out = append(out, p)
		}
	}
	switch {
	case len(workspaces) == 0:
		return unconfigured(ctx, ix, c, dir, workspace)
	case len(out) == 0:
		return nil, targetError("-w", workspace, workspaces, "%s is not configured for the workspace %s", code(dir), code(workspace))
	case !ix.hasDir(ctx, dir):
		e := targetError("-d", dir, nil, "The directory %s is not there any more", code(dir))
		e.Detail = fmt.Sprintf("%s still names it, in line %d.", code(c.Path), out[0].Line)
		return nil, e
	default:
		return out, nil
	}
}

// unconfigured answers a directory that no configuration names.
func unconfigured(ctx context.Context, ix *index, c Config, dir, workspace string) ([]Project, error) {
	if ix.isProject(dir) {
		p, err := ix.found(ctx, dir)
		if err != nil {
			return nil, err
		}
		p.Workspace = cmp.Or(workspace, p.Workspace)
		return []Project{p}, nil
	}
	dirs := ix.projectDirs()
	for _, p := range c.Projects {
		dirs = append(dirs, p.Dir)
	}
	real, err := ix.Real(ctx, dir)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, targetError("-d", dir, dirs, "The directory %s is a link that leaves the repository", code(dir))
	case real != dir && ix.isProject(real):
		// One directory has one name, or two locks would be held on it.
		e := targetError("-d", dir, []string{real}, "The directory %s is a link to %s", code(dir), code(real))
		e.Detail, e.Suggestion = "Name the directory itself.", real
		return nil, e
	case !ix.hasDir(ctx, dir):
		return nil, targetError("-d", dir, dirs, "There is no directory %s", code(dir))
	default:
		return nil, targetError("-d", dir, dirs, "The directory %s holds no Terraform files", code(dir))
	}
}

func inWorkspace(ctx context.Context, ix *index, c Config, workspace string) ([]Project, error) {
	var out []Project
	var workspaces []string
	root := ix.isProject(".")
	for _, p := range c.Projects {
		root = root || p.Dir == "."
		workspaces = append(workspaces, p.Workspace)
		if p.Workspace == workspace && ix.hasDir(ctx, p.Dir) {
			out = append(out, p)
		}
	}
	switch {
	case root:
		return inDir(ctx, ix, c, ".", workspace)
	case len(out) > 0:
		return out, nil
	case len(c.Projects) > 0:
		return nil, targetError("-w", workspace, workspaces, "No project is configured for the workspace %s", code(workspace))
	default:
		e := targetError("-d", "", slices.DeleteFunc(ix.projectDirs(), func(d string) bool { return d == "." }), "A workspace alone means the root directory, and it holds no Terraform files")
		e.Detail = "Name the directory as well, with `-d`."
		return nil, e
	}
}
