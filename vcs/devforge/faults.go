package devforge

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is one way in which a forge misbehaves.
type Fault string

// What happens to a call of the API. Of a write that is answered so, nothing was done.
const (
	FaultError     Fault = "500"
	FaultGateway   Fault = "502"
	FaultLimit     Fault = "429"       // with Retry-After
	FaultSecondary Fault = "secondary" // GitHub's 403 for who writes too fast
	FaultReset     Fault = "reset"     // the connection, before anything was read
)

// What happens to an answer. What was asked for is done.
const (
	FaultLate        Fault = "late"
	FaultCut         Fault = "cut" // the connection, in the middle of the answer
	FaultLostGateway Fault = "lost-502"
	FaultLostReset   Fault = "lost-reset"
)

// What happens to a webhook. Redelivery finds the dropped ones.
const (
	FaultDrop      Fault = "drop"
	FaultDuplicate Fault = "duplicate"
	FaultReorder   Fault = "reorder" // it comes late, behind those that follow
)

// FaultKinds lists all of them: first those of calls, then those of webhooks.
func FaultKinds() []Fault { return append(callFaults(), hookFaults()...) }

func callFaults() []Fault {
	return []Fault{
		FaultError, FaultGateway, FaultLimit, FaultSecondary, FaultReset, FaultLate, FaultCut, FaultLostGateway, FaultLostReset,
	}
}

func hookFaults() []Fault { return []Fault{FaultDrop, FaultDuplicate, FaultReorder} }

// Faults say how a forge misbehaves. The zero value is one that does not.
type Faults struct {
	// Rate is the part of the calls and of the webhooks that goes wrong, from 0 to 1.
	Rate float64
	// Seed decides which. The nth call of one method and path meets the same fate with the same seed,
	// whatever else is called beside it; so does the nth webhook of one event.
	Seed uint64
	// Kinds are what may happen, each as likely as the other; none means all.
	Kinds []Fault
	// User is whose calls go wrong; "" is everybody's.
	User string
	// Only, if set, says which calls go wrong. Without it all of the API's, and none of git's and the pages'.
	Only func(*http.Request) bool
	// Late is how late an answer or a webhook is; 0 means 10 s.
	Late time.Duration
	// RetryAfter is what a limited caller is asked to wait, in whole seconds; 0 means 1 s.
	RetryAfter time.Duration
}

// mishaps is what a forge keeps of its faults.
type mishaps struct {
	mu    sync.Mutex
	plan  Faults
	nth   map[string]uint64
	count map[Fault]int
}

// SetFaults changes how the forge misbehaves from now on. What is under way is not touched.
func (f *Forge) SetFaults(p Faults) {
	m := &f.mishaps
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plan, m.nth = p, map[string]uint64{}
}

// FaultCounts is how often each fault has happened since the forge was made.
func (f *Forge) FaultCounts() map[Fault]int {
	f.mishaps.mu.Lock()
	defer f.mishaps.mu.Unlock()
	return maps.Clone(f.mishaps.count)
}

// draw decides what happens to the next thing of that name; "" is nothing.
func (m *mishaps) draw(name string, among []Fault) (Fault, Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.plan
	if len(p.Kinds) > 0 {
		among = slices.DeleteFunc(among, func(k Fault) bool { return !slices.Contains(p.Kinds, k) })
	}
	if p.Rate <= 0 || len(among) == 0 {
		return "", p
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, name+"\n"+strconv.FormatUint(m.nth[name], 10))
	m.nth[name]++
	dice := rand.New(rand.NewPCG(p.Seed, h.Sum64()))
	if dice.Float64() >= p.Rate {
		return "", p
	}
	got := among[dice.IntN(len(among))]
	if m.count == nil {
		m.count = map[Fault]int{}
	}
	m.count[got]++
	return got, p
}

func (p Faults) late() time.Duration {
	if p.Late == 0 {
		return 10 * time.Second
	}
	return p.Late
}

// Faulty serves next, which is Handler or stands before it, as a forge that misbehaves. Without
// faults it changes nothing.
func (f *Forge) Faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !f.meant(req) {
			next.ServeHTTP(w, req)
			return
		}
		kind, plan := f.mishaps.draw(req.Method+" "+req.URL.Path, callFaults())
		switch kind {
		case "":
			next.ServeHTTP(w, req)
		case FaultLate, FaultCut, FaultLostGateway, FaultLostReset:
			var a kept
			next.ServeHTTP(&a, req)
			f.lose(w, req, kind, plan, &a)
		default:
			f.refuse(w, kind, plan)
		}
	})
}

