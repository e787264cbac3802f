package github

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// meter keeps what the forge has told of limits.
type meter struct {
	mu   sync.Mutex
	left map[*account]reading
}

// reading is how many requests an account may still make, and how long that is true at most.
type reading struct {
	left  int
	until time.Time
}

// RequestsLeft is what the forge said last of how many requests the account may still make. Of an App it is the least
// of what it said in repositories: each installation has a limit of its own.
func (c *Client) RequestsLeft() (int, bool) {
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	least, told := 0, false
	for who, r := range c.meter.left {
		switch {
		case time.Now().After(r.until):
			delete(c.meter.left, who)
		case !told || r.left < least:
			least, told = r.left, true
		}
	}
	return least, told
}

// note keeps what an answer says of the account's limit. GraphQL's is another one.
func (c *Client) note(h http.Header) {
	if r := h.Get("X-RateLimit-Resource"); r != "" && r != "core" {
		return
	}
	n, err := strconv.ParseInt(h.Get("X-RateLimit-Remaining"), 10, 32)
	if err != nil || n < 0 {
		return
	}
	lasts := time.Hour
	if reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		lasts = min(lasts, rest.Until(h, time.Unix(reset, 0)))
	}
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	if c.meter.left == nil {
		c.meter.left = map[*account]reading{}
	}
	c.meter.left[c.account] = reading{int(n), time.Now().Add(lasts)}
}
