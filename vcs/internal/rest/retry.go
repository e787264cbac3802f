package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

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
	// unsureTime is how long a token that is not taken is tried again.
	unsureTime = 4 * time.Second
	// limitPause is what GitHub asks for when it names no time.
	limitPause = time.Minute
)

// Effect is what a request does when it is carried out twice.
type Effect int

// The effects.
const (
	// Same: no more than once does. Reads, deletions, and writes that set what is wanted.
	Same Effect = iota
	// More: something comes into being twice.
	More
)

// Verdict is what follows from a failure.
type Verdict int

// The verdicts.
const (
	// Final: asking again changes nothing.
	Final Verdict = iota
	// Fault: no usable answer. It may be better soon.
	Fault
	// Busy: the forge did nothing, because somebody else is at it. It may be better soon.
	Busy
	// Limited: the forge did nothing and says when to come again.
	Limited
	// Unsure: the forge did nothing, and may think otherwise in a moment. One that has just started, or has just
	// made the token, may not know it yet.
	Unsure
)

// Failure is why a request did not do what was asked. The errors of a forge's own package are not
// wrapped: they hold the whole request.
type Failure struct {
	op   string
	Text string
	// Kind is one of vcs's errors, or nil.
	Kind error
	// Cause is an error of ours or of the context, or nil.
	Cause   error
	Verdict Verdict
	// Wait is how long the forge asks to wait; for Limited and Fault only.
	Wait time.Duration
}

func (f *Failure) Error() string {
	s := f.op + ": " + f.Text
	if f.Cause != nil {
		s += ": " + f.Cause.Error()
	}
	if f.Kind != nil {
		s += ": " + f.Kind.Error()
	}
	return s
}

func (f *Failure) Unwrap() []error {
	var all []error
	for _, err := range []error{f.Kind, f.Cause} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// persist makes attempts until one succeeds, or no more are worth it.
func (c *Client) persist(ctx context.Context, op string, attempt func() *Failure) error {
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
			f.Text += "; no time is left to try again"
			return f
		}
		c.log.InfoContext(ctx, "asking the forge again", "op", op, "wait", wait.Round(time.Millisecond), "err", f)
		if err := Sleep(ctx, wait); err != nil {
			f.Cause = err
			return f
		}
	}
}

// pause is how long a limited request is to wait after so many limits before. What the forge asks for is cut: nobody
// waits longer, and a date of the far future must not hold a repository back for ever. Who is told to come at once, time
// and again, comes ever more slowly.
func (f *Failure) pause(limits int) time.Duration {
	if f.Wait > 0 {
		return min(max(f.Wait, time.Second<<min(limits, 6)), limitTime)
	}
	return limitPause << min(limits, 6)
}

// patience is how long a request has been waited for.
type patience struct {
	faults, limits, doubts           int
	faultWait, limitWait, unsureWait time.Duration
}

// next is how long to wait before the next attempt, and false when there is to be none.
func (p *patience) next(f *Failure) (time.Duration, bool) {
	switch f.Verdict {
	case Fault, Busy:
		wait := jitter(min(max(firstPause<<min(p.faults, 10), f.Wait), maxPause))
		p.faults++
		p.faultWait += wait
		return wait, p.faultWait <= faultTime
	case Limited:
		wait := jitter(f.pause(p.limits)) + time.Second
		p.limits++
		p.limitWait += wait
		return wait, p.limitWait <= limitTime
	case Unsure:
		wait := jitter(firstPause << min(p.doubts, 10))
		p.doubts++
		p.unsureWait += wait
		return wait, p.unsureWait <= unsureTime
	case Final:
	}
	return 0, false
}

// jitter adds up to a tenth, so that those who were stopped together do not come together again.
func jitter(d time.Duration) time.Duration {
	return d + rand.N(d/10+1) //nolint:gosec // nobody gains by guessing it
}

// Sleep waits for so long, or until ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// attempt makes one try, and says whether another one is worth it for who asks.
func (c *Client) attempt(ctx context.Context, op string, e Effect, try func(context.Context) (*Answer, error)) *Failure {
	f := c.once(ctx, op, e, try)
	if f == nil {
		return nil
	}
	if err := ctx.Err(); err != nil && (f.Verdict == Fault || f.Verdict == Busy || errors.Is(f, vcs.ErrInDoubt)) {
		f.Verdict, f.Cause = Final, err
	}
	return f
}

