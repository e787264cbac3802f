package gitlab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	gl "github.com/xanzy/go-gitlab"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

// isAtWork is said of a merge request that is being merged.
const isAtWork = "the forge is at work on it"

// merging is a merge request with what is told only of a single one.
type merging struct {
	mergeRequest
	// Status is GitLab's whole view of it, which servers before 15.6 do not tell; Old is about conflicts alone.
	Status          string        `json:"detailed_merge_status"`
	Old             string        `json:"merge_status"`
	Error           string        `json:"merge_error"`
	Squash          bool          `json:"squash"`
	ThreadsResolved *bool         `json:"blocking_discussions_resolved"`
	Pipeline        *headPipeline `json:"head_pipeline"`
	User            struct {
		CanMerge *bool `json:"can_merge"`
	} `json:"user"`
}

// headPipeline is the pipeline that a merge may wait for. It may be a fork's, and of the result of a merge.
type headPipeline struct {
	ID      int64  `json:"id"`
	Project int64  `json:"project_id"`
	Ref     string `json:"ref"`
	SHA     string `json:"sha"`
	Status  string `json:"status"`
}

// isOfHead reports whether it is a pipeline of the merge request's head, or of the result of its merge. GitLab tells the
// last pipeline that there was, which may be of a commit before.
func (c *Client) isOfHead(ctx context.Context, op string, p *headPipeline, m mergeRequest) (bool, error) {
	switch {
	case p == nil || p.ID <= 0 || p.Project <= 0 || !rest.IsSHA(p.SHA):
		return false, nil
	case p.SHA == m.SHA:
		return true, nil
	case p.Ref != fmt.Sprintf("refs/merge-requests/%d/merge", m.IID):
		return false, nil
	}
	var result struct {
		Parents []string `json:"parent_ids"`
	}
	err := c.get(ctx, op, fmt.Sprintf("projects/%d/repository/commits/%s", p.Project, url.PathEscape(p.SHA)), nil, &result)
	if errors.Is(err, vcs.ErrNotFound) {
		err = nil
	}
	return slices.Contains(result.Parents, m.SHA), err
}

// project is what is read of one before a merge.
type project struct {
	SquashOption string `json:"squash_option"`
	MergeTrains  bool   `json:"merge_trains_enabled"`
}

// MergeMethods are what a merge can be asked for. Whether the base branch gets a merge commit or is moved forward is the
// project's own setting.
func (c *Client) MergeMethods() []vcs.MergeMethod {
	return []vcs.MergeMethod{vcs.MergeCommit, vcs.MergeSquash}
}

// Mergeable asks for GitLab's own view, and for the statuses of the pipeline where that is in the way.
func (c *Client) Mergeable(ctx context.Context, pull vcs.Pull, ours func(context string) bool) (vcs.Mergeable, error) {
	const op = "asking whether a merge request can be merged"
	if err := c.ours(pull.Repo); err != nil {
		return vcs.Mergeable{}, fmt.Errorf("%s: %w", op, err)
	}
	var can vcs.Mergeable
	_, err := rest.Poll(ctx, rest.PollTime, func() (bool, error) {
		m, now, err := c.read(ctx, op, pull.Repo, pull.Number)
		if err != nil {
			return false, err
		}
		can, err = c.judgeMerge(ctx, op, m, now, pull, ours)
		return can.State != vcs.MergeUnknown, err
	})
	if err != nil {
		return vcs.Mergeable{}, err
	}
	return can, nil
}

// read reads a merge request, whole.
func (c *Client) read(ctx context.Context, op string, repo vcs.Repo, number int) (merging, vcs.Pull, error) {
	var m merging
	if err := c.get(ctx, op, mergePath(repo, number), nil, &m); err != nil {
		return merging{}, vcs.Pull{}, err
	}
	now, err := c.pull(m.mergeRequest)
	now, err = rest.Wanted(op, repo, number, now, err)
	return m, now, err
}

