package devforge

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
)

func (f *Forge) listComments(c call) (answer, error) {
	p, err := c.pull()
	if err != nil {
		return answer{}, err
	}
	since, _ := time.Parse(time.RFC3339, c.query("since"))
	out := []any{}
	for _, m := range p.comments {
		if !m.updated.Before(since) {
			out = append(out, f.commentJSON(c.repo, p, m))
		}
	}
	some, link := page(f, c, out)
	return answer{body: some, link: link}, nil
}

const maxComment = 65536

func checkBody(body string) error {
	switch {
	case strings.TrimSpace(body) == "":
		return &apiError{http.StatusUnprocessableEntity, "Validation Failed: body is missing"}
	case utf8.RuneCountInString(body) > maxComment:
		return &apiError{http.StatusUnprocessableEntity, "Validation Failed: body is too long (maximum is 65536 characters)"}
	}
	return nil
}

func (f *Forge) createComment(c call) (answer, error) {
	p, err := c.pull()
	if err != nil {
		return answer{}, err
	}
	var in struct{ Body string }
	if err := errors.Join(c.decode(&in), checkBody(in.Body)); err != nil {
		return answer{}, err
	}
	if p.locked && !c.repo.mayWrite(c.user.login) {
		return fail(http.StatusForbidden, "Unable to create comment because issue is locked")
	}
	m := f.addComment(c.repo, p, c.user.login, in.Body)
	return answer{status: http.StatusCreated, body: f.commentJSON(c.repo, p, m)}, nil
}

func (f *Forge) addComment(r *repository, p *pull, by, body string) *comment {
	id := f.nextID()
	m := &comment{id: id, node: fmt.Sprintf("IC_%d", id), author: by, body: body, created: now(), updated: now()}
	p.comments = append(p.comments, m)
	p.updated = now()
	f.emitComment(r, p, m, "created", by, nil)
	return m
}

func (c call) comment() (*pull, int, error) {
	id, err := strconv.ParseInt(chi.URLParam(c.req, "id"), 10, 64)
	if err != nil {
		return nil, 0, errNotFound
	}
	for _, p := range c.repo.pulls {
		if i := slices.IndexFunc(p.comments, func(m *comment) bool { return m.id == id }); i >= 0 {
			return p, i, nil
		}
	}
	return nil, 0, errNotFound
}

func (f *Forge) editComment(c call) (answer, error) {
	p, i, err := c.comment()
	if err != nil {
		return answer{}, err
	}
	var in struct{ Body string }
	if err := errors.Join(c.decode(&in), checkBody(in.Body)); err != nil {
		return answer{}, err
	}
	from := p.comments[i].body
	p.comments[i].body, p.comments[i].updated = in.Body, now()
	f.emitComment(c.repo, p, p.comments[i], "edited", c.user.login, map[string]any{"changes": map[string]any{"body": map[string]any{"from": from}}})
	return answer{body: f.commentJSON(c.repo, p, p.comments[i])}, nil
}

func (f *Forge) deleteComment(c call) (answer, error) {
	p, i, err := c.comment()
	if err != nil {
		return answer{}, err
	}
	m := p.comments[i]
	p.comments = slices.Delete(p.comments, i, i+1)
	f.emitComment(c.repo, p, m, "deleted", c.user.login, nil)
	return answer{status: http.StatusNoContent}, nil
}

func (f *Forge) react(c call) (answer, error) {
	p, i, err := c.comment()
	if err != nil {
		return answer{}, err
	}
	var in struct{ Content string }
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	if !slices.Contains(reactionNames(), in.Content) {
		return fail(http.StatusUnprocessableEntity, "Validation Failed: content")
	}
	m, status := p.comments[i], http.StatusOK
	at := slices.IndexFunc(m.reactions, func(r reaction) bool { return r.by == c.user.login && r.content == in.Content })
	if at < 0 {
		m.reactions = append(m.reactions, reaction{id: f.nextID(), by: c.user.login, content: in.Content, at: now()})
		at, status = len(m.reactions)-1, http.StatusCreated
	}
	r := m.reactions[at]
	return answer{status: status, body: map[string]any{
		"id": r.id, "node_id": fmt.Sprintf("REA_%d", r.id), "user": f.userJSON(r.by), "content": r.content, "created_at": r.at,
	}}, nil
}

var minimize = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`(\w+)\s*:\s*minimizeComment\s*\(\s*input\s*:\s*\{[^}]*subjectId\s*:\s*("([^"]*)"|\$(\w+))`)
})

// graphql knows minimizeComment, with aliases and variables, and what a pull request's reviews come to.
func (f *Forge) graphql(w http.ResponseWriter, req *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	viewer := f.who(req)
	if viewer == nil {
		write(w, answer{status: http.StatusUnauthorized, body: map[string]any{"message": "Bad credentials"}})
		return
	}
	var in struct {
		Query     string
		Variables map[string]any
	}
	if err := (call{req: req}).decode(&in); err != nil {
		write(w, answer{status: http.StatusBadRequest, body: map[string]any{"message": err.Error()}})
		return
	}
	if strings.Contains(in.Query, "reviewDecision") {
		write(w, answer{body: f.askDecision(req, in.Variables)})
		return
	}
	data := map[string]any{}
	var errs []any
	for _, m := range minimize().FindAllStringSubmatch(in.Query, -1) {
		id := m[3]
		if input, ok := in.Variables[m[4]].(map[string]any); ok {
			id, _ = input["subjectId"].(string)
		} else if m[4] != "" {
			id, _ = in.Variables[m[4]].(string)
		}
		if kind, text := f.fold(req, viewer, id); kind != "" {
			data[m[1]] = nil
			errs = append(errs, map[string]any{"type": kind, "path": []string{m[1]}, "message": text})
			continue
		}
		data[m[1]] = map[string]any{"minimizedComment": map[string]any{"isMinimized": true}, "clientMutationId": nil}
	}
	body := map[string]any{"data": data}
	if len(errs) > 0 {
		body["errors"] = errs
	}
	write(w, answer{body: body})
}

// fold folds a comment away, or answers the kind of GraphQL error and its text.
func (f *Forge) fold(req *http.Request, viewer *user, node string) (kind, text string) {
	for _, r := range f.repos {
		for _, p := range r.pulls {
			for _, c := range p.comments {
				switch {
				case c.node != node:
				case !r.mayWrite(viewer.login) || f.beyond(req, r):
					return "FORBIDDEN", viewer.login + " does not have the correct permissions to execute `MinimizeComment`"
				default:
					c.folded = true
					return "", ""
				}
			}
		}
	}
	return "NOT_FOUND", "Could not resolve to a node with the global id of '" + node + "'."
}
