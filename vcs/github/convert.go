package github

import (
	"errors"
	"fmt"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// ghost is what GitHub calls a user who was deleted.
const ghost = "ghost"

// repo checks a repository. Its addresses are made up where the forge leaves them out.
func (a address) repo(raw rawRepo) (vcs.Repo, error) {
	switch {
	case raw.ID <= 0:
		return vcs.Repo{}, errors.New("the id is missing or not positive")
	case raw.Owner == nil || !rest.IsName(raw.Owner.Login):
		return vcs.Repo{}, errors.New("the owner is missing or not a name")
	case !rest.IsName(raw.Name):
		return vcs.Repo{}, errors.New("the name is missing or not a name")
	case raw.FullName != "" && !strings.EqualFold(raw.FullName, raw.Owner.Login+"/"+raw.Name):
		return vcs.Repo{}, errors.New("the full name is not that of owner and name")
	}
	r := vcs.Repo{
		ID: vcs.RepoID{Forge: a.instance, ID: raw.ID}, Owner: raw.Owner.Login, Name: raw.Name,
		URL: raw.HTMLURL, CloneURL: raw.CloneURL,
	}
	page := a.web.JoinPath(r.Owner, r.Name).String()
	if r.URL == "" {
		r.URL = page
	}
	if r.CloneURL == "" {
		r.CloneURL = page + ".git"
	}
	if err := rest.OnSite(a.web, r.URL); err != nil {
		return vcs.Repo{}, fmt.Errorf("html_url %w", err)
	}
	if err := rest.OnSite(a.web, r.CloneURL); err != nil {
		return vcs.Repo{}, fmt.Errorf("clone_url %w", err)
	}
	return r, nil
}

func (a address) pull(p *gh.PullRequest) (vcs.Pull, error) {
	base, head := p.GetBase(), p.GetHead()
	in := base.GetRepo()
	repo, err := a.repo(rawRepo{
		ID: in.GetID(), Name: in.GetName(), FullName: in.GetFullName(), Owner: &rawUser{in.GetOwner().GetLogin()},
		HTMLURL: in.GetHTMLURL(), CloneURL: in.GetCloneURL(),
	})
	switch {
	case err != nil:
		return vcs.Pull{}, fmt.Errorf("base.repo: %w", err)
	case !rest.IsNumber(int64(p.GetNumber())):
		return vcs.Pull{}, errors.New("number is not a number of a pull request")
	case !rest.IsSHA(head.GetSHA()) || !rest.IsSHA(base.GetSHA()):
		return vcs.Pull{}, errors.New("head.sha or base.sha is not a commit")
	case !rest.IsRef(head.GetRef()) || !rest.IsRef(base.GetRef()):
		return vcs.Pull{}, errors.New("head.ref or base.ref is not the name of a branch")
	}
	out := vcs.Pull{
		Repo: repo, Number: p.GetNumber(), Title: p.GetTitle(), Author: author(p.GetUser()), URL: p.GetHTMLURL(), Draft: p.GetDraft(),
		Head:    vcs.Branch{Ref: head.GetRef(), SHA: head.GetSHA()},
		Base:    vcs.Branch{Ref: base.GetRef(), SHA: base.GetSHA(), Repo: repo.ID},
		HeadRef: fmt.Sprintf("refs/pull/%d/head", p.GetNumber()),
	}
	if id := head.GetRepo().GetID(); id > 0 {
		out.Head.Repo = vcs.RepoID{Forge: a.instance, ID: id}
	}
	if err := rest.OnSite(a.web, out.URL); err != nil {
		return vcs.Pull{}, fmt.Errorf("html_url %w", err)
	}
	switch {
	case p.GetMerged() || !p.GetMergedAt().IsZero(): // lists have only the second
		out.State = vcs.Merged
	case p.GetState() == "open":
		out.State = vcs.Open
	case p.GetState() == "closed":
		out.State = vcs.Closed
	default:
		return vcs.Pull{}, fmt.Errorf("state is %q, want open or closed", rest.CutText(p.GetState(), 20))
	}
	return out, nil
}

func (a address) comment(k *gh.IssueComment) (vcs.Comment, error) {
	switch {
	case k.GetID() <= 0:
		return vcs.Comment{}, errors.New("a comment without an id")
	case k.GetCreatedAt().IsZero():
		return vcs.Comment{}, errors.New("a comment without a time")
	case !isNode(k.GetNodeID()):
		return vcs.Comment{}, errors.New("a comment with an unusable node id")
	}
	out := vcs.Comment{
		ID: k.GetID(), Node: k.GetNodeID(), Author: author(k.GetUser()), Body: k.GetBody(),
		URL: k.GetHTMLURL(), CreatedAt: k.GetCreatedAt().UTC(),
	}
	if out.URL != "" {
		if err := rest.OnSite(a.web, out.URL); err != nil {
			return vcs.Comment{}, fmt.Errorf("a comment whose html_url %w", err)
		}
	}
	return out, nil
}

func author(u *gh.User) string {
	if login := u.GetLogin(); isLogin(login) {
		return login
	}
	return ghost
}

// isLogin reports whether s can be a user, or an app's (such as renovate[bot]).
func isLogin(s string) bool {
	return rest.IsName(strings.TrimSuffix(s, "[bot]"))
}

// isNode reports whether s can be a GraphQL id; older servers leave it out.
func isNode(s string) bool { return s == "" || len(s) <= 256 && rest.Made(s, "-_=+/") }

func isNotFound(err error) bool { return errors.Is(err, vcs.ErrNotFound) }