// judgeMerge says what an answer means. It is vcs.MergeUnknown where another one may say more.
func (c *Client) judgeMerge(ctx context.Context, op string, m merging, now, read vcs.Pull, ours func(string) bool) (vcs.Mergeable, error) {
	no := func(why ...string) (vcs.Mergeable, error) {
		return rest.Blocked(why...), nil
	}
	if why := rest.StandsStill(now, read); why != nil {
		return no(why.Reason)
	}
	status := m.status()
	switch {
	case now.State == vcs.Merged:
		return no("it is merged already")
	case m.State == "locked":
		return vcs.Mergeable{State: vcs.MergeUnknown, Why: []string{isAtWork}}, nil
	case m.mayNot():
		return no("the account of the token may not merge into " + rest.Quote(m.TargetBranch))
	case isChecking(status):
		return vcs.Mergeable{State: vcs.MergeUnknown, Why: []string{"the forge is still working it out"}}, nil
	case status == "mergeable":
		return vcs.Mergeable{State: vcs.MergeReady}, nil
	case isPipeline(status):
		return c.judgePipeline(ctx, op, m, ours)
	}
	if why := obstacle(status, m.TargetBranch); why != "" {
		return no(why)
	}
	return vcs.Mergeable{State: vcs.MergeUnknown, Why: []string{"the forge says " + rest.Quote(status)}}, nil
}

func (m merging) mayNot() bool { return m.User.CanMerge != nil && !*m.User.CanMerge }

// status is GitLab's view, made of what there is where a server is too old to tell.
func (m merging) status() string {
	switch {
	case m.Status != "":
		return m.Status
	case m.Old != "can_be_merged" && m.Old != "cannot_be_merged":
		return "checking"
	case m.Old == "cannot_be_merged":
		return "conflict"
	case m.Draft || m.WorkInProgress:
		return "draft_status"
	case m.ThreadsResolved != nil && !*m.ThreadsResolved:
		return "discussions_not_resolved"
	}
	return "mergeable"
}

func isChecking(status string) bool {
	switch status {
	case "checking", "unchecked", "preparing", "approvals_syncing":
		return true
	}
	return false
}

func isPipeline(status string) bool { return status == "ci_must_pass" || status == "ci_still_running" }

// obstacle is a status that is not about pipelines, in words; "" for one that is not known.
// https://docs.gitlab.com/api/merge_requests/#merge-status
func obstacle(status, base string) string {
	base = rest.Quote(base)
	switch status {
	case "conflict":
		return "it has conflicts with " + base
	case "broken_status", "commits_status":
		return "its source branch is gone or has no commits, or it has conflicts with " + base
	case "need_rebase":
		return "it must be rebased onto " + base
	case "draft_status":
		return "it is a draft"
	case "not_approved":
		return "approvals that the project requires are missing"
	case "requested_changes":
		return "a reviewer asks for changes"
	case "discussions_not_resolved":
		return "it has threads that are not resolved"
	case "blocked_status", "merge_request_blocked":
		return "it waits for another merge request"
	case "external_status_checks", "status_checks_must_pass":
		return "external status checks have not passed"
	case "jira_association", "jira_association_missing":
		return "its title and description name no Jira issue"
	case "not_open":
		return "it is not open"
	case "policies_denied", "security_policy_violations", "security_policies_violations", "security_policy_pipeline_check":
		return "it is against a security policy"
	case "locked_paths", "locked_lfs_files":
		return "it changes files that somebody has locked"
	case "merge_time":
		return "the time that it must not be merged before has not come"
	case "title_regex", "title_not_matching":
		return "its title is not what the project wants"
	}
	return ""
}

