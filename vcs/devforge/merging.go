package devforge

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
)

// Protection is what a branch asks of what is merged into it. The zero value asks nothing.
type Protection struct {
	// Contexts are the statuses that must be successful by the branch's protection, RuleContexts those by a ruleset.
	Contexts, RuleContexts []string
	// UpToDate asks for heads that have all of the branch.
	UpToDate bool
	// Approvals is how many reviews must approve.
	Approvals int
	// Methods are those that a ruleset allows; none are all.
	Methods []string
	// Queue lets only the merge queue merge.
	Queue bool
}

func (p Protection) contexts() []string { return append(slices.Clone(p.Contexts), p.RuleContexts...) }

// Protect sets what a branch asks of what is merged into it.
func (f *Forge) Protect(owner, name, branch string, p Protection) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.repos[owner+"/"+name]
	if r == nil {
		return errNotFound
	}
	r.protected[branch] = p
	return nil
}

// AllowMethods sets how a repository's pull requests can be merged: one or more of merge, squash and rebase.
func (f *Forge) AllowMethods(owner, name string, methods ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.repos[owner+"/"+name]
	if r == nil || len(methods) == 0 {
		return errNotFound
	}
	r.methods = methods
	return nil
}

func (f *Forge) merge(c call) (answer, error) {
	p, err := c.pull()
	if err != nil {
		return answer{}, err
	}
	if err := c.needsWrite(); err != nil {
		return answer{}, err
	}
	in := struct {
		SHA    string `json:"sha"`
		Method string `json:"merge_method"`
	}{Method: "merge"}
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	return f.mergeBy(c.repo, p, c.user.login, in.SHA, in.Method)
}

func (f *Forge) mergeBy(r *repository, p *pull, by, sha, method string) (answer, error) {
	if sha != "" && sha != p.headSHA {
		return fail(http.StatusConflict, "Head branch was modified. Review and try the merge again.")
	}
	if why := f.unmergeable(r, p, method); why != "" {
		return fail(http.StatusMethodNotAllowed, "%s", why)
	}
	p.baseSHA = f.sha(r, p.baseRef)
	merged, err := f.mergePull(r, p, method)
	if err != nil {
		return answer{}, err
	}
	p.merged, p.state, p.mergeSHA, p.mergedBy, p.closed, p.updated = true, "closed", merged, by, now(), now()
	f.emitPull(r, p, "closed", by, nil)
	return answer{body: map[string]any{"sha": merged, "merged": true, "message": "Pull Request successfully merged"}}, nil
}

// unmergeable is what GitHub says when it does not merge; "" when it does.
func (f *Forge) unmergeable(r *repository, p *pull, method string) string {
	rules := r.protected[p.baseRef]
	missing := f.missing(r, p, rules.contexts())
	switch {
	case p.state != "open" || !f.mergeable(r, p):
		return "Pull Request is not mergeable"
	case p.draft:
		return "Pull Request is still a draft"
	case !slices.Contains(r.methods, method):
		name := map[string]string{"merge": "Merge commits", "squash": "Squash merges", "rebase": "Rebase merges"}[method]
		return name + " are not allowed on this repository."
	case rules.Queue:
		return violations("Changes must be made through the merge queue")
	case len(rules.Methods) > 0 && !slices.Contains(rules.Methods, method):
		return violations(fmt.Sprintf("This branch must not be merged with %s.", method))
	case rules.UpToDate && f.behind(r, p):
		return "Head branch is out of date. Review and try the merge again."
	case len(missing) == 1:
		return fmt.Sprintf("Required status check %q is expected.", missing[0])
	case len(missing) > 1:
		return fmt.Sprintf("%d of %d required status checks are expected.", len(missing), len(rules.contexts()))
	case p.approvals() < rules.Approvals:
		return fmt.Sprintf("At least %d approving review is required by reviewers with write access.", rules.Approvals)
	}
	return ""
}

func violations(text string) string { return "Repository rule violations found\n\n" + text + "\n\n" }

