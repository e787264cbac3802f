package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// foldAtOnce is how many comments one request folds.
const foldAtOnce = 50

// Fold hides comments as outdated, in one GraphQL request for each 50: REST can't. Comments without a
// node id are left as they are; one that is gone is no error.
func (c *Client) Fold(ctx context.Context, pull vcs.Pull, comments []vcs.Comment) error {
	const op = "folding comments"
	c, err := c.as(pull.Repo)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	var nodes []string
	for _, k := range comments {
		if k.Node != "" {
			nodes = append(nodes, k.Node)
		}
	}
	for len(nodes) > 0 {
		n := min(len(nodes), foldAtOnce)
		body, err := json.Marshal(minimize(nodes[:n]))
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		nodes = nodes[n:]
		err = c.write(ctx, op, pull.Repo.ID, rest.Same, func(ctx context.Context) (*gh.Response, error) { return c.query(ctx, body, nil) })
		if err != nil {
			return err
		}
	}
	return nil
}

type query struct {
	Query     string         `json:"query"`
	Variables map[string]any `json:"variables"`
}

// minimize writes one mutation for several comments. Their ids are variables: no id can become a
// part of the query.
func minimize(nodes []string) query {
	q := query{Variables: map[string]any{}}
	var params, fields []string
	for i, node := range nodes {
		v := fmt.Sprintf("c%d", i)
		q.Variables[v] = node
		params = append(params, fmt.Sprintf("$%s: ID!", v))
		fields = append(fields, fmt.Sprintf("  %s: minimizeComment(input: {subjectId: $%s, classifier: OUTDATED}) { minimizedComment { isMinimized } }", v, v))
	}
	q.Query = fmt.Sprintf("mutation(%s) {\n%s\n}", strings.Join(params, ", "), strings.Join(fields, "\n"))
	return q
}

// queryError is what GraphQL says went wrong in an answer that is a success for HTTP.
type queryError struct{ kinds, messages []string }

func (e *queryError) Error() string { return strings.Join(e.messages, "; ") }

// all reports whether every error is of the kind.
func (e *queryError) all(kind string) bool {
	for _, k := range e.kinds {
		if k != kind {
			return false
		}
	}
	return len(e.kinds) > 0
}

// query does not go through go-github: it would count GraphQL's rate limit as REST's. What is found is read into data,
// which may be nil.
func (c *Client) query(ctx context.Context, body []byte, data any) (*gh.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.graphql.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", rest.UserAgent)
	raw, err := c.rest.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Body.Close() }()
	resp := &gh.Response{Response: raw}
	if err := gh.CheckResponse(raw); err != nil {
		return resp, err
	}
	var got struct {
		Data   json.RawMessage `json:"data"`
		Errors []struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.NewDecoder(raw.Body).Decode(&got); err != nil {
		return resp, err
	}
	if len(got.Errors) == 0 {
		if len(got.Data) == 0 || string(got.Data) == "null" {
			return resp, errors.New("neither data nor errors")
		}
		if data != nil {
			return resp, json.Unmarshal(got.Data, data)
		}
		return resp, nil
	}
	problem := &queryError{}
	for _, e := range got.Errors {
		problem.kinds = append(problem.kinds, e.Type)
		problem.messages = append(problem.messages, e.Message)
	}
	if problem.all("NOT_FOUND") {
		// Comments that are gone, where the others of the request were folded; or a pull request that is.
		return resp, nil
	}
	return resp, problem
}

// judgeQuery says what GraphQL's errors mean. https://docs.github.com/graphql/overview/rate-limits-and-query-limits
func (c *Client) judgeQuery(e *queryError, h http.Header) *rest.Failure {
	f := &rest.Failure{Text: "the forge answers: " + c.rest.Clean(e.Error()), Kind: vcs.ErrRefused}
	said := strings.ToLower(e.Error())
	switch {
	case slices.Contains(e.kinds, "RATE_LIMITED"), strings.Contains(said, "rate limit"):
		return &rest.Failure{Verdict: rest.Limited, Text: "the rate limit of the account is used up", Wait: rest.HeaderWait(h)}
	case strings.Contains(said, "something went wrong"), slices.Contains(e.kinds, "INTERNAL"), slices.Contains(e.kinds, "SERVICE_UNAVAILABLE"):
		f.Verdict, f.Kind = rest.Fault, nil
	}
	return f
}
