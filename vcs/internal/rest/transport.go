package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer    = 32 << 20
	maxRedirects = 5
)

// Transport is net/http's own with bounds on how long a forge may be silent.
func Transport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t = t.Clone()
	t.TLSHandshakeTimeout = 10 * time.Second
	t.ResponseHeaderTimeout = attemptTime
	return t
}

// sender puts the token on requests to the API's own host, and sends none anywhere else.
type sender struct {
	base      http.RoundTripper
	api       *url.URL
	token     func(context.Context) (string, error)
	authorize func(http.Header, string)
	note      func(http.Header)
	// last is the token that was sent last, to be kept out of what the forge's words become.
	last atomic.Pointer[string]
}

// client sends requests that lead elsewhere only as far as checkRedirect lets them.
func (s *sender) client() *http.Client {
	return &http.Client{Transport: s, CheckRedirect: checkRedirect}
}

// unsentError says why nothing was sent. The reason does not pass by waiting, unless it is a *Failure that does.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }

func (s *sender) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.roundTrip(req)
	if err != nil && req.Body != nil {
		_ = req.Body.Close()
	}
	return resp, err
}

func (s *sender) roundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != s.api.Scheme || !strings.EqualFold(req.URL.Host, s.api.Host) {
		return nil, &unsentError{fmt.Errorf("a request for %s does not go to %s", s.api.Host, req.URL.Host)}
	}
	token, err := s.read(req.Context())
	if err != nil {
		return nil, err
	}
	out := req.Clone(req.Context())
	s.authorize(out.Header, token)
	begin(req.Context())
	resp, err := s.base.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	s.note(resp.Header)
	// Whoever prints the answer's request prints one without the token.
	resp.Request = req
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

// read reads the token, and checks that it can be one. Its error is an *unsentError.
func (s *sender) read(ctx context.Context) (string, error) {
	token, err := s.token(ctx)
	switch {
	case err != nil:
		return "", &unsentError{err}
	case token == "":
		return "", &unsentError{errors.New("reading the token: it is empty")}
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", &unsentError{errors.New("reading the token: it holds a character that no token has, such as a space or a line break")}
	}
	s.last.Store(&token)
	return token, nil
}

// checkRedirect follows a renamed repository on the same host. Everything else is answered as it
// is: another host must not see the request, and a POST that became a GET is another request.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host || req.Method != first.Method {
		return http.ErrUseLastResponse
	}
	return nil
}

// Clean makes the forge's words fit for a log line: one line, short, without the token.
func (c *Client) Clean(s string) string {
	if last := c.sender.last.Load(); last != nil {
		s = strings.ReplaceAll(s, *last, "[token]")
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return CutText(s, 300)
}
