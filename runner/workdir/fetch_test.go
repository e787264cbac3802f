package workdir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// countingGit is a git that writes the words after "git" into a file before it does its work.
func countingGit(t *testing.T) (bin, record string) {
	t.Helper()
	dir := t.TempDir()
	bin, record = filepath.Join(dir, "git"), filepath.Join(dir, "record")
	real := gitIn(t, dir, "--exec-path") + "/git"
	writeFile(t, bin, "#!/bin/sh\necho \"$1\" >>'"+record+"'\nexec '"+real+"' \"$@\"\n")
	if err := os.Chmod(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	return bin, record
}

func TestWaitingFetchesAreServedTogether(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pulls   []int
		missing int
		fetches int
	}{
		"all there":    {pulls: []int{1, 2, 3, 4, 5}, fetches: 1},
		"one is gone":  {pulls: []int{1, 2, 3, 4, 9}, missing: 9, fetches: 1 + 5},
		"only one":     {pulls: []int{1}, fetches: 1},
		"only one bad": {pulls: []int{9}, missing: 9, fetches: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := newSource(t)
			src.write(t, "a", "a")
			src.commit(t)
			bin, record := countingGit(t)
			s, err := Open(t.Context(), Config{Data: t.TempDir(), Git: bin})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			m, err := s.mirror(t.Context(), src.repo())
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range test.pulls {
				if n != test.missing {
					src.pull(t, n)
				}
			}

			errs := fetchAllAtOnce(t, m, src.repo(), test.pulls)
			for n, err := range errs {
				_, gone := errors.AsType[*RefGoneError](err)
				if gone != (n == test.missing) || !gone && err != nil {
					t.Errorf("fetch(%d) = %v", n, err)
				}
			}
			if got := strings.Count(readFile(t, record), "fetch\n"); got != test.fetches {
				t.Errorf("%d fetches were made, want %d", got, test.fetches)
			}
		})
	}
}

// fetchAllAtOnce lets the fetches begin when all are waiting.
func fetchAllAtOnce(t *testing.T, m *mirror, repo Repo, pulls []int) map[int]error {
	t.Helper()
	type result struct {
		pull int
		err  error
	}
	results := make(chan result)
	m.fetching <- struct{}{}
	for _, n := range pulls {
		go func() {
			specs := []string{"+refs/heads/main:" + ref(n, "base"), "+" + request(n).HeadRef + ":" + ref(n, "head")}
			results <- result{n, m.fetch(t.Context(), repo, specs)}
		}()
	}
	for waiting := 0; waiting < len(pulls); {
		m.mu.Lock()
		waiting = len(m.queue)
		m.mu.Unlock()
	}
	<-m.fetching
	errs := map[int]error{}
	for range pulls {
		r := <-results
		errs[r.pull] = r.err
	}
	return errs
}

func TestAFetchThatIsGivenUpIsNotMade(t *testing.T) {
	t.Parallel()
	src := newSource(t)
	src.write(t, "a", "a")
	src.commit(t)
	s := openStore(t, t.TempDir())
	m, err := s.mirror(t.Context(), src.repo())
	if err != nil {
		t.Fatal(err)
	}
	m.fetching <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.fetch(ctx, src.repo(), []string{"x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("fetch() = %v, want context.Canceled", err)
	}
	<-m.fetching
	if len(m.queue) != 0 {
		t.Errorf("%d fetches are still wanted", len(m.queue))
	}
}

func TestAFetchIsKilledWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin, started := filepath.Join(dir, "git"), filepath.Join(dir, "started")
	real := gitIn(t, dir, "--exec-path") + "/git"
	// A git with a child that holds its output open and does not end by itself.
	writeFile(t, bin, "#!/bin/sh\ntest \"$1\" = fetch || exec '"+real+"' \"$@\"\nmkfifo '"+started+".end'\n"+
		"(cat '"+started+".end') &\necho $! >'"+started+"'\necho now >'"+started+".fifo'\nwait\n")
	if err := os.Chmod(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	gitIn(t, dir, "-c", "alias.f=!mkfifo '"+started+".fifo'", "f")
	src := newSource(t)
	s, err := Open(t.Context(), Config{Data: t.TempDir(), Git: bin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = os.ReadFile(started + ".fifo")
		cancel()
	}()
	if _, err := s.Merge(ctx, src.repo(), request(7)); !errors.Is(err, context.Canceled) {
		t.Errorf("Merge() = %v, want context.Canceled", err)
	}
	pid := strings.TrimSpace(readFile(t, started))
	// It was sent SIGTERM before its pipes were seen closed, but may not be quite gone.
	waitForEnd(t, pid)
}

func waitForEnd(t *testing.T, pid string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for isAlive(pid) {
		if time.Now().After(deadline) {
			t.Fatalf("process %s still lives", pid)
		}
		runtime.Gosched()
	}
}
