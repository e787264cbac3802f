package gitlab_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitlab"
	"github.com/tidegate/tidegate/vcs/gitlab/gitlabtest"
	ft "github.com/tidegate/tidegate/vcs/internal/forgetest"
)

const madeNote = `{"id":5,"body":"hi","author":{"username":"tidegate-bot"},"created_at":"2026-03-01T12:00:00.123Z"}`

func somePull() vcs.Pull {
	return vcs.Pull{
		Repo: vcs.Repo{
			ID: vcs.RepoID{Forge: "gitlab.com", ID: 7}, Owner: "acme/live", Name: "infra",
			CloneURL: "https://gitlab.com/acme/live/infra.git", URL: "https://gitlab.com/acme/live/infra",
		},
		Number: 12, Author: "ana",
	}
}

var someSHA = strings.Repeat("a", 40) //nolint:gochecknoglobals // a constant that Go has no word for

type call func(ctx context.Context, c *gitlab.Client) error

func about() ft.Calls { return ft.Calls{Pull: somePull()} }

func create(ctx context.Context, c *gitlab.Client) error { return about().Create(ctx, c) }
func edit(ctx context.Context, c *gitlab.Client) error   { return about().Edit(ctx, c) }
func remove(ctx context.Context, c *gitlab.Client) error { return about().Remove(ctx, c) }
func list(ctx context.Context, c *gitlab.Client) error   { return about().List(ctx, c) }
func read(ctx context.Context, c *gitlab.Client) error   { return about().Read(ctx, c) }

func setStatus(ctx context.Context, c *gitlab.Client) error {
	return c.SetStatus(ctx, somePull().Repo, someSHA, vcs.Status{Context: "x", State: vcs.Pending})
}

func react(ctx context.Context, c *gitlab.Client) error { return c.React(ctx, somePull(), 5) }

func foldTwo(ctx context.Context, c *gitlab.Client) error {
	return c.Fold(ctx, somePull(), []vcs.Comment{{ID: 5}, {ID: 6}})
}

