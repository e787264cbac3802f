package gitlabtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxNote is how many characters GitLab takes of a note.
const maxNote = 1_000_000

type asked struct{}

// as keeps who asks.
func as(ctx context.Context, u *user) context.Context { return context.WithValue(ctx, asked{}, u) }

func who(r *http.Request) *user {
	u, _ := r.Context().Value(asked{}).(*user)
	return u
}

// call is one request about a project, and about what else its path names.
type call struct {
	*Server
	w http.ResponseWriter
	r *http.Request
	p *Project
	m *Merge
	n *note
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v4/user", func(w http.ResponseWriter, r *http.Request) { write(w, http.StatusOK, s.userDocument(who(r))) })
	mux.HandleFunc("GET /api/v4/users", s.getUsers)
	mux.HandleFunc("GET /api/v4/personal_access_tokens/self", s.getToken)
	const project, merge, note = "/projects/{id}", "/projects/{id}/merge_requests/{iid}", "/projects/{id}/merge_requests/{iid}/notes/{note}"
	for pattern, do := range map[string]func(*call){
		"GET " + project:                                              (*call).getProject,
		"GET " + project + "/members/all/{user}":                      (*call).getMember,
		"GET " + project + "/merge_requests":                          (*call).getMerges,
		"GET " + project + "/pipelines":                               (*call).getPipelines,
		"GET " + project + "/repository/commits/{sha}/merge_requests": (*call).getMergesOfCommit,
		"GET " + project + "/repository/commits/{sha}/statuses":       (*call).getStatuses,
		"GET " + project + "/hooks":                                   (*call).getHooks,
		"POST " + project + "/hooks":                                  (*call).postHook,
		"PUT " + project + "/hooks/{hook}":                            (*call).putHook,
		"POST " + project + "/statuses/{sha}":                         (*call).postStatus,
		"POST " + project + "/merge_requests":                         (*call).postMerge,
		"GET " + merge:                                                (*call).getMerge,
		"GET " + merge + "/approvals":                                 (*call).getApprovals,
		"GET " + merge + "/reviewers":                                 (*call).getReviewers,
		"POST " + merge + "/approve":                                  (*call).postApprove,
		"PUT " + merge:                                                (*call).putMerge,
		"PUT " + merge + "/merge":                                     (*call).putMerged,
		"GET " + project + "/repository/commits/{sha}":                (*call).getCommit,
		"GET " + project + "/repository/branches/{branch}":            (*call).getBranch,
		"DELETE " + project + "/repository/branches/{branch}":         (*call).deleteBranch,
		"GET " + merge + "/notes":                                     (*call).getNotes,
		"POST " + merge + "/notes":                                    (*call).postNote,
		"GET " + note:                                                 (*call).getNote,
		"PUT " + note:                                                 (*call).putNote,
		"DELETE " + note:                                              (*call).deleteNote,
		"GET " + note + "/award_emoji":                                (*call).getEmoji,
		"POST " + note + "/award_emoji":                               (*call).postEmoji,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /api/v4"+path, func(w http.ResponseWriter, r *http.Request) {
			if c := s.find(w, r); c != nil {
				do(c)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusNotFound, document{"error": "404 Not Found"})
	})
	return mux
}

// getToken tells of the token that is asked with. It ends a year after everything here began.
func (s *Server) getToken(w http.ResponseWriter, r *http.Request) {
	scopes, limited := s.scopes[r.Header.Get("Private-Token")]
	if !limited {
		scopes = []string{"api"}
	}
	write(w, http.StatusOK, document{
		"id": 1, "name": "tidegate", "revoked": false, "created_at": stamp(s.now), "scopes": scopes, "user_id": who(r).id, "active": true,
		"expires_at": "2027-03-01",
	})
}

