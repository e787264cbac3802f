package github_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/github"
)

// script answers requests one after the other, in a bubble of fake time.
type script struct {
	steps []step
	reqs  []*http.Request
	at    []time.Time
}

// step is one answer.
type step func(req *http.Request) (*http.Response, error)

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.reqs, s.at = append(s.reqs, req), append(s.at, time.Now())
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	if len(s.reqs) > len(s.steps) {
		return nil, fmt.Errorf("request %d was not expected", len(s.reqs))
	}
	return s.steps[len(s.reqs)-1](req)
}

// keeper keeps the bodies of what a script is asked.
type keeper struct {
	*script
	bodies [][]byte
}

func (k *keeper) RoundTrip(req *http.Request) (*http.Response, error) {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	k.bodies = append(k.bodies, raw)
	return k.script.RoundTrip(req)
}

// waits are the times between the requests, in whole seconds.
func (s *script) waits() []int {
	var w []int
	for i := 1; i < len(s.at); i++ {
		w = append(w, int(s.at[i].Sub(s.at[i-1]).Seconds()))
	}
	return w
}

func reply(status int, body string, headers ...string) step {
	return func(req *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	}
}

// in makes a header's value when the answer is given.
func in(name string, value func() string, s func(...string) step) step {
	return func(req *http.Request) (*http.Response, error) { return s(name, value())(req) }
}

