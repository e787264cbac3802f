package e2e

import (
	"net"
	"net/url"
	"testing"
)

// hangUp visits a page of the demo's forge many times and goes away before it is answered, as a browser does
// whose tab is closed.
func (d *shownDemo) hangUp(t *testing.T) {
	t.Helper()
	at, err := url.Parse(d.pull(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at.Host)
		if err != nil {
			t.Fatalf("the demo does not outlive its visitors: %v", err)
		}
		if _, err := c.Write([]byte("GET " + at.Path + " HTTP/1.1\r\nHost: " + at.Host + "\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