func TestRetry(t *testing.T) {
	t.Parallel()
	unix := func(d time.Duration) func() string {
		return func() string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	}
	date := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	tooMany := func(h ...string) ft.Step { return ft.Reply(429, "Retry later\n", h...) }
	ok, created := ft.Reply(200, `[]`), ft.Reply(201, madeNote)
	pipes := ft.Reply(200, `[{"id":9,"sha":"`+someSHA+`","ref":"grow","source":"push"}]`)
	lock := ft.Reply(409, `{"message":"409 Conflict: Resource lock"}`)
	already := ft.Reply(400, `{"message":"Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")"}`)
	runs := ft.Reply(400, `{"message":"Cannot transition status via :run from :running (Reason(s): Status cannot transition via \"run\")"}`)
	set := ft.Reply(201, `{}`)
	for _, tt := range []struct {
		do call
		ft.Try
	}{
		{list, ft.Try{Name: "at once", Steps: []ft.Step{ok}}},
		{list, ft.Try{Name: "a fault", Steps: []ft.Step{ft.Reply(502, `<html>`), ft.Cut(io.ErrUnexpectedEOF), ft.Refused, ft.Reply(200, `[{"id":`), ok}, Want: []int{0, 1, 2, 4}}},
		{list, ft.Try{Name: "faults without end", Steps: ft.Times(40, ft.Reply(500, `{"message":"500 Internal Server Error"}`)), Want: []int{0, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30, 30}, Text: "Internal Server Error"}},
		{list, ft.Try{Name: "a request that hangs", Steps: []ft.Step{ft.Hangs, ok}, Want: []int{30}}},
		{list, ft.Try{Name: "answers that say nothing", Steps: []ft.Step{ft.Reply(200, ``), ft.Reply(200, "\n"), ok}, Want: []int{0, 1}}},
		{edit, ft.Try{Name: "edit is answered by a page", Steps: []ft.Step{ft.Reply(200, "\n<!DOCTYPE html>", "Content-Type", "text/html; charset=utf-8"), ft.Reply(200, madeNote)}, Want: []int{0}}},
		{create, ft.Try{Name: "a note is answered by a page", Steps: []ft.Step{ft.Reply(201, "<html>", "Content-Type", "text/html")}, Err: vcs.ErrInDoubt, Text: "is a page"}},
		{edit, ft.Try{Name: "edit is sent again", Steps: []ft.Step{ft.Cut(io.EOF), ft.Reply(200, madeNote)}, Want: []int{0}}},
		{remove, ft.Try{Name: "delete is sent again and finds nothing", Steps: []ft.Step{ft.Hangs, ft.Reply(404, `{"message":"404 Note Not Found"}`)}, Want: []int{30}}},

		{create, ft.Try{Name: "a note, not connected", Steps: []ft.Step{ft.Refused, ft.Refused, created}, Want: []int{0, 1}}},
		{create, ft.Try{Name: "a note, cut", Steps: []ft.Step{ft.Cut(io.ErrUnexpectedEOF)}, Err: vcs.ErrInDoubt}},
		{create, ft.Try{Name: "a note, 502", Steps: []ft.Step{ft.Reply(502, ``)}, Err: vcs.ErrInDoubt}},
		{create, ft.Try{Name: "a note, no answer", Steps: []ft.Step{ft.Hangs}, Err: vcs.ErrInDoubt}},
		{create, ft.Try{Name: "a note, half an answer", Steps: []ft.Step{ft.Reply(201, `{"id":5,`)}, Err: vcs.ErrInDoubt}},
		{create, ft.Try{Name: "a note, an empty answer", Steps: []ft.Step{ft.Reply(201, ``)}, Err: vcs.ErrInDoubt}},
		{create, ft.Try{Name: "a note that was taken for commands", Steps: []ft.Step{ft.Reply(202, `{"commands_changes":{},"summary":["Closed this."]}`)}, Err: vcs.ErrInDoubt}},
		{create, ft.Try{Name: "a note, slowed down, then made", Steps: []ft.Step{tooMany("Retry-After", "7"), tooMany("Retry-After", "9"), created}, Want: []int{8, 10}}},
		{create, ft.Try{Name: "a note, slowed down, then cut", Steps: []ft.Step{tooMany("Retry-After", "7"), ft.Cut(io.EOF)}, Want: []int{8}, Err: vcs.ErrInDoubt}},
		{create, ft.Try{Name: "a note, a lock, then made", Steps: []ft.Step{lock, lock, created}, Want: []int{0, 1}}},
		{create, ft.Try{Name: "a note, a lock, then cut", Steps: []ft.Step{lock, ft.Cut(io.EOF)}, Want: []int{0}, Err: vcs.ErrInDoubt}},
		{create, ft.Try{Name: "a note, a lock without end", Steps: ft.Times(40, lock), Want: []int{0, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30, 30}, Text: "Resource lock"}},
		{create, ft.Try{Name: "a note, refused", Steps: []ft.Step{ft.Reply(403, `{"error":"insufficient_scope","error_description":"needs more","scope":"api"}`)}, Err: vcs.ErrRefused, Text: "insufficient_scope"}},
		{create, ft.Try{Name: "a note that is too long", Steps: []ft.Step{ft.Reply(400, `{"message":{"note":["is too long (2 MB). The maximum size is 1 MB."]}}`)}, Err: vcs.ErrRefused, Text: "note is too long"}},

		{list, ft.Try{Name: "429, seconds", Steps: []ft.Step{tooMany("Retry-After", "30"), ok}, Want: []int{31}}},
		{list, ft.Try{Name: "429, a date", Steps: []ft.Step{ft.Later(429, ``, "Retry-After", date(90*time.Second)), ok}, Want: []int{91}}},
		{list, ft.Try{Name: "429, by the reset", Steps: []ft.Step{ft.Later(429, ``, "RateLimit-Reset", unix(100*time.Second), "RateLimit-Remaining", "0"), ok}, Want: []int{101}}},
		// GitLab's clock is an hour behind ours, which begins with the year 2000 here.
		{list, ft.Try{Name: "429, a date by another clock", Steps: []ft.Step{tooMany("Retry-After", "Fri, 31 Dec 1999 23:01:30 GMT", "Date", "Fri, 31 Dec 1999 23:00:00 GMT"), ok}, Want: []int{91}}},
		{list, ft.Try{Name: "429, by the reset of another clock", Steps: []ft.Step{tooMany("RateLimit-Reset", "946681300", "RateLimit-Remaining", "0", "Date", "Fri, 31 Dec 1999 23:00:00 GMT"), ok}, Want: []int{101}}},
		{list, ft.Try{Name: "429 of one endpoint, without a time", Steps: []ft.Step{ft.Reply(429, `{"message":{"error":"This endpoint has been requested too many times. Try again later."}}`), ok}, Want: []int{61}}},
		{list, ft.Try{Name: "nonsense for a time", Steps: []ft.Step{tooMany("Retry-After", "soon", "RateLimit-Reset", "x", "RateLimit-Remaining", "0"), ok}, Want: []int{61}}},
		{list, ft.Try{Name: "slowed down without end", Steps: ft.Times(100, tooMany("Retry-After", "1200")), Want: []int{1200, 1200, 1200}, Text: "429"}},

		{list, ft.Try{Name: "the token, for a moment", Steps: []ft.Step{ft.Reply(401, `{"message":"401 Unauthorized"}`), ok}, Want: []int{0}}},
		{list, ft.Try{Name: "the token", Steps: ft.Times(9, ft.Reply(401, `{"error":"invalid_token","error_description":"Token was revoked."}`)), Want: []int{0, 1, 2}, Text: "token is wrong or has expired"}},
		{list, ft.Try{Name: "not found", Steps: []ft.Step{ft.Reply(404, `{"message":"404 Not found"}`)}, Err: vcs.ErrNotFound}},
		{edit, ft.Try{Name: "gone", Steps: []ft.Step{ft.Reply(410, `{}`)}, Err: vcs.ErrNotFound}},
		{edit, ft.Try{Name: "forbidden", Steps: []ft.Step{ft.Reply(403, `{"message":"403 Forbidden"}`)}, Err: vcs.ErrRefused, Text: "403 Forbidden"}},
		{edit, ft.Try{Name: "words that are no JSON", Steps: []ft.Step{ft.Reply(400, "<html>\x1b[31m")}, Err: vcs.ErrRefused, Text: "Bad Request"}},
		{edit, ft.Try{Name: "words without end", Steps: []ft.Step{ft.Reply(400, `{"message":`+strings.Repeat(`{"a":`, 5000)+`1`+strings.Repeat(`}`, 5001))}, Err: vcs.ErrRefused, Text: "a a"}},
		{read, ft.Try{Name: "a merge request that is none", Steps: []ft.Step{ft.Reply(200, `{"iid":12}`)}, Text: "web_url"}},
		{list, ft.Try{Name: "notes without ids", Steps: []ft.Step{ft.Reply(200, `[{"body":"x"}]`)}, Text: "without an id"}},

		{setStatus, ft.Try{Name: "a status is sent again", Steps: []ft.Step{pipes, ft.Reply(503, ``), ft.Reply(201, `{}`)}, Want: []int{0, 0}}},
		{setStatus, ft.Try{Name: "a status, a lock", Steps: []ft.Step{pipes, lock, lock, lock, ft.Reply(201, `{}`)}, Want: []int{0, 0, 1, 2}}},
		{setStatus, ft.Try{Name: "a status that is pending already", Steps: []ft.Step{pipes, already, set}, Want: []int{0, 0}}},
		{setStatus, ft.Try{Name: "a status that runs already", Steps: []ft.Step{pipes, already, runs, set, set}, Want: []int{0, 0, 0, 0}}},
		{setStatus, ft.Try{Name: "a status that ends meanwhile", Steps: []ft.Step{pipes, already, ft.Reply(403, `{"message":"403 Forbidden"}`)}, Want: []int{0, 0}, Err: vcs.ErrRefused}},
		{setStatus, ft.Try{Name: "a status that is refused", Steps: []ft.Step{pipes, ft.Reply(400, `{"message":"Cannot transition status via :run from :success"}`)}, Want: []int{0}, Err: vcs.ErrRefused, Text: "Cannot transition"}},
		{setStatus, ft.Try{Name: "a status, no such commit", Steps: []ft.Step{ok, ft.Reply(404, `{}`)}, Want: []int{0}, Err: vcs.ErrNotFound}},
		{setStatus, ft.Try{Name: "a status whose pipeline is waited for", Steps: []ft.Step{ok, ok, ok, pipes, ft.Reply(201, `{}`)}, Want: []int{0, 2, 2, 0}}},
		{setStatus, ft.Try{Name: "a status without a pipeline", Steps: []ft.Step{ok, ok, ok, ok, ft.Reply(201, `{}`)}, Want: []int{0, 2, 2, 0}}},

		{react, ft.Try{Name: "eyes that are there", Steps: []ft.Step{ft.Reply(404, `{"message":"404 Award Emoji Name has already been taken Not Found"}`), ft.Reply(200, `[{"name":"heart"},{"name":"eyes"}]`)}, Want: []int{0}}},
		{react, ft.Try{Name: "eyes that nobody may give", Steps: []ft.Step{ft.Reply(404, `{}`), ft.Reply(200, `[{"name":"heart"}]`)}, Want: []int{0}, Err: vcs.ErrNotFound}},
		{react, ft.Try{Name: "eyes for no note", Steps: []ft.Step{ft.Reply(404, `{}`), ft.Reply(404, `{}`)}, Want: []int{0}, Err: vcs.ErrNotFound}},

		{foldTwo, ft.Try{Name: "fold after a fault", Steps: []ft.Step{ft.Reply(502, ``), ft.Reply(200, madeNote), ft.Cut(io.EOF), ft.Reply(200, madeNote), ft.Reply(404, ``)}, Want: []int{0, 0, 0, 0}}},
		{foldTwo, ft.Try{Name: "fold: what is gone in between", Steps: []ft.Step{ft.Reply(200, madeNote), ft.Reply(404, ``), ft.Reply(404, ``)}, Want: []int{0, 0}}},
		{foldTwo, ft.Try{Name: "fold: refused", Steps: []ft.Step{ft.Reply(200, madeNote), ft.Reply(403, `{"message":"no"}`)}, Want: []int{0}, Err: vcs.ErrRefused, Text: "no"}},
	} {
		t.Run(tt.Name, func(t *testing.T) {
			t.Parallel()
			tt.Run(t, func(ctx context.Context, transport http.RoundTripper) error {
				err := tt.do(ctx, client(t, gitlab.Config{HTTP: transport}))
				plainWords(t, err)
				return err
			})
		})
	}
}

