package backup_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/server/backup"
	"github.com/tidegate/tidegate/server/journal"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the journal of a data directory, and makes one.
func open(t *testing.T, dir string) *journal.Journal {
	t.Helper()
	db, err := journal.OpenFile(filepath.Join(dir, backup.DBName), time.Second)
	ok(t, err)
	j, err := journal.Open(db)
	ok(t, err)
	_, err = locking.Open(db)
	ok(t, err)
	t.Cleanup(func() { _ = j.Close(); _ = db.Close() })
	return j
}

// put makes files in a data directory.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		ok(t, os.MkdirAll(filepath.Dir(path), 0o700))
		ok(t, os.WriteFile(path, []byte(text), 0o600))
	}
}

// take makes a backup.
func take(t *testing.T, dir string, j *journal.Journal) []byte {
	t.Helper()
	var out bytes.Buffer
	ok(t, backup.Write(t.Context(), &out, backup.Source{Dir: dir, Journal: j, Version: "v1", Log: slog.New(slog.DiscardHandler)}))
	return out.Bytes()
}

// files lists what lies in a directory, with its content where it is short.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		name, rerr := filepath.Rel(dir, path)
		if strings.HasPrefix(name, backup.DBName) {
			raw = nil
		}
		out[name] = string(raw)
		return errors.Join(err, rerr)
	}))
	return out
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir)
	kept := map[string]string{
		"plans/abc": "plan", "reports/def": "report", "runs/R/1/result.json": "{}", "runs/R/1/1-plan/output.log": "log",
		"runs/R/1/1-plan/started": "{}", "states/f_1/x/terraform.tfstate": `{"serial":1}`, "states/f_1/x/workspaces/blue/terraform.tfstate": "",
	}
	put(t, dir, kept)
	put(t, dir, map[string]string{
		"checkouts/f/1/2/default/tree/main.tf": "x", "mirrors/f/1.git/HEAD": "x", "providers/p": "x", "tools/t": "x", "tmp/j/secret": "x",
		"runs/R/1/1-plan/spec.json": "environment", "runs/R/1/2-apply/status.tmp": "", "runs/R/1/plan.tfplan": "x", "runs/R/1/result.json.new": "{",
		"states/f_1/x/.terraform.tfstate.lock.info": "{}", "states/f_1/x/anything": "x", "plans/.new-1": "x",
	})
	ok(t, os.Symlink("/etc/passwd", filepath.Join(dir, "states/f_1/x/link.tfstate")))
	ok(t, syscall.Mkfifo(filepath.Join(dir, "runs/R/1/1-plan/control"), 0o600))
	archive := take(t, dir, j)
	if left, _ := filepath.Glob(filepath.Join(dir, ".backup-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	to := filepath.Join(t.TempDir(), "new", "data")
	head, err := backup.Restore(t.Context(), bytes.NewReader(archive), backup.Target{Dir: to})
	ok(t, err)
	if head.Version != "v1" || head.Dir != dir {
		t.Errorf("head %+v", head)
	}
	want := map[string]string{backup.DBName: "", backup.DBName + ".owner": ""}
	for name, text := range kept {
		want[name] = text
	}
	if diff := cmp.Diff(want, files(t, to)); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	restored := open(t, to)
	if restored.ServerID() != j.ServerID() {
		t.Error("the restored server is another one")
	}
	r, err := restored.Restored(t.Context())
	ok(t, err)
	if !r.Taken.Equal(head.Taken) || r.At.Before(r.Taken) {
		t.Errorf("restored %+v, taken %s", r, head.Taken)
	}
}

// A state that is being written is read again until it is whole.
func TestAStateThatIsBeingWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, dir)
	state := filepath.Join(dir, "states/f_1/x/terraform.tfstate")
	put(t, dir, map[string]string{"states/f_1/x/terraform.tfstate": `{"serial":`})
	pipe := &onFirst{do: func() { ok(t, os.WriteFile(state, []byte(`{"serial":2}`), 0o600)) }}
	ok(t, backup.Write(t.Context(), pipe, backup.Source{Dir: dir, Journal: j, Log: slog.New(slog.DiscardHandler)}))
	to := t.TempDir()
	_, err := backup.Restore(t.Context(), &pipe.Buffer, backup.Target{Dir: to})
	ok(t, err)
	if raw, err := os.ReadFile(filepath.Join(to, "states/f_1/x/terraform.tfstate")); string(raw) != `{"serial":2}` {
		t.Errorf("the state is %q, %v", raw, err)
	}
}

