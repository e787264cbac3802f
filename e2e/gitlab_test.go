package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate/tidegate/vcs/gitlab/gitlabtest"
)

// notOnGitLab are the stories that a GitLab can't tell, and why.
func notOnGitLab() map[string]string {
	return map[string]string{
		"sixty":        "sixty long plans fit into one note, which may have a million characters",
		"hostile_home": "it runs the demo, which brings a forge of its own",
		"branch_gone":  "a merge request stays open when its branch is deleted",
	}
}

// TestStoriesOnGitLab tells the same stories in GitLab's dialect, on a stand-in whose answers and webhooks are those that
// GitLab's were recorded as.
func TestStoriesOnGitLab(t *testing.T) {
	t.Parallel()
	storiesOn(t, "gitlab", notOnGitLab(), func(tb testing.TB, dir string) forge { tb.Helper(); return newGitLab(tb, dir) })
}

// gitlabForge is a GitLab of the story's own.
type gitlabForge struct {
	*gitlabtest.Server
	project *gitlabtest.Project
	at      string // the project's path
}

// The levels of members. https://docs.gitlab.com/api/access_requests/#valid-access-levels
const (
	reporter, developer, maintainer, groupOwner = 20, 30, 40, 50
)

// newGitLab starts a GitLab with everybody and the project. The bot maintains it: others are not told of webhooks.
func newGitLab(tb testing.TB, dir string) *gitlabForge {
	tb.Helper()
	f := &gitlabForge{Server: gitlabtest.NewWithGit(tb, filepath.Join(dir, "forge"))}
	for _, user := range []string{owner, ana, raj, eve, "mallory"} {
		f.AddPerson(user, f.token(user))
	}
	f.AddUser(bot, f.token(bot))
	must(tb, f.move(owner+"/"+name))
	return f
}

// move makes a project with everybody, which is the story's from now on. Its pipelines have a job that is of no interest.
func (f *gitlabForge) move(to string) error {
	f.project, f.at = f.AddProject(to), to
	for user, level := range map[string]int{owner: groupOwner, ana: developer, raj: developer, eve: reporter, bot: maintainer} {
		f.AddMember(to, user, level)
	}
	f.project.SetJobs([]string{"build"}, nil)
	return f.as(owner)(http.MethodPost, f.path("/hooks"), map[string]any{
		"url": "http://127.0.0.1:1/events", "token": webhookSecret, "merge_requests_events": true, "note_events": true, "enable_ssl_verification": true,
	}, nil)
}

func (f *gitlabForge) api() string  { return f.URL + "/api/v4" }
func (f *gitlabForge) host() string { return strings.TrimPrefix(f.URL, "http://") }

func (f *gitlabForge) token(user string) string {
	if user == bot {
		return botToken
	}
	return user + "-token"
}

func (f *gitlabForge) renew(_ testing.TB, to string) (string, error) {
	f.SetToken(bot, to)
	return to, nil
}

func (f *gitlabForge) bot() string { return bot }

func (f *gitlabForge) as(user string) asks {
	w := &world{forge: f}
	return w.as(user)
}

func (f *gitlabForge) path(below string) string { return "/projects/" + url.PathEscape(f.at) + below }

func (f *gitlabForge) mergePath(number, below string) string {
	return f.path("/merge_requests/" + number + below)
}

func (f *gitlabForge) references() (mark, pages string) { return "!", "-/merge_requests" }

func (f *gitlabForge) cloneURL(user string) string { return f.cloneOf(user, f.at) }

func (f *gitlabForge) cloneOf(user, repo string) string {
	u := url.URL{Scheme: "http", Host: f.host(), User: url.UserPassword(user, f.token(user)), Path: "/" + repo + ".git"}
	return u.String()
}

func (f *gitlabForge) found(_ testing.TB, repo string) error {
	f.AddProject(repo)
	f.AddMember(repo, ana, developer)
	f.AddMember(repo, bot, reporter)
	return nil
}

func (f *gitlabForge) serving(secrets string) []string {
	return []string{
		"--gitlab-api-url", f.URL, "--gitlab-user", bot,
		"--gitlab-token-file", filepath.Join(secrets, "token"), "--gitlab-webhook-secret-file", filepath.Join(secrets, "webhook"),
	}
}

func (f *gitlabForge) target(events string) error {
	f.project.SetWebhook(0, func(h *gitlabtest.Webhook) { h.URL = events })
	return nil
}

func (f *gitlabForge) sign(h http.Header, event, id, secret string, _ []byte) {
	h.Set("X-Gitlab-Event", event)
	h.Set("X-Gitlab-Event-UUID", id)
	if secret != "" {
		h.Set("X-Gitlab-Token", secret)
	}
}

func (f *gitlabForge) settle() error             { return nil }
func (f *gitlabForge) undelivered() (int, error) { return f.Undelivered(), nil }

