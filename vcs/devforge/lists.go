package devforge

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// The lists of a whole repository, as GitHub sorts them: newest first, unless it is asked for otherwise.

func (f *Forge) listPulls(c call) (answer, error) {
	var found []*pull
	for _, p := range c.repo.pulls {
		s, base, head := c.query("state"), c.query("base"), c.query("head")
		if s != "all" && s != p.state && (s != "" || p.state != "open") ||
			base != "" && base != p.baseRef || head != "" && head != p.headRepo.owner+":"+p.headRef {
			continue
		}
		found = append(found, p)
	}
	sorted(c, found, "desc", func(p *pull) (created, updated time.Time) { return p.created, p.updated })
	some, link := page(f, c, found)
	out := []any{}
	for _, p := range some {
		out = append(out, f.pullJSON(c.repo, p))
	}
	return answer{body: out, link: link}, nil
}

func (f *Forge) listAllComments(c call) (answer, error) {
	type placed struct {
		*comment
		on *pull
	}
	since, _ := time.Parse(time.RFC3339, c.query("since"))
	var found []placed
	for _, p := range c.repo.pulls {
		for _, m := range p.comments {
			if !m.updated.Before(since) {
				found = append(found, placed{m, p})
			}
		}
	}
	slices.SortFunc(found, func(a, b placed) int { return cmp.Compare(a.id, b.id) })
	if c.query("sort") != "" { // without it the order is that of the ids, whatever the direction
		sorted(c, found, "desc", func(m placed) (created, updated time.Time) { return m.created, m.updated })
	}
	some, link := page(f, c, found)
	out := []any{}
	for _, m := range some {
		out = append(out, f.commentJSON(c.repo, m.on, m.comment))
	}
	return answer{body: out, link: link}, nil
}

// sorted puts a list into the order that the call asks for.
func sorted[T any](c call, list []T, direction string, times func(T) (created, updated time.Time)) {
	by := func(one T) time.Time {
		created, updated := times(one)
		if c.query("sort") == "updated" {
			return updated
		}
		return created
	}
	if d := c.query("direction"); d != "" {
		direction = d
	}
	if direction == "desc" { // of the same second, too, the newest stands first
		slices.Reverse(list)
	}
	slices.SortStableFunc(list, func(a, b T) int {
		if direction == "asc" {
			return by(a).Compare(by(b))
		}
		return by(b).Compare(by(a))
	})
}

// unchanged answers a conditional request whose answer is the one that the caller has.
// https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate
func unchanged(w http.ResponseWriter, c call, a answer) bool {
	req := c.req
	if req.Method != http.MethodGet || c.user == nil || a.body == nil || a.status != 0 {
		return false
	}
	raw, err := json.Marshal(a.body)
	if err != nil {
		return false
	}
	tag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(append(raw, a.link...)))
	w.Header().Set("ETag", tag)
	if req.Header.Get("If-None-Match") != tag {
		return false
	}
	c.user.unchanged++
	w.WriteHeader(http.StatusNotModified)
	return true
}

// Calls is how many calls of the API a user has made that GitHub counts, and how many that it does not,
// because their answer was the one that the caller had.
func (f *Forge) Calls(login string) (counted, unchanged int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if u := f.users[login]; u != nil {
		return u.asked - u.unchanged, u.unchanged
	}
	return 0, 0
}

// count counts a call, and answers how many GitHub would still let the user make. Nobody is held to it.
func (f *Forge) count(u *user) int {
	const allowed = 5000
	f.mu.Lock()
	defer f.mu.Unlock()
	u.asked++
	return max(allowed-(u.asked-u.unchanged), 1)
}