// missing are the contexts that have no success at a pull request's head.
func (f *Forge) missing(r *repository, p *pull, contexts []string) []string {
	latest := map[string]string{}
	for _, s := range r.statuses[p.headSHA] {
		latest[s.Context] = s.State
	}
	return slices.DeleteFunc(slices.Clone(contexts), func(c string) bool { return latest[c] == "success" })
}

// behind reports whether the base has what the head has not.
func (f *Forge) behind(r *repository, p *pull) bool {
	_, err := f.in(r, "merge-base", "--is-ancestor", "refs/heads/"+p.baseRef, p.headSHA)
	return err != nil
}

// decision is what the reviews come to, as GraphQL tells it; "" where none is needed.
func (f *Forge) decision(r *repository, p *pull) string {
	need, by := r.protected[p.baseRef].Approvals, p.verdicts()
	switch {
	case need == 0:
		return ""
	case slices.Contains(by, "CHANGES_REQUESTED"):
		return "CHANGES_REQUESTED"
	case p.approvals() < need:
		return "REVIEW_REQUIRED"
	}
	return "APPROVED"
}

// askDecision is what GraphQL answers to who asks for a pull request's reviewDecision.
func (f *Forge) askDecision(req *http.Request, of map[string]any) map[string]any {
	r := f.repos[fmt.Sprintf("%v/%v", of["owner"], of["name"])]
	n, _ := of["number"].(float64)
	if r == nil || f.beyond(req, r) || n < 1 || int(n) > len(r.pulls) {
		return map[string]any{"data": map[string]any{"repository": nil}, "errors": []any{map[string]any{
			"type": "NOT_FOUND", "path": []string{"repository"}, "message": "Could not resolve to a Repository or a PullRequest.",
		}}}
	}
	var decided any
	if d := f.decision(r, r.pulls[int(n)-1]); d != "" {
		decided = d
	}
	return map[string]any{"data": map[string]any{"repository": map[string]any{"pullRequest": map[string]any{"reviewDecision": decided}}}}
}

// verdicts are the last words of the reviewers.
func (p *pull) verdicts() []string {
	last := map[string]string{}
	for _, v := range p.reviews {
		if v.State != "COMMENTED" {
			last[v.Author] = v.State
		}
	}
	var all []string
	for _, state := range last {
		all = append(all, state)
	}
	return all
}

func (p *pull) approvals() int {
	return len(slices.DeleteFunc(p.verdicts(), func(state string) bool { return state != "APPROVED" }))
}

// mergeState is what GitHub tells of an open pull request. After its head or its base has moved the first who asks is
// told that it is not known yet: GitHub finds it out because of that question.
func (f *Forge) mergeState(r *repository, p *pull) (mergeable any, state string) {
	if p.judged != [2]string{p.baseSHA, p.headSHA} {
		return nil, "unknown"
	}
	ok, rules := f.mergeable(r, p), r.protected[p.baseRef]
	missing := f.missing(r, p, rules.contexts())
	var all []string
	for _, s := range r.statuses[p.headSHA] {
		all = append(all, s.Context)
	}
	decided := f.decision(r, p)
	switch {
	case !ok:
		return ok, "dirty"
	case p.draft:
		return ok, "draft"
	case rules.UpToDate && f.behind(r, p):
		return ok, "behind"
	case len(missing) > 0 || decided != "" && decided != "APPROVED":
		return ok, "blocked"
	case len(f.missing(r, p, all)) > 0:
		return ok, "unstable"
	}
	return ok, "clean"
}

// mergePull merges with git plumbing and moves the base branch.
func (f *Forge) mergePull(r *repository, p *pull, method string) (string, error) {
	var sha string
	var err error
	switch method {
	case "merge":
		message := fmt.Sprintf("Merge pull request #%d from %s\n\n%s", p.number, p.headRef, p.title)
		sha, err = f.put(r, p.baseSHA, p.headSHA, message, p.baseSHA, p.headSHA)
	case "squash":
		sha, err = f.put(r, p.baseSHA, p.headSHA, fmt.Sprintf("%s (#%d)", p.title, p.number), p.baseSHA)
	case "rebase":
		sha, err = f.rebase(r, p)
	default:
		return "", fmt.Errorf("%q is no way to merge", method)
	}
	if err != nil {
		return "", err
	}
	_, err = f.in(r, "update-ref", "refs/heads/"+p.baseRef, sha, p.baseSHA)
	return sha, err
}

