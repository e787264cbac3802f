package workdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	base := t.TempDir()
	c := Checkout{Base: base, Root: filepath.Join(base, "tree")}
	writeFile(t, filepath.Join(c.Root, "env/prod/main.tf"), "x")
	writeFile(t, filepath.Join(base, "secret/x"), "x")
	for path, target := range map[string]string{
		"inside":       "env/prod",
		"env/up":       "../env/./prod",
		"twice":        "inside/../up",
		"out":          "../secret",
		"env/out":      "../../secret",
		"absolute":     outside,
		"home":         c.Root,
		"through":      "out/x",
		"loop":         "loop",
		"dangling":     "nothing",
		"dots":         "..",
		"env/dots":     "..",
		"env/two-dots": "../..",
	} {
		symlink(t, target, filepath.Join(c.Root, path))
	}
	for dir, want := range map[string]string{
		".": ".", "": ".", "env": "env", "env/prod": "env/prod", "env/prod/": "env/prod", "./env//prod/.": "env/prod",
		"inside": "env/prod", "env/up": "env/prod", "twice": "env/prod", "env/../env": "env", "env/dots": ".",
	} {
		got, err := c.Resolve(dir)
		if err != nil || got != filepath.Join(c.Root, want) {
			t.Errorf("Resolve(%q) = %q, %v, want %q", dir, got, err, want)
		}
	}
	for dir, want := range map[string]EscapeError{
		"out":          {Path: "out", Link: "out", Target: "../secret"},
		"env/out":      {Path: "env/out", Link: "env/out", Target: "../../secret"},
		"absolute":     {Path: "absolute", Link: "absolute", Target: outside},
		"home":         {Path: "home", Link: "home", Target: c.Root},
		"through":      {Path: "through", Link: "out", Target: "../secret"},
		"dots":         {Path: "dots", Link: "dots", Target: ".."},
		"env/two-dots": {Path: "env/two-dots", Link: "env/two-dots", Target: "../.."},
		"..":           {Path: ".."},
		"/etc":         {Path: "/etc"},
		"env/../..":    {Path: "env/../.."},
	} {
		_, err := c.Resolve(dir)
		escape, ok := errors.AsType[*EscapeError](err)
		if !ok || *escape != want {
			t.Errorf("Resolve(%q) = %v, want %v", dir, err, &want)
		}
		if ok && escape.Link != "" && !strings.Contains(err.Error(), escape.Target) {
			t.Errorf("Resolve(%q) = %v, which does not name the target", dir, err)
		}
	}
	for _, dir := range []string{"nothing", "dangling", "env/nothing/deeper"} {
		if _, err := c.Resolve(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Resolve(%q) = %v, want ErrNotExist", dir, err)
		}
	}
	for dir, want := range map[string]string{"env/prod/main.tf": "is not a directory", "loop": "too many links", "env/prod/main.tf/x": ""} {
		if _, err := c.Resolve(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%q) = %v, want %q in it", dir, err, want)
		}
	}
	if err := os.RemoveAll(c.Root); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve("."); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Resolve() without a tree = %v, want ErrNotExist", err)
	}
}

func TestTFData(t *testing.T) {
	t.Parallel()
	c := Checkout{Base: "/data/x", Root: "/data/x/tree"}
	one, other := c.TFData("a"), c.TFData("../b")
	if one == other || one != c.TFData("a") {
		t.Errorf("TFData() = %q and %q", one, other)
	}
	for _, dir := range []string{one, other} {
		if filepath.Dir(dir) != "/data/x/tf" {
			t.Errorf("TFData() = %q, want a directory below /data/x/tf", dir)
		}
	}
}
