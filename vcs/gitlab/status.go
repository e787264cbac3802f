package gitlab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	gl "github.com/xanzy/go-gitlab"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/internal/rest"
)

const (
	// descriptionLimit is what GitLab takes of a status's description, in characters.
	descriptionLimit = 255
	// pipelineWait is how long GitLab may take to make a commit's pipeline, and pipelineLooks how often that is waited for.
	pipelineWait  = 2 * time.Second
	pipelineLooks = 2
	// targetTime is how long a commit's target is taken for what it was: statuses that come together go to one place,
	// and a run ends in a pipeline that was made since it began.
	targetTime = 5 * time.Second
)

// target is where a commit's statuses go.
type target struct {
	// ref is the pipeline's own, or the source branch where there is no pipeline yet.
	ref string
	// pipeline is 0 where GitLab is to make one for us.
	pipeline int64
	// result is the commit of a pipeline that is not of the commit itself, but of the result of its merge; or "".
	result string
}

// status is what is written of one.
type status struct {
	State       string `json:"state"`
	Name        string `json:"name"`
	Description string `json:"description"`
	TargetURL   string `json:"target_url,omitempty"`
	Ref         string `json:"ref,omitempty"`
	PipelineID  int64  `json:"pipeline_id,omitempty"`
}

// SetStatus sets a commit status, in the commit's own pipeline where it has one. Its description is cut to what
// the forge takes. https://docs.gitlab.com/api/commits/#set-commit-pipeline-status
func (c *Client) SetStatus(ctx context.Context, repo vcs.Repo, sha string, s vcs.Status) error {
	const op = "setting a status"
	if err := c.ours(repo); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !rest.IsSHA(sha) {
		return fmt.Errorf("%s: %q is no commit: %w", op, sha, vcs.ErrNotFound)
	}
	state, ok := map[vcs.StatusState]string{vcs.Pending: "pending", vcs.Success: "success", vcs.Failure: "failed"}[s.State]
	if !ok {
		return fmt.Errorf("%s: %q is no state: %w", op, s.State, vcs.ErrRefused)
	}
	body := status{State: state, Name: s.Context, Description: cmp.Or(rest.CutText(s.Description, descriptionLimit), state), TargetURL: s.URL}
	to, err := c.target(ctx, op, repo, sha)
	if err != nil {
		return err
	}
	err = c.postStatus(ctx, op, repo, sha, body, to)
	if to.result != "" && (errors.Is(err, vcs.ErrNotFound) || errors.Is(err, vcs.ErrRefused)) {
		// A status of the commit is better than none.
		known, _ := c.targets.find(repo.ID, sha)
		return c.postStatus(ctx, op, repo, sha, body, target{ref: known.branch})
	}
	if to.pipeline == 0 || !errors.Is(err, vcs.ErrNotFound) {
		return err
	}
	// The pipeline may have been deleted meanwhile.
	c.targets.doubt(repo.ID, sha)
	now, again := c.target(ctx, op, repo, sha)
	if again != nil || now == to {
		return err
	}
	return c.postStatus(ctx, op, repo, sha, body, now)
}

func (c *Client) postStatus(ctx context.Context, op string, repo vcs.Repo, sha string, body status, to target) error {
	body.Ref, body.PipelineID = to.ref, to.pipeline
	path := fmt.Sprintf("%s/statuses/%s", projectPath(repo), url.PathEscape(cmp.Or(to.result, sha)))
	post := func(state string) (stands bool, err error) {
		body.State = state
		err = c.rest.Write(ctx, op, repo.ID, rest.Same, func(ctx context.Context) (*rest.Answer, error) {
			resp, err := c.once(ctx, http.MethodPost, path, body, nil)
			if stands = isStanding(err); stands {
				err = nil
			}
			return answerOf(resp), err
		})
		return stands, err
	}
	stands, err := post(body.State)
	if err != nil || !stands {
		return err
	}
	// What is pending takes no new description, unless it begins to run; what runs takes none but with an end, after which there
	// is another one of that name.
	if stands, err = post("running"); err != nil || !stands {
		return err
	}
	if _, err = post("canceled"); err != nil {
		return err
	}
	_, err = post("pending")
	return err
}

// isStanding reports whether GitLab refuses to make pending or running what is that already.
func isStanding(err error) bool {
	var answer *gl.ErrorResponse
	if !errors.As(err, &answer) || answer.Response.StatusCode != http.StatusBadRequest {
		return false
	}
	return strings.Contains(answer.Message, "Cannot transition status via :enqueue from :") || strings.Contains(answer.Message, "Cannot transition status via :run from :running")
}

