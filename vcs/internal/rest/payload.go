package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"

	"github.com/tidegate/tidegate/vcs"
)

// Decode reads the body as JSON, or as a form with JSON in its field payload.
func Decode(h http.Header, body []byte, into any) error {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case err != nil:
		return Bad("Content-Type is missing or unreadable")
	case kind == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil || len(form["payload"]) != 1 {
			return Bad("the form does not have exactly one field payload")
		}
		body = []byte(form.Get("payload"))
	case kind != "application/json":
		return Bad("Content-Type is %q, want application/json or application/x-www-form-urlencoded", CutText(kind, 100))
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return Bad("the body is not a JSON object")
	}
	err = json.Unmarshal(body, into)
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return Bad("the body is not JSON (byte %d)", syntax.Offset)
	case errors.As(err, &typed):
		return Bad("%s has a value that does not fit (byte %d)", typed.Field, typed.Offset)
	case err != nil:
		return Bad("the body does not have the form it should have")
	}
	return nil
}

// Bad is a *vcs.PayloadError.
func Bad(format string, args ...any) error {
	return &vcs.PayloadError{Problem: fmt.Sprintf(format, args...)}
}