// onFirst does something at the first write.
type onFirst struct {
	bytes.Buffer
	do func()
}

func (w *onFirst) Write(p []byte) (int, error) {
	if w.do != nil {
		w.do()
		w.do = nil
	}
	return w.Buffer.Write(p)
}

// member is a file of an archive made by hand.
type member struct {
	tar.Header
	text string
}

func file(name, text string) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeReg}, text}
}

const head = `{"format":1,"version":"v1","dir":"/d"}`

func pack(t *testing.T, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, m := range members {
		m.Mode = 0o777
		if m.Size == 0 {
			m.Size = int64(len(m.text))
		}
		ok(t, w.WriteHeader(&m.Header))
		_, err := io.WriteString(w, m.text)
		ok(t, err)
	}
	ok(t, w.Close())
	ok(t, zip.Close())
	return out.Bytes()
}

// What is not a backup, or a bad one, leaves nothing behind, and nothing outside of its place.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := take(t, dir, open(t, dir))
	flip := slices.Clone(good)
	flip[len(flip)/2] ^= 1
	for _, tt := range []struct {
		name    string
		archive []byte
		says    string
	}{
		{"nothing", nil, "this is no backup"},
		{"text", []byte("hello, this is not a backup at all"), "this is no backup"},
		{"cut off", good[:len(good)-40], ""},
		{"flipped", flip, ""},
		{"another tar", pack(t, file("main.tf", "x")), "this is no backup"},
		{"newer", pack(t, file("backup.json", `{"format":2,"version":"v9"}`)), "made by a newer Tidegate (v9, format 2; this one reads 1)"},
		{"no format", pack(t, file("backup.json", `{}`)), "does not say its format"},
		{"no manifest", pack(t, file("backup.json", head), file("plans/x", "x")), "it has no manifest"},
		{"up", pack(t, file("backup.json", head), file("../escaped", "x")), "does not belong"},
		{"up inside", pack(t, file("backup.json", head), file("plans/../../escaped", "x")), "does not belong"},
		{"absolute", pack(t, file("backup.json", head), file("/tmp/escaped", "x")), "does not belong"},
		{"elsewhere", pack(t, file("backup.json", head), file("checkouts/x", "x")), "does not belong"},
		{"the top itself", pack(t, file("backup.json", head), file("plans", "x")), "does not belong"},
		{"a control character", pack(t, file("backup.json", head), file("plans/a\nb", "x")), "does not belong"},
		{"the owner", pack(t, file("backup.json", head), file("tidegate.db.owner", "x")), "does not belong"},
		{"a link", pack(t, file("backup.json", head), member{tar.Header{Name: "plans/x", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, ""}), "is not a file"},
		{"a hard link", pack(t, file("backup.json", head), member{tar.Header{Name: "plans/x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, ""}), "is not a file"},
		{"a device", pack(t, file("backup.json", head), member{tar.Header{Name: "plans/x", Typeflag: tar.TypeChar}, ""}), "is not a file"},
		{"twice", pack(t, file("backup.json", head), file("plans/x", "x"), file("plans/x", "y")), "file exists"},
		{"too much", pack(t, file("backup.json", head), file("plans/x", strings.Repeat("x", 5000))), "more than the 4096 bytes"},
		{"more than it lists", pack(t, file("backup.json", head), file("plans/x", "x"), file("manifest.json", `{}`)), "is not in the manifest"},
		{"less than it lists", pack(t, file("backup.json", head), file("manifest.json", `{"files":[{"path":"plans/x","size":1}]}`)), "is not as the manifest says"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			target := backup.Target{Dir: filepath.Join(parent, "data")}
			if tt.name == "too much" {
				target.Room = 4096
			}
			_, err := backup.Restore(t.Context(), bytes.NewReader(tt.archive), target)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Restore() = %v, want %q", err, tt.says)
			}
			if left := files(t, parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A directory that holds anything is left as it is, but for what a restore that was cut short has left.
func TestRestoreIntoWhatIsThere(t *testing.T) {
	t.Parallel()
	from := t.TempDir()
	j := open(t, from)
	put(t, from, map[string]string{"plans/abc": "plan"})
	archive := take(t, from, j)
	for _, tt := range []struct {
		name  string
		there map[string]string
		fits  bool
	}{
		{"a data directory", map[string]string{"tidegate.db": "x"}, false},
		{"somebody's files", map[string]string{"notes.txt": "x"}, false},
		{"plans", map[string]string{"plans/mine": "x"}, false},
		{"a new volume", map[string]string{"lost+found/x": ""}, true},
		{"cut short", map[string]string{".restore/tidegate.db": "half", "tidegate.db.owner": "{}", "plans/old": "x"}, true},
		{"cut short after all", map[string]string{".restore/x": "half", "tidegate.db": "x"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			put(t, dir, tt.there)
			_, err := backup.Restore(t.Context(), bytes.NewReader(archive), backup.Target{Dir: dir})
			if tt.fits != (err == nil) || !tt.fits && !errors.Is(err, backup.ErrNotEmpty) {
				t.Fatalf("Restore() = %v, want that it fits: %v", err, tt.fits)
			}
			got := files(t, dir)
			if !tt.fits {
				if diff := cmp.Diff(tt.there, got, cmp.FilterPath(func(p cmp.Path) bool { return strings.Contains(p.String(), backup.DBName) }, cmp.Ignore())); len(got) != len(tt.there) {
					t.Errorf("it was changed: %s", diff)
				}
				return
			}
			if got["plans/abc"] != "plan" || got["plans/old"] != "" {
				t.Errorf("restored: %v", got)
			}
			open(t, dir)
		})
	}
}

// Where a restore was cut short no server makes a new journal.
func TestNoServerStartsInHalfARestore(t *testing.T) {
	t.Parallel()
	from := t.TempDir()
	archive := take(t, from, open(t, from))
	dir := t.TempDir()
	ctx, cut := context.WithCancelCause(t.Context())
	reader := &onRead{Reader: bytes.NewReader(archive), do: func() {
		if _, err := journal.OpenFile(filepath.Join(dir, backup.DBName), time.Second); err == nil || !strings.Contains(err.Error(), "is gone") {
			t.Errorf("OpenFile() in the middle of a restore = %v", err)
		}
		cut(errors.New("enough"))
	}}
	if _, err := backup.Restore(ctx, reader, backup.Target{Dir: dir}); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("Restore() = %v", err)
	}
}

type onRead struct {
	io.Reader
	do func()
}

func (r *onRead) Read(p []byte) (int, error) {
	if r.do != nil {
		r.do()
		r.do = nil
	}
	return r.Reader.Read(p)
}

// FuzzRestore: no archive makes a file outside of the directory, or a directory out of what is not whole.
func FuzzRestore(f *testing.F) {
	dir := f.TempDir()
	db, err := journal.OpenFile(filepath.Join(dir, backup.DBName), time.Second)
	if err != nil {
		f.Fatal(err)
	}
	j, err := journal.Open(db)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = j.Close(); _ = db.Close() })
	var good bytes.Buffer
	if err := backup.Write(f.Context(), &good, backup.Source{Dir: dir, Journal: j, Log: slog.New(slog.DiscardHandler)}); err != nil {
		f.Fatal(err)
	}
	plain, err := gzip.NewReader(&good)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := io.ReadAll(plain)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[:4096])
	f.Add(raw)
	f.Fuzz(func(t *testing.T, tarred []byte) {
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		_, _ = w.Write(tarred)
		_ = w.Close()
		parent := t.TempDir()
		_, err := backup.Restore(t.Context(), &zipped, backup.Target{Dir: filepath.Join(parent, "data"), Room: 1 << 20})
		for name := range files(t, parent) {
			if err != nil || !strings.HasPrefix(name, "data/") {
				t.Errorf("after %v: %s", err, name)
			}
		}
	})
}
