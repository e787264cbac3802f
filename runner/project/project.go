// Package project answers which projects a repository has and which of them a change touches.
package project

import (
	"context"
	"errors"
)

var errUnbuilt = errors.New("not built yet")

// Tree is the files of one commit.
type Tree interface {
	Files() []string
	ReadFile(ctx context.Context, path string) ([]byte, error)
	Hash(path string) (string, bool)
}

// Project is one configured or discovered project.
type Project struct {
	Dir, Workspace, Name           string
	Autoplan                       bool
	WhenModified                   []string
	Distribution, TerraformVersion string
	ApplyRequirements              []string
	Line                           int
	Configured                     bool
	Unsupported                    []string
}

// Config is a repository's configuration.
type Config struct {
	Path        string
	Projects    []Project
	Unsupported []string
	Notes       []string
}

// Problem is one mistake in a configuration.
type Problem struct {
	File         string
	Line, Column int
	Key, Text    string
}

// ProblemsError is a configuration that can't be used.
type ProblemsError struct {
	File     string
	Problems []Problem
}

func (e *ProblemsError) Error() string { return e.File + " has problems" }

// TargetError is a target that is not there.
type TargetError struct {
	Headline   string
	Detail     string
	There      []string
	Suggestion string
}

func (e *TargetError) Error() string { return e.Headline }

// Load reads the configuration.
func Load(context.Context, Tree) (Config, error) { return Config{}, errUnbuilt }

// Select answers what a push plans.
func Select(context.Context, Tree, Config, []string) ([]Project, error) { return nil, errUnbuilt }

// SelectAll answers what a plan comment plans.
func SelectAll(context.Context, Tree, Config, []string) ([]Project, error) { return nil, errUnbuilt }

// Target answers what the flags name.
func Target(_ context.Context, _ Tree, _ Config, dir, workspace, name string) ([]Project, error) {
	return nil, errUnbuilt
}

// Inputs are the facts besides files.
type Inputs struct{ Tool, ServerConfig, Workflow string }

// Digested is what a plan is made from.
type Digested struct {
	Sum   string            `json:"sum"`
	Parts map[string]string `json:"parts"`
}

// Digest answers what a plan of a project is made from.
func Digest(context.Context, Tree, Project, Inputs) (Digested, error) { return Digested{}, errUnbuilt }

// Moved names what differs.
func Moved(old, new Digested) []string { return nil }
