package github

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const publicHost = "github.com"

// address is where a forge instance is found.
type address struct {
	// api is the REST root, with a slash at its end.
	api     *url.URL
	graphql *url.URL
	kin     rest.Kin
}

func newAddress(c Config) (address, error) {
	host, err := rest.Host(c.Hostname, publicHost)
	if err != nil {
		return address{}, err
	}
	raw := c.APIURL
	if raw == "" {
		raw = apiURL(host)
	}
	api, err := rest.ParseRoot(raw)
	if err != nil {
		return address{}, fmt.Errorf("the API URL %w", err)
	}
	if c.APIURL != "" && host == publicHost {
		host = webHost(api)
	}
	a := address{api: api.JoinPath("/"), graphql: graphqlURL(api), kin: rest.Kin{Instance: rest.UsualHost(api.Scheme, host), IsLogin: isLogin}}
	if c.WebURL != "" {
		if a.kin.Web, err = rest.ParseRoot(c.WebURL); err != nil {
			return address{}, fmt.Errorf("the web URL %w", err)
		}
		return a, nil
	}
	a.kin.Web = &url.URL{Scheme: "https", Host: a.kin.Instance}
	if api.Scheme == "http" && rest.Loopback(a.kin.Web.Hostname()) {
		a.kin.Web.Scheme = "http"
	}
	return a, nil
}

// apiURL is the REST root by GitHub's own rules: one for github.com, one for the tenants of
// ghe.com, and /api/v3 on a GitHub Enterprise Server.
func apiURL(host string) string {
	if host == publicHost || strings.HasSuffix(host, ".ghe.com") {
		return "https://api." + host
	}
	return "https://" + host + "/api/v3"
}

// webHost is the host of the pages that belong to an API.
func webHost(api *url.URL) string {
	host := strings.ToLower(api.Host)
	if rest, ok := strings.CutPrefix(host, "api."); ok && (rest == publicHost || strings.HasSuffix(rest, ".ghe.com")) {
		return rest
	}
	return host
}

// graphqlURL is https://HOST/api/graphql beside https://HOST/api/v3, else "graphql" below the root.
func graphqlURL(api *url.URL) *url.URL {
	if strings.HasSuffix(strings.TrimRight(api.Path, "/"), "/api/v3") {
		return api.JoinPath("..", "graphql")
	}
	return api.JoinPath("graphql")
}

// Site says how links are written.
func (c *Client) Site() vcs.Site {
	return vcs.Site{
		Instance:     c.kin.Instance,
		Account:      c.user,
		CommentLimit: commentLimit,
		PullRef:      func(number int) string { return fmt.Sprintf("#%d", number) },
		PullURL:      func(r vcs.Repo, number int) string { return c.kin.Page(r, "pull", fmt.Sprint(number)).String() },
		CommitURL:    func(r vcs.Repo, sha string) string { return c.kin.Page(r, "commit", sha).String() },
		FileURL:      func(r vcs.Repo, sha, path string, line int) string { return c.kin.File(r, path, line, "blob", sha) },
	}
}
