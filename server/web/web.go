// Package web shows what Tidegate does and has done: what runs and waits, the locks, every run with
// its log. It reads the journal and the locks; the one thing it may do, releasing a lock, it is given
// as a function.
//
// Who may see the pages is decided before they are reached. Start with New.
package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
)

// Errors of Config.Release.
var (
	// ErrNoLock: there is no such lock any more.
	ErrNoLock = errors.New("there is no such lock any more")
	// ErrStopping: the server stops.
	ErrStopping = errors.New("the server is stopping")
	// ErrBusy: it can't be released now.
	ErrBusy = errors.New("a plan or an apply runs under this lock")
)

// Config is what the pages work with. All fields are needed.
type Config struct {
	Journal *journal.Journal
	Locks   *locking.Store
	// Release releases a lock in somebody's name. ErrNoLock, ErrBusy and ErrStopping are the user's news.
	Release func(ctx context.Context, lockID, by string) error
	// OpenLog opens what a job's processes have printed so far.
	OpenLog func(jobDir string) (io.ReadCloser, error)
	// Seen says which webhooks have come.
	Seen func() Seen
	// PullRef writes a reference to a pull request of a forge, as that forge does.
	PullRef func(forge string, number int) string
	Version string
	Log     *slog.Logger
	Now     func() time.Time
}

// Seen is what came by webhook.
type Seen struct {
	Last    time.Time
	Ignored []templates.DeliveryRow
}

type pages struct {
	Config
}

const (
	// maxLog is how much of its jobs' logs a page shows, in bytes: it may have hundreds of jobs, and is
	// loaded anew every other second while they run.
	maxLog = 1 << 20
	// minLog is what a job gets of that at least.
	minLog = 16 << 10
)