func cut(err error) step {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// refused is a connection that never came about, as net/http's own transport tells it.
func refused(req *http.Request) (*http.Response, error) {
	if tr := httptrace.ContextClientTrace(req.Context()); tr != nil {
		tr.GetConn("api.github.com:443")
	}
	return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
}

// hangs until the request is given up.
func hangs(req *http.Request) (*http.Response, error) {
	if tr := httptrace.ContextClientTrace(req.Context()); tr != nil {
		tr.GetConn("api.github.com:443")
		tr.GotConn(httptrace.GotConnInfo{})
	}
	<-req.Context().Done()
	return nil, req.Context().Err()
}

const (
	madeComment = `{"id":5,"node_id":"IC_5","body":"hi","user":{"login":"tidegate-bot"},"created_at":"2026-03-01T12:00:00Z"}`
	secondary   = `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes.","documentation_url":"https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`
)

func somePull() vcs.Pull {
	return vcs.Pull{
		Repo: vcs.Repo{
			ID: vcs.RepoID{Forge: "github.com", ID: 7}, Owner: "acme", Name: "infra",
			CloneURL: "https://github.com/acme/infra.git", URL: "https://github.com/acme/infra",
		},
		Number: 12, Author: "ana",
	}
}

type call func(ctx context.Context, c *github.Client) error

func create(ctx context.Context, c *github.Client) error {
	got, err := c.CreateComment(ctx, somePull(), "hi")
	if err == nil && got.ID != 5 {
		return fmt.Errorf("comment %d, want 5", got.ID)
	}
	return err
}

func edit(ctx context.Context, c *github.Client) error {
	return c.EditComment(ctx, somePull(), 5, "hi")
}

func remove(ctx context.Context, c *github.Client) error {
	return c.DeleteComment(ctx, somePull(), 5)
}

func status(ctx context.Context, c *github.Client) error {
	return c.SetStatus(ctx, somePull().Repo, strings.Repeat("a", 40), vcs.Status{Context: "x", State: vcs.Success})
}

func list(ctx context.Context, c *github.Client) error {
	_, err := c.Comments(ctx, somePull(), time.Time{})
	return err
}

func foldTwo(ctx context.Context, c *github.Client) error {
	return c.Fold(ctx, somePull(), []vcs.Comment{{Node: "IC_1"}, {Node: "IC_2"}, {}})
}

func read(ctx context.Context, c *github.Client) error {
	_, err := c.Pull(ctx, somePull().Repo, 12)
	return err
}

// steps makes the same step several times.
func steps(n int, s step) []step {
	all := make([]step, n)
	for i := range all {
		all[i] = s
	}
	return all
}

func TestRetry(t *testing.T) {
	t.Parallel()
	unix := func(d time.Duration) func() string {
		return func() string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	}
	date := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	usedUp := func(h ...string) step {
		return reply(403, `{"message":"API rate limit exceeded for user ID 1."}`, append(h, "X-RateLimit-Limit", "5000", "X-RateLimit-Remaining", "0")...)
	}
	tooMany := func(h ...string) step { return reply(429, `{"message":"slow"}`, h...) }
	slow := func(h ...string) step { return reply(403, secondary, h...) }
	ok := reply(200, `[]`)
	created := reply(201, madeComment)
	for _, tt := range []struct {
		name  string
		do    call
		steps []step
		// want are the shortest waits between requests, in seconds. What is slower by more than a
		// fifth and two seconds is wrong too.
		want []int
		err  error
		text string
	}{
		{name: "at once", do: list, steps: []step{ok}},
		{name: "a fault", do: list, steps: []step{reply(502, `<html>`), cut(io.ErrUnexpectedEOF), refused, reply(200, `[{"id":`), ok}, want: []int{0, 1, 2, 4}},
		{name: "faults without end", do: list, steps: steps(40, reply(500, `{"message":"oops"}`)), want: []int{0, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30, 30}, text: "oops"},
		{name: "a request that hangs", do: list, steps: []step{hangs, ok}, want: []int{30}},
		{name: "answers that say nothing", do: list, steps: []step{reply(200, ``), reply(200, " \r\n"), ok}, want: []int{0, 1}},
		{name: "status is sent again", do: status, steps: []step{reply(503, ``), reply(201, `{}`)}, want: []int{0}},
		{name: "edit is sent again", do: edit, steps: []step{cut(io.EOF), reply(200, madeComment)}, want: []int{0}},
		{name: "delete is sent again and finds nothing", do: remove, steps: []step{hangs, reply(404, `{}`)}, want: []int{30}},
		{name: "delete of what is gone", do: remove, steps: []step{reply(410, `{}`)}},

		{name: "a comment, not connected", do: create, steps: []step{refused, refused, created}, want: []int{0, 1}},
		{name: "a comment, cut", do: create, steps: []step{cut(io.ErrUnexpectedEOF)}, err: vcs.ErrInDoubt},
		{name: "a comment, 502", do: create, steps: []step{reply(502, ``)}, err: vcs.ErrInDoubt},
		{name: "a comment, 503 with a time", do: create, steps: []step{reply(503, ``, "Retry-After", "1")}, err: vcs.ErrInDoubt},
		{name: "a comment, no answer", do: create, steps: []step{hangs}, err: vcs.ErrInDoubt},
		{name: "a comment, half an answer", do: create, steps: []step{reply(201, `{"id":5,`)}, err: vcs.ErrInDoubt},
		{name: "a comment, an empty answer", do: create, steps: []step{reply(201, ``)}, err: vcs.ErrInDoubt},
		{name: "a comment, 202", do: create, steps: []step{reply(202, `{}`)}, err: vcs.ErrInDoubt},
		{name: "a comment, slowed down, then made", do: create, steps: []step{slow("Retry-After", "7"), tooMany("Retry-After", "9"), created}, want: []int{8, 10}},
		{name: "a comment, slowed down, then cut", do: create, steps: []step{slow("Retry-After", "7"), cut(io.EOF)}, want: []int{8}, err: vcs.ErrInDoubt},
		{name: "a comment, refused", do: create, steps: []step{reply(403, `{"message":"Resource not accessible by personal access token"}`)}, err: vcs.ErrRefused, text: "not accessible"},

		{name: "secondary limit, seconds", do: list, steps: []step{slow("Retry-After", "30"), ok}, want: []int{31}},
		{name: "secondary limit, a date", do: list, steps: []step{in("Retry-After", date(90*time.Second), slow), ok}, want: []int{91}},
		{name: "secondary limit, no time", do: list, steps: []step{slow(), slow(), ok}, want: []int{61, 121}},
		{name: "secondary limit by its words", do: list, steps: []step{reply(403, `{"message":"You have triggered an abuse detection mechanism."}`), ok}, want: []int{61}},
		{name: "secondary limit by its header", do: list, steps: []step{reply(403, `{"message":"Forbidden"}`, "Retry-After", "5"), ok}, want: []int{6}},
		{name: "429 without a time", do: list, steps: []step{tooMany(), ok}, want: []int{61}},
		{name: "429 with a reset", do: list, steps: []step{in("X-RateLimit-Reset", unix(100*time.Second), func(h ...string) step {
			return tooMany(append(h, "X-RateLimit-Remaining", "0")...)
		}), ok}, want: []int{101}},
		{name: "a date that is over", do: list, steps: []step{in("Retry-After", date(-time.Hour), tooMany), ok}, want: []int{2}},
		{name: "nonsense for a time", do: list, steps: []step{tooMany("Retry-After", "soon"), ok}, want: []int{61}},
		{name: "the hour is used up", do: list, steps: []step{in("X-RateLimit-Reset", unix(20*time.Minute), usedUp), ok}, want: []int{1200}},
		// GitHub's clock is an hour behind ours, which begins with the year 2000 here.
		{name: "the hour of another clock is used up", do: list, steps: []step{usedUp("X-RateLimit-Reset", "946682400", "Date", "Fri, 31 Dec 1999 23:00:00 GMT"), ok}, want: []int{1200}},
		{name: "used up for longer than any limit lasts", do: list, steps: []step{in("X-RateLimit-Reset", unix(48*time.Hour), usedUp)}, text: "rate limit"},
		{name: "slowed down without end", do: list, steps: steps(100, slow("Retry-After", "1200")), want: []int{1200, 1200, 1200}, text: "slow down"},
		{name: "the last one of the hour", do: func(ctx context.Context, c *github.Client) error {
			return errors.Join(list(ctx, c), list(ctx, c))
		}, steps: []step{in("X-RateLimit-Reset", unix(10*time.Minute), func(h ...string) step {
			return reply(200, `[]`, append(h, "X-RateLimit-Limit", "5000", "X-RateLimit-Remaining", "0")...)
		}), ok}, want: []int{600}},

		{name: "the token", do: list, steps: steps(9, reply(401, `{"message":"Bad credentials"}`)), want: []int{0, 1, 2}, text: "token is wrong or has expired"},
		{name: "a token that was made a moment ago", do: create, steps: []step{reply(401, `{"message":"Bad credentials"}`), reply(201, madeComment)}, want: []int{0}},
		{name: "a second factor", do: list, steps: []step{reply(401, `{}`, "X-GitHub-OTP", "required; app")}, text: "second factor"},
		{name: "not found", do: list, steps: []step{reply(404, `{"message":"Not Found"}`)}, err: vcs.ErrNotFound},
		{name: "gone", do: edit, steps: []step{reply(410, `{}`)}, err: vcs.ErrNotFound},
		{name: "forbidden", do: edit, steps: []step{reply(403, `{"message":"Must have admin rights"}`)}, err: vcs.ErrRefused, text: "admin rights"},
		{name: "unprocessable", do: status, steps: []step{reply(422, `{"message":"Validation Failed","errors":[{"field":"description","code":"too_long"},"x"]}`)}, err: vcs.ErrRefused, text: "Validation Failed; description too_long; x"},
		{name: "bad request", do: status, steps: []step{reply(400, `{"message":"Problems parsing JSON"}`)}, err: vcs.ErrRefused},
		{name: "for legal reasons", do: read, steps: []step{reply(451, `{"message":"Repository access blocked"}`)}, err: vcs.ErrRefused},
		{name: "a conflict may pass", do: edit, steps: []step{reply(409, `{"message":"again"}`)}, text: "409"},
		{name: "a pull request that is none", do: read, steps: []step{reply(200, `{"number":12}`)}, text: "base.repo"},
		{name: "comments without ids", do: list, steps: []step{reply(200, `[{"body":"x"}]`)}, text: "without an id"},

		{name: "folded", do: foldTwo, steps: []step{reply(200, `{"data":{"c0":{}}}`)}},
		{name: "fold after a fault", do: foldTwo, steps: []step{reply(502, ``), reply(200, `{"data":{"c0":{}}}`)}, want: []int{0}},
		{name: "fold: errors in a success", do: foldTwo, steps: []step{reply(200, `{"data":{"c0":null},"errors":[{"type":"FORBIDDEN","message":"no"}]}`)}, err: vcs.ErrRefused, text: "no"},
		{name: "fold: errors without a type", do: foldTwo, steps: []step{reply(200, `{"errors":[{"message":"parse error"}]}`)}, err: vcs.ErrRefused, text: "parse error"},
		{name: "fold: what is gone", do: foldTwo, steps: []step{reply(200, `{"data":{"c0":{},"c1":null},"errors":[{"type":"NOT_FOUND","message":"no"}]}`)}},
		{name: "fold: gone and forbidden", do: foldTwo, steps: []step{reply(200, `{"errors":[{"type":"NOT_FOUND","message":"no"},{"type":"FORBIDDEN","message":"no"}]}`)}, err: vcs.ErrRefused},
		{name: "fold: no GraphQL here", do: foldTwo, steps: []step{reply(404, `{"message":"Not Found"}`)}, err: vcs.ErrNotFound},
		{name: "fold: a timeout of the forge's", do: foldTwo, steps: []step{
			reply(200, `{"errors":[{"message":"Something went wrong while executing your query. This may be the result of a timeout, or it could be a GitHub bug."}]}`), reply(200, `{"data":{}}`),
		}, want: []int{0}},
		{name: "fold: slow down", do: foldTwo, steps: []step{
			reply(200, `{"errors":[{"message":"You have exceeded a secondary rate limit."}]}`, "Retry-After", "7"), reply(200, `{"data":{}}`),
		}, want: []int{7}},
		{name: "fold: limited", do: foldTwo, steps: []step{in("X-RateLimit-Reset", unix(5*time.Minute), func(h ...string) step {
			return reply(200, `{"errors":[{"type":"RATE_LIMITED","message":"no"}]}`, append(h, "X-RateLimit-Remaining", "0")...)
		}), reply(200, `{"data":{}}`)}, want: []int{300}},
		{name: "fold: an answer that is none", do: foldTwo, steps: []step{reply(200, `{}`), reply(200, `<html>`), reply(200, `{"data":{}}`)}, want: []int{0, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: tt.steps}
				ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour) // for who never gives up
				defer cancel()
				err := tt.do(ctx, client(t, github.Config{HTTP: s}))
				checkError(t, err, tt.err, tt.text)
				got := s.waits()
				if len(got) != len(tt.want) {
					t.Fatalf("%d requests after waits of %v, want waits of %v", len(s.reqs), got, tt.want)
				}
				for i, want := range tt.want {
					if got[i] < want || got[i] > want+want/5+2 {
						t.Errorf("waits = %v, want %v", got, tt.want)
						break
					}
				}
			})
		})
	}
}

