package devforge

import (
	"encoding/json"
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
	f.ping(c, h)
	return answer{status: http.StatusCreated, body: f.hookJSON(c.repo, h)}, nil
}

func (f *Forge) editHook(c call) (answer, error) {
	i, err := c.hook()
	if err != nil {
		return answer{}, err
	}
	var s hookSettings
	if err := c.decode(&s); err != nil {
		return answer{}, err
	}
	h := c.repo.hooks[i]
	h.set(s)
	return answer{body: f.hookJSON(c.repo, h)}, nil
}

// hook finds the webhook that is asked for among the repository's.
func (c call) hook() (int, error) {
	if err := c.needsAdmin(); err != nil {
		return 0, err
	}
	id, _ := strconv.ParseInt(chi.URLParam(c.req, "id"), 10, 64)
	i := slices.IndexFunc(c.repo.hooks, func(h *hook) bool { return h.id == id })
	if i < 0 {
		return 0, errNotFound
	}
	return i, nil
}

func (f *Forge) deleteHook(c call) (answer, error) {
	i, err := c.hook()
	if err != nil {
		return answer{}, err
	}
	c.repo.hooks = slices.Delete(c.repo.hooks, i, i+1)
	return answer{status: http.StatusNoContent}, nil
}

func (f *Forge) pingHook(c call) (answer, error) {
	i, err := c.hook()
	if err != nil {
		return answer{}, err
	}
	f.ping(c, c.repo.hooks[i])
	return answer{status: http.StatusNoContent}, nil
}

func (f *Forge) ping(c call, h *hook) {
	f.emitTo(h, "ping", map[string]any{
		"zen": "Keep it logically awesome.", "hook_id": h.id, "hook": f.hookJSON(c.repo, h), "repository": f.repoJSON(c.repo), "sender": f.userJSON(c.user.login),
	})
}

// listDeliveries has the newest first. There are no pages: the cursor is GitHub's own matter.
func (f *Forge) listDeliveries(c call) (answer, error) {
	i, err := c.hook()
	if err != nil {
		return answer{}, err
	}
	out := []any{}
	for n, d := range slices.Backward(c.repo.hooks[i].done) {
		var told struct{ Action *string }
		if err := json.Unmarshal(d.body, &told); err != nil {
			return answer{}, err
		}
		last := lastResponse(d.status)
		out = append(out, map[string]any{
			"id": c.repo.hooks[i].id<<20 + int64(n), "guid": d.id, "delivered_at": d.at, "redelivery": false, "duration": 0, "status": last["message"],
			"status_code": last["code"], "event": d.event, "action": told.Action, "installation_id": nil, "repository_id": c.repo.id,
		})
	}
	return answer{body: out}, nil
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
