package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestLocalAddr(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ listen, port, want string }{
		{"", "", "127.0.0.1:4141"},
		{"", "8080", "127.0.0.1:8080"},
		{"0.0.0.0:9000", "8080", "127.0.0.1:9000"},
		{":9000", "", "127.0.0.1:9000"},
		{"[::]:9000", "", "127.0.0.1:9000"},
		{"192.0.2.1:9000", "", "192.0.2.1:9000"},
	} {
		if got := localAddr(tt.listen, tt.port); got != tt.want {
			t.Errorf("localAddr(%q, %q) = %q, want %q", tt.listen, tt.port, got, tt.want)
		}
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		err := healthcheck(t.Context(), s.URL+"/healthz")
		s.Close()
		if (err == nil) != (status == http.StatusOK) {
			t.Errorf("healthcheck() of a server that answers %d = %v", status, err)
		}
		if status == http.StatusOK && healthcheck(t.Context(), s.URL) == nil {
			t.Error("healthcheck() of a server that is gone = nil, want an error")
		}
	}
}