// judgePipeline looks at what a pipeline that must succeed waits for, or has failed by, beside our own statuses.
func (c *Client) judgePipeline(ctx context.Context, op string, m merging, ours func(string) bool) (vcs.Mergeable, error) {
	of, err := c.isOfHead(ctx, op, m.Pipeline, m.mergeRequest)
	switch {
	case err != nil:
		return vcs.Mergeable{}, err
	case !of:
		return rest.Blocked("its head has no pipeline, and the project wants one that has succeeded"), nil
	}
	all, err := c.pipelineStatuses(ctx, op, *m.Pipeline)
	if err != nil {
		return vcs.Mergeable{}, err
	}
	var why []string
	mine := false
	for _, s := range all {
		switch {
		case !s.bad():
		case ours(s.Name) && c.hasSet(s):
			mine = true
		default:
			why = append(why, fmt.Sprintf("%s in its pipeline is %s", rest.Quote(s.Name), rest.Quote(s.Status)))
		}
	}
	switch {
	case len(why) > 0:
		return rest.Blocked(why...), nil
	case mine:
		return vcs.Mergeable{State: vcs.MergeReady}, nil
	}
	// All that is in it has succeeded, and GitLab may not have looked at that yet.
	return vcs.Mergeable{State: vcs.MergeUnknown, Why: []string{"its pipeline is " + rest.Quote(m.Pipeline.Status)}}, nil
}

// pipelineStatus is a job of a pipeline, or a status that was set.
type pipelineStatus struct {
	ID           int64    `json:"id"`
	Name         string   `json:"name"`
	Status       string   `json:"status"`
	Description  string   `json:"description"`
	AllowFailure bool     `json:"allow_failure"`
	Pipeline     int64    `json:"pipeline_id"`
	Author       *rawUser `json:"author"`
}

// hasSet tells a status that we have set, always with a description, from a job of that name, which has none and is of whoever has brought the
// pipeline about, and from what somebody else has set. https://docs.gitlab.com/api/commits/#list-the-statuses-of-a-commit
func (c *Client) hasSet(s pipelineStatus) bool {
	return s.Description != "" && (c.user == "" || s.Author == nil || strings.EqualFold(s.Author.Username, c.user))
}

// bad reports whether a pipeline has not succeeded because of it.
func (s pipelineStatus) bad() bool {
	switch s.Status {
	case "success", "skipped":
		return false
	case "failed", "canceled", "manual":
		return !s.AllowFailure
	}
	return true
}

// pipelineStatuses are all of a pipeline that GitLab counts, in the order in which they were made. It leaves out what was
// tried again. Of two with one name both count: a status that anybody sets may have the name of a job.
func (c *Client) pipelineStatuses(ctx context.Context, op string, p headPipeline) ([]pipelineStatus, error) {
	opts := &struct {
		gl.ListOptions
		Pipeline int64 `url:"pipeline_id"`
	}{Pipeline: p.ID}
	var all []pipelineStatus
	seen := map[int64]bool{}
	path := fmt.Sprintf("projects/%d/repository/commits/%s/statuses", p.Project, url.PathEscape(p.SHA))
	err := pages(op, &opts.ListOptions, func() (*gl.Response, error) {
		var some []pipelineStatus
		resp, err := c.readPage(ctx, op, path, opts, &some)
		for _, s := range some {
			another := s.Pipeline != 0 && s.Pipeline != p.ID // an older server tells those of all pipelines
			if !another && !seen[s.ID] {
				seen[s.ID] = true
				all = append(all, s)
			}
		}
		return resp, err
	})
	return all, err
}

