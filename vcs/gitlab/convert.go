package gitlab

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	gl "github.com/xanzy/go-gitlab"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// mergeRequest is what is read of one. A list leaves diff_refs out.
type mergeRequest struct {
	IID             int64    `json:"iid"`
	ProjectID       int64    `json:"project_id"`
	SourceProjectID int64    `json:"source_project_id"`
	Title           string   `json:"title"`
	State           string   `json:"state"`
	Draft           bool     `json:"draft"`
	WorkInProgress  bool     `json:"work_in_progress"`
	Author          *rawUser `json:"author"`
	SourceBranch    string   `json:"source_branch"`
	TargetBranch    string   `json:"target_branch"`
	SHA             string   `json:"sha"`
	WebURL          string   `json:"web_url"`
	Notes           int      `json:"user_notes_count"`
	DiffRefs        struct {
		StartSHA string `json:"start_sha"`
	} `json:"diff_refs"`
}

// note is what is read of one.
type note struct {
	ID        int64     `json:"id"`
	Body      string    `json:"body"`
	Author    *rawUser  `json:"author"`
	System    bool      `json:"system"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// noteText is what is written of one.
type noteText struct {
	Body string `json:"body"`
}

type listNotes struct {
	gl.ListOptions
	Sort    string `url:"sort"`
	OrderBy string `url:"order_by"`
}

func (a address) pull(m mergeRequest) (vcs.Pull, error) {
	if !rest.IsNumber(m.IID) {
		return vcs.Pull{}, errors.New("iid is not a number of a merge request")
	}
	full, err := a.projectOf(m)
	if err != nil {
		return vcs.Pull{}, err
	}
	repo, err := a.repo(m.ProjectID, full)
	switch {
	case err != nil:
		return vcs.Pull{}, fmt.Errorf("the project: %w", err)
	// What is closed may have lost its commits.
	case !rest.IsSHA(m.SHA) && (m.SHA != "" || m.State != "closed" && m.State != "merged"):
		return vcs.Pull{}, errors.New("sha is not a commit")
	// GitLab fills these in a moment after a merge request was made.
	case m.DiffRefs.StartSHA != "" && !rest.IsSHA(m.DiffRefs.StartSHA):
		return vcs.Pull{}, errors.New("diff_refs.start_sha is not a commit")
	case !rest.IsRef(m.SourceBranch) || !rest.IsRef(m.TargetBranch):
		return vcs.Pull{}, errors.New("source_branch or target_branch is not the name of a branch")
	}
	out := vcs.Pull{
		Repo: repo, Number: int(m.IID), Title: m.Title, Author: a.author(m.Author), Draft: m.Draft || m.WorkInProgress,
		URL:     a.pullPage(repo, int(m.IID)),
		Head:    vcs.Branch{Ref: m.SourceBranch, SHA: m.SHA},
		Base:    vcs.Branch{Ref: m.TargetBranch, SHA: m.DiffRefs.StartSHA, Repo: repo.ID},
		HeadRef: fmt.Sprintf("refs/merge-requests/%d/head", m.IID),
	}
	if m.SourceProjectID > 0 {
		out.Head.Repo = vcs.RepoID{Forge: a.kin.Instance, ID: m.SourceProjectID}
	}
	switch m.State {
	case "opened", "locked": // locked for the moment in which it is being merged
		out.State = vcs.Open
	case "closed":
		out.State = vcs.Closed
	case "merged":
		out.State = vcs.Merged
	default:
		return vcs.Pull{}, fmt.Errorf("state is %q, want opened, closed, locked or merged", rest.CutText(m.State, 20))
	}
	return out, nil
}

// projectOf reads the project's path now out of the page's address: nothing else in the answer has it in all versions.
func (a address) projectOf(m mergeRequest) (string, error) {
	if err := rest.OnSite(a.kin.Web, m.WebURL); err != nil {
		return "", fmt.Errorf("web_url %w", err)
	}
	u, err := url.Parse(m.WebURL)
	if err != nil {
		return "", errors.New("web_url is not a URL")
	}
	full, ok := strings.CutPrefix(u.Path, a.kin.Web.Path+"/")
	if ok {
		full, ok = strings.CutSuffix(full, fmt.Sprintf("/merge_requests/%d", m.IID))
	}
	if !ok {
		return "", errors.New("web_url is not the page of the merge request")
	}
	return strings.TrimSuffix(full, "/-"), nil
}

func (a address) comment(p vcs.Pull, n note) (vcs.Comment, error) {
	switch {
	case n.ID <= 0:
		return vcs.Comment{}, errors.New("a note without an id")
	case n.CreatedAt.IsZero():
		return vcs.Comment{}, errors.New("a note without a time")
	}
	return vcs.Comment{
		ID: n.ID, Author: a.author(n.Author), Body: n.Body, URL: a.notePage(p.Repo, p.Number, n.ID),
		// Webhooks tell seconds. The same note has the same time wherever it comes from.
		CreatedAt: n.CreatedAt.UTC().Truncate(time.Second),
	}, nil
}

func (a address) author(u *rawUser) string {
	if u == nil {
		return rest.Ghost
	}
	return a.kin.Author(u.Username)
}

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
	r := vcs.Repo{ID: vcs.RepoID{Forge: a.kin.Instance, ID: id}, Owner: strings.TrimSuffix(owner, "/"), Name: name}
	r.URL = a.kin.Page(r).String()
	r.CloneURL = r.URL + ".git"
	return r, nil
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

// isHook reports whether s can be the name of an event.
func isHook(s string) bool { return len(s) <= 64 && rest.Made(s, "_ ") }
