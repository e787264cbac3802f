package gitea

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// do carries a request out that reads.
func (c *Client) do(ctx context.Context, op string, try func(*sdk.Client) (*sdk.Response, error)) error {
	return c.rest.Do(ctx, op, c.plain(try))
}

// write carries a request out that changes something in a repository.
func (c *Client) write(ctx context.Context, op string, repo vcs.RepoID, e rest.Effect, try func(*sdk.Client) (*sdk.Response, error)) error {
	return c.rest.Write(ctx, op, repo, e, c.plain(try))
}

// plain gives each attempt a client of its own: the SDK keeps the context in it.
func (c *Client) plain(try func(*sdk.Client) (*sdk.Response, error)) func(context.Context) (*rest.Answer, error) {
	return func(ctx context.Context) (*rest.Answer, error) {
		// Without a version to go by, the SDK asks the server for its own.
		api, err := sdk.NewClient(c.kin.Web.String(), sdk.SetGiteaVersion(""), sdk.SetContext(ctx),
			sdk.SetHTTPClient(c.rest.HTTP), sdk.SetUserAgent(rest.UserAgent))
		if err != nil {
			return nil, err
		}
		resp, err := try(api)
		if resp == nil {
			return nil, err
		}
		return rest.From(resp.Response), err
	}
}

// missing tells a fault of the forge from something that is not there. Both are answered 500, without a word, to
// who writes to an issue or a commit that does not exist: look asks for that itself, and is answered 404.
func missing(resp *sdk.Response, err error, look func() (*sdk.Response, error)) (*sdk.Response, error) {
	if err == nil || resp == nil || resp.StatusCode != http.StatusInternalServerError {
		return resp, err
	}
	if r, e := look(); e != nil && r != nil && r.StatusCode == http.StatusNotFound {
		return r, e
	}
	return resp, err
}

func pullOf(api *sdk.Client, p vcs.Pull) func() (*sdk.Response, error) {
	return func() (*sdk.Response, error) {
		_, resp, err := api.GetPullRequest(p.Repo.Owner, p.Repo.Name, int64(p.Number))
		return resp, err
	}
}

// mover follows a repository that was renamed when something is written to it. The forge answers 301 to each method,
// and net/http would go on with a GET; GitHub answers 307 for that.
type mover struct {
	base http.RoundTripper
	// root is where it may lead.
	root *url.URL
}

func (m mover) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := m.base.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusMovedPermanently || req.Method == http.MethodGet {
		return resp, err
	}
	to, err := req.URL.Parse(resp.Header.Get("Location"))
	if err != nil || !rest.Below(m.root, to) {
		return resp, nil
	}
	again := req.Clone(req.Context())
	again.URL = to
	if req.Body != nil {
		if req.GetBody == nil {
			return resp, nil
		}
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil
		}
	}
	_ = resp.Body.Close()
	return m.base.RoundTrip(again)
}

// judge says what an error of the SDK's means.
func (c *Client) judge(a *rest.Answer, err error) *rest.Failure {
	if a == nil || a.Status >= 200 && a.Status < 300 {
		return nil
	}
	return rest.ByStatus(a.Status, c.rest.Clean(err.Error()), a.Header)
}

// pages calls list for every page of a list. The forge says how many entries there are; where it does not, an empty
// page is the last one. list answers how many it got, and false when it wants no more.
func (c *Client) pages(op string, list func(sdk.ListOptions) (resp *sdk.Response, n int, more bool, err error)) error {
	seen := 0
	for page := 1; page <= maxPages; page++ {
		resp, n, more, err := list(sdk.ListOptions{Page: page, PageSize: c.pageSize})
		if err != nil {
			return err
		}
		seen += n
		total, err := strconv.Atoi(resp.Header.Get("X-Total-Count"))
		if n == 0 || !more || err == nil && seen >= total {
			return nil
		}
	}
	return fmt.Errorf("%s: the list has more than %d pages", op, maxPages)
}

// maxRefusal is how much is read of what the forge says about a refusal, in bytes.
const maxRefusal = 64 << 10

// refusal is an answer that is no success.
type refusal struct {
	status int
	said   string
}

func (r *refusal) Error() string { return r.said }

// once makes a request that the SDK can't make, or whose answer it does not give in full. in is a body of JSON, and out
// what is made of the answer's; either may be nil. The error is a *refusal where the forge says no.
func (c *Client) once(ctx context.Context, method, path string, in, out any) (*rest.Answer, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.kin.Web.JoinPath("api", "v1").String()+"/"+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", rest.UserAgent)
	resp, err := c.rest.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch good := resp.StatusCode >= 200 && resp.StatusCode < 300; {
	case good && out == nil:
		return rest.From(resp), nil
	case good:
		return rest.From(resp), json.NewDecoder(resp.Body).Decode(out)
	}
	var told struct {
		Message string `json:"message"`
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if err == nil {
		_ = json.Unmarshal(said, &told)
		err = &refusal{status: resp.StatusCode, said: told.Message}
	}
	return rest.From(resp), err
}

// pullPath is where a repository's pull requests are asked for, or one of them where there is a number.
func pullPath(repo vcs.Repo, number int) string {
	path := fmt.Sprintf("repos/%s/%s/pulls", url.PathEscape(repo.Owner), url.PathEscape(repo.Name))
	if number != 0 {
		path += fmt.Sprintf("/%d", number)
	}
	return path
}
