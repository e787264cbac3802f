package gitlabtest

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/vcs/internal/githttp"
)

// NewWithGit is New with real repositories, which lie in a directory, and are cloned and pushed to with a token as the
// password; with webhooks that are sent; and with the time that it is. Close ends it before the test does.
//
// Each push makes a pipeline with the jobs that the project has, or none.
func NewWithGit(tb testing.TB, dir string) *Server {
	tb.Helper()
	s := New(tb)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.git, s.dir = &githttp.Git{Home: dir, Name: "gitlabtest", Log: slog.New(slog.DiscardHandler)}, dir
	return s
}

// AddPerson makes a user whose notes may have quick actions, which are carried out.
func (s *Server) AddPerson(name, token string) {
	s.AddUser(name, token)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user(name).person = true
}

// Publish lets everybody see a project who signs in.
func (p *Project) Publish() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.public = true
}

// SetJobs sets what pipelines of pushes have from now on: jobs that have succeeded, and others that go on until somebody
// sets their status. Without any there is no pipeline.
func (p *Project) SetJobs(done, begun []string) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.jobs = map[string][]string{"success": done, "running": begun}
}

// Merge is a merge request by its number; nil where there is none.
func (p *Project) Merge(number int) *Merge {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if number < 1 || number > len(p.merges) {
		return nil
	}
	return p.merges[number-1]
}

// found makes the project's repository.
func (p *Project) found() {
	if p.s.git == nil {
		return
	}
	p.dir, p.tips = filepath.Join(p.s.dir, fmt.Sprintf("%d.git", p.id)), map[string]string{}
	if err := p.s.git.Init(p.s.ctx, p.dir); err != nil {
		p.s.tb.Errorf("gitlabtest: %v", err)
	}
}

func (p *Project) in(args ...string) (string, error) { return p.s.git.In(p.s.ctx, p.dir, args...) }

// serveGit answers git. GitLab knows users by their tokens, whatever name comes with them.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	path, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".git/")
	service := githttp.Service(r, rest)
	s.mu.Lock()
	p, _ := s.project(path)
	_, token, _ := r.BasicAuth()
	u, level := s.tokens[token], 0
	if u != nil && u.state == "active" && p != nil {
		level = s.level(p.path, u.id)
	}
	s.mu.Unlock()
	switch {
	case u == nil:
		w.Header().Set("WWW-Authenticate", `Basic realm="GitLab"`)
		http.Error(w, "HTTP Basic: Access denied.", http.StatusUnauthorized)
	case p == nil || service == "" || level < 20 && !p.public:
		http.Error(w, "The project you were looking for could not be found or you don't have permission to view it.", http.StatusNotFound)
	case service == "receive-pack" && level < 30:
		http.Error(w, "You are not allowed to push code to this project.", http.StatusForbidden)
	default:
		s.git.Serve(w, r, p.dir, rest, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			p.pushed(u)
		})
	}
}

// pushed makes pipelines for branches that have moved, and lets the heads of open merge requests follow.
func (p *Project) pushed(by *user) {
	out, err := p.in("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads")
	if err != nil {
		p.s.tb.Errorf("gitlabtest: %v", err)
		return
	}
	tips := map[string]string{}
	for line := range strings.Lines(out) {
		sha, branch, _ := strings.Cut(strings.TrimSpace(line), " ")
		if tips[branch] = sha; p.tips[branch] != sha {
			p.runJobs(sha, branch)
		}
	}
	p.tips = tips
	for _, m := range p.merges {
		head, tip := m.heads[len(m.heads)-1], tips[m.source]
		if m.state == "opened" && tip != "" && tip != head {
			m.heads = append(m.heads, tip)
			m.follow()
			m.addNote(by.name, "added 1 commit", true)
			m.emit("update", by, document{"oldrev": head}, nil)
		}
	}
}

func (p *Project) runJobs(sha, branch string) {
	if len(p.jobs["success"])+len(p.jobs["running"]) == 0 {
		return
	}
	pipe := p.addPipeline(sha, branch, "push")
	for state, names := range p.jobs {
		for _, name := range names {
			id, now := p.s.tick()
			p.statuses = append(p.statuses, &status{id: id, sha: sha, ref: branch, name: name, state: state, author: p.s.users[0].name, pipeline: pipe.id, made: now})
		}
	}
}

// follow makes a new version of the merge request's changes: of the head that it has now, and where its target stands. GitLab
// looks later whether that can be merged.
func (m *Merge) follow() {
	m.base, m.unchecked = m.p.branch(m.target), 1
	if _, err := m.p.in("update-ref", fmt.Sprintf("refs/merge-requests/%d/head", m.iid), m.heads[len(m.heads)-1]); err != nil {
		m.p.s.tb.Errorf("gitlabtest: %v", err)
	}
}

// clashes reports whether its branches can't be merged.
func (m *Merge) clashes() bool {
	if m.p.dir == "" || m.state != "opened" {
		return m.conflicts
	}
	return !m.p.s.git.CanMerge(m.p.s.ctx, m.p.dir, "refs/heads/"+m.target, m.heads[len(m.heads)-1])
}

// known reports whether a commit is the project's.
func (p *Project) known(sha string) bool {
	if p.dir != "" {
		_, err := p.in("cat-file", "-e", sha+"^{commit}")
		return err == nil
	}
	return p.results[sha] != nil || slices.ContainsFunc(p.merges, func(m *Merge) bool { return slices.Contains(m.heads, sha) })
}

