package devforge

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The objects of the API and of webhooks, whole: both are held against what GitHub publishes. f.mu is held.

func (f *Forge) apiURL(r *repository, format string, args ...any) string {
	return f.url + "/api/v3/repos/" + r.full() + fmt.Sprintf(format, args...)
}

func (f *Forge) pullURL(r *repository, p *pull) string {
	return fmt.Sprintf("%s/%s/pull/%d", f.url, r.full(), p.number)
}

func (f *Forge) userJSON(login string) map[string]any {
	id := int64(0)
	if u := f.users[login]; u != nil {
		id = u.id
	}
	kind, path := "User", url.PathEscape(login)
	if strings.HasSuffix(login, "[bot]") {
		kind = "Bot"
	}
	url := f.url + "/api/v3/users/" + path
	return map[string]any{
		"login": login, "id": id, "node_id": fmt.Sprintf("U_%d", id), "type": kind, "site_admin": false, "gravatar_id": "",
		"html_url": f.url + "/" + path, "url": url, "avatar_url": f.url + "/avatar",
		"followers_url": url + "/followers", "following_url": url + "/following{/other_user}", "gists_url": url + "/gists{/gist_id}",
		"starred_url": url + "/starred{/owner}{/repo}", "subscriptions_url": url + "/subscriptions", "organizations_url": url + "/orgs",
		"repos_url": url + "/repos", "events_url": url + "/events{/privacy}", "received_events_url": url + "/received_events",
	}
}

// ownUserJSON is the user who asks, about whom more is told.
func (f *Forge) ownUserJSON(u *user) map[string]any {
	own := f.userJSON(u.login)
	maps.Copy(own, map[string]any{
		"user_view_type": "private", "name": nil, "company": nil, "blog": nil, "location": nil, "email": nil, "hireable": nil, "bio": nil, "public_repos": 0,
		"public_gists": 0, "followers": 0, "following": 0, "created_at": u.created, "updated_at": u.created,
		"private_gists": 0, "total_private_repos": 0, "owned_private_repos": 0, "disk_usage": 0, "collaborators": 0, "two_factor_authentication": true,
	})
	return own
}

// collaboratorJSON is a user as one who has a role in a repository.
func (f *Forge) collaboratorJSON(login, role string) map[string]any {
	u := f.userJSON(login)
	u["role_name"] = role
	return u
}

func (f *Forge) repoJSON(r *repository) map[string]any {
	html, open := f.url+"/"+r.full(), 0
	for _, p := range r.pulls {
		if p.state == "open" {
			open++
		}
	}
	forks, visibility := 0, "public"
	if r.private {
		visibility = "private"
	}
	for _, other := range f.repos {
		if other.fork == r {
			forks++
		}
	}
	out := map[string]any{
		"id": r.id, "node_id": fmt.Sprintf("R_%d", r.id), "name": r.name, "full_name": r.full(), "private": r.private, "fork": r.fork != nil,
		"owner": f.userJSON(r.owner), "html_url": html, "url": f.apiURL(r, ""), "description": nil, "homepage": nil, "language": nil,
		"clone_url": html + ".git", "git_url": "git" + strings.TrimPrefix(html, "http") + ".git", "ssh_url": "git@localhost:" + r.full() + ".git",
		"svn_url": html, "mirror_url": nil, "default_branch": "main", "archived": false, "disabled": false, "is_template": false,
		"visibility": visibility, "created_at": r.created, "updated_at": r.created, "pushed_at": r.created, "size": 0, "license": nil,
		"stargazers_count": 0, "watchers_count": 0, "watchers": 0, "forks_count": forks, "forks": forks,
		"open_issues_count": open, "open_issues": open, "has_issues": true, "has_projects": false, "has_downloads": false,
		"has_wiki": false, "has_pages": false, "has_discussions": false, "web_commit_signoff_required": false,
		"topics": []string{}, "custom_properties": map[string]any{},
	}
	for _, link := range repoLinks() {
		name, path, _ := strings.Cut(link, " ")
		out[name+"_url"] = f.apiURL(r, "%s", path)
	}
	return out
}

// fullRepoJSON is the repository as it is told when asked for alone; only who may write is told how it merges.
func (f *Forge) fullRepoJSON(c call) map[string]any {
	out := f.repoJSON(c.repo)
	out["subscribers_count"], out["network_count"] = 0, out["forks_count"]
	if c.needsWrite() == nil {
		for method, field := range map[string]string{"merge": "merge_commit", "squash": "squash_merge", "rebase": "rebase_merge"} {
			out["allow_"+field] = slices.Contains(c.repo.methods, method)
		}
	}
	return out
}

