package vcstest

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs"
)

func (s *story) read() vcs.Pull {
	s.Helper()
	p, err := s.Forge.Pull(s.ctx, s.Pull.Repo, s.Pull.Number)
	if err != nil {
		s.Fatalf("Pull() error = %v", err)
	}
	return p
}

func (s *story) pull() {
	got := s.read()
	if diff := cmp.Diff(s.Pull, got); diff != "" {
		s.Errorf("Pull() differs (-want +got):\n%s", diff)
	}
	if got.Fork() {
		s.Error("Pull().Fork() = true, want false")
	}
	if got.Repo.ID.Forge != s.Forge.Site().Instance {
		s.Errorf("Pull() is of the forge %q, want that of Site(), %q", got.Repo.ID.Forge, s.Forge.Site().Instance)
	}
	sha := s.Push(s.T)
	if got := s.read().Head.SHA; got != sha {
		s.Errorf("after a push Pull().Head.SHA = %s, want %s", got, sha)
	}
	if _, err := s.Forge.Pull(s.ctx, s.Pull.Repo, 999_999); !errors.Is(err, vcs.ErrNotFound) {
		s.Errorf("Pull(no such number) error = %v, want ErrNotFound", err)
	}
	other := s.Pull.Repo
	other.Name += "-that-is-not-there"
	switch found, err := s.Forge.Pull(s.ctx, other, s.Pull.Number); {
	case !s.ByID && !errors.Is(err, vcs.ErrNotFound):
		s.Errorf("Pull(no such repository) error = %v, want ErrNotFound", err)
	case s.ByID && (err != nil || found.Repo != s.Pull.Repo):
		s.Errorf("Pull(a name that is not there, an id that is) = %+v, %v, want it in %+v", found, err, s.Pull.Repo)
	}
	other = s.Pull.Repo
	other.ID.ID = noID
	if _, err := s.Forge.Pull(s.ctx, other, s.Pull.Number); !errors.Is(err, vcs.ErrNotFound) {
		s.Errorf("Pull(the name of another repository) error = %v, want ErrNotFound", err)
	}
}

func (s *story) statuses() {
	sha := s.read().Head.SHA
	set := func(st vcs.Status) {
		s.Helper()
		if err := s.Forge.SetStatus(s.ctx, s.Pull.Repo, sha, st); err != nil {
			s.Errorf("SetStatus(%+v) error = %v", st, err)
		}
	}
	want := map[string]vcs.Status{}
	for _, st := range []vcs.Status{
		{Context: "tidegate/plan", State: vcs.Pending, Description: "planning 2 projects"},
		{Context: "tidegate/apply", State: vcs.Failure, Description: "1 of 2 failed", URL: "https://tidegate.example.com/runs/1"},
		{Context: "tidegate/plan", State: vcs.Success, Description: "+1 ~2 −3", URL: "https://tidegate.example.com/runs/2"},
	} {
		set(st)
		want[st.Context] = st
	}
	if diff := cmp.Diff(want, s.Statuses(s.T, sha)); diff != "" {
		s.Errorf("the forge's statuses differ (-want +got):\n%s", diff)
	}
	const start = "long 漢 "
	set(vcs.Status{Context: "tidegate/plan", State: vcs.Success, Description: start + strings.Repeat("🌊", 300)})
	if got := s.Statuses(s.T, sha)["tidegate/plan"].Description; !strings.HasPrefix(got, start+"🌊") || !utf8.ValidString(got) {
		s.Errorf("a long description became %q, want its start, cut between characters", got)
	}
	err := s.Forge.SetStatus(s.ctx, s.Pull.Repo, strings.Repeat("0", 40), vcs.Status{Context: "x", State: vcs.Success})
	if !errors.Is(err, vcs.ErrRefused) && !errors.Is(err, vcs.ErrNotFound) {
		s.Errorf("SetStatus(no such commit) error = %v, want ErrRefused or ErrNotFound", err)
	}
}

func (s *story) permission() {
	for user, want := range map[string]vcs.Permission{
		s.Admin: vcs.AdminPermission, s.Writer: vcs.WritePermission, s.Author: vcs.WritePermission,
		s.Reader: vcs.ReadPermission, s.Stranger: vcs.NoPermission, // "" is nobody as well
		"nobody-has-this-name": vcs.NoPermission, "../../../user": vcs.NoPermission,
	} {
		if got, err := s.Forge.Permission(s.ctx, s.Pull.Repo, user); err != nil || got != want {
			s.Errorf("Permission(%q) = %v, %v, want %v", user, got, err, want)
		}
	}
}

