package gitlabtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

// hookTimeout is how long GitLab waits for the answer to a webhook.
const hookTimeout = 10 * time.Second

// outbox is what is still to be sent to a webhook, one after the other.
type outbox struct {
	queue, done []delivery
	busy        bool
}

type delivery struct {
	id, event string
	body      []byte
}

// Redeliver sends a project's webhooks so far once more, under the same ids or under others.
func (p *Project) Redeliver(newIDs bool) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	for _, h := range p.hooks {
		box := p.s.outboxes[h.ID]
		if box == nil {
			continue
		}
		done := box.done
		box.done = nil
		for _, d := range done {
			if newIDs {
				d.id = uuid()
			}
			p.enqueue(h.ID, box, d)
		}
	}
}

// Undelivered counts webhooks that are under way.
func (s *Server) Undelivered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, box := range s.outboxes {
		n += len(box.queue)
		if box.busy {
			n++
		}
	}
	return n
}

// send queues a webhook for who wants such. A server without repositories sends none.
func (p *Project) send(event string, body document) {
	if p.s.git == nil {
		return
	}
	raw, err := json.Marshal(body)
	if err != nil {
		p.s.tb.Errorf("gitlabtest: writing a webhook: %v", err)
		return
	}
	for _, h := range p.hooks {
		if event == "Note Hook" && !h.Notes || event == "Merge Request Hook" && !h.Merges {
			continue
		}
		box := p.s.outboxes[h.ID]
		if box == nil {
			box = &outbox{}
			p.s.outboxes[h.ID] = box
		}
		p.enqueue(h.ID, box, delivery{uuid(), event, raw})
	}
}

func (p *Project) enqueue(hook int64, box *outbox, d delivery) {
	box.queue = append(box.queue, d)
	if !box.busy {
		box.busy = true
		p.s.sending.Go(func() { p.drain(hook, box) })
	}
}

func (p *Project) drain(id int64, box *outbox) {
	for {
		p.s.mu.Lock()
		if len(box.queue) == 0 || p.s.ctx.Err() != nil {
			box.busy = false
			p.s.mu.Unlock()
			return
		}
		d, to := box.queue[0], Webhook{}
		box.queue, box.done = box.queue[1:], append(box.done, d)
		for _, h := range p.hooks {
			if h.ID == id {
				to = h
			}
		}
		p.s.mu.Unlock()
		p.s.deliver(to, d)
	}
}

// deliver sends one webhook, once. That nobody takes it is no error: GitLab does not send it again either.
func (s *Server) deliver(to Webhook, d delivery) {
	ctx, cancel := context.WithTimeout(s.ctx, hookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(d.body))
	if err != nil {
		return
	}
	for k, v := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitLab/17.0.0", "X-Gitlab-Event": d.event, "X-Gitlab-Instance": s.URL,
		"X-Gitlab-Event-UUID": d.id, "X-Gitlab-Webhook-UUID": uuid(), "X-Gitlab-Token": to.Token,
	} {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}).Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
}

func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// hookTime is how webhooks write a time.
func hookTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// emit sends that something was done with a merge request.
func (m *Merge) emit(action string, by *user, more, changes document) {
	if changes == nil {
		changes = document{}
	}
	attributes := m.hookDocument()
	attributes["action"] = action
	for k, v := range more {
		attributes[k] = v
	}
	m.p.send("Merge Request Hook", document{
		"object_kind": "merge_request", "event_type": "merge_request", "user": by.hookDocument(m.p.s), "project": m.p.hookProject(),
		"repository": m.p.hookRepository(), "object_attributes": attributes, "labels": m.labelDocuments(), "changes": changes,
	})
}

// emitNote sends that a note was made or edited.
func (m *Merge) emitNote(n *note, action string, by *user) {
	author := m.p.s.user(n.author)
	m.p.send("Note Hook", document{
		"object_kind": "note", "event_type": "note", "user": by.hookDocument(m.p.s), "project_id": m.p.id, "project": m.p.hookProject(),
		"repository": m.p.hookRepository(), "merge_request": m.hookDocument(),
		"object_attributes": document{
			"id": n.id, "note": n.body, "noteable_type": "MergeRequest", "author_id": author.id, "created_at": hookTime(n.made), "updated_at": hookTime(n.updated),
			"project_id": m.p.id, "attachment": nil, "line_code": nil, "commit_id": "", "noteable_id": m.id, "system": false, "st_diff": nil,
			"action": action, "url": fmt.Sprintf("%s#note_%d", m.page(), n.id),
		},
	})
}

func (u *user) hookDocument(s *Server) document {
	return document{"id": u.id, "name": u.name, "username": u.name, "avatar_url": s.URL + "/avatar.png", "email": "[REDACTED]"}
}

func (p *Project) hookProject() document {
	page, ssh, visibility := p.s.URL+"/"+p.path, "git@127.0.0.1:"+p.path+".git", 0
	if p.public {
		visibility = 20
	}
	return document{
		"id": p.id, "name": path.Base(p.path), "description": "", "web_url": page, "avatar_url": nil, "git_ssh_url": ssh, "git_http_url": page + ".git",
		"namespace": path.Base(path.Dir(p.path)), "visibility_level": visibility, "path_with_namespace": p.path, "default_branch": "main",
		"homepage": page, "url": page + ".git", "ssh_url": ssh, "http_url": page + ".git",
	}
}

func (p *Project) hookRepository() document {
	page := p.s.URL + "/" + p.path
	return document{"name": path.Base(p.path), "url": page + ".git", "description": "", "homepage": page}
}

// hookDocument is a merge request as webhooks tell it.
func (m *Merge) hookDocument() document {
	head, states := m.heads[len(m.heads)-1], map[string]int{"opened": 1, "closed": 2, "merged": 3, "locked": 4}
	return document{
		"id": m.id, "iid": m.iid, "target_branch": m.target, "source_branch": m.source, "source_project_id": m.sourceProject,
		"author_id": m.p.s.user(m.author).id, "assignee_ids": []int{}, "assignee_id": nil, "reviewer_ids": []int{}, "title": m.title,
		"created_at": hookTime(m.made), "updated_at": hookTime(m.updated), "milestone_id": nil, "state": m.state, "state_id": states[m.state],
		"blocking_discussions_resolved": true, "work_in_progress": m.draft, "draft": m.draft, "merge_status": m.oldStatus(),
		"detailed_merge_status": m.mergeStatus(), "target_project_id": m.p.id, "description": m.text, "url": m.page(),
		"source": m.p.hookProject(), "target": m.p.hookProject(), "labels": m.labelDocuments(),
		"last_commit": document{
			"id": head, "message": m.title, "title": m.title, "timestamp": m.updated.Format(time.RFC3339), "url": m.p.s.URL + "/" + m.p.path + "/-/commit/" + head,
			"author": document{"name": m.author, "email": "[REDACTED]"},
		},
	}
}

func (m *Merge) labelDocuments() []document {
	all := []document{}
	for i, title := range strings.FieldsFunc(m.labels, func(r rune) bool { return r == ',' }) {
		all = append(all, document{
			"id": i + 1, "title": title, "color": "#ffffff", "project_id": m.p.id, "created_at": hookTime(m.made), "updated_at": hookTime(m.made),
			"template": false, "description": nil, "type": "ProjectLabel", "group_id": nil,
		})
	}
	return all
}
