package workdir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listing describes everything below dir but .git: files by content, links by target.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case rel == ".git":
			return fs.SkipDir
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			found[rel] = "-> " + target
			return err
		case d.Type().IsRegular():
			found[rel] = readFile(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func checkListing(t *testing.T, c Checkout, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, listing(t, c.Root)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// push puts a new commit on the head and merges it.
func (o *opened) push(t *testing.T, change func(*source)) {
	t.Helper()
	o.src.branch(t, "head", "head")
	change(o.src)
	o.src.commit(t)
	o.src.pull(t, 7)
	o.mergeAgain(t)
}

func TestCheckoutFromPlanToApply(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) {
		s.write(t, "main.tf", "one")
		s.write(t, "goes.tf", "goes")
		s.write(t, "dir/goes.tf", "goes")
		s.write(t, "same.tf", "same")
	}, func(s *source) { s.write(t, "new.tf", "new") })
	c := o.checkout(t)
	if c.ID == "" || c.Root != filepath.Join(o.data, "checkouts/git.example.org_8443/42/7/default/tree") {
		t.Errorf("Checkout() = %+v", c)
	}

	// A step generates files and changes tracked ones.
	writeFile(t, filepath.Join(c.Root, "generated.tf"), "generated")
	writeFile(t, filepath.Join(c.Root, "dir/generated.tf"), "generated")
	writeFile(t, filepath.Join(c.Root, "same.tf"), "changed by a step")
	writeFile(t, filepath.Join(c.Root, "main.tf"), "changed by a step")
	if err := os.Remove(filepath.Join(c.Root, "new.tf")); err != nil {
		t.Fatal(err)
	}
	again := o.checkout(t)
	if again != c {
		t.Errorf("Checkout() of the same = %+v", again)
	}
	checkListing(t, c, map[string]string{
		"main.tf": "changed by a step", "goes.tf": "goes", "dir/goes.tf": "goes", "same.tf": "changed by a step",
		"generated.tf": "generated", "dir/generated.tf": "generated",
	})

	o.push(t, func(s *source) {
		s.write(t, "main.tf", "two")
		s.remove(t, "goes.tf")
		s.remove(t, "dir")
	})
	// After a restart.
	store := openStore(t, o.data)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	moved, err := store.Checkout(t.Context(), o.src.repo(), 7, "default", o.merge)
	if err != nil || moved != c {
		t.Fatalf("Checkout() of another merge = %+v, %v", moved, err)
	}
	checkListing(t, c, map[string]string{
		"main.tf": "two", "same.tf": "same", "new.tf": "new", "generated.tf": "generated", "dir/generated.tf": "generated",
	})
	for id, want := range map[string]bool{c.ID: true, "": true, "another": false} {
		if same, err := store.Is(c.Root, id); err != nil || same != want {
			t.Errorf("Is(%q) = %v, %v, want %v", id, same, err, want)
		}
	}
	if err := store.Remove(t.Context(), o.src.repo(), 7); err != nil {
		t.Fatal(err)
	}
	if same, err := store.Is(c.Root, c.ID); err != nil || same {
		t.Errorf("Is() of a checkout that was removed = %v, %v", same, err)
	}
}

func TestStepsCanAskGit(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a.tf", "a") }, func(s *source) { s.write(t, "b.tf", "b") })
	c := o.checkout(t)
	for range 2 {
		if got := gitIn(t, c.Root, "rev-parse", "HEAD"); got != o.merge.Commit {
			t.Errorf("rev-parse HEAD = %s, want %s", got, o.merge.Commit)
		}
		if got := gitIn(t, c.Root, "log", "-1", "--format=%an %s"); !strings.HasPrefix(got, "Tidegate Merge ") {
			t.Errorf("log = %q", got)
		}
		if got := gitIn(t, c.Root, "log", "--format=%H", "-1", "HEAD^2"); got != o.merge.Head {
			t.Errorf("log HEAD^2 = %q, want %q", got, o.merge.Head)
		}
		if got := gitIn(t, c.Root, "status", "--porcelain"); got != "" {
			t.Errorf("status = %q", got)
		}
		gitIn(t, c.Root, "commit", "-q", "--allow-empty", "-m", "by a step")
		o.push(t, func(s *source) { s.write(t, "c.tf", "c") })
		c = o.checkout(t)
	}
}

