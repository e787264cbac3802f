package locking_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/tidegate/tidegate/locking"
)

// The layout that the package comment draws.
func TestKeyBytes(t *testing.T) {
	t.Parallel()
	k := locking.Key{Forge: "f", Repo: 258, Dir: "a/b", Workspace: "w", Project: "p"}
	const layout = "00000001" + "66" + "0000000000000102" + "00000003" + "612f62" + "00000001" + "77" + "00000001" + "70"
	if got := hex.EncodeToString(k.Bytes()); got != layout {
		t.Errorf("Bytes() = %s, want %s", got, layout)
	}
	if got := k.ID(); got != "iTSkGegpiiyb11HiBCJhCmpB" {
		t.Errorf("ID() = %s: links that people kept do not work any more", got)
	}
}

// FuzzKey: no two keys give the same bytes, however their parts are cut.
func FuzzKey(f *testing.F) {
	f.Add("github.com", int64(1), "a", "default", "", "github.com", int64(1), "a", "defaul", "t")
	f.Add("f", int64(1), "ab", "c", "", "f", int64(1), "a", "bc", "")
	f.Add("f", int64(1), "", "", "", "f", int64(1), "\x00\x00\x00\x00", "", "")
	f.Add("f", int64(-1), "a", "b", "c", "f", int64(255), "a", "b", "c")
	f.Fuzz(func(t *testing.T, f1 string, r1 int64, d1, w1, p1, f2 string, r2 int64, d2, w2, p2 string) {
		a := locking.Key{Forge: f1, Repo: r1, Dir: d1, Workspace: w1, Project: p1}
		b := locking.Key{Forge: f2, Repo: r2, Dir: d2, Workspace: w2, Project: p2}
		if same := bytes.Equal(a.Bytes(), b.Bytes()); same != (a == b) {
			t.Errorf("%+v and %+v: same bytes %v", a, b, same)
		}
		if same := a.ID() == b.ID(); same != (a == b) {
			t.Errorf("%+v and %+v: same id %v", a, b, same)
		}
		if a != b && bytes.HasPrefix(a.Bytes(), b.Bytes()) {
			t.Errorf("the bytes of %+v begin with those of %+v", a, b)
		}
	})
}