// plainWords: an error is one short line that does not tell the token.
func plainWords(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if said := err.Error(); strings.Contains(said, botToken) || strings.ContainsAny(said, "\n\x1b") || len(said) > 600 {
		t.Errorf("error = %q, want a short line without the token", said)
	}
}

// TestRetryEndsWithContext: no one waits for what can't come in time, nor after being told to stop.
func TestRetryEndsWithContext(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		steps []ft.Step
		do    call
		after time.Duration
		want  error
	}{
		"waiting for the limit":    {[]ft.Step{ft.Reply(429, `{}`, "Retry-After", "61")}, create, 5 * time.Second, nil},
		"waiting for an answer":    {[]ft.Step{ft.Hangs}, create, 5 * time.Second, vcs.ErrInDoubt},
		"waiting for a lock":       {ft.Times(5, ft.Reply(409, `{}`)), create, time.Second, nil},
		"waiting for the pipeline": {ft.Times(2, ft.Reply(200, `[]`)), setStatus, time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(tt.after, cancel)
				began := time.Now()
				err := tt.do(ctx, client(t, gitlab.Config{HTTP: &ft.Script{Steps: tt.steps}}))
				if took := time.Since(began); took != tt.after || !errors.Is(err, context.Canceled) || errors.Is(err, vcs.ErrInDoubt) != (tt.want != nil) {
					t.Errorf("it took %s and says %v, want %s and Canceled", took, err, tt.after)
				}
			})
		})
	}
}