// meant reports whether a call is one that may go wrong.
func (f *Forge) meant(req *http.Request) bool {
	f.mishaps.mu.Lock()
	p := f.mishaps.plan
	f.mishaps.mu.Unlock()
	switch {
	case p.Rate <= 0:
		return false
	case p.Only == nil && !strings.HasPrefix(req.URL.Path, "/api/"), p.Only != nil && !p.Only(req):
		return false
	case p.User == "":
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.who(req)
	return u != nil && u.login == p.User
}

// refuse answers without having done anything.
func (f *Forge) refuse(w http.ResponseWriter, kind Fault, p Faults) {
	const docs = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	wait := strconv.Itoa(max(int(p.RetryAfter.Seconds()), 1))
	switch kind {
	case FaultError:
		write(w, answer{status: http.StatusInternalServerError, body: map[string]any{"message": "Server Error"}})
	case FaultGateway:
		badGateway(w)
	case FaultLimit:
		w.Header().Set("Retry-After", wait)
		write(w, answer{status: http.StatusTooManyRequests, body: map[string]any{"message": "Too many requests"}})
	case FaultSecondary:
		w.Header().Set("Retry-After", wait)
		write(w, answer{status: http.StatusForbidden, body: map[string]any{
			"message":           "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
			"documentation_url": docs,
		}})
	default:
		hangUp(w, nil)
	}
}

// lose spoils the answer to what was done.
func (f *Forge) lose(w http.ResponseWriter, req *http.Request, kind Fault, p Faults, a *kept) {
	switch kind {
	case FaultLate:
		t := time.NewTimer(p.late())
		defer t.Stop()
		select {
		case <-t.C:
			a.send(w)
		case <-req.Context().Done():
		case <-f.ctx.Done():
		}
	case FaultCut:
		hangUp(w, a.half())
	case FaultLostGateway:
		badGateway(w)
	default:
		hangUp(w, nil)
	}
}

// badGateway is what stands before a forge when it is not there.
func badGateway(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusBadGateway)
	_, _ = io.WriteString(w, "<html><body><h1>502 Bad Gateway</h1></body></html>\n")
}

// hangUp drops the connection after the last words, so that the caller sees that it is no end.
func hangUp(w http.ResponseWriter, last []byte) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		badGateway(w)
		return
	}
	_, _ = conn.Write(last)
	if tcp, ok := conn.(*net.TCPConn); ok && len(last) == 0 {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// kept is an answer that is not sent yet.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header {
	if k.header == nil {
		k.header = http.Header{}
	}
	return k.header
}

func (k *kept) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

func (k *kept) Write(p []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(p)
}

func (k *kept) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), k.Header())
	w.WriteHeader(max(k.status, http.StatusOK))
	_, _ = w.Write(k.body.Bytes())
}

// half is the first half of the answer as it goes over the wire.
func (k *kept) half() []byte {
	if k.body.Len() < 2 {
		return nil
	}
	var b bytes.Buffer
	status := max(k.status, http.StatusOK)
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", status, http.StatusText(status), k.body.Len())
	_ = k.Header().Write(&b)
	b.WriteString("\r\n")
	b.Write(k.body.Bytes()[:k.body.Len()/2])
	return b.Bytes()
}

// stray decides what becomes of a webhook; f.mu is held. It reports whether it is not to be sent as
// any other.
func (f *Forge) stray(h *hook, d *delivery) bool {
	kind, p := f.mishaps.draw("webhook "+d.event, hookFaults())
	switch kind {
	case FaultDrop:
		h.done = append(h.done, d)
		return true
	case FaultDuplicate:
		f.later(h, &delivery{id: d.id, event: d.event, body: d.body}, p.late())
	case FaultReorder:
		f.later(h, d, p.late())
		return true
	default: // nothing happens to it
	}
	return false
}

// later sends a webhook behind those that follow it meanwhile; f.mu is held.
func (f *Forge) later(h *hook, d *delivery, wait time.Duration) {
	h.late++
	f.wg.Go(func() {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-f.ctx.Done():
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		h.late--
		f.send(h, d)
	})
}
