package devforge

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"time"
)

type hook struct {
	id     int64
	url    string
	secret string
	events []string // nil: all that there are
	off    bool
	form   bool // not JSON; it is sent as JSON all the same
	made   time.Time
	queue  []*delivery
	busy   bool
	late   int // deliveries that are held back
	done   []*delivery
}

type delivery struct {
	id, event string
	body      []byte
	at        time.Time // when it was answered
	status    int
}

// AddHook sends a repository's webhooks to a URL.
func (f *Forge) AddHook(owner, name, url, secret string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.repos[owner+"/"+name]
	if r == nil {
		return errNotFound
	}
	r.hooks = append(r.hooks, &hook{id: f.nextID(), url: url, secret: secret, made: time.Now().UTC()})
	return nil
}

// MoveHooks changes where all webhooks of a repository go.
func (f *Forge) MoveHooks(owner, name, url string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.repos[owner+"/"+name]; r != nil {
		for _, h := range r.hooks {
			h.url = url
		}
	}
}

// Undelivered counts deliveries that are under way.
func (f *Forge) Undelivered() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.repos {
		for _, h := range r.hooks {
			n += len(h.queue) + h.late
			if h.busy {
				n++
			}
		}
	}
	return n
}

// RedeliverAll sends every delivery of a repository once more, under the same or new ids.
func (f *Forge) RedeliverAll(owner, name string, newIDs bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.repos[owner+"/"+name]
	if r == nil {
		return
	}
	for _, h := range r.hooks {
		done := h.done
		h.done = nil
		for _, d := range done {
			id := d.id
			if newIDs {
				id = guid()
			}
			f.enqueue(h, &delivery{id: id, event: d.event, body: d.body})
		}
	}
}

func guid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// emit queues a webhook; f.mu is held.
func (f *Forge) emit(r *repository, event string, payload map[string]any) {
	for _, h := range r.hooks {
		f.emitTo(h, event, payload)
	}
}

func (f *Forge) emitTo(h *hook, event string, payload map[string]any) {
	if !h.sends(event) {
		return
	}
	body, err := json.Marshal(payload)
	if err != nil {
		f.log.Error("writing a webhook", "err", err)
		return
	}
	f.enqueue(h, &delivery{id: guid(), event: event, body: body})
}

func (f *Forge) enqueue(h *hook, d *delivery) {
	if !f.stray(h, d) {
		f.send(h, d)
	}
}

func (f *Forge) send(h *hook, d *delivery) {
	h.queue = append(h.queue, d)
	if h.busy {
		return
	}
	h.busy = true
	f.wg.Go(func() { f.drain(h) })
}

func (f *Forge) drain(h *hook) {
	for {
		f.mu.Lock()
		if len(h.queue) == 0 || f.ctx.Err() != nil {
			h.busy = false
			f.mu.Unlock()
			return
		}
		d := h.queue[0]
		h.queue = h.queue[1:]
		url, secret := h.url, h.secret
		f.mu.Unlock()
		f.sent(d.event, d.body)
		d.status = f.deliver(url, secret, d)
		f.mu.Lock()
		d.at = now()
		h.done = append(h.done, d)
		f.mu.Unlock()
	}
}

func (f *Forge) deliver(url, secret string, d *delivery) int {
	ctx, cancel := context.WithTimeout(f.ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.body))
	if err != nil {
		return 0
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(d.body)
	for k, v := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/devforge", "X-GitHub-Event": d.event,
		"X-GitHub-Delivery": d.id, "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		f.log.Warn("delivering a webhook", "event", d.event, "err", err)
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (f *Forge) emitPull(r *repository, p *pull, action, by string, extra map[string]any) {
	payload := map[string]any{
		"action": action, "number": p.number, "pull_request": f.pullJSON(r, p), "repository": f.repoJSON(r), "sender": f.userJSON(by),
	}
	maps.Copy(payload, extra)
	f.emit(r, "pull_request", payload)
}

func (f *Forge) emitComment(r *repository, p *pull, c *comment, action, by string, extra map[string]any) {
	payload := map[string]any{
		"action": action, "issue": f.issueJSON(r, p), "comment": f.commentJSON(r, p, c), "repository": f.repoJSON(r), "sender": f.userJSON(by),
	}
	maps.Copy(payload, extra)
	f.emit(r, "issue_comment", payload)
}
