// Package webhook takes a forge's deliveries in: it verifies the signature over the raw body, turns
// the body into a vcs.Event, makes the event durable, and only then says that it was accepted.
//
// It knows no command and starts no work. Start with Handler.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

const (
	// MaxBody is the largest delivery that is read, in bytes: what GitHub caps its own at.
	MaxBody = 25 << 20
	// usualBody is more than a delivery that asks something of us has. Whoever sends more than that
	// waits for its turn: nobody has signed it yet, and all of it is kept until that is known.
	usualBody = 1 << 20
	// large is how many bodies may be larger at once.
	large = 4
)

// Journal is where events become durable.
type Journal interface {
	// AddEvent returns after the event is on disk. added is false when the same event is there.
	AddEvent(ctx context.Context, ev vcs.Event, key string) (seq uint64, added bool, err error)
}

// Config is what a Handler works with. All fields are needed.
type Config struct {
	// Hooks are asked in order which of them a delivery belongs to.
	Hooks   []vcs.Hook
	Journal Journal
	// Allowed says which repositories are served. The others get nothing but a log line.
	Allowed func(vcs.Repo) bool
	Log     *slog.Logger
	Now     func() time.Time
}

// Handler answers POST /events. It is safe for concurrent use.
type Handler struct {
	Config
	mu     sync.Mutex
	counts map[Outcome]uint64
	recent []Delivery // oldest first, at most keep, and keepRejected of those anybody can cause
	last   time.Time
	large  chan struct{}
}

const (
	keep         = 100
	keepRejected = 20
)

// OfNobody is the answer to what no forge that is configured here has sent.
const OfNobody = "these are not the headers of a forge that is configured here"

// Outcome is what became of a delivery.
type Outcome string

// The outcomes.
const (
	Accepted  Outcome = "accepted"
	Duplicate Outcome = "duplicate"
	Ignored   Outcome = "ignored"
	Rejected  Outcome = "rejected"
	Failed    Outcome = "failed"
)

// Delivery is one delivery as the pages show it. Nothing of a body that was not verified is in it.
type Delivery struct {
	At      time.Time
	ID      string
	Event   string
	Repo    string
	Outcome Outcome
	Reason  string
}

// New makes a handler.
func New(c Config) *Handler {
	return &Handler{Config: c, counts: map[Outcome]uint64{}, large: make(chan struct{}, large)}
}

// answer is what the forge is told, and what we keep of it.
type answer struct {
	status  int
	outcome Outcome
	text    string
	event   string
	repo    string
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := h.take(w, r)
	h.note(r, a)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if a.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "30")
	}
	w.WriteHeader(a.status)
	text := a.text
	if a.outcome == Ignored {
		text = "ignored: " + text
	}
	_, _ = fmt.Fprintln(w, text)
}

func (h *Handler) take(w http.ResponseWriter, r *http.Request) answer {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return answer{status: http.StatusMethodNotAllowed, outcome: Rejected, text: "webhooks are sent with POST"}
	}
	hook := h.hook(r.Header)
	if hook == nil {
		return answer{status: http.StatusBadRequest, outcome: Rejected, text: OfNobody}
	}
	body, done, err := h.read(w, r)
	defer done()
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return answer{status: http.StatusRequestEntityTooLarge, outcome: Rejected, text: fmt.Sprintf("the body is larger than %d bytes", MaxBody)}
	}
	if errors.Is(err, errTooMany) {
		return answer{status: http.StatusServiceUnavailable, outcome: Rejected, text: "too many large deliveries at once; send it again later"}
	}
	if err != nil {
		return answer{status: http.StatusBadRequest, outcome: Rejected, text: "the body could not be read"}
	}
	if err := hook.Verify(r.Header, body); err != nil {
		return answer{status: http.StatusUnauthorized, outcome: Rejected, text: "the signature is missing or wrong: compare the webhook's secret with the server's"}
	}
	ev, err := hook.Parse(r.Header, body)
	if ignored := new(vcs.IgnoredError); errors.As(err, &ignored) {
		return answer{status: http.StatusOK, outcome: Ignored, text: ignored.Reason, event: ignored.Event}
	}
	if err != nil {
		return answer{status: http.StatusBadRequest, outcome: Rejected, text: err.Error()}
	}
	return h.accept(r.Context(), ev)
}

var errTooMany = errors.New("too many large bodies")

