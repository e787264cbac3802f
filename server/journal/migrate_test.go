package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/server/journal"
)

// inNewFormat is what a later format might do: every pull request gets another title.
func inNewFormat(title string) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("pulls"))
		changed := map[string][]byte{}
		err := b.ForEach(func(k, v []byte) error {
			changed[string(k)] = []byte(strings.Replace(string(v), `"title":"`, `"title":"`+title+" ", 1))
			return nil
		})
		for k, v := range changed {
			err = errors.Join(err, b.Put([]byte(k), v))
		}
		return err
	}
}

func title(t *testing.T, j *journal.Journal) string {
	t.Helper()
	pulls, err := j.Pulls(t.Context())
	ok(t, err)
	return pulls[0].Title
}

func oldJournal(t *testing.T) (*bbolt.DB, string) {
	t.Helper()
	dir := t.TempDir()
	ok(t, os.CopyFS(dir, os.DirFS(recorded)))
	path := filepath.Join(dir, "tidegate.db")
	return openDB(t, path), path
}

// A file of an older format is brought to the present one step by step, and each older one is kept beside.
func TestMigration(t *testing.T) {
	t.Parallel()
	db, path := oldJournal(t)
	steps := map[int]func(*bbolt.Tx) error{1: inNewFormat("second"), 2: inNewFormat("third")}
	for range 2 { // the second time there is nothing to do
		j, err := journal.OpenMigrating(db, 3, steps)
		ok(t, err)
		want(t, "title", title(t, j), "third second Add a <zone>")
		ok(t, j.Close())
	}
	newer := new(journal.FormatError)
	if _, err := journal.Open(db); !errors.As(err, &newer) || newer.Is != 3 {
		t.Errorf("Open() of it with an older Tidegate = %v, want a FormatError", err)
	}
	for name, titled := range map[string]string{".format1": "Add a <zone>", ".format2": "second Add a <zone>"} {
		info, err := os.Stat(path + name)
		ok(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
		old, err := journal.OpenMigrating(openDB(t, path+name), map[string]int{".format1": 1, ".format2": 2}[name], nil)
		ok(t, err)
		want(t, name, title(t, old), titled)
		ok(t, old.Close())
	}
}

// A step that fails leaves the file as it was, and the next attempt goes on from there. The copy is that of the
// first attempt.
func TestMigrationThatFails(t *testing.T) {
	t.Parallel()
	db, path := oldJournal(t)
	fails := func(tx *bbolt.Tx) error {
		return errors.Join(inNewFormat("never")(tx), errors.New("no room"))
	}
	for range 2 {
		_, err := journal.OpenMigrating(db, 3, map[int]func(*bbolt.Tx) error{1: inNewFormat("second"), 2: fails})
		if err == nil || !strings.Contains(err.Error(), "from format 2 to 3: ") || !strings.Contains(err.Error(), "no room") {
			t.Fatalf("OpenMigrating() = %v", err)
		}
	}
	j, err := journal.OpenMigrating(db, 3, map[int]func(*bbolt.Tx) error{2: inNewFormat("third")})
	ok(t, err)
	want(t, "title", title(t, j), "third second Add a <zone>")
	ok(t, j.Close())
	left, err := filepath.Glob(path + ".format*")
	ok(t, err)
	want(t, "copies", left, []string{path + ".format1", path + ".format2"})
}

// A format that nobody knows the way from is refused and left as it is.
func TestMigrationWithoutAWay(t *testing.T) {
	t.Parallel()
	db, path := oldJournal(t)
	if _, err := journal.OpenMigrating(db, 2, nil); err == nil || !strings.Contains(err.Error(), "no way from it to format 2") {
		t.Errorf("OpenMigrating() = %v", err)
	}
	left, err := filepath.Glob(path + ".format*")
	ok(t, err)
	want(t, "copies", left, []string(nil))
	j, err := journal.Open(db)
	ok(t, err)
	ok(t, j.Close())
}