func (f *gitlabForge) redeliver(newIDs bool) error {
	f.project.Redeliver(newIDs)
	return nil
}

func (f *gitlabForge) open(as asks, title, head, base string) (int, error) {
	var got struct{ IID int }
	err := as(http.MethodPost, f.path("/merge_requests"), map[string]any{"title": title, "source_branch": head, "target_branch": base}, &got)
	return got.IID, err
}

func (f *gitlabForge) pull(as asks, number string) (pullNow, error) {
	var got struct{ State, SHA string }
	err := as(http.MethodGet, f.mergePath(number, ""), nil, &got)
	return pullNow{map[string]string{"opened": "open"}[got.State] + map[string]string{"closed": "closed", "merged": "merged"}[got.State], got.SHA}, err
}

func (f *gitlabForge) set(as asks, pull, key, value string) error {
	switch key {
	case "state":
		key, value = "state_event", map[string]string{"closed": "close", "open": "reopen"}[value]
	case "base":
		key = "target_branch"
	}
	return as(http.MethodPut, f.mergePath(pull, ""), map[string]string{key: value}, nil)
}

func (f *gitlabForge) comment(as asks, pull, text string) error {
	return as(http.MethodPost, f.mergePath(pull, "/notes"), map[string]string{"body": text}, nil)
}

func (f *gitlabForge) comments(as asks, pull int) ([]comment, error) {
	var all []comment
	for page := 1; ; page++ {
		var some []struct {
			ID        int64
			Body      string
			Author    struct{ Username string }
			System    bool
			CreatedAt time.Time `json:"created_at"`
		}
		err := as(http.MethodGet, f.mergePath(strconv.Itoa(pull), fmt.Sprintf("/notes?sort=asc&per_page=100&page=%d", page)), nil, &some)
		if err != nil {
			return nil, err
		}
		for _, n := range some {
			if n.System {
				continue
			}
			c := comment{ID: n.ID, Body: n.Body, CreatedAt: n.CreatedAt}
			c.User.Login = n.Author.Username
			all = append(all, c)
		}
		if len(some) < 100 {
			return all, nil
		}
	}
}

func (f *gitlabForge) branch(as asks, name string) error {
	return as(http.MethodGet, f.path("/repository/branches/"+url.PathEscape(name)), nil, nil)
}

// The states of GitHub in GitLab's words.
var gitlabStates = map[string]string{"pending": "pending", "success": "success", "failure": "failed"} //nolint:gochecknoglobals // a constant table

func (f *gitlabForge) check(as asks, sha, context, state string) error {
	return as(http.MethodPost, f.path("/statuses/"+sha), map[string]string{"name": context, "state": gitlabStates[state]}, nil)
}

func (f *gitlabForge) statuses(as asks, sha string) ([]status, error) {
	var list []struct{ Status, Name, Description string }
	err := as(http.MethodGet, f.path("/repository/commits/"+sha+"/statuses?per_page=100"), nil, &list)
	var out []status
	for _, s := range slices.Backward(list) {
		if s.Status == "running" {
			s.Status = "pending"
		}
		for ours, theirs := range gitlabStates {
			if s.Status == theirs {
				out = append(out, status{State: ours, Context: s.Name, Description: s.Description})
			}
		}
	}
	return out, err
}

// merge waits until the forge has looked whether it can.
func (f *gitlabForge) merge(as asks, pull string) error {
	for {
		var now struct {
			Status string `json:"detailed_merge_status"`
		}
		if err := as(http.MethodGet, f.mergePath(pull, ""), nil, &now); err != nil {
			return err
		}
		if now.Status != "checking" {
			return as(http.MethodPut, f.mergePath(pull, "/merge"), nil, nil)
		}
	}
}

// protect has the project's merge requests wait for their pipelines, in which the statuses that are not ours go on until
// somebody sets them.
func (f *gitlabForge) protect(_ string, contexts []string) error {
	f.project.SetRules(gitlabtest.Rules{Pipeline: len(contexts) > 0})
	others := slices.DeleteFunc(slices.Clone(contexts), func(c string) bool { return strings.HasPrefix(c, "tidegate/") })
	f.project.SetJobs([]string{"build"}, others)
	f.project.AddJobs(others...)
	return nil
}

func (f *gitlabForge) merging(pull string) (*gitlabtest.Merge, error) {
	n, err := strconv.Atoi(pull)
	if err != nil {
		return nil, err
	}
	m := f.project.Merge(n)
	if m == nil {
		return nil, fmt.Errorf("there is no !%d", n)
	}
	return m, nil
}

// review approves by the API. That changes are wanted is said on GitLab's pages alone.
func (f *gitlabForge) review(as asks, pull, event string) error {
	if event == "APPROVE" {
		return as(http.MethodPost, f.mergePath(pull, "/approve"), nil, nil)
	}
	var me struct{ Username string }
	if err := as(http.MethodGet, "/user", nil, &me); err != nil {
		return err
	}
	m, err := f.merging(pull)
	if err == nil {
		m.Review(me.Username, map[string]string{"REQUEST_CHANGES": "request_changes", "COMMENT": "comment"}[event])
	}
	return err
}

