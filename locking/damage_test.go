package locking_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/locking"
)

// Nothing comes free because a record is damaged.
func TestDamagedLockIsHeld(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"cut off":       `{"key":{"forge":"github`,
		"another key":   `{"key":{"forge":"github.com","repo":7,"dir":"dmz","workspace":"default"},"pull":{"forge":"github.com","repo":7,"number":9}}`,
		"another shape": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openDB(t, filepath.Join(t.TempDir(), "locks.db"))
			s, err := locking.Open(db)
			if err != nil {
				t.Fatal(err)
			}
			ask(t, s, 4, true, "dns")
			release(t, s, 4, false)
			ask(t, s, 1, true, "dns", "db")
			ask(t, s, 2, true, "dns")
			put(t, db, "locks", key("dns").Bytes(), raw)
			if s, err = locking.Open(db); err != nil {
				t.Fatalf("Open() = %v", err)
			}
			if d := s.Damage(); len(d) != 1 || !strings.Contains(d[0].Error(), "Dir:dns") {
				t.Errorf("Damage() = %v, want the lock on dns", d)
			}
			want(t, "held as the audit tells", got(ask(t, s, 3, false, "dns")), []string{"dns held by 1, 1 ahead"})
			release(t, s, 1, true)
			want(t, "next", next(t, s), []string{"2 dns"})
		})
	}
}

func TestDamagedLockThatTheAuditForgot(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "locks.db"))
	s, err := locking.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	ask(t, s, 1, true, "dns")
	put(t, db, "locks", key("dns").Bytes(), "{")
	put(t, db, "lock_audit", []byte{0, 0, 0, 0, 0, 0, 0, 1}, "{")
	if s, err = locking.Open(db); err != nil {
		t.Fatalf("Open() = %v", err)
	}
	want(t, "held by nobody who is known", got(ask(t, s, 2, true, "dns")), []string{"dns held by 0"})
	l, found, err := s.Get(t.Context(), key("dns").ID())
	if err != nil || !found || !strings.Contains(l.PullTitle, "damaged") {
		t.Errorf("Get() = %+v, %v, %v, want it to say why", l, found, err)
	}
	f, err := s.Release(t.Context(), locking.Release{Pull: l.Pull, Keys: keys("dns")})
	if err != nil || len(f.Locks) != 1 {
		t.Errorf("Release() = %+v, %v, want it to end", f, err)
	}
	want(t, "next", next(t, s), []string{"2 dns"})
	if _, err := s.Audit(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "entry 0000000000000001") {
		t.Errorf("Audit() = %v, want the damaged entry named", err)
	}
}

func TestDamagedWaiterComesFirst(t *testing.T) {
	t.Parallel()
	db := openDB(t, filepath.Join(t.TempDir(), "locks.db"))
	s, err := locking.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		ask(t, s, n+1, true, "dns")
	}
	var third []byte
	ok(t, db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("waiters")).ForEach(func(k, raw []byte) error {
			if strings.Contains(string(raw), `"number":3`) {
				third = append(third, k...)
			}
			return nil
		})
	}))
	put(t, db, "waiters", third, "")
	put(t, db, "waiters", []byte("not a key"), "{}")
	put(t, db, "locks", []byte("\xff\xff\xff\xff"), "{}")
	if s, err = locking.Open(db); err != nil {
		t.Fatalf("Open() = %v", err)
	}
	if d := s.Damage(); len(d) != 3 {
		t.Errorf("Damage() = %v, want three", d)
	}
	ws, err := s.Waiters(t.Context())
	ok(t, err)
	var order []int
	for _, w := range ws {
		order = append(order, w.Pull.Number)
	}
	want(t, "line", order, []int{3, 2, 4})
	release(t, s, 1, true)
	want(t, "third acquires", got(ask(t, s, 3, true, "dns")), []string{"dns acquired"})
	want(t, "the others", got(ask(t, s, 4, true, "dns")), []string{"dns held by 3, 1 ahead"})
}

func put(t *testing.T, db *bbolt.DB, bucket string, k []byte, v string) {
	t.Helper()
	ok(t, db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put(k, []byte(v)) }))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
