package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/server/webhook"
)

// wayHere asks for the server by its public address, as a forge would.
func (d *doctor) wayHere(ctx context.Context, s settings) {
	d.about("The way to this server")
	if s.private && !s.polls {
		d.warn("Set --url to where it does, or use --poll-interval, which needs no way in.", "--url is %s, where only this machine reaches the server", s.url)
	}
	ctx, cancel := context.WithTimeout(ctx, asked)
	defer cancel()
	to := s.events()
	if s.polls {
		to = s.url + "/healthz"
	}
	began := time.Now()
	got, err := answerTo(ctx, http.MethodGet, to)
	if err != nil {
		d.noWay(to, err)
		return
	}
	took := time.Since(began)
	switch {
	case s.polls:
		d.pollsAnswer(s.url, got.code)
	case got.isRefusal() && takesPost(ctx, to):
		d.ok("a server answers at %s, to POST alone", s.url)
	default:
		d.answers(to, got, took)
	}
}

// reply is what is answered to a request.
type reply struct {
	code   int
	header http.Header
	// text is its beginning.
	text string
}

// answerTo is what is answered to a request without a body.
func answerTo(ctx context.Context, method, to string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, nil)
	if err != nil {
		return reply{}, err
	}
	// No forge follows where a webhook is sent on to.
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what is cut is not ours
	return reply{resp.StatusCode, resp.Header, strings.TrimSpace(string(text))}, nil
}

// isOurs reports our answer to a GET where webhooks go.
func (r reply) isOurs() bool {
	return r.code == http.StatusMethodNotAllowed && r.header.Get("Allow") == http.MethodPost
}

// isRefusal reports an answer that may be of a proxy which passes nothing but POST.
func (r reply) isRefusal() bool {
	return r.code == http.StatusForbidden || r.code == http.StatusNotFound || r.code == http.StatusMethodNotAllowed && !r.isOurs()
}

// takesPost reports that the server itself refuses a webhook of nobody.
func takesPost(ctx context.Context, to string) bool {
	got, err := answerTo(ctx, http.MethodPost, to)
	return err == nil && got.code == http.StatusBadRequest && got.text == webhook.OfNobody
}

// pollsAnswer judges what is answered where only people go.
func (d *doctor) pollsAnswer(url string, code int) {
	if code != http.StatusOK {
		d.warn("No webhook has to come in, with --poll-interval. See that people can follow the links in comments, which lead there.", "%s/healthz is answered with %d", url, code)
		return
	}
	d.ok("a server answers at %s", url)
}

// hasty is how long GitHub waits for the answer to a webhook, and nobody waits for less.
// https://docs.github.com/webhooks/using-webhooks/best-practices-for-using-webhooks
const hasty = 10 * time.Second

// answers judges what is answered to a GET where webhooks go. Ours takes no GET there, and is asked for no password.
func (d *doctor) answers(to string, r reply, took time.Duration) {
	switch code := r.code; {
	case r.isOurs() && took < hasty:
		d.ok("a server answers at %s", strings.TrimSuffix(to, "/events"))
	case took >= hasty:
		d.bad("See what stands between: a forge waits ten seconds at most.", "%s answers after %s", to, took.Round(time.Second))
	case code/100 == 3:
		d.bad("Set --url to the address that answers itself: what is sent to this one is lost.", "%s sends elsewhere (%d): %q", to, code, r.header.Get("Location"))
	case code == http.StatusUnauthorized || code == http.StatusProxyAuthRequired:
		d.bad("Let the proxy before the server pass /events without a password: webhooks are signed.", "%s wants a password (%d)", to, code)
	case code == http.StatusForbidden:
		d.warn("Right if only the forge is let in. Else let the proxy before the server pass /events on: webhooks are signed.", "%s refuses who asks from here (%d)", to, code)
	case code == http.StatusBadGateway || code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout:
		d.bad("Start the server, or see where the proxy before it looks for it.", "a proxy answers at %s, and no server behind it (%d)", to, code)
	default:
		d.bad("See where --url leads, and that a proxy before the server passes /events on.", "%s is answered with %d by something else than a Tidegate", to, code)
	}
}

// noWay tells why nothing answers.
func (d *doctor) noWay(to string, err error) {
	var untrusted *tls.CertificateVerificationError
	var lookup *net.DNSError
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "proxyconnect":
		d.warn("See that HTTPS_PROXY is right, or name the host in NO_PROXY.", "the proxy that is asked for %s does not answer: %v", to, dial.Err)
	case errors.As(err, &untrusted):
		d.bad("Give it one for that name, whole with its chain, that forges trust. An authority of your own is trusted here if SSL_CERT_FILE names its certificate.",
			"the certificate of %s is not good: %v", to, untrusted.Err)
	case errors.As(err, &lookup):
		d.warn("See that --url is right. Where the forge is, this name has to be known.", "%s: the name is not known here: %v", to, lookup)
	case errors.Is(err, syscall.ECONNREFUSED):
		d.warn("Start it, and run this again.", "nothing answers at %s: %v", to, err)
	default:
		d.warn("Start it, or see what stands between (a firewall, a proxy), and run this again.", "nothing answers at %s: %v", to, err)
	}
}