// TestFaults: the same over real connections, against the stand-in.
func TestFaults(t *testing.T) {
	t.Parallel()
	unauthorized := gitlabtest.Fault{Status: 401, Body: `{"message":"401 Unauthorized"}`}
	for name, tt := range map[string]struct {
		faults  []gitlabtest.Fault
		inDoubt bool
	}{
		"a 5xx":                     {[]gitlabtest.Fault{{Status: 502}}, true},
		"a 429":                     {[]gitlabtest.Fault{{Status: 429, Header: http.Header{"Retry-After": {"60"}}}}, false},
		"a cut answer":              {[]gitlabtest.Fault{{}}, true},
		"a 5xx after it was done":   {[]gitlabtest.Fault{{Status: 504, After: true}}, true},
		"a 401 in the first second": {[]gitlabtest.Fault{unauthorized}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t)
			if tt.faults[0].Status != http.StatusTooManyRequests {
				withFaults(t, s, s.client, tt.faults, tt.inDoubt)
				return
			}
			synctest.Test(t, func(t *testing.T) { // a minute passes in no time
				withFaults(t, s, client(t, gitlab.Config{APIURL: s.URL, HTTP: s}), tt.faults, tt.inDoubt)
			})
		})
	}
}

func withFaults(t *testing.T, s *stand, c *gitlab.Client, faults []gitlabtest.Fault, inDoubt bool) {
	t.Helper()
	s.Fail(faults...)
	if p, err := c.Pull(t.Context(), s.pull(t).Repo, 1); err != nil || p != s.pull(t) {
		t.Errorf("Pull() = %+v, %v, want it read", p, err)
	}
	s.Fail(faults...)
	if _, err := c.CreateComment(t.Context(), s.pull(t), "once"); errors.Is(err, vcs.ErrInDoubt) != inDoubt || err != nil && !inDoubt {
		t.Errorf("CreateComment() error = %v, want a doubt = %v", err, inDoubt)
	}
	if n := len(s.merge.Notes()); n > 1 {
		t.Errorf("the note was posted %d times", n)
	}
	s.Fail(faults...)
	if err := c.SetStatus(t.Context(), s.pull(t).Repo, s.merge.Head(), vcs.Status{Context: "x", State: vcs.Success}); err != nil {
		t.Errorf("SetStatus() error = %v", err)
	}
}

