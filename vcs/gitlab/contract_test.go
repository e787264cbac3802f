package gitlab_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	gl "github.com/xanzy/go-gitlab"

	"github.com/tidegate/tidegate/vcs/gitlab/gitlabtest"
)

// shape is which kinds of JSON values stand at the keys of an object.
type shape map[string][]string

// add takes in a recorded value: an object, or a list of them.
func (s shape) add(v any) {
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			s.add(one)
		}
	case map[string]any:
		for key, value := range v {
			if kind := kindOf(value); !slices.Contains(s[key], kind) {
				s[key] = append(s[key], kind)
			}
		}
	}
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "list"
	default:
		return "object"
	}
}

// answer is what one of go-gitlab's own tests answers at a path.
type answer struct{ path, text string }

// answers are all of them, read from the sources of these tests.
var answers = sync.OnceValues(func() (all []answer, err error) { //nolint:gochecknoglobals // read once
	dir, err := recordings()
	if err != nil {
		return nil, err
	}
	sources, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*_test.go"))
	if err != nil {
		return nil, err
	}
	for _, source := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 || !strings.HasPrefix(text(call.Args[0]), "/api/v4/") {
				return true
			}
			ast.Inspect(call.Args[1], func(n ast.Node) bool {
				if s := text(n); s != "" {
					all = append(all, answer{text(call.Args[0]), s})
				}
				return true
			})
			return false
		})
	}
	return all, nil
})

// recordedShape is what go-gitlab's recordings have: files of its testdata, and what its own tests answer at paths.
func recordedShape(t *testing.T, pick string, files []string, path string) shape {
	t.Helper()
	s := shape{}
	take := func(raw []byte) {
		var v any
		if json.Unmarshal(raw, &v) == nil {
			s.add(picked(v, pick))
		}
	}
	for _, name := range files {
		raw, err := os.ReadFile(filepath.Join(recordingsDir(t), name))
		if err != nil {
			t.Fatal(err)
		}
		take(raw)
	}
	if path == "" {
		return s
	}
	all, err := answers()
	if err != nil {
		t.Fatal(err)
	}
	at := regexp.MustCompile(path)
	for _, a := range all {
		if at.MatchString(a.path) {
			take([]byte(a.text))
		}
	}
	return s
}

// text is what a string literal says.
func text(n ast.Node) string {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}

// picked is what stands at a key of a value, "" for the value itself.
func picked(v any, key string) any {
	if key == "" {
		return v
	}
	switch v := v.(type) {
	case []any:
		var all []any
		for _, one := range v {
			all = append(all, picked(one, key))
		}
		return all
	case map[string]any:
		return v[key]
	default:
		return nil
	}
}

// unknown are the keys of a document that a type of go-gitlab's does not know, in objects within too.
func unknown(doc any, t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	var all []string
	switch doc := doc.(type) {
	case []any:
		for _, one := range doc {
			all = append(all, unknown(one, t)...)
		}
	case map[string]any:
		if t.Kind() != reflect.Struct {
			return nil
		}
		fields := map[string]reflect.Type{}
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields[name] = f.Type
		}
		for key, value := range doc {
			if f, ok := fields[key]; ok {
				all = append(all, unknown(value, f)...)
			} else {
				all = append(all, key)
			}
		}
	}
	return all
}

// ask is the stand-in's answer, past the client.
func (s *stand) ask(t *testing.T, method, path, body string) any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+"/api/v4"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Private-Token", botToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s, %v", method, path, resp.StatusCode, raw, err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return v
}

