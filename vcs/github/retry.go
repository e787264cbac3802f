package github

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
)

const (
	// attemptTime is how long one request may take.
	attemptTime = 30 * time.Second
	// faultTime is how long a forge that does not answer, or answers with a fault, is tried again.
	faultTime = 5 * time.Minute
	// limitTime is how long rate limits are waited for. GitHub's longest lasts an hour.
	limitTime  = 75 * time.Minute
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
	// limitPause is what GitHub asks for when it names no time.
	limitPause = time.Minute
)

// effect is what a request does when it is carried out twice.
type effect int

const (
	// same: no more than once does. Reads, deletions, and writes that set what is wanted.
	same effect = iota
	// more: something comes into being twice.
	more
)

// verdict is what follows from a failure.
type verdict int

const (
	final verdict = iota
	// fault: no usable answer. It may be better soon.
	fault
	// limited: the forge did nothing and says when to come again.
	limited
)

// failure is why a request did not do what was asked. go-github's errors are not wrapped: they hold
// the whole request.
type failure struct {
	op   string
	text string
	// kind is one of vcs's errors, or nil.
	kind error
	// cause is an error of ours or of the context, or nil.
	cause   error
	verdict verdict
	// wait is how long the forge asks to wait; for limited only.
	wait time.Duration
}

func (f *failure) Error() string {
	s := f.op + ": " + f.text
	if f.cause != nil {
		s += ": " + f.cause.Error()
	}
	if f.kind != nil {
		s += ": " + f.kind.Error()
	}
	return s
}

func (f *failure) Unwrap() []error {
	var all []error
	for _, err := range []error{f.kind, f.cause} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// do carries a request out that reads. It is tried again after a fault, and after a rate limit.
func (c *Client) do(ctx context.Context, op string, try func(context.Context) (*gh.Response, error)) error {
	return c.persist(ctx, op, func() *failure { return c.attempt(ctx, op, same, try) })
}

// write is do for what changes something in a repository. It is not tried again when it may have been
// carried out and would then be carried out twice. It waits while the repository is held back, and
// holds it back when the forge asks to slow down.
func (c *Client) write(ctx context.Context, op string, repo vcs.RepoID, e effect, try func(context.Context) (*gh.Response, error)) error {
	return c.persist(ctx, op, func() *failure {
		if err := c.holds.wait(ctx, repo); err != nil {
			return &failure{op: op, text: "the forge has asked to wait", cause: err}
		}
		f := c.attempt(ctx, op, e, try)
		if f != nil && f.verdict == limited {
			c.holds.extend(repo, f.pause(0))
		}
		return f
	})
}

// persist makes attempts until one succeeds, or no more are worth it.
func (c *Client) persist(ctx context.Context, op string, attempt func() *failure) error {
	var p patience
	for {
		f := attempt()
		if f == nil {
			return nil
		}
		wait, ok := p.next(f)
		if !ok {
			return f
		}
		if end, has := ctx.Deadline(); has && time.Until(end) < wait {
			f.text += "; no time is left to try again"
			return f
		}
		c.log.InfoContext(ctx, "asking the forge again", "op", op, "wait", wait.Round(time.Millisecond), "err", f)
		if err := sleep(ctx, wait); err != nil {
			f.cause = err
			return f
		}
	}
}

// pause is how long a limited request is to wait after so many limits before.
func (f *failure) pause(limits int) time.Duration {
	if f.wait > 0 {
		return f.wait
	}
	return limitPause << min(limits, 6)
}

// patience is how long a request has been waited for.
type patience struct {
	faults, limits       int
	faultWait, limitWait time.Duration
}

// next is how long to wait before the next attempt, and false when there is to be none.
func (p *patience) next(f *failure) (time.Duration, bool) {
	switch f.verdict {
	case fault:
		wait := jitter(min(firstPause<<min(p.faults, 10), maxPause))
		p.faults++
		p.faultWait += wait
		return wait, p.faultWait <= faultTime
	case limited:
		wait := jitter(f.pause(p.limits)) + time.Second
		p.limits++
		p.limitWait += wait
		return wait, p.limitWait <= limitTime
	case final:
	}
	return 0, false
}

// jitter adds up to a tenth, so that those who were stopped together do not come together again.
func jitter(d time.Duration) time.Duration {
	return d + rand.N(d/10+1) //nolint:gosec // nobody gains by guessing it
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// attempt makes one try.
func (c *Client) attempt(ctx context.Context, op string, e effect, try func(context.Context) (*gh.Response, error)) *failure {
	var trace trail
	once, cancel := context.WithTimeout(trace.watch(ctx), attemptTime)
	defer cancel()
	resp, err := try(once)
	if err == nil {
		return nil
	}
	f := c.judge(resp, err)
	f.op = op
	if e == more && f.verdict == fault && trace.mayHaveSent() {
		f.verdict, f.kind = final, vcs.ErrInDoubt
	}
	if err := ctx.Err(); err != nil && (f.verdict == fault || errors.Is(f, vcs.ErrInDoubt)) {
		f.verdict, f.cause = final, err
	}
	return f
}

// trail follows how far a request got.
type trail struct{ wanted, got atomic.Bool }

func (t *trail) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { t.wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { t.got.Store(true) },
	})
}

