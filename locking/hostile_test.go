package locking_test

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/locking"
)

// Ids and names from outside never meet, stay as they came, and are read back even from damaged records.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "locks.db"))
	s, err := locking.Open(db)
	ok(t, err)
	var all []locking.Lock
	for _, forge := range []string{"f", "f\x00", "f\x00\x00\x00\x01"} {
		for _, repo := range []int64{0, 1, -1, 1 << 32, math.MaxInt64, math.MinInt64} {
			p := locking.Pull{Forge: forge, Repo: repo, Number: len(all)*math.MaxInt32 - 1}
			var ks []locking.Key
			for _, dir := range []string{".", "a", "a\x00", "a\nb", "a\"<b>", "\u2028", "é", strings.Repeat("x", 4096)} {
				ks = append(ks, locking.Key{Forge: forge, Repo: repo, Dir: dir, Workspace: "w\n", Project: "p\x00"})
			}
			g, err := s.Acquire(t.Context(), locking.Request{Pull: p, Keys: ks, At: at(len(all)), User: "\xff"})
			if err != nil || len(g.Acquired) != len(ks) {
				t.Fatalf("Acquire(%q, %d) = %d of %d, %v", forge, repo, len(g.Acquired), len(ks), err)
			}
			all = append(all, g.Acquired...)
		}
	}
	held := func(s *locking.Store) map[locking.Key]locking.Pull {
		ls, err := s.Locks(t.Context())
		ok(t, err)
		out := map[locking.Key]locking.Pull{}
		for _, l := range ls {
			out[l.Key] = l.Pull
		}
		return out
	}
	asked := map[locking.Key]locking.Pull{}
	for _, l := range all {
		asked[l.Key] = l.Pull
	}
	for _, when := range []string{"as written", "with every record damaged"} {
		again, err := locking.Open(db)
		ok(t, err)
		want(t, when, fmt.Sprint(held(again)), fmt.Sprint(asked))
		for _, l := range all {
			put(t, db, "locks", l.Key.Bytes(), "{")
		}
	}
}
