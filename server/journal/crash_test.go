package journal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/server/journal"
)

// A child process of a crash test finds its orders here.
const (
	envChild = "JOURNAL_TEST_CHILD"
	envFile  = "JOURNAL_TEST_FILE"
	envRound = "JOURNAL_TEST_ROUND"
)

func TestMain(m *testing.M) {
	children := map[string]func(path, round string) error{
		"append": appendForEver, "die at": dieAt, "full": fillUp,
	}
	child, is := children[os.Getenv(envChild)]
	if !is {
		os.Exit(m.Run())
	}
	if err := child(os.Getenv(envFile), os.Getenv(envRound)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func openChild(path string, o journal.Options) (*journal.Journal, *bbolt.DB, error) {
	db, err := journal.OpenFile(path, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	j, err := journal.OpenWith(db, o)
	return j, db, err
}

// start runs this test binary as a child. Its output can be read until it is dead.
func start(t *testing.T, child, path, round string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	ok(t, err)
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), envChild+"="+child, envFile+"="+path, envRound+"="+round)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	return c, bufio.NewReader(out)
}

// payload is what a writer appends: long enough to tear, and known from its key.
func payload(key string) string { return strings.Repeat(key+" ", 40+len(key)*7) }

// appendForEver appends from 8 goroutines and says "key seq" for each event when it is told that it is
// on disk; every third event gets a run with a job, which is said as "run id".
func appendForEver(path, round string) error {
	j, _, err := openChild(path, journal.Options{})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	say := func(what string, v any) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := fmt.Printf("%s %v\n", what, v)
		return err
	}
	errs := make(chan error, 8)
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				if err := appendOne(j, fmt.Sprintf("%s/%d/%d", round, w, i), i%3 == 0, say); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	return <-errs
}

func appendOne(j *journal.Journal, key string, withRun bool, say func(string, any) error) error {
	ctx := context.Background()
	ev := event(1)
	ev.Sender = payload(key)
	seq, _, err := j.AddEvent(ctx, ev, key)
	if err != nil {
		return err
	}
	if err := say(key, seq); err != nil {
		return err
	}
	if !withRun {
		return nil
	}
	r := run(j, 1, seq)
	r.Line = payload(r.ID)
	if err := j.CreateRun(ctx, r, []journal.Job{job(r, 1), job(r, 2)}); err != nil {
		return err
	}
	return say("run", r.ID)
}

// TestKilled kills a process that appends, over and over on one file, after a number of
// acknowledgements. Everything that was acknowledged is there, and nothing is there by half.
func TestKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	r := rand.New(rand.NewPCG(7, 7))
	acked := map[string]string{} // key to seq, run id to ""
	for round := range 15 {
		c, out := start(t, "append", path, strconv.Itoa(round))
		after := 1 + r.IntN(120)
		n := 0
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				break // all that it said before it died was read
			}
			what, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if what == "run" {
				what, v = v, ""
			}
			acked[what] = v
			if n++; n == after {
				ok(t, c.Process.Kill())
			}
		}
		if err := c.Wait(); err == nil || n < after {
			t.Fatalf("round %d: the child ended by itself after %d acknowledgements: %v", round, n, err)
		}
		checkAcked(t, path, acked)
		if t.Failed() {
			t.Fatalf("in round %d, after %d acknowledgements", round, n)
		}
	}
}

func checkAcked(t *testing.T, path string, acked map[string]string) {
	t.Helper()
	j, db, err := openChild(path, journal.Options{})
	ok(t, err)
	events, err := j.Queued(t.Context())
	ok(t, err)
	runs, err := j.Runs(t.Context(), journal.Filter{})
	ok(t, err)
	byKey, byRun := map[string]string{}, map[string]bool{}
	for i, ev := range events {
		key, _, _ := strings.Cut(ev.Event.Sender, " ")
		if ev.Seq != uint64(i+1) || ev.Event.Sender != payload(key) {
			t.Errorf("event %d at place %d is torn: %.40q", ev.Seq, i+1, ev.Event.Sender)
		}
		byKey[key] = strconv.FormatUint(ev.Seq, 10)
	}
	for _, r := range runs {
		byRun[r.ID] = true
		jobs, err := j.Jobs(t.Context(), r.ID)
		ok(t, err)
		of, found, err := j.RunOf(t.Context(), r.Event)
		ok(t, err)
		if len(jobs) != 2 || !found || of.ID != r.ID || r.Line != payload(r.ID) {
			t.Errorf("run %s is torn: %d jobs, bound to its event: %v", r.ID, len(jobs), found && of.ID == r.ID)
		}
	}
	for what, seq := range acked {
		if seq == "" && !byRun[what] || seq != "" && byKey[what] != seq {
			t.Errorf("%s %s was acknowledged and is not there", what, seq)
		}
	}
	c, err := j.Counts(t.Context())
	ok(t, err)
	if c.Keys != c.Events || c.Queued != c.Events || c.Running != c.Runs || c.Jobs != 2*c.Runs {
		t.Errorf("indexes and records differ: %+v", c)
	}
	ok(t, errors.Join(j.Close(), db.Close()))
}

