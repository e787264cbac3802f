package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
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

// report gives the run's answer, writes the statuses and ends the event.
func (e *Engine) report(ctx context.Context, s scene, jobs []journal.Job, notes []string) error {
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
	answer := e.sayJobs(s, jobs, touched, append(notes, e.leftNote(s), unstored))
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
		}
		if err := e.Journal.PutReport(ctx, r); err != nil {
			return fmt.Errorf("journalling the answer: %w", err)
		}
	}
	if r, err = e.post(ctx, s.forge, s.pull, r, intended); err != nil {
		return err
	}
	if r.Comment != 0 {
		if err := e.Journal.ReportPlans(ctx, s.run.ID, r.Comment, r.Posted); err != nil {
			return err
		}
		e.tidy(ctx, s, r)
	}
	if err := e.Journal.EndRun(ctx, s.run.ID, templates.Summary(r.Body), time.Now().UTC()); err != nil {
		return err
	}
	if err := e.Journal.EventDone(ctx, s.ev.Seq, s.run.ID, outcome); err != nil {
		return err
	}
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
			r.Comment, r.Node, r.Posted = c.ID, c.Node, c.CreatedAt
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
		const skew = time.Minute
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
			if err := sleep(ctx, min(left, 2*time.Second)); err != nil {
				return vcs.Comment{}, err
			}
		}
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
	replaces := answer.Command == cmdPlan && len(jobs) > 0 && !targeted(s.ask)
	var old []vcs.Comment
	var folded []journal.Report
	for _, r := range all {
		switch {
		case r.Kind == kindProgress && r.Run == answer.Run && !r.Deleted:
			e.removeProgress(ctx, s, r)
		case replaces && isOlderPlan(r, answer):
			old = append(old, vcs.Comment{ID: r.Comment, Node: r.Node})
			r.Folded = true
			folded = append(folded, r)
		}
	}
	f, ok := s.forge.(vcs.Folder)
	if !ok || len(old) == 0 {
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

// removeProgress takes a progress comment away, and records that none is owed any more: the intent of one
// may have been journalled and nothing posted.
func (e *Engine) removeProgress(ctx context.Context, s scene, r journal.Report) {
	if r.Comment == 0 {
		found, ok, err := e.search(ctx, s.forge, s.pull, r.Intended.Add(-time.Minute), r.Marker)
		if err != nil {
			e.Log.WarnContext(ctx, "looking for a progress comment", "run", s.run.ID, "err", err)
			return
		}
		if ok {
			r.Comment = found.ID
		}
	}
	if r.Comment != 0 {
		if err := s.forge.DeleteComment(ctx, s.pull, r.Comment); err != nil && !errors.Is(err, vcs.ErrNotFound) {
			e.Log.WarnContext(ctx, "deleting a progress comment", "run", s.run.ID, "err", err)
			return
		}
	}
	r.Deleted = true
	if err := e.Journal.PutReport(ctx, r); err != nil {
		e.Log.WarnContext(ctx, "recording a deleted progress comment", "err", err)
	}
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
	rid := fmt.Sprintf("%s-%d-%s", what, id.Number, key)
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
	pull := vcs.Pull{Repo: rec.Repo, Number: id.Number}
	e.spawn(func() {
		if _, err := e.post(e.quit, f, pull, r, false); err != nil && e.quit.Err() == nil {
			e.Log.ErrorContext(e.quit, "posting a notice", "report", rid, "err", err)
		}
	})
	return nil
}

// repost brings a notice to its pull request that an earlier process owed.
func (e *Engine) repost(ctx context.Context, r journal.Report) error {
	f, ok := e.Forges[r.Pull.Repo.Forge]
	if !ok {
		return nil
	}
	rec, ok, err := e.Journal.Pull(ctx, r.Pull)
	if err != nil || !ok {
		return err
	}
	_, err = e.post(ctx, f, vcs.Pull{Repo: rec.Repo, Number: r.Pull.Number}, r, true)
	return err
}

// watcher keeps a long run's progress comment.
type watcher struct {
	e      *Engine
	s      scene
	cancel context.CancelFunc
	gone   chan struct{}

	mu    sync.Mutex
	total int
	over  int
}

// watch starts to look after a run. end must be called.
func (e *Engine) watch(ctx context.Context, s scene, jobs []journal.Job) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{e: e, s: s, cancel: cancel, gone: make(chan struct{}), total: len(jobs)}
	for _, j := range jobs {
		if !j.Open() {
			w.over++
		}
	}
	go func() {
		defer close(w.gone)
		w.keep(ctx)
	}()
	return w
}

func (w *watcher) done() {
	w.mu.Lock()
	w.over++
	w.mu.Unlock()
}

func (w *watcher) end() {
	w.cancel()
	<-w.gone
}

func (w *watcher) text() (string, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	mark := w.e.sign.write(w.s.pull.ID(), marker{
		Server: w.e.Options.Name, Run: w.s.run.ID, Command: w.s.ask.name, Source: w.s.run.Source, Part: partProgress,
	})
	return w.e.sayProgress(w.s, w.over, w.total)(w.e.footer(w.s, mark)), mark
}

// keep makes the progress comment when the run takes long, and edits it when something has changed.
func (w *watcher) keep(ctx context.Context) {
	if sleep(ctx, w.e.pace.progress) != nil {
		return
	}
	id := w.s.run.ID + "-progress"
	body, mark := w.text()
	r, ok, err := w.e.Journal.Report(ctx, id)
	if err != nil {
		return
	}
	if !ok {
		r = journal.Report{
			ID: id, Pull: w.s.pull.ID(), Run: w.s.run.ID, Kind: kindProgress, Command: w.s.ask.name,
			Body: body, Marker: mark, Intended: time.Now().UTC(),
		}
		if err := w.e.Journal.PutReport(ctx, r); err != nil {
			return
		}
	}
	// The comment is made even if the run ends in this moment: it must not be left unrecorded.
	if r, err = w.e.post(w.e.quit, w.s.forge, w.s.pull, r, ok); err != nil || r.Comment == 0 { //nolint:contextcheck // see above
		return
	}
	for sleep(ctx, w.e.pace.progressEdit) == nil {
		next, _ := w.text()
		if next == body {
			continue
		}
		body = next
		if err := w.s.forge.EditComment(ctx, w.s.pull, r.Comment, body); err != nil && ctx.Err() == nil {
			w.e.Log.WarnContext(ctx, "editing a progress comment", "run", w.s.run.ID, "err", err)
		}
	}
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
