package webhook_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/server/webhook"
	"github.com/tidegate/tidegate/vcs"
)

// hook is a forge whose deliveries are signed by being sent with "X-Sign: good".
type hook struct {
	parsed int
	event  vcs.Event
	err    error
}

func (k *hook) Claims(h http.Header) bool { return h.Get("X-Fake-Event") != "" }

func (k *hook) Verify(h http.Header, _ []byte) error {
	if h.Get("X-Sign") != "good" {
		return vcs.ErrSignature
	}
	return nil
}

func (k *hook) Parse(http.Header, []byte) (vcs.Event, error) {
	k.parsed++
	return k.event, k.err
}

type journal struct {
	keys map[string]uint64
	err  error
}

func (j *journal) AddEvent(_ context.Context, _ vcs.Event, key string) (uint64, bool, error) {
	if j.err != nil {
		return 0, false, j.err
	}
	if seq, ok := j.keys[key]; ok {
		return seq, false, nil
	}
	j.keys[key] = uint64(len(j.keys) + 1)
	return j.keys[key], true, nil
}

func event(repo string) vcs.Event {
	return vcs.Event{
		Kind: vcs.PullPushed, Repo: vcs.Repo{ID: vcs.RepoID{Forge: "f", ID: 1}, Owner: "acme", Name: repo},
		Pull: 1, Head: "abc", At: time.Unix(1, 0),
	}
}

func handler(k *hook, j *journal) *webhook.Handler {
	return webhook.New(webhook.Config{
		Hooks: []vcs.Hook{k}, Journal: j,
		Allowed: func(r vcs.Repo) bool { return r.Name == "infra" },
		Log:     slog.New(slog.DiscardHandler), Now: time.Now,
	})
}

func deliver(h http.Handler, method, sign string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/events", body)
	r.Header.Set("X-Fake-Event", "push")
	r.Header.Set("X-Sign", sign)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestNothingIsParsedUnverified(t *testing.T) {
	t.Parallel()
	k, j := &hook{event: event("infra")}, &journal{keys: map[string]uint64{}}
	h := handler(k, j)
	for _, sign := range []string{"", "bad"} {
		if w := deliver(h, http.MethodPost, sign, strings.NewReader("{}")); w.Code != http.StatusUnauthorized {
			t.Errorf("signature %q: status %d, want 401", sign, w.Code)
		}
	}
	if k.parsed != 0 || len(j.keys) != 0 {
		t.Errorf("parsed %d, journalled %d without a signature, want nothing", k.parsed, len(j.keys))
	}
	if !h.Seen().Last.IsZero() {
		t.Error("a rejected delivery counts as the last webhook")
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	good := func() *hook { return &hook{event: event("infra")} }
	for _, tt := range []struct {
		name   string
		hook   *hook
		fail   error
		method string
		body   io.Reader
		status int
		says   string
		what   webhook.Outcome
	}{
		{"accepted", good(), nil, http.MethodPost, strings.NewReader("{}"), 202, "accepted as event 1", webhook.Accepted},
		{"ignored", &hook{err: &vcs.IgnoredError{Event: "star", Reason: "stars ask nothing"}}, nil, http.MethodPost, strings.NewReader("{}"), 200, "stars ask nothing", webhook.Ignored},
		{"unusable", &hook{err: &vcs.PayloadError{Problem: "no sender"}}, nil, http.MethodPost, strings.NewReader("{}"), 400, "no sender", webhook.Rejected},
		{"other repository", &hook{event: event("other")}, nil, http.MethodPost, strings.NewReader("{}"), 200, "--repo-allowlist", webhook.Ignored},
		{"disk full", good(), errors.New("no space"), http.MethodPost, strings.NewReader("{}"), 503, "send it again", webhook.Failed},
		{"method", good(), nil, http.MethodGet, nil, 405, "POST", webhook.Rejected},
		{"too large", good(), nil, http.MethodPost, io.LimitReader(zeros{}, webhook.MaxBody+1), 413, "larger", webhook.Rejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := handler(tt.hook, &journal{keys: map[string]uint64{}, err: tt.fail})
			w := deliver(h, tt.method, "good", tt.body)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("answer %d %q, want %d with %q", w.Code, w.Body, tt.status, tt.says)
			}
			if got := h.Seen().Counts[tt.what]; got != 1 {
				t.Errorf("counted %d as %s, want 1", got, tt.what)
			}
		})
	}
}

func TestSameEventTwiceIsOne(t *testing.T) {
	t.Parallel()
	j := &journal{keys: map[string]uint64{}}
	h := handler(&hook{event: event("infra")}, j)
	first := deliver(h, http.MethodPost, "good", strings.NewReader("{}"))
	second := deliver(h, http.MethodPost, "good", strings.NewReader("{}"))
	if first.Code != http.StatusAccepted || second.Code != http.StatusOK || len(j.keys) != 1 {
		t.Errorf("answers %d, %d with %d events, want 202, 200 with 1", first.Code, second.Code, len(j.keys))
	}
}

