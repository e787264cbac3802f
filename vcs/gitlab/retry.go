package gitlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	gl "github.com/xanzy/go-gitlab"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// get reads what is at a path.
func (c *Client) get(ctx context.Context, op, path string, opts, into any) error {
	_, err := c.readPage(ctx, op, path, opts, into)
	return err
}

// readPage reads a page of what is at a path. into must be new: what a cut answer left in it is written over.
func (c *Client) readPage(ctx context.Context, op, path string, opts, into any) (resp *gl.Response, err error) {
	err = c.rest.Do(ctx, op, func(ctx context.Context) (*rest.Answer, error) {
		resp, err = c.once(ctx, http.MethodGet, path, opts, into)
		return answerOf(resp), err
	})
	return resp, err
}

// send changes something in a project.
func (c *Client) send(ctx context.Context, op string, repo vcs.RepoID, e rest.Effect, method, path string, body, into any) error {
	return c.rest.Write(ctx, op, repo, e, func(ctx context.Context) (*rest.Answer, error) {
		resp, err := c.once(ctx, method, path, body, into)
		return answerOf(resp), err
	})
}

// once makes one request. opts are a query or a body, as the method has it.
func (c *Client) once(ctx context.Context, method, path string, opts, into any) (*gl.Response, error) {
	req, err := c.api.NewRequest(method, path, opts, []gl.RequestOptionFunc{gl.WithContext(ctx)})
	if err != nil {
		return nil, err
	}
	return c.api.Do(req, into)
}

func answerOf(resp *gl.Response) *rest.Answer {
	if resp == nil {
		return nil
	}
	return rest.From(resp.Response)
}

// pages calls list for every page of a list, whose options it turns over.
func pages(op string, opts *gl.ListOptions, list func() (*gl.Response, error)) error {
	opts.Page, opts.PerPage = 1, perPage
	for range maxPages {
		resp, err := list()
		if err != nil {
			return err
		}
		if resp.NextPage <= opts.Page {
			return nil
		}
		opts.Page = resp.NextPage
	}
	return fmt.Errorf("%s: the list has more than %d pages", op, maxPages)
}

// last is an answer after which no page is wanted.
func last(resp *gl.Response) *gl.Response {
	end := *resp
	end.NextPage = 0
	return &end
}

// judge says what an error of go-gitlab's means.
func (c *Client) judge(a *rest.Answer, err error) *rest.Failure {
	if errors.Is(err, gl.ErrNotFound) {
		return rest.ByStatus(http.StatusNotFound, "not found", http.Header{})
	}
	var answer *gl.ErrorResponse
	if !errors.As(err, &answer) {
		return nil
	}
	f := rest.ByStatus(answer.Response.StatusCode, c.words(answer), answer.Response.Header)
	switch {
	case answer.Response.StatusCode == http.StatusConflict && !isAnotherHead(answer):
		// Somebody else holds the lock that the request needs: of a merge request, or of a pipeline.
		f.Verdict = rest.Busy
	case f.Verdict == rest.Limited && f.Wait == 0:
		f.Wait = resetWait(a.Header)
	}
	return f
}

// resetWait is how long the account's limit lasts; 0 where GitLab does not say.
// https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
func resetWait(h http.Header) time.Duration {
	n, err := strconv.ParseInt(h.Get("RateLimit-Reset"), 10, 64)
	if err != nil || h.Get("RateLimit-Remaining") != "0" {
		return 0
	}
	return rest.Until(h, time.Unix(n, 0))
}

// words are what the forge says about a refusal: a text, or texts by field.
func (c *Client) words(e *gl.ErrorResponse) string {
	var body struct {
		Message any `json:"message"`
		Error   any `json:"error"`
	}
	if json.Unmarshal(e.Body, &body) != nil {
		return http.StatusText(e.Response.StatusCode)
	}
	said := append(texts(body.Message, 0), texts(body.Error, 0)...)
	if len(said) == 0 {
		return http.StatusText(e.Response.StatusCode)
	}
	return c.rest.Clean(strings.Join(said, "; "))
}

// texts are the texts in a value of JSON, so many levels down.
func texts(v any, depth int) []string {
	const deepest = 4
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			if depth < deepest {
				all = append(all, texts(one, depth+1)...)
			}
		}
		return all
	case map[string]any:
		var all []string
		for key, one := range v {
			if depth < deepest {
				all = append(all, key+" "+strings.Join(texts(one, depth+1), ", "))
			}
		}
		slices.Sort(all)
		return all
	case nil:
		return nil
	default:
		return []string{fmt.Sprint(v)}
	}
}

// unlimited is a gl.RateLimiter that never waits: waiting is what package rest does.
type unlimited struct{}

// Wait does not.
func (unlimited) Wait(context.Context) error { return nil }
