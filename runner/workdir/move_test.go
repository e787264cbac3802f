package workdir

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// What kills the server in the middle of a move leaves some files of the new merge.
func TestAMoveThatWasCutShortIsCompleted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(t *testing.T, o *opened, c Checkout)
		isNew  bool
	}{
		"files only": {damage: func(*testing.T, *opened, Checkout) {}},
		"lock of the index": {damage: func(t *testing.T, _ *opened, c Checkout) {
			t.Helper()
			writeFile(t, filepath.Join(c.Base, "index.lock"), "")
		}},
		"index damaged": {damage: func(t *testing.T, _ *opened, c Checkout) {
			t.Helper()
			writeFile(t, filepath.Join(c.Base, "index"), "DIRC")
		}},
		"index gone": {damage: func(t *testing.T, _ *opened, c Checkout) {
			t.Helper()
			removeTree(t, filepath.Join(c.Base, "index"))
		}},
		"half a .git": {damage: func(t *testing.T, _ *opened, c Checkout) {
			t.Helper()
			writeFile(t, filepath.Join(c.Base, "dotgit/HEAD"), "x")
			removeTree(t, filepath.Join(c.Root, ".git"))
		}},
		"tree gone": {isNew: true, damage: func(t *testing.T, _ *opened, c Checkout) {
			t.Helper()
			removeTree(t, c.Root)
		}},
		"tree is a link": {isNew: true, damage: func(t *testing.T, _ *opened, c Checkout) {
			t.Helper()
			if err := os.Rename(c.Root, c.Base+".aside"); err != nil {
				t.Fatal(err)
			}
			symlink(t, c.Base+".aside", c.Root)
		}},
		"state damaged": {isNew: true, damage: func(t *testing.T, _ *opened, c Checkout) {
			t.Helper()
			writeFile(t, filepath.Join(c.Base, "checkout.json"), "{")
		}},
		"commit gone": {isNew: true, damage: func(t *testing.T, _ *opened, c Checkout) {
			t.Helper()
			writeFile(t, filepath.Join(c.Base, "checkout.json"), fmt.Sprintf(`{"format":1,"moving":"%040d"}`, 0))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, func(s *source) {
				s.write(t, "a.tf", "one")
				s.write(t, "goes.tf", "one")
			}, func(*source) {})
			c := o.checkout(t)
			writeFile(t, filepath.Join(c.Root, "generated.tf"), "generated")
			first := o.merge
			o.push(t, func(s *source) {
				s.write(t, "a.tf", "two")
				s.write(t, "only-two.tf", "two")
				s.remove(t, "goes.tf")
			})
			second := o.merge
			writeFile(t, filepath.Join(c.Root, "only-two.tf"), "tw")
			writeFile(t, filepath.Join(c.Root, "a.tf"), "")
			writeFile(t, filepath.Join(c.Base, "checkout.json"),
				fmt.Sprintf(`{"format":1,"id":%q,"at":%q,"moving":%q}`, c.ID, first.Commit, second.Commit))
			test.damage(t, o, c)

			o.push(t, func(s *source) {
				s.remove(t, "only-two.tf")
				s.write(t, "three.tf", "three")
			})
			before := c.ID
			c = o.checkout(t)
			want := map[string]string{"a.tf": "two", "three.tf": "three", "generated.tf": "generated"}
			if test.isNew {
				delete(want, "generated.tf")
			}
			checkListing(t, c, want)
			if (c.ID != before) != test.isNew {
				t.Errorf("the ID is %q, it was %q; want another one: %v", c.ID, before, test.isNew)
			}
			if got := gitIn(t, c.Root, "status", "--porcelain", "-uno"); got != "" {
				t.Errorf("status = %q", got)
			}
		})
	}
}
