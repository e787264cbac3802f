package workdir

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hostileNames are names that git and Linux allow.
func hostileNames() []string {
	return []string{
		"line\nbreak", "tab\there", "quote\"s'", "back\\slash", "bell\a\x1b[31m", "-rf", "ünï/cödé", "\xff\xfe not UTF-8",
		" blank ", "a:b*c?[d]", "$(touch x)", "name\r", "\u202egpj.ft", "~", ".hidden",
		// As long as a path can be, in components as long as they can be.
		strings.Repeat(strings.Repeat("n", 250)+"/", 14) + "end",
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	module := strings.Repeat("1", 40)
	var want []string
	o := open(t, func(s *source) { s.write(t, "a/main.tf", "main") }, func(s *source) {
		want = append(hostileNames(), "a/main.tf", "link")
		for _, name := range hostileNames() {
			s.write(t, name, "content of "+name)
		}
		s.link(t, "link", "a")
		s.git(t, "add", "-A")
		s.git(t, "update-index", "--add", "--cacheinfo", "160000,"+module+",module")
		s.git(t, "commit", "-q", "-m", "a submodule")
		s.git(t, "checkout", "-q", "-f", "head")
	})
	tree, err := o.Tree(t.Context(), o.src.repo(), o.merge.Tree)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, tree.Files()); diff != "" {
		t.Errorf("Files() (-want +got):\n%s", diff)
	}
	for _, name := range hostileNames() {
		if got, err := tree.ReadFile(t.Context(), name); err != nil || string(got) != "content of "+name {
			t.Errorf("ReadFile(%q) = %q, %v", name, got, err)
		}
	}
	for path, want := range map[string]string{
		".":         o.merge.Tree,
		"a":         o.src.git(t, "rev-parse", "head:a"),
		"a/main.tf": o.src.git(t, "rev-parse", "head:a/main.tf"),
		"link":      o.src.git(t, "rev-parse", "head:link"),
		"module":    module,
		"b":         "",
		"":          "",
		"a/":        "",
	} {
		if got, ok := tree.Hash(path); got != want || ok != (want != "") {
			t.Errorf("Hash(%q) = %q, %v, want %q", path, got, ok, want)
		}
	}
	if !tree.Link("link") || tree.Link("a") || tree.Link("nothing") {
		t.Error("Link() tells links wrong")
	}
	if !tree.Submodule("module") || tree.Submodule("a") {
		t.Error("Submodule() tells submodules wrong")
	}
	if diff := cmp.Diff([]string{"module"}, tree.Submodules()); diff != "" {
		t.Errorf("Submodules() (-want +got):\n%s", diff)
	}
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "shared/provider.tf", "provider") }, func(s *source) {
		s.link(t, "env/provider.tf", "../shared/provider.tf")
		s.link(t, "env/again.tf", "provider.tf")
		s.link(t, "mods", "shared/../shared/.")
		s.link(t, "out", "../../etc")
		s.link(t, "env/passwd", "/etc/passwd")
		s.link(t, "loop", "loop")
		s.link(t, "dangling", "nothing")
		s.write(t, "full.tf", strings.Repeat("x", 1<<20))
		s.write(t, "large.tf", strings.Repeat("x", 1<<20+1))
		s.write(t, "empty", "")
	})
	tree, err := o.Tree(t.Context(), o.src.repo(), o.merge.Commit)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"shared/provider.tf": "provider", "env/provider.tf": "provider", "env/again.tf": "provider", "mods/provider.tf": "provider",
		"empty": "", "full.tf": strings.Repeat("x", 1<<20),
	} {
		if got, err := tree.ReadFile(t.Context(), path); err != nil || string(got) != want {
			t.Errorf("ReadFile(%q) = %.20q, %v, want %.20q", path, got, err, want)
		}
	}
	for _, path := range []string{"nothing", "dangling", "shared", "mods", "", ".", "shared/provider.tf/x"} {
		if _, err := tree.ReadFile(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile(%q) = %v, want ErrNotExist", path, err)
		}
	}
	for path, want := range map[string]EscapeError{
		"out/passwd":      {Path: "out/passwd", Link: "out", Target: "../../etc"},
		"env/passwd":      {Path: "env/passwd", Link: "env/passwd", Target: "/etc/passwd"},
		"../x":            {Path: "../x"},
		"/etc/passwd":     {Path: "/etc/passwd"},
		"shared/../../it": {Path: "shared/../../it"},
	} {
		_, err := tree.ReadFile(t.Context(), path)
		if escape, ok := errors.AsType[*EscapeError](err); !ok || *escape != want {
			t.Errorf("ReadFile(%q) = %v, want %v", path, err, &want)
		}
	}
	if _, err := tree.ReadFile(t.Context(), "loop"); err == nil || !strings.Contains(err.Error(), "too many links") {
		t.Errorf("ReadFile() of a loop = %v", err)
	}
	if _, err := tree.ReadFile(t.Context(), "large.tf"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("ReadFile() of a large file = %v, want ErrTooLarge", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tree.ReadFile(ctx, "empty"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("ReadFile() after its end = %v", err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := tree.ReadFile(t.Context(), "env/again.tf"); string(got) != "provider" {
				t.Errorf("ReadFile() beside others = %q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

func TestTreeThatIsNotThere(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(*source) {})
	if _, err := o.Tree(t.Context(), o.src.repo(), strings.Repeat("0", 40)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Tree() of an unknown commit = %v, want ErrNotExist", err)
	}
	for _, id := range []string{"", "HEAD", "--help", "abc", strings.Repeat("0", 41)} {
		if _, err := o.Tree(t.Context(), o.src.repo(), id); err == nil || !strings.Contains(err.Error(), "not a git object id") {
			t.Errorf("Tree(%q) = %v", id, err)
		}
	}
}

// A few objects that list for ever: each directory contains the one below it twice.
func TestATreeWithoutEnd(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(s *source) {
		s.write(t, "dir/x", strings.Repeat("x", 100))
		s.git(t, "add", "-A")
		tree := s.git(t, "write-tree")
		for range 30 {
			spec := "040000 tree " + tree + "\t" + strings.Repeat("a", 200) + "\n040000 tree " + tree + "\t" + strings.Repeat("b", 200) + "\n"
			writeFile(t, s.dir+"/../spec", spec)
			tree = s.git(t, "-c", "alias.m=!git mktree <../spec", "m")
		}
		s.git(t, "config", "bomb.tree", tree)
	})
	bomb := o.src.git(t, "config", "bomb.tree")
	commit := o.src.git(t, "commit-tree", bomb, "-p", "head", "-m", "bomb")
	o.src.git(t, "update-ref", "refs/pull/7/head", commit)
	_, err := o.Merge(t.Context(), o.src.repo(), request(7))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Tree(t.Context(), o.src.repo(), bomb); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Tree() of a tree without end = %v, want ErrTooLarge", err)
	}
}