// dieAt kills itself at a failpoint of its second event.
func dieAt(path, point string) error {
	n := 0
	j, _, err := openChild(path, journal.Options{Hook: func(p string) {
		if p != point {
			return
		}
		if n++; n == 2 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	if err != nil {
		return err
	}
	for _, key := range []string{"a", "b"} {
		if _, _, err := j.AddEvent(context.Background(), event(1), key); err != nil {
			return err
		}
	}
	return errors.New("still alive")
}

func TestDiesAtFailpoints(t *testing.T) {
	t.Parallel()
	for point, events := range map[string]int{journal.BeforeCommit: 1, journal.AfterCommit: 2} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tidegate.db")
			c, out := start(t, "die at", path, point)
			_, err := io.Copy(io.Discard, out)
			ok(t, err)
			exit := new(exec.ExitError)
			if err := c.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child: %v, want it killed", err)
			}
			j := openWith(t, path, journal.Options{})
			q, err := j.Queued(t.Context())
			if err != nil || len(q) != events {
				t.Errorf("Queued() = %d, %v, want %d", len(q), err, events)
			}
			// The forge sends again what was not acknowledged: it is there once.
			if seq, added, err := j.AddEvent(t.Context(), event(1), "b"); seq != 2 || added != (events == 1) || err != nil {
				t.Errorf("AddEvent(b) again = %d, %v, %v, want 2, %v", seq, added, err, events == 1)
			}
		})
	}
}

// fillUp writes until there is no room, looks whether what is there can still be read, makes room, and
// goes on. It says each seq that was acknowledged.
func fillUp(path, _ string) error {
	j, db, err := openChild(path, journal.Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	write := func(i int) error {
		ev := event(i)
		ev.Sender = strings.Repeat("x", 4000)
		seq, _, err := j.AddEvent(ctx, ev, strconv.Itoa(i))
		if err == nil {
			fmt.Println(seq)
		}
		return err
	}
	var limit, full syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	full = limit
	full.Cur = 256 << 10
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		return err
	}
	i := 0
	for err == nil {
		i++
		err = write(i)
	}
	// bbolt does not wrap the system's error.
	if !strings.Contains(err.Error(), syscall.EFBIG.Error()) {
		return fmt.Errorf("the first write without room: %w", err)
	}
	if q, err := j.Queued(ctx); err != nil || len(q) != i-1 {
		return fmt.Errorf("%d queued without room, want %d: %w", len(q), i-1, err)
	}
	long := report("long", 1)
	long.Body = strings.Repeat("x", 300<<10)
	if err := j.PutReport(ctx, long); !errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("a long text without room: %w", err)
	}
	if left, err := os.ReadDir(filepath.Join(filepath.Dir(path), "reports")); err != nil || len(left) != 0 {
		return fmt.Errorf("half of a text was left behind: %v, %w", left, err)
	}
	// Many at once: each is told, none hangs, none is believed.
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			if err := write(10_000 + n); err == nil {
				fmt.Println("a write without room was acknowledged")
			}
		})
	}
	wg.Wait()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for n := range 50 {
		if err := write(i + n); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	return errors.Join(j.Close(), db.Close())
}

// TestFull: a full disk is an error, not an end.
func TestFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidegate.db")
	c, out := start(t, "full", path, "")
	n := 0
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			break
		}
		if n++; line != strconv.Itoa(n)+"\n" {
			t.Errorf("the child says %q, want %d", line, n)
		}
	}
	ok(t, c.Wait())
	j := openWith(t, path, journal.Options{})
	q, err := j.Queued(t.Context())
	if err != nil || len(q) != n || n < 60 {
		t.Errorf("Queued() = %d, %v, want the %d that were acknowledged", len(q), err, n)
	}
}
