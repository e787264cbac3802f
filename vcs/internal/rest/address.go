package rest

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// ParseRoot reads an absolute URL that a token may be sent to.
func ParseRoot(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		// The parser's own words repeat the URL, and with it what should not be in there.
		return nil, errors.New("is not a URL")
	case u.User != nil:
		return nil, errors.New("must not hold a user or password")
	case u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, fmt.Errorf("%q is not an absolute URL of the form https://host/path", raw)
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		return nil, fmt.Errorf("%q would send the token in clear: plain http is for loopback addresses only", raw)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q is neither https nor http", raw)
	case hasDots(u):
		return nil, fmt.Errorf("%q must not have . or .. in its path", raw)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.Host = UsualHost(u.Scheme, strings.ToLower(u.Host))
	return u, nil
}

// Host reads the name or address of a host, perhaps with a port, into lower case. "" means the usual one.
func Host(given, usual string) (string, error) {
	host := cmp.Or(strings.ToLower(given), usual)
	if u, err := url.Parse("https://" + host); err != nil || u.Host != host || u.Hostname() == "" {
		return "", fmt.Errorf("%q is not a host name", given)
	}
	return host, nil
}

// Loopback reports whether a host is this machine, by its name.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// UsualHost drops the port that is the scheme's own.
func UsualHost(scheme, host string) string {
	if scheme == "http" {
		return strings.TrimSuffix(host, ":80")
	}
	return strings.TrimSuffix(host, ":443")
}

// Below reports whether a URL lies at or below a root: on its host, by its scheme, and by the elements of its path, none
// of which leads up again. What the root's own host serves beside it is another site.
func Below(root, u *url.URL) bool {
	if u.User != nil || u.Opaque != "" || u.Scheme != root.Scheme || usualHost(u) != usualHost(root) || hasDots(u) {
		return false
	}
	want, got := elements(root), elements(u)
	return len(got) >= len(want) && slices.Equal(got[:len(want)], want)
}

func usualHost(u *url.URL) string { return UsualHost(u.Scheme, strings.ToLower(u.Host)) }

// hasDots reports whether a part of the path is . or .., however it is written: git and servers put such a path in order
// before they use it.
func hasDots(u *url.URL) bool {
	parts := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' || r == '\\' })
	return slices.Contains(parts, ".") || slices.Contains(parts, "..")
}

// elements are those of the path. One that has a slash of its own stays one.
func elements(u *url.URL) []string {
	path := strings.TrimPrefix(strings.TrimRight(u.EscapedPath(), "/"), "/")
	if path == "" {
		return nil
	}
	all := strings.Split(path, "/")
	for i, one := range all {
		if plain, err := url.PathUnescape(one); err == nil {
			all[i] = plain
		}
	}
	return all
}

// OnSite says what is wrong with a URL that should lie on the forge's own site, at or below the root of its pages. A
// credential for the forge may be sent to a URL for which it is nil.
func OnSite(web *url.URL, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || raw == "":
		return errors.New("is not a URL")
	case u.User != nil || u.RawQuery != "" || u.Opaque != "":
		return errors.New("must be a plain URL without user and query")
	case u.Scheme != web.Scheme:
		return fmt.Errorf("has the scheme %q, want %q", CutText(u.Scheme, 20), web.Scheme)
	case usualHost(u) != usualHost(web):
		return fmt.Errorf("leads to the host %q, want %q", CutText(u.Host, 100), web.Host)
	case !Below(web, u):
		return fmt.Errorf("leads to the path %q, want one below %q", CutText(u.Path, 100), web.Path+"/")
	}
	return nil
}