// Merge merges as the project and the merge request are set, or with a method. One that the base branch's merge train is
// for is not merged past it.
func (c *Client) Merge(ctx context.Context, pull vcs.Pull, how vcs.Merging) error {
	const op = "merging a merge request"
	if err := c.ours(pull.Repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	m, done, err := c.settled(ctx, op, pull, how)
	if done || err != nil {
		return err
	}
	body, err := c.howToMerge(ctx, op, pull, m, how)
	if err != nil {
		return err
	}
	var said *gl.ErrorResponse
	err = c.rest.Write(ctx, op, pull.Repo.ID, rest.More, func(ctx context.Context) (*rest.Answer, error) {
		said = nil
		resp, err := c.once(ctx, http.MethodPut, mergePath(pull.Repo, pull.Number)+"/merge", body, nil)
		errors.As(err, &said)
		return answerOf(resp), err
	})
	if said == nil || !isRefusal(said.Response.StatusCode) {
		return err
	}
	if m, done, err = c.settled(ctx, op, pull, how); done || err != nil {
		return err
	}
	return c.whyNot(ctx, op, m, said)
}

// settled reads a merge request again and reports whether nothing is left to be asked for: it is merged at that head,
// and what else there was to do is done. The error says as well that it never will be.
func (c *Client) settled(ctx context.Context, op string, pull vcs.Pull, how vcs.Merging) (merging, bool, error) {
	m, now, err := c.read(ctx, op, pull.Repo, pull.Number)
	if err != nil {
		return merging{}, false, err
	}
	if why := rest.StandsStill(now, pull); why != nil {
		return merging{}, false, why
	}
	if now.State == vcs.Merged {
		if how.DeleteBranch {
			c.deleteBranch(ctx, now)
		}
		return merging{}, true, nil
	}
	return m, false, nil
}

// accept is what is asked of a merge.
type accept struct {
	SHA    string `json:"sha"`
	Squash *bool  `json:"squash,omitempty"`
	// Remove is sent even where it is false: what the merge request itself is set to would hold otherwise.
	Remove bool `json:"should_remove_source_branch"`
}

// howToMerge makes the request of what is wanted, or says that it can't be had here.
func (c *Client) howToMerge(ctx context.Context, op string, pull vcs.Pull, m merging, how vcs.Merging) (accept, error) {
	no := func(format string, args ...any) (accept, error) {
		return accept{}, &vcs.NotMergedError{Reason: fmt.Sprintf(format, args...)}
	}
	var p project
	if err := c.get(ctx, op, projectPath(pull.Repo), nil, &p); err != nil {
		return accept{}, err
	}
	body := accept{SHA: pull.Head.SHA}
	squash := how.Method == vcs.MergeSquash
	switch {
	case m.mayNot():
		return no("the account of the token may not merge into %s", rest.Quote(m.TargetBranch))
	case p.MergeTrains:
		return no("%s is merged by its merge train: add the merge request to the train on its page", rest.Quote(m.TargetBranch))
	case squash && p.SquashOption == "never":
		return no("the project never squashes")
	case how.Method == vcs.MergeCommit && p.SquashOption == "always":
		return no("the project always squashes")
	case squash:
		body.Squash = &squash
	case how.Method == vcs.MergeCommit && m.Squash:
		// GitLab takes no "no" with the merge.
		set := map[string]bool{"squash": false}
		if err := c.send(ctx, op, pull.Repo.ID, rest.Same, http.MethodPut, mergePath(pull.Repo, pull.Number), set, nil); err != nil {
			return accept{}, err
		}
	}
	body.Remove = how.DeleteBranch && c.useless(ctx, op, pull)
	return body, nil
}

// isRefusal reports whether GitLab has looked at the merge request, and will not merge it.
func isRefusal(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusConflict, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// whyNot says why it was not merged, by how it stands after that: GitLab's own words for it are always the same.
// https://docs.gitlab.com/api/merge_requests/#merge-a-merge-request
func (c *Client) whyNot(ctx context.Context, op string, m merging, said *gl.ErrorResponse) error {
	status, base := m.status(), rest.Quote(m.TargetBranch)
	no := &vcs.NotMergedError{Reason: fmt.Sprintf("the forge answers %d: %s", said.Response.StatusCode, rest.Quote(cmp.Or(c.rest.Clean(m.Error), c.words(said))))}
	switch code := said.Response.StatusCode; {
	case code == http.StatusConflict && isAnotherHead(said):
		no.Reason, no.Moved = "its head has moved", true
	case code == http.StatusConflict, m.State == "locked":
		no.Reason, no.Again = isAtWork, true
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		no.Reason = "the account of the token may not merge into " + base
	case isChecking(status):
		no.Reason, no.Again = "the forge is still working out whether it can be merged", true
	case isPipeline(status):
		can, err := c.judgePipeline(ctx, op, m, func(string) bool { return false })
		if err != nil {
			return err
		}
		no.Reason, no.Again = strings.Join(can.Why, "; "), can.State == vcs.MergeUnknown
	case obstacle(status, m.TargetBranch) != "":
		no.Reason = obstacle(status, m.TargetBranch)
	case code == http.StatusUnprocessableEntity:
		// It could be merged, and could not a moment ago: the base branch may have moved.
		no.Again = true
	}
	return no
}

// isAnotherHead tells one kind of conflict from a lock that somebody holds.
func isAnotherHead(said *gl.ErrorResponse) bool {
	return strings.Contains(strings.ToLower(said.Message), "sha does not match")
}

// useless reports whether nobody needs the source branch after the merge. What GitLab itself would see, it leaves to
// GitLab: that the branch has moved on, or is protected.
func (c *Client) useless(ctx context.Context, op string, pull vcs.Pull) bool {
	if pull.Fork() || pull.Head.Ref == pull.Base.Ref {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, rest.TidyTime)
	defer cancel()
	for _, some := range []openMerges{{Target: pull.Head.Ref}, {Source: pull.Head.Ref}} {
		if needed, err := c.needed(ctx, op, pull, some); needed || err != nil {
			return false
		}
	}
	return true
}

// openMerges asks for merge requests that are open, into a branch or from branches of that name, which may be forks'.
type openMerges struct {
	gl.ListOptions
	State  string `url:"state"`
	Target string `url:"target_branch,omitempty"`
	Source string `url:"source_branch,omitempty"`
}

// needed reports whether another merge request than that one is among some, and needs its branch.
func (c *Client) needed(ctx context.Context, op string, pull vcs.Pull, some openMerges) (needed bool, err error) {
	some.State = "opened"
	err = pages(op, &some.ListOptions, func() (*gl.Response, error) {
		var page []mergeRequest
		resp, err := c.readPage(ctx, op, projectPath(pull.Repo)+"/merge_requests", &some, &page)
		if err != nil {
			return nil, err
		}
		needed = slices.ContainsFunc(page, func(m mergeRequest) bool {
			return m.IID != int64(pull.Number) && (m.TargetBranch == pull.Head.Ref || m.SourceProjectID == pull.Repo.ID.ID)
		})
		if needed {
			return last(resp), nil
		}
		return resp, nil
	})
	return needed, err
}

// deleteBranch deletes the source branch of what is merged already. That it can't is no error.
func (c *Client) deleteBranch(ctx context.Context, pull vcs.Pull) {
	const op = "deleting the branch of what is merged"
	ctx, cancel := context.WithTimeout(ctx, rest.TidyTime)
	defer cancel()
	path := projectPath(pull.Repo) + "/repository/branches/" + gl.PathEscape(pull.Head.Ref)
	var branch struct {
		Commit struct {
			ID string `json:"id"`
		} `json:"commit"`
		Protected bool `json:"protected"`
		Default   bool `json:"default"`
	}
	err := c.get(ctx, op, path, nil, &branch)
	if err == nil && branch.Commit.ID == pull.Head.SHA && !branch.Protected && !branch.Default && c.useless(ctx, op, pull) {
		err = c.send(ctx, op, pull.Repo.ID, rest.Same, http.MethodDelete, path, nil, nil)
	}
	if err != nil && !errors.Is(err, vcs.ErrNotFound) {
		c.rest.Forgo(ctx, op, pull.Repo, pull.Number, err)
	}
}
