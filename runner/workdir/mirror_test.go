package workdir

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLeftoversOfAKilledServerAreCleared(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(s *source) { s.write(t, "b", "b") })
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	leftovers := []string{
		"refs/tidegate/pull/7/base.lock", "refs/tidegate/pull/7/head.lock", "refs/tidegate/pull/7/merge.lock",
		"packed-refs.lock", "HEAD.lock", "config.lock", "shallow.lock", "objects/info/commit-graph.lock",
		"objects/pack/tmp_pack_x", "objects/ab/tmp_obj_x", "objects/tmp_objdir-incoming-x/pack/x", "gc.pid", "tidegate/merge-1/x",
	}
	for _, name := range leftovers {
		writeFile(t, filepath.Join(o.mirrorDir(), name), "")
	}
	o.Store = openStore(t, o.data)
	before := o.merge
	o.mergeAgain(t)
	if o.merge != before {
		t.Errorf("Merge() = %+v, want %+v", o.merge, before)
	}
	for _, name := range leftovers {
		if exists(t, filepath.Join(o.mirrorDir(), name)) {
			t.Errorf("%s is still there", name)
		}
	}
	// A git that was killed alone, under a living server.
	writeFile(t, filepath.Join(o.mirrorDir(), "refs/tidegate/pull/7/head.lock"), "")
	o.push(t, func(s *source) { s.write(t, "b", "two") })
}

// The git processes of a server that was killed live on for a while, and must be let finish.
func TestGitProcessesOfAKilledServerAreWaitedFor(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(s *source) { s.write(t, "b", "b") })
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(strings.TrimSuffix(o.mirrorDir(), ".git")+".lock", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	orphan := exec.CommandContext(t.Context(), "cat")
	orphan.ExtraFiles = []*os.File{lock}
	stdin, err := orphan.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(orphan.Start(), lock.Close()); err != nil {
		t.Fatal(err)
	}
	o.Store = openStore(t, o.data)
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	if _, err := o.Merge(ctx, o.src.repo(), request(7)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Merge() beside a living git = %v, want context.DeadlineExceeded", err)
	}
	if err := errors.Join(stdin.Close(), orphan.Wait()); err != nil {
		t.Fatal(err)
	}
	o.mergeAgain(t)
}

// Every git process of ours has to hold the lock, or the one above is no proof.
func TestGitProcessesInheritTheLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin, fifo, pid := filepath.Join(dir, "git"), filepath.Join(dir, "fifo"), filepath.Join(dir, "pid")
	real := gitIn(t, dir, "--exec-path") + "/git"
	writeFile(t, bin, "#!/bin/sh\ntest \"$1\" = fetch || exec '"+real+"' \"$@\"\ntrap '' TERM\necho $$ >'"+pid+"'\necho >'"+fifo+"'\nread x <'"+fifo+"'\n")
	chmod(t, bin, 0o700)
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	src := newSource(t)
	s, err := Open(t.Context(), Config{Data: data, Git: bin})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.mirror(t.Context(), src.repo())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := s.Merge(ctx, src.repo(), request(7))
		done <- err
	}()
	if _, err := os.ReadFile(fifo); err != nil {
		t.Fatal(err)
	}
	// The server dies: its own descriptor is gone, git's is not.
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Dup2(int(null.Fd()), int(m.lock.Fd())), null.Close()); err != nil {
		t.Fatal(err)
	}
	next := openStore(t, data)
	waiting, stop := context.WithTimeout(t.Context(), 3*lockPoll)
	defer stop()
	if _, err := next.Merge(waiting, src.repo(), request(7)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Merge() beside a living git = %v, want context.DeadlineExceeded", err)
	}
	writeFile(t, fifo, "\n")
	cancel()
	if err := <-done; err == nil {
		t.Error("Merge() with a git that did nothing is no error")
	}
}

