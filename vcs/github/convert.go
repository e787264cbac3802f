package github

import (
	"errors"
	"fmt"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

func (a address) pull(p *gh.PullRequest) (vcs.Pull, error) {
	base, head := p.GetBase(), p.GetHead()
	in := base.GetRepo()
	repo, err := a.kin.Repo(rest.RawRepo{
		ID: in.GetID(), Name: in.GetName(), FullName: in.GetFullName(), Owner: &rest.RawUser{Login: in.GetOwner().GetLogin()},
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
		Repo: repo, Number: p.GetNumber(), Title: p.GetTitle(), Author: a.kin.Author(p.GetUser().GetLogin()), URL: p.GetHTMLURL(), Draft: p.GetDraft(),
		Head:    vcs.Branch{Ref: head.GetRef(), SHA: head.GetSHA()},
		Base:    vcs.Branch{Ref: base.GetRef(), SHA: base.GetSHA(), Repo: repo.ID},
		HeadRef: fmt.Sprintf("refs/pull/%d/head", p.GetNumber()),
	}
	if id := head.GetRepo().GetID(); id > 0 {
		out.Head.Repo = vcs.RepoID{Forge: a.kin.Instance, ID: id}
	}
	if err := rest.OnSite(a.kin.Web, out.URL); err != nil {
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
	case !rest.IsNode(k.GetNodeID()):
		return vcs.Comment{}, errors.New("a comment with an unusable node id")
	}
	out := vcs.Comment{
		ID: k.GetID(), Node: k.GetNodeID(), Author: a.kin.Author(k.GetUser().GetLogin()), Body: k.GetBody(),
		URL: k.GetHTMLURL(), CreatedAt: k.GetCreatedAt().UTC(),
	}
	if out.URL != "" {
		if err := rest.OnSite(a.kin.Web, out.URL); err != nil {
			return vcs.Comment{}, fmt.Errorf("a comment whose html_url %w", err)
		}
	}
	return out, nil
}

// isLogin reports whether s can be a user, or an app's (such as renovate[bot]).
func isLogin(s string) bool {
	return rest.IsName(strings.TrimSuffix(s, "[bot]"))
}

// isNotFound reports whether what was asked for is not there. Where the App is not installed nobody knows.
func isNotFound(err error) bool { return errors.Is(err, vcs.ErrNotFound) && !isNotInstalled(err) }
