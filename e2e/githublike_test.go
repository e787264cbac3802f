package e2e

import (
	"net/http"
	"strings"
)

// githubLike are the calls for which GitHub and Gitea have the same paths.
type githubLike struct{}

func (githubLike) path(below string) string { return repoPath("%s", below) }

func (githubLike) open(as asks, title, head, base string) (int, error) {
	var got struct{ Number int }
	body := map[string]any{"title": title, "head": head, "base": base, "body": ""}
	err := as(http.MethodPost, repoPath("/pulls"), body, &got)
	return got.Number, err
}

func (githubLike) pull(as asks, number string) (pullNow, error) {
	var got struct {
		State  string
		Merged bool
		Head   struct{ SHA string }
	}
	err := as(http.MethodGet, repoPath("/pulls/%s", number), nil, &got)
	if got.Merged {
		got.State = "merged"
	}
	return pullNow{got.State, got.Head.SHA}, err
}

func (githubLike) set(as asks, pull, key, value string) error {
	return as(http.MethodPatch, repoPath("/pulls/%s", pull), map[string]string{key: value}, nil)
}

func (githubLike) comment(as asks, pull, text string) error {
	return as(http.MethodPost, repoPath("/issues/%s/comments", pull), map[string]string{"body": text}, nil)
}

func (githubLike) comments(as asks, pull int) ([]comment, error) {
	var all []comment
	for page := 1; ; page++ {
		var some []comment
		if err := as(http.MethodGet, repoPath("/issues/%d/comments?per_page=100&page=%d", pull, page), nil, &some); err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) < 100 {
			return all, nil
		}
	}
}

func (githubLike) branch(as asks, name string) error {
	return as(http.MethodGet, repoPath("/branches/%s", name), nil, nil)
}

func (githubLike) check(as asks, sha, context, state string) error {
	return as(http.MethodPost, repoPath("/statuses/%s", sha), map[string]string{"context": context, "state": state}, nil)
}

// isNotFound reports whether that is what the forge has answered.
func isNotFound(err error) bool { return err != nil && strings.Contains(err.Error(), ": 404 ") }