// damage finds files of the mirror by pattern and does something to each.
func damageFiles(t *testing.T, o *opened, pattern string, do func(path string) error) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(o.mirrorDir(), pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("there is no %s in the mirror", pattern)
	}
	for _, path := range files {
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := do(path); err != nil {
			t.Fatal(err)
		}
	}
}

func truncate(to int64) func(string) error {
	return func(path string) error { return os.Truncate(path, to) }
}

// garble changes the middle of a file.
func garble(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i := len(content) / 2; i < len(content)/2+20 && i < len(content); i++ {
		content[i] ^= 0xff
	}
	return os.WriteFile(path, content, 0o600)
}

func TestADamagedMirrorIsRebuilt(t *testing.T) {
	t.Parallel()
	removeFile := func(path string) error { return os.RemoveAll(path) }
	write := func(content string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
	}
	for name, damage := range map[string]func(t *testing.T, o *opened){
		"no HEAD":          func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "HEAD", removeFile) },
		"empty HEAD":       func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "HEAD", truncate(0)) },
		"no config":        func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "config", removeFile) },
		"config of others": func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "config", write("[core]\nx\n[")) },
		"no refs":          func(t *testing.T, o *opened) { t.Helper(); removeTree(t, filepath.Join(o.mirrorDir(), "refs")) },
		"empty refs": func(t *testing.T, o *opened) {
			t.Helper()
			damageFiles(t, o, "refs/tidegate/pull/7/[bhm]*", truncate(0))
		},
		"refs to nothing": func(t *testing.T, o *opened) {
			t.Helper()
			damageFiles(t, o, "refs/tidegate/pull/7/[bhm]*", write(strings.Repeat("1", 40)+"\n"))
		},
		"no objects":    func(t *testing.T, o *opened) { t.Helper(); removeTree(t, filepath.Join(o.mirrorDir(), "objects")) },
		"empty objects": func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "objects/??/*", truncate(0)) },
		"cut objects":   func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "objects/??/*", truncate(10)) },
		"garbled objects": func(t *testing.T, o *opened) {
			t.Helper()
			damageFiles(t, o, "objects/??/*", garble)
		},
		"cut pack":      func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "objects/pack/*.pack", truncate(500)) },
		"garbled pack":  func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "objects/pack/*.pack", garble) },
		"empty pack":    func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "objects/pack/*.pack", truncate(0)) },
		"no pack":       func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "objects/pack/*.pack", removeFile) },
		"garbled index": func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "objects/pack/*.idx", garble) },
		"empty index":   func(t *testing.T, o *opened) { t.Helper(); damageFiles(t, o, "objects/pack/*.idx", truncate(0)) },
		"nothing left":  func(t *testing.T, o *opened) { t.Helper(); removeTree(t, o.mirrorDir()) },
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restarted=%v", name, restarted), func(t *testing.T) {
				t.Parallel()
				// More than a hundred objects come as a pack, few as loose ones.
				o := open(t, func(s *source) {
					for i := range 150 {
						s.write(t, fmt.Sprintf("dir%d/f", i), fmt.Sprintf("file %d\n", i))
					}
				}, func(s *source) { s.write(t, "b", "one") })
				o.push(t, func(s *source) { s.write(t, "b", "two") })
				before := o.merge
				c := o.checkout(t)
				if restarted {
					if err := o.Close(); err != nil {
						t.Fatal(err)
					}
					o.Store = openStore(t, o.data)
				}
				damage(t, o)
				// The first plan may fail where it first reads what is damaged; the next one works.
				if restarted {
					if tree, err := o.Tree(t.Context(), o.src.repo(), o.merge.Tree); err == nil {
						_, _ = tree.ReadFile(t.Context(), "b")
					}
				}
				o.mergeAgain(t)
				if o.merge != before {
					t.Errorf("Merge() = %+v, want %+v", o.merge, before)
				}
				o.push(t, func(s *source) { s.write(t, "c", "c") })
				c = checkoutTwice(t, o, c)
				gitIn(t, c.Root, "fsck", "--full", "--strict", "--no-dangling")
				if got := gitIn(t, c.Root, "status", "--porcelain"); got != "" {
					t.Errorf("status = %q", got)
				}
				if got := len(listing(t, c.Root)); got != 152 {
					t.Errorf("%d files, want 152", got)
				}
			})
		}
	}
}

