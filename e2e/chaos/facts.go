package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// facts are all that is judged: what people did, and what the forge, the ledger, the states and /proc show.
type facts struct {
	trouble  []string // what kept people from working
	asked    []asked
	claims   []claim
	pulls    []int
	branches map[int]string  // of pulls
	ended    map[int]string  // what became of pulls until people had left: open, merged, closed
	killed   map[string]bool // runs of which somebody was killed who watched them

	stood      map[int][]comment // when people had left
	comments   map[int][]comment // when all was closed
	statuses   map[int][]status  // the newest first
	ledger     []line
	merges     []merge
	held       map[string]int // by which pull request a project was locked when people had left
	left       figures        // when all was closed
	processes  []string
	checkouts  []string
	states     map[string][]byte
	stateLocks []string
	// branchesLeft are the commits of branches of pulls that are there when all is closed. Under faults it is none: a branch that
	// could not be deleted stays.
	branchesLeft map[int]string
}

func (f facts) open(pull int) bool { return f.ended[pull] == "open" }

// asked is a command that somebody has written.
type asked struct {
	pull int
	id   int64
	text string
}

// claim is what an answer says of one project, and what there was when it was read.
type claim struct {
	pull          int
	run           string
	project, word string
	resource      string // that of the pull request in the project
	began         int    // by this run
	there         bool   // in the state
	late          bool   // it was read when all was over, and the state tells nothing any more
}

type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User struct {
		Login string `json:"login"`
	} `json:"user"`
}

type status struct{ State, Context, Description string }

// figures are the server's own count of what is to be done.
type figures struct {
	Queued  int `json:"queued_events"`
	Running int `json:"running_runs"`
	Owed    int `json:"unposted_answers"`
	Locks   int `json:"locks"`
	Waiters int `json:"waiters"`
}

// line is one of the ledger: a job, known by its temporary directory, began or ended to make a resource.
type line struct{ what, resource, job string }

func (c comment) final() bool {
	return c.User.Login == bot && strings.Contains(c.Body, " part=1/1 ")
}

func (c comment) answers(id int64) bool {
	return c.final() && strings.Contains(c.Body, fmt.Sprintf(" source=comment:%d ", id))
}

func (c comment) tellsOfPlan() bool {
	return c.final() && strings.HasPrefix(headline(c.Body), "### Plan ")
}

var runOf = regexp.MustCompile(` run=([0-9A-Z]{26}) `)

func (c comment) run() string {
	if m := runOf.FindStringSubmatch(c.Body); m != nil {
		return m[1]
	}
	return ""
}