func checkError(t *testing.T, err, want error, text string) {
	t.Helper()
	for _, kind := range []error{vcs.ErrInDoubt, vcs.ErrRefused, vcs.ErrNotFound} {
		if got := errors.Is(err, kind); got != errors.Is(want, kind) {
			t.Errorf("error = %v, is %q = %v", err, kind, got)
		}
	}
	if (err != nil) != (want != nil || text != "") {
		t.Errorf("error = %v, want %v with %q", err, want, text)
	}
	if err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("error = %v, want %q in it", err, text)
	}
	if err != nil && strings.Contains(err.Error(), "token-nobody") {
		t.Errorf("error = %v tells the token", err)
	}
}

// TestRetryEndsWithContext: no one waits for what can't come in time, nor after being told to stop.
func TestRetryEndsWithContext(t *testing.T) {
	t.Parallel()
	t.Run("no time is left", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s, began := &script{steps: []step{reply(429, `{}`, "Retry-After", "61")}}, time.Now()
			err := create(ctx, client(t, github.Config{HTTP: s}))
			checkError(t, err, nil, "no time is left")
			if took := time.Since(began); took != 0 {
				t.Errorf("it took %s, want nothing waited for", took)
			}
		})
	})
	t.Run("stopped while waiting", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(5*time.Second, cancel)
			began := time.Now()
			err := create(ctx, client(t, github.Config{HTTP: &script{steps: []step{reply(429, `{}`, "Retry-After", "61")}}}))
			checkError(t, err, nil, "429")
			if took := time.Since(began); took != 5*time.Second || !errors.Is(err, context.Canceled) {
				t.Errorf("it took %s and says %v, want 5s and Canceled", took, err)
			}
		})
	})
	t.Run("stopped while a comment is on its way", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(5*time.Second, cancel)
			err := create(ctx, client(t, github.Config{HTTP: &script{steps: []step{hangs}}}))
			checkError(t, err, vcs.ErrInDoubt, "")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error = %v, want Canceled too", err)
			}
		})
	})
	t.Run("stopped while reading", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			err := list(ctx, client(t, github.Config{HTTP: &script{steps: []step{hangs}}}))
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error = %v, want DeadlineExceeded", err)
			}
		})
	})
}