// rebase puts each commit of a pull request on top of its base.
func (f *Forge) rebase(r *repository, p *pull) (string, error) {
	commits, err := f.in(r, "rev-list", "--reverse", "--no-merges", p.baseSHA+".."+p.headSHA)
	if err != nil {
		return "", err
	}
	onto := p.baseSHA
	for _, sha := range strings.Fields(commits) {
		message, err := f.in(r, "show", "-s", "--format=%B", sha)
		if err != nil {
			return "", err
		}
		// What it is put on, as if it stood on what the commit stands on: merged with that, it is changed as the commit has.
		aside, err := f.in(r, "commit-tree", onto+"^{tree}", "-p", sha+"^", "-m", "aside")
		if err != nil {
			return "", err
		}
		if onto, err = f.put(r, aside, sha, message, onto); err != nil {
			return "", err
		}
	}
	return onto, nil
}

// put merges two commits and makes a commit of it.
func (f *Forge) put(r *repository, one, other, message string, parents ...string) (string, error) {
	return f.bare.Merge(f.ctx, r.dir, one, other, message, parents...)
}

// branch is the name at the end of a path, with its slashes.
func (c call) branch() string {
	raw := chi.URLParam(c.req, "*")
	if name, err := url.PathUnescape(raw); err == nil && c.req.URL.RawPath != "" {
		return name
	}
	return raw
}

func (f *Forge) getBranch(c call) (answer, error) {
	name := c.branch()
	sha := f.sha(c.repo, name)
	if sha == "" {
		return fail(http.StatusNotFound, "Branch not found")
	}
	commit, err := f.commitJSON(c.repo, sha)
	if err != nil {
		return answer{}, err
	}
	rules, guarded := c.repo.protected[name]
	checks, level := []any{}, "off"
	for _, context := range rules.Contexts {
		checks, level = append(checks, map[string]any{"context": context, "app_id": nil}), "non_admins"
	}
	api := f.apiURL(c.repo, "/branches/%s", name)
	return answer{body: map[string]any{
		"name": name, "commit": commit, "protected": guarded, "protection_url": api + "/protection",
		"_links": map[string]any{"self": api, "html": f.url + "/" + c.repo.full() + "/tree/" + name},
		"protection": map[string]any{
			"enabled": len(rules.Contexts) > 0, "required_status_checks": map[string]any{
				"enforcement_level": level, "contexts": append([]string{}, rules.Contexts...), "checks": checks,
			},
		},
	}}, nil
}

func (f *Forge) getRules(c call) (answer, error) {
	rules, all := c.repo.protected[c.branch()], []any{}
	add := func(kind string, parameters map[string]any) {
		all = append(all, map[string]any{
			"type": kind, "parameters": parameters, "ruleset_source_type": "Repository", "ruleset_source": c.repo.full(), "ruleset_id": c.repo.id,
		})
	}
	if len(rules.RuleContexts) > 0 {
		var checks []any
		for _, context := range rules.RuleContexts {
			checks = append(checks, map[string]any{"context": context})
		}
		add("required_status_checks", map[string]any{"required_status_checks": checks, "strict_required_status_checks_policy": rules.UpToDate})
	}
	if len(rules.Methods) > 0 {
		add("pull_request", map[string]any{
			"allowed_merge_methods": rules.Methods, "required_approving_review_count": 0, "dismiss_stale_reviews_on_push": false,
			"require_code_owner_review": false, "require_last_push_approval": false, "required_review_thread_resolution": false,
		})
	}
	if rules.Queue {
		add("merge_queue", map[string]any{
			"check_response_timeout_minutes": 60, "grouping_strategy": "ALLGREEN", "max_entries_to_build": 5, "max_entries_to_merge": 5,
			"merge_method": "MERGE", "min_entries_to_merge": 1, "min_entries_to_merge_wait_minutes": 5,
		})
	}
	some, link := page(f, c, all)
	return answer{body: some, link: link}, nil
}