// checkoutTwice moves a checkout, allowing for one failure that shows the damage.
func checkoutTwice(t *testing.T, o *opened, at Checkout) Checkout {
	t.Helper()
	c, err := o.Checkout(t.Context(), o.src.repo(), 7, "default", o.merge)
	if err != nil {
		t.Logf("the first attempt: %v", err)
		o.mergeAgain(t)
		c = o.checkout(t)
	}
	if c.Root != at.Root {
		t.Errorf("the checkout moved from %s to %s", at.Root, c.Root)
	}
	return c
}

// What only one pull request has must be there for its checkout after another one's rebuild, although it
// lies in the pack that is damaged.
func TestARebuildKeepsWhatOthersUse(t *testing.T) {
	t.Parallel()
	src := newSource(t)
	for i := range 150 {
		src.write(t, fmt.Sprintf("dir%d/f", i), fmt.Sprintf("file %d\n", i))
	}
	src.commit(t)
	src.branch(t, "eight", "main")
	src.write(t, "8", "eight")
	src.commit(t)
	src.pull(t, 8)
	src.branch(t, "head", "main")
	src.write(t, "b", "b")
	src.commit(t)
	src.pull(t, 7)
	o := &opened{src: src, data: t.TempDir()}
	o.Store = openStore(t, o.data)
	eight, err := o.Merge(t.Context(), src.repo(), request(8))
	if err != nil {
		t.Fatal(err)
	}
	c, err := o.Checkout(t.Context(), src.repo(), 8, "default", eight)
	if err != nil {
		t.Fatal(err)
	}
	o.mergeAgain(t)
	src.git(t, "update-ref", "-d", "refs/pull/8/head")
	src.git(t, "branch", "-D", "eight")

	damaged := o.garbleObject(t, src.git(t, "rev-parse", "main:dir0/f"))
	m, err := o.mirror(t.Context(), src.repo())
	if err != nil {
		t.Fatal(err)
	}
	m.suspect.Store(true)
	o.mergeAgain(t)
	if got := gitIn(t, c.Root, "cat-file", "-p", "HEAD:8"); got != "eight" {
		t.Errorf("8 = %q", got)
	}
	if got := gitIn(t, c.Root, "rev-parse", "HEAD^2"); got != eight.Head {
		t.Errorf("HEAD^2 = %s, want %s", got, eight.Head)
	}
	if got := gitIn(t, o.mirrorDir(), "rev-parse", "refs/tidegate/pull/8/merge"); got != eight.Commit {
		t.Errorf("the other's merge ref = %s, want %s", got, eight.Commit)
	}
	if !exists(t, damaged) {
		t.Error("the damaged pack is gone, and with it what only it had")
	}
	if _, err := o.Checkout(t.Context(), src.repo(), 8, "another", eight); err != nil {
		t.Errorf("Checkout() of the other = %v", err)
	}
	c = o.checkout(t)
	if got := readFile(t, filepath.Join(c.Root, "dir0/f")); got != "file 0\n" {
		t.Errorf("dir0/f = %q", got)
	}

	o.mergeAgain(t)
	if m.suspect.Load() {
		t.Error("the mirror is suspect although all there is to read can be read")
	}
}

