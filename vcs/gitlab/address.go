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
	// kin makes pages' addresses. Its root has a path where GitLab is installed below one.
	kin rest.Kin
}

func newAddress(c Config) (address, error) {
	host, err := rest.Host(c.Hostname, publicHost)
	if err != nil {
		return address{}, err
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
	host = rest.UsualHost(root.Scheme, host)
	web := &url.URL{Scheme: "https", Host: host, Path: root.Path}
	if root.Scheme == "http" && rest.Loopback(web.Hostname()) {
		web.Scheme = "http"
	}
	return address{api: root.JoinPath(apiPath, "/"), kin: rest.Kin{Web: web, Instance: host, IsLogin: isUser}}, nil
}

// Site says how links are written.
func (c *Client) Site() vcs.Site {
	return vcs.Site{
		Instance:        c.kin.Instance,
		Account:         c.user,
		CommentLimit:    commentLimit,
		NoSlashCommands: true,
		PullRef:         func(number int) string { return fmt.Sprintf("!%d", number) },
		PullURL:         c.pullPage,
		CommitURL:       func(r vcs.Repo, sha string) string { return c.kin.Page(r, "-", "commit", sha).String() },
		FileURL: func(r vcs.Repo, sha, path string, line int) string {
			return c.kin.File(r, path, line, "-", "blob", sha)
		},
	}
}

func (a address) pullPage(r vcs.Repo, number int) string {
	return a.kin.Page(r, "-", "merge_requests", fmt.Sprint(number)).String()
}
