package supervisor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// layout makes files, directories (name/) and links (name -> target) and answers the root by its real
// name.
func layout(t *testing.T, entries ...string) string {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name, target, link := strings.Cut(e, " -> ")
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		switch {
		case link:
			err = os.Symlink(strings.ReplaceAll(target, "ROOT", root), path)
		case strings.HasSuffix(e, "/"):
			err = os.MkdirAll(path, 0o700)
		default:
			err = os.WriteFile(path, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestGrants(t *testing.T) {
	t.Parallel()
	tree := []string{
		"data/db", "data/co/a/main.tf", "data/co/b/", "data/tools/tf", "free/x", "token", "alias -> ROOT/data",
		"loop -> loop", "nowhere -> ROOT/none",
	}
	for name, c := range map[string]struct {
		hide, show, read, step []string
		want                   map[string]string // below the root
	}{
		"nothing hidden":       {want: map[string]string{}},
		"a file":               {hide: []string{"token"}, want: map[string]string{"data": "rw", "free": "rw"}},
		"a directory":          {hide: []string{"data"}, want: map[string]string{"free": "rw", "token": "rw"}},
		"through a link":       {hide: []string{"alias/db"}, want: map[string]string{"free": "rw", "token": "rw", "data/co": "rw", "data/tools": "rw"}},
		"what is not there":    {hide: []string{"none", "nowhere", "data/none/at/all"}, want: map[string]string{}},
		"shown below":          {hide: []string{"data"}, show: []string{"data/co/a"}, want: map[string]string{"free": "rw", "token": "rw", "data/co/a": "rw"}},
		"shown through a link": {hide: []string{"data"}, read: []string{"alias/tools"}, want: map[string]string{"free": "rw", "token": "rw", "data/tools": "r"}},
		"hidden below shown": {
			hide: []string{"data", "data/co/a"}, show: []string{"data/co"},
			want: map[string]string{"free": "rw", "token": "rw", "data/co/b": "rw"},
		},
		"readable below writable": {
			hide: []string{"data"}, show: []string{"data/co"}, read: []string{"data/co/a"},
			want: map[string]string{"free": "rw", "token": "rw", "data/co/b": "rw", "data/co/a": "r"},
		},
		"writable below readable": {
			hide: []string{"data"}, show: []string{"data/co/a"}, read: []string{"data/co"},
			want: map[string]string{"free": "rw", "token": "rw", "data/co": "r", "data/co/a": "rw"},
		},
		"the same path in all lists": {
			hide: []string{"data"}, read: []string{"data"}, show: []string{"data"},
			want: map[string]string{"data": "rw"},
		},
		"the step wins": {
			show: []string{"data"}, step: []string{"data"},
			want: map[string]string{"free": "rw", "token": "rw"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := layout(t, tree...)
			under := func(paths []string) (out []string) {
				for _, p := range paths {
					out = append(out, filepath.Join(root, p))
				}
				return out
			}
			list, err := grants(Sandbox{Hide: under(c.hide), Show: under(c.show), ShowRead: under(c.read)}, under(c.step)...)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, g := range list {
				if rel, ok := strings.CutPrefix(g.path, root+"/"); ok {
					got[rel] = map[access]string{readAccess: "r", writeAccess: "rw"}[g.access]
				}
			}
			if len(c.want) == 0 {
				// Everything, in one go: from the root of all.
				if d := cmp.Diff([]grant{{"/", writeAccess}}, list, cmp.AllowUnexported(grant{})); d != "" {
					t.Errorf("grants (-want +got):\n%s", d)
				}
				return
			}
			if c.want["data"] == "rw" && len(c.want) == 1 {
				return // nothing is hidden: / covers it
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("grants (-want +got):\n%s", d)
			}
		})
	}
}

func TestGrantsOfALoop(t *testing.T) {
	t.Parallel()
	root := layout(t, "loop -> loop")
	if _, err := grants(Sandbox{Hide: []string{filepath.Join(root, "loop")}}); err == nil {
		t.Error("grants = nil error, want one: what can't be resolved can't be hidden")
	}
}

func TestHiddenDirectoriesAreNotListed(t *testing.T) {
	t.Parallel()
	root := layout(t, "data/secret/x", "data/co/")
	list, err := grants(Sandbox{Hide: []string{filepath.Join(root, "data")}, Show: []string{filepath.Join(root, "data/co")}})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range list {
		if strings.Contains(g.path, "secret") || strings.HasPrefix(root, g.path+"/") || g.path == "/" {
			t.Errorf("granted: %+v", g)
		}
	}
}

func TestLevelSaysWhatHolds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		level Level
		want  []string
	}{
		{Level{NonDumpable: true, Landlock: 7}, []string{"out of reach", "Landlock version 7)"}},
		{Level{NonDumpable: true, Landlock: 2}, []string{"out of reach", "can't be read, but be emptied"}},
		{Level{NonDumpable: true, Landlock: 4}, []string{"out of reach", "can be sent signals"}},
		{Level{NonDumpable: true, Landlock: 7, Root: true}, []string{"NOT HELD", "as a user of its own"}},
		{Level{NonDumpable: true}, []string{"NOT HELD", "Linux 5.13"}},
		{Level{Landlock: 7}, []string{"NOT HELD", "memory and environment"}},
	} {
		for _, w := range c.want {
			if !strings.Contains(c.level.String(), w) {
				t.Errorf("%+v: %q does not say %q", c.level, c.level.String(), w)
			}
		}
		if c.level.Holds() != strings.Contains(c.want[0], "out of reach") {
			t.Errorf("%+v: Holds = %v", c.level, c.level.Holds())
		}
	}
}
