package gitlab

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// repo makes a repository of a project's id and its whole path. Its addresses are made here: GitLab
// tells them as its own configuration has them, behind a proxy often wrongly.
func (a address) repo(id int64, full string) (vcs.Repo, error) {
	switch {
	case id <= 0:
		return vcs.Repo{}, errors.New("the id is missing or not positive")
	case !isPath(full):
		return vcs.Repo{}, errors.New("the path is missing or not a path of a group and a project")
	}
	owner, name := path.Split(full)
	page := a.page(full).String()
	return vcs.Repo{
		ID:    vcs.RepoID{Forge: a.instance, ID: id},
		Owner: strings.TrimSuffix(owner, "/"), Name: name, URL: page, CloneURL: page + ".git",
	}, nil
}

func (a address) notePage(r vcs.Repo, number int, id int64) string {
	return fmt.Sprintf("%s#note_%d", a.pullPage(r, number), id)
}

// isPath reports whether s can be the whole path of a project: groups, at least one, and its own name.
// https://docs.gitlab.com/user/reserved_names/#rules-for-usernames-project-and-group-names-and-slugs
func isPath(s string) bool {
	all := strings.Split(s, "/")
	if len(all) < 2 || len(all) > 25 {
		return false
	}
	for _, one := range all {
		if !isName(one) {
			return false
		}
	}
	return true
}

// isName reports whether s can be one element of a project's path.
func isName(s string) bool {
	return len(s) <= 255 && s != "." && s != ".." && !strings.HasPrefix(s, "-") && rest.Made(s, "-_.")
}

// isUser reports whether s can be a user's name, a bot's (such as project_7_bot_1) included.
func isUser(s string) bool { return isName(s) }

// isWord reports whether s can be the name of an action.
func isWord(s string) bool { return len(s) <= 64 && rest.Made(s, "_") }

// isHook reports whether s can be the name of an event.
func isHook(s string) bool { return len(s) <= 64 && rest.Made(s, "_ ") }

func isDelivery(s string) bool { return len(s) <= 64 && rest.Made(s, "-") }
