package gitlab_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitlab"
	"github.com/tidegate/tidegate/vcs/gitlab/gitlabtest"
	"github.com/tidegate/tidegate/vcs/vcstest"
)

const bot = "tidegate-bot"

// stand is a stand-in with a project three groups deep and one merge request.
type stand struct {
	*gitlabtest.Server
	project *gitlabtest.Project
	merge   *gitlabtest.Merge
	client  *gitlab.Client
	// merges are those that were opened later.
	merges map[int]*gitlabtest.Merge
}

func newStand(tb testing.TB) *stand {
	tb.Helper()
	s := &stand{Server: gitlabtest.New(tb), merges: map[int]*gitlabtest.Merge{}}
	for _, name := range []string{"ana", "raj", "root", "eve", "mallory"} {
		s.AddUser(name, "")
	}
	s.AddUser(bot, botToken)
	s.project = s.AddProject("acme/live/eu-1/infra.core")
	// Members by every way: of the project, of its group, of groups further up, and of two at once.
	s.AddMember("acme/live/eu-1/infra.core", "ana", 30)
	s.AddMember("acme", "ana", 10)
	s.AddMember("acme/live", "raj", 30)
	s.AddMember("acme", "root", 50)
	s.AddMember("acme/live/eu-1", "eve", 20)
	s.AddMember("acme", bot, 40)
	s.AddMember("acme/live-not", "mallory", 50)
	s.merge = s.project.AddMerge("ana", "Draft: Grow the <cluster>", "grow", "main")
	s.merge.Set(func(f *gitlabtest.Facts) { f.Draft = true })
	s.project.AddPipeline(s.merge.Head(), "grow", "push")
	s.client = client(tb, gitlab.Config{APIURL: s.URL})
	return s
}

// pull is how the merge request must read.
func (s *stand) pull(tb testing.TB) vcs.Pull {
	tb.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		tb.Fatal(err)
	}
	id := vcs.RepoID{Forge: u.Host, ID: s.project.ID()}
	page := s.URL + "/acme/live/eu-1/infra.core"
	return vcs.Pull{
		Repo:   vcs.Repo{ID: id, Owner: "acme/live/eu-1", Name: "infra.core", CloneURL: page + ".git", URL: page},
		Number: 1, Title: "Draft: Grow the <cluster>", Author: "ana", URL: page + "/-/merge_requests/1", State: vcs.Open, Draft: true,
		Head: vcs.Branch{Ref: "grow", SHA: s.merge.Head(), Repo: id}, Base: vcs.Branch{Ref: "main", SHA: s.merge.Base(), Repo: id},
		HeadRef: "refs/merge-requests/1/head",
	}
}

func (s *stand) kit(tb testing.TB) vcstest.Kit {
	tb.Helper()
	return vcstest.Kit{
		Forge: s.client, Pull: s.pull(tb), ByID: true, Hooker: s.client,
		Bot: bot, Author: "ana", Writer: "raj", Admin: "root", Reader: "eve", Stranger: "mallory",
		Comment:      func(_ testing.TB, user, body string) int64 { return s.merge.AddNote(user, body) },
		Conversation: s.conversation, Statuses: s.statuses,
		Push: func(testing.TB) string {
			sha := s.merge.Push()
			s.project.AddPipeline(sha, "refs/merge-requests/1/head", "merge_request_event")
			return sha
		},
		Another: s.another, Require: s.require,
		BranchSHA: func(_ testing.TB, branch string) string { return s.project.Branch(branch) },
		Clash: func(_ testing.TB, p vcs.Pull) {
			s.merges[p.Number].Set(func(f *gitlabtest.Facts) { f.Conflicts = true })
		},
		Close: func(testing.TB) { s.merge.Set(func(f *gitlabtest.Facts) { f.State = "closed" }) },
		Review: func(_ testing.TB, user string, v vcstest.Verdict) int64 {
			s.merge.Review(user, map[vcstest.Verdict]string{vcstest.Approve: "approve", vcstest.RequestChanges: "request_changes", vcstest.Remarks: "comment"}[v])
			return 0
		},
	}
}

// another opens a merge request from a branch of its own, which has a pipeline.
func (s *stand) another(tb testing.TB) vcs.Pull {
	tb.Helper()
	branch := fmt.Sprint("more-", len(s.merges))
	m := s.project.AddMerge("ana", branch, branch, "main")
	s.project.AddPipeline(m.Head(), branch, "push")
	s.merges[m.Number()] = m
	p, err := s.client.Pull(tb.Context(), s.pull(tb).Repo, m.Number())
	must(tb, err)
	return p
}

// require has merge requests wait for their pipelines, in which the jobs stand that are not ours.
func (s *stand) require(_ testing.TB, contexts ...string) {
	s.project.SetRules(gitlabtest.Rules{Pipeline: len(contexts) > 0})
	s.project.AddJobs(slices.DeleteFunc(contexts, ours)...)
}

func ours(name string) bool { return strings.HasPrefix(name, "tidegate/") }

func (s *stand) conversation(testing.TB) []vcstest.Remark {
	var all []vcstest.Remark
	for _, n := range s.merge.Notes() {
		if !n.System {
			all = append(all, vcstest.Remark{ID: n.ID, Author: n.Author, Body: n.Body, Reactions: n.Emoji, Folded: strings.HasPrefix(n.Body, "<details>")})
		}
	}
	return all
}

// statesOf are GitLab's states in our words.
var statesOf = map[string]vcs.StatusState{"pending": vcs.Pending, "running": vcs.Pending, "success": vcs.Success, "failed": vcs.Failure} //nolint:gochecknoglobals // a constant table

func (s *stand) statuses(_ testing.TB, sha string) map[string]vcs.Status {
	all := map[string]vcs.Status{}
	for name, st := range s.project.Statuses(sha) {
		all[name] = vcs.Status{Context: name, State: statesOf[st.State], Description: st.Description, URL: st.URL}
	}
	return all
}

func TestExercise(t *testing.T) {
	t.Parallel()
	vcstest.Exercise(t, newStand(t).kit(t))
}
