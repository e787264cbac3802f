package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/server/web"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// site is the pages over a real journal and real locks.
type site struct {
	t       *testing.T
	db      *bbolt.DB
	journal *journal.Journal
	locks   *locking.Store
	logs    map[string]string
	seen    web.Seen
	// release is what the engine answers; released is what it was asked for.
	release  error
	released []string
	http     http.Handler
}

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func open(t *testing.T) *site {
	t.Helper()
	db, err := journal.OpenFile(filepath.Join(t.TempDir(), "tidegate.db"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, db: db, logs: map[string]string{}}
	if s.journal, err = journal.Open(db); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.journal.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	if s.locks, err = locking.Open(db); err != nil {
		t.Fatal(err)
	}
	s.http = web.New(web.Config{
		Journal: s.journal, Locks: s.locks, Version: "v9.9.9", Now: noon, Log: slog.New(slog.DiscardHandler),
		Release: func(_ context.Context, id, by string) error {
			s.released = append(s.released, id+" by "+by)
			return s.release
		},
		OpenLog: func(dir string) (io.ReadCloser, error) {
			text, ok := s.logs[dir]
			if !ok {
				return nil, errors.New("no log")
			}
			return io.NopCloser(strings.NewReader(text)), nil
		},
		Seen: func() web.Seen { return s.seen },
		PullRef: func(forge string, number int) string {
			return map[string]string{"github.com": "#", "gitlab.com": "!"}[forge] + strconv.Itoa(number)
		},
	})
	return s
}

// ask asks for a page as ops and checks what every answer must have.
func (s *site) ask(method, path string) (int, string, http.Header) {
	s.t.Helper()
	req := httptest.NewRequestWithContext(s.t.Context(), method, path, nil)
	req.SetBasicAuth("ops", "irrelevant")
	rec := httptest.NewRecorder()
	s.http.ServeHTTP(rec, req)
	h := rec.Result().Header
	csp := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(csp, want) {
			s.t.Errorf("%s %s: Content-Security-Policy %q does not say %s", method, path, csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") {
		s.t.Errorf("%s %s: Content-Security-Policy %q", method, path, csp)
	}
	cached := h.Get("Cache-Control") != "no-store" && strings.HasPrefix(h.Get("Content-Type"), "text/html")
	if h.Get("X-Content-Type-Options") != "nosniff" || cached || h.Get("Referrer-Policy") != "no-referrer" {
		s.t.Errorf("%s %s: headers %v", method, path, h)
	}
	return rec.Code, rec.Body.String(), h
}

// page asks for a page and wants every text in it, in order.
func (s *site) page(path string, status int, want ...string) string {
	s.t.Helper()
	got, body, h := s.ask(http.MethodGet, path)
	if got != status || h.Get("Content-Type") != "text/html; charset=utf-8" {
		s.t.Errorf("%s: status %d, %s; want %d", path, got, h.Get("Content-Type"), status)
	}
	rest := body
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			s.t.Errorf("%s: %q is not there, or not in this order:\n%s", path, w, body)
			continue
		}
		rest = after
	}
	return body
}

func pull(n int) vcs.PullID {
	return vcs.PullID{Repo: vcs.RepoID{Forge: "github.com", ID: 7}, Number: n}
}

// run records a run that has one job.
func (s *site) run(r journal.Run, j journal.Job) string {
	s.t.Helper()
	r.ID = s.journal.NewRunID()
	ended, summary := r.Ended, r.Summary
	r.State, r.Ended, r.Summary = journal.Running, time.Time{}, ""
	j.Run, j.N = r.ID, 1
	if err := s.journal.CreateRun(s.t.Context(), r, []journal.Job{j}); err != nil {
		s.t.Fatal(err)
	}
	if ended.IsZero() {
		return r.ID
	}
	if err := s.journal.EndRun(s.t.Context(), r.ID, summary, ended); err != nil {
		s.t.Fatal(err)
	}
	return r.ID
}

