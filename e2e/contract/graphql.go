package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// graphQL is where GitHub's GraphQL is, seen from the REST API of a server of one's own.
const graphQL = "/../graphql"

// ours wants one of the two queries that are asked: comments are folded as outdated, or it is asked what the reviews of a
// pull request come to.
func ours(body []byte) error {
	var got graph
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("reading the query: %w", err)
	}
	if strings.HasPrefix(got.Query, "query") {
		return onlyDecision(got)
	}
	return onlyFolds(got)
}

type graph struct {
	Query     string         `json:"query"`
	Variables map[string]any `json:"variables"`
}

func (g graph) is(want string) error {
	if words := strings.Join(strings.Fields(g.Query), " "); words != want {
		return fmt.Errorf("the query is %q, want %q", words, want)
	}
	return nil
}

func onlyDecision(got graph) error {
	owner, _ := got.Variables["owner"].(string)
	name, _ := got.Variables["name"].(string)
	if n, ok := got.Variables["number"].(float64); owner == "" || name == "" || !ok || n < 1 || len(got.Variables) != 3 {
		return fmt.Errorf("the query's variables are %v", got.Variables)
	}
	return got.is("query($owner: String!, $name: String!, $number: Int!) { " +
		"repository(owner: $owner, name: $name) { pullRequest(number: $number) { reviewDecision } } }")
}

// onlyFolds wants ids that are variables.
func onlyFolds(got graph) error {
	var params, fields []string
	for i := range len(got.Variables) {
		v := fmt.Sprintf("c%d", i)
		if id, _ := got.Variables[v].(string); id == "" {
			return fmt.Errorf("the query has no variable %s among %q", v, got.Variables)
		}
		params = append(params, "$"+v+": ID!")
		fields = append(fields, v+": minimizeComment(input: {subjectId: $"+v+", classifier: OUTDATED}) { minimizedComment { isMinimized } }")
	}
	if len(params) == 0 {
		return errors.New("the query folds nothing")
	}
	return got.is("mutation(" + strings.Join(params, ", ") + ") { " + strings.Join(fields, " ") + " }")
}
