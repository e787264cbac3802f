package rest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
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

// sender puts the token on requests to the API, and sends none anywhere else.
type sender struct {
	base http.RoundTripper
	// roots are what may be asked, with all that is below it.
	roots     []*url.URL
	token     func(context.Context) (string, error)
	authorize func(http.Header, string)
	note      func(http.Header)
	// last is the token that was sent last, to be kept out of what the forge's words become.
	last atomic.Pointer[string]
}

// client sends requests that lead elsewhere only as far as checkRedirect lets them.
func (s *sender) client() *http.Client {
	return &http.Client{Transport: s, CheckRedirect: s.checkRedirect}
}

func (s *sender) may(u *url.URL) bool {
	return slices.ContainsFunc(s.roots, func(root *url.URL) bool { return Below(root, u) })
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
	if !s.may(req.URL) {
		return nil, &unsentError{fmt.Errorf("a request for %s does not go to %s", s.roots[0].Host, CutText(req.URL.Host+req.URL.Path, 200))}
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
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated {
		if why := noAnswer(req.Method, resp); why != "" {
			_ = resp.Body.Close()
			return nil, fmt.Errorf("the answer (%d) is %s", resp.StatusCode, why)
		}
	}
	return resp, nil
}

// noAnswer says what a body is that can't be an answer of an API; "" for any other. What is asked for is never answered
// with nothing but space, which the forges' libraries take for a list without entries; JSON's null may be one, as Gitea
// answers without reactions. A page is of something that stands before the forge, and nobody may take it for a success.
func noAnswer(method string, resp *http.Response) string {
	const some = 16
	body := bufio.NewReader(resp.Body)
	begin, err := body.Peek(some)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{body, resp.Body}
	said := bytes.TrimSpace(begin)
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case method == http.MethodGet && errors.Is(err, io.EOF) && len(said) == 0:
		return "empty"
	case kind == "text/html" && bytes.HasPrefix(said, []byte("<")):
		return "a page"
	}
	return ""
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

// checkRedirect follows a renamed repository within the API. Everything else is answered as it is: another
// site must not see the request, and a POST that became a GET is another request.
func (s *sender) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || !s.may(req.URL) || req.Method != via[0].Method {
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
