package gitlabtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Webhook is where a project sends what happens.
type Webhook struct {
	ID                 int64
	URL, Token         string
	Merges, Notes, TLS bool
	// Alert is GitLab's word for whether it still sends.
	Alert string
	made  time.Time
}

// Webhooks are the project's.
func (p *Project) Webhooks() []Webhook {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return slices.Clone(p.hooks)
}

// SetWebhook changes one of them.
func (p *Project) SetWebhook(i int, change func(*Webhook)) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	change(&p.hooks[i])
}

func (c *call) getHooks() {
	if !c.may(40) {
		return
	}
	all := []document{}
	for _, h := range c.p.hooks {
		all = append(all, c.hookDocument(c.p, h))
	}
	write(c.w, http.StatusOK, page(c.w, c.r, all))
}

func (c *call) postHook() {
	if c.may(40) {
		id, now := c.tick()
		c.p.hooks = append(c.p.hooks, Webhook{ID: id, Alert: "executable", made: now})
		c.writeHook(&c.p.hooks[len(c.p.hooks)-1], http.StatusCreated)
	}
}

func (c *call) putHook() {
	if !c.may(40) {
		return
	}
	i := slices.IndexFunc(c.p.hooks, func(h Webhook) bool { return fmt.Sprint(h.ID) == c.r.PathValue("hook") })
	if i < 0 {
		refuse(c.w, http.StatusNotFound, "404 Not found")
		return
	}
	c.writeHook(&c.p.hooks[i], http.StatusOK)
}

func (c *call) writeHook(h *Webhook, status int) {
	got := c.read()
	h.URL, h.Token = got["url"], got["token"]
	h.Merges, h.Notes, h.TLS = got["merge_requests_events"] == "true", got["note_events"] == "true", got["enable_ssl_verification"] == "true"
	write(c.w, status, c.hookDocument(c.p, *h))
}

func (s *Server) hookDocument(p *Project, h Webhook) document {
	return document{
		"id": h.ID, "url": h.URL, "project_id": p.id, "push_events": false, "merge_requests_events": h.Merges, "note_events": h.Notes,
		"enable_ssl_verification": h.TLS, "alert_status": h.Alert, "created_at": stamp(h.made),
	}
}
