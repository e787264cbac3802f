package gitlab

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	publicHost = "gitlab.com"
	apiPath    = "/api/v4"
	// commentLimit leaves room below the 1,000,000 characters that GitLab takes, for what a note is folded in.
	commentLimit = 900_000
)

// address is where a forge instance is found.
type address struct {
	// api is the REST root, with a slash at its end.
	api *url.URL
	// web is the root of pages and clone URLs, without a slash at its end. It has a path where GitLab
	// is installed below one.
	web *url.URL
	// instance is the key of vcs.RepoID.Forge.
	instance string
}

func newAddress(c Config) (address, error) {
	host := strings.ToLower(c.Hostname)
	if host == "" {
		host = publicHost
	}
	if !rest.IsHost(host) {
		return address{}, fmt.Errorf("%q is not a host name", c.Hostname)
	}
	raw := c.APIURL
	if raw == "" {
		raw = "https://" + host
	}
	root, err := rest.ParseRoot(raw)
	if err != nil {
		return address{}, fmt.Errorf("the API URL %w", err)
	}
	root.Path, root.RawPath = strings.TrimSuffix(root.Path, apiPath), ""
	if c.APIURL != "" && host == publicHost {
		host = root.Host
	}
	a := address{api: root.JoinPath(apiPath, "/"), instance: rest.UsualHost(root.Scheme, host)}
	a.web = &url.URL{Scheme: "https", Host: a.instance, Path: root.Path}
	if root.Scheme == "http" && rest.Loopback(a.web.Hostname()) {
		a.web.Scheme = "http"
	}
	return a, nil
}

// page is the address of a project's page.
func (a address) page(path string, elem ...string) *url.URL {
	var all []string
	for _, e := range append(strings.Split(path, "/"), elem...) {
		all = append(all, url.PathEscape(e))
	}
	return a.web.JoinPath(all...)
}

// Site says how links are written.
func (c *Client) Site() vcs.Site {
	return vcs.Site{
		Instance:        c.instance,
		Account:         c.user,
		CommentLimit:    commentLimit,
		NoSlashCommands: true,
		PullRef:         func(number int) string { return fmt.Sprintf("!%d", number) },
		PullURL:         func(r vcs.Repo, number int) string { return c.pullPage(r, number) },
		CommitURL:       func(r vcs.Repo, sha string) string { return c.page(r.FullName(), "-", "commit", sha).String() },
		FileURL: func(r vcs.Repo, sha, path string, line int) string {
			u := c.page(r.FullName(), append([]string{"-", "blob", sha}, strings.Split(path, "/")...)...)
			if line > 0 {
				u.Fragment = fmt.Sprintf("L%d", line)
			}
			return u.String()
		},
	}
}

func (a address) pullPage(r vcs.Repo, number int) string {
	return a.page(r.FullName(), "-", "merge_requests", fmt.Sprint(number)).String()
}
