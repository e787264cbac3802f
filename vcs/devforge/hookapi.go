package devforge

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
)

// hookSettings is what is said of a webhook when it is made or changed.
type hookSettings struct {
	Active *bool    `json:"active"`
	Events []string `json:"events"`
	Config struct {
		URL         string `json:"url"`
		ContentType string `json:"content_type"`
		Secret      string `json:"secret"`
	} `json:"config"`
}

// needsAdmin: who does not administer a repository is told that it has no webhooks.
func (c call) needsAdmin() error {
	if c.repo.permissions[c.user.login] != "admin" {
		return errNotFound
	}
	return nil
}

func (f *Forge) listHooks(c call) (answer, error) {
	if err := c.needsAdmin(); err != nil {
		return answer{}, err
	}
	some, link := page(f, c, c.repo.hooks)
	out := []any{}
	for _, h := range some {
		out = append(out, f.hookJSON(c.repo, h))
	}
	return answer{body: out, link: link}, nil
}

func (f *Forge) createHook(c call) (answer, error) {
	if err := c.needsAdmin(); err != nil {
		return answer{}, err
	}
	var s hookSettings
	if err := c.decode(&s); err != nil {
		return answer{}, err
	}
	if !strings.HasPrefix(s.Config.URL, "http") || slices.ContainsFunc(c.repo.hooks, func(h *hook) bool { return h.url == s.Config.URL }) {
		return fail(http.StatusUnprocessableEntity, "Validation Failed")
	}
	h := &hook{id: f.nextID(), made: time.Now().UTC()}
	h.set(s)
	c.repo.hooks = append(c.repo.hooks, h)
	f.emitTo(h, "ping", map[string]any{
		"zen": "Keep it logically awesome.", "hook_id": h.id, "hook": f.hookJSON(c.repo, h), "repository": f.repoJSON(c.repo), "sender": f.userJSON(c.user.login),
	})
	return answer{status: http.StatusCreated, body: f.hookJSON(c.repo, h)}, nil
}

func (f *Forge) editHook(c call) (answer, error) {
	if err := c.needsAdmin(); err != nil {
		return answer{}, err
	}
	var s hookSettings
	if err := c.decode(&s); err != nil {
		return answer{}, err
	}
	id, _ := strconv.ParseInt(chi.URLParam(c.req, "id"), 10, 64)
	for _, h := range c.repo.hooks {
		if h.id == id {
			h.set(s)
			return answer{body: f.hookJSON(c.repo, h)}, nil
		}
	}
	return answer{}, errNotFound
}

// set takes settings over. What is said of where it goes is said as a whole, as on GitHub.
func (h *hook) set(s hookSettings) {
	if s.Active != nil {
		h.off = !*s.Active
	}
	if s.Events != nil {
		h.events = s.Events
	}
	if s.Config.URL != "" {
		h.url, h.secret, h.form = s.Config.URL, s.Config.Secret, s.Config.ContentType != "json"
	}
}

// sends reports whether an event goes to the webhook.
func (h *hook) sends(event string) bool {
	return event == "ping" || !h.off && slices.Contains(h.wants(), event)
}

// wants are the events that the webhook was made for.
func (h *hook) wants() []string {
	if h.events == nil {
		return []string{"pull_request", "issue_comment"}
	}
	return h.events
}

func (f *Forge) hookJSON(r *repository, h *hook) map[string]any {
	url := f.apiURL(r, "/hooks/%d", h.id)
	config := map[string]any{"url": h.url, "content_type": "json", "insecure_ssl": "0"}
	if h.form {
		config["content_type"] = "form"
	}
	if h.secret != "" {
		config["secret"] = "********"
	}
	last := map[string]any{"code": nil, "status": "unused", "message": nil}
	if n := len(h.done); n > 0 {
		last = lastResponse(h.done[n-1].status)
	}
	return map[string]any{
		"type": "Repository", "id": h.id, "name": "web", "active": !h.off, "events": h.wants(), "config": config,
		"created_at": h.made, "updated_at": h.made, "url": url, "test_url": url + "/test", "ping_url": url + "/pings",
		"deliveries_url": url + "/deliveries", "last_response": last,
	}
}

func lastResponse(status int) map[string]any {
	switch {
	case status == 0:
		return map[string]any{"code": http.StatusBadGateway, "status": "failed to connect", "message": "failed to connect to host"}
	case status < http.StatusMultipleChoices:
		return map[string]any{"code": status, "status": "active", "message": "OK"}
	default:
		return map[string]any{"code": status, "status": "misconfigured", "message": fmt.Sprintf("Invalid HTTP Response: %d", status)}
	}
}
