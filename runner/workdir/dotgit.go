package workdir

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"
)

// dotGitConfig is the whole configuration of a tree's repository. Nothing in it leads anywhere.
const dotGitConfig = `[core]
	repositoryformatversion = 0
	filemode = true
	bare = false
	logallrefupdates = false
[gc]
	auto = 0
`

// writeDotGit gives the tree a repository of its own, at the commit: it borrows the mirror's objects, and
// its index is a copy of ours, so that git status is quick and true. What a job made of the last one is
// thrown away. It is written beside the tree and moved in: no git process of ours runs in it.
func (mv *mover) writeDotGit(commit string) error {
	if err := removeAll(mv.dir, dotGitName); err != nil {
		return err
	}
	for _, dir := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := mv.dir.MkdirAll(path.Join(dotGitName, dir), 0o700); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"HEAD":                    commit + "\n",
		"config":                  dotGitConfig,
		"objects/info/alternates": quoteAlternate(mv.mirror.objects()) + "\n",
	} {
		if err := mv.dir.WriteFile(path.Join(dotGitName, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	if err := mv.copyIndex(); err != nil {
		return err
	}
	inTree := path.Join(treeName, ".git")
	if err := removeAll(mv.dir, inTree); err != nil {
		return err
	}
	return mv.dir.Rename(dotGitName, inTree)
}

func (mv *mover) copyIndex() error {
	from, err := mv.dir.Open(indexName)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := mv.dir.OpenFile(path.Join(dotGitName, indexName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// quoteAlternate writes a path as info/alternates wants it: in C quotes when it could be mistaken for one
// that is quoted, or for a comment.
func quoteAlternate(dir string) string {
	if !strings.ContainsAny(dir, "\"\\\n") {
		return dir
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(dir) + `"`
}
