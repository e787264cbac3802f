package giteatest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var replays = regexp.MustCompile(`"([^"]*/replay/[0-9a-f-]{36})"`)

// Replay presses "Replay" on a webhook's page, such as /acme/infra/settings/hooks/1, for each of its last ten deliveries, the
// oldest first: the API has no such thing. Each is queued once more, under an id of its own. It answers how many there were.
func (s *Server) Replay(ctx context.Context, user, page string) (int, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return 0, err
	}
	visit := func(method, path string, form url.Values) (string, error) {
		req, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(form.Encode()))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, c := range jar.Cookies(req.URL) {
			if c.Name == "_csrf" { // as a Forgejo wants it
				req.Header.Set("X-Csrf-Token", c.Value)
			}
		}
		resp, err := (&http.Client{Jar: jar}).Do(req)
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s %s as %s: %s", method, path, user, resp.Status)
		}
		return string(body), err
	}
	if _, err := visit(http.MethodPost, "/user/login", url.Values{"user_name": {user}, "password": {password}}); err != nil {
		return 0, err
	}
	shown, err := visit(http.MethodGet, page, nil)
	if err != nil {
		return 0, err
	}
	found := replays.FindAllStringSubmatch(shown, -1)
	for _, at := range slices.Backward(found) {
		if _, err := visit(http.MethodPost, at[1], nil); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}
