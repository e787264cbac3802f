package project

import (
	"context"
	"path"
	"slices"
	"strings"
)

// index is a tree by directory.
type index struct {
	Tree
	files []string
	// dirs has the names of the files directly in each directory that has any, and every directory above.
	dirs map[string][]string
}

func newIndex(t Tree) *index {
	ix := &index{Tree: t, files: t.Files(), dirs: map[string][]string{".": nil}}
	for _, f := range ix.files {
		dir := path.Dir(f)
		ix.dirs[dir] = append(ix.dirs[dir], path.Base(f))
		for up := path.Dir(dir); dir != "."; up = path.Dir(up) {
			if _, ok := ix.dirs[up]; ok {
				break
			}
			ix.dirs[up] = nil
		}
	}
	return ix
}

// isConfigFile reports files that terraform or tofu read as configuration.
func isConfigFile(name string) bool {
	for _, end := range []string{".tf", ".tf.json", ".tofu", ".tofu.json"} {
		if strings.HasSuffix(name, end) && !strings.HasPrefix(name, ".") {
			return true
		}
	}
	return false
}

// isProjectFile reports files whose directory is a project.
func isProjectFile(name string) bool { return name == "terragrunt.hcl" || isConfigFile(name) }

// isProject reports whether a directory has a project file directly in it.
func (ix *index) isProject(dir string) bool {
	return slices.ContainsFunc(ix.dirs[dir], isProjectFile)
}

// projectDirs answers all directories with project files, sorted.
func (ix *index) projectDirs() []string {
	var out []string
	for dir := range ix.dirs {
		if ix.isProject(dir) {
			out = append(out, dir)
		}
	}
	slices.Sort(out)
	return out
}

// hasDir reports whether a directory is there, be it through links. A link that leaves the repository
// counts as one: opening it is what says so.
func (ix *index) hasDir(ctx context.Context, dir string) bool {
	if _, ok := ix.dirs[dir]; ok {
		return true
	}
	real, err := ix.Real(ctx, dir)
	if err != nil {
		return true
	}
	_, ok := ix.dirs[real]
	return ok
}

// below answers the files in and under a directory.
func (ix *index) below(dir string) []string {
	if dir == "." {
		return ix.files
	}
	prefix := dir + "/"
	from, _ := slices.BinarySearch(ix.files, prefix)
	to := from
	for to < len(ix.files) && strings.HasPrefix(ix.files[to], prefix) {
		to++
	}
	return ix.files[from:to]
}
