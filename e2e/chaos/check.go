package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func (w *world) violated(format string, args ...any) {
	w.said.Lock()
	defer w.said.Unlock()
	w.bad = append(w.bad, fmt.Sprintf(format, args...))
}

// ledger is how often each resource was begun in which temporary directory of a job.
func (w *world) ledger() map[string]map[string]int {
	raw, _ := os.ReadFile(filepath.Join(w.dir, "state", "ledger"))
	out := map[string]map[string]int{}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] != "begin" {
			continue
		}
		if out[f[1]] == nil {
			out[f[1]] = map[string]int{}
		}
		out[f[1]][filepath.Base(f[2])]++
	}
	return out
}

// dirs names the temporary directories of a run's jobs. No pull request here has more than two.
func dirs(run string) []string {
	var out []string
	for n := range 2 {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", run, n+1))
		out = append(out, hex.EncodeToString(sum[:6]))
	}
	return out
}

func (w *world) state(project int) []byte {
	if project%2 == 0 {
		return w.states.State(fmt.Sprint("p", project))
	}
	raw, _ := os.ReadFile(w.stateFile(project))
	return raw
}

// compare holds an answer to apply against what was done, as long as the pull request holds the lock.
func (w *world) compare(pull int, branch string, project int, answer string) {
	res := fmt.Sprintf("%s_p%d", strings.ReplaceAll(branch, "-", "_"), project)
	run := comment{Body: answer}.run()
	began := 0
	for _, dir := range dirs(run) {
		began += w.ledger()[res][dir]
	}
	there := bytes.Contains(w.state(project), []byte(`"`+res+`"`))
	line := headline(answer)
	w.said.Lock()
	groups := w.groups
	w.said.Unlock()
	switch {
	case answer == "":
	case strings.Contains(line, ": applied, 1 add"):
		if began != 1 || !there {
			w.violated("#%d run %s says %q; it began %s %d times, in the state: %v", pull, run, line, res, began, there)
		}
	case strings.Contains(line, "not started"), strings.Contains(line, "not run"):
		if began != 0 {
			w.violated("#%d run %s says %q; it began %s %d times", pull, run, line, res, began)
		}
	case strings.Contains(line, "unknown") && groups == 0:
		w.violated("#%d run %s says %q, and no supervisor was killed", pull, run, line)
	}
}

// check waits until nothing is left to do, and answers what is not as promised.
func (w *world) check(ctx context.Context) []string {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var s struct {
		Queued  int `json:"queued_events"`
		Running int `json:"running_runs"`
		Owed    int `json:"unposted_answers"`
		Locks   int `json:"locks"`
		Waiters int `json:"waiters"`
	}
	w.until(wait, func() bool {
		err := ask(ctx, http.MethodGet, "http://"+w.addr+"/status", "", nil, &s)
		return err == nil && w.forge.Undelivered() == 0 && s.Queued+s.Running+s.Owed+s.Locks+s.Waiters == 0
	})
	if s.Queued+s.Running+s.Owed+s.Locks+s.Waiters != 0 {
		w.violated("all pull requests are closed, and there is still work, a lock or a waiter: %+v", s)
	}
	jobs := w.checkAnswers(ctx)
	for res, by := range w.ledger() {
		for job, n := range by {
			if n > 1 {
				w.violated("the job in %s began %s %d times", job, res, n)
			}
			if !jobs[job] {
				w.violated("%s was begun by the job in %s, of which no answer tells", res, job)
			}
		}
	}
	w.until(wait, func() bool { return len(w.processes()) == 0 })
	for _, p := range w.processes() {
		w.violated("a process is left: %d %s", p.pid, p.cmdline)
	}
	left, _ := filepath.Glob(filepath.Join(w.data(), "checkouts", "*", "*", "*", "*"))
	for _, dir := range left {
		w.violated("a checkout is left: %s", dir)
	}
	w.checkStates()
	w.said.Lock()
	defer w.said.Unlock()
	return w.bad
}

// checkAnswers holds the comments against each other. It answers the directories of the jobs that they tell of.
func (w *world) checkAnswers(ctx context.Context) map[string]bool {
	jobs, found := map[string]bool{}, map[int64]int{}
	for _, pull := range w.pulls {
		list, err := w.comments(ctx, pull)
		if err != nil {
			w.violated("reading the comments of #%d: %v", pull, err)
		}
		seen := map[string]bool{}
		for _, c := range list {
			if c.User.Login != bot {
				continue
			}
			if !c.final() {
				w.violated("#%d has a comment that is no answer: %s", pull, headline(c.Body))
			}
			if run := c.run(); run != "" && seen[run] {
				w.violated("#%d has two answers of run %s", pull, run)
			}
			seen[c.run()] = true
			for _, dir := range dirs(c.run()) {
				jobs[dir] = true
			}
			for _, a := range w.asked {
				if a.pull == pull && c.answers(a.id) {
					found[a.id]++
				}
			}
		}
		w.checkStatuses(ctx, pull)
	}
	for _, a := range w.asked {
		if n := found[a.id]; n != 1 {
			w.violated("%q on #%d (comment %d) has %d answers", a.text, a.pull, a.id, n)
		}
	}
	return jobs
}

// checkStatuses: no plan is pending. An apply may be, as long as something is not applied.
func (w *world) checkStatuses(ctx context.Context, pull int) {
	var pr struct {
		Head struct {
			SHA string `json:"sha"`
		} `json:"head"`
	}
	var all []struct{ State, Context, Description string } // the newest first
	err := w.api(ctx, http.MethodGet, fmt.Sprintf("/pulls/%d", pull), nil, &pr)
	if err == nil {
		err = w.api(ctx, http.MethodGet, "/commits/"+pr.Head.SHA+"/statuses", nil, &all)
	}
	if err != nil {
		w.violated("reading the statuses of #%d: %v", pull, err)
	}
	newest := map[string]bool{}
	for _, s := range all {
		if newest[s.Context] {
			continue
		}
		newest[s.Context] = true
		if s.State == "pending" && (strings.HasSuffix(s.Context, "/plan") || strings.Contains(s.Description, "applying")) {
			w.violated("#%d: the status %s is pending: %s", pull, s.Context, s.Description)
		}
	}
}

// checkStates: every state can be read.
func (w *world) checkStates() {
	for i := range projects {
		if raw := w.state(i); len(raw) > 0 && !json.Valid(raw) {
			w.violated("the state of p%d can't be read", i)
		}
	}
}

// print tells the answers by their kind.
func (w *world) print(ctx context.Context, out io.Writer) {
	kinds := map[string]int{}
	for _, pull := range w.pulls {
		list, _ := w.comments(ctx, pull)
		for _, c := range list {
			if c.final() {
				_, kind, _ := strings.Cut(headline(c.Body), ": ")
				verb, _, _ := strings.Cut(strings.TrimPrefix(headline(c.Body), "### "), " ")
				kind, _, _ = strings.Cut(kind, ", ")
				kind, _, _ = strings.Cut(kind, " for ")
				kind, _, _ = strings.Cut(kind, "[")
				kinds[verb+": "+kind]++
			}
		}
	}
	_, _ = fmt.Fprintf(out, "%d pull requests, %d commands; answers:\n", len(w.pulls), len(w.asked))
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		_, _ = fmt.Fprintf(out, "%6d  %s\n", kinds[kind], kind)
	}
}