// repoLinks are the links of a repository: a name and what follows the repository's own.
func repoLinks() []string {
	return []string{
		"archive /{archive_format}{/ref}", "assignees /assignees{/user}", "blobs /git/blobs{/sha}", "branches /branches{/branch}",
		"collaborators /collaborators{/collaborator}", "comments /comments{/number}", "commits /commits{/sha}",
		"compare /compare/{base}...{head}", "contents /contents/{+path}", "contributors /contributors", "deployments /deployments",
		"downloads /downloads", "events /events", "forks /forks", "git_commits /git/commits{/sha}", "git_refs /git/refs{/sha}",
		"git_tags /git/tags{/sha}", "hooks /hooks", "issue_comment /issues/comments{/number}", "issue_events /issues/events{/number}",
		"issues /issues{/number}", "keys /keys{/key_id}", "labels /labels{/name}", "languages /languages", "merges /merges",
		"milestones /milestones{/number}", "notifications /notifications{?since,all,participating}", "pulls /pulls{/number}",
		"releases /releases{/id}", "stargazers /stargazers", "statuses /statuses/{sha}", "subscribers /subscribers",
		"subscription /subscription", "tags /tags", "teams /teams", "trees /git/trees{/sha}",
	}
}

func (f *Forge) sideJSON(r *repository, ref, sha string) map[string]any {
	return map[string]any{"label": r.owner + ":" + ref, "ref": ref, "sha": sha, "user": f.userJSON(r.owner), "repo": f.repoJSON(r)}
}

func (f *Forge) pullJSON(r *repository, p *pull) map[string]any {
	if p.state == "open" {
		p.baseSHA = f.sha(r, p.baseRef)
	}
	f.measure(r, p)
	out := map[string]any{
		"id": p.id, "node_id": fmt.Sprintf("PR_%d", p.id), "number": p.number, "state": p.state, "title": p.title, "body": p.body,
		"user": f.userJSON(p.author), "draft": p.draft, "locked": p.locked, "merged": p.merged,
		"merged_at": nil, "closed_at": moment(p.closed), "merged_by": nil, "merge_commit_sha": nil,
		"created_at": p.created, "updated_at": p.updated,
		"head": f.sideJSON(p.headRepo, p.headRef, p.headSHA), "base": f.sideJSON(r, p.baseRef, p.baseSHA),
		"mergeable": nil, "rebaseable": nil, "mergeable_state": "unknown",
		"comments": len(p.comments), "review_comments": 0, "maintainer_can_modify": false,
		"commits": p.size.commits, "additions": p.size.additions, "deletions": p.size.deletions, "changed_files": p.size.files,
		"assignee": nil, "assignees": []any{}, "requested_reviewers": []any{}, "requested_teams": []any{}, "labels": []any{},
		"milestone": nil, "author_association": f.association(r, p.author), "auto_merge": nil, "active_lock_reason": nil,
	}
	if p.state == "open" {
		out["mergeable"], out["mergeable_state"] = f.mergeState(r, p)
	}
	if p.merged {
		out["merged_at"], out["merge_commit_sha"], out["merged_by"] = p.closed, p.mergeSHA, f.userJSON(p.mergedBy)
	}
	f.linkPull(r, p, out)
	return out
}

// linkPull adds the links of a pull request, which GitHub tells twice.
func (f *Forge) linkPull(r *repository, p *pull, out map[string]any) {
	api, issue, html := f.apiURL(r, "/pulls/%d", p.number), f.apiURL(r, "/issues/%d", p.number), f.pullURL(r, p)
	links := map[string]string{
		"html": html, "issue": issue, "comments": issue + "/comments", "review_comments": api + "/comments",
		"review_comment": f.apiURL(r, "/pulls/comments{/number}"), "commits": api + "/commits",
		"statuses": f.apiURL(r, "/statuses/%s", p.headSHA),
	}
	both := map[string]any{"self": link(api)}
	for name, url := range links {
		out[name+"_url"], both[name] = url, link(url)
	}
	out["url"], out["diff_url"], out["patch_url"], out["_links"] = api, html+".diff", html+".patch", both
}

func link(url string) map[string]any { return map[string]any{"href": url} }

// moment is null for the zero time.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

// size is how much a pull request changes between two commits.
type size struct {
	base, head                           string
	commits, additions, deletions, files int
}