// A merge reads few objects. What is damaged elsewhere is found by others, who cannot repair it: they do
// not know what to fetch.
func TestDamageThatOthersFindIsRepairedByTheNextMerge(t *testing.T) {
	t.Parallel()
	for name, find := range map[string]func(t *testing.T, o *opened) error{
		"a checkout": func(t *testing.T, o *opened) error {
			t.Helper()
			_, err := o.Checkout(t.Context(), o.src.repo(), 7, "other", o.merge)
			return err
		},
		"a file that is read": func(t *testing.T, o *opened) error {
			t.Helper()
			tree, err := o.Tree(t.Context(), o.src.repo(), o.merge.Tree)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tree.ReadFile(t.Context(), "dir0/f")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, func(s *source) {
				for i := range 150 {
					s.write(t, fmt.Sprintf("dir%d/f", i), fmt.Sprintf("file %d\n", i))
				}
			}, func(s *source) { s.write(t, "b", "b") })
			o.garbleObject(t, o.src.git(t, "rev-parse", "main:dir0/f"))
			if err := find(t, o); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("reading what is damaged = %v, want an error that is not ErrNotExist", err)
			}
			o.mergeAgain(t)
			if err := find(t, o); err != nil {
				t.Errorf("after the next merge: %v", err)
			}
		})
	}
}

// garbleObject changes some bytes of one object in its pack.
func (o *opened) garbleObject(t *testing.T, id string) (pack string) {
	t.Helper()
	damageFiles(t, o, "objects/pack/*.pack", func(path string) error {
		for line := range strings.Lines(gitIn(t, o.mirrorDir(), "verify-pack", "-v", strings.TrimSuffix(path, "pack")+"idx")) {
			fields := strings.Fields(line)
			if len(fields) < 5 || fields[0] != id {
				continue
			}
			pack = path
			at, err := strconv.ParseInt(fields[4], 10, 64)
			if err != nil {
				return err
			}
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = file.WriteAt([]byte("\xff\xff\xff\xff"), at+3)
			return errors.Join(err, file.Close())
		}
		return nil
	})
	if pack == "" {
		t.Fatalf("%s is in no pack", id)
	}
	return pack
}

func TestHostileObjectsAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		// entry is a raw entry of a tree, before the object it names.
		entry   string
		refused bool
	}{
		"a .git":                 {"100644 .git\x00", true},
		"a .git for Windows":     {"100644 git~1\x00", true},
		"a .git for macOS":       {"100644 .g\u200cit\x00", true},
		"a name with a slash":    {"100644 a/b\x00", true},
		"the parent directory":   {"100644 ..\x00", true},
		"the mode of old tools":  {"0100644 a\x00", false},
		"nothing out of the way": {"100644 a\x00", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t, func(s *source) { s.write(t, "a", "a") }, func(*source) {})
			blob, err := hex.DecodeString(o.src.git(t, "rev-parse", "main:a"))
			if err != nil {
				t.Fatal(err)
			}
			o.src.write(t, "raw", test.entry+string(blob))
			tree := o.src.git(t, "hash-object", "-w", "-t", "tree", "--literally", "raw")
			o.src.git(t, "update-ref", "refs/pull/7/head", o.src.git(t, "commit-tree", tree, "-p", "main", "-m", "x"))
			_, err = o.Merge(t.Context(), o.src.repo(), request(7))
			if refused := err != nil; refused != test.refused {
				t.Errorf("Merge() = %v, want refused %v", err, test.refused)
			}
		})
	}
}

func TestTheStoreStops(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(*source) {})
	tree, err := o.Tree(t.Context(), o.src.repo(), o.merge.Tree)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.ReadFile(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	pid := fmt.Sprint(tree.mirror.blobs.proc.cmd.Process.Pid)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if isAlive(pid) {
		t.Error("git cat-file still lives after Close")
	}
	if _, err := tree.ReadFile(t.Context(), "a"); !errors.Is(err, ErrClosed) {
		t.Errorf("ReadFile() after Close = %v, want ErrClosed", err)
	}
}

func TestTheReaderRests(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(*source) {})
	tree, err := o.Tree(t.Context(), o.src.repo(), o.merge.Tree)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := tree.ReadFile(t.Context(), "a"); err != nil || string(got) != "a" {
			t.Fatalf("ReadFile() = %q, %v", got, err)
		}
		r := tree.mirror.blobs
		pid := fmt.Sprint(r.proc.cmd.Process.Pid)
		r.idle.Reset(time.Nanosecond)
		waitForEnd(t, pid)
	}
}