// read reads the body. done is called when it is not needed any more.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) (body []byte, done func(), err error) {
	done = func() {}
	if r.ContentLength > MaxBody {
		w.Header().Set("Connection", "close")
		return nil, done, &http.MaxBytesError{Limit: MaxBody}
	}
	from := http.MaxBytesReader(w, r.Body, MaxBody)
	body, err = io.ReadAll(io.LimitReader(from, usualBody))
	if err != nil || len(body) < usualBody {
		return body, done, err
	}
	select {
	case h.large <- struct{}{}:
		done = func() { <-h.large }
	default:
		w.Header().Set("Connection", "close")
		return nil, done, errTooMany
	}
	rest, err := io.ReadAll(from)
	return append(body, rest...), done, err
}

func (h *Handler) accept(ctx context.Context, ev vcs.Event) answer {
	a := answer{event: string(ev.Kind), repo: ev.Repo.FullName()}
	if !h.Allowed(ev.Repo) {
		a.status, a.outcome, a.text = http.StatusOK, Ignored, "the repository is not in --repo-allowlist"
		return a
	}
	// What the forge has sent is kept even if it hangs up meanwhile.
	seq, added, err := h.Journal.AddEvent(context.WithoutCancel(ctx), ev, ev.Key())
	switch {
	case err != nil:
		h.Log.ErrorContext(ctx, "journalling an event", "err", err)
		a.status, a.outcome, a.text = http.StatusServiceUnavailable, Failed, "the event could not be stored; send it again later"
	case !added:
		a.status, a.outcome, a.text = http.StatusOK, Duplicate, fmt.Sprintf("known already as event %d", seq)
	default:
		a.status, a.outcome, a.text = http.StatusAccepted, Accepted, fmt.Sprintf("accepted as event %d", seq)
	}
	return a
}

func (h *Handler) hook(headers http.Header) vcs.Hook {
	for _, k := range h.Hooks {
		if k.Claims(headers) {
			return k
		}
	}
	return nil
}

func (h *Handler) note(r *http.Request, a answer) {
	d := Delivery{At: h.Now().UTC(), Event: a.event, Repo: a.repo, Outcome: a.outcome, Reason: a.text}
	if a.outcome != Rejected {
		d.ID = deliveryID(r.Header)
	}
	h.Log.LogAttrs(r.Context(), level(a.outcome), "webhook",
		slog.String("outcome", string(a.outcome)), slog.Int("status", a.status), slog.String("event", a.event),
		slog.String("repo", a.repo), slog.String("reason", a.text), slog.String("delivery", d.ID))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[a.outcome]++
	if a.outcome != Rejected {
		h.last = d.At
	}
	h.remember(d)
}

// deliveryID is what the forge calls a delivery, to be found in its own log.
func deliveryID(h http.Header) string {
	for _, name := range []string{"X-Gitea-Delivery", "X-Forgejo-Delivery", "X-GitHub-Delivery", "X-Gitlab-Event-Uuid"} {
		id := h.Get(name)
		odd := func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-'
		}
		if id != "" && len(id) <= 64 && !strings.ContainsFunc(id, odd) {
			return id
		}
	}
	return ""
}

// remember keeps the latest deliveries. Those that anybody can cause do not push the others out.
func (h *Handler) remember(d Delivery) {
	rejected := func(d Delivery) bool { return d.Outcome == Rejected }
	h.recent = append(h.recent, d)
	n := 0
	for _, r := range h.recent {
		if rejected(r) {
			n++
		}
	}
	switch {
	case n > keepRejected:
		i := slices.IndexFunc(h.recent, rejected)
		h.recent = slices.Delete(h.recent, i, i+1)
	case len(h.recent) > keep:
		h.recent = slices.Delete(h.recent, 0, 1)
	}
}

func level(o Outcome) slog.Level {
	switch o {
	case Rejected, Failed:
		return slog.LevelWarn
	case Accepted, Duplicate, Ignored:
	}
	return slog.LevelInfo
}

// Seen is what the handler has seen since it was made.
type Seen struct {
	// Last is when the last verified delivery came; zero for never.
	Last   time.Time
	Counts map[Outcome]uint64
	// Recent is newest first.
	Recent []Delivery
}

// Seen answers for pages and metrics.
func (h *Handler) Seen() Seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Seen{Last: h.last, Counts: map[Outcome]uint64{}}
	for k, v := range h.counts {
		s.Counts[k] = v
	}
	for i := len(h.recent) - 1; i >= 0; i-- {
		s.Recent = append(s.Recent, h.recent[i])
	}
	return s
}
