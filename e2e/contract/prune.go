package contract

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// areas are the parts of GitHub's API that are looked at: to read all of a description takes many times as long, the more so
// with the race detector. The description does not know what is in none of them.
func areas() []string {
	const repo = "/repos/{owner}/{repo}"
	out := []string{"/user", "/app", "/app/", repo}
	for _, area := range []string{"branches", "collaborators", "commits", "git", "hooks", "installation", "issues", "pulls", "rules", "statuses"} {
		out = append(out, repo+"/"+area, repo+"/"+area+"/")
	}
	return out
}

var refs = regexp.MustCompile(`"#/components/([^/"]+)/([^/"]+)"`)

// prune leaves of a description what is in the areas, and the components that this needs.
func prune(raw []byte) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	var paths map[string]json.RawMessage
	if err := json.Unmarshal(doc["paths"], &paths); err != nil {
		return nil, err
	}
	kept := map[string]json.RawMessage{}
	for path, item := range paths {
		if slices.ContainsFunc(areas(), func(a string) bool { return path == a || strings.HasSuffix(a, "/") && strings.HasPrefix(path, a) }) {
			kept[path] = item
		}
	}
	var all map[string]map[string]json.RawMessage
	if err := json.Unmarshal(doc["components"], &all); err != nil {
		return nil, err
	}
	components := map[string]map[string]json.RawMessage{}
	var need func(json.RawMessage)
	need = func(text json.RawMessage) {
		for _, ref := range refs.FindAllSubmatch(text, -1) {
			kind, name := string(ref[1]), string(ref[2])
			if components[kind] == nil {
				components[kind] = map[string]json.RawMessage{}
			}
			if _, had := components[kind][name]; !had {
				components[kind][name] = all[kind][name]
				need(all[kind][name])
			}
		}
	}
	for _, item := range kept {
		need(item)
	}
	return json.Marshal(map[string]any{"openapi": doc["openapi"], "info": doc["info"], "paths": kept, "components": components})
}
