// Package s3state is as much of S3 as terraform's s3 backend with use_lockfile needs: the backend that tells
// who holds a lock, which the http one does not. Everything is in memory. Start with Server.
package s3state

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
)

// maxBody bounds an object.
const maxBody = 64 << 20

// Server keeps the objects of any bucket, addressed by path. The zero value is ready. Its methods may be
// called from several goroutines.
type Server struct {
	mu      sync.Mutex
	objects map[string][]byte
}

// Object answers the object at "bucket/key"; nil for none. A state's lock is at its key with ".tflock".
func (s *Server) Object(path string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.objects["/"+path])
}

// Put lays an object down, as somebody else would.
func (s *Server) Put(path string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put("/"+path, data)
}

func (s *Server) put(path string, data []byte) {
	if s.objects == nil {
		s.objects = map[string][]byte{}
	}
	s.objects[path] = data
}

// ServeHTTP speaks the protocol. Signatures are not looked at.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, http.StatusBadRequest, "IncompleteBody")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	object, there := s.objects[r.URL.Path]
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Has("list-type"): // of workspaces: there are none
		w.Header().Set("Content-Type", "application/xml")
		_, _ = io.WriteString(w, "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>")
	case r.Method == http.MethodPut && there && r.Header.Get("If-None-Match") == "*":
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut:
		s.put(r.URL.Path, body)
		w.Header().Set("ETag", `"1"`)
	case r.Method == http.MethodDelete:
		delete(s.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case !there:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	default:
		w.Header().Set("ETag", `"1"`)
		_, _ = w.Write(object)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}
