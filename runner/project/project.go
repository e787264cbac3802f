// Package project answers which projects a repository has, which of them a change touches, and what a
// plan of one of them is made from.
//
// It reads the files of one commit through [Tree] and nothing else: it knows no git, no pull request, no
// forge and no terraform process. Everything it reads was written by strangers, so what it does with it
// is bounded, and it runs none of it.
//
// Start with [Load]. [Select], [SelectAll] and [Target] answer which projects are meant, [Digest] what
// they are made from.
package project

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// Tree is the files of one commit. Paths have forward slashes and no leading one; "." is the root.
type Tree interface {
	// Files answers the paths of all files and symbolic links, sorted.
	Files() []string
	// ReadFile reads a file as a process in a checkout would, through links that stay inside. Where there
	// is none it answers [fs.ErrNotExist].
	ReadFile(ctx context.Context, path string) ([]byte, error)
	// Hash answers git's hash of what path itself is: a file, all below a directory, a link's text.
	Hash(path string) (string, bool)
	// Link reports whether path itself is a symbolic link.
	Link(path string) bool
	// Real answers the path that a path leads to when all links in it are followed. Nothing needs to be
	// there; a link that leaves the tree is an error.
	Real(ctx context.Context, path string) (string, error)
}

// DefaultWorkspace is the workspace of whoever names none.
const DefaultWorkspace = "default"

// Project is what can be planned: a directory in a workspace, perhaps with a name.
type Project struct {
	// Dir is relative to the root, cleaned; "." is the root.
	Dir string
	// Workspace is never empty.
	Workspace string
	// Name is "" for most projects.
	Name string
	// Autoplan is false for projects that only a comment plans.
	Autoplan bool
	// WhenModified are the patterns of the files that touch the project, relative to Dir, in the syntax of
	// .dockerignore files; the last one that matches decides. nil is the default.
	WhenModified []string
	// Distribution is "terraform", "opentofu", or "" for the server's default.
	Distribution string
	// TerraformVersion is an exact version, or "" for the server's default.
	TerraformVersion string
	// ApplyRequirements are what has to be true before an apply. nil leaves it to the server. The
	// repository can add to what the server requires and never take away from it, so it is nil or has
	// elements.
	ApplyRequirements []string
	// DeleteBranch says whether the head's branch goes when the pull request is merged. nil leaves it to Config.
	DeleteBranch *bool
	// Line is where the project begins in the configuration; 0 for what is not in one.
	Line int
	// Configured is false for projects that were found and not configured.
	Configured bool
	// Unsupported says what in its configuration asks for something that is not there yet, one sentence
	// without a full stop for each. A project that has any must not be run.
	Unsupported []string
}

// String is "dir", "dir (workspace)" or the name.
func (p Project) String() string {
	switch {
	case p.Name != "":
		return p.Name
	case p.Workspace != DefaultWorkspace:
		return p.Dir + " (" + p.Workspace + ")"
	default:
		return p.Dir
	}
}

// What an apply can require.
const (
	// Approved: a review of somebody who may write approves, and none asks for changes.
	Approved = "approved"
	// Mergeable: the forge would merge it.
	Mergeable = "mergeable"
	// Undiverged: nothing that it is made from has changed on the base since it was planned. A plan is applied only as long
	// as its [Digest] is the same, so this holds in any case.
	Undiverged = "undiverged"
)

// Requirements are the words for what an apply can require.
func Requirements() []string { return []string{Approved, Mergeable, Undiverged} }

// Config is a repository's configuration.
type Config struct {
	// Path is the file it was read from, "" where there is none.
	Path string
	// Projects are in the order of the file. Where there are none, they are found in the tree.
	Projects []Project
	// Automerge says whether a pull request is merged when everything is applied, and DeleteBranch whether its branch goes
	// then. nil leaves it to the server.
	Automerge, DeleteBranch *bool
	// Unsupported says what asks for something that is not there yet and would change how every project
	// runs. With any of it no project must be run, configured or found.
	Unsupported []string
	// Notes says what is probably not meant and does no harm.
	Notes []string
}

// Problem is one mistake in a file of the repository.
type Problem struct {
	File string
	// Line and Column count from 1. A Line of 0 is the whole file.
	Line, Column int
	// Key is the path of the key, like projects[1].workflow; "" is the whole file.
	Key string
	// Text says what is wrong, without a full stop unless it goes on to say what was meant. What comes
	// from the file stands in backticks and has none itself, nor control characters.
	Text string
}

// String is "atlantis.yaml:7:5: `projects[1].worklfow`: unknown key. Did you mean `workflow`?".
func (p Problem) String() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	if p.Key != "" {
		s += ": " + code(p.Key)
	}
	return s + ": " + p.Text
}

// ProblemsError is a configuration with mistakes: all of them, in the order of the file.
type ProblemsError struct {
	File     string
	Problems []Problem
}

func (e *ProblemsError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

func compareProblems(a, b Problem) int {
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}
