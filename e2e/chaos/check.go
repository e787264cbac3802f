package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// verdict collects what is not as promised.
type verdict []string

func (v *verdict) violated(format string, args ...any) { *v = append(*v, fmt.Sprintf(format, args...)) }

// judge answers what is not as promised when all is over.
func judge(f facts) []string {
	var v verdict
	for _, t := range f.trouble {
		v.violated("%s", t)
	}
	v.answers(f, true)
	v.once(f, true)
	for _, c := range f.claims {
		v.claim(f, c)
	}
	v.merges(f)
	v.kept(f)
	v.locks(f)
	v.remains(f)
	return v
}

// soon answers what is not as promised whatever may come yet.
func soon(f facts) []string {
	var v verdict
	v.answers(f, false)
	v.once(f, false)
	for _, c := range f.claims {
		v.claim(f, c)
	}
	v.merges(f)
	return v
}

// answers: each command has one, and so has each run. What is no answer has gone when all is over.
func (v *verdict) answers(f facts, over bool) {
	for _, a := range f.asked {
		n := 0
		for _, c := range f.comments[a.pull] {
			if c.answers(a.id) {
				n++
			}
		}
		if n > 1 || n == 0 && over {
			v.violated("%q on #%d (comment %d) has %d answers", a.text, a.pull, a.id, n)
		}
	}
	for _, pull := range f.pulls {
		if over && f.unplanned(pull) {
			v.violated("#%d was open for long, and no answer tells of a plan", pull)
		}
		v.runs(f, pull, over)
	}
}

// runs: no run has two answers on a pull request, and none is a fault of ours. A plan changes nothing: whoever is killed, it is made
// once more.
func (v *verdict) runs(f facts, pull int, over bool) {
	seen := map[string]bool{}
	for _, c := range f.comments[pull] {
		if c.User.Login != bot || !c.final() && !over {
			continue
		}
		if !c.final() {
			v.violated("#%d has a comment that is no answer: %s", pull, headline(c.Body))
		}
		run := c.run()
		plan := strings.HasPrefix(headline(c.Body), "### Plan")
		if strings.Contains(c.Body, "internal error") && (plan || !f.killed[run]) {
			v.violated("#%d run %s ended with an internal error: %s", pull, run, headline(c.Body))
		}
		if run != "" && seen[run] {
			v.violated("#%d has two answers of run %s", pull, run)
		}
		seen[run] = true
	}
}

// once: no job began the same thing twice, no resource was made twice, and in the end an answer tells of each job.
func (v *verdict) once(f facts, over bool) {
	told := map[string]bool{}
	for _, list := range f.comments {
		for _, c := range list {
			if c.final() {
				for _, job := range jobs(c.run()) {
					told[job] = true
				}
			}
		}
	}
	began, ended := map[line]int{}, map[string]int{}
	for _, l := range f.ledger {
		if l.what == "end" {
			ended[l.resource]++
			continue
		}
		began[l]++
		if n := began[l]; n > 1 {
			v.violated("the job in %s began %s %d times", l.job, l.resource, n)
		}
		if over && !told[l.job] {
			v.violated("%s was begun by the job in %s, of which no answer tells", l.resource, l.job)
		}
	}
	for res, n := range ended {
		if n > 1 && over && !f.tornFor(res) {
			v.violated("%s was made %d times, and nobody was killed while it was", res, n)
		}
	}
}

// tornFor: somebody was killed, or it was cancelled, while the resource was made, so that no state may know of
// it, and a person has asked again.
func (f facts) tornFor(res string) bool {
	torn := maps.Clone(f.killed)
	for _, c := range f.claims {
		if strings.HasPrefix(c.word, "interrupted") {
			torn[c.run] = true
		}
	}
	for _, l := range f.ledger {
		for run := range torn {
			if l.resource == res && slices.Contains(jobs(run), l.job) {
				return true
			}
		}
	}
	return false
}

// claim holds a word about a project against what was done.
func (v *verdict) claim(f facts, c claim) {
	says := fmt.Sprintf("#%d run %s says of %s %q", c.pull, c.run, c.project, c.word)
	switch {
	case strings.HasPrefix(c.word, "applied"):
		// What an earlier run made, whose end nobody saw, is in the state: then others' resources were left to apply.
		before := c.began == 0 && c.there && f.tornFor(c.resource)
		if c.began != 1 && !before || !c.there && !c.late {
			v.violated("%s; it began %d times, in the state: %v", says, c.began, c.there)
		}
	case strings.HasPrefix(c.word, "not started"), strings.HasPrefix(c.word, "not run"), strings.HasPrefix(c.word, "cancelled"):
		if c.began != 0 {
			v.violated("%s; it began %d times", says, c.began)
		}
	case strings.HasPrefix(c.word, "unknown"):
		if !f.killed[c.run] {
			v.violated("%s, and nobody killed who watched it", says)
		}
	}
}