func (f *gitlabForge) dismiss(as asks, pull string) (int, error) {
	var all []struct {
		User  struct{ Username string }
		State string
	}
	m, err := f.merging(pull)
	if err == nil {
		err = as(http.MethodGet, f.mergePath(pull, "/reviewers"), nil, &all)
	}
	n := 0
	for _, r := range all {
		if r.State == "approved" || r.State == "requested_changes" {
			m.Review(r.User.Username, "unapprove")
			n++
		}
	}
	return n, err
}

const gitlabDraft = "Draft: "

func (f *gitlabForge) setDraft(as asks, pull int, draft bool) error {
	at := f.mergePath(strconv.Itoa(pull), "")
	var now struct{ Title string }
	if err := as(http.MethodGet, at, nil, &now); err != nil {
		return err
	}
	title := strings.TrimPrefix(now.Title, gitlabDraft)
	if draft {
		title = gitlabDraft + title
	}
	return as(http.MethodPut, at, map[string]string{"title": title}, nil)
}

func (f *gitlabForge) folded(pull int) (int, error) {
	all, err := f.comments(f.as(ana), pull)
	n := 0
	for _, c := range all {
		if c.User.Login == bot && strings.HasPrefix(c.Body, "<details>\n<summary>Outdated</summary>") {
			n++
		}
	}
	return n, err
}

func (f *gitlabForge) close() { f.Close() }

// onGitLab are commands for what only a GitLab knows.
func onGitLab(do func(*testscript.TestScript, *world, *gitlabForge, []string) error) func(*testscript.TestScript, *world, []string) error {
	return func(ts *testscript.TestScript, w *world, args []string) error {
		f, ok := w.forge.(*gitlabForge)
		if !ok {
			return errors.New("the forge is no GitLab")
		}
		return do(ts, w, f, args)
	}
}

// project PATH DIR: the story goes on in another project, with everybody and the files of DIR on main.
func cmdProject(ts *testscript.TestScript, w *world, f *gitlabForge, args []string) error {
	if err := need(args, 2, "project PATH DIR"); err != nil {
		return err
	}
	if err := f.move(args[0]); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "clone")); err != nil {
		return err
	}
	_, err := w.push("main", ts.MkAbs(args[1]), "main")
	return err
}

// rename PATH: the project gets another path, and other groups with it.
func cmdRename(_ *testscript.TestScript, _ *world, f *gitlabForge, args []string) error {
	if err := need(args, 1, "rename PATH"); err != nil {
		return err
	}
	f.project.Rename(args[0])
	f.at = args[0]
	return nil
}

// publish: everybody may see the project and comment in it.
func cmdPublish(_ *testscript.TestScript, _ *world, f *gitlabForge, _ []string) error {
	f.project.Publish()
	return nil
}

// pipelines none, pipelines merge N: pushes make no pipeline any more; the merge request gets one of its own.
func cmdPipelines(_ *testscript.TestScript, w *world, f *gitlabForge, args []string) error {
	if err := need(args, 1, "pipelines none | pipelines merge N"); err != nil {
		return err
	}
	if len(args) < 2 {
		f.project.SetJobs(nil, nil)
		return nil
	}
	pull, err := w.pull(args[1])
	if err == nil {
		f.project.AddPipeline(pull.SHA, fmt.Sprintf("refs/merge-requests/%s/head", args[1]), "merge_request_event")
		f.project.AddJobs("build")
	}
	return err
}

// pipeline N SOURCE NAME...: the newest pipeline of the head was made for that, and has these statuses and jobs.
func cmdPipeline(_ *testscript.TestScript, w *world, f *gitlabForge, args []string) error {
	if err := need(args, 2, "pipeline N SOURCE NAME..."); err != nil {
		return err
	}
	pull, err := w.pull(args[0])
	if err != nil {
		return err
	}
	var pipes []struct {
		ID     int64
		Source string
	}
	if err := w.as(ana)(http.MethodGet, f.path("/pipelines?sha="+pull.SHA), nil, &pipes); err != nil {
		return err
	}
	if len(pipes) == 0 || pipes[0].Source != args[1] {
		return fmt.Errorf("the pipelines are %v", pipes)
	}
	var list []struct{ Name string }
	path := fmt.Sprintf("/repository/commits/%s/statuses?pipeline_id=%d&per_page=100", pull.SHA, pipes[0].ID)
	if err := w.as(ana)(http.MethodGet, f.path(path), nil, &list); err != nil {
		return err
	}
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, args[2:]) {
		return fmt.Errorf("it has %q", names)
	}
	return nil
}