// New makes the pages' handler.
func New(c Config) http.Handler {
	p := &pages{c}
	r := chi.NewRouter()
	r.Use(headers)
	r.Get("/", p.index)
	r.Get("/locks", p.locks)
	r.Get("/locks/{id}", p.ask)
	r.Post("/locks/{id}/release", p.release)
	r.Get("/runs/{id}", p.run)
	r.Get("/runs/{id}/jobs/{n}/log", p.log)
	// Browsers ask for one; an error for it would stand in everybody's console.
	r.Get("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r.Handle("/static/*", http.StripPrefix("/static/", http.FileServerFS(templates.Assets())))
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		p.message(w, http.StatusNotFound, "Not found", "There is no such page.")
	})
	return r
}

// headers keeps a page to what it brings itself.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (p *pages) page(title string, refresh bool) templates.Page {
	return templates.Page{Title: title, Version: p.Version, Now: p.Now(), Refresh: refresh}
}

type writer interface {
	Write(w io.Writer) error
}

func (p *pages) show(w http.ResponseWriter, r *http.Request, page writer) {
	var b bytes.Buffer
	if err := page.Write(&b); err != nil {
		p.fault(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func (p *pages) message(w http.ResponseWriter, status int, title, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = templates.MessagePage{Page: p.page(title, false), Text: text}.Write(w)
}

func (p *pages) fault(w http.ResponseWriter, r *http.Request, err error) {
	p.Log.ErrorContext(r.Context(), "showing a page", "path", r.URL.Path, "err", err)
	p.message(w, http.StatusInternalServerError, "Internal error", "The server's log has the cause.")
}

// spare shows a page without the records that can't be read.
func (p *pages) spare(r *http.Request, err error) error {
	if !journal.Damaged(err) {
		return err
	}
	p.Log.ErrorContext(r.Context(), "showing a page without damaged records", "path", r.URL.Path, "err", err)
	return nil
}

func (p *pages) index(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	seen := p.Seen()
	page := templates.IndexPage{Page: p.page("Overview", true), LastWebhook: seen.Last, Ignored: seen.Ignored}
	running, err := p.Journal.Runs(ctx, journal.Filter{Running: true})
	if err = p.spare(r, err); err != nil {
		p.fault(w, r, err)
		return
	}
	for _, run := range running {
		page.Running = append(page.Running, p.runRow(run))
	}
	const last = 30
	recent, err := p.Journal.Runs(ctx, journal.Filter{Limit: last})
	if err = p.spare(r, err); err != nil {
		p.fault(w, r, err)
		return
	}
	for _, run := range recent {
		if run.State != journal.Running {
			page.Recent = append(page.Recent, p.runRow(run))
		}
	}
	if page.Locks, err = p.lockRows(ctx); err != nil {
		p.fault(w, r, err)
		return
	}
	p.show(w, r, page)
}

func (p *pages) runRow(r journal.Run) templates.RunRow {
	row := templates.RunRow{
		ID: r.ID, Repo: r.Repo, Ref: p.PullRef(r.Pull.Repo.Forge, r.Pull.Number), PullTitle: r.PullTitle, PullURL: r.PullURL, Command: r.Command,
		User: r.User, Summary: r.Summary, Running: r.State == journal.Running, Started: r.Started,
	}
	if !r.Ended.IsZero() {
		row.Took = r.Ended.Sub(r.Started)
	}
	return row
}

func (p *pages) lockRows(ctx context.Context) ([]templates.LockRow, error) {
	locks, err := p.Locks.Locks(ctx)
	if err != nil {
		return nil, err
	}
	waiters, err := p.Locks.Waiters(ctx)
	if err != nil {
		return nil, err
	}
	var out []templates.LockRow
	for _, l := range locks {
		row := p.lockRow(l)
		for _, w := range waiters {
			if w.Pull != l.Pull && covers(w.Key, l.Key) {
				row.Waiters = append(row.Waiters, templates.WaiterRow{
					PullURL: w.PullURL, PullTitle: w.PullTitle, Ref: p.PullRef(w.Pull.Forge, w.Pull.Number), Since: w.Since, Skipped: w.Skipped,
				})
			}
		}
		out = append(out, row)
	}
	return out, nil
}

// covers reports whether a waits for b: the same place, and the same project or one without a name,
// which stands for all of its directory.
func covers(a, b locking.Key) bool {
	if a.Project == "" || b.Project == "" {
		a.Project, b.Project = "", ""
	}
	return a == b
}

func (p *pages) lockRow(l locking.Lock) templates.LockRow {
	return templates.LockRow{
		ID: l.Key.ID(), Repo: l.Repo, Dir: l.Key.Dir, Workspace: l.Key.Workspace, Project: l.Key.Project,
		PullTitle: l.PullTitle, PullURL: l.PullURL, User: l.User, Ref: p.PullRef(l.Pull.Forge, l.Pull.Number), Since: l.Since,
	}
}

func (p *pages) locks(w http.ResponseWriter, r *http.Request) {
	rows, err := p.lockRows(r.Context())
	if err != nil {
		p.fault(w, r, err)
		return
	}
	p.show(w, r, templates.LocksPage{Page: p.page("Locks", true), Locks: rows})
}

func (p *pages) ask(w http.ResponseWriter, r *http.Request) {
	rows, err := p.lockRows(r.Context())
	i := slices.IndexFunc(rows, func(l templates.LockRow) bool { return l.ID == chi.URLParam(r, "id") })
	switch {
	case err != nil:
		p.fault(w, r, err)
	case i < 0:
		p.message(w, http.StatusNotFound, "No such lock", "It was released meanwhile.")
	default:
		p.show(w, r, templates.ReleasePage{Page: p.page("Release a lock", false), Lock: rows[i]})
	}
}

func (p *pages) release(w http.ResponseWriter, r *http.Request) {
	by, _, ok := r.BasicAuth()
	if !ok {
		by = "someone on this machine"
	}
	err := p.Release(r.Context(), chi.URLParam(r, "id"), by)
	switch {
	case errors.Is(err, ErrNoLock):
		p.message(w, http.StatusNotFound, "No such lock", "It was released meanwhile.")
	case errors.Is(err, ErrBusy):
		p.message(w, http.StatusConflict, "Not released", "A plan or an apply runs under this lock. Try again when it is answered.")
	case errors.Is(err, ErrStopping):
		p.message(w, http.StatusServiceUnavailable, "Not released", "The server is stopping. Try again when it is back.")
	case err != nil:
		p.fault(w, r, err)
	default:
		http.Redirect(w, r, "/locks", http.StatusSeeOther)
	}
}

func (p *pages) run(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	run, ok, err := p.Journal.Run(ctx, chi.URLParam(r, "id"))
	if err != nil {
		p.fault(w, r, err)
		return
	}
	if !ok {
		p.message(w, http.StatusNotFound, "No such run", "There is no run with this id.")
		return
	}
	jobs, err := p.Journal.Jobs(ctx, run.ID)
	if err = p.spare(r, err); err != nil {
		p.fault(w, r, err)
		return
	}
	row := p.runRow(run)
	page := templates.RunPage{Page: p.page(run.Command+" on "+run.Repo, row.Running), Run: row, Head: run.Head, Base: run.Base, Source: source(run.Source)}
	if page.Refused, page.Answer, err = p.refused(r, run.ID); err != nil {
		p.fault(w, r, err)
		return
	}
	room := max(maxLog/max(len(jobs), 1), minLog)
	for _, j := range jobs {
		page.Jobs = append(page.Jobs, p.jobRow(run, j, room))
	}
	p.show(w, r, page)
}

// refused is why the forge does not take a run's answer, and the answer without the lines that are for us.
func (p *pages) refused(r *http.Request, run string) (why, text string, err error) {
	report, _, err := p.Journal.Report(r.Context(), run)
	if err = p.spare(r, err); err != nil || report.Gone == "" {
		return "", "", err
	}
	return report.Gone, strings.TrimSpace(strings.Replace(report.Body, report.Marker, "", 1)), nil
}

// log sends the whole log of a job, as text.
func (p *pages) log(w http.ResponseWriter, r *http.Request) {
	jobs, err := p.Journal.Jobs(r.Context(), chi.URLParam(r, "id"))
	if err != nil {
		p.fault(w, r, err)
		return
	}
	i := slices.IndexFunc(jobs, func(j journal.Job) bool { return strconv.Itoa(j.N) == chi.URLParam(r, "n") })
	if i < 0 {
		p.message(w, http.StatusNotFound, "No such job", "There is no run with this job.")
		return
	}
	log, err := p.OpenLog(jobs[i].Job.Dir)
	if err != nil {
		p.message(w, http.StatusNotFound, "No log", "This job has printed nothing, or its log was removed.")
		return
	}
	defer func() { _ = log.Close() }()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if _, err := io.Copy(w, log); err != nil {
		// What was sent can't be taken back; that it is not all must be seen.
		p.Log.WarnContext(r.Context(), "sending a log", "path", r.URL.Path, "err", err)
		panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's own way to break an answer off
	}
}

// jobRow shows at most room bytes of the job's log.
func (p *pages) jobRow(run journal.Run, j journal.Job, room int) templates.JobRow {
	row := templates.JobRow{N: j.N, Name: name(j.Job.Project), State: string(j.State)}
	if j.State == journal.JobWaiting && j.Waiting != nil {
		row.State = "waiting for " + p.PullRef(run.Pull.Repo.Forge, j.Waiting.Pull)
	}
	if j.Result != nil {
		row.State = ended(run.Command, j.Result)
		if c := j.Result.Changes; c.Known {
			row.Changes = templates.Changes(c).String()
		}
		if f := j.Result.Failure; f != nil {
			row.Failure, row.FailureText = f.Summary, f.Text
		}
	}
	log, err := p.OpenLog(j.Job.Dir)
	if err != nil {
		return row
	}
	defer func() { _ = log.Close() }()
	raw, _ := io.ReadAll(io.LimitReader(log, int64(room)+1))
	if row.Cut = len(raw) > room; row.Cut {
		raw = raw[:room]
	}
	row.Log = string(bytes.ToValidUTF8(raw, []byte("\uFFFD")))
	return row
}

// ended words how a job ended: what the runner calls succeeded is planned or applied to people.
func ended(command string, r *runner.Summary) string {
	switch {
	case r.End != runner.Succeeded:
		return string(r.End)
	case command == "plan" && r.Changes.Empty():
		return templates.StateNoChanges
	case command == "plan":
		return "planned"
	case command == "apply":
		return templates.StateApplied
	default:
		return "done"
	}
}

// source words what caused a run; journal.Run says how it is recorded.
func source(s string) string {
	kind, _, _ := strings.Cut(s, ":")
	switch kind {
	case "push":
		return "by a push"
	case "comment":
		return "by a comment"
	case "unlock":
		return "after a lock was released"
	case "apply":
		return "after an apply that nobody saw end"
	default:
		return ""
	}
}

func name(p runner.Project) string {
	n := p.Dir
	if p.Name != "" {
		n = p.Name + " (" + p.Dir + ")"
	}
	if p.Workspace != "default" {
		n += ", workspace " + p.Workspace
	}
	return n
}
