package gitea

import "time"

// Hasten has a client wait less for what the forge is still working out: the real one of the tests has nothing else
// to do.
func (c *Client) Hasten() { c.pollTime = 5 * time.Second }

// Matches is matches.
func Matches(pattern, name string) bool { return matches(pattern, name) }
