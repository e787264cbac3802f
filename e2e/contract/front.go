package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// maxBody bounds what is kept of a request or an answer.
const maxBody = 16 << 20

// Front serves next and reports each call below prefix that the description does not know, each request
// that it would refuse and each answer that GitHub would not give. It changes nothing: what is wrong
// is served all the same. What is neither below prefix nor GitHub's GraphQL, which lives beside it, is not
// looked at.
//
// report is called before the answer's end, from the request's goroutine.
func (c *Contract) Front(next http.Handler, prefix string, report func(error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		below, ok := within(req.URL.Path, prefix)
		if !ok {
			next.ServeHTTP(w, req)
			return
		}
		body, err := io.ReadAll(io.LimitReader(req.Body, maxBody))
		if err != nil {
			http.Error(w, "reading the request", http.StatusBadRequest)
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		asked := copyOf(req, below, body)
		t := &tee{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(t, req)
		if err := c.check(asked, body, t); err != nil {
			report(fmt.Errorf("%s %s, answered with %d: %w", req.Method, req.URL.RequestURI(), t.status, err))
		}
	})
}

// within answers a path without the API's prefix.
func within(p, prefix string) (below string, ok bool) {
	if p == path.Join(prefix, graphQL) {
		return graphQL, true
	}
	below, ok = strings.CutPrefix(p, prefix)
	return below, ok && (below == "" || below[0] == '/')
}

// copyOf is the request as the description knows it, without the prefix; next may change the other.
func copyOf(req *http.Request, below string, body []byte) *http.Request {
	r := req.Clone(context.WithoutCancel(req.Context()))
	r.URL.Path, r.URL.RawPath = below, ""
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r
}

// tee keeps what is answered.
type tee struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tee) WriteHeader(status int) {
	t.status = status
	t.ResponseWriter.WriteHeader(status)
}

func (t *tee) Write(p []byte) (int, error) {
	t.body.Write(p[:min(len(p), maxBody-t.body.Len())])
	return t.ResponseWriter.Write(p)
}

func (c *Contract) check(req *http.Request, body []byte, t *tee) error {
	if e, ok := c.excused(req, req.URL.Path, 0); ok {
		if e.body == nil {
			return nil
		}
		if err := e.body(body); err != nil {
			return fmt.Errorf("request: %w", err)
		}
		return nil
	}
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		if e, ok := c.excused(req, req.URL.Path, t.status); ok && e.unknown {
			return nil
		}
		return fmt.Errorf("request: the description does not know it: %w", err)
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options()}
	var errs []error
	if err := errors.Join(openapi3filter.ValidateRequest(req.Context(), in), unknown(route, req, body)); err != nil {
		errs = append(errs, fmt.Errorf("request: %w", err))
	}
	if _, ok := c.excused(req, req.URL.Path, t.status); ok {
		return errors.Join(errs...)
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: t.status, Header: t.Header(),
		Body: io.NopCloser(bytes.NewReader(t.body.Bytes())), Options: in.Options,
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("answer: %w", err))
	}
	return errors.Join(errs...)
}

func options() *openapi3filter.Options {
	o := &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true,
		IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, MultiError: true,
	}
	// The library's own text holds the whole schema, which may be hundreds of lines.
	o.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
		return fmt.Sprintf("at /%s: %s", strings.Join(err.JSONPointer(), "/"), err.Reason)
	})
	return o
}

// unknown finds query parameters and fields of the body that GitHub would silently ignore, which a
// validator lets pass: a misspelt one does nothing.
func unknown(route *routers.Route, req *http.Request, body []byte) error {
	known := append(slices.Clone(route.PathItem.Parameters), route.Operation.Parameters...)
	var errs []error
	for name := range req.URL.Query() {
		if known.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			errs = append(errs, fmt.Errorf("the description does not know the query parameter %q", name))
		}
	}
	want := fields(route.Operation)
	var got map[string]json.RawMessage
	if want == nil || json.Unmarshal(body, &got) != nil {
		return errors.Join(errs...)
	}
	for name := range got {
		if want[name] == nil {
			errs = append(errs, fmt.Errorf("the description does not know the body's field %q", name))
		}
	}
	return errors.Join(errs...)
}

// fields are the properties of a body that is one plain object.
func fields(op *openapi3.Operation) openapi3.Schemas {
	if op.RequestBody == nil || op.RequestBody.Value == nil {
		return nil
	}
	media := op.RequestBody.Value.Content.Get("application/json")
	if media == nil || media.Schema == nil || media.Schema.Value == nil {
		return nil
	}
	s := media.Schema.Value
	if len(s.OneOf)+len(s.AnyOf)+len(s.AllOf) > 0 {
		return nil
	}
	return s.Properties
}