func (c *Client) once(ctx context.Context, op string, e Effect, try func(context.Context) (*Answer, error)) *Failure {
	var trace trail
	once, cancel := context.WithTimeout(trace.watch(ctx), attemptTime)
	defer cancel()
	a, err := try(once)
	if err == nil {
		return nil
	}
	f := c.why(a, err)
	f.op = op
	if e == More && f.Verdict == Fault && trace.mayHaveSent() {
		f.Verdict, f.Kind = Final, vcs.ErrInDoubt
	}
	return f
}

// trail follows how far a request got.
type trail struct{ begun, wanted, got atomic.Bool }

// trailKey is where a context has its trail.
type trailKey struct{}

// begin says that a request with its token is about to be sent.
func begin(ctx context.Context) {
	if t, ok := ctx.Value(trailKey{}).(*trail); ok {
		t.begun.Store(true)
	}
}

func (t *trail) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(context.WithValue(ctx, trailKey{}, t), &httptrace.ClientTrace{
		GetConn: func(string) { t.wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { t.got.Store(true) },
	})
}

// mayHaveSent is false only when nothing was begun, or when a connection was wanted and none was had.
func (t *trail) mayHaveSent() bool { return t.begun.Load() && (!t.wanted.Load() || t.got.Load()) }

// why says what an error means.
func (c *Client) why(a *Answer, err error) *Failure {
	if unsent := (*unsentError)(nil); errors.As(err, &unsent) {
		f := &Failure{Text: "nothing was sent", Cause: unsent.err}
		if first := (*Failure)(nil); errors.As(unsent.err, &first) {
			f.Verdict, f.Wait = first.Verdict, first.Wait
		}
		return f
	}
	if f := c.judge(a, err); f != nil {
		return f
	}
	if a != nil {
		return &Failure{Verdict: Fault, Text: fmt.Sprintf("the forge's answer (%d) is not what it should be: %s", a.Status, c.Clean(err.Error()))}
	}
	f := &Failure{Verdict: Fault, Text: "no answer: " + c.Clean(err.Error())}
	if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
		f.Text += "; an authority of your own is trusted if SSL_CERT_FILE names the file of its certificate"
	}
	return f
}

// ByStatus says what an answer that is no success means, with the forge's own words for it, by what HTTP says.
func ByStatus(status int, said string, h http.Header) *Failure {
	f := &Failure{Text: fmt.Sprintf("the forge answers %d: %s", status, said)}
	switch {
	case status == http.StatusTooManyRequests:
		f.Verdict, f.Wait = Limited, HeaderWait(h)
	case status == http.StatusUnauthorized:
		f.Verdict = Unsure
		f.Text += "; the token is wrong or has expired"
	case status == http.StatusNotFound, status == http.StatusGone:
		f.Kind = vcs.ErrNotFound
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= http.StatusInternalServerError:
		f.Verdict, f.Wait = Fault, HeaderWait(h)
	case status >= http.StatusBadRequest && status != http.StatusConflict:
		f.Kind = vcs.ErrRefused
	case status < http.StatusBadRequest:
		f.Text = fmt.Sprintf("the forge answers %d and sends us elsewhere, where we do not go", status)
	}
	return f
}

// HeaderWait is how long an answer's headers ask to wait; 0 when they do not say.
func HeaderWait(h http.Header) time.Duration {
	if v := h.Get("Retry-After"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 32); err == nil && n >= 0 {
			return max(time.Duration(n)*time.Second, time.Second)
		}
		if at, err := http.ParseTime(v); err == nil {
			return Until(h, at)
		}
	}
	if h.Get("X-RateLimit-Remaining") == "0" {
		if n, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return Until(h, time.Unix(n, 0))
		}
	}
	return 0
}

// Until is how long it is until a time that an answer tells, by the forge's clock: ours may be another. It is a second at
// least.
func Until(h http.Header, at time.Time) time.Duration { return max(at.Sub(Clock(h)), time.Second) }
