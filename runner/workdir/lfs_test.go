package workdir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func pointerTo(content string) string {
	sum := sha256.Sum256([]byte(content))
	return fmt.Sprintf("%soid sha256:%s\nsize %d\n", pointerHead, hex.EncodeToString(sum[:]), len(content))
}

// useLFS lays a git-lfs into PATH, and nothing else but git: it prints what the script says.
func useLFS(t *testing.T, smudge string) (notes string) {
	t.Helper()
	bin := t.TempDir()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(git, filepath.Join(bin, "git")); err != nil {
		t.Fatal(err)
	}
	notes = filepath.Join(bin, "notes")
	if smudge != "" {
		script := "#!/bin/sh\ncase $1 in smudge)\n/bin/cat >>'" + notes + "'\n/usr/bin/env >>'" + notes + "'\n" + smudge + "\nesac\n"
		if err := os.WriteFile(filepath.Join(bin, "git-lfs"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	return notes
}

func helpless(context.Context, Repo) (config, env []string, end func(), err error) {
	return []string{"some.key", "value"}, []string{"HELPED=yes"}, func() {}, nil
}

// TestPointersAreFilled: what Git LFS has is laid where the pointers are, as long as they are there; and only what the pointers say.
func TestPointersAreFilled(t *testing.T) {
	notes := useLFS(t, "echo large")
	o := open(t, func(s *source) {
		s.write(t, ".gitattributes", "*.zip filter=lfs diff=lfs merge=lfs -text\n*.crlf filter=lfs text eol=crlf\n")
		s.write(t, "a/b.zip", pointerTo("large\n"))
		s.write(t, "a/b.crlf", pointerTo("large\n"))
		s.write(t, "a/changed.zip", pointerTo("large\n"))
		s.write(t, "a/wrong.zip", pointerTo("another\n"))
		s.write(t, "c/d.zip", pointerTo("large\n"))
		s.write(t, "a/small.tf", "small")
		s.write(t, "a/long.tf", pointerTo("large\n")+strings.Repeat("x", mostPointer))
		s.write(t, "a/half.zip", pointerHead+"oid sha256:12\nsize 3\n")
		s.write(t, "a/negative.zip", strings.Replace(pointerTo("large\n"), "size 6", "size -6", 1))
	}, func(s *source) { s.link(t, "a/link.zip", pointerTo("large\n")[:40]) })
	store, err := Open(t.Context(), Config{Data: o.data, LFS: helpless})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	tree, err := store.Tree(t.Context(), o.src.repo(), o.merge.Tree)
	if err != nil {
		t.Fatal(err)
	}
	pointers, err := tree.Pointers(t.Context(), func(p string) bool { return strings.HasPrefix(p, "a/") })
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	var good []Pointer
	for _, p := range pointers {
		paths = append(paths, p.Path)
		if p.Path != "a/wrong.zip" {
			good = append(good, p)
		}
	}
	if diff := cmp.Diff([]string{"a/b.crlf", "a/b.zip", "a/changed.zip", "a/wrong.zip"}, paths); diff != "" {
		t.Fatalf("Pointers() (-want +got):\n%s", diff)
	}
	c, err := store.Checkout(t.Context(), o.src.repo(), 7, "default", o.merge)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(c.Root, "a/changed.zip"), "made by a job")
	for range 2 {
		if err := store.Fill(t.Context(), o.src.repo(), c, good); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{"a/b.zip": "large\n", "a/b.crlf": "large\n", "a/changed.zip": "made by a job", "c/d.zip": pointerTo("large\n")} {
		if got := readFile(t, filepath.Join(c.Root, path)); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	said := readFile(t, notes)
	if strings.Count(said, "HELPED=yes") != 2 || strings.Contains(said, c.Root) || !strings.Contains(said, "some.key") ||
		!strings.Contains(said, "file://"+o.src.dir+"/info/lfs") || strings.Count(said, pointerTo("large\n")) != 2 {
		t.Errorf("git-lfs had\n%s", said)
	}
	err = store.Fill(t.Context(), o.src.repo(), c, pointers)
	if lost, ok := errors.AsType[*LFSError](err); !ok || lost.Path != "a/wrong.zip" || !strings.Contains(err.Error(), "not what the pointer says") {
		t.Errorf("Fill() with another content = %v, want an *LFSError", err)
	}
	if got := readFile(t, filepath.Join(c.Root, "a/wrong.zip")); got != pointerTo("another\n") {
		t.Errorf("a/wrong.zip = %q, want the pointer", got)
	}
	left, err := filepath.Glob(filepath.Join(c.Root, "a", "*.zip.*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the checkout: %q, %v", left, err)
	}
}

// TestPointersAreBack: a checkout that moves has pointers where files were, and they can be filled again.
func TestPointersAreBack(t *testing.T) {
	useLFS(t, "echo large")
	o := open(t, func(s *source) {
		s.write(t, ".gitattributes", "*.zip filter=lfs diff=lfs merge=lfs -text\n")
		s.write(t, "a/b.zip", pointerTo("large\n"))
	}, func(s *source) { s.write(t, "b/new.tf", "x") })
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := Open(t.Context(), Config{Data: o.data, LFS: helpless})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	for i := range 2 {
		o.src.write(t, "b/more.tf", strings.Repeat("y", i+1))
		o.src.commit(t)
		o.src.pull(t, 7)
		m, err := store.Merge(t.Context(), o.src.repo(), request(7))
		if err != nil {
			t.Fatal(err)
		}
		c, err := store.Checkout(t.Context(), o.src.repo(), 7, "default", m)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := store.Tree(t.Context(), o.src.repo(), m.Tree)
		if err != nil {
			t.Fatal(err)
		}
		all, err := tree.Pointers(t.Context(), func(string) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{1, 0} {
			left, err := store.Unfilled(c, all)
			if err != nil || len(left) != want {
				t.Fatalf("Unfilled() = %v, %v, want %d", left, err, want)
			}
			if err := store.Fill(t.Context(), o.src.repo(), c, left); err != nil {
				t.Fatal(err)
			}
		}
		if got := readFile(t, filepath.Join(c.Root, "a/b.zip")); got != "large\n" {
			t.Errorf("a/b.zip = %q", got)
		}
	}
}

// TestNoLFS: what looks like a pointer where nothing names Git LFS is a file; a git-lfs that is asked for has to be there.
func TestNoLFS(t *testing.T) {
	useLFS(t, "")
	o := open(t, func(s *source) { s.write(t, "a.zip", pointerTo("large\n")) }, func(s *source) { s.write(t, ".gitattributes", "*.zip -text\n") })
	tree, err := o.Tree(t.Context(), o.src.repo(), o.merge.Tree)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tree.Pointers(t.Context(), func(string) bool { return true }); err != nil || len(got) > 0 {
		t.Errorf("Pointers() = %v, %v, want none", got, err)
	}
	o.push(t, func(s *source) { s.write(t, ".gitattributes", strings.Repeat("# much\n", mostBlob/4)) })
	if tree, err = o.Tree(t.Context(), o.src.repo(), o.merge.Tree); err != nil {
		t.Fatal(err)
	}
	if got, err := tree.Pointers(t.Context(), func(string) bool { return true }); err != nil || len(got) != 1 {
		t.Errorf("Pointers() beside attributes that are too much = %v, %v, want the one", got, err)
	}
	if s, err := Open(t.Context(), Config{Data: t.TempDir(), LFS: helpless}); err == nil {
		t.Errorf("Open() without a git-lfs = nil error, %v", s.Close())
	} else if !strings.Contains(err.Error(), "--git-lfs") {
		t.Errorf("Open() without a git-lfs = %v", err)
	}
}

// large makes a repository with files that are in Git LFS, and a store that offers git-lfs a value under some.key.
func large(t *testing.T, pointers map[string]string, value func(context.Context, Repo) (string, error)) (*opened, *Tree) {
	t.Helper()
	o := open(t, func(s *source) {
		s.write(t, ".gitattributes", "*.zip filter=lfs diff=lfs merge=lfs -text\n")
		for path, text := range pointers {
			s.write(t, path, text)
		}
	}, func(s *source) { s.write(t, "b", "b") })
	err := o.Close()
	if err != nil {
		t.Fatal(err)
	}
	o.Store, err = Open(t.Context(), Config{Data: o.data, LFS: func(ctx context.Context, repo Repo) ([]string, []string, func(), error) {
		v, err := value(ctx, repo)
		return []string{"some.key", v}, nil, func() {}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	tree, err := o.Tree(t.Context(), o.src.repo(), o.merge.Tree)
	if err != nil {
		t.Fatal(err)
	}
	return o, tree
}

// pointed are the pointers of a tree, and a checkout of it.
func pointed(t *testing.T, o *opened, tree *Tree, workspace string) (Checkout, []Pointer) {
	t.Helper()
	all, err := tree.Pointers(t.Context(), func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	c, err := o.Checkout(t.Context(), o.src.repo(), 7, workspace, o.merge)
	if err != nil {
		t.Fatal(err)
	}
	return c, all
}

// TestLargeIsRemoved: what Git LFS has brought is kept for as long as it is used, and nothing is taken from under a fetch. What is not
// what its pointer says is not kept at all.
func TestLargeIsRemoved(t *testing.T) {
	useLFS(t, `
storage=$(git config lfs.storage)
git config --local lfs.access basic
object=$storage/objects/$(git config some.key)
/bin/mkdir -p "${object%/*}" "$storage/logs"
test -e "$object" || echo large >"$object"
echo failed >"$storage/logs/1.log"
echo large`)
	var object string
	o, tree := large(t, map[string]string{"good.zip": pointerTo("large\n"), "wrong.zip": pointerTo("other\n")}, func(context.Context, Repo) (string, error) { return object, nil })
	lfs, repo := filepath.Join(o.mirrorDir(), "lfs"), o.src.repo()
	if n, err := o.RemoveLarge(t.Context(), repo, time.Now().Add(time.Hour)); n != 0 || err != nil || exists(t, lfs) {
		t.Errorf("RemoveLarge() of nothing = %d, %v", n, err)
	}
	fill := func(workspace string, file int) (string, error) {
		t.Helper()
		c, all := pointed(t, o, tree, workspace)
		p := all[file]
		object = filepath.Join(p.oid[:2], p.oid[2:4], p.oid)
		err := o.Fill(t.Context(), repo, c, all[file:file+1])
		return filepath.Join(lfs, "objects", object), err
	}
	remove := func(since time.Time, want int) {
		t.Helper()
		if n, err := o.RemoveLarge(t.Context(), repo, since); n != want || err != nil {
			t.Errorf("RemoveLarge(%s) = %d, %v, want %d", time.Until(since).Round(time.Minute), n, err, want)
		}
	}
	file, err := fill("default", 0)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := fill("other", 0); err != nil {
		t.Fatal(err)
	}
	remove(time.Now().Add(-time.Hour), 0)
	tree.mirror.filling.RLock()
	remove(time.Now().Add(time.Hour), 0)
	tree.mirror.filling.RUnlock()
	if !exists(t, file) || exists(t, filepath.Join(lfs, "logs")) {
		t.Fatalf("%s is there: %v, logs: %v", file, exists(t, file), exists(t, filepath.Join(lfs, "logs")))
	}
	remove(time.Now().Add(time.Hour), 1)
	if left, err := os.ReadDir(lfs); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	wrong, err := fill("default", 1)
	if _, ok := errors.AsType[*LFSError](err); !ok || exists(t, wrong) {
		t.Errorf("Fill() with another content = %v, and it is kept: %v", err, exists(t, wrong))
	}
	if config := readFile(t, filepath.Join(o.mirrorDir(), "config")); strings.Contains(config, "lfs") {
		t.Errorf("the mirror has the configuration\n%s", config)
	}
}

// TestMoreThanThePointerSays: who writes a pointer may lie about how much room is needed, and git-lfs takes what comes.
func TestMoreThanThePointerSays(t *testing.T) {
	for name, script := range map[string]string{
		"beside": `
dir=$(git config lfs.storage)/incomplete
/bin/mkdir -p "$dir"
echo "much more than six bytes" >"$dir/$(git config some.key).part"
exec /bin/sleep 3000`,
		"handed on": "echo much more than six bytes; exec /bin/sleep 3000",
	} {
		t.Run(name, func(t *testing.T) {
			useLFS(t, script)
			var oid string
			o, tree := large(t, map[string]string{"a.zip": pointerTo("large\n")}, func(context.Context, Repo) (string, error) { return oid, nil })
			c, all := pointed(t, o, tree, "default")
			oid = all[0].oid
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := o.Fill(ctx, o.src.repo(), c, all)
			if lost, ok := errors.AsType[*LFSError](err); !ok || lost.Path != "a.zip" || !errors.Is(err, errLarger) {
				t.Errorf("Fill() = %v, want an *LFSError", err)
			}
			if left, err := filepath.Glob(filepath.Join(o.mirrorDir(), "lfs", "incomplete", "*")); err != nil || len(left) > 0 {
				t.Errorf("left: %q, %v", left, err)
			}
		})
	}
}

// TestLFSRepeatsACredential: what git-lfs was told, and a server repeats, is not in the error.
func TestLFSRepeatsACredential(t *testing.T) {
	useLFS(t, `echo "no access with $(git config some.key)" >&2; exit 1`)
	o, tree := large(t, map[string]string{"a.zip": pointerTo("large\n")}, func(ctx context.Context, repo Repo) (string, error) {
		_, password, err := repo.Credential(ctx)
		return password, err
	})
	c, all := pointed(t, o, tree, "default")
	repo := o.src.repo()
	repo.Credential = func(context.Context) (string, string, error) { return testUser, testPassword, nil }
	err := o.Fill(t.Context(), repo, c, all)
	if _, ok := errors.AsType[*LFSError](err); !ok || !strings.Contains(err.Error(), "no access with ***") || strings.Contains(err.Error(), testPassword) {
		t.Errorf("Fill() = %v, want an *LFSError without the password", err)
	}
}