// locks: when people had left, each project was locked by the open pull request that needs it, and by no other.
func (v *verdict) locks(f facts) {
	needed := map[string]int{}
	for _, pull := range f.pulls {
		if !f.open(pull) {
			continue
		}
		for project := range needs(f.stood[pull]) {
			if by := needed[project]; by != 0 {
				v.violated("#%d and #%d both were told that they hold %s", by, pull, project)
			}
			needed[project] = pull
		}
	}
	for project, pull := range needed {
		if f.held[project] != pull {
			v.violated("#%d needs %s, which is locked by #%d (0: nobody)", pull, project, f.held[project])
		}
	}
	for project, pull := range f.held {
		switch {
		case f.ended[pull] == "merged", f.ended[pull] == "closed":
			v.violated("#%d is %s, and holds %s", pull, f.ended[pull], project)
		case needed[project] == 0:
			v.violated("#%d holds %s, for which no answer on it tells of a plan or an apply", pull, project)
		}
	}
}

var changes = regexp.MustCompile(`^[0-9]+ (?:add|change|destroy|replace)`)

// unchanged is where a plan lists what it does not change.
var unchanged = regexp.MustCompile("(?m)^(?:Without changes \\([0-9]+\\): .*|`p[0-9]+`.* already match.*)$")

// untouched are the ends of an apply that has changed nothing.
var untouched = regexp.MustCompile(`^(?:not started|waiting|cancelled|failed)`)

var named = regexp.MustCompile("`(p[0-9]+)`")

// needs are the projects that a pull request holds, by its answers: what is planned and changes something, and
// what is planned and an apply has touched. An unlock lets go of both, until the next plan.
func needs(list []comment) map[string]bool {
	ready, touched := map[string]bool{}, map[string]bool{}
	for _, c := range list {
		first := headline(c.Body)
		switch {
		case !c.final():
		case strings.HasPrefix(first, "### Unlocked"):
			clear(ready)
		case strings.HasPrefix(first, "### Plan "):
			for _, line := range unchanged.FindAllString(c.Body, -1) {
				for _, m := range named.FindAllStringSubmatch(line, -1) {
					ready[m[1]] = false
				}
			}
			for project, word := range c.words() {
				ready[project] = strings.HasPrefix(word, "ready") || changes.MatchString(word)
			}
		case strings.HasPrefix(first, "### Apply for "):
			for project, word := range c.words() {
				if !untouched.MatchString(word) {
					touched[project] = true
				}
			}
		}
	}
	out := map[string]bool{}
	for project, yes := range ready {
		if yes || touched[project] {
			out[project] = true
		}
	}
	return out
}

// remains: when all is closed there is nothing to do, no process, checkout, lock or pending status.
func (v *verdict) remains(f facts) {
	if f.left != (figures{}) {
		v.violated("all pull requests are closed, and there is still work, a lock or a waiter: %+v", f.left)
	}
	for _, p := range f.processes {
		v.violated("a process is left: %s", p)
	}
	for _, dir := range f.checkouts {
		v.violated("a checkout is left: %s", dir)
	}
	for _, l := range f.stateLocks {
		v.violated("a state is locked: %s", l)
	}
	for project, raw := range f.states {
		if len(raw) > 0 && !json.Valid(raw) {
			v.violated("the state of %s can't be read", project)
		}
	}
	for pull, all := range f.statuses {
		newest := map[string]bool{}
		for _, s := range all {
			if newest[s.Context] {
				continue
			}
			newest[s.Context] = true
			if s.State == "pending" && (f.byServer(pull) || strings.HasSuffix(s.Context, "/plan") || strings.Contains(s.Description, "applying")) {
				v.violated("#%d: the status %s is pending: %s", pull, s.Context, s.Description)
			}
		}
	}
}

// kinds counts the answers by what they say.
func (f facts) kinds() map[string]int {
	out := map[string]int{}
	for _, list := range f.comments {
		for _, c := range list {
			if !c.final() {
				continue
			}
			verb, kind, _ := strings.Cut(strings.TrimPrefix(headline(c.Body), "### "), ":")
			verb, _, _ = strings.Cut(verb, " for ")
			for _, end := range []string{", ", " for ", "[", " `"} {
				kind, _, _ = strings.Cut(kind, end)
			}
			if words := c.words(); len(words) > 1 {
				kind = " several projects"
			}
			out[verb+":"+kind]++
		}
	}
	return out
}
