package gitlabtest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Rules are a project's settings for merges.
type Rules struct {
	// Pipeline: only what has a pipeline that has succeeded is merged.
	Pipeline bool
	// Squash is GitLab's word for whether commits are squashed: never, always, default_on or default_off.
	Squash string
	// Trains: the project has merge trains.
	Trains bool
	// Protected are branches that are not deleted.
	Protected []string
}

// SetRules changes the project's settings.
func (p *Project) SetRules(r Rules) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.rules = r
}

// AddJobs puts jobs that were not begun yet into the newest pipeline of each open merge request.
func (p *Project) AddJobs(names ...string) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	for _, m := range p.merges {
		pipe := m.pipeline()
		if m.state != "opened" || pipe == nil {
			continue
		}
		for _, name := range names {
			id, now := p.s.tick()
			p.statuses = append(p.statuses, &status{id: id, sha: pipe.sha, ref: pipe.ref, name: name, state: "running", author: m.author, pipeline: pipe.id, made: now})
		}
	}
}

// Branch is where a branch stands that a merge request comes from; "" when it is gone.
func (p *Project) Branch(name string) string {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.branch(name)
}

// MoveBranch moves a branch that no open merge request comes from.
func (p *Project) MoveBranch(name, sha string) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.moved == nil {
		p.moved = map[string]string{}
	}
	p.moved[name] = sha
}

// At puts the head of a merge request at a commit of another one.
func (m *Merge) At(sha string) {
	m.p.s.mu.Lock()
	defer m.p.s.mu.Unlock()
	m.heads = []string{sha}
}

func (p *Project) branch(name string) string {
	if p.dir != "" {
		return p.s.git.Branch(p.s.ctx, p.dir, name)
	}
	if sha := p.moved[name]; sha != "" && !slices.Contains(p.gone, name) {
		return sha
	}
	for _, m := range slices.Backward(p.merges) {
		if m.source == name && m.sourceProject == p.id && !slices.Contains(p.gone, name) {
			return m.heads[len(m.heads)-1]
		}
	}
	return ""
}

// latest reports whether no newer status of its pipeline has its name.
func (p *Project) latest(one *status) bool {
	return !slices.ContainsFunc(p.statuses, func(other *status) bool {
		return other.pipeline == one.pipeline && other.name == one.name && other.id > one.id
	})
}

// pipelineState is what the jobs of a pipeline make of it.
func (p *Project) pipelineState(one *pipeline) string {
	states := map[string]bool{}
	for _, s := range p.statuses {
		if s.pipeline == one.id && p.latest(s) {
			states[s.state] = true
		}
	}
	switch {
	case len(states) == 0:
		return one.state
	case states["created"] || states["pending"] || states["running"]:
		return "running"
	case states["failed"] || states["canceled"]:
		return "failed"
	}
	return "success"
}

// AddResultPipeline makes a pipeline of the result of a merge of the head, and answers that commit as well.
func (m *Merge) AddResultPipeline() (commit string, id int64) {
	m.p.s.mu.Lock()
	defer m.p.s.mu.Unlock()
	if m.p.results == nil {
		m.p.results = map[string][]string{}
	}
	head := m.heads[len(m.heads)-1]
	commit = sha("result of ", head)
	m.p.results[commit] = []string{m.base, head}
	return commit, m.p.addPipeline(commit, fmt.Sprintf("refs/merge-requests/%d/merge", m.iid), "merge_request_event").id
}

// pipeline is the one that a merge waits for.
func (m *Merge) pipeline() *pipeline { return m.pipelineOf(m.heads[len(m.heads)-1]) }

// lastPipeline is the newest of the merge request, which may be of a head that it had before.
func (m *Merge) lastPipeline() *pipeline { return m.pipelineOf(m.heads...) }

func (m *Merge) pipelineOf(heads ...string) *pipeline {
	for _, one := range slices.Backward(m.p.pipes) {
		for _, head := range heads {
			if one.sha == head || slices.Contains(m.p.results[one.sha], head) {
				return one
			}
		}
	}
	return nil
}