// find reads what a path names, and answers that it is not there. Only members see a project.
func (s *Server) find(w http.ResponseWriter, r *http.Request) *call {
	c := &call{Server: s, w: w, r: r}
	p, moved := s.project(r.PathValue("id"))
	switch {
	case p == nil || s.level(p.path, who(r).id) == 0 && !p.public:
		refuse(w, http.StatusNotFound, "404 Project Not Found")
		return nil
	case moved && r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "Non GET methods are not allowed for moved projects")
		return nil
	case moved:
		rest := strings.SplitN(strings.TrimPrefix(r.URL.EscapedPath(), "/api/v4/projects/"), "/", 2)
		rest[0] = fmt.Sprintf("%s/api/v4/projects/%d", s.URL, p.id)
		http.Redirect(w, r, strings.Join(rest, "/"), http.StatusMovedPermanently)
		return nil
	}
	c.p = p
	if iid := r.PathValue("iid"); iid != "" {
		i := slices.IndexFunc(p.merges, func(m *Merge) bool { return strconv.Itoa(m.iid) == iid })
		if i < 0 {
			refuse(w, http.StatusNotFound, "404 Not found")
			return nil
		}
		c.m = p.merges[i]
	}
	if id := r.PathValue("note"); id != "" {
		i := slices.IndexFunc(c.m.notes, func(n *note) bool { return fmt.Sprint(n.id) == id })
		if i < 0 {
			refuse(w, http.StatusNotFound, "404 Note Not Found")
			return nil
		}
		c.n = c.m.notes[i]
	}
	return c
}

// may answers that a user may not do what needs a level.
func (c *call) may(level int) bool {
	if c.level(c.p.path, who(c.r).id) < level {
		refuse(c.w, http.StatusForbidden, "403 Forbidden")
		return false
	}
	return true
}

// read is what was sent, in the address or in the body: JSON, or a form.
func (c *call) read() map[string]string {
	got := map[string]string{}
	for k := range c.r.URL.Query() {
		got[k] = c.r.URL.Query().Get(k)
	}
	if strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/json") {
		raw := map[string]any{}
		dec := json.NewDecoder(c.r.Body)
		dec.UseNumber()
		_ = dec.Decode(&raw)
		for k, v := range raw {
			got[k] = fmt.Sprint(v)
		}
		return got
	}
	_ = c.r.ParseForm()
	for k := range c.r.Form {
		got[k] = c.r.FormValue(k)
	}
	return got
}

func (s *Server) getUsers(w http.ResponseWriter, r *http.Request) {
	all := []document{}
	for _, u := range s.users {
		if strings.EqualFold(u.name, r.FormValue("username")) {
			all = append(all, s.userDocument(u))
		}
	}
	write(w, http.StatusOK, page(w, r, all))
}

func (c *call) getProject() { write(c.w, http.StatusOK, c.projectDocument(c.p)) }

func (c *call) getMember() {
	for _, u := range c.users {
		if level := c.level(c.p.path, u.id); level > 0 && fmt.Sprint(u.id) == c.r.PathValue("user") {
			write(c.w, http.StatusOK, c.memberDocument(u, level))
			return
		}
	}
	refuse(c.w, http.StatusNotFound, "404 Not found")
}

func (c *call) getMerges() {
	after, _ := time.Parse(time.RFC3339, c.r.FormValue("updated_after"))
	var some []*Merge
	for _, m := range c.p.merges {
		is := func(key, value string) bool { return c.r.FormValue(key) == "" || c.r.FormValue(key) == value }
		state := is("state", m.state) || c.r.FormValue("state") == "all"
		if state && is("source_branch", m.source) && is("target_branch", m.target) && !m.updated.Before(after) {
			some = append(some, m)
		}
	}
	slices.SortFunc(some, func(a, b *Merge) int { return b.updated.Compare(a.updated) })
	c.writeMerges(some)
}

func (c *call) getMergesOfCommit() {
	sha := c.r.PathValue("sha")
	var some []*Merge
	for _, m := range c.p.merges {
		if slices.Contains(m.heads, sha) {
			some = append(some, m)
		}
	}
	if len(some) == 0 {
		refuse(c.w, http.StatusNotFound, "404 Commit Not Found")
		return
	}
	c.writeMerges(some)
}

