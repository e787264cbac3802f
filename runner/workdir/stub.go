package workdir

import (
	"context"
	"errors"
)

var errNotYet = errors.New("not built yet")

type Store struct{}

func Open(ctx context.Context, cfg Config) (*Store, error) { return nil, errNotYet }
func (s *Store) Close() error                               { return nil }
func (s *Store) Merge(ctx context.Context, repo Repo, req MergeRequest) (Merge, error) {
	return Merge{}, errNotYet
}
func (s *Store) Changed(ctx context.Context, repo Repo, m Merge) ([]string, error) {
	return nil, errNotYet
}
func (s *Store) Tree(ctx context.Context, repo Repo, treeish string) (*Tree, error) {
	return nil, errNotYet
}
func (s *Store) Checkout(ctx context.Context, repo Repo, pull int, workspace string, m Merge) (Checkout, error) {
	return Checkout{}, errNotYet
}
func (s *Store) Remove(ctx context.Context, repo Repo, pull int) error { return errNotYet }

type Tree struct{}

func (t *Tree) Files() []string { return nil }
func (t *Tree) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return nil, errNotYet
}
func (t *Tree) Hash(path string) (string, bool) { return "", false }
func (t *Tree) Link(path string) bool           { return false }

type Checkout struct {
	Root string
	Base string
	New  bool
}

func (c Checkout) TFData(project string) string       { return "" }
func (c Checkout) Resolve(dir string) (string, error) { return "", errNotYet }

type ConflictError struct{ Files []string }

func (e *ConflictError) Error() string { return "conflict" }

type MovedError struct{ Want, Got string }

func (e *MovedError) Error() string { return "moved" }

type EscapeError struct{ Path, Link, Target string }

func (e *EscapeError) Error() string { return "escapes" }

type RefGoneError struct{ Ref string }

func (e *RefGoneError) Error() string { return "gone" }

var ErrUnauthorized = errors.New("the forge refused the credential")
