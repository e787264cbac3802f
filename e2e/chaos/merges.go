package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// merge is one that the server has asked the forge for, with what there was just before.
type merge struct {
	pull     int
	sha      string   // that is to be merged
	promised bool     // an answer that tells of it stood there
	last     int64    // the newest comment there
	statuses []status // of the commit, the newest first
	undone   []string // what would be merged and is not in the state, or the other way round
	status   int      // what the forge answered, whether that came through or not
}

func (m merge) done() bool { return m.status == http.StatusOK }

// What is said of merging.
const (
	mergedNext = "this is merged into `main` next"
	notMerged  = "### Everything is applied, but this is not merged"
)

func (c comment) promisesMerge() bool { return c.final() && strings.Contains(c.Body, mergedNext) }

var refusedOf = regexp.MustCompile(` run=merge_[0-9]+_([0-9A-Z]{26}) `)

// refuses answers the run after which it is told that a pull request is not merged; "" of any other comment.
func (c comment) refuses() string {
	if m := refusedOf.FindStringSubmatch(c.Body); c.final() && m != nil && headline(c.Body) == notMerged {
		return m[1]
	}
	return ""
}

// merges: what the server merges is applied, to the letter, after its answer and its statuses; it is merged once, and told of
// truly, once.
func (v *verdict) merges(f facts) {
	by := map[int]merge{}
	for _, m := range f.merges {
		if !m.done() {
			continue
		}
		if _, twice := by[m.pull]; twice {
			v.violated("#%d was merged twice", m.pull)
		}
		by[m.pull] = m
		v.mergedWell(m)
	}
	for _, pull := range slices.Sorted(maps.Keys(f.comments)) {
		told := map[string]bool{}
		for _, c := range f.comments[pull] {
			run := c.refuses()
			if run == "" {
				continue
			}
			if told[run] {
				v.violated("#%d is told twice that it is not merged after run %s", pull, run)
			}
			told[run] = true
			if m, ok := by[pull]; ok && c.ID > m.last {
				v.violated("#%d is told that it is not merged after run %s, and it was", pull, run)
			}
		}
	}
}

// mergedWell holds a merge against what there was before it.
func (v *verdict) mergedWell(m merge) {
	if !m.promised {
		v.violated("#%d was merged before an answer told of it", m.pull)
	}
	if m.sha == "" {
		v.violated("#%d was merged at whatever commit it was", m.pull)
	}
	for _, what := range m.undone {
		v.violated("#%d was merged at %s, and %s", m.pull, m.sha, what)
	}
	for _, context := range []string{"tidegate/plan", "tidegate/apply"} {
		i := slices.IndexFunc(m.statuses, func(s status) bool { return s.Context == context })
		if i < 0 || m.statuses[i].State != "success" {
			v.violated("#%d was merged when its status %s was no success", m.pull, context)
		}
	}
}

// kept: what was to be merged is merged in the end, or it is told why not, unless somebody has closed it.
func (v *verdict) kept(f facts) {
	for _, pull := range f.pulls {
		for _, run := range f.unmerged(pull) {
			v.violated("#%d was to be merged after run %s; it is %s, and nothing tells why", pull, run, f.ended[pull])
		}
	}
	for _, m := range f.merges {
		if m.done() && f.branchesLeft[m.pull] == m.sha {
			v.violated("#%d is merged, and its branch is there", m.pull)
		}
	}
}

// unmerged are the runs that tell of a merge that has not come, on a pull request that is open.
func (f facts) unmerged(pull int) []string {
	if f.ended[pull] != "open" {
		return nil
	}
	var out []string
	for _, c := range f.stood[pull] {
		if c.promisesMerge() && !slices.ContainsFunc(f.stood[pull], func(other comment) bool { return other.refuses() == c.run() }) {
			out = append(out, c.run())
		}
	}
	return out
}

// byServer reports whether the server has merged a pull request.
func (f facts) byServer(pull int) bool {
	return slices.ContainsFunc(f.merges, func(m merge) bool { return m.pull == pull && m.done() })
}

var mergeOf = regexp.MustCompile(`/pulls/([0-9]+)/merge$`)

