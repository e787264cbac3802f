package httpstate_test

import (
	"crypto/md5"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/e2e/internal/httpstate"
)

const (
	mine   = `{"ID":"mine","Operation":"OperationTypeApply","Who":"ana@here"}`
	theirs = `{"ID":"theirs","Operation":"OperationTypePlan","Who":"raj@there"}`
)

// ask sends one request of the protocol and answers its status and body.
func ask(t *testing.T, url, method, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum([]byte(body))
	req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

func start(t *testing.T) (*httpstate.Server, string) {
	t.Helper()
	s := &httpstate.Server{}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h.URL + "/network"
}

func TestProtocol(t *testing.T) {
	t.Parallel()
	s, url := start(t)
	for _, step := range []struct {
		method, query, body string
		status              int
		want                string
	}{
		{"GET", "", "", 404, "there is no state\n"},
		{"LOCK", "", mine, 200, ""},
		{"LOCK", "", theirs, 423, mine},
		{"POST", "?ID=theirs", `{"serial":1}`, 409, "somebody else holds the lock\n"},
		{"POST", "", `{"serial":1}`, 409, "somebody else holds the lock\n"},
		{"POST", "?ID=mine", `{"serial":1}`, 200, ""},
		{"GET", "", "", 200, `{"serial":1}`},
		{"UNLOCK", "", theirs, 409, "that is another lock\n"},
		{"UNLOCK", "", mine, 200, ""},
		{"LOCK", "", theirs, 200, ""},
		{"UNLOCK", "", "", 200, ""},
		{"POST", "", "torn {", 400, "that is no state\n"},
		{"DELETE", "", "", 200, ""},
		{"GET", "", "", 404, "there is no state\n"},
		{"PATCH", "", "", 405, "there is no PATCH\n"},
	} {
		status, body := ask(t, url+step.query, step.method, step.body)
		if status != step.status || body != step.want {
			t.Errorf("%s %s %s = %d %q, want %d %q", step.method, step.query, step.body, status, body, step.status, step.want)
		}
	}
	if got := s.Denied("network"); got != 1 {
		t.Errorf("Denied = %d, want 1", got)
	}
	if got := s.Writes("network"); got != 1 {
		t.Errorf("Writes = %d, want 1", got)
	}
	if diff := cmp.Diff([]string{"network"}, s.Names()); diff != "" {
		t.Errorf("Names (-want +got):\n%s", diff)
	}
}

func TestFromTheSide(t *testing.T) {
	t.Parallel()
	s, url := start(t)
	if err := s.SetLock("network", httpstate.Lock{ID: "x", Who: "raj@laptop"}); err != nil {
		t.Fatal(err)
	}
	if l, held := s.Lock("network"); !held || l.Who != "raj@laptop" {
		t.Errorf("Lock = %+v, %v", l, held)
	}
	if status, _ := ask(t, url, "LOCK", mine); status != http.StatusLocked {
		t.Errorf("LOCK of a held state = %d", status)
	}
	if err := s.SetLock("network", httpstate.Lock{}); err != nil {
		t.Fatal(err)
	}
	if _, held := s.Lock("network"); held {
		t.Error("the state is locked after the lock was taken away")
	}
	s.Refuse("network", http.StatusForbidden)
	if status, _ := ask(t, url, "POST", "{}"); status != http.StatusForbidden || s.State("network") != nil {
		t.Errorf("a refused POST = %d, state %q", status, s.State("network"))
	}
	s.Refuse("network", 0)
	if status, _ := ask(t, url, "POST", "{}"); status != http.StatusOK || string(s.State("network")) != "{}" {
		t.Errorf("POST = %d, state %q", status, s.State("network"))
	}
}
