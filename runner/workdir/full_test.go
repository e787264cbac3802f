package workdir

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/runner/smalldisk"
)

// A disk that is full in the middle of a fetch or of a checkout: it fails with that as the reason, and with room again the
// same directories are whole.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const size = 300_000 // of each file; nothing makes them smaller
	src := newSource(t)
	files := map[string]string{}
	big := func(name string) {
		random := make([]byte, size)
		_, _ = rand.Read(random)
		files[name] = string(random)
		src.write(t, name, files[name])
	}
	big("one.tf")
	src.commit(t)
	src.branch(t, "head", "main")
	big("two.tf")
	src.commit(t)
	src.pull(t, 7)
	disk := smalldisk.New(t, filepath.Join(t.TempDir(), "data"), "size=8m")
	store := openStore(t, disk.Dir)
	o := &opened{Store: store, src: src, data: disk.Dir}
	isFull := func(doing string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), "no space left on device") && !strings.Contains(err.Error(), "unable to write file") {
			t.Fatalf("%s on a full disk = %v, want that as the reason", doing, err)
		}
	}
	disk.Fill(100_000)
	_, err := store.Merge(t.Context(), src.repo(), request(7))
	isFull("Merge", err)
	disk.Free()
	o.mergeAgain(t)
	disk.Fill(size / 2)
	_, err = store.Checkout(t.Context(), src.repo(), 7, "default", o.merge)
	isFull("Checkout", err)
	disk.Free()
	checkListing(t, o.checkout(t), files)

	big("one.tf")
	big("three.tf")
	src.commit(t)
	src.pull(t, 7)
	o.mergeAgain(t)
	disk.Fill(size / 2)
	_, err = store.Checkout(t.Context(), src.repo(), 7, "default", o.merge)
	isFull("moving a checkout", err)
	disk.Free()
	checkListing(t, o.checkout(t), files)
	gitIn(t, o.mirrorDir(), "fsck", "--strict")
}
