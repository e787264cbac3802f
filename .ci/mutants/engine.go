package main

// engine are the ways in which what the engine promises is broken: that nothing is lost and nothing is done
// twice, whatever dies.
func engine() []mutant {
	return []mutant{
		{
			name: "answer-without-an-intent", file: "server/dispatch/report.go",
			old: "if err := e.Journal.PutReport(ctx, r); err != nil {\n\t\t\treturn fmt.Errorf(\"journalling the answer", new: "if err := ctx.Err(); err != nil {\n\t\t\treturn fmt.Errorf(\"journalling the answer",
			chaos: "posted",
		},
		{
			name: "second-post-without-a-search", file: "server/dispatch/report.go",
			old: `if !doubted.IsZero() {`, new: `if !doubted.IsZero() && ctx.Err() != nil {`,
			chaos: "posted",
		},
		{
			name: "key-of-markers-anew-at-each-start", file: "server/dispatch/dispatch.go",
			old: `sign:   signer{key: c.Journal.MarkerKey()},`, new: `sign:   signer{key: []byte(time.Now().String())},`,
			chaos: "posted",
		},
		{
			name: "event-done-before-its-answer", file: "server/dispatch/report.go",
			old:   `if r, err = e.post(ctx, s.forge, s.pull, r, intended); err != nil {`,
			new:   "_ = e.Journal.EventDone(ctx, s.ev.Seq, s.run.ID, outcome)\n\tif r, err = e.post(ctx, s.forge, s.pull, r, intended); err != nil {",
			chaos: "report intent",
		},
		{
			name: "adoption-starts-the-apply-anew", file: "server/dispatch/jobs.go",
			old: `return e.Runner.Recover(calm, j.Job)`, new: "j.Job.Dir += \"again\"\n\t\treturn e.Runner.Run(calm, j.Job)",
			chaos: "in an apply",
		},
		{
			name: "sign-of-life-is-not-looked-at", file: "runner/supervisor/inspect.go",
			old: `case l.held || l.mark != nil && l.mark.Orphaned:`, new: `case l.mark != nil && l.mark.Orphaned:`,
			chaos: "in an apply",
		},
		{
			name: "locks-do-not-outlive-a-crash", file: "locking/file.go",
			old: "s.damage = load(tx).damage\n", new: "s.damage = load(tx).damage\n\t\t_ = tx.Bucket([]byte(bucketLocks)).ForEach(func(k, _ []byte) error { return tx.Bucket([]byte(bucketLocks)).Delete(k) })\n",
			test: []string{"./locking"},
		},
		{
			name: "what-happened-meanwhile-is-not-asked-for", file: "server/dispatch/reconcile.go",
			old: "since := rec.Watermark.Add(-overlap)\n", new: "since := time.Now().Add(-overlap + 2*time.Minute)\n",
			chaos: "at any time",
		},
		{
			name: "what-was-begun-is-forgotten", file: "server/dispatch/story.go",
			old: `s.begun = len(jobs) > 0 || jerr != nil`, new: `s.begun = len(jobs) < 0 || jerr != nil`,
			chaos: "result journalled",
		},
		{
			name: "no-word-of-how-it-ended", file: "runner/supervisor/stagetwo.go",
			old: `if err := writeStatus(dir, s.status); err != nil {`, new: `if err := unused(dir); err == nil {`,
			chaos: "in an apply",
		},
		{
			name: "told-before-it-is-on-disk", file: "server/journal/writer.go",
			old: "	var alone []*request\n", new: "	for _, r := range batch {\n\t\tr.answer <- nil\n\t\tr.answer = make(chan error, 2)\n\t}\n	var alone []*request\n",
			chaos: "before commit",
		},
		{
			name: "mark-after-the-start", file: "runner/supervisor/stagetwo.go",
			old: "		failpoint(s.dir, \"before the mark\")\n", new: "		s.child.proceed()\n",
			test: []string{"./runner/supervisor", "-run", "TestNothingRunsBeforeTheMark"},
		},
		{
			name: "not-started-is-not-final", file: "runner/supervisor/stagetwo.go",
			old: `{sealedName, startedName, statusName}`, new: `{startedName, statusName}`,
			test: []string{"./runner/supervisor", "-run", "TestNotStartedIsFinal"},
		},
		{
			name: "who-lost-its-supervisor-is-dead", file: "runner/supervisor/inspect.go",
			old: `l.mark.Orphaned = alive(l.mark)`, new: `l.mark.Orphaned = alive(l.mark) && l.mark.At.IsZero()`,
			test: []string{"./runner/supervisor", "-run", "TestSupervisorKilled$"},
		},
		{
			name: "plans-of-the-dead-run-on", file: "runner/apply.go",
			old: "		if !running {\n			continue\n", new: "		if running {\n			continue\n",
			test: []string{"./runner", "-run", "TestRecoverStopsAPlan"},
		},
		{
			name: "result-before-the-state-is-saved", file: "runner/apply.go",
			old: `errored, err := w.saveErroredState(log.State)`, new: `errored, err := "", error(nil)`,
			test: []string{"./runner", "-run", "TestErroredStateIsSaved"},
		},
		{
			name: "any-age-is-young-enough", file: "server/dispatch/reconcile.go",
			old: `if age <= limit {`, new: `if age <= limit+maxWait {`,
			test: []string{"./server/dispatch", "-run", "TestTooOld"},
		},
		{
			name: "watermark-before-what-it-stands-for", file: "server/dispatch/reconcile.go",
			old: "	if !settled {\n", new: "	if !settled && rec.Watermark.IsZero() {\n",
			test: []string{"./server/dispatch", "-run", "TestWhatIsWorkedOnIsLookedAtAgain"},
		},
	}
}