// measure counts what a pull request changes, once for each pair of commits.
func (f *Forge) measure(r *repository, p *pull) {
	if p.size.base == p.baseSHA && p.size.head == p.headSHA || p.merged {
		return
	}
	s := size{base: p.baseSHA, head: p.headSHA}
	between := p.baseSHA + "..." + p.headSHA
	if out, err := f.in(r, "rev-list", "--count", p.baseSHA+".."+p.headSHA); err == nil {
		s.commits, _ = strconv.Atoi(out)
	}
	if out, err := f.in(r, "diff", "--numstat", between); err == nil && out != "" {
		for line := range strings.Lines(out) {
			var added, deleted int
			_, _ = fmt.Sscanf(line, "%d\t%d\t", &added, &deleted) // a binary file has "-"
			s.files, s.additions, s.deletions = s.files+1, s.additions+added, s.deletions+deleted
		}
	}
	p.size = s
}

// association is what somebody is to a repository.
func (f *Forge) association(r *repository, login string) string {
	switch {
	case login == r.owner:
		return "OWNER"
	case r.permissions[login] != "":
		return "COLLABORATOR"
	}
	return "NONE"
}

func (f *Forge) issueJSON(r *repository, p *pull) map[string]any {
	api, html := f.apiURL(r, "/issues/%d", p.number), f.pullURL(r, p)
	return map[string]any{
		"id": p.id, "node_id": fmt.Sprintf("PR_%d", p.id), "number": p.number, "title": p.title, "state": p.state, "body": p.body,
		"user": f.userJSON(p.author), "html_url": html, "url": api, "repository_url": f.apiURL(r, ""),
		"labels_url": api + "/labels{/name}", "comments_url": api + "/comments", "events_url": api + "/events",
		"labels": []any{}, "assignee": nil, "assignees": []any{}, "milestone": nil, "locked": p.locked, "active_lock_reason": nil,
		"comments": len(p.comments), "created_at": p.created, "updated_at": p.updated, "closed_at": moment(p.closed),
		"author_association": f.association(r, p.author), "reactions": reactionsJSON(api, nil), "draft": p.draft,
		"pull_request": map[string]any{
			"url": f.apiURL(r, "/pulls/%d", p.number), "html_url": html, "diff_url": html + ".diff", "patch_url": html + ".patch",
		},
	}
}

func (f *Forge) commentJSON(r *repository, p *pull, c *comment) map[string]any {
	api := f.apiURL(r, "/issues/comments/%d", c.id)
	return map[string]any{
		"id": c.id, "node_id": c.node, "body": c.body, "user": f.userJSON(c.author), "created_at": c.created, "updated_at": c.updated,
		"html_url": fmt.Sprintf("%s#issuecomment-%d", f.pullURL(r, p), c.id), "url": api,
		"issue_url": f.apiURL(r, "/issues/%d", p.number), "author_association": f.association(r, c.author),
		"reactions": reactionsJSON(api, c.reactions), "performed_via_github_app": nil,
	}
}

func reactionsJSON(of string, given []reaction) map[string]any {
	count := map[string]int{}
	for _, name := range reactionNames() {
		count[name] = 0
	}
	for _, r := range given {
		count[r.content]++
	}
	out := map[string]any{"url": of + "/reactions", "total_count": len(given)}
	for name, n := range count {
		out[name] = n
	}
	return out
}

func reactionNames() []string {
	return []string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}
}

func (f *Forge) reviewJSON(r *repository, p *pull, v *review) map[string]any {
	api := f.apiURL(r, "/pulls/%d", p.number)
	return map[string]any{
		"id": v.id, "node_id": fmt.Sprintf("PRR_%d", v.id), "user": f.userJSON(v.Author), "state": v.State, "body": v.body,
		"submitted_at": v.at, "commit_id": v.sha, "html_url": f.pullURL(r, p), "pull_request_url": api,
		"author_association": f.association(r, v.Author),
		"_links":             map[string]any{"html": link(f.pullURL(r, p)), "pull_request": link(api)},
	}
}

func (f *Forge) statusJSON(r *repository, sha string, s *status) map[string]any {
	creator := f.userJSON(s.creator)
	return map[string]any{
		"id": s.id, "node_id": fmt.Sprintf("SC_%d", s.id), "state": s.State, "context": s.Context, "description": orNull(s.Desc), "target_url": orNull(s.URL),
		"created_at": s.at, "updated_at": s.at, "creator": creator, "url": f.apiURL(r, "/statuses/%s", sha), "avatar_url": creator["avatar_url"],
	}
}

// orNull is how GitHub tells what was not said.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