// TestConnectionCut is the doubt with real connections.
func TestConnectionCut(t *testing.T) {
	t.Parallel()
	var posts int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		posts++
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}))
	defer srv.Close()
	pull := somePull()
	pull.Repo.ID.Forge = strings.TrimPrefix(srv.URL, "http://")
	c := client(t, github.Config{APIURL: srv.URL})
	if _, err := c.CreateComment(t.Context(), pull, "x"); !errors.Is(err, vcs.ErrInDoubt) {
		t.Errorf("CreateComment() over a cut connection: error = %v, want ErrInDoubt", err)
	}
	srv.Close()
	if posts != 1 {
		t.Errorf("the comment was sent %d times, want once", posts)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	_, err := c.CreateComment(ctx, pull, "x")
	if err == nil || errors.Is(err, vcs.ErrInDoubt) {
		t.Errorf("CreateComment() to nobody: error = %v, want one without doubt", err)
	}
}

// TestRedirects: a renamed repository is followed, another host never, nor what the forge's own host has beside the API.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var other []string
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		other = append(other, r.Method+" "+r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, madeComment)
	}))
	defer evil.Close()
	var seen []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.URL.Path)
		switch {
		case !strings.HasPrefix(r.URL.Path, "/api/v3/"):
			other = append(other, r.Method+" "+r.Header.Get("Authorization"))
		case r.Header.Get("Authorization") != "Bearer "+botToken:
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, "/api/v3/moved"):
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, madeComment)
		case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/13/comments"):
			http.Redirect(w, r, "/api/v3/moved", http.StatusMovedPermanently)
		case strings.HasSuffix(r.URL.Path, "/14/comments"):
			http.Redirect(w, r, "/beside", http.StatusTemporaryRedirect)
		case r.Method == http.MethodPost:
			http.Redirect(w, r, "/api/v3/moved", http.StatusTemporaryRedirect)
		default:
			http.Redirect(w, r, evil.URL+"/x", http.StatusTemporaryRedirect)
		}
	}))
	defer srv.Close()
	pull := somePull()
	pull.Repo.ID.Forge = strings.TrimPrefix(srv.URL, "http://")
	c := client(t, github.Config{APIURL: srv.URL + "/api/v3"})
	if made, err := c.CreateComment(t.Context(), pull, "x"); err != nil || made.ID != 5 {
		t.Errorf("CreateComment() in a renamed repository = %+v, %v, want it made", made, err)
	}
	pull.Number = 13
	if _, err := c.CreateComment(t.Context(), pull, "x"); err == nil || errors.Is(err, vcs.ErrInDoubt) {
		t.Errorf("CreateComment() that would become a GET: error = %v, want one without doubt", err)
	}
	if err := c.EditComment(t.Context(), pull, 5, "x"); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("EditComment() sent to another host: error = %v, want one that says so", err)
	}
	pull.Number = 14
	if _, err := c.CreateComment(t.Context(), pull, "x"); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("CreateComment() sent to another site on the same host: error = %v, want one that says so", err)
	}
	if len(other) != 0 {
		t.Errorf("another site was asked: %v", other)
	}
	if len(seen) != 5 {
		t.Errorf("requests = %v, want five", seen)
	}
}