// mayHaveSent is false only when a connection was wanted and none was had.
func (t *trail) mayHaveSent() bool { return !t.wanted.Load() || t.got.Load() }

// judge says what an error of go-github's means.
func (c *Client) judge(resp *gh.Response, err error) *failure {
	var (
		rate   *gh.RateLimitError
		abuse  *gh.AbuseRateLimitError
		answer *gh.ErrorResponse
		second *gh.TwoFactorAuthError
		unsent *unsentError
		query  *queryError
	)
	switch {
	case errors.As(err, &unsent):
		return &failure{text: "nothing was sent", cause: unsent.err}
	case errors.As(err, &rate):
		f := &failure{verdict: limited, text: "the rate limit of the account is used up", wait: headerWait(rate.Response.Header)}
		if f.wait <= 0 && !rate.Rate.Reset.IsZero() {
			f.wait = max(time.Until(rate.Rate.Reset.Time), time.Second)
		}
		return f
	case errors.As(err, &abuse):
		f := &failure{verdict: limited, text: "the forge asks to slow down", wait: headerWait(abuse.Response.Header)}
		if f.wait <= 0 && abuse.RetryAfter != nil {
			f.wait = *abuse.RetryAfter
		}
		return f
	case errors.As(err, &second):
		return &failure{text: "the forge wants a second factor: use a token of an account or an app"}
	case errors.As(err, &answer):
		return c.judgeAnswer(answer)
	case errors.As(err, &query):
		return c.judgeQuery(query, resp.Header)
	case resp != nil && resp.Response != nil:
		return &failure{verdict: fault, text: fmt.Sprintf("the forge's answer (%d) is not what it should be: %s", resp.StatusCode, c.clean(err.Error()))}
	default:
		return &failure{verdict: fault, text: "no answer: " + c.clean(err.Error())}
	}
}

// judgeAnswer says what an answer that is no success means.
func (c *Client) judgeAnswer(e *gh.ErrorResponse) *failure {
	status := e.Response.StatusCode
	f := &failure{text: fmt.Sprintf("the forge answers %d: %s", status, c.words(e))}
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusForbidden && slowDown(e):
		f.verdict, f.wait = limited, headerWait(e.Response.Header)
	case status == http.StatusUnauthorized:
		f.text += "; the token is wrong or has expired"
	case status == http.StatusNotFound, status == http.StatusGone:
		f.kind = vcs.ErrNotFound
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= http.StatusInternalServerError:
		f.verdict = fault
	case status >= http.StatusBadRequest && status != http.StatusConflict:
		f.kind = vcs.ErrRefused
	case status < http.StatusBadRequest:
		f.text = fmt.Sprintf("the forge answers %d and sends us elsewhere, where we do not go", status)
	}
	return f
}

// words are what the forge says about a refusal.
func (c *Client) words(e *gh.ErrorResponse) string {
	said := []string{e.Message}
	if e.Message == "" {
		said[0] = http.StatusText(e.Response.StatusCode)
	}
	for i := range e.Errors {
		if m := e.Errors[i].Message; m != "" {
			said = append(said, m)
			continue
		}
		said = append(said, strings.TrimSpace(e.Errors[i].Field+" "+e.Errors[i].Code))
	}
	return c.clean(strings.Join(said, "; "))
}

// slowDown reports whether a 403 is a rate limit: GitHub has one status for both.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func slowDown(e *gh.ErrorResponse) bool {
	said := strings.ToLower(e.Message)
	return e.Response.Header.Get("Retry-After") != "" ||
		strings.Contains(said, "rate limit") || strings.Contains(said, "abuse detection")
}

// headerWait is how long an answer's headers ask to wait; 0 when they do not say.
func headerWait(h http.Header) time.Duration {
	if v := h.Get("Retry-After"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 32); err == nil && n >= 0 {
			return max(time.Duration(n)*time.Second, time.Second)
		}
		if at, err := http.ParseTime(v); err == nil {
			return max(time.Until(at), time.Second)
		}
	}
	if h.Get("X-RateLimit-Remaining") == "0" {
		if n, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return max(time.Until(time.Unix(n, 0)), time.Second)
		}
	}
	return 0
}
