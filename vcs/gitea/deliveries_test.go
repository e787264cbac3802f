package gitea_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitea"
)

//nolint:gochecknoglobals // the testing package's way to take flags
var (
	update = flag.Bool("update", false, "write the golden files anew")
	record = flag.Bool("record", false, "keep what the server sends in testdata/deliveries")
)

const (
	secret = "webhook-secret"
	// recordedAt is where the server of the recordings is said to be.
	recordedAt = "http://127.0.0.1:3000"
)

// delivery is what came.
type delivery struct {
	header http.Header
	body   []byte
	action string
	event  vcs.Event
	err    error
}

// receiver takes deliveries in as the server does: claimed, verified, parsed.
type receiver struct {
	*world
	came chan delivery
	keys map[string]string
}

func newReceiver(t *testing.T, w *world, kind string) *receiver {
	t.Helper()
	c := w.client(t, gitea.Config{WebhookSecrets: func() [][]byte { return [][]byte{[]byte("old"), []byte(secret)} }})
	r := &receiver{world: w, came: make(chan delivery, 100), keys: map[string]string{}}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		d := delivery{header: req.Header}
		d.body, d.err = io.ReadAll(req.Body)
		if !c.Claims(req.Header) {
			d.err = errors.New("not claimed")
		}
		if err := errors.Join(d.err, c.Verify(req.Header, d.body)); err != nil {
			d.err = err
			r.came <- d
			return
		}
		var p struct{ Action string }
		_ = json.Unmarshal(d.body, &p)
		d.action = p.Action
		d.event, d.err = c.Parse(req.Header, d.body)
		r.came <- d
	}))
	t.Cleanup(srv.Close)
	w.AddHook(t, owner, w.repo, srv.URL, secret, kind)
	return r
}

// next waits for the delivery of that event and action. What comes before it must be nothing for us.
func (r *receiver) next(t *testing.T, event, action string) delivery {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		select {
		case d := <-r.came:
			if d.header.Get("X-Gitea-Event") == event && d.action == action {
				return d
			}
			if ignored := (*vcs.IgnoredError)(nil); !errors.As(d.err, &ignored) {
				t.Errorf("an unexpected delivery of %s %s: %+v, %v", d.header.Get("X-Gitea-Event"), d.action, d.event, d.err)
			}
		case <-limit.C:
			t.Fatalf("no delivery of %s %s came", event, action)
		}
	}
}

// keep records a delivery, without what differs from server to server.
func (r *receiver) keep(t *testing.T, name string, d delivery) {
	t.Helper()
	if !*record {
		return
	}
	text := strings.ReplaceAll(string(d.body), r.Server.URL, recordedAt)
	must(t, os.MkdirAll(filepath.Join("testdata", "deliveries"), 0o755))
	must(t, os.WriteFile(filepath.Join("testdata", "deliveries", d.header.Get("X-Gitea-Event")+"."+name+".json"), []byte(text+"\n"), 0o644))
}