// A step can do to the tree whatever it likes; the server's next git command must not run its code.
func TestTheTreesRepositoryIsNeverRead(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) {
		s.write(t, "a.tf", "a")
		s.write(t, "sub/x.tf", "x")
	}, func(s *source) { s.write(t, "b.tf", "b") })
	c := o.checkout(t)
	trap := filepath.Join(t.TempDir(), "trap")
	config := "[core]\n\tfsmonitor = touch '" + trap + "'\n\thooksPath = .git/hooks\n\tworktree = /\n\tbare = true\n" +
		"[filter \"x\"]\n\tsmudge = touch '" + trap + "'; cat\n\tclean = touch '" + trap + "'; cat\n\trequired = true\n" +
		"\tprocess = touch '" + trap + "'\n[include]\n\tpath = evil\n[credential]\n\thelper = !touch '" + trap + "'\n"
	for _, dir := range []string{".git", "sub/.git", "planted/.git"} {
		writeFile(t, filepath.Join(c.Root, dir, "config"), config)
		writeFile(t, filepath.Join(c.Root, dir, "HEAD"), "ref: refs/heads/evil\n")
		writeFile(t, filepath.Join(c.Root, dir, "info/attributes"), "* filter=x\n")
		for _, hook := range []string{"post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"} {
			path := filepath.Join(c.Root, dir, "hooks", hook)
			writeFile(t, path, "#!/bin/sh\ntouch '"+trap+"'\n")
			if err := os.Chmod(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	writeFile(t, filepath.Join(c.Root, ".git/index"), "not an index")
	writeFile(t, filepath.Join(c.Root, ".gitattributes"), "* filter=x\n")
	writeFile(t, filepath.Join(c.Root, ".gitmodules"), "[submodule \"x\"]\n\tpath = sub\n\turl = ext::touch "+trap+"\n\tupdate = !touch "+trap+"\n")
	o.push(t, func(s *source) {
		s.write(t, "a.tf", "two")
		s.write(t, "planted/y.tf", "y")
		s.write(t, "sub/x.tf", "two")
	})
	c = o.checkout(t)
	if exists(t, trap) {
		t.Error("the server's git ran what a step had planted")
	}
	if got := readFile(t, filepath.Join(c.Root, "a.tf")); got != "two" {
		t.Errorf("a.tf = %q", got)
	}
	if got := readFile(t, filepath.Join(c.Root, ".git/config")); got != dotGitConfig {
		t.Errorf("the tree's .git is not a fresh one: %q", got)
	}
}

func TestCheckoutNeverLeavesTheTree(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		base, head func(s *source, outside string)
		step       func(t *testing.T, root, outside string)
		next       func(s *source, outside string)
		want       map[string]string
	}{
		"a link in base, a file behind it in head": {
			base: func(s *source, outside string) { s.link(t, "a", outside) },
			head: func(s *source, _ string) {
				s.remove(t, "a")
				s.write(t, "a/b", "head")
			},
			want: map[string]string{"a/b": "head"},
		},
		"a file becomes a link, and a file behind it again": {
			head: func(s *source, outside string) { s.link(t, "a", outside) },
			next: func(s *source, _ string) {
				s.remove(t, "a")
				s.write(t, "a/b", "next")
			},
			want: map[string]string{"a/b": "next"},
		},
		"a link planted where a directory comes": {
			step: func(t *testing.T, root, outside string) {
				t.Helper()
				symlink(t, outside, filepath.Join(root, "a"))
			},
			next: func(s *source, _ string) { s.write(t, "a/b", "next") },
			want: map[string]string{"a/b": "next"},
		},
		"a tracked directory replaced by a link": {
			head: func(s *source, _ string) {
				s.write(t, "a/b", "head")
				s.write(t, "a/gone", "head")
			},
			step: func(t *testing.T, root, outside string) {
				t.Helper()
				removeTree(t, filepath.Join(root, "a"))
				symlink(t, outside, filepath.Join(root, "a"))
			},
			next: func(s *source, _ string) {
				s.write(t, "a/b", "next")
				s.remove(t, "a/gone")
			},
			want: map[string]string{"a/b": "next"},
		},
		"a tracked directory that goes, replaced by a link": {
			head: func(s *source, _ string) {
				s.write(t, "a/b", "head")
				s.write(t, "a/gone", "head")
			},
			step: func(t *testing.T, root, outside string) {
				t.Helper()
				removeTree(t, filepath.Join(root, "a"))
				symlink(t, outside, filepath.Join(root, "a"))
			},
			next: func(s *source, _ string) { s.remove(t, "a") },
			// The link is a step's, and stays.
			want: map[string]string{"a": "-> OUTSIDE"},
		},
		"a tracked file replaced by a link": {
			head: func(s *source, _ string) { s.write(t, "a", "head") },
			step: func(t *testing.T, root, outside string) {
				t.Helper()
				removeTree(t, filepath.Join(root, "a"))
				symlink(t, filepath.Join(outside, "b"), filepath.Join(root, "a"))
			},
			next: func(s *source, _ string) { s.write(t, "a", "next") },
			want: map[string]string{"a": "next"},
		},
		"a directory of a step's where a file comes": {
			step: func(t *testing.T, root, _ string) {
				t.Helper()
				writeFile(t, filepath.Join(root, "a/b/c"), "step")
			},
			next: func(s *source, _ string) { s.write(t, "a", "next") },
			want: map[string]string{"a": "next"},
		},
		"a repository of a step's where a file comes": {
			step: func(t *testing.T, root, _ string) {
				t.Helper()
				gitIn(t, root, "init", "-q", "a")
				writeFile(t, filepath.Join(root, "a/c"), "step")
				gitIn(t, filepath.Join(root, "a"), "add", "c")
				gitIn(t, filepath.Join(root, "a"), "commit", "-q", "-m", "x")
			},
			next: func(s *source, _ string) { s.write(t, "a", "next") },
			want: map[string]string{"a": "next"},
		},
		"a file of a step's where a directory comes": {
			step: func(t *testing.T, root, _ string) {
				t.Helper()
				writeFile(t, filepath.Join(root, "a"), "step")
			},
			next: func(s *source, _ string) { s.write(t, "a/b", "next") },
			want: map[string]string{"a/b": "next"},
		},
		"directories that cannot be written": {
			head: func(s *source, _ string) { s.write(t, "a/b", "head") },
			step: func(t *testing.T, root, _ string) {
				t.Helper()
				writeFile(t, filepath.Join(root, "a/deep/x"), "step")
				chmod(t, filepath.Join(root, "a/deep"), 0)
				chmod(t, filepath.Join(root, "a"), 0o500)
				chmod(t, root, 0o500)
			},
			next: func(s *source, _ string) { s.write(t, "a/b", "next") },
			want: map[string]string{"a/b": "next", "a/deep/x": "step"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outside := t.TempDir()
			writeFile(t, filepath.Join(outside, "b"), "outside")
			writeFile(t, filepath.Join(outside, "gone"), "outside")
			call := func(change func(*source, string)) func(*source) {
				return func(s *source) {
					s.write(t, "kept", "kept")
					if change != nil {
						change(s, outside)
					}
				}
			}
			o := open(t, call(test.base), call(test.head))
			c := o.checkout(t)
			if test.step != nil {
				test.step(t, c.Root, outside)
			}
			if test.next != nil {
				o.push(t, call(test.next))
				c = o.checkout(t)
			}
			test.want["kept"] = "kept"
			for path, content := range test.want {
				test.want[path] = strings.Replace(content, "OUTSIDE", outside, 1)
			}
			chmodBack(t, c)
			checkListing(t, c, test.want)
			if diff := cmp.Diff(map[string]string{"b": "outside", "gone": "outside"}, listing(t, outside)); diff != "" {
				t.Errorf("files outside of the tree (-want +got):\n%s", diff)
			}
		})
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func removeTree(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// chmodBack makes all directories readable for the test.
func chmodBack(t *testing.T, c Checkout) {
	t.Helper()
	root, err := os.OpenRoot(c.Base)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(makeWritable(root, treeName), root.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestHostileNamesAreCheckedOut(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for _, name := range hostileNames() {
		want[name] = "content of " + name
	}
	o := open(t, func(s *source) { s.write(t, "x", "x") }, func(s *source) {
		for name, content := range want {
			s.write(t, name, content)
		}
	})
	want["x"] = "x"
	checkListing(t, o.checkout(t), want)
}

func TestCheckoutRefuses(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(*source) {})
	for name, test := range map[string]struct {
		pull      int
		workspace string
		commit    string
		want      string
	}{
		"no workspace":   {7, "", o.merge.Commit, "a workspace without a name"},
		"no pull":        {-1, "default", o.merge.Commit, "-1 is not a pull request's number"},
		"no commit":      {7, "default", "HEAD", `"HEAD" is not a git object id`},
		"unknown commit": {7, "default", strings.Repeat("0", 40), "the mirror does not have it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := o.Checkout(t.Context(), o.src.repo(), test.pull, test.workspace, Merge{Commit: test.commit})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Checkout() = %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestCheckoutOfANewerServer(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(*source) {})
	c := o.checkout(t)
	writeFile(t, filepath.Join(c.Base, "checkout.json"), `{"format":2}`)
	if _, err := o.Checkout(t.Context(), o.src.repo(), 7, "default", o.merge); err == nil || !strings.Contains(err.Error(), "newer than this server") {
		t.Errorf("Checkout() with a state of the future = %v", err)
	}
}

func TestCheckoutsSideBySide(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(*source) {})
	var wg sync.WaitGroup
	for _, workspace := range []string{"default", "Default", "..", "a/b", "a+2Fb", "\x00", strings.Repeat("long", 1000)} {
		wg.Go(func() {
			c, err := o.Checkout(t.Context(), o.src.repo(), 7, workspace, o.merge)
			if err != nil {
				t.Errorf("Checkout(%.20q) = %v", workspace, err)
				return
			}
			if c.ID == "" || filepath.Dir(c.Base) != filepath.Join(o.data, "checkouts/git.example.org_8443/42/7") {
				t.Errorf("Checkout(%.20q) = %+v", workspace, c)
			}
			checkListing(t, c, map[string]string{"a": "a"})
		})
	}
	wg.Wait()
}

func TestCheckoutIsGivenUpWithItsContext(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(*source) {})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.Checkout(ctx, o.src.repo(), 7, "default", o.merge); !errors.Is(err, context.Canceled) {
		t.Errorf("Checkout() = %v, want context.Canceled", err)
	}
	checkListing(t, o.checkout(t), map[string]string{"a": "a"})
}

// TestCheckoutOfWhatIsLost: a checkout whose commit the mirror has no more, or can't read, is made anew.
func TestCheckoutOfWhatIsLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testing.T, string, string){
		"damaged": func(t *testing.T, mirror, at string) {
			t.Helper()
			path := filepath.Join(mirror, "objects", at[:2], at[2:])
			if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("torn"), 0o600)); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(t *testing.T, mirror, _ string) {
			t.Helper()
			if err := os.RemoveAll(mirror); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, func(s *source) { s.write(t, "a", "a") }, func(s *source) { s.write(t, "b", "b") })
			o.checkout(t)
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			lose(t, o.mirrorDir(), o.merge.Commit)
			o.src.branch(t, "main", "main")
			o.src.write(t, "c", "c")
			o.src.commit(t)
			s := openStore(t, o.data)
			m, err := s.Merge(t.Context(), o.src.repo(), request(7))
			if err != nil {
				t.Fatal(err)
			}
			c, err := s.Checkout(t.Context(), o.src.repo(), 7, "default", m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"a": "a", "b": "b", "c": "c"}, listing(t, c.Root)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}