func (c *call) writeMerges(some []*Merge) {
	all := []document{}
	for _, m := range some {
		all = append(all, c.mergeInList(m))
	}
	write(c.w, http.StatusOK, page(c.w, c.r, all))
}

func (c *call) getMerge() {
	write(c.w, http.StatusOK, c.mergeDocument(c.m, who(c.r)))
	c.m.unchecked = max(c.m.unchecked-1, 0)
}

func (c *call) getNotes() {
	all := []document{}
	for _, n := range c.m.notes {
		all = append(all, c.noteDocument(c.m, n))
	}
	if c.r.FormValue("sort") != "asc" {
		slices.Reverse(all)
	}
	write(c.w, http.StatusOK, page(c.w, c.r, all))
}

func (c *call) postNote() {
	if body, ok := c.body(); ok {
		if who(c.r).person {
			if body = c.m.act(body, who(c.r)); body == "" {
				write(c.w, http.StatusAccepted, document{"commands_changes": document{}, "summary": []string{"Done."}})
				return
			}
		}
		n := c.m.addNote(who(c.r).name, body, false)
		c.m.emitNote(n, "create", who(c.r))
		write(c.w, http.StatusCreated, c.noteDocument(c.m, n))
	}
}

// body is a note's text, if GitLab takes it. A line that is a quick action would be carried out: no test wants that.
// GitLab drops carriage returns before it looks for one.
func (c *call) body() (string, bool) {
	body := c.read()["body"]
	seen := strings.ReplaceAll(body, "\r", "")
	switch {
	case strings.TrimSpace(body) == "":
		write(c.w, http.StatusBadRequest, document{"message": document{"note": []string{"can't be blank"}}})
	case utf8.RuneCountInString(body) > maxNote:
		write(c.w, http.StatusBadRequest, document{"message": document{"note": []string{"is too long (maximum is 1000000 characters)"}}})
	case who(c.r).person:
		return body, true
	case strings.HasPrefix(seen, "/") || strings.Contains(seen, "\n/"):
		c.tb.Errorf("gitlabtest: a note has a line that can be a quick action: %.200q", body)
		return body, true
	default:
		return body, true
	}
	return "", false
}

func (c *call) getNote() { write(c.w, http.StatusOK, c.noteDocument(c.m, c.n)) }

// mine answers that only who wrote a note, or maintains the project, may change it.
func (c *call) mine() bool { return c.n.author == who(c.r).name || c.may(40) }

func (c *call) putNote() {
	if !c.mine() {
		return
	}
	if body, ok := c.body(); ok {
		c.n.body = body
		_, c.n.updated = c.tick()
		c.m.emitNote(c.n, "update", who(c.r))
		write(c.w, http.StatusOK, c.noteDocument(c.m, c.n))
	}
}

func (c *call) deleteNote() {
	if c.mine() {
		c.m.notes = slices.DeleteFunc(c.m.notes, func(n *note) bool { return n == c.n })
		c.w.WriteHeader(http.StatusNoContent)
	}
}

func (c *call) getEmoji() {
	all := []document{}
	for name, users := range c.n.emoji {
		for _, u := range users {
			all = append(all, c.emojiDocument(c.n, name, u))
		}
	}
	write(c.w, http.StatusOK, page(c.w, c.r, all))
}

func (c *call) postEmoji() {
	name, me := c.read()["name"], who(c.r).name
	if slices.Contains(c.n.emoji[name], me) {
		refuse(c.w, http.StatusNotFound, "404 Award Emoji Name has already been taken Not Found")
		return
	}
	c.n.emoji[name] = append(c.n.emoji[name], me)
	write(c.w, http.StatusCreated, c.emojiDocument(c.n, name, me))
}

func (c *call) getApprovals() { write(c.w, http.StatusOK, c.approvalsDocument(c.m)) }

func (c *call) postApprove() {
	if me := who(c.r).name; !slices.Contains(c.m.approvedBy, me) {
		c.m.approvedBy = append(c.m.approvedBy, me)
		c.m.reviewers[me] = "approved"
		c.m.emit("approved", who(c.r), nil, nil)
		write(c.w, http.StatusCreated, c.approvalsDocument(c.m))
		return
	}
	refuse(c.w, http.StatusUnauthorized, "401 Unauthorized")
}

