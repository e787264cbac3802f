package dispatch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

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

// keep makes the progress comment when the run takes long, and edits it when something has changed and
// there is room for it.
func (w *watcher) keep(ctx context.Context) {
	if sleep(ctx, w.e.pace.progress) != nil {
		return
	}
	r, ok := w.begin(ctx)
	if !ok {
		return
	}
	body := r.Body
	for sleep(ctx, w.e.pace.progressEdit) == nil {
		next, _ := w.text()
		if next == body || !w.e.budget.extra(w.s.pull.Repo.ID) {
			continue
		}
		if err := w.s.forge.EditComment(ctx, w.s.pull, r.Comment, next); err != nil {
			if ctx.Err() == nil {
				w.e.Log.WarnContext(ctx, "editing a progress comment", "run", w.s.run.ID, "err", err)
			}
			continue
		}
		body = next
	}
}

// begin makes the comment, or finds the one that was made. It is sent once: the run's end holds up what
// is on its way, and takes away what came through.
func (w *watcher) begin(ctx context.Context) (r journal.Report, made bool) {
	id := w.s.run.ID + "-progress"
	r, doubt, err := w.e.Journal.Report(ctx, id)
	if err != nil || r.Gone != "" || r.Deleted {
		return r, false
	}
	for r.Comment == 0 {
		var c vcs.Comment
		switch {
		case doubt:
			c, _, err = w.e.search(ctx, w.s.forge, w.s.pull, r.Intended.Add(-skew), r.Marker)
		case w.e.budget.extra(w.s.pull.Repo.ID):
			doubt = true
			c, r, err = w.post(ctx, id)
		}
		switch {
		case errors.Is(err, vcs.ErrRefused), errors.Is(err, vcs.ErrNotFound):
			r.Gone = err.Error()
		case err == nil:
			r.Comment, r.Node, r.Posted = c.ID, c.Node, c.CreatedAt
		}
		if r.Comment != 0 || r.Gone != "" {
			err := w.e.Journal.PutReport(w.e.quit, r) //nolint:contextcheck // it is made, whatever ends in this moment
			return r, err == nil && r.Gone == ""
		}
		if sleep(ctx, w.e.pace.progressEdit) != nil {
			return r, false
		}
	}
	return r, true
}

// post journals that the comment is meant, and sends it.
func (w *watcher) post(ctx context.Context, id string) (vcs.Comment, journal.Report, error) {
	body, mark := w.text()
	r := journal.Report{
		ID: id, Pull: w.s.pull.ID(), Run: w.s.run.ID, Kind: kindProgress, Command: w.s.ask.name,
		Body: body, Marker: mark, Intended: time.Now().UTC(),
	}
	if err := w.e.Journal.PutReport(ctx, r); err != nil {
		return vcs.Comment{}, r, err
	}
	c, err := w.s.forge.CreateComment(ctx, w.s.pull, body)
	return c, r, err
}

// isOver: nothing will be said of the run any more. now is one whose answer is being given.
func (e *Engine) isOver(ctx context.Context, run, now string) bool {
	if run == now {
		return true
	}
	r, ok, err := e.Journal.Run(ctx, run)
	return err == nil && (!ok || r.State != journal.Running)
}

// removeProgress takes a progress comment away. One whose post got no answer may still turn up: it is
// looked for in the background.
func (e *Engine) removeProgress(ctx context.Context, f vcs.Forge, pull vcs.Pull, r journal.Report) {
	if r.Comment == 0 {
		e.spawn(func() { e.chase(e.quit, f, pull, r) })
		return
	}
	if err := f.DeleteComment(ctx, pull, r.Comment); err != nil && !errors.Is(err, vcs.ErrNotFound) {
		e.Log.WarnContext(ctx, "deleting a progress comment", "run", r.Run, "err", err)
		return
	}
	r.Deleted = true
	if err := e.Journal.PutReport(ctx, r); err != nil {
		e.Log.WarnContext(ctx, "recording a deleted progress comment", "run", r.Run, "err", err)
	}
}

// chase looks for a progress comment until it is sure that none was made, and then owes none.
func (e *Engine) chase(ctx context.Context, f vcs.Forge, pull vcs.Pull, r journal.Report) {
	for until := time.Now().Add(e.pace.doubt); ; {
		found, ok, err := e.search(ctx, f, pull, r.Intended.Add(-skew), r.Marker)
		switch {
		case errors.Is(err, vcs.ErrRefused), errors.Is(err, vcs.ErrNotFound):
			r.Gone = err.Error()
			err = e.Journal.PutReport(ctx, r)
		case ok:
			r.Comment = found.ID
			e.removeProgress(ctx, f, pull, r)
			return
		case err == nil && !time.Now().Before(until):
			r.Deleted = true
			err = e.Journal.PutReport(ctx, r)
		}
		if err != nil && ctx.Err() == nil {
			e.Log.WarnContext(ctx, "looking for a progress comment", "run", r.Run, "err", err)
		}
		if r.Gone != "" || r.Deleted || sleep(ctx, searchPause) != nil {
			return
		}
	}
}