// TestDeliveries: what a real server sends, and what becomes of it.
func TestDeliveries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "hooks")
	w.Branch(t, "stable")
	w.Push(t, owner, "stable")
	r := newReceiver(t, w, "json")
	var id int64
	edit := func(what map[string]any) func() {
		return func() { w.ask(t, "ana", http.MethodPatch, "/pulls/2", what, nil) }
	}
	var sha string
	commit := func() {
		sha = w.Commit(t, "more "+w.Head(t))
		w.Push(t, "ana", "more")
	}
	w.Branch(t, "more")
	commit()
	for _, tt := range []struct {
		name, event, action string
		do                  func()
		want                vcs.EventKind // "" is ignored
		by                  string
	}{
		{"opened", "pull_request", "opened", func() {
			w.ask(t, "ana", http.MethodPost, "/pulls", map[string]any{"title": "WIP: more", "head": "more", "base": "main"}, nil)
		}, vcs.PullOpened, "ana"},
		{"pushed", "pull_request", "synchronized", commit, vcs.PullPushed, "ana"},
		{"labelled", "pull_request", "label_updated", func() {
			var label struct{ ID int64 }
			w.ask(t, owner, http.MethodPost, "/labels", map[string]any{"name": "blue", "color": "#0000ff"}, &label)
			w.ask(t, "ana", http.MethodPost, "/issues/2/labels", map[string]any{"labels": []int64{label.ID}}, nil)
		}, "", ""},
		{"title", "pull_request", "edited", edit(map[string]any{"title": "WIP: even more"}), "", ""},
		{"ready", "pull_request", "edited", edit(map[string]any{"title": "even more"}), vcs.PullReady, "ana"},
		{"draft", "pull_request", "edited", edit(map[string]any{"title": "[wip] even more"}), "", ""},
		{"body", "pull_request", "edited", edit(map[string]any{"body": "why"}), "", ""},
		{"comment", "issue_comment", "created", func() {
			var made struct{ ID int64 }
			w.ask(t, "raj", http.MethodPost, "/issues/2/comments", map[string]any{"body": "tidegate plan"}, &made)
			id = made.ID
		}, vcs.Commented, "raj"},
		{"comment_edited", "issue_comment", "edited", func() {
			w.ask(t, "raj", http.MethodPatch, fmt.Sprintf("/issues/comments/%d", id), map[string]any{"body": "tidegate apply"}, nil)
		}, "", ""},
		{"comment_deleted", "issue_comment", "deleted", func() {
			w.ask(t, "raj", http.MethodDelete, fmt.Sprintf("/issues/comments/%d", id), nil, nil)
		}, "", ""},
		{"approved", "pull_request_approved", "reviewed", func() { w.reviewTwo(t, "APPROVED") }, "", ""},
		{"rejected", "pull_request_rejected", "reviewed", func() { w.reviewTwo(t, "REQUEST_CHANGES") }, "", ""},
		{"remarks", "pull_request_comment", "reviewed", func() { w.reviewTwo(t, "COMMENT") }, "", ""},
		{"closed", "pull_request", "closed", edit(map[string]any{"state": "closed"}), vcs.PullClosed, "ana"},
		{"reopened", "pull_request", "reopened", edit(map[string]any{"state": "open"}), vcs.PullOpened, "ana"},
		{"retargeted", "pull_request", "edited", edit(map[string]any{"base": "stable"}), vcs.PullRetargeted, "ana"},
		{"issue_comment", "issue_comment", "created", func() {
			w.ask(t, "raj", http.MethodPost, "/issues", map[string]any{"title": "help"}, nil)
			w.ask(t, "raj", http.MethodPost, "/issues/3/comments", map[string]any{"body": "tidegate plan"}, nil)
		}, "", ""},
		{"ready_again", "pull_request", "edited", edit(map[string]any{"title": "even more"}), vcs.PullReady, "ana"},
		{"merged", "pull_request", "closed", func() {
			w.ask(t, "rosa", http.MethodPost, "/pulls/2/merge", map[string]any{"Do": "merge", "delete_branch_after_merge": true}, nil)
		}, vcs.PullClosed, "rosa"},
	} {
		began := time.Now().Truncate(time.Second)
		tt.do()
		d := r.next(t, tt.event, tt.action)
		r.keep(t, tt.name, d)
		if tt.want == "" {
			if ignored := (*vcs.IgnoredError)(nil); !errors.As(d.err, &ignored) {
				t.Errorf("%s: %+v, %v, want it ignored", tt.name, d.event, d.err)
			}
			continue
		}
		r.check(t, tt.name, d, tt.want, tt.by, began)
		switch {
		case tt.want == vcs.Commented && (d.event.Comment == nil || d.event.Comment.ID != id || d.event.Comment.Body != "tidegate plan" || d.event.Comment.Author != "raj"):
			t.Errorf("%s: the comment is %+v", tt.name, d.event.Comment)
		case tt.want != vcs.Commented && d.event.Head != sha:
			t.Errorf("%s: the head is %q, want %q", tt.name, d.event.Head, sha)
		}
		if base := d.event.BaseRef; slices.Contains([]string{"retargeted", "ready_again", "merged"}, tt.name) && base != "stable" {
			t.Errorf("%s: the base is %q, want stable", tt.name, base)
		}
	}
}

func (w *world) reviewTwo(t *testing.T, event string) {
	t.Helper()
	w.ask(t, "raj", http.MethodPost, "/pulls/2/reviews", map[string]any{"event": event, "body": "tidegate apply"}, nil)
}

// check looks at what every event has. No two of them may pass for one.
func (r *receiver) check(t *testing.T, name string, d delivery, kind vcs.EventKind, by string, began time.Time) {
	t.Helper()
	ev := d.event
	want := vcs.Event{Kind: kind, Delivery: d.header.Get("X-Gitea-Delivery"), Repo: r.pull(t).Repo, Pull: 2, Sender: by}
	got := vcs.Event{Kind: ev.Kind, Delivery: ev.Delivery, Repo: ev.Repo, Pull: ev.Pull, Sender: ev.Sender}
	if d.err != nil || got != want {
		t.Errorf("%s: %+v, %v, want %+v", name, got, d.err, want)
	}
	if ev.At.Before(began) || ev.At.After(time.Now()) {
		t.Errorf("%s: it happened at %s, want a time between %s and now", name, ev.At, began)
	}
	if other, twice := r.keys[ev.Key()]; twice {
		t.Errorf("%s has the key of %s: %q", name, other, ev.Key())
	}
	r.keys[ev.Key()] = name
}

// TestFormDelivery: what is signed is the JSON in the form.
func TestFormDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "form")
	r := newReceiver(t, w, "form")
	id := w.comment(t, "raj", "tidegate plan ü & =")
	d := r.next(t, "issue_comment", "")
	if kind := d.header.Get("Content-Type"); !strings.Contains(kind, "form") {
		t.Errorf("the delivery is of the type %q, want a form", kind)
	}
	if d.err != nil || d.event.Comment == nil || d.event.Comment.ID != id || d.event.Comment.Body != "tidegate plan ü & =" {
		t.Errorf("%+v, %v, want comment %d", d.event, d.err, id)
	}
}

// TestForcePush: a head that comes back is another event.
func TestForcePush(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "force")
	r := newReceiver(t, w, "json")
	first := w.push(t)
	one := r.next(t, "pull_request", "synchronized")
	w.Git(t, owner, "-C", w.Dir, "reset", "-q", "--hard", "HEAD~1")
	back := time.Now().Truncate(time.Second)
	w.Push(t, "ana", "grow")
	two := r.next(t, "pull_request", "synchronized")
	if one.err != nil || two.err != nil || one.event.Head != first || two.event.Head != w.head || two.event.Kind != vcs.PullPushed {
		t.Errorf("after a push and its withdrawal: %+v, %v and %+v, %v", one.event, one.err, two.event, two.err)
	}
	// The time is what tells a head that comes back from the same delivery twice.
	if two.event.At.Before(back) {
		t.Errorf("the withdrawal is of %s, want %s or later", two.event.At, back)
	}
}
