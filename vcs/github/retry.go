package github

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// do carries a request out that reads.
func (c *Client) do(ctx context.Context, op string, try func(context.Context) (*gh.Response, error)) error {
	return c.rest.Do(ctx, op, c.answered(try))
}

// write carries a request out that changes something in a repository.
func (c *Client) write(ctx context.Context, op string, repo vcs.RepoID, e rest.Effect, try func(context.Context) (*gh.Response, error)) error {
	return c.rest.Write(ctx, op, repo, e, c.answered(try))
}

func (c *Client) answered(try func(context.Context) (*gh.Response, error)) func(context.Context) (*rest.Answer, error) {
	return func(ctx context.Context) (*rest.Answer, error) {
		a, err := answer(try(ctx))
		if err != nil && a != nil && c.account != nil && c.account.refused(ctx, a.Status) {
			return answer(try(ctx))
		}
		return a, err
	}
}

func answer(resp *gh.Response, err error) (*rest.Answer, error) {
	if resp == nil {
		return nil, err
	}
	return rest.From(resp.Response), err
}

// judge says what an error of go-github's means.
func (c *Client) judge(a *rest.Answer, err error) *rest.Failure {
	var (
		rate   *gh.RateLimitError
		abuse  *gh.AbuseRateLimitError
		answer *gh.ErrorResponse
		second *gh.TwoFactorAuthError
		query  *queryError
	)
	switch {
	case errors.As(err, &rate):
		f := &rest.Failure{Verdict: rest.Limited, Text: "the rate limit of the account is used up", Wait: rest.HeaderWait(rate.Response.Header)}
		if f.Wait <= 0 && !rate.Rate.Reset.IsZero() {
			f.Wait = max(time.Until(rate.Rate.Reset.Time), time.Second)
		}
		return f
	case errors.As(err, &abuse):
		f := &rest.Failure{Verdict: rest.Limited, Text: "the forge asks to slow down", Wait: rest.HeaderWait(abuse.Response.Header)}
		if f.Wait <= 0 && abuse.RetryAfter != nil {
			f.Wait = *abuse.RetryAfter
		}
		return f
	case errors.As(err, &second):
		return &rest.Failure{Text: "the forge wants a second factor: use a token of an account or an app"}
	case errors.As(err, &answer):
		return c.judgeAnswer(answer)
	case errors.As(err, &query):
		return c.judgeQuery(query, a.Header)
	}
	return nil
}

// judgeAnswer says what an answer that is no success means.
func (c *Client) judgeAnswer(e *gh.ErrorResponse) *rest.Failure {
	h := e.Response.Header
	if status := e.Response.StatusCode; status != http.StatusForbidden || !slowDown(e) {
		return rest.ByStatus(status, c.words(e), h)
	}
	return &rest.Failure{Verdict: rest.Limited, Wait: rest.HeaderWait(h), Text: "the forge answers 403: " + c.words(e)}
}

// words are what the forge says about a refusal.
func (c *Client) words(e *gh.ErrorResponse) string {
	said := []string{e.Message}
	if e.Message == "" {
		said[0] = http.StatusText(e.Response.StatusCode)
	}
	for i := range e.Errors {
		if m := e.Errors[i].Message; m != "" {
			said = append(said, m)
			continue
		}
		said = append(said, strings.TrimSpace(e.Errors[i].Field+" "+e.Errors[i].Code))
	}
	return c.rest.Clean(strings.Join(said, "; "))
}

// slowDown reports whether a 403 is a rate limit: GitHub has one status for both.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func slowDown(e *gh.ErrorResponse) bool {
	said := strings.ToLower(e.Message)
	return e.Response.Header.Get("Retry-After") != "" ||
		strings.Contains(said, "rate limit") || strings.Contains(said, "abuse detection")
}