// TestRedirects: another host is never asked, and what would be another request is not made.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var other []string
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		other = append(other, r.Method+" "+r.Header.Get("Private-Token"))
		_, _ = io.WriteString(w, madeNote)
	}))
	defer evil.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, "/moved", http.StatusMovedPermanently)
			return
		}
		http.Redirect(w, r, evil.URL+"/x", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	pull := somePull()
	pull.Repo.ID.Forge = strings.TrimPrefix(srv.URL, "http://")
	c := client(t, gitlab.Config{APIURL: srv.URL})
	if _, err := c.CreateComment(t.Context(), pull, "x"); err == nil || errors.Is(err, vcs.ErrInDoubt) {
		t.Errorf("CreateComment() that would become a GET: error = %v, want one without doubt", err)
	}
	if _, err := c.Pull(t.Context(), pull.Repo, 12); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("Pull() sent to another host: error = %v, want one that says so", err)
	}
	if len(other) != 0 {
		t.Errorf("another host was asked: %v", other)
	}
}

// TestTokenStaysIn: neither errors nor logs tell the token, even when the forge repeats it.
func TestTokenStaysIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		echo := func(status int) ft.Step {
			return func(req *http.Request) (*http.Response, error) {
				token := req.Header.Get("Private-Token")
				return ft.Reply(status, fmt.Sprintf(`{"message":{"you sent %s":["%s\n\u001b[31m"]},"error":%q}`, token, token, token))(req)
			}
		}
		s := &ft.Script{Steps: []ft.Step{echo(500), ft.Cut(errors.New("proxy says: " + botToken)), echo(403)}}
		c := client(t, gitlab.Config{HTTP: s, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		err := list(t.Context(), c)
		for _, form := range []string{"%v", "%+v", "%#v"} {
			if said := fmt.Sprintf(form, err); err == nil || strings.Contains(said, botToken) || strings.ContainsAny(said, "\n\x1b") {
				t.Errorf("error as %s = %q, want one line without the token", form, said)
			}
		}
		if reqs := s.Requests; len(reqs) != 3 || reqs[0].Header.Get("Private-Token") != botToken || reqs[0].Header.Get("User-Agent") != "tidegate" {
			t.Errorf("%d requests, the first with %v", len(reqs), reqs[0].Header)
		}
		if strings.Contains(log.String(), botToken) || !strings.Contains(log.String(), "asking the forge again") {
			t.Errorf("log = %s, want retries without the token", log.String())
		}
	})
}

// TestToken: it is read anew each time, and nothing is sent without one.
func TestToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var token string
		var fail error
		s := &ft.Script{Steps: ft.Times(2, ft.Reply(200, `[]`))}
		c := client(t, gitlab.Config{HTTP: s, User: "someone", Token: func() (string, error) { return token, fail }})
		for _, token = range []string{"one", "two"} {
			if err := list(t.Context(), c); err != nil {
				t.Errorf("Comments() error = %v", err)
			}
			if got := s.Requests[len(s.Requests)-1].Header.Get("Private-Token"); got != token {
				t.Errorf("Private-Token = %q, want %q", got, token)
			}
			got, err := c.CloneCredential(t.Context(), somePull().Repo)
			if err != nil || got.Password != token || got.User != "someone" {
				t.Errorf("CloneCredential() = %+v, %v, want the token %q of someone", got, err, token)
			}
		}
		for _, token = range []string{"", "a token", "token\n"} {
			ft.CheckError(t, create(t.Context(), c), nil, "reading the token")
		}
		token, fail = "token", os.ErrPermission
		if err := create(t.Context(), c); !errors.Is(err, os.ErrPermission) || errors.Is(err, vcs.ErrInDoubt) {
			t.Errorf("CreateComment() without a token: error = %v, want ErrPermission and no doubt", err)
		}
		if len(s.Requests) != 2 {
			t.Errorf("%d requests, want none without a token", len(s.Requests))
		}
	})
}
