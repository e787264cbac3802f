package dispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
	"github.com/tidegate/tidegate/vcs"
)

// Kinds of reports.
const (
	kindAnswer   = "answer"
	kindProgress = "progress"
	kindNotice   = "notice"
)

const (
	// skew is how far the forge's clock may be behind ours.
	skew = time.Minute
	// searchPause is the time between two looks for a comment of ours.
	searchPause = 2 * time.Second
)

// report gives the run's answer, writes the statuses and ends the event.
func (e *Engine) report(ctx context.Context, s scene, jobs []journal.Job, notes []string) error {
	// A status tells of the end, too, and may be there long before the answer.
	e.lanes.telling(s.pull.ID(), s.item)
	if cause := context.Cause(s.stop); cause != nil && s.ask.comment == nil && ctx.Err() == nil { //nolint:contextcheck // stop is derived from ctx
		e.statuses(ctx, s, e.status(s, cmdPlan, vcs.Failure, cause.Error()))
		e.tidy(ctx, s, journal.Report{Run: s.run.ID})
		if err := e.Journal.EndRun(ctx, s.run.ID, cause.Error(), time.Now().UTC()); err != nil {
			return err
		}
		if err := e.Journal.EventDone(ctx, s.ev.Seq, s.run.ID, cause.Error()); err != nil {
			return err
		}
		e.lanes.next(ctx)
		return nil
	}
	if s.ask.kind == askMend {
		return e.finish(ctx, s, e.sayMend(s, jobs), "")
	}
	touched, err := e.touched(ctx, s.pull.ID())
	if err != nil {
		return err
	}
	unstored, err := e.unstoredNote(ctx, s, jobs)
	if err != nil {
		return err
	}
	var merging string
	s.merging, merging = e.dueAfter(ctx, s, jobs)
	answer := e.sayJobs(s, jobs, touched, slices.Concat(notes, e.releasedNotes(jobs), []string{e.leftNote(s), e.submoduleNote(ctx, s, jobs), unstored, merging}))
	states, err := e.outcome(ctx, s, jobs)
	if err != nil {
		return err
	}
	left := e.statuses(ctx, s, states...)
	err = e.finish(ctx, s, answer, "")
	e.statuses(ctx, s, left...) // none may stay pending because the forge was away for a moment
	return err
}

// finish posts the run's one answer and ends run and event. Each step is skipped when an earlier
// process has done it.
func (e *Engine) finish(ctx context.Context, s scene, answer say, outcome string) error {
	e.lanes.telling(s.pull.ID(), s.item)
	r, intended, err := e.Journal.Report(ctx, s.run.ID)
	if journal.Damaged(err) {
		err = e.spare(ctx, err)
		if r = e.lostAnswer(s, r); r.Comment == 0 {
			err = errors.Join(err, e.discardUnseen(ctx, s))
		}
		err = errors.Join(err, e.Journal.PutReport(ctx, r))
	}
	if err != nil {
		return err
	}
	if !intended {
		mark := e.sign.write(s.pull.ID(), marker{
			Server: e.Options.Name, Run: s.run.ID, Command: s.ask.name, Source: s.run.Source, Part: partAnswer,
		})
		r = journal.Report{
			ID: s.run.ID, Pull: s.pull.ID(), Run: s.run.ID, Kind: kindAnswer, Command: s.ask.name,
			Body: answer(e.footer(s, mark)), Marker: mark, Intended: time.Now().UTC(),
			Merging: s.merging,
		}
		if err := e.Journal.PutReport(ctx, r); err != nil {
			return fmt.Errorf("journalling the answer: %w", err)
		}
		e.Hook(AtIntent)
	}
	if r, err = e.post(ctx, s.forge, s.pull, r, intended); err != nil {
		return err
	}
	e.Hook(AtAnswered)
	if r.Comment != 0 {
		if err := e.Journal.ReportPlans(ctx, s.run.ID, r.Comment, r.Posted); err != nil {
			return err
		}
	}
	e.tidy(ctx, s, r)
	if err := e.mergeUp(ctx, s, r); err != nil {
		return err
	}
	if err := e.Journal.EndRun(ctx, s.run.ID, templates.Summary(r.Body), time.Now().UTC()); err != nil {
		return err
	}
	e.Hook(AtRunEnded)
	if err := e.Journal.EventDone(ctx, s.ev.Seq, s.run.ID, outcome); err != nil {
		return err
	}
	e.Hook(AtEventDone)
	e.lanes.next(ctx)
	return nil
}

