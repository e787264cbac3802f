package forgetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
)

// Script answers requests one after the other. It is for one goroutine in a bubble of fake time.
type Script struct {
	Steps []Step
	// Requests are what was asked, with their Bodies and their times.
	Requests []*http.Request
	Bodies   [][]byte
	at       []time.Time
}

// Step is one answer.
type Step func(req *http.Request) (*http.Response, error)

// RoundTrip is the next step.
func (s *Script) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		_ = req.Body.Close()
	}
	s.Requests, s.Bodies, s.at = append(s.Requests, req), append(s.Bodies, body), append(s.at, time.Now())
	if len(s.Requests) > len(s.Steps) {
		return nil, fmt.Errorf("request %d was not expected", len(s.Requests))
	}
	return s.Steps[len(s.Requests)-1](req)
}

// Waits are the times between the requests, in whole seconds.
func (s *Script) Waits() []int {
	var w []int
	for i := 1; i < len(s.at); i++ {
		w = append(w, int(s.at[i].Sub(s.at[i-1]).Seconds()))
	}
	return w
}

// Reply answers with a status and a body of JSON. headers are names and values in turn.
func Reply(status int, body string, headers ...string) Step {
	return func(req *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	}
}

// Later is Reply with a header whose value is made when the answer is given.
func Later(status int, body, name string, value func() string, headers ...string) Step {
	return func(req *http.Request) (*http.Response, error) {
		return Reply(status, body, append(headers, name, value())...)(req)
	}
}

// Cut is a connection that ends without an answer.
func Cut(err error) Step {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// Refused is a connection that never came about, as net/http's own transport tells it.
func Refused(req *http.Request) (*http.Response, error) {
	if tr := httptrace.ContextClientTrace(req.Context()); tr != nil {
		tr.GetConn(req.URL.Host)
	}
	return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
}

// Hangs until the request is given up.
func Hangs(req *http.Request) (*http.Response, error) {
	if tr := httptrace.ContextClientTrace(req.Context()); tr != nil {
		tr.GetConn(req.URL.Host)
		tr.GotConn(httptrace.GotConnInfo{})
	}
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// Times makes the same step several times.
func Times(n int, s Step) []Step {
	all := make([]Step, n)
	for i := range all {
		all[i] = s
	}
	return all
}

// Try is a call of a client that is answered by a script.
type Try struct {
	Name  string
	Steps []Step
	// Want are the shortest waits between requests, in seconds. What is slower by more than a fifth and two
	// seconds is wrong too.
	Want []int
	// Err is one of vcs's errors, Text a part of the error's words. Without both no error is wanted.
	Err  error
	Text string
}

// Run carries a call out in fake time.
func (tt Try) Run(t *testing.T, call func(ctx context.Context, transport http.RoundTripper) error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &Script{Steps: tt.Steps}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour) // for who never gives up
		defer cancel()
		CheckError(t, call(ctx, s), tt.Err, tt.Text)
		got := s.Waits()
		if len(got) != len(tt.Want) {
			t.Fatalf("%d requests after waits of %v, want waits of %v", len(s.Requests), got, tt.Want)
		}
		for i, want := range tt.Want {
			if got[i] < want || got[i] > want+want/5+2 {
				t.Errorf("waits = %v, want %v", got, tt.Want)
				break
			}
		}
	})
}

// Answers answers by what is asked.
type Answers func(req *http.Request) (*http.Response, error)

// RoundTrip is the answer.
func (a Answers) RoundTrip(req *http.Request) (*http.Response, error) { return a(req) }

// InTime carries a call out in fake time that must come to an end without an error within limit.
func InTime(t *testing.T, limit time.Duration, call func(ctx context.Context) error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		CheckError(t, call(t.Context()), nil, "")
		if took := time.Since(began); took > limit {
			t.Errorf("it took %s, want at most %s", took, limit)
		}
	})
}

// CheckError compares an error with the one that is wanted; see Try.
func CheckError(tb testing.TB, err, want error, text string) {
	tb.Helper()
	for _, kind := range []error{vcs.ErrInDoubt, vcs.ErrRefused, vcs.ErrNotFound} {
		if got := errors.Is(err, kind); got != errors.Is(want, kind) {
			tb.Errorf("error = %v, is %q = %v", err, kind, got)
		}
	}
	if (err != nil) != (want != nil || text != "") {
		tb.Errorf("error = %v, want %v with %q", err, want, text)
	}
	if err != nil && !strings.Contains(err.Error(), text) {
		tb.Errorf("error = %v, want %q in it", err, text)
	}
}

// CheckMerge expects a merge to be refused as want, or, where that is nil, to end in another error.
func CheckMerge(tb testing.TB, err error, want *vcs.NotMergedError, other error) {
	tb.Helper()
	var got *vcs.NotMergedError
	errors.As(err, &got)
	if diff := cmp.Diff(want, got); diff != "" || want == nil && !errors.Is(err, other) {
		tb.Errorf("Merge() error = %v, want %v; it differs (-want +got):\n%s", err, other, diff)
	}
}

// CheckSent expects so many requests.
func (s *Script) CheckSent(tb testing.TB, want int) {
	tb.Helper()
	if len(s.Requests) != want {
		tb.Errorf("%d requests were sent, want %d", len(s.Requests), want)
	}
}
