package gitea

import (
	"errors"
	"fmt"
	"strings"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

func (c *Client) repo(r *sdk.Repository) (vcs.Repo, error) {
	if r == nil {
		return vcs.Repo{}, errors.New("it is missing")
	}
	return c.kin.Repo(rest.RawRepo{
		ID: r.ID, Name: r.Name, FullName: r.FullName, Owner: &rest.RawUser{Login: login(r.Owner)},
		HTMLURL: r.HTMLURL, CloneURL: r.CloneURL,
	})
}

// pullRequest is what is read of one. The SDK's can't tell a server that does not know of drafts from one that says no.
type pullRequest struct {
	sdk.PullRequest
	Draft *bool `json:"draft"`
}

func (c *Client) pull(p *pullRequest) (vcs.Pull, error) {
	if p == nil || p.Base == nil || p.Head == nil {
		return vcs.Pull{}, errors.New("base or head is missing")
	}
	repo, err := c.repo(p.Base.Repository)
	if err != nil {
		return vcs.Pull{}, fmt.Errorf("base.repo: %w", err)
	}
	out := vcs.Pull{
		Repo: repo, Number: int(p.Index), Title: p.Title, Author: c.kin.Author(login(p.Poster)), URL: p.HTMLURL,
		Draft: drafted(p.Draft, p.Title), Head: c.head(p, repo),
		Base: vcs.Branch{Ref: p.Base.Ref, SHA: p.Base.Sha, Repo: repo.ID},
	}
	switch {
	case p.HasMerged:
		out.State = vcs.Merged
	case p.State == sdk.StateOpen:
		out.State = vcs.Open
	case p.State == sdk.StateClosed:
		out.State = vcs.Closed
	default:
		return vcs.Pull{}, fmt.Errorf("state is %q, want open or closed", rest.CutText(string(p.State), 20))
	}
	out.HeadRef = headRef(p, out)
	// What is closed may have lost its branches: the forge then has no commit to tell.
	isSHA := func(s string) bool { return rest.IsSHA(s) || s == "" && out.State != vcs.Open }
	switch {
	case !rest.IsNumber(p.Index):
		return vcs.Pull{}, errors.New("number is not a number of a pull request")
	case !isSHA(out.Head.SHA) || !isSHA(out.Base.SHA):
		return vcs.Pull{}, errors.New("head.sha or base.sha is not a commit")
	case !rest.IsRef(out.Head.Ref) || !rest.IsRef(out.Base.Ref):
		return vcs.Pull{}, errors.New("head.ref or base.ref is not the name of a branch")
	}
	if err := rest.OnSite(c.kin.Web, out.URL); err != nil {
		return vcs.Pull{}, fmt.Errorf("html_url %w", err)
	}
	return out, nil
}

// head is where a pull request comes from. When its branch is gone, the forge's ref is the pull request's own, and
// the label still has the branch. One that was pushed to refs/for/ has no branch at all. The forge calls that one of
// the repository itself, but who may read can make it: it is a stranger's, as one from a fork.
func (c *Client) head(p *pullRequest, repo vcs.Repo) vcs.Branch {
	b := vcs.Branch{Ref: p.Head.Ref, SHA: p.Head.Sha}
	gone := isGone(b.Ref)
	if gone && p.Head.Name != "" {
		b.Ref = p.Head.Name
	}
	if p.Head.RepoID > 0 && (!gone || p.Head.Name != "") {
		b.Repo = vcs.RepoID{Forge: repo.ID.Forge, ID: p.Head.RepoID}
	}
	return b
}

// isGone reports whether what the forge calls the head's branch is none.
func isGone(branch string) bool { return strings.HasPrefix(branch, "refs/pull/") }

// headRef is where the commit can be fetched that the forge calls the head. The pull request's own ref stays where it was
// while it is closed, and after that until the next push: the head is what the branch is at all the time. A fork's branch
// can't be fetched from here.
func headRef(p *pullRequest, of vcs.Pull) string {
	if of.State == vcs.Open && !of.Fork() && !isGone(p.Head.Ref) {
		return "refs/heads/" + p.Head.Ref
	}
	return fmt.Sprintf("refs/pull/%d/head", p.Index)
}

func (c *Client) comment(k *sdk.Comment) (vcs.Comment, error) {
	switch {
	case k == nil || k.ID <= 0:
		return vcs.Comment{}, errors.New("a comment without an id")
	case k.Created.IsZero():
		return vcs.Comment{}, errors.New("a comment without a time")
	}
	out := vcs.Comment{ID: k.ID, Author: c.kin.Author(login(k.Poster)), Body: k.Body, URL: k.HTMLURL, CreatedAt: k.Created.UTC()}
	if out.URL != "" {
		if err := rest.OnSite(c.kin.Web, out.URL); err != nil {
			return vcs.Comment{}, fmt.Errorf("a comment whose html_url %w", err)
		}
	}
	return out, nil
}

func login(u *sdk.User) string {
	if u == nil {
		return ""
	}
	return u.UserName
}

// drafted is what a server says of a draft, or what the title says where it is too old for that: each server may have
// other words for it.
func drafted(said *bool, title string) bool {
	if said != nil {
		return *said
	}
	return isDraft(title)
}

// isDraft reports whether a title says that it is work in progress, by the forge's own defaults.
func isDraft(title string) bool {
	title = strings.ToUpper(title)
	return strings.HasPrefix(title, "WIP:") || strings.HasPrefix(title, "[WIP]")
}