// TestContract: what the stand-in answers has the form of what GitLab has answered go-gitlab: no key that is not
// recorded, no value of another kind. Where no recording has a key, go-gitlab's type must.
func TestContract(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	s.merge.Review("raj", "approve")
	s.merge.Review("root", "request_changes")
	s.merge.AddNote("ana", "hello")
	merged := s.project.AddMerge("raj", "Another", "other", "main")
	merged.Set(func(f *gitlabtest.Facts) { f.State, f.SourceProject = "merged", 0 })
	open := s.project.AddMerge("raj", "One more", "more", "main")
	pipe := s.project.AddPipeline(s.merge.Head(), "grow", "push")
	result, _ := open.AddResultPipeline()
	project := fmt.Sprintf("/projects/%d", s.project.ID())
	merge := project + "/merge_requests/1"
	head := s.merge.Head()
	note := s.merge.Notes()[0].ID
	const users = "get_user.json"
	for _, tt := range []struct {
		name, method, path, body string
		like                     any
		// recorded says that there is a recording, and in which files and at which paths; pick is a key within.
		recorded bool
		files    []string
		at, pick string
	}{
		{name: "merge request", path: merge, like: gl.MergeRequest{}, recorded: true, files: []string{"get_merge_request.json"}},
		{
			name: "merge requests", path: project + "/merge_requests?state=all", like: []gl.MergeRequest{}, recorded: true,
			files: []string{"get_merge_requests.json", "get_merge_request.json"},
		},
		{name: "merge requests of a commit", path: project + "/repository/commits/" + head + "/merge_requests", like: []gl.MergeRequest{}, recorded: true, at: `/commits/master/merge_requests$`},
		{name: "author", path: merge, like: gl.BasicUser{}, recorded: true, files: []string{"get_merge_request.json"}, pick: "author"},
		{name: "diff_refs", path: merge, like: gl.MergeRequest{}.DiffRefs, recorded: true, files: []string{"get_merge_request.json"}, pick: "diff_refs"},
		{name: "notes", path: merge + "/notes", like: []gl.Note{}, recorded: true, at: `/merge_requests/\d+/(discussions/\w+/)?notes(/\d+)?$`},
		{name: "a new note", method: "POST", path: merge + "/notes", body: `{"body":"x"}`, like: gl.Note{}, recorded: true, at: `/merge_requests/\d+/(discussions/\w+/)?notes(/\d+)?$`},
		{name: "an emoji", method: "POST", path: fmt.Sprintf("%s/notes/%d/award_emoji", merge, note), body: `{"name":"eyes"}`, like: gl.AwardEmoji{}, recorded: true, at: `/award_emoji(/\d+)?$`},
		{name: "emoji", path: fmt.Sprintf("%s/notes/%d/award_emoji", merge, note), like: []gl.AwardEmoji{}, recorded: true, at: `/award_emoji$`},
		{name: "approvals", path: merge + "/approvals", like: gl.MergeRequestApprovals{}},
		{name: "reviewers", path: merge + "/reviewers", like: []gl.MergeRequestReviewer{}, recorded: true, at: `/merge_requests/\d+/reviewers$`},
		{name: "users", path: "/users?username=ana", like: []gl.BasicUser{}, recorded: true, files: []string{"search_users.json", users}},
		{name: "the account", path: "/user", like: gl.User{}, recorded: true, files: []string{users}},
		{name: "the token", path: "/personal_access_tokens/self", like: gl.PersonalAccessToken{}, recorded: true, files: []string{"list_personal_access_tokens_single.json", "list_personal_access_tokens_with_user_filter.json"}},
		{name: "member", path: project + "/members/all/102", like: gl.ProjectMember{}, recorded: true, at: `/projects/\d+/members/all/\d+$`},
		{name: "project", path: project, like: gl.Project{}, recorded: true, at: `/projects/\d+(/export|/import)?$`},
		{name: "a new webhook", method: "POST", path: project + "/hooks", body: `{"url":"https://t.example.com"}`, like: gl.ProjectHook{}, recorded: true, at: `/projects/\d+/hooks$`},
		{name: "webhooks", path: project + "/hooks", like: []gl.ProjectHook{}, recorded: true, at: `/projects/\d+/hooks$`},
		{name: "pipelines", path: project + "/pipelines?sha=" + head, like: []gl.PipelineInfo{}, recorded: true, files: []string{"get_merge_request.json"}, pick: "pipeline"},
		{name: "a new status", method: "POST", path: project + "/statuses/" + head, body: `{"name":"x","state":"success"}`, like: gl.CommitStatus{}, recorded: true, at: `/statuses/\w+$`},
		{name: "statuses of a pipeline", path: project + "/repository/commits/" + head + "/statuses?pipeline_id=" + strconv.FormatInt(pipe, 10), like: []gl.CommitStatus{}, recorded: true, at: `/commits/\w+/statuses$`},
		{name: "head_pipeline", path: merge, like: gl.Pipeline{}, recorded: true, files: []string{"get_merge_request.json"}, pick: "head_pipeline"},
		{name: "can_merge", path: merge, like: gl.MergeRequest{}.User, recorded: true, files: []string{"get_merge_request.json"}, pick: "user"},
		{name: "a commit", path: project + "/repository/commits/" + result, like: gl.Commit{}},
		{name: "a branch", path: project + "/repository/branches/grow", like: gl.Branch{}},
		{name: "a merge request that is changed", method: "PUT", path: merge, body: `{"squash":true}`, like: gl.MergeRequest{}, recorded: true, files: []string{"get_merge_request.json"}},
		{name: "a merge", method: "PUT", path: project + "/merge_requests/3/merge", body: `{"sha":"` + open.Head() + `"}`, like: gl.MergeRequest{}, recorded: true, files: []string{"get_merge_request.json"}},
		{name: "statuses", path: project + "/repository/commits/" + head + "/statuses", like: []gl.CommitStatus{}, recorded: true, at: `/commits/\w+/statuses$`},
	} {
		got := s.ask(t, tt.method, tt.path, tt.body)
		raw, _ := json.Marshal(got)
		if tt.pick != "" && tt.path == merge {
			got = picked(got, tt.pick)
			raw, _ = json.Marshal(got)
		}
		want := recordedShape(t, tt.pick, tt.files, tt.at)
		if tt.recorded != (len(want) > 0) {
			t.Errorf("%s: %d keys are recorded", tt.name, len(want))
		}
		if err := json.Unmarshal(raw, reflect.New(reflect.TypeOf(tt.like)).Interface()); err != nil {
			t.Errorf("%s: go-gitlab can't read it: %v", tt.name, err)
		}
		strangers := unknown(got, reflect.TypeOf(tt.like))
		have := shape{}
		have.add(got)
		if len(have) == 0 {
			t.Errorf("%s: nothing was answered", tt.name)
		}
		for key, kinds := range have {
			recorded, is := want[key]
			if !is && slices.Contains(strangers, key) {
				t.Errorf("%s: GitLab has not answered the key %q", tt.name, key)
			}
			for _, kind := range kinds {
				if is && kind != "null" && !slices.Contains(recorded, kind) && !slices.Equal(recorded, []string{"null"}) {
					t.Errorf("%s: the value of %q is a %s, GitLab has answered %v", tt.name, key, kind, recorded)
				}
			}
		}
	}
}
