// Package httpstate is a small server of terraform's http backend protocol, with locking: states that
// are written late and from far away, as most are, and a lock that outlives who took it.
//
// It serves any number of states, each below a path of its own; everything is in memory. A test reads
// and changes what it has while terraform works with it. Start with Server, which is an http.Handler.
//
// The protocol: https://developer.hashicorp.com/terraform/language/backend/http
package httpstate

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the protocol's own checksum
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxBody bounds a state, and everything else that is sent.
const maxBody = 64 << 20

// Lock is terraform's own record of who holds a state.
type Lock struct {
	ID        string    `json:"ID"`
	Operation string    `json:"Operation"`
	Info      string    `json:"Info"`
	Who       string    `json:"Who"`
	Version   string    `json:"Version"`
	Created   time.Time `json:"Created"`
	Path      string    `json:"Path"`
}

// Server keeps states. The zero value is ready. Its methods may be called from several goroutines.
type Server struct {
	mu     sync.Mutex
	states map[string]*state
}

// state is what there is at one path. nil fields: there is none.
type state struct {
	data   []byte
	lock   json.RawMessage
	writes int
	// denied is how often somebody asked for the lock in vain.
	denied int
	// refuse is the HTTP status that writes are answered with; 0 takes them.
	refuse int
}

// Config is the backend block of the state name on a server that is reached at url.
func Config(url, name string) string {
	at := strings.TrimSuffix(url, "/") + "/" + name
	return fmt.Sprintf("  backend \"http\" {\n    address        = %q\n    lock_address   = %q\n    unlock_address = %q\n"+
		"    retry_wait_min = 1\n    retry_max      = 1\n  }\n", at, at, at)
}

// State answers the state as it was written last; nil when none was.
func (s *Server) State(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at(name).data)
}

// Writes is how often the state was written.
func (s *Server) Writes(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(name).writes
}

// Denied is how often somebody asked for the lock in vain.
func (s *Server) Denied(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(name).denied
}

// Lock answers who holds the state, and whether somebody does.
func (s *Server) Lock(name string) (Lock, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(name).holder()
}

// SetLock makes the state locked by somebody else; a zero Lock frees it.
func (s *Server) SetLock(name string, l Lock) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l == (Lock{}) {
		s.at(name).lock = nil
		return nil
	}
	raw, err := json.Marshal(l)
	if err != nil {
		return err
	}
	s.at(name).lock = raw
	return nil
}

// Refuse answers the writes of a state with an HTTP status from now on; 0 takes them again. terraform
// tries once more after 500 and above, and gives up at once after 403.
func (s *Server) Refuse(name string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at(name).refuse = status
}

// Names lists the states that terraform has asked for, or a test.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.states {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *Server) at(name string) *state {
	name = strings.Trim(name, "/")
	if s.states == nil {
		s.states = map[string]*state{}
	}
	if s.states[name] == nil {
		s.states[name] = &state{}
	}
	return s.states[name]
}

func (st *state) holder() (l Lock, held bool) {
	return l, st.lock != nil && json.Unmarshal(st.lock, &l) == nil
}

// ServeHTTP speaks the protocol.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.at(r.URL.Path)
	switch r.Method {
	case http.MethodGet:
		st.read(w)
	case http.MethodPost:
		st.write(w, r, body)
	case http.MethodDelete:
		st.data = nil
	case "LOCK":
		st.take(w, body)
	case "UNLOCK":
		st.release(w, body)
	default:
		http.Error(w, "there is no "+r.Method, http.StatusMethodNotAllowed)
	}
}

func (st *state) read(w http.ResponseWriter) {
	if st.data == nil {
		http.Error(w, "there is no state", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(st.data)
}

func (st *state) write(w http.ResponseWriter, r *http.Request, body []byte) {
	sum := md5.Sum(body) //nolint:gosec // the protocol's own checksum
	l, held := st.holder()
	switch {
	case st.refuse != 0:
		http.Error(w, "writes are refused", st.refuse)
	case held && r.URL.Query().Get("ID") != l.ID:
		http.Error(w, "somebody else holds the lock", http.StatusConflict)
	case r.Header.Get("Content-MD5") != base64.StdEncoding.EncodeToString(sum[:]):
		http.Error(w, "the state was damaged on its way", http.StatusBadRequest)
	case !json.Valid(body):
		http.Error(w, "that is no state", http.StatusBadRequest)
	default:
		st.data = body
		st.writes++
	}
}

func (st *state) take(w http.ResponseWriter, body []byte) {
	if st.lock != nil {
		st.denied++
		w.WriteHeader(http.StatusLocked)
		_, _ = w.Write(st.lock)
		return
	}
	if !json.Valid(body) {
		http.Error(w, "that is no lock", http.StatusBadRequest)
		return
	}
	st.lock = body
}

// release takes an UNLOCK without a body for a forced one: terraform's force-unlock sends none.
func (st *state) release(w http.ResponseWriter, body []byte) {
	var by Lock
	l, held := st.holder()
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &by); err != nil || held && by.ID != l.ID {
			http.Error(w, "that is another lock", http.StatusConflict)
			return
		}
	}
	st.lock = nil
}