func (s *site) lock(n int, user string, k locking.Key) {
	s.t.Helper()
	_, err := s.locks.Acquire(s.t.Context(), locking.Request{
		Pull: locking.Pull{Forge: "github.com", Repo: 7, Number: n}, Keys: []locking.Key{k}, Repo: "acme/infra",
		PullTitle: "Title of " + user, PullURL: "https://github.com/acme/infra/pull/" + user, User: user, At: noon().Add(-time.Hour), Wait: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func network() locking.Key {
	return locking.Key{Forge: "github.com", Repo: 7, Dir: "network", Workspace: "default"}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.page("/", 200, "<h1>Overview</h1>", "No webhook has come yet.", "Nothing runs.", "Nobody waits for a lock.", "Nothing is locked.", "There was no run yet.", "None.", "v9.9.9")
	s.page("/locks", 200, "<h1>Locks</h1>", "Nothing is locked.")
}

func TestIndex(t *testing.T) {
	t.Parallel()
	s := open(t)
	done := s.run(journal.Run{
		Pull: pull(1), Repo: "acme/infra", PullTitle: "A bigger gateway", PullURL: "https://github.com/acme/infra/pull/1", User: "ana",
		Command: "plan", Summary: "Plan for `network`: 1 add", Started: noon().Add(-90 * time.Second), Ended: noon().Add(-80 * time.Second),
	}, journal.Job{State: journal.JobDone})
	runs := s.run(journal.Run{
		Pull: pull(2), Repo: "acme/infra", PullTitle: "Peering", PullURL: "https://github.com/acme/infra/pull/2", User: "raj", Command: "apply", Started: noon(),
	}, journal.Job{State: journal.JobRunning})
	s.lock(1, "ana", network())
	s.lock(2, "raj", network())
	s.seen = web.Seen{Last: noon().Add(-12 * time.Second), Ignored: []templates.DeliveryRow{
		{At: noon(), Event: "star", Repo: "acme/infra", Outcome: "ignored", Reason: "not an event for us"},
	}}
	s.page("/", 200,
		"Last webhook 12 s ago.",
		"<h2>Running</h2>", "/runs/"+runs, "apply", "raj", `href="https://github.com/acme/infra/pull/2"`, "acme/infra #2", "Peering", "running",
		"<h2>Locks</h2>", "<code>network</code>", "#1", "Title of ana", "by ana", "1 Mar 11:00:00 UTC", "#2", "/locks/"+network().ID(),
		"<h2>Last runs</h2>", "/runs/"+done, "plan", "ana", "acme/infra #1", "A bigger gateway", "Plan for `network`: 1 add", "10 s",
		"<h2>Deliveries that led to nothing</h2>", "star", "acme/infra", "ignored: not an event for us",
	)
	if body := s.page("/", 200); strings.Count(body, "/runs/"+runs) != 1 {
		t.Errorf("what runs is not listed once:\n%s", body)
	}
}

func TestLocksAndWaiters(t *testing.T) {
	t.Parallel()
	s := open(t)
	named := network()
	named.Project = "net"
	named.Workspace = "prod"
	s.lock(1, "ana", named)
	unnamed := named
	unnamed.Project = ""
	s.lock(2, "raj", unnamed) // everything in the directory: it waits for the named one
	s.lock(3, "kim", network())
	s.page("/locks", 200, "<code>network</code>", "by kim", "nobody")
	s.page("/", 200, "<h2>Waiting</h2>", `href="https://github.com/acme/infra/pull/raj">acme/infra #2</a>`, "waits for <code>network</code>")
	s.page("/locks", 200, "(prod)", "net", "by ana", `href="https://github.com/acme/infra/pull/raj">#2`, "/locks/"+named.ID())
}

func TestRelease(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.lock(1, "ana", network())
	id := network().ID()
	s.page("/locks/"+id, 200, "Release this lock?", "<code>network</code> of acme/infra", "#1", "Title of ana", "since 1 Mar", "Nobody waits for it.", `<form method="post" action="/locks/`+id+`/release">`)
	s.page("/locks/nothing", 404, "No such lock")

	for _, c := range []struct {
		name   string
		answer error
		status int
		want   string
	}{
		{"done", nil, http.StatusSeeOther, ""},
		{"stopping", web.ErrStopping, http.StatusServiceUnavailable, "The server is stopping."},
		{"gone", web.ErrNoLock, http.StatusNotFound, "It was released meanwhile."},
		{"something runs", web.ErrBusy, http.StatusConflict, "A plan or an apply runs under this lock."},
		{"broken", errors.New("disk-hush"), http.StatusInternalServerError, "The server&#39;s log has the cause."},
	} {
		s.release, s.released = c.answer, nil
		status, body, h := s.ask(http.MethodPost, "/locks/"+id+"/release")
		if status != c.status || !strings.Contains(strings.ReplaceAll(body, "'", "&#39;"), c.want) {
			t.Errorf("%s: status %d, want %d with %q:\n%s", c.name, status, c.status, c.want, body)
		}
		if strings.Contains(body, "hush") {
			t.Errorf("%s: the page tells what only the log should: %s", c.name, body)
		}
		if c.answer == nil && h.Get("Location") != "/locks" {
			t.Errorf("%s: goes on to %q", c.name, h.Get("Location"))
		}
		if diff := cmp.Diff([]string{id + " by ops"}, s.released); diff != "" {
			t.Errorf("%s: released (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestReleaseIsNotALink(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.lock(1, "ana", network())
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		if status, _, _ := s.ask(method, "/locks/"+network().ID()+"/release"); status != http.StatusMethodNotAllowed && status != http.StatusNotFound {
			t.Errorf("%s: status %d", method, status)
		}
	}
	if len(s.released) > 0 {
		t.Errorf("released %v", s.released)
	}
}

func TestReleaseWithoutLogin(t *testing.T) {
	t.Parallel()
	s := open(t)
	rec := httptest.NewRecorder()
	s.http.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/locks/abc/release", nil))
	if diff := cmp.Diff([]string{"abc by someone on this machine"}, s.released); diff != "" {
		t.Errorf("released (-want +got):\n%s", diff)
	}
}

func TestRunPage(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.logs["/jobs/1"] = "Initializing the backend...\nPlan: 1 to add\n"
	id := s.run(journal.Run{
		Pull: pull(1), Repo: "acme/infra", PullTitle: "A bigger gateway", PullURL: "https://github.com/acme/infra/pull/1", User: "ana", Command: "plan",
		Head: "0123abc9999", Base: "4567def", Source: "comment:5", Summary: "Plan for `network`: failed", Started: noon(), Ended: noon().Add(time.Second),
	}, journal.Job{
		State:  journal.JobDone,
		Job:    runner.Job{Dir: "/jobs/1", Project: runner.Project{Dir: "network", Workspace: "prod", Name: "net"}},
		Result: &runner.Summary{End: runner.Failed, Failure: &runner.Failure{Summary: "Invalid reference"}},
	})
	body := s.page("/runs/"+id, 200, "plan on", `href="https://github.com/acme/infra/pull/1"`, "acme/infra #1", "Plan for `network`: failed", "A bigger gateway",
		"by a comment · ana", "12:00:00 UTC, 1 s", `<code title="0123abc9999">0123abc</code>`, "4567def", "net (network), workspace prod", "failed", "Invalid reference", "<pre", "Initializing the backend...\nPlan: 1 to add\n</pre>")
	if strings.Contains(body, "refresh.js") || strings.Contains(body, "The log is cut") {
		t.Errorf("a run that has ended loads anew, or is cut:\n%s", body)
	}
	runs := s.run(journal.Run{Pull: pull(2), Repo: "acme/infra", Command: "plan", Started: noon()}, journal.Job{
		State: journal.JobQueued, Job: runner.Job{Dir: "/jobs/2", Project: runner.Project{Dir: ".", Workspace: "default"}},
	})
	s.page("/runs/"+runs, 200, "/static/refresh.js", "running", "<code>.</code>", "queued", "No output yet.")
	waits := s.run(journal.Run{Pull: pull(3), Repo: "acme/infra", Command: "plan", Started: noon(), Ended: noon()}, journal.Job{
		State: journal.JobWaiting, Waiting: &journal.Waiting{Pull: 118}, Job: runner.Job{Project: runner.Project{Dir: "dns", Workspace: "default"}},
	})
	s.page("/runs/"+waits, 200, "<code>dns</code>", "waiting for #118", "Nothing was run.")
	gitlab := vcs.PullID{Repo: vcs.RepoID{Forge: "gitlab.com", ID: 7}, Number: 5}
	waits = s.run(journal.Run{Pull: gitlab, Repo: "acme/live/infra", Command: "plan", Started: noon(), Ended: noon()}, journal.Job{
		State: journal.JobWaiting, Waiting: &journal.Waiting{Pull: 118}, Job: runner.Job{Project: runner.Project{Dir: "dns", Workspace: "default"}},
	})
	s.page("/runs/"+waits, 200, "acme/live/infra !5", "waiting for !118")
	done := s.run(journal.Run{Pull: pull(4), Repo: "acme/infra", Command: "plan", Started: noon(), Ended: noon()}, journal.Job{
		State: journal.JobDone, Result: &runner.Summary{End: runner.Succeeded, Changes: runner.Changes{Add: 2, Destroy: 1, Known: true}},
		Job: runner.Job{Dir: "/jobs/4", Project: runner.Project{Dir: "dns", Workspace: "default"}},
	})
	s.page("/runs/"+done, 200, `<span class="badge">planned</span>`, "<p>2 add, 1 destroy</p>")
	applied := s.run(journal.Run{Pull: pull(4), Repo: "acme/infra", Command: "apply", Started: noon(), Ended: noon()}, journal.Job{
		State: journal.JobDone, Result: &runner.Summary{End: runner.Succeeded, Changes: runner.Changes{Add: 2, Known: true}},
		Job: runner.Job{Dir: "/jobs/4", Project: runner.Project{Dir: "dns", Workspace: "default"}},
	})
	s.page("/runs/"+applied, 200, `<span class="badge">applied</span>`)
}

// What the forge does not take is read here, as text, whatever stands in it.
func TestRunPageShowsARefusedAnswer(t *testing.T) {
	t.Parallel()
	s := open(t)
	id := s.run(journal.Run{Pull: pull(1), Repo: "acme/infra", Command: "apply", Started: noon(), Ended: noon()}, journal.Job{State: journal.JobQueued})
	report := journal.Report{
		ID: id, Pull: pull(1), Run: id, Kind: "answer", Marker: "<!-- the marker -->", Intended: noon(), Comment: 5,
		Body: "### Apply for `network`: applied\n\n<script>alert(1)</script>\n<!-- the marker -->\n",
	}
	put := func() string {
		t.Helper()
		if err := s.journal.PutReport(t.Context(), report); err != nil {
			t.Fatal(err)
		}
		return s.page("/runs/"+id, 200)
	}
	if body := put(); strings.Contains(body, "not take") || strings.Contains(body, "###") {
		t.Errorf("an answer that stands on its pull request:\n%s", body)
	}
	report.Comment, report.Gone = 0, "posting a comment: 403 <locked>"
	body := put()
	for _, want := range []string{"does not take this answer", "403 &lt;locked&gt;", "### Apply for `network`: applied", "&lt;script&gt;alert(1)"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not have %q:\n%s", want, body)
		}
	}
	if strings.Contains(body, "the marker") || strings.Contains(body, "<script>alert") {
		t.Errorf("the page shows the marker, or is one itself:\n%s", body)
	}
}

func TestLongLogIsCut(t *testing.T) {
	t.Parallel()
	s := open(t)
	const limit = 1 << 20
	for _, c := range []struct {
		name, log string
		cut       bool
	}{
		{"as long as may be", strings.Repeat("x", limit), false},
		{"one more", strings.Repeat("x", limit) + "y", true},
		{"much more", strings.Repeat("x", limit) + strings.Repeat("y", limit), true},
		{"within a character", strings.Repeat("x", limit-1) + "é", true},
	} {
		s.logs["/jobs/"+c.name] = c.log
		id := s.run(journal.Run{Pull: pull(1), Repo: "acme/infra", Command: "plan", Started: noon(), Ended: noon()}, journal.Job{
			State: journal.JobDone, Job: runner.Job{Dir: "/jobs/" + c.name, Project: runner.Project{Dir: "a", Workspace: "default"}},
		})
		_, body, _ := s.ask(http.MethodGet, "/runs/"+id)
		if cut := strings.Contains(body, "The log is cut here."); cut != c.cut {
			t.Errorf("%s: cut is %t", c.name, cut)
		}
		if strings.Contains(body, "yyy") || strings.Contains(body, "xy") || len(body) > limit+8192 || strings.ToValidUTF8(body, "") != body {
			t.Errorf("%s: the page has %d bytes", c.name, len(body))
		}
	}
}

// A page with many jobs is loaded every other second; it shows some of each.
func TestManyLongLogs(t *testing.T) {
	t.Parallel()
	s := open(t)
	const jobs = 200
	r := journal.Run{ID: s.journal.NewRunID(), State: journal.Running, Pull: pull(1), Repo: "acme/infra", Command: "plan", Started: noon()}
	var all []journal.Job
	s.logs["/jobs/long"] = strings.Repeat("x", 1<<20)
	for n := range jobs {
		all = append(all, journal.Job{
			Run: r.ID, N: n + 1, State: journal.JobDone,
			Job: runner.Job{Dir: "/jobs/long", Project: runner.Project{Dir: "a", Workspace: "default", Name: fmt.Sprint(n)}},
		})
	}
	if err := s.journal.CreateRun(t.Context(), r, all); err != nil {
		t.Fatal(err)
	}
	_, body, _ := s.ask(http.MethodGet, "/runs/"+r.ID)
	if n := strings.Count(body, "The log is cut here."); n != jobs {
		t.Errorf("%d logs are cut, want all %d", n, jobs)
	}
	if len(body) > 4<<20 || strings.Count(body, "x") < jobs*1000 {
		t.Errorf("the page has %d bytes", len(body))
	}
}

// What a page leaves out is a click away, as text that no browser takes for anything else.
func TestWholeLog(t *testing.T) {
	t.Parallel()
	s := open(t)
	long := "<script>alert(1)</script>\n" + strings.Repeat("x", 3<<20) + "\nlast line\n"
	s.logs["/jobs/1"] = long
	id := s.run(journal.Run{Pull: pull(1), Repo: "acme/infra", Command: "plan", Started: noon(), Ended: noon()}, journal.Job{
		State: journal.JobDone, Job: runner.Job{Dir: "/jobs/1", Project: runner.Project{Dir: "a", Workspace: "default"}},
	})
	s.page("/runs/"+id, 200, "The log is cut here.", `<a href="/runs/`+id+`/jobs/1/log">`)
	status, body, h := s.ask(http.MethodGet, "/runs/"+id+"/jobs/1/log")
	if status != 200 || body != long || h.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("status %d, %s, %d bytes of %d", status, h.Get("Content-Type"), len(body), len(long))
	}
	for _, path := range []string{"/runs/" + id + "/jobs/2/log", "/runs/" + id + "/jobs/01/log", "/runs/" + id + "/jobs/..%2f1/log", "/runs/nothing/jobs/1/log"} {
		s.page(path, 404)
	}
}

func TestNoSuchPage(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.page("/nowhere", 404, "Not found")
	s.page("/runs/"+s.journal.NewRunID(), 404, "No such run")
	s.page("/runs/%3Cscript%3Ealert(1)%3C/script%3E", 404)
	s.page("/runs/nothing", 404, "No such run")
	if status, _, _ := s.ask(http.MethodPost, "/"); status != http.StatusMethodNotAllowed {
		t.Errorf("POST /: status %d", status)
	}
	if status, _, _ := s.ask(http.MethodGet, "/favicon.ico"); status != http.StatusNoContent {
		t.Errorf("/favicon.ico: status %d", status)
	}
	for path, want := range map[string]string{"/static/style.css": "text/css; charset=utf-8", "/static/refresh.js": "text/javascript; charset=utf-8"} {
		if status, _, h := s.ask(http.MethodGet, path); status != 200 || h.Get("Content-Type") != want {
			t.Errorf("%s: status %d, %s", path, status, h.Get("Content-Type"))
		}
	}
	for _, path := range []string{"/static/../web.go", "/static/..%2f..%2fweb.go", "/static/nothing"} {
		if status, _, _ := s.ask(http.MethodGet, path); status == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
}

// Titles, branch names, directories and logs are written by whoever opens a pull request.
func TestHostileStrings(t *testing.T) {
	t.Parallel()
	const evil = `"'></pre></code><script>evil()</script><img src=x onerror=evil()>` + "\x00\x1b[31m\xff{{.}}"
	const link = "javascript:evil()"
	s := open(t)
	s.logs[evil] = strings.Repeat("line "+evil+"\n", 3)
	r := journal.Run{
		Pull: pull(1), Repo: "acme/" + evil, PullTitle: evil, PullURL: link, User: evil, Command: evil, Line: evil, Source: evil,
		Head: evil, Base: evil, BaseRef: evil, Summary: evil, Started: noon(),
	}
	j := journal.Job{
		State: journal.JobDone, Note: evil, Job: runner.Job{Dir: evil, Project: runner.Project{Dir: evil, Workspace: evil, Name: evil}},
		Result: &runner.Summary{End: runner.Failed, Failure: &runner.Failure{Summary: evil, Text: evil}},
	}
	running := s.run(r, j)
	r.Ended = noon()
	done := s.run(r, j)
	whole := strings.ToValidUTF8(evil, "") // the locks take nothing else
	k := locking.Key{Forge: "github.com", Repo: 7, Dir: whole, Workspace: whole, Project: whole}
	for n := range 2 {
		if _, err := s.locks.Acquire(t.Context(), locking.Request{
			Pull: locking.Pull{Forge: "github.com", Repo: 7, Number: n + 1}, Keys: []locking.Key{k}, Repo: evil, PullTitle: evil, PullURL: link, User: evil, At: noon(), Wait: true,
		}); err != nil {
			t.Fatal(err)
		}
	}
	s.seen = web.Seen{Last: noon(), Ignored: []templates.DeliveryRow{{At: noon(), Event: evil, Repo: evil, Outcome: evil, Reason: evil}}}
	for _, path := range []string{"/", "/locks", "/locks/" + k.ID(), "/runs/" + running, "/runs/" + done} {
		_, body, _ := s.ask(http.MethodGet, path)
		if !strings.Contains(body, "evil()") {
			t.Errorf("%s shows nothing of it", path)
		}
		for _, bad := range []string{"<script>", "<img", "</pre></code>", "href=\"javascript:", `"'>`, "\x00"} {
			if i := strings.Index(body, bad); i >= 0 {
				t.Errorf("%s holds %q: %s", path, bad, body[max(0, i-60):min(len(body), i+80)])
			}
		}
	}
}

// A record that can't be read is left out of a page, and the rest is shown.
func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	s := open(t)
	var runs []journal.Run
	for _, title := range []string{"First", "Second"} {
		r := journal.Run{ID: s.journal.NewRunID(), Repo: "acme/infra", PullTitle: title, Command: "plan", State: journal.RunDone}
		jobs := []journal.Job{
			{Run: r.ID, N: 1, Job: runner.Job{Project: runner.Project{Dir: "dns", Workspace: "default"}}},
			{Run: r.ID, N: 2, Job: runner.Job{Project: runner.Project{Dir: "vpc", Workspace: "default"}}},
		}
		if err := s.journal.CreateRun(t.Context(), r, jobs); err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(
			tx.Bucket([]byte("runs")).Put([]byte(runs[0].ID), []byte("{")),
			tx.Bucket([]byte("jobs")).Put([]byte(runs[1].ID+"\x00\x00\x00\x01"), []byte("{")),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	code, body, _ := s.ask(http.MethodGet, "/")
	if code != http.StatusOK || strings.Contains(body, "First") || !strings.Contains(body, "Second") {
		t.Errorf("/ = %d, want the second run alone:\n%s", code, body)
	}
	code, body, _ = s.ask(http.MethodGet, "/runs/"+runs[1].ID)
	if code != http.StatusOK || strings.Contains(body, "dns") || !strings.Contains(body, "vpc") {
		t.Errorf("/runs/ = %d, want the second job alone:\n%s", code, body)
	}
}
