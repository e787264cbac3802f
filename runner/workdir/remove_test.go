package workdir

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestRemove(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(s *source) { s.write(t, "b", "b") })
	outside := t.TempDir()
	writeFile(t, filepath.Join(outside, "deep/kept"), "kept")
	chmod(t, filepath.Join(outside, "deep"), 0o500)
	t.Cleanup(func() { chmod(t, filepath.Join(outside, "deep"), 0o700) })
	other, err := o.Merge(t.Context(), o.src.repo(), MergeRequest{Pull: 70, BaseRef: "main", HeadRef: "refs/pull/7/head"})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := o.Checkout(t.Context(), o.src.repo(), 70, "default", other)
	if err != nil {
		t.Fatal(err)
	}
	c := o.checkout(t)
	if _, err := o.Checkout(t.Context(), o.src.repo(), 7, "../other", o.merge); err != nil {
		t.Fatal(err)
	}
	// What steps leave behind.
	writeFile(t, filepath.Join(c.Root, "locked/deeper/x"), "x")
	symlink(t, outside, filepath.Join(c.Root, "locked/deeper/link"))
	symlink(t, outside, filepath.Join(c.Root, "link"))
	writeFile(t, filepath.Join(c.TFData("a"), "providers/x"), "x")
	for _, dir := range []string{"locked/deeper", "locked", "."} {
		chmod(t, filepath.Join(c.Root, dir), 0)
	}
	chmod(t, c.TFData("a"), 0o500)
	// An earlier Remove was killed.
	parent := filepath.Join(o.data, "checkouts/git.example.org_8443/42")
	writeFile(t, filepath.Join(parent, trashPrefix+"1/9/default/tree/x"), "x")

	for range 2 {
		if err := o.Remove(t.Context(), o.src.repo(), 7); err != nil {
			t.Fatalf("Remove() = %v", err)
		}
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 || entries[0].Name() != "70" {
		t.Errorf("below the repository's checkouts: %v, %v, want only 70", entries, err)
	}
	if got := readFile(t, filepath.Join(kept.Root, "b")); got != "b" {
		t.Errorf("the other pull request's b = %q", got)
	}
	if got := readFile(t, filepath.Join(outside, "deep/kept")); got != "kept" {
		t.Errorf("a file behind a link = %q", got)
	}
	if info, err := os.Stat(filepath.Join(outside, "deep")); err != nil || info.Mode().Perm() != 0o500 {
		t.Errorf("a directory behind a link was changed: %v, %v", info, err)
	}
	if got := gitIn(t, o.mirrorDir(), "for-each-ref", "refs/tidegate/pull/7/"); got != "" {
		t.Errorf("refs that are left: %s", got)
	}
	if got := gitIn(t, o.mirrorDir(), "for-each-ref", "--format=%(refname)", "refs/tidegate/pull/70/at/"); got != "refs/tidegate/pull/70/at/default" {
		t.Errorf("the other pull request's ref = %q", got)
	}
	gitIn(t, kept.Root, "fsck", "--connectivity-only")
	o.mergeAgain(t)
	if again := o.checkout(t); again.ID == c.ID {
		t.Error("a checkout after Remove has the ID of the one before")
	}
}

func TestRemoveOfManyAtOnce(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(*source) {})
	var wg sync.WaitGroup
	for n := range 8 {
		c, err := o.Checkout(t.Context(), o.src.repo(), n+1, "default", o.merge)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(c.Root, "x/y/z"), "z")
	}
	for n := range 8 {
		wg.Go(func() {
			if err := o.Remove(t.Context(), o.src.repo(), n+1); err != nil {
				t.Errorf("Remove(%d) = %v", n+1, err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(filepath.Join(o.data, "checkouts/git.example.org_8443/42"))
	if err != nil || len(entries) != 0 {
		t.Errorf("what is left: %v, %v", entries, err)
	}
}

func TestRemoveOfNothing(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := openStore(t, data)
	if err := s.Remove(t.Context(), Repo{Forge: "example.org", ID: 1}, 7); err != nil {
		t.Errorf("Remove() = %v", err)
	}
	err := filepath.WalkDir(filepath.Join(data, "mirrors"), func(path string, d fs.DirEntry, err error) error {
		if d.Name() == "1.git" {
			t.Errorf("Remove() made %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), Repo{Forge: "example.org", ID: 1}, 0); err == nil {
		t.Error("Remove() of pull request 0 is no error")
	}
}