// getCommit is a commit that is the result of a merge.
func (c *call) getCommit() {
	commit := c.r.PathValue("sha")
	if c.p.results[commit] == nil {
		refuse(c.w, http.StatusNotFound, "404 Commit Not Found")
		return
	}
	write(c.w, http.StatusOK, document{"id": commit, "short_id": commit[:8], "title": "Merge", "parent_ids": c.p.results[commit]})
}

// mergeStatus is GitLab's whole view, the first thing that is in the way.
// https://docs.gitlab.com/api/merge_requests/#merge-status
func (m *Merge) mergeStatus() string {
	switch {
	case m.unchecked > 0:
		return "checking"
	case m.state != "opened":
		return "not_open"
	case m.draft:
		return "draft_status"
	case m.clashes():
		return "conflict"
	case m.approvalsLeft > 0:
		return "not_approved"
	case !m.p.rules.Pipeline:
		return "mergeable"
	}
	one := m.pipeline()
	switch {
	case one == nil:
		return "ci_must_pass"
	case m.p.pipelineState(one) == "success":
		return "mergeable"
	case m.p.pipelineState(one) == "failed":
		return "ci_must_pass"
	}
	return "ci_still_running"
}

// oldStatus is about conflicts alone.
func (m *Merge) oldStatus() string {
	switch {
	case m.unchecked > 0:
		return "checking"
	case m.clashes():
		return "cannot_be_merged"
	}
	return "can_be_merged"
}

// isTrue reads a yes as clients write it.
func isTrue(s string) bool { return strings.EqualFold(s, "true") }

// putMerge changes what was sent.
func (c *call) putMerge() {
	if !c.may(30) {
		return
	}
	in := c.read()
	if squash, ok := in["squash"]; ok {
		c.m.squash = isTrue(squash)
	}
	c.m.edit(in, who(c.r))
	write(c.w, http.StatusOK, c.mergeDocument(c.m, who(c.r)))
}

// putMerged merges, by GitLab's own rules and in their order.
func (c *call) putMerged() {
	body := c.read()
	head := c.m.heads[len(c.m.heads)-1]
	switch {
	case c.level(c.p.path, who(c.r).id) < 30:
		refuse(c.w, http.StatusUnauthorized, "401 Unauthorized")
	case c.m.mergeStatus() != "mergeable":
		refuse(c.w, http.StatusMethodNotAllowed, "405 Method Not Allowed")
	case body["sha"] != "" && body["sha"] != head:
		refuse(c.w, http.StatusConflict, "SHA does not match HEAD of source branch: "+head)
	default:
		if isTrue(body["squash"]) { // false is not looked at
			c.m.squash = true
		}
		if err := c.m.carryOut(); err != nil {
			refuse(c.w, http.StatusUnprocessableEntity, "Branch cannot be merged")
			return
		}
		c.m.state = "merged"
		_, c.m.updated = c.tick()
		if isTrue(body["should_remove_source_branch"]) && !slices.Contains(c.p.rules.Protected, c.m.source) {
			c.p.drop(c.m.source)
		}
		c.m.emit("merge", who(c.r), nil, nil)
		if c.p.dir != "" {
			c.p.pushed(who(c.r))
		}
		write(c.w, http.StatusOK, c.mergeDocument(c.m, who(c.r)))
	}
}

// findBranch is the branch of the path.
func (c *call) findBranch() (name, sha string, protected bool) {
	name, _ = url.PathUnescape(c.r.PathValue("branch"))
	if sha = c.p.branch(name); sha == "" {
		refuse(c.w, http.StatusNotFound, "404 Branch Not Found")
	}
	return name, sha, slices.Contains(c.p.rules.Protected, name)
}

func (c *call) getBranch() {
	if name, sha, protected := c.findBranch(); sha != "" {
		write(c.w, http.StatusOK, c.branchDocument(name, sha, protected))
	}
}

func (c *call) deleteBranch() {
	name, sha, protected := c.findBranch()
	switch {
	case sha == "" || !c.may(30) || protected && !c.may(40):
	default:
		c.p.drop(name)
		c.w.WriteHeader(http.StatusNoContent)
	}
}
