package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/server"
)

// What is logged for a request carries the id that its answer has.
func TestARequestsIDStandsInItsLines(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c := config()
	c.Log = slog.New(server.LogRequests(slog.NewTextHandler(&log, nil))).With("part", "front")
	c.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Log.WarnContext(r.Context(), "trouble")
		_, _ = w.Write([]byte(w.Header().Get("X-Request-Id")))
	})
	ask := start(t, c, "127.0.0.1:0")
	_, id := ask(http.MethodGet, "/", nil)
	if id == "" || !strings.Contains(log.String(), "msg=trouble part=front request="+id) {
		t.Errorf("the answer says %q, the log %q, want the same id", id, log.String())
	}
	log.Reset()
	c.Log.WarnContext(context.Background(), "later")
	if strings.Contains(log.String(), "request=") {
		t.Errorf("a line that belongs to no request has an id: %s", log.String())
	}
}
