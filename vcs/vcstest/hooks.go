package vcstest

import (
	"errors"
	"strings"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

// webhooks makes one, finds it, and moves it.
func (s *story) webhooks() {
	if s.Hooker == nil {
		return
	}
	repo, secret := s.Pull.Repo, []byte("a-secret-of-the-exercise")
	before, err := s.Hooker.Webhooks(s.ctx, repo)
	s.must(err)
	const first, second = "https://first.tidegate.example/events", "https://second.tidegate.example/events"
	s.must(s.Hooker.SetWebhook(s.ctx, repo, 0, first, secret))
	made := s.webhook(first, len(before)+1)
	// Nobody is there to take a delivery: Failed may tell of one already.
	if len(made.Wrong) > 0 {
		s.Errorf("the webhook that was made is wrong: %q", made.Wrong)
	}
	s.must(s.Hooker.SetWebhook(s.ctx, repo, made.ID, second, secret))
	if moved := s.webhook(second, len(before)+1); moved.ID != made.ID || len(moved.Wrong) > 0 {
		s.Errorf("the webhook that was moved is %+v, want that with id %d and nothing wrong", moved, made.ID)
	}
	if h, ok := s.Forge.(vcs.Hooker); ok && h != s.Hooker {
		if all, err := h.Webhooks(s.ctx, repo); !errors.Is(err, vcs.ErrNotFound) && !errors.Is(err, vcs.ErrRefused) {
			s.Errorf("who does not administer the repository sees %d webhooks, %v, want an error that says no", len(all), err)
		}
	}
}

// token asks what the account's may, which is enough, and finds everything as it was.
func (s *story) token() {
	k, ok := s.Forge.(vcs.Keyholder)
	if in, known := s.Forge.(vcs.Insider); ok && known {
		who, err := in.Login(s.ctx)
		s.must(err)
		ok = !strings.HasSuffix(who, "[bot]") // an App has permissions
	}
	if !ok {
		return
	}
	before, err := s.Forge.Comments(s.ctx, s.Pull, time.Time{})
	s.must(err)
	got, err := k.Token(s.ctx, s.Pull.Repo)
	if err != nil || len(got.Lacks) > 0 {
		s.Errorf("the token lacks %q, %v", got.Lacks, err)
	}
	if after, err := s.Forge.Comments(s.ctx, s.Pull, time.Time{}); err != nil || len(after) != len(before) {
		s.Errorf("asking for that has left %d comments, %v, want %d", len(after), err, len(before))
	}
}

func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// webhook finds the one that goes to a URL, among so many.
func (s *story) webhook(url string, many int) vcs.Webhook {
	s.Helper()
	all, err := s.Hooker.Webhooks(s.ctx, s.Pull.Repo)
	s.must(err)
	if len(all) != many {
		s.Errorf("%d webhooks, want %d", len(all), many)
	}
	for _, h := range all {
		if h.URL == url {
			return h
		}
	}
	s.Fatalf("no webhook goes to %s: %+v", url, all)
	return vcs.Webhook{}
}
