// Package forgetest is what the tests of several forge clients need: webhook deliveries that are read,
// altered and compared with golden files, and a forge that answers by a script.
//
// Only tests import it.
package forgetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/vcs"
)

// Outcome is what a hook makes of a delivery. One of the three is set.
type Outcome struct {
	Event   *vcs.Event
	Ignored *vcs.IgnoredError
	Problem string
}

// Parse reads a delivery. Every error must be one of the two that a hook may give.
func Parse(tb testing.TB, hook vcs.Hook, h http.Header, body []byte) Outcome {
	tb.Helper()
	ev, err := hook.Parse(h, body)
	var ignored *vcs.IgnoredError
	var problem *vcs.PayloadError
	switch {
	case err == nil:
		return Outcome{Event: &ev}
	case errors.As(err, &ignored):
		return Outcome{Ignored: ignored}
	case errors.As(err, &problem):
		return Outcome{Problem: problem.Problem}
	default:
		tb.Fatalf("Parse() error = %v, want an IgnoredError or a PayloadError", err)
		return Outcome{}
	}
}

// Spoilt alters one value of a good delivery, which must then be refused in a short sentence that nothing can hide in.
func Spoilt(tb testing.TB, hook vcs.Hook, h http.Header, good []byte, path string, value any) {
	tb.Helper()
	got := Parse(tb, hook, h, Change(tb, good, path, value))
	if got.Problem == "" {
		tb.Errorf("Parse(%s = %v) = %s, want a PayloadError", path, value, JSON(tb, got))
	} else if strings.ContainsFunc(got.Problem, func(r rune) bool { return r < ' ' || r > '~' }) || len(got.Problem) > 300 {
		tb.Errorf("Parse(%s = %v) problem = %q, want a plain short sentence", path, value, got.Problem)
	}
}

// Golden compares an outcome with a file, or writes it.
func Golden(tb testing.TB, file string, update bool, got Outcome) {
	tb.Helper()
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		tb.Fatal(err)
	}
	text = append(text, '\n')
	if update {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) //nolint:gosec // a test's own file
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(want, text) {
		tb.Errorf("Parse() = %s\nwant %s", text, want)
	}
}

// Change alters a JSON object: path is of keys with dots between, value nil deletes.
func Change(tb testing.TB, body []byte, path string, value any) []byte {
	tb.Helper()
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	whole := map[string]any{}
	if err := dec.Decode(&whole); err != nil {
		tb.Fatal(err)
	}
	keys := strings.Split(path, ".")
	at := whole
	for _, k := range keys[:len(keys)-1] {
		next, ok := at[k].(map[string]any)
		if !ok {
			tb.Fatalf("the delivery has no %s", path)
		}
		at = next
	}
	last := keys[len(keys)-1]
	if value == nil {
		delete(at, last)
	} else {
		at[last] = value
	}
	raw, err := json.Marshal(whole)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// JSON is v as JSON.
func JSON(tb testing.TB, v any) string {
	tb.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}
