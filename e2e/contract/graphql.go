package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// graphQL is where GitHub's GraphQL is, seen from the REST API of a server of one's own.
const graphQL = "/../graphql"

// onlyFolds wants the one query that is asked: comments are folded as outdated, and their ids are variables.
func onlyFolds(body []byte) error {
	var got struct {
		Query     string            `json:"query"`
		Variables map[string]string `json:"variables"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("reading the query: %w", err)
	}
	var params, fields []string
	for i := range len(got.Variables) {
		v := fmt.Sprintf("c%d", i)
		if got.Variables[v] == "" {
			return fmt.Errorf("the query has no variable %s among %q", v, got.Variables)
		}
		params = append(params, "$"+v+": ID!")
		fields = append(fields, v+": minimizeComment(input: {subjectId: $"+v+", classifier: OUTDATED}) { minimizedComment { isMinimized } }")
	}
	if len(params) == 0 {
		return errors.New("the query folds nothing")
	}
	want := "mutation(" + strings.Join(params, ", ") + ") { " + strings.Join(fields, " ") + " }"
	if words := strings.Join(strings.Fields(got.Query), " "); words != want {
		return fmt.Errorf("the query is %q, want %q", words, want)
	}
	return nil
}
