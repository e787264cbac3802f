package gitlabtest

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Project is a repository.
type Project struct {
	s        *Server
	id       int64
	path     string
	old      []string
	merges   []*Merge
	pipes    []*pipeline
	statuses []*status
	hooks    []Webhook
	rules    Rules
	// gone are branches that were deleted, moved those that stand elsewhere than their merge requests.
	gone  []string
	moved map[string]string
	// results are the parents of commits that are the result of a merge.
	results map[string][]string

	public bool
	// dir is the repository's, "" where there is none; tips are where its branches stood when it was looked last.
	dir  string
	tips map[string]string
	// jobs are those of the pipelines that pushes make, by their state.
	jobs map[string][]string
}

// Merge is a merge request.
type Merge struct {
	p              *Project
	id             int64
	iid            int
	title, author  string
	text, labels   string // labels with commas between them
	source, target string
	sourceProject  int64
	draft          bool
	state          string
	heads          []string
	base           string
	made, updated  time.Time
	notes          []*note
	approvedBy     []string
	reviewers      map[string]string
	approvalsLeft  int
	conflicts      bool
	squash         bool
	// unchecked is how often it is still told that GitLab is working it out.
	unchecked int
}

type note struct {
	id            int64
	author, body  string
	system        bool
	made, updated time.Time
	emoji         map[string][]string
}

type pipeline struct {
	id          int64
	sha, ref    string
	source      string
	made, state string
}

type status struct {
	id                    int64
	sha, ref, name, state string
	description, url      string
	author                string
	pipeline              int64
	made                  time.Time
}

// AddProject makes a project at a whole path, and the groups above it.
func (s *Server) AddProject(path string) *Project {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Project{s: s, id: s.id(), path: path}
	s.projects = append(s.projects, p)
	p.found()
	return p
}

// ID is the project's number.
func (p *Project) ID() int64 { return p.id }

// Rename moves a project to another whole path. It keeps its number, and its old path leads to it.
func (p *Project) Rename(path string) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	for name, level := range p.s.groups[p.path] {
		if p.s.groups[path] == nil {
			p.s.groups[path] = map[int64]int{}
		}
		p.s.groups[path][name] = level
	}
	p.old, p.path = append(p.old, p.path), path
}

// AddMerge opens a merge request of a branch that is nowhere else. A project with a repository is asked by its API.
func (p *Project) AddMerge(author, title, source, target string) *Merge {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	m := p.addMerge(author, title, source, target, sha(p.path, len(p.merges)+1, 0))
	m.base = sha("base of ", p.path)
	return m
}

func (p *Project) addMerge(author, title, source, target, head string) *Merge {
	id, now := p.s.tick()
	m := &Merge{
		p: p, id: id, iid: len(p.merges) + 1, title: title, author: author, source: source, target: target,
		sourceProject: p.id, state: "opened", made: now, updated: now, heads: []string{head}, reviewers: map[string]string{},
	}
	p.merges = append(p.merges, m)
	return m
}

// AddPipeline makes a pipeline of a commit. source is GitLab's word for why, such as push or merge_request_event.
func (p *Project) AddPipeline(sha, ref, source string) int64 {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.addPipeline(sha, ref, source).id
}

func (p *Project) addPipeline(sha, ref, source string) *pipeline {
	id, now := p.s.tick()
	one := &pipeline{id: id, sha: sha, ref: ref, source: source, made: stamp(now), state: "pending"}
	p.pipes = append(p.pipes, one)
	return one
}

// RemovePipeline deletes a pipeline with its statuses.
func (p *Project) RemovePipeline(id int64) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.pipes = slices.DeleteFunc(p.pipes, func(one *pipeline) bool { return one.id == id })
	p.statuses = slices.DeleteFunc(p.statuses, func(one *status) bool { return one.pipeline == id })
}

// Status is a commit status as GitLab has it.
type Status struct {
	Name, State, Description, URL, Ref string
	Pipeline                           int64
}

// Statuses are a commit's, the latest of each name.
func (p *Project) Statuses(sha string) map[string]Status {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	all := map[string]Status{}
	for _, one := range p.statuses {
		if one.sha == sha {
			all[one.name] = Status{one.name, one.state, one.description, one.url, one.ref, one.pipeline}
		}
	}
	return all
}

// Number is the merge request's within the project.
func (m *Merge) Number() int { return m.iid }

// Head is the newest commit.
func (m *Merge) Head() string {
	m.p.s.mu.Lock()
	defer m.p.s.mu.Unlock()
	return m.heads[len(m.heads)-1]
}