func TestUnknownForge(t *testing.T) {
	t.Parallel()
	h := handler(&hook{}, &journal{})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/events", strings.NewReader("{}")))
	if w.Code != http.StatusBadRequest {
		t.Errorf("status %d, want 400", w.Code)
	}
}

func TestSeenIsBoundedAndNewestFirst(t *testing.T) {
	t.Parallel()
	k := &hook{err: &vcs.IgnoredError{Event: "star", Reason: "x"}}
	h := handler(k, &journal{})
	for range 250 {
		deliver(h, http.MethodPost, "good", strings.NewReader("{}"))
	}
	k.err = &vcs.IgnoredError{Event: "last", Reason: "x"}
	deliver(h, http.MethodPost, "good", strings.NewReader("{}"))
	got := h.Seen()
	if len(got.Recent) != 100 || got.Recent[0].Event != "last" || got.Counts[webhook.Ignored] != 251 {
		t.Errorf("Seen() = %d deliveries, newest %q, %d counted; want 100, last, 251", len(got.Recent), got.Recent[0].Event, got.Counts[webhook.Ignored])
	}
}

// Anybody can send what is rejected; it must not hide what a forge has sent.
func TestRejectedDeliveriesDoNotHideTheOthers(t *testing.T) {
	t.Parallel()
	k := &hook{err: &vcs.IgnoredError{Event: "star", Reason: "x"}}
	h := handler(k, &journal{})
	deliver(h, http.MethodPost, "good", strings.NewReader("{}"))
	for range 250 {
		deliver(h, http.MethodPost, "bad", strings.NewReader("{}"))
	}
	got := h.Seen()
	if n := len(got.Recent); n != 21 || got.Recent[0].Outcome != webhook.Rejected || got.Recent[n-1].Event != "star" || got.Counts[webhook.Rejected] != 250 {
		t.Errorf("Seen() = %d deliveries, the oldest %+v; want 21 and the forge's", n, got.Recent[n-1])
	}
}

// announced is a body that may not be read.
type announced struct{ t *testing.T }

func (a announced) Read([]byte) (int, error) {
	a.t.Error("it was read")
	return 0, io.EOF
}

func TestAnnouncedTooLargeIsNotRead(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/events", announced{t})
	r.ContentLength = webhook.MaxBody + 1
	r.Header.Set("X-Fake-Event", "push")
	w := httptest.NewRecorder()
	handler(&hook{}, &journal{}).ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d, want 413", w.Code)
	}
}

// Nobody has signed what is being read, so only some bodies may be large at once; the usual ones are
// taken meanwhile.
func TestFewLargeBodiesAtOnce(t *testing.T) {
	t.Parallel()
	h := handler(&hook{event: event("infra")}, &journal{keys: map[string]uint64{}})
	const atOnce = 4
	var ends []*io.PipeWriter
	done := make(chan int)
	send := func() *io.PipeWriter {
		from, to := io.Pipe()
		go func() { done <- deliver(h, http.MethodPost, "good", from).Code }()
		// The pipe hands a part over when it is read, so these are more than the usual size.
		if _, err := to.Write(make([]byte, 1<<20+1)); err != nil {
			t.Logf("writing a body: %v", err)
		}
		return to
	}
	for range atOnce {
		ends = append(ends, send())
	}
	refused := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/events", io.LimitReader(zeros{}, 2<<20))
	r.Header.Set("X-Fake-Event", "push")
	h.ServeHTTP(refused, r)
	if refused.Code != http.StatusServiceUnavailable || refused.Header().Get("Retry-After") == "" {
		t.Errorf("one large body too many: %d, want 503", refused.Code)
	}
	if w := deliver(h, http.MethodPost, "good", strings.NewReader("{}")); w.Code != http.StatusAccepted {
		t.Errorf("a usual body meanwhile: %d, want 202", w.Code)
	}
	for _, end := range ends {
		_ = end.Close()
		if code := <-done; code != http.StatusOK {
			t.Errorf("a large body: %d, want 200", code)
		}
	}
	if w := deliver(h, http.MethodPost, "good", io.LimitReader(zeros{}, 2<<20)); w.Code != http.StatusOK {
		t.Errorf("a large body afterwards: %d, want 200", w.Code)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A delivery is shown under the id that its forge has for it, unless that could be anything.
func TestDeliveryIDs(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"X-GitHub-Delivery: 72d3162e-cc78-11e3": "72d3162e-cc78-11e3", "X-Gitea-Delivery: f6266f16": "f6266f16",
		"X-Gitlab-Event-UUID: 13792a34-cac6": "13792a34-cac6", "X-GitHub-Delivery: a b": "", "X-GitHub-Delivery: <b>": "",
	} {
		h := handler(&hook{event: event("infra")}, &journal{keys: map[string]uint64{}})
		r := httptest.NewRequest(http.MethodPost, "/events", strings.NewReader("{}"))
		key, value, _ := strings.Cut(name, ": ")
		r.Header.Set("X-Fake-Event", "push")
		r.Header.Set("X-Sign", "good")
		r.Header.Set(key, value)
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got := h.Seen().Recent[0].ID; got != want {
			t.Errorf("%s is shown as %q, want %q", name, got, want)
		}
	}
}