// target finds where a commit's statuses go. Without a reference GitLab would take any branch that has the commit;
// with one it looks only at pipelines of that reference.
func (c *Client) target(ctx context.Context, op string, repo vcs.Repo, sha string) (target, error) {
	known, waited := c.targets.find(repo.ID, sha)
	if waited && time.Since(known.at) < targetTime {
		return known.to, nil
	}
	now, own, err := c.pipeline(ctx, op, repo, sha)
	if err != nil {
		return target{}, err
	}
	branch, open := known.branch, known.open
	if !own && branch == "" {
		if branch, open, err = c.source(ctx, op, repo, sha); err != nil {
			return target{}, err
		}
	}
	for look := 0; !own && !waited && look < pipelineLooks; look++ {
		if err := rest.Sleep(ctx, pipelineWait); err != nil {
			return target{}, fmt.Errorf("%s: waiting for a pipeline: %w", op, err)
		}
		if now, own, err = c.pipeline(ctx, op, repo, sha); err != nil {
			return target{}, err
		}
	}
	if !own && open != 0 {
		result, err := c.resultPipeline(ctx, op, repo, sha, open)
		if err != nil {
			return target{}, err
		}
		if result.pipeline != 0 {
			now = result
		}
	}
	if now.pipeline == 0 {
		now.ref = branch
	}
	c.targets.keep(repo.ID, sha, finding{now, branch, open, time.Now()})
	return now, nil
}

// resultPipeline finds the pipeline of the result of a merge, which a project may have instead of one of the head: that
// is what GitLab shows then, and waits for. It is no target where there is none that is known to be of this head.
// https://docs.gitlab.com/ci/pipelines/merged_results_pipelines/
func (c *Client) resultPipeline(ctx context.Context, op string, repo vcs.Repo, sha string, number int) (target, error) {
	var m merging
	err := c.get(ctx, op, mergePath(repo, number), nil, &m)
	if p := m.Pipeline; err == nil && p != nil && m.SHA == sha && p.SHA != sha && p.Project == repo.ID.ID {
		of, err := c.isOfHead(ctx, op, p, m.mergeRequest)
		if !of {
			return target{}, err
		}
		return target{ref: p.Ref, pipeline: p.ID, result: p.SHA}, nil
	}
	if errors.Is(err, vcs.ErrNotFound) || errors.Is(err, vcs.ErrRefused) {
		err = nil
	}
	return target{}, err
}

// pipeline finds a commit's pipeline: rather the merge request's own than the branch's, and the newest of these. own is
// false for one that statuses alone have made: GitLab may still make another.
func (c *Client) pipeline(ctx context.Context, op string, repo vcs.Repo, sha string) (to target, own bool, err error) {
	var all []struct {
		ID     int64  `json:"id"`
		Ref    string `json:"ref"`
		SHA    string `json:"sha"`
		Source string `json:"source"`
	}
	opts := struct {
		gl.ListOptions
		SHA     string `url:"sha"`
		OrderBy string `url:"order_by"`
		Sort    string `url:"sort"`
	}{gl.ListOptions{PerPage: perPage}, sha, "id", "desc"}
	if err := c.get(ctx, op, projectPath(repo)+"/pipelines", opts, &all); err != nil {
		// Where CI is switched off there is none, and who may set statuses may not see it.
		if errors.Is(err, vcs.ErrRefused) || errors.Is(err, vcs.ErrNotFound) {
			err = nil
		}
		return target{}, false, err
	}
	best := 0
	for _, p := range all {
		rank := 2
		switch p.Source {
		case "merge_request_event":
			rank = 3
		case "external":
			rank = 1
		case "parent_pipeline":
			rank = 0
		}
		if p.SHA == sha && p.ID > 0 && p.Ref != "" && rank > best {
			best, to = rank, target{ref: p.Ref, pipeline: p.ID}
		}
	}
	return to, best > 1, nil
}

// source is the source branch of the merge request whose head a commit is, "" where there is none, and the number of that
// one if it is open.
func (c *Client) source(ctx context.Context, op string, repo vcs.Repo, sha string) (branch string, open int, err error) {
	var all []mergeRequest
	path := fmt.Sprintf("%s/repository/commits/%s/merge_requests", projectPath(repo), url.PathEscape(sha))
	if err := c.get(ctx, op, path, &gl.ListOptions{PerPage: perPage}, &all); err != nil {
		return "", 0, err
	}
	for _, m := range all {
		if m.SHA != sha || !rest.IsRef(m.SourceBranch) || !rest.IsNumber(m.IID) {
			continue
		}
		if m.State == "opened" {
			return m.SourceBranch, int(m.IID), nil
		}
		branch = m.SourceBranch
	}
	return branch, 0, nil
}

// maxTargets is how many commits' targets are kept.
const maxTargets = 1000

type commit struct {
	repo vcs.RepoID
	sha  string
}

// finding is a target with the time when it was found. One that is not the commit's own pipeline was waited for.
type finding struct {
	to target
	// branch is the commit's source branch, and open the number of its open merge request, if that was asked for.
	branch string
	open   int
	at     time.Time
}

// targets are those that were found.
type targets struct {
	mu    sync.Mutex
	found map[commit]finding
}

func (t *targets) find(repo vcs.RepoID, sha string) (f finding, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok = t.found[commit{repo, sha}]
	return f, ok
}

func (t *targets) keep(repo vcs.RepoID, sha string, f finding) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.found == nil || len(t.found) >= maxTargets {
		t.found = map[commit]finding{}
	}
	t.found[commit{repo, sha}] = f
}

// doubt has a commit's target found anew.
func (t *targets) doubt(repo vcs.RepoID, sha string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := commit{repo, sha}
	if f, ok := t.found[key]; ok {
		f.at = time.Time{}
		t.found[key] = f
	}
}
