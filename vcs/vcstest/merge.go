package vcstest

import (
	"errors"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/vcs"
)

// ours are the statuses that whoever asks has made.
func ours(context string) bool { return context == "tidegate/apply" }

// merging merges pull requests of its own.
func (s *story) merging() {
	m, ok := s.Forge.(vcs.Merger)
	if !ok || s.Another == nil {
		return
	}
	s.mergesWhatWasRead(m)
	s.mergesByTheRules(m)
	if s.Clash != nil {
		p := s.another()
		s.Clash(s.T, p)
		s.mergeable(m, p, vcs.MergeBlocked, "conflict")
		if refused := s.notMerged(m, p); refused.Moved {
			s.Errorf("merging what has conflicts: %+v, want a refusal", refused)
		}
	}
}

func (s *story) mergesWhatWasRead(m vcs.Merger) {
	for _, method := range append(m.MergeMethods(), vcs.DefaultMethod) {
		p := s.another()
		s.mergeable(m, p, vcs.MergeReady, "")
		stale := p
		stale.Head.SHA = p.Base.SHA
		if moved := s.refusal(m.Merge(s.ctx, stale, vcs.Merging{Method: method, DeleteBranch: true})); !moved.Moved || moved.Again {
			s.Errorf("Merge(another head) = %+v, want that it has moved", moved)
		}
		how := vcs.Merging{Method: method, DeleteBranch: method != vcs.DefaultMethod}
		s.merge(m, p, how)
		got, err := s.Forge.Pull(s.ctx, p.Repo, p.Number)
		s.must(err)
		if got.State != vcs.Merged {
			s.Errorf("after Merge(%q) it is %s, want merged", method, got.State)
		}
		if gone := s.BranchSHA(s.T, p.Head.Ref) == ""; gone != how.DeleteBranch {
			s.Errorf("after Merge(%+v) its branch is gone: %v", how, gone)
		}
		if err := m.Merge(s.ctx, p, how); err != nil {
			s.Errorf("Merge(%q) of what is merged: %v, want nil", method, err)
		}
	}
}

func (s *story) mergesByTheRules(m vcs.Merger) {
	if s.Require == nil {
		return
	}
	p := s.another()
	set := func(context string, state vcs.StatusState) {
		s.Helper()
		s.must(s.Forge.SetStatus(s.ctx, p.Repo, p.Head.SHA, vcs.Status{Context: context, State: state}))
	}
	s.Require(s.T, "ci/lint", "tidegate/apply")
	set("tidegate/apply", vcs.Pending)
	s.mergeable(m, p, vcs.MergeBlocked, "ci/lint")
	set("ci/lint", vcs.Failure)
	s.mergeable(m, p, vcs.MergeBlocked, "ci/lint")
	set("ci/lint", vcs.Success)
	s.mergeable(m, p, vcs.MergeReady, "")
	if refused := s.notMerged(m, p); refused.Moved {
		s.Errorf("merging against the rules: %+v, want a refusal", refused)
	}
	set("tidegate/apply", vcs.Success)
	s.merge(m, p, vcs.Merging{})
	s.Require(s.T)
}

// merge merges, after another look where the forge is still working it out: it may look again after the merge before.
func (s *story) merge(m vcs.Merger, p vcs.Pull, how vcs.Merging) {
	s.Helper()
	err := m.Merge(s.ctx, p, how)
	var refused *vcs.NotMergedError
	if errors.As(err, &refused) && refused.Again {
		s.mergeable(m, p, vcs.MergeReady, "")
		err = m.Merge(s.ctx, p, how)
	}
	s.must(err)
}

func (s *story) another() vcs.Pull {
	s.Helper()
	return s.Another(s.T)
}

// mergeable expects a state, and a word in the reasons.
func (s *story) mergeable(m vcs.Merger, p vcs.Pull, want vcs.MergeState, word string) {
	s.Helper()
	got, err := m.Mergeable(s.ctx, p, ours)
	s.must(err)
	if got.State != want || (want == vcs.MergeReady) != (len(got.Why) == 0) {
		s.Errorf("Mergeable() = %+v, want %s", got, want)
	}
	if word != "" && !slices.ContainsFunc(got.Why, func(w string) bool { return strings.Contains(w, word) }) {
		s.Errorf("Mergeable().Why = %q, want %q in it", got.Why, word)
	}
}

func (s *story) notMerged(m vcs.Merger, p vcs.Pull) *vcs.NotMergedError {
	s.Helper()
	refused := s.refusal(m.Merge(s.ctx, p, vcs.Merging{}))
	if refused.Reason == "" {
		s.Error("Merge() does not say why not")
	}
	got, err := s.Forge.Pull(s.ctx, p.Repo, p.Number)
	s.must(err)
	if got.State != vcs.Open {
		s.Errorf("after a refused Merge() it is %s", got.State)
	}
	return refused
}

func (s *story) refusal(err error) *vcs.NotMergedError {
	s.Helper()
	var refused *vcs.NotMergedError
	if !errors.As(err, &refused) {
		s.Fatalf("Merge() = %v, want a *vcs.NotMergedError", err)
	}
	return refused
}
