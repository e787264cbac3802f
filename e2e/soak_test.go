package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// soakWorkers work side by side, each on a project of its own.
	soakWorkers = 4
	// What a pull request may leave behind, in bytes of heap, and what may come and go.
	soakGrowth = 1024
	soakSlack  = 5
)

// BenchmarkSoak sends pull requests through the real server, each opened, planned, applied and closed, with a terraform
// that plays back what a real one said. After the first quarter nothing of them may stay in memory. make soak runs it;
// SOAK_PULLS is how many (2000).
func BenchmarkSoak(b *testing.B) {
	pulls, err := strconv.Atoi(cmp.Or(os.Getenv("SOAK_PULLS"), "2000"))
	must(b, err)
	for b.Loop() {
		first, last := soak(b, pulls, func(format string, a ...any) {
			_, _ = fmt.Fprintf(os.Stderr, format+"\n", a...) // what a benchmark logs is shown at its end only
		})
		grown := float64(last.heap-first.heap) / float64(max(last.pulls-first.pulls, 1))
		b.ReportMetric(grown, "B/pull")
		if grown > soakGrowth {
			b.Errorf("the heap grows by %.0f bytes a pull request, want at most %d", grown, soakGrowth)
		}
	}
}

// TestSoak is the soak with so few pull requests that only its working is proved, and that nothing stays open: make
// soak measures the heap.
func TestSoak(t *testing.T) {
	t.Parallel()
	soak(t, 8, t.Logf)
}

// soak sends pull requests through a server, and answers what it used after a quarter of them, and at the end. How far it
// is is said on the way.
func soak(tb testing.TB, pulls int, say func(format string, a ...any)) (first, last usage) {
	tb.Helper()
	w := newBareWorld(tb)
	path := "PATH=" + stubTerraform(tb, w) + ":" + os.Getenv("PATH")
	_, err := w.push("main", filepath.Join(w.dir, "nobody"), "nothing")
	must(tb, err)
	for k := range soakWorkers {
		files := filepath.Join(w.dir, fmt.Sprint("files-", k))
		must(tb, os.MkdirAll(filepath.Join(files, soakProject(k)), 0o755))
		must(tb, os.WriteFile(filepath.Join(files, soakProject(k), "main.tf"), []byte(soakConfig), 0o600))
		_, err = w.push(soakProject(k), files, "change")
		must(tb, err)
	}
	must(tb, w.start(append(w.environ(), path, "GOGC=20"), "--log-level", "warn", "--forge-writes-per-hour", "0"))
	say("%6s %10s %12s %12s %8s", "pulls", "seconds", "live heap", "goroutines", "files")
	began := time.Now()
	for done := 0; done < pulls; {
		n := min(max(pulls/16, soakWorkers), pulls-done)
		must(tb, w.soak(n))
		done += n
		must(tb, w.idle())
		last = w.usage(tb)
		last.pulls = done
		say("%6d %10.0f %12d %12d %8d", done, time.Since(began).Seconds(), last.heap, last.goroutines, last.files)
		if first.pulls == 0 && done*4 >= pulls {
			first = last
		}
	}
	if abs(last.goroutines-first.goroutines) > soakSlack || abs(last.files-first.files) > soakSlack {
		tb.Errorf("goroutines went from %d to %d, files from %d to %d", first.goroutines, last.goroutines, first.files, last.files)
	}
	return first, last
}

func abs(n int) int { return max(n, -n) }

func soakProject(k int) string { return fmt.Sprint("project-", k) }

const soakConfig = `terraform {
  backend "local" {
    path = "@STATE@/soak.tfstate"
  }
}
resource "terraform_data" "one" {
  input = "one"
}
`