// carryOut moves the target branch to the result of the merge, with a commit of its own for what is squashed.
func (m *Merge) carryOut() error {
	if m.p.dir == "" {
		return nil
	}
	git, head, target := m.p.s.git, m.heads[len(m.heads)-1], m.p.branch(m.target)
	merge := func(head string) (string, error) {
		message := fmt.Sprintf("Merge branch '%s' into '%s'\n\n%s\n\nSee merge request %s!%d", m.source, m.target, m.title, m.p.path, m.iid)
		return git.Merge(m.p.s.ctx, m.p.dir, target, head, message, target, head)
	}
	if m.squash {
		since, err := m.p.in("merge-base", target, head)
		if err != nil {
			return err
		}
		if head, err = git.Merge(m.p.s.ctx, m.p.dir, since, head, m.title, since); err != nil {
			return err
		}
	}
	sha, err := merge(head)
	if err == nil {
		_, err = m.p.in("update-ref", "refs/heads/"+m.target, sha, target)
	}
	return err
}

// drop deletes a branch.
func (p *Project) drop(branch string) {
	if p.dir == "" {
		p.gone = append(p.gone, branch)
	} else if _, err := p.in("update-ref", "-d", "refs/heads/"+branch); err != nil {
		p.s.tb.Errorf("gitlabtest: %v", err)
	}
}

// postMerge opens a merge request of a branch of the project itself.
func (c *call) postMerge() {
	if !c.may(30) {
		return
	}
	in := c.read()
	head, target := c.p.branch(in["source_branch"]), c.p.branch(in["target_branch"])
	i := slices.IndexFunc(c.p.merges, func(m *Merge) bool {
		return m.state == "opened" && m.source == in["source_branch"] && m.target == in["target_branch"]
	})
	switch {
	case c.p.dir == "" || head == "" || target == "" || in["title"] == "":
		write(c.w, http.StatusBadRequest, document{"message": document{"validate_branches": []string{"Source branch or target branch does not exist"}}})
		return
	case i >= 0:
		refuse(c.w, http.StatusConflict, []string{fmt.Sprintf("Another open merge request already exists for this source branch: !%d", c.p.merges[i].iid)})
		return
	}
	m := c.p.addMerge(who(c.r).name, in["title"], in["source_branch"], in["target_branch"], head)
	m.draft = isDraft(m.title)
	m.follow()
	m.emit("open", who(c.r), nil, nil)
	write(c.w, http.StatusCreated, c.mergeDocument(m, who(c.r)))
}

// isDraft reports whether a title makes a draft.
// https://docs.gitlab.com/user/project/merge_requests/drafts/
func isDraft(title string) bool {
	title = strings.ToLower(title)
	return strings.HasPrefix(title, "draft:") || strings.HasPrefix(title, "[draft]") || strings.HasPrefix(title, "(draft)")
}

// edit changes what was sent of a merge request: one webhook tells of all of it, and another that it is open or closed now.
func (m *Merge) edit(in map[string]string, by *user) {
	changes := document{}
	change := func(name string, before, after any) {
		if before != after {
			changes[name] = document{"previous": before, "current": after}
		}
	}
	if title, ok := in["title"]; ok && title != "" {
		change("title", m.title, title)
		change("draft", m.draft, isDraft(title))
		m.title, m.draft = title, isDraft(title)
	}
	if text, ok := in["description"]; ok {
		change("description", m.text, text)
		m.text = text
	}
	if labels, ok := in["labels"]; ok && labels != m.labels {
		changes["labels"] = document{"previous": m.labelDocuments(), "current": (&Merge{p: m.p, labels: labels, made: m.made}).labelDocuments()}
		m.labels = labels
	}
	if target := in["target_branch"]; target != "" && target != m.target {
		change("target_branch", m.target, target)
		m.target = target
		m.follow()
	}
	if len(changes) > 0 {
		_, m.updated = m.p.s.tick()
		m.emit("update", by, nil, changes)
	}
	states := map[string]string{"close": "closed", "reopen": "opened"}
	if event := in["state_event"]; states[event] != "" && m.state != states[event] && m.state != "merged" {
		m.state = states[event]
		m.addNote(by.name, m.state, true)
		m.emit(event, by, nil, nil)
	}
}

// act carries out the quick actions of a note and answers what is left of it. What GitLab does not know is text.
// https://docs.gitlab.com/user/project/quick_actions/
func (m *Merge) act(body string, by *user) string {
	var left []string
	for line := range strings.SplitSeq(body, "\n") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "/title":
			m.edit(map[string]string{"title": rest}, by)
		case "/label":
			m.edit(map[string]string{"labels": strings.TrimLeft(rest, "~")}, by)
		case "/close", "/reopen":
			m.edit(map[string]string{"state_event": word[1:]}, by)
		default:
			left = append(left, line)
		}
	}
	return strings.TrimSpace(strings.Join(left, "\n"))
}

// Close stops sending webhooks, waits for what is under way, and serves no longer.
func (s *Server) Close() {
	s.stop()
	s.sending.Wait()
	s.web.CloseClientConnections()
	s.web.Close()
}

// clock is the time when something happens: without repositories a made one, in which several things happen within a second.
func (s *Server) clock() time.Time {
	if s.git == nil {
		return s.now.Add(400 * time.Millisecond)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	if !now.After(s.now) {
		now = s.now.Add(time.Millisecond)
	}
	return now
}

func (s *Server) repositories() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.git != nil
}
