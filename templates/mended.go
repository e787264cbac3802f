package templates

// Mended is the answer to what mends a state: the lock that was broken, or the state that was stored.
type Mended struct {
	// Push: a state was stored; else a lock was broken.
	Push         bool
	Job          Job
	LockID       string
	CommentLimit int
	Footer
}

// Render writes the comment.
func (m Mended) Render() string {
	j := m.Job
	plan := "Comment " + Code("plan "+j.Flags)
	if j.State != StateApplied {
		jobs := []Job{j}
		return comment{
			head: m.stopped(), folds: applyFolds(jobs), tail: stateLocks(jobs, m.Now) + m.lines(m.stays()+plan+" to see how it stands."),
			limit: m.CommentLimit, log: m.LogURL,
		}.fit()
	}
	if m.Push {
		return "### The state of " + j.name() + " is stored\nWhat the apply made is known to its backend now, and no copy is kept here any more. " +
			plan + " to see what is left to do.\n\n" + m.lines("")
	}
	return "### The state of " + j.name() + " is unlocked\nThe lock " + Code(m.LockID) + " is broken. " + plan + " to go on.\n\n" + m.lines("")
}

// stopped is the news of what did not succeed.
func (m Mended) stopped() string {
	what := "Force-unlock"
	if m.Push {
		what = "State push"
	}
	s := "### " + what + " for " + m.Job.name() + ": "
	switch {
	case m.Job.State == StateUnknown:
		return s + "unknown\nIt was started, and nobody saw its end. Nothing is tried again by itself.\n"
	case m.Job.Error != nil && m.Job.State == StateNotStarted:
		return s + "not started, " + Code(m.Job.Error.Summary) + "\n"
	}
	return s + m.Job.State + "\n"
}

// stays says what becomes of a state that was not stored.
func (m Mended) stays() string {
	if !m.Push {
		return ""
	}
	return "The state is still kept here. "
}
