package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// migration is the way from a format to the next one. It is carried out in one transaction with the new number, so that
// a crash leaves the old format or the new one.
type migration func(*bbolt.Tx) error

// history are the ways that there are, by the format that they begin at.
type history struct {
	now  int
	from map[int]migration
}

// ours is the history of this package. Every format that was ever released stays in it.
func ours() history { return history{now: Format, from: map[int]migration{}} }

// migrate brings a file of an older format to the present one. Before each step the file is copied to one that
// has the old format's number at its end, and stays: an older Tidegate can go on with that.
func (h history) migrate(db *bbolt.DB, is int) error {
	for ; is < h.now; is++ {
		step, ok := h.from[is]
		if !ok {
			return fmt.Errorf("the journal is of format %d, and there is no way from it to format %d", is, is+1)
		}
		if err := keepCopy(db, fmt.Sprintf("%s.format%d", db.Path(), is)); err != nil {
			return fmt.Errorf("copying the journal before it gets another format: %w", err)
		}
		err := db.Update(func(tx *bbolt.Tx) error {
			if err := step(tx); err != nil {
				return err
			}
			return setFormat(tx, is+1)
		})
		if err != nil {
			return fmt.Errorf("bringing the journal from format %d to %d: %w", is, is+1, err)
		}
	}
	return nil
}

// keepCopy copies the file, if an earlier attempt has not done so.
func keepCopy(db *bbolt.DB, to string) error {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp := to + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := db.View(func(tx *bbolt.Tx) error { return snapshot(tx, tmp) }); err != nil {
		return err
	}
	if err := os.Rename(tmp, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// setFormat changes the number alone: the rest of the record may look different in another format.
func setFormat(tx *bbolt.Tx, format int) error {
	about := map[string]json.RawMessage{}
	if err := json.Unmarshal(in(tx, bucketMeta).Get([]byte(keyAbout)), &about); err != nil {
		return err
	}
	about["format"] = json.RawMessage(fmt.Sprint(format))
	return put(tx, bucketMeta, []byte(keyAbout), about)
}