func (s *story) approval() {
	a, ok := s.Forge.(vcs.Approver)
	if !ok {
		return
	}
	pull := s.read()
	expect := func(after string, want vcs.Approval) {
		s.Helper()
		got, err := a.Approval(s.ctx, pull)
		if err != nil {
			s.Fatalf("Approval() after %s: error = %v", after, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			s.Errorf("Approval() after %s differs (-want +got):\n%s", after, diff)
		}
	}
	approved := vcs.Approval{Approved: true, By: []string{s.Writer}}
	both := []string{s.Admin, s.Writer}
	slices.Sort(both)
	expect("nothing", vcs.Approval{})
	s.Review(s.T, s.Writer, Remarks)
	expect("remarks", vcs.Approval{})
	s.Review(s.T, s.Reader, Approve)
	expect("an approval by a user who may not write", vcs.Approval{})
	s.Review(s.T, s.Writer, Approve)
	expect("an approval", approved)
	s.Review(s.T, s.Writer, Remarks)
	expect("remarks after an approval", approved)
	s.Review(s.T, s.Reader, RequestChanges)
	expect("changes asked for by a user who may not write", approved)
	against := s.Review(s.T, s.Admin, RequestChanges)
	expect("changes asked for", vcs.Approval{By: []string{s.Writer}, Against: []string{s.Admin}})
	if s.Dismiss != nil {
		s.Dismiss(s.T, against)
		expect("their dismissal", approved)
	}
	s.Review(s.T, s.Admin, Approve)
	expect("a second approval", vcs.Approval{Approved: true, By: both})
	s.Review(s.T, s.Writer, RequestChanges)
	expect("a change of mind", vcs.Approval{By: []string{s.Admin}, Against: []string{s.Writer}})
	again := s.Review(s.T, s.Writer, Approve)
	expect("another change of mind", vcs.Approval{Approved: true, By: both})
	if s.Dismiss == nil {
		return
	}
	s.Dismiss(s.T, again)
	expect("its dismissal", vcs.Approval{Approved: true, By: []string{s.Admin}})
}

func (s *story) clone() {
	c, ok := s.Forge.(vcs.Cloner)
	if !ok {
		return
	}
	got, err := c.CloneCredential(s.ctx, s.Pull.Repo)
	if err != nil || got.User == "" || got.Password == "" {
		s.Errorf("CloneCredential() has a user: %v, a password: %v, error %v; want both", got.User != "", got.Password != "", err)
	}
	for _, to := range []string{"https://evil.example.com/acme/infra.git", "", "file:///etc/passwd"} {
		repo := s.Pull.Repo
		repo.CloneURL = to
		if _, err := c.CloneCredential(s.ctx, repo); err == nil {
			s.Errorf("CloneCredential(%q) = nil error, want a refusal", to)
		}
	}
}

func (s *story) site() {
	site := s.Forge.Site()
	sha := strings.Repeat("a", 40)
	if got := site.PullURL(s.Pull.Repo, s.Pull.Number); got != s.Pull.URL {
		s.Errorf("Site().PullURL() = %q, want %q", got, s.Pull.URL)
	}
	for _, link := range []string{site.CommitURL(s.Pull.Repo, sha), site.FileURL(s.Pull.Repo, sha, "a b/ü#.tf", 3), site.FileURL(s.Pull.Repo, sha, "x.tf", 0)} {
		u, err := url.Parse(link)
		if err != nil || u.Host == "" || !strings.Contains(u.Path, sha) {
			s.Errorf("Site() writes the link %q, want an absolute one with the commit in it", link)
		}
	}
	if !strings.HasSuffix(site.PullRef(12), "12") {
		s.Errorf("Site().PullRef(12) = %q", site.PullRef(12))
	}
}

// elsewhere: a repository of another forge is never asked about here.
func (s *story) elsewhere() {
	p := s.Pull
	p.Repo.ID.Forge = "elsewhere.example.com"
	if _, err := s.Forge.Pull(s.ctx, p.Repo, p.Number); err == nil {
		s.Error("Pull(another forge's) = nil error")
	}
	if _, err := s.Forge.CreateComment(s.ctx, p, "x"); err == nil {
		s.Error("CreateComment(another forge's) = nil error")
	}
	if got, err := s.Forge.Permission(s.ctx, p.Repo, s.Admin); err == nil || got != vcs.NoPermission {
		s.Errorf("Permission(another forge's) = %v, %v, want an error", got, err)
	}
}

func (s *story) cancelled() {
	before := len(s.Conversation(s.T))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.Forge.Pull(ctx, s.Pull.Repo, s.Pull.Number); !errors.Is(err, context.Canceled) {
		s.Errorf("Pull(cancelled) error = %v, want Canceled", err)
	}
	if _, err := s.Forge.Comments(ctx, s.Pull, time.Time{}); !errors.Is(err, context.Canceled) {
		s.Errorf("Comments(cancelled) error = %v, want Canceled", err)
	}
	if _, err := s.Forge.CreateComment(ctx, s.Pull, "x"); !errors.Is(err, context.Canceled) {
		s.Errorf("CreateComment(cancelled) error = %v, want Canceled", err)
	}
	if after := len(s.Conversation(s.T)); after != before {
		s.Errorf("a cancelled comment left %d comments, want %d", after, before)
	}
}

func (s *story) closed() {
	s.Close(s.T)
	if got := s.read().State; got != vcs.Closed {
		s.Errorf("Pull().State = %q, want %q", got, vcs.Closed)
	}
	s.say("after the end") // a closed pull request can still be answered
}
