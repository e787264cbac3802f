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

	"github.com/tidegate/tidegate/vcs/internal/rest"
)

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
	case answer.Response.StatusCode == http.StatusConflict:
		// Somebody else holds the lock that the request needs: of a merge request, or of a pipeline.
		f.Verdict = rest.Fault
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
	return max(time.Until(time.Unix(n, 0)), time.Second)
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