// TestTokenStaysIn: neither errors nor logs tell the token, even when the forge repeats it.
func TestTokenStaysIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		echo := func(status int) step {
			return func(req *http.Request) (*http.Response, error) {
				return reply(status, fmt.Sprintf(`{"message":"you sent %s\n\u001b[31m","errors":[{"message":%q}]}`, req.Header.Get("Authorization"), botToken))(req)
			}
		}
		s := &script{steps: []step{
			echo(500), cut(errors.New("proxy says: Bearer " + botToken)), echo(403),
			func(req *http.Request) (*http.Response, error) {
				return reply(200, `{"errors":[{"message":"`+req.Header.Get("Authorization")+`"}]}`)(req)
			},
		}}
		c := client(t, github.Config{HTTP: s, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		for _, err := range []error{list(t.Context(), c), foldTwo(t.Context(), c)} {
			for _, form := range []string{"%v", "%+v", "%#v"} {
				if said := fmt.Sprintf(form, err); err == nil || strings.Contains(said, botToken) || strings.ContainsAny(said, "\n\x1b") {
					t.Errorf("error as %s = %q, want one line without the token", form, said)
				}
			}
		}
		if len(s.reqs) != 4 || s.reqs[0].Header.Get("Authorization") != "Bearer "+botToken {
			t.Errorf("%d requests, the first with %q", len(s.reqs), s.reqs[0].Header.Get("Authorization"))
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
		s := &script{steps: []step{reply(200, `[]`), reply(200, `[]`)}}
		c := client(t, github.Config{HTTP: s, User: "someone", Token: func() (string, error) { return token, fail }})
		for _, token = range []string{"one", "two"} {
			if err := list(t.Context(), c); err != nil {
				t.Errorf("Comments() error = %v", err)
			}
			if got := s.reqs[len(s.reqs)-1].Header.Get("Authorization"); got != "Bearer "+token {
				t.Errorf("Authorization = %q, want the token %q", got, token)
			}
			got, err := c.CloneCredential(t.Context(), somePull().Repo)
			if err != nil || got.Password != token || got.User != "someone" {
				t.Errorf("CloneCredential() = %+v, %v, want the token %q of someone", got, err, token)
			}
		}
		for _, token = range []string{"", "a token-nobody", "token-nobody\n"} {
			checkError(t, create(t.Context(), c), nil, "reading the token")
			if _, err := c.CloneCredential(t.Context(), somePull().Repo); err == nil {
				t.Errorf("CloneCredential() with the token %q = nil error", token)
			}
		}
		token, fail = "token-nobody", os.ErrPermission
		if err := create(t.Context(), c); !errors.Is(err, os.ErrPermission) || errors.Is(err, vcs.ErrInDoubt) {
			t.Errorf("CreateComment() without a token: error = %v, want ErrPermission and no doubt", err)
		}
		if len(s.reqs) != 2 {
			t.Errorf("%d requests, want none without a token", len(s.reqs))
		}
	})
}