// post brings a journalled report to the pull request exactly once. doubt: an attempt of an earlier
// process may have got through, so our own comments are looked through first.
func (e *Engine) post(ctx context.Context, f vcs.Forge, pull vcs.Pull, r journal.Report, doubt bool) (journal.Report, error) {
	if r.Comment != 0 || r.Gone != "" {
		return r, nil
	}
	wait := e.pace.retry
	var doubted time.Time // since when an attempt may have got through
	if doubt {
		doubted = time.Now()
	}
	for {
		c, err := e.attempt(ctx, f, pull, r, doubted)
		switch {
		case err == nil:
			e.Hook(AtPosted)
			r.Comment, r.Node, r.Posted = c.ID, c.Node, c.CreatedAt
			e.took(Answered, time.Since(r.Intended))
			return r, e.Journal.PutReport(ctx, r)
		case errors.Is(err, vcs.ErrRefused), errors.Is(err, vcs.ErrNotFound):
			r.Gone = err.Error()
			e.Log.WarnContext(ctx, "the forge does not take an answer", "report", r.ID, "err", err)
			return r, e.Journal.PutReport(ctx, r)
		case errors.Is(err, vcs.ErrInDoubt):
			doubted = time.Now()
		}
		e.Log.WarnContext(ctx, "posting an answer", "report", r.ID, "err", err)
		if err := sleep(ctx, wait); err != nil {
			return r, err
		}
		wait = min(wait*2, time.Minute)
	}
}

// attempt makes one try. After a doubt it posts only when the comment has not turned up for a while.
func (e *Engine) attempt(ctx context.Context, f vcs.Forge, pull vcs.Pull, r journal.Report, doubted time.Time) (vcs.Comment, error) {
	if !doubted.IsZero() {
		until := doubted.Add(e.pace.doubt)
		for {
			found, ok, err := e.search(ctx, f, pull, r.Intended.Add(-skew), r.Marker)
			if err != nil || ok {
				return found, err
			}
			left := time.Until(until)
			if left <= 0 {
				break
			}
			if err := sleep(ctx, min(left, searchPause)); err != nil {
				return vcs.Comment{}, err
			}
		}
	}
	if err := e.budget.answer(ctx, pull.Repo.ID); err != nil {
		return vcs.Comment{}, err
	}
	return f.CreateComment(ctx, pull, r.Body)
}

// search looks for our own comment by its marker, never by its author: the account may be a person's.
func (e *Engine) search(ctx context.Context, f vcs.Forge, pull vcs.Pull, since time.Time, mark string) (vcs.Comment, bool, error) {
	list, err := f.Comments(ctx, pull, since)
	if err != nil {
		return vcs.Comment{}, false, err
	}
	for _, c := range list {
		if m, ours := e.sign.find(pull.ID(), c.Body); ours && m == mark {
			return c, true, nil
		}
	}
	return vcs.Comment{}, false, nil
}