// stubTerraform builds the stub with what the real terraform says and writes, and answers its directory.
func stubTerraform(tb testing.TB, w *world) string {
	tb.Helper()
	bin, tree := filepath.Join(w.dir, "stub"), filepath.Join(w.dir, "recording")
	for _, dir := range []string{bin, tree} {
		must(tb, os.MkdirAll(dir, 0o755))
	}
	must(tb, os.WriteFile(filepath.Join(tree, "main.tf"), []byte(strings.ReplaceAll(soakConfig, "@STATE@", tree)), 0o600))
	record := func(to string, args ...string) {
		cmd := exec.CommandContext(tb.Context(), "terraform", args...)
		cmd.Dir = tree
		out, err := cmd.Output()
		if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 2) {
			tb.Fatalf("terraform %v: %v", args, err)
		}
		must(tb, os.WriteFile(filepath.Join(bin, to), out, 0o600))
	}
	record("init.txt", "init", "-no-color", "-input=false")
	record("plan.txt", "plan", "-no-color", "-input=false", "-detailed-exitcode", "-out="+filepath.Join(bin, "plan.file"))
	record("apply.txt", "apply", "-json", "-input=false", filepath.Join(bin, "plan.file"))
	out, err := exec.CommandContext(tb.Context(), "go", "build", "-o", filepath.Join(bin, "terraform"), "./internal/stubterraform").CombinedOutput()
	if err != nil {
		tb.Fatalf("building the stub: %v\n%s", err, out)
	}
	return bin
}

// soak sends so many pull requests through the server.
func (w *world) soak(n int) error {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	errs := make([]error, soakWorkers)
	for k := range soakWorkers {
		wg.Go(func() {
			for left.Add(-1) >= 0 && errs[k] == nil {
				errs[k] = w.soakOne(soakProject(k))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// soakOne carries one pull request from its opening to its end.
func (w *world) soakOne(branch string) error {
	var pull struct{ Number int }
	if _, err := w.api(ana, http.MethodPost, repoPath("/pulls"), map[string]any{"title": "Change " + branch, "head": branch, "base": "main"}, &pull); err != nil {
		return err
	}
	if err := w.planAndApply(pull.Number, branch); err != nil {
		return err
	}
	n := strconv.Itoa(pull.Number)
	if err := cmdSet(nil, w, []string{n, "state=closed"}); err != nil {
		return err
	}
	return w.until("the lock of #"+n+" to be free", func() (bool, error) {
		_, page, err := w.get("/locks")
		return err == nil && !strings.Contains(page, "<code>"+branch+"</code>"), err
	})
}

// planAndApply lets a pull request that was just opened be planned and applied.
func (w *world) planAndApply(pull int, project string) error {
	if err := w.says(pull, 1, "Plan for `"+project+"`: 1 add"); err != nil {
		return err
	}
	if err := cmdComment(nil, w, []string{strconv.Itoa(pull), ana, "apply"}); err != nil {
		return err
	}
	return w.says(pull, 2, "applied")
}

// says waits until a pull request has so many answers, the last of them with a text.
func (w *world) says(pull, count int, text string) error {
	return w.until(fmt.Sprint(text, " on #", pull), func() (bool, error) {
		all, err := w.answers(pull)
		if err != nil || len(all) < count {
			return false, err
		}
		if !strings.Contains(all[count-1].Body, text) {
			return false, fmt.Errorf("#%d is answered with %s", pull, all[count-1].Body)
		}
		return true, nil
	})
}

// usage is what the server uses.
type usage struct {
	pulls, heap, goroutines, files int
}

// usage reads what the server uses when it does nothing: the least of some looks, after the garbage is collected.
func (w *world) usage(tb testing.TB) usage {
	tb.Helper()
	least := usage{heap: 1 << 40, goroutines: 1 << 20, files: 1 << 20}
	var collected float64
	must(tb, w.until("the garbage to be collected", func() (bool, error) {
		_, page, err := w.get("/metrics")
		if err != nil {
			return false, err
		}
		figure := func(name string) float64 {
			_, rest, _ := strings.Cut(page, "\n"+name+" ")
			line, _, _ := strings.Cut(rest, "\n")
			v, err := strconv.ParseFloat(line, 64)
			must(tb, err)
			return v
		}
		cycles := figure("go_gc_duration_seconds_count")
		if collected == 0 {
			collected = cycles
		}
		least.heap = min(least.heap, int(figure("go_gc_heap_live_bytes")))
		least.goroutines = min(least.goroutines, int(figure("go_goroutines")))
		least.files = min(least.files, int(figure("process_open_fds")))
		return cycles >= collected+4, fmt.Errorf("%v collections", cycles-collected)
	}))
	return least
}
