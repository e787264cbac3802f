package contract

import (
	"net/http"
	"path"
	"slices"
)

// exception is a call that is not held against the description.
type exception struct {
	// only is the edition whose description leaves it out; empty for every edition.
	only Edition
	// method is empty for every method.
	method string
	// path is a pattern of path.Match, without the API's prefix; empty for every path.
	path string
	// status excuses the answer alone, and only with this status; 0 excuses request and answer.
	status int
	// unknown excuses with the answer that the description does not know the call.
	unknown bool
	// body, if set, is what the request's body is held against instead.
	body func(body []byte) error
	// why tells what the description leaves out and where GitHub documents it.
	why string
}

// exceptions is every call that GitHub answers and its description does not tell. A fake that answers
// wrongly is mended, not excused.
func exceptions() []exception {
	return []exception{
		{
			method: http.MethodPost, path: graphQL, body: ours,
			why: "folding a comment, and what reviews come to, is in GraphQL alone, which the description leaves out: " +
				"https://docs.github.com/graphql/reference/mutations#minimizecomment, https://docs.github.com/graphql/reference/objects#pullrequest",
		},
		{
			status: http.StatusUnauthorized,
			why:    "every call without valid credentials is answered so; the description says it of few",
		},
		{
			method: http.MethodGet, status: http.StatusNotModified,
			why: "every conditional read whose answer has not changed is answered so; the description says it of some",
		},
		{
			method: http.MethodPost, path: "/repos/*/*/statuses/*", status: http.StatusForbidden,
			why: "a token that may not write is answered so; the description tells success alone",
		},
		{
			method: http.MethodPost, path: "/repos/*/*/statuses/*", status: http.StatusUnprocessableEntity,
			why: "an unknown commit is answered so, and so is the 1001st status of a context; the description tells success alone",
		},
		{
			method: http.MethodPatch, path: "/repos/*/*/issues/comments/*", status: http.StatusNotFound,
			why: "a comment that somebody has deleted is answered so; the description tells it of reading alone",
		},
		{
			method: http.MethodDelete, path: "/repos/*/*/issues/comments/*", status: http.StatusNotFound,
			why: "a comment that somebody has deleted is answered so; the description tells success alone",
		},
		{
			method: http.MethodPost, path: "/repos/*/*/issues/comments/*/reactions", status: http.StatusNotFound,
			why: "a comment that somebody has deleted is answered so; the description tells success and spam alone",
		},
		{
			method: http.MethodDelete, path: "/repos/*/*/git/refs/heads/*", status: http.StatusForbidden,
			why: "a token that may not write is answered so; the description tells of conflicts and of what is not valid alone",
		},
		{
			only: GHES310, method: http.MethodGet, path: "/repos/*/*/rules/branches/*", status: http.StatusNotFound, unknown: true,
			why: "this server has no rulesets, and does not know that they can be asked for",
		},
	}
}

func exceptionsOf(edition Edition) []exception {
	return slices.DeleteFunc(exceptions(), func(e exception) bool { return e.only != "" && e.only != edition })
}

// excused answers the exception for a call, if there is one.
func (c *Contract) excused(req *http.Request, route string, status int) (exception, bool) {
	for _, e := range c.exceptions {
		if e.method != "" && e.method != req.Method || e.status != 0 && e.status != status {
			continue
		}
		if e.path == "" {
			return e, true
		}
		if ok, err := path.Match(e.path, route); err == nil && ok {
			return e, true
		}
	}
	return exception{}, false
}
