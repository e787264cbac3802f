package devforge

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

type hook struct {
	id     int64
	url    string
	secret string
	queue  []*delivery
	busy   bool
	done   []*delivery
}

type delivery struct {
	id, event string
	body      []byte
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
	r.hooks = append(r.hooks, &hook{id: f.nextID(), url: url, secret: secret})
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
			n += len(h.queue)
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
	body, err := json.Marshal(payload)
	if err != nil {
		f.log.Error("writing a webhook", "err", err)
		return
	}
	for _, h := range r.hooks {
		f.enqueue(h, &delivery{id: guid(), event: event, body: body})
	}
}

func (f *Forge) enqueue(h *hook, d *delivery) {
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
		d.status = f.deliver(url, secret, d)
		f.mu.Lock()
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
	for k, v := range extra {
		payload[k] = v
	}
	f.emit(r, "pull_request", payload)
}

func (f *Forge) emitComment(r *repository, p *pull, c *comment, action, by string) {
	issue := map[string]any{
		"id": p.id, "number": p.number, "title": p.title, "state": p.state, "user": f.userJSON(p.author),
		"html_url": f.pullURL(r, p), "url": f.apiURL(r, "/issues/%d", p.number),
		"pull_request": map[string]any{"url": f.apiURL(r, "/pulls/%d", p.number), "html_url": f.pullURL(r, p)},
	}
	f.emit(r, "issue_comment", map[string]any{
		"action": action, "issue": issue, "comment": f.commentJSON(r, p, c), "repository": f.repoJSON(r), "sender": f.userJSON(by),
	})
}

func (f *Forge) apiURL(r *repository, format string, args ...any) string {
	return f.url + "/api/v3/repos/" + r.full() + fmt.Sprintf(format, args...)
}

func (f *Forge) pullURL(r *repository, p *pull) string {
	return fmt.Sprintf("%s/%s/pull/%d", f.url, r.full(), p.number)
}

func (f *Forge) userJSON(login string) map[string]any {
	id := int64(0)
	if u := f.users[login]; u != nil {
		id = u.id
	}
	return map[string]any{
		"login": login, "id": id, "node_id": fmt.Sprintf("U_%d", id), "type": "User", "site_admin": false,
		"html_url": f.url + "/" + login, "url": f.url + "/api/v3/users/" + login, "avatar_url": f.url + "/avatar",
	}
}

func (f *Forge) repoJSON(r *repository) map[string]any {
	return map[string]any{
		"id": r.id, "node_id": fmt.Sprintf("R_%d", r.id), "name": r.name, "full_name": r.full(), "private": false, "fork": r.fork != nil,
		"owner": f.userJSON(r.owner), "html_url": f.url + "/" + r.full(), "url": f.apiURL(r, ""),
		"clone_url": f.url + "/" + r.full() + ".git", "default_branch": "main", "archived": false,
	}
}

func (f *Forge) sideJSON(r *repository, ref, sha string) map[string]any {
	return map[string]any{"label": r.owner + ":" + ref, "ref": ref, "sha": sha, "user": f.userJSON(r.owner), "repo": f.repoJSON(r)}
}

func (f *Forge) pullJSON(r *repository, p *pull) map[string]any {
	var closed, merged any
	if !p.closed.IsZero() {
		closed = p.closed
	}
	if p.merged {
		merged = p.closed
	}
	if p.state == "open" {
		p.baseSHA = f.sha(r, p.baseRef)
	}
	return map[string]any{
		"id": p.id, "node_id": fmt.Sprintf("PR_%d", p.id), "number": p.number, "state": p.state, "title": p.title, "body": p.body,
		"user": f.userJSON(p.author), "draft": p.draft, "locked": p.locked, "merged": p.merged, "merged_at": merged, "closed_at": closed,
		"created_at": p.created, "updated_at": p.updated, "html_url": f.pullURL(r, p), "url": f.apiURL(r, "/pulls/%d", p.number),
		"head": f.sideJSON(p.headRepo, p.headRef, p.headSHA), "base": f.sideJSON(r, p.baseRef, p.baseSHA),
		"mergeable": p.state == "open" && f.mergeable(r, p), "merge_commit_sha": p.mergeSHA, "comments": len(p.comments),
	}
}

func (f *Forge) commentJSON(r *repository, p *pull, c *comment) map[string]any {
	return map[string]any{
		"id": c.id, "node_id": c.node, "body": c.body, "user": f.userJSON(c.author), "created_at": c.created, "updated_at": c.updated,
		"html_url": fmt.Sprintf("%s#issuecomment-%d", f.pullURL(r, p), c.id), "url": f.apiURL(r, "/issues/comments/%d", c.id),
		"issue_url": f.apiURL(r, "/issues/%d", p.number), "author_association": "MEMBER",
	}
}
