package devforge

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
)

// dismissReview takes the word of an approval, or of a request for changes, back.
func (f *Forge) dismissReview(c call) (answer, error) {
	p, err := c.pull()
	if err != nil {
		return answer{}, err
	}
	if c.needsWrite() != nil {
		return answer{}, errNotFound // as GitHub describes it: there is no 403 here
	}
	var in struct{ Message string }
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	id, err := strconv.ParseInt(chi.URLParam(c.req, "id"), 10, 64)
	at := slices.IndexFunc(p.reviews, func(v *review) bool { return v.id == id })
	switch {
	case err != nil || at < 0:
		return answer{}, errNotFound
	case strings.TrimSpace(in.Message) == "":
		return fail(http.StatusUnprocessableEntity, "Validation Failed: message is missing")
	case p.reviews[at].State != "APPROVED" && p.reviews[at].State != "CHANGES_REQUESTED":
		return fail(http.StatusUnprocessableEntity, "Can not dismiss a %s pull request review", strings.ToLower(p.reviews[at].State))
	}
	p.reviews[at].State = "DISMISSED"
	return answer{body: f.reviewJSON(c.repo, p, p.reviews[at])}, nil
}

// setLocked locks a conversation: then only those may comment who may write.
func (f *Forge) setLocked(locked bool) handler {
	return func(c call) (answer, error) {
		p, err := c.pull()
		if err != nil {
			return answer{}, err
		}
		if err := c.needsWrite(); err != nil {
			return answer{}, err
		}
		p.locked = locked
		return answer{status: http.StatusNoContent}, nil
	}
}