// tidy deletes the run's progress comment and folds the plans away that a new one has replaced. Neither
// is worth failing for.
func (e *Engine) tidy(ctx context.Context, s scene, answer journal.Report) {
	all, err := e.Journal.Reports(ctx, s.pull.ID())
	if err = e.spare(ctx, err); err != nil {
		e.Log.WarnContext(ctx, "reading earlier answers", "err", err)
		return
	}
	jobs, err := e.Journal.Jobs(ctx, answer.Run)
	if err = e.spare(ctx, err); err != nil {
		e.Log.WarnContext(ctx, "reading what was planned", "err", err)
		return
	}
	replaces := answer.Command == cmdPlan && answer.Comment != 0 && len(jobs) > 0 && !targeted(s.ask)
	var old []vcs.Comment
	var folded []journal.Report
	for _, r := range all {
		switch {
		case r.Kind == kindProgress && !r.Deleted && e.isOver(ctx, r.Run, answer.Run):
			e.removeProgress(ctx, s.forge, s.pull, r)
		case replaces && isOlderPlan(r, answer):
			old = append(old, vcs.Comment{ID: r.Comment, Node: r.Node})
			r.Folded = true
			folded = append(folded, r)
		}
	}
	f, ok := s.forge.(vcs.Folder)
	if !ok || len(old) == 0 || !e.budget.extra(s.pull.Repo.ID) { // the next plan folds them, too
		return
	}
	if err := f.Fold(ctx, s.pull, old); err != nil {
		e.Log.WarnContext(ctx, "folding older plans", "err", err)
		return
	}
	for _, r := range folded {
		if err := e.Journal.PutReport(ctx, r); err != nil {
			e.Log.WarnContext(ctx, "recording a folded plan", "err", err)
		}
	}
}

func isOlderPlan(r, answer journal.Report) bool {
	return r.Kind == kindAnswer && r.Command == cmdPlan && r.ID < answer.ID && r.Comment != 0 && !r.Folded
}

type noticeText struct {
	headline, body string
}

// notice tells a pull request something that it did not ask for. The same id is told once.
func (e *Engine) notice(ctx context.Context, id vcs.PullID, what, key string, text noticeText) error {
	rec, ok, err := e.Journal.Pull(ctx, id)
	if err != nil || !ok {
		return e.spare(ctx, err)
	}
	return e.noticeOn(ctx, vcs.Pull{Repo: rec.Repo, Number: id.Number}, what, key, text)
}

func (e *Engine) noticeOn(ctx context.Context, pull vcs.Pull, what, key string, text noticeText) error {
	id := pull.ID()
	rid := noticeID(what, id, key)
	if _, told, err := e.Journal.Report(ctx, rid); err != nil || told {
		return e.spare(ctx, err)
	}
	mark := e.sign.write(id, marker{Server: e.Options.Name, Run: rid, Command: what, Source: what, Part: partAnswer})
	r := journal.Report{
		ID: rid, Pull: id, Kind: kindNotice, Command: what, Marker: mark, Intended: time.Now().UTC(),
		Body: sayNotice(text)(templates.Footer{Marker: mark}),
	}
	if err := e.Journal.PutReport(ctx, r); err != nil {
		return err
	}
	f, ok := e.Forges[id.Repo.Forge]
	if !ok {
		return nil
	}
	e.spawn(func() {
		if _, err := e.post(e.quit, f, pull, r, !e.restored.At.IsZero()); err != nil && e.quit.Err() == nil {
			e.Log.ErrorContext(e.quit, "posting a notice", "report", rid, "err", err)
		}
	})
	return nil
}

// noticeID is the report of a notice.
func noticeID(what string, id vcs.PullID, key string) string {
	return fmt.Sprintf("%s-%d-%s", what, id.Number, key)
}

// settleOwed does what an earlier process owed of a report that no event will come to: a notice is
// brought to its pull request, and the progress comment of a run that is over is taken away.
func (e *Engine) settleOwed(ctx context.Context, r journal.Report) error {
	f, ok := e.Forges[r.Pull.Repo.Forge]
	if !ok {
		return nil
	}
	rec, ok, err := e.Journal.Pull(ctx, r.Pull)
	if err != nil || !ok {
		return err
	}
	pull := vcs.Pull{Repo: rec.Repo, Number: r.Pull.Number}
	switch {
	case r.Kind == kindNotice:
		_, err = e.post(ctx, f, pull, r, true)
	case r.Kind == kindProgress && e.isOver(ctx, r.Run, ""):
		e.chase(ctx, f, pull, r)
	}
	return err
}

// sleep waits for d or for ctx, whose cause it answers.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