func (c *call) getReviewers() {
	all := []document{}
	for name, state := range c.m.reviewers {
		all = append(all, document{"user": c.userDocument(c.user(name)), "state": state, "created_at": stamp(c.m.made)})
	}
	write(c.w, http.StatusOK, page(c.w, c.r, all))
}

func (c *call) getPipelines() {
	all := []document{}
	for _, one := range c.p.pipes {
		if sha := c.r.FormValue("sha"); sha == "" || sha == one.sha {
			all = append(all, c.pipelineDocument(c.p, one))
		}
	}
	if c.r.FormValue("sort") != "asc" {
		slices.Reverse(all)
	}
	write(c.w, http.StatusOK, page(c.w, c.r, all))
}

func (c *call) getStatuses() {
	all := []document{}
	for _, one := range c.p.statuses {
		id := c.r.FormValue("pipeline_id")
		if one.sha == c.r.PathValue("sha") && (id == "" || id == fmt.Sprint(one.pipeline)) && (c.r.FormValue("all") == "true" || c.p.latest(one)) {
			all = append(all, c.statusDocument(one))
		}
	}
	write(c.w, http.StatusOK, page(c.w, c.r, all))
}

// postStatus is GitLab's own rules: a pipeline must be of the commit, and of the reference where one is given; without
// any the statuses make one; one that still runs is changed, one that ended is followed by another.
func (c *call) postStatus() {
	sha, body := c.r.PathValue("sha"), c.read()
	if !c.may(30) {
		return
	}
	if !c.p.known(sha) {
		refuse(c.w, http.StatusNotFound, "404 Commit Not Found")
		return
	}
	if utf8.RuneCountInString(body["description"]) > 255 {
		write(c.w, http.StatusBadRequest, document{"message": document{"description": []string{"is too long (maximum is 255 characters)"}}})
		return
	}
	pipe := c.matching(sha, body["ref"], body["pipeline_id"])
	if pipe == nil && body["pipeline_id"] != "" {
		refuse(c.w, http.StatusNotFound, "404 Pipeline for pipeline_id, sha and ref Not Found")
		return
	}
	if pipe == nil {
		ref := body["ref"]
		if ref == "" {
			ref = "the-first-branch-with-the-commit"
		}
		pipe = c.p.addPipeline(sha, ref, "external")
	}
	one := c.running(pipe, body["name"])
	if one == nil {
		id, now := c.tick()
		one = &status{id: id, sha: sha, ref: pipe.ref, name: body["name"], state: "created", author: who(c.r).name, pipeline: pipe.id, made: now}
	}
	switch state := body["state"]; {
	case state == "pending" && one.state != "created", state == "running" && one.state == "running":
		event := map[string]string{"pending": "enqueue", "running": "run"}[state]
		refuse(c.w, http.StatusBadRequest, fmt.Sprintf(`Cannot transition status via :%s from :%s (Reason(s): Status cannot transition via %[1]q)`, event, one.state))
		return
	case slices.Contains([]string{"pending", "running", "success", "failed", "canceled"}, state):
		one.state = state
	default:
		write(c.w, http.StatusBadRequest, document{"error": "state does not have a valid value"})
		return
	}
	one.description, one.url = body["description"], body["target_url"]
	if !slices.Contains(c.p.statuses, one) {
		c.p.statuses = append(c.p.statuses, one)
	}
	write(c.w, http.StatusCreated, c.statusDocument(one))
}

func (c *call) matching(sha, ref, id string) *pipeline {
	for _, one := range slices.Backward(c.p.pipes) {
		if one.sha == sha && (ref == "" || one.ref == ref) && (id == "" || fmt.Sprint(one.id) == id) {
			return one
		}
	}
	return nil
}

func (c *call) running(pipe *pipeline, name string) *status {
	for _, one := range c.p.statuses {
		if one.pipeline == pipe.id && one.name == name && (one.state == "pending" || one.state == "running") {
			return one
		}
	}
	return nil
}