// Base is the commit that the merge request was made on.
func (m *Merge) Base() string { return m.base }

// Push adds a commit, without a pipeline for it.
func (m *Merge) Push() string {
	m.p.s.mu.Lock()
	defer m.p.s.mu.Unlock()
	_, m.updated = m.p.s.tick()
	m.heads = append(m.heads, sha(m.p.path, m.iid, len(m.heads)))
	m.addNote(m.author, "added 1 commit", true)
	return m.heads[len(m.heads)-1]
}

// Set changes what is told of the merge request.
func (m *Merge) Set(change func(*Facts)) {
	m.p.s.mu.Lock()
	defer m.p.s.mu.Unlock()
	f := Facts{m.state, m.draft, m.sourceProject, m.approvalsLeft, m.conflicts, m.squash, m.unchecked}
	change(&f)
	m.state, m.draft, m.sourceProject, m.approvalsLeft = f.State, f.Draft, f.SourceProject, f.ApprovalsLeft
	m.conflicts, m.squash, m.unchecked = f.Conflicts, f.Squash, f.Unchecked
	_, m.updated = m.p.s.tick()
}

// Facts can be changed.
type Facts struct {
	// State is GitLab's word for it: opened, closed, merged or locked.
	State string
	Draft bool
	// SourceProject is 0 for a fork that was deleted.
	SourceProject int64
	// ApprovalsLeft is what the project's rules still want.
	ApprovalsLeft int
	// Conflicts: its branches can't be merged.
	Conflicts bool
	// Squash: its commits become one.
	Squash bool
	// Unchecked is how often it is still told that GitLab is working out whether it can be merged.
	Unchecked int
}

// Note is a note as GitLab has it.
type Note struct {
	ID           int64
	Author, Body string
	System       bool
	// Emoji counts the reactions by name.
	Emoji map[string]int
}

// AddNote writes a note as a user.
func (m *Merge) AddNote(author, body string) int64 {
	m.p.s.mu.Lock()
	defer m.p.s.mu.Unlock()
	return m.addNote(author, body, false).id
}

func (m *Merge) addNote(author, body string, system bool) *note {
	id, now := m.p.s.tick()
	n := &note{id: id, author: author, body: body, system: system, made: now, updated: now, emoji: map[string][]string{}}
	m.notes, m.updated = append(m.notes, n), now
	return n
}

// Notes are all notes, oldest first.
func (m *Merge) Notes() []Note {
	m.p.s.mu.Lock()
	defer m.p.s.mu.Unlock()
	var all []Note
	for _, n := range m.notes {
		emoji := map[string]int{}
		for name, users := range n.emoji {
			emoji[name] = len(users)
		}
		all = append(all, Note{n.id, n.author, n.body, n.system, emoji})
	}
	return all
}

// Review has a reviewer approve, request_changes or take an approval back (unapprove), as GitLab's own pages do.
func (m *Merge) Review(name, verdict string) {
	m.p.s.mu.Lock()
	defer m.p.s.mu.Unlock()
	m.approvedBy = slices.DeleteFunc(m.approvedBy, func(one string) bool { return one == name && verdict != "comment" })
	switch verdict {
	case "approve":
		m.approvedBy = append(m.approvedBy, name)
		m.reviewers[name] = "approved"
	case "request_changes":
		m.reviewers[name] = "requested_changes"
	case "unapprove":
		m.reviewers[name] = "unapproved"
	default:
		if m.reviewers[name] == "" {
			m.reviewers[name] = "reviewed"
		}
	}
}

func (m *Merge) page() string {
	return fmt.Sprintf("%s/%s/-/merge_requests/%d", m.p.s.URL, m.p.path, m.iid)
}

// sha is a commit id that is made of something.
func sha(of ...any) string {
	sum := sha1.Sum([]byte(fmt.Sprint(of...)))
	return hex.EncodeToString(sum[:])
}

// stamp is how the API writes a time.
func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z07:00") }

// project finds a project by its number or its path. moved is its number where the path is an old one.
func (s *Server) project(id string) (p *Project, moved bool) {
	if plain, err := url.PathUnescape(id); err == nil {
		id = plain
	}
	for _, p := range s.projects {
		if fmt.Sprint(p.id) == id || p.path == id {
			return p, false
		}
	}
	for _, p := range s.projects {
		if slices.Contains(p.old, id) {
			return p, true
		}
	}
	return nil, false
}