func headline(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

var (
	ofOne  = regexp.MustCompile("^### (?:Plan|Apply) for `(p[0-9]+)`: (.*)")
	ofMany = regexp.MustCompile("(?m)^\\| `(p[0-9]+)` \\|[^|]*\\| (.*) \\|$")
)

// words are what an answer says of each project.
func (c comment) words() map[string]string {
	out := map[string]string{}
	if m := ofOne.FindStringSubmatch(headline(c.Body)); m != nil {
		out[m[1]] = m[2]
	}
	for _, m := range ofMany.FindAllStringSubmatch(c.Body, -1) {
		out[m[1]] = strings.Trim(m[2], "[*")
	}
	return out
}

// jobs are the temporary directories of a run's jobs.
func jobs(run string) []string {
	var out []string
	for n := range projects {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", run, n+1))
		out = append(out, hex.EncodeToString(sum[:6]))
	}
	return out
}

func (w *world) ledger() []line {
	raw, _ := os.ReadFile(filepath.Join(w.dir, "state", "ledger"))
	var out []line
	for l := range strings.Lines(string(raw)) {
		if f := strings.Fields(l); len(f) == 3 {
			out = append(out, line{f[0], f[1], filepath.Base(f[2])})
		}
	}
	return out
}

func (w *world) state(project int) []byte {
	if project%2 == 0 {
		return w.states.State(projectName(project))
	}
	raw, _ := os.ReadFile(w.stateFile(project))
	return raw
}

func projectName(i int) string { return fmt.Sprint("p", i) }

func resource(branch, project string) string {
	return strings.ReplaceAll(branch, "-", "_") + "_" + project
}

// hear keeps what an answer to apply says, beside what was done, while its pull request holds the locks.
func (w *world) hear(pull int, branch string, c comment) {
	ledger := w.ledger()
	for project, word := range c.words() {
		n, _ := strconv.Atoi(strings.TrimPrefix(project, "p"))
		for _, cl := range claimsOf(pull, branch, project, word, c, ledger) {
			cl.there = strings.Contains(string(w.state(n)), `"`+cl.resource+`"`)
			w.said.Lock()
			w.facts.claims = append(w.facts.claims, cl)
			w.said.Unlock()
		}
	}
}

// claimsOf is what an answer says of a project, of each of the pull request's resources there that its run has begun; of the
// first where it has begun none.
func claimsOf(pull int, branch, project, word string, c comment, ledger []line) []claim {
	var out []claim
	for _, of := range []string{branch, branch + later} {
		cl := claim{pull: pull, run: c.run(), project: project, word: word, resource: resource(of, project)}
		for _, l := range ledger {
			if l.what == "begin" && l.resource == cl.resource && slices.Contains(jobs(cl.run), l.job) {
				cl.began++
			}
		}
		if cl.began > 0 {
			out = append(out, cl)
		}
	}
	if len(out) == 0 {
		out = []claim{{pull: pull, run: c.run(), project: project, word: word, resource: resource(branch, project)}}
	}
	return out
}

// unheard are the claims of answers that nobody waited for.
func (f facts) unheard() []claim {
	var out []claim
	for _, pull := range f.pulls {
		for _, c := range f.comments[pull] {
			known := slices.ContainsFunc(f.claims, func(cl claim) bool { return cl.run == c.run() })
			if known || !c.final() || !strings.HasPrefix(headline(c.Body), "### Apply for ") {
				continue
			}
			for project, word := range c.words() {
				for _, cl := range claimsOf(pull, f.branches[pull], project, word, c, f.ledger) {
					cl.late = true
					out = append(out, cl)
				}
			}
		}
	}
	return out
}

// owed are the commands without an answer, and the open pull requests without a plan.
func (f facts) owed() []string {
	var out []string
	for _, a := range f.asked {
		if !slices.ContainsFunc(f.stood[a.pull], func(c comment) bool { return c.answers(a.id) }) {
			out = append(out, fmt.Sprintf("%q on #%d (comment %d)", a.text, a.pull, a.id))
		}
	}
	for _, pull := range f.pulls {
		if f.unplanned(pull) {
			out = append(out, fmt.Sprintf("the push of #%d", pull))
		}
		for _, run := range f.unmerged(pull) {
			out = append(out, fmt.Sprintf("the merge of #%d after run %s", pull, run))
		}
	}
	for project, pull := range f.held {
		if !f.open(pull) {
			out = append(out, fmt.Sprintf("the end of #%d, which holds %s", pull, project))
		}
	}
	return out
}

// unplanned: a pull request was open when people had left, nobody had ended the plan that a push makes, and no
// answer tells of a plan.
func (f facts) unplanned(pull int) bool {
	ended := func(a asked) bool { return a.pull == pull && (a.text == "cancel" || a.text == "unlock") }
	return f.open(pull) && !slices.ContainsFunc(f.asked, ended) && !slices.ContainsFunc(f.stood[pull], comment.tellsOfPlan)
}

// settle waits until there is nothing to do any more, and answers how it is in the end.
func (w *world) settle(ctx context.Context, done func(figures) bool) figures {
	wait, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	var got figures
	w.until(wait, func() bool {
		var f figures
		if ask(ctx, http.MethodGet, "http://"+w.addr+"/status", "", nil, &f) != nil {
			return false
		}
		got = f
		return w.forge.Undelivered() == 0 && f.Queued+f.Running+f.Owed == 0 && done(f)
	})
	return got
}

var (
	lockRow  = regexp.MustCompile(`(?s)<tr.*?</tr>`)
	lockedIs = regexp.MustCompile(`(?s)<code>(p[0-9]+)</code>.*?#([0-9]+)`)
)

// locks are what the page of locks shows.
func (w *world) locks(ctx context.Context) (map[string]int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.addr+"/locks", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, row := range lockRow.FindAllString(string(raw), -1) {
		if m := lockedIs.FindStringSubmatch(row); m != nil {
			out[m[1]], _ = strconv.Atoi(m[2])
		}
	}
	return out, nil
}

// gather asks everybody but the journal. All pull requests are closed.
func (w *world) gather(ctx context.Context) error {
	f := &w.facts
	f.left = w.settle(ctx, func(f figures) bool { return f.Locks+f.Waiters == 0 })
	var err error
	if f.comments, err = w.allComments(ctx); err != nil {
		return err
	}
	f.statuses = map[int][]status{}
	for _, pull := range f.pulls {
		if f.statuses[pull], err = w.statusesOf(ctx, pull); err != nil {
			return fmt.Errorf("reading the statuses of #%d: %w", pull, err)
		}
	}
	if f.branchesLeft, err = w.branches(ctx); err != nil {
		return err
	}
	f.ledger = w.ledger()
	f.claims = append(f.claims, f.unheard()...)
	wait, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	w.until(wait, func() bool { return len(w.processes()) == 0 })
	for _, p := range w.processes() {
		f.processes = append(f.processes, fmt.Sprint(p.pid, " ", p.cmdline))
	}
	f.checkouts, _ = filepath.Glob(filepath.Join(w.data(), "checkouts", "*", "*", "*", "*"))
	f.states = map[string][]byte{}
	for i := range projects {
		f.states[projectName(i)] = w.state(i)
		if l, locked := w.states.Lock(projectName(i)); locked {
			f.stateLocks = append(f.stateLocks, fmt.Sprintf("%s by %s since %s", projectName(i), l.Operation, l.Created))
		}
	}
	files, _ := filepath.Glob(filepath.Join(w.dir, "state", ".*.lock.info"))
	f.stateLocks = append(f.stateLocks, files...)
	return nil
}

// branches are the commits at which the branches of pull requests are.
func (w *world) branches(ctx context.Context) (map[int]string, error) {
	out := map[int]string{}
	if w.faults {
		return out, nil
	}
	all, err := w.bare(ctx, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads")
	if err != nil {
		return nil, err
	}
	for pull, branch := range w.facts.branches {
		for l := range strings.Lines(all) {
			if sha, ok := strings.CutPrefix(strings.TrimSpace(l), branch+" "); ok {
				out[pull] = sha
			}
		}
	}
	return out, nil
}

func (w *world) statusesOf(ctx context.Context, pull int) ([]status, error) {
	pr, err := w.read(ctx, pull)
	if err != nil {
		return nil, err
	}
	return w.statusesAt(ctx, pr.Head.SHA)
}

func (w *world) statusesAt(ctx context.Context, sha string) ([]status, error) {
	var all []status
	return all, w.api(ctx, http.MethodGet, "/commits/"+sha+"/statuses?per_page=100", nil, &all)
}

// request is a pull request as the forge tells it.
type request struct {
	State  string `json:"state"`
	Merged bool   `json:"merged"`
	Head   struct {
		SHA string `json:"sha"`
	} `json:"head"`
}

func (w *world) read(ctx context.Context, pull int) (request, error) {
	var pr request
	err := w.api(ctx, http.MethodGet, fmt.Sprintf("/pulls/%d", pull), nil, &pr)
	if pr.Merged {
		pr.State = "merged"
	}
	return pr, err
}

func (w *world) comments(ctx context.Context, pull int) ([]comment, error) {
	var list []comment
	err := w.api(ctx, http.MethodGet, fmt.Sprintf("/issues/%d/comments?per_page=100", pull), nil, &list)
	return list, err
}

func (w *world) allComments(ctx context.Context) (map[int][]comment, error) {
	w.said.Lock()
	pulls := slices.Clone(w.facts.pulls)
	w.said.Unlock()
	out := map[int][]comment{}
	for _, pull := range pulls {
		list, err := w.comments(ctx, pull)
		if err != nil {
			return nil, fmt.Errorf("reading what stands on #%d: %w", pull, err)
		}
		out[pull] = list
	}
	return out, nil
}

// write keeps in a directory what is not in its files.
func (f facts) write(dir string) error {
	var b strings.Builder
	for _, pull := range f.pulls {
		fmt.Fprintf(&b, "\n== #%d, branch %s, in the end %s\n", pull, f.branches[pull], f.ended[pull])
		list := f.comments[pull]
		if list == nil {
			list = f.stood[pull]
		}
		for _, c := range list {
			fmt.Fprintf(&b, "-- comment %d of %s, run %s\n%s\n", c.ID, c.User.Login, c.run(), c.Body)
		}
		for _, s := range f.statuses[pull] {
			fmt.Fprintf(&b, "-- status %s %s: %s\n", s.Context, s.State, s.Description)
		}
	}
	fmt.Fprintf(&b, "\n== asked: %v\n== claims: %+v\n== killed: %v\n== merges: %+v\n== held: %v\n== left: %+v\n== trouble: %q\n",
		f.asked, f.claims, f.killed, f.merges, f.held, f.left, f.trouble)
	return os.WriteFile(filepath.Join(dir, "facts.txt"), []byte(b.String()), 0o600)
}

// now are the facts that can be judged at any time.
func (w *world) now(ctx context.Context) (facts, error) {
	comments, err := w.allComments(ctx)
	if err != nil {
		return facts{}, err
	}
	w.said.Lock()
	defer w.said.Unlock()
	return facts{
		asked: slices.Clone(w.facts.asked), claims: slices.Clone(w.facts.claims), pulls: slices.Clone(w.facts.pulls),
		killed: maps.Clone(w.facts.killed), merges: slices.Clone(w.facts.merges), comments: comments, ledger: w.ledger(),
	}, nil
}
