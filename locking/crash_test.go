package locking_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/locking"
)

// A child process of the crash test finds its orders here.
const (
	envFile = "LOCKING_CRASH_FILE"
	envSeed = "LOCKING_CRASH_SEED"
	envFrom = "LOCKING_CRASH_FROM"
)

func TestMain(m *testing.M) {
	if os.Getenv(envFile) == "" {
		os.Exit(m.Run())
	}
	run := child
	if os.Getenv(envSeed) == "" {
		run = fillUp
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// fillUp takes locks until there is no room, looks at what is there, makes room and goes on. It says how
// many locks it was told that it has.
func fillUp() error {
	db, err := bbolt.Open(os.Getenv(envFile), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return err
	}
	s, err := locking.Open(db)
	if err != nil {
		return err
	}
	ctx := context.Background()
	take := func(n int) error {
		_, err := s.Acquire(ctx, locking.Request{Pull: pull(1), Keys: keys(fmt.Sprint("d", n)), Run: strings.Repeat("r", 3000)})
		return err
	}
	var limit, full syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	full = limit
	full.Cur = 128 << 10
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		return err
	}
	n := 0
	for take(n) == nil {
		n++
	}
	held, err := s.Locks(ctx)
	if err != nil || len(held) != n {
		return fmt.Errorf("%d locks without room, want %d: %w", len(held), n, err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for i := range 5 {
		if err := take(n + i); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	_, err = fmt.Println(n + 5)
	return err
}

// TestFull: without room a lock is refused, and none that was taken is lost.
func TestFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "locks.db")
	exe, err := os.Executable()
	ok(t, err)
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), envFile+"="+path)
	c.Stderr = os.Stderr
	out, err := c.Output()
	ok(t, err)
	s, err := locking.Open(openDB(t, path))
	ok(t, err)
	held, err := s.Held(t.Context(), pull(1))
	if n, _ := strconv.Atoi(strings.TrimSpace(string(out))); err != nil || len(held) != n || n < 10 {
		t.Errorf("%d locks, %v, want the %d that were acknowledged", len(held), err, n)
	}
}

// child carries random operations out for ever and says the number of each when it is done.
func child() error {
	seed, err := strconv.ParseUint(os.Getenv(envSeed), 10, 64)
	if err != nil {
		return err
	}
	from, err := strconv.Atoi(os.Getenv(envFrom))
	if err != nil {
		return err
	}
	db, err := bbolt.Open(os.Getenv(envFile), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return err
	}
	s, err := locking.Open(db)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 2))
	for i := 0; ; i++ {
		o := randomOp(r)
		if i < from {
			continue
		}
		if _, err := do(context.Background(), s, o); err != nil {
			return err
		}
		if _, err := fmt.Println(i + 1); err != nil {
			return err
		}
	}
}

// TestKilled kills a process in the middle of its work, over and over on one file. What it was told
// is there; of what it was not told, all or nothing; and the audit tells the same story as the locks.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "locks.db")
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 3))
	done := 0
	for round := range 15 {
		acked := killed(t, path, seed, done, 1+r.IntN(30))
		db := openDB(t, path)
		s, err := locking.Open(db)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		done = acked
		after := state(t, s)
		if !after.equal(replay(seed, done)) {
			done++ // carried out, and killed before it was told
			if !after.equal(replay(seed, done)) {
				t.Fatalf("round %d: after %d acknowledged operations the state is %+v, want %+v or one more",
					round, acked, after, replay(seed, acked))
			}
		}
		checkAudit(t, s, after)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killed lets a child work from an operation on, kills it after some acknowledgements, and answers
// how many operations were acknowledged in all.
func killed(t *testing.T, path string, seed uint64, from, acks int) int {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), envFile+"="+path, envSeed+"="+strconv.FormatUint(seed, 10), envFrom+"="+strconv.Itoa(from))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	last := from
	lines := bufio.NewReader(out)
	for n := 1; ; n++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what it told before it died was read to the end
		}
		if last, err = strconv.Atoi(line[:len(line)-1]); err != nil {
			t.Fatal(err)
		}
		if n == acks {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Wait(); err == nil || last < from+acks {
		t.Fatalf("the child ended by itself after %d: %v", last, err)
	}
	return last
}

func replay(seed uint64, n int) *model {
	r := rand.New(rand.NewPCG(seed, 2))
	m := newModel()
	for range n {
		m.do(randomOp(r))
	}
	return m
}

// checkAudit tells the locks and the line once more from the audit alone.
func checkAudit(t *testing.T, s *locking.Store, want *model) {
	t.Helper()
	all, err := s.Audit(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(all)
	told := newModel()
	for _, e := range all {
		at := told.find(e.Pull, e.Key)
		switch e.What {
		case locking.Acquired:
			told.holds[e.Key] = e.Pull
			told.leave(e.Pull, []locking.Key{e.Key})
		case locking.Released:
			delete(told.holds, e.Key)
		case locking.Waiting:
			told.line = append(told.line, spot{key: e.Key, pull: e.Pull})
		case locking.Left:
			told.line = slices.Delete(told.line, at, at+1)
		case locking.Skipped, locking.Resumed:
			told.line[at].skipped = e.What == locking.Skipped
		}
	}
	if !told.equal(want) {
		t.Errorf("the audit tells %+v, the locks say %+v", told, want)
	}
}