func (f *Forge) getRef(c call) (answer, error) {
	ref := "refs/heads/" + c.branch()
	sha := f.sha(c.repo, c.branch())
	if sha == "" {
		return answer{}, errNotFound
	}
	return answer{body: map[string]any{
		"ref": ref, "node_id": "REF_" + ref, "url": f.apiURL(c.repo, "/git/%s", ref),
		"object": map[string]any{"type": "commit", "sha": sha, "url": f.apiURL(c.repo, "/git/commits/%s", sha)},
	}}, nil
}

// deleteRef deletes a branch. Open pull requests from it or to it are closed by that.
func (f *Forge) deleteRef(c call) (answer, error) {
	if err := c.needsWrite(); err != nil {
		return answer{}, err
	}
	name := c.branch()
	if _, guarded := c.repo.protected[name]; guarded {
		return answer{}, &apiError{http.StatusUnprocessableEntity, "Cannot delete this protected branch"}
	}
	if f.sha(c.repo, name) == "" {
		return answer{}, &apiError{http.StatusUnprocessableEntity, "Reference does not exist"}
	}
	if _, err := f.in(c.repo, "update-ref", "-d", "refs/heads/"+name); err != nil {
		return answer{}, err
	}
	for _, base := range f.repos {
		for _, p := range base.pulls {
			if base == c.repo && p.baseRef == name || p.headRepo == c.repo && p.headRef == name {
				f.setState(base, p, "closed", c.user.login)
			}
		}
	}
	return answer{status: http.StatusNoContent}, nil
}

func (f *Forge) combinedStatus(c call) (answer, error) {
	sha, seen, all, state := chi.URLParam(c.req, "sha"), map[string]bool{}, []any{}, "success"
	for _, s := range slices.Backward(c.repo.statuses[sha]) {
		if seen[s.Context] {
			continue
		}
		seen[s.Context] = true
		one := f.statusJSON(c.repo, sha, s)
		delete(one, "creator")
		all = append(all, one)
		switch {
		case s.State == "failure" || s.State == "error":
			state = "failure"
		case s.State == "pending" && state == "success":
			state = "pending"
		}
	}
	if len(all) == 0 {
		state = "pending"
	}
	some, link := page(f, c, all)
	return answer{link: link, body: map[string]any{
		"state": state, "sha": sha, "total_count": len(all), "statuses": some, "repository": f.repoJSON(c.repo),
		"commit_url": f.apiURL(c.repo, "/commits/%s", sha), "url": f.apiURL(c.repo, "/commits/%s/status", sha),
	}}, nil
}

// checkRuns has none: nobody makes one here.
func (f *Forge) checkRuns(call) (answer, error) {
	return answer{body: map[string]any{"total_count": 0, "check_runs": []any{}}}, nil
}

// commitJSON is a commit as it is told with its branch.
func (f *Forge) commitJSON(r *repository, sha string) (map[string]any, error) {
	out, err := f.in(r, "show", "-s", "--format=%T%n%P%n%B", sha)
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(out, "\n", 3)
	if len(parts) < 3 {
		return nil, errors.New("git show: no commit")
	}
	parents := []any{}
	for _, p := range strings.Fields(parts[1]) {
		parents = append(parents, map[string]any{"sha": p, "url": f.apiURL(r, "/commits/%s", p)})
	}
	api := f.apiURL(r, "/commits/%s", sha)
	return map[string]any{
		"sha": sha, "node_id": "C_" + sha, "url": api, "html_url": f.url + "/" + r.full() + "/commit/" + sha, "comments_url": api + "/comments",
		"author": nil, "committer": nil, "parents": parents,
		"commit": map[string]any{
			"url": f.apiURL(r, "/git/commits/%s", sha), "message": parts[2], "comment_count": 0, "author": nil, "committer": nil,
			"tree": map[string]any{"sha": parts[0], "url": f.apiURL(r, "/git/trees/%s", parts[0])},
		},
	}, nil
}
