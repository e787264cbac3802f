package main

// mutants are the ways in which the code is broken.
func mutants() []mutant {
	story := func(name string) []string { return []string{"./e2e", "-run", "TestStories/" + name + "$"} }
	return []mutant{
		{
			name: "skip-signature", file: "server/webhook/webhook.go",
			old: `if err := hook.Verify(r.Header, body); err != nil {`, new: `if err := hook.Verify(r.Header, body); err != nil && len(body) == 0 {`,
			test: []string{"./server/webhook", "-run", "TestNothingIsParsedUnverified"},
		},
		{
			name: "serve-any-repository", file: "server/webhook/webhook.go",
			old: `if !h.Allowed(ev.Repo) {`, new: `if h.Allowed(ev.Repo) && false {`,
			test: []string{"./server/webhook", "-run", "TestOutcomes"},
		},
		{
			name: "pages-on-the-open-network", file: "server/server.go",
			old: `case !s.open || !local(r):`, new: `case !s.open && !local(r):`,
			test: []string{"./server", "-run", "TestPagesStayOffTheOpenNetwork"},
		},
		{
			name: "empty-password", file: "server/server.go",
			old: `if err != nil || want == "" {`, new: `if err != nil && want == "" {`,
			test: []string{"./server", "-run", "TestLoginWithoutAPassword"},
		},
		{
			name: "marker-of-another-pull", file: "server/dispatch/marker.go",
			old: `pull.Repo.Forge, pull.Repo.ID, pull.Number, text)`, new: `pull.Repo.Forge, pull.Repo.ID, 0, text)`,
			test: []string{"./server/dispatch", "-run", "TestMarker"},
		},
		{
			name: "post-without-a-search", file: "server/dispatch/report.go",
			old: "case errors.Is(err, vcs.ErrInDoubt):\n\t\t\tdoubted = time.Now()", new: "case errors.Is(err, vcs.ErrInDoubt):\n\t\t\tdoubted = time.Time{}",
			test: []string{"./server/dispatch", "-run", "TestOneAnswer"},
		},
		{
			name: "freshness-off", file: "server/dispatch/apply.go",
			old: `if now.Sum == plan.Digest {`, new: `if now.Sum != "" {`,
			test: story("moved"),
		},
		{
			name: "apply-unseen-plans", file: "server/dispatch/apply.go",
			old: `case !s.ask.comment.After(st.plan.ReportedAt, st.plan.Report):`, new: `case s.ask.comment == nil:`,
			test: story("race"),
		},
		{
			name: "replay-an-apply", file: "runner/runner.go",
			old: `case w.job.Action != Plan && started:`, new: `case w.job.Action != Plan && started && running:`,
			test: []string{"./runner", "-run", "TestApplyIsNeverRunTwice"},
		},
		{
			name: "strangers-may-command", file: "server/dispatch/story.go",
			old: `if p < vcs.WritePermission {`, new: `if p < vcs.ReadPermission {`,
			test: story("who"),
		},
		{
			name: "forks-are-planned", file: "server/dispatch/story.go",
			old: `case s.pull.Fork() && s.ask.kind`, new: `case s.pull.Fork() && s.pull.Draft && s.ask.kind`,
			test: story("who"),
		},
		{
			name: "waiters-are-not-called", file: "server/dispatch/unlock.go",
			old: `for _, in := range calls {`, new: `for _, in := range calls[:0] {`,
			test: story("waiting"),
		},
		{
			name: "unlock-under-an-apply", file: "server/dispatch/lane.go",
			old: `it.beside = l.now.ask.name // refused: what is being changed stays locked`, new: `it.beside = ""`,
			test: story("close_in_apply"),
		},
		{
			name: "no-changes-keeps-the-lock", file: "server/dispatch/standing.go",
			old: `if j.Result.End != runner.Succeeded || j.Result.Changes.Empty() {`, new: `if j.Result.End != runner.Succeeded {`,
			test: story("nothing"),
		},
		{
			name: "local-state-is-applied", file: "server/dispatch/apply.go",
			old: `case st.plan.LocalState && !e.Options.LocalState:`, new: `case st.plan.LocalState && e.Options.LocalState:`,
			test: story("no_backend"),
		},
		{
			name: "acknowledge-before-it-is-stored", file: "server/webhook/webhook.go",
			old:  `seq, added, err := h.Journal.AddEvent(context.WithoutCancel(ctx), ev, ev.Key())`,
			new:  "seq, added, err := uint64(1), true, error(nil)\n\tgo func() { _, _, _ = h.Journal.AddEvent(context.WithoutCancel(ctx), ev, ev.Key()) }()",
			test: []string{"./server/webhook"},
		},
		{
			name: "every-delivery-is-new", file: "server/journal/event.go",
			old: `Get(hash[:]); known != nil {`, new: `Get(hash[:]); len(known) == 1 {`,
			test: story("deliveries"),
		},
		{
			name: "release-a-foreign-lock", file: "locking/table.go",
			old: `if l.Pull != r.Pull || !meant(`, new: `if l.Pull.Forge != r.Pull.Forge || !meant(`,
			test: []string{"./locking"},
		},
		{
			name: "summary-without-escapes", file: "templates/escape.go",
			old: `html.EscapeString(breakMarker(clean(s, false)))`, new: `html.UnescapeString(breakMarker(clean(s, false)))`,
			test: []string{"./templates"},
		},
		{
			name: "an-older-push-wins", file: "server/dispatch/lane.go",
			old: `q.push() && q.ev.Seq > it.ev.Seq`, new: `q.push() && q.ev.Seq < it.ev.Seq`,
			test: []string{"./server/dispatch", "-run", "Push"},
		},
		{
			name: "the-past-runs", file: "server/dispatch/reconcile.go",
			old: `since.Before(first) {`, new: `since.After(first) {`,
			test: []string{"./server/dispatch", "-run", "FirstSight"},
		},
		{
			name: "a-turn-is-forgotten", file: "server/dispatch/lane.go",
			old: `ls.next(ctx) // while`, new: `_ = ls.next // while`,
			test: []string{"./server/dispatch", "-run", "Turn"},
		},
		{
			name: "an-unknown-apply-is-a-failed-one", file: "server/dispatch/jobs.go",
			old: `return runner.Result{Summary: runner.Summary{End: runner.Unknown, Evidence`, new: `return runner.Result{Summary: runner.Summary{End: runner.Failed, Evidence`,
			test: []string{"./server/dispatch", "-run", "Unknown"},
		},
		{
			name: "merge-what-has-moved", file: "server/dispatch/automerge.go",
			old: `why, err = e.notAsApplied(ctx, s)`, new: `_, err = e.notAsApplied(ctx, s)`,
			test: []string{"./server/dispatch", "-run", "TestAMergeLooksAgain"},
		},
		{
			name: "merge-without-statuses", file: "server/dispatch/automerge.go",
			old: `len(left) > 0 {`, new: `len(left) > len(states) {`,
			test: []string{"./server/dispatch", "-run", "TestAnApplyMerges"},
		},
		{
			name: "merge-past-the-rules", file: "server/dispatch/automerge.go",
			old: `case can.State == vcs.MergeBlocked:`, new: `case can.State == "never":`,
			test: []string{"./server/dispatch", "-run", "TestAnApplyMerges"},
		},
		{
			name: "merge-what-nobody-planned", file: "server/dispatch/automerge.go",
			old: `return one.project == identity(p) && one.done()`, new: `return one.project == identity(p) || one.done()`,
			test: []string{"./server/dispatch", "-run", "TestAnApplyMerges"},
		},
		{
			name: "merge-what-was-told-to-be-not-merged", file: "server/dispatch/automerge.go",
			old: `s.run.ID)); told || err != nil {`, new: `s.run.ID)); told && s.run.ID == "" || err != nil {`,
			test: []string{"./server/dispatch", "-run", "TestWhatIsToldEndsAMerge"},
		},
		{
			name: "anybody-stops-a-merge", file: "server/dispatch/lane.go",
			old: `q.ask.kind == askUnlock && ls.may(ctx, q)`, new: `q.ask.kind == askUnlock && ctx != nil`,
			test: []string{"./server/dispatch", "-run", "TestAMergeIsNotTakenBackByWhoMayNot"},
		},
		{
			name: "a-job-passes-for-a-status-of-ours", file: "vcs/gitlab/merge.go",
			old: `return s.Description != "" && (`, new: `return true || (`,
			test: []string{"./vcs/gitlab", "-run", "TestMergeable"},
		},
	}
}