// watched stands before the forge and keeps what there is when the server has something merged.
func (w *world) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		at := mergeOf.FindStringSubmatch(req.URL.Path)
		if req.Method != http.MethodPut || at == nil || !strings.HasSuffix(req.Header.Get("Authorization"), " "+bot+"-token") {
			next.ServeHTTP(rw, req)
			return
		}
		body, err := io.ReadAll(req.Body)
		var in struct {
			SHA string `json:"sha"`
		}
		if err != nil || json.Unmarshal(body, &in) != nil {
			http.Error(rw, "no JSON", http.StatusBadRequest)
			return
		}
		m := merge{sha: in.SHA}
		m.pull, _ = strconv.Atoi(at[1])
		ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), w.patience) // who asks may be killed
		defer cancel()
		if err := w.before(ctx, &m); err != nil {
			w.trouble("looking at #%d before it is merged: %v", m.pull, err)
		}
		req = req.Clone(ctx)
		req.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(&answered{rw, &m.status}, req)
		w.said.Lock()
		defer w.said.Unlock()
		w.facts.merges = append(w.facts.merges, m)
	})
}

// answered keeps the status of an answer.
type answered struct {
	http.ResponseWriter
	status *int
}

func (a *answered) WriteHeader(status int) {
	*a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answered) Write(p []byte) (int, error) {
	if *a.status == 0 {
		*a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// before adds what there is before a merge.
func (w *world) before(ctx context.Context, m *merge) error {
	list, err := w.comments(ctx, m.pull)
	if err != nil {
		return err
	}
	for _, c := range list {
		m.last = max(m.last, c.ID)
		m.promised = m.promised || c.promisesMerge()
	}
	if m.statuses, err = w.statusesAt(ctx, m.sha); err != nil {
		return err
	}
	changed, err := w.bare(ctx, "diff", "--name-only", "main..."+m.sha)
	if err != nil {
		return err
	}
	touched := map[string]bool{}
	for file := range strings.Lines(changed) {
		dir, _, _ := strings.Cut(file, "/")
		touched[dir] = true
	}
	for i := range projects {
		if !touched[projectName(i)] {
			continue
		}
		files, err := w.bare(ctx, "ls-tree", "-r", "--name-only", m.sha, projectName(i)+"/")
		if err != nil {
			return err
		}
		onMain, err := w.bare(ctx, "ls-tree", "-r", "--name-only", "main", projectName(i)+"/")
		if err != nil {
			return err
		}
		m.undone = append(m.undone, undone(projectName(i), files+onMain, w.state(i), w.ledger())...)
	}
	return nil
}

// bare asks the forge's own repository.
func (w *world) bare(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", append([]string{"--git-dir", filepath.Join(w.dir, "forge", owner, name+".git")}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %v: %w\n%s", args, err, out)
	}
	return string(out), nil
}

// undone is what keeps a project's state from being what the files of a commit make, one a line. That something has come to its end is not
// asked for: terraform keeps what it makes before its provisioners run, and one that is killed then has it in the state as made.
func undone(project, files string, state []byte, ledger []line) []string {
	var out []string
	wanted := map[string]bool{}
	for file := range strings.Lines(files) {
		res := strings.TrimSuffix(filepath.Base(strings.TrimSpace(file)), ".tf")
		if strings.HasSuffix(res, "_"+project) {
			wanted[res] = true
		}
	}
	var s struct {
		Resources []struct {
			Name      string `json:"name"`
			Instances []struct {
				Status string `json:"status"`
			} `json:"instances"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(state, &s); err != nil {
		return []string{fmt.Sprintf("the state of %s can't be read: %v", project, err)}
	}
	made := map[string]bool{}
	for _, r := range s.Resources {
		made[r.Name] = len(r.Instances) > 0 && r.Instances[0].Status != "tainted"
		if !wanted[r.Name] {
			out = append(out, fmt.Sprintf("%s is still in the state of %s", r.Name, project))
		}
	}
	for _, res := range slices.Sorted(maps.Keys(wanted)) {
		if !made[res] || !slices.ContainsFunc(ledger, func(l line) bool { return l.what == "begin" && l.resource == res }) {
			out = append(out, fmt.Sprintf("%s is not applied in %s", res, project))
		}
	}
	return out
}
