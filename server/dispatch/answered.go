package dispatch

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// recovered: the event did not come to this process by a webhook of its own time, so that another one
// may have carried it out whose records this journal does not have: it was restored from a backup, or
// what it knew of the event is too old to be kept.
func (e *Engine) recovered(ev journal.Event) bool {
	const late = time.Minute
	return ev.Event.Delivery == "" || ev.Received.Before(e.began) || ev.Received.Sub(ev.Event.At) > late
}

// beforeRestore: the run is older than the restore that the journal came by, and may have gone on after the
// backup was taken.
func (e *Engine) beforeRestore(s scene) bool {
	return s.known && s.run.Started.Before(e.restored.At)
}

// answeredBefore ends an event whose answer of ours stands on the pull request already. The forge is
// asked, because the journal can't know: what it does not remember is never done twice for that.
func (e *Engine) answeredBefore(ctx context.Context, s scene) (done bool, err error) {
	by := strings.HasPrefix(s.ask.source, "comment:") || strings.HasPrefix(s.ask.source, "push:")
	if !by || s.known && !e.beforeRestore(s) || !s.known && !e.recovered(s.ev) {
		return false, nil
	}
	c, m, err := e.ownAnswer(ctx, s)
	if err != nil || m.Run == "" {
		return false, err
	}
	e.Log.InfoContext(ctx, "this was answered already", "pull", s.pull.ID().String(), "source", s.ask.source, "run", m.Run)
	if !s.known {
		return true, e.Journal.EventDone(ctx, s.ev.Seq, "", fmt.Sprintf("answered already in comment %d, run %s", c.ID, m.Run))
	}
	if _, err := e.abandonAll(ctx, s); err != nil {
		return true, err
	}
	err = e.Journal.PutReport(ctx, journal.Report{
		ID: s.run.ID, Pull: s.pull.ID(), Run: s.run.ID, Kind: kindAnswer, Command: s.ask.name, Body: c.Body,
		Marker: m.text(), Intended: c.CreatedAt, Posted: c.CreatedAt, Comment: c.ID, Node: c.Node,
	})
	if err != nil {
		return true, fmt.Errorf("recording an answer that was found: %w", err)
	}
	return true, e.finish(ctx, s, nil, "")
}

// ownAnswer finds our answer to what the scene asks for. A push comes to the same head again: it is answered only
// by this run, or by one that this journal does not know because it was restored.
func (e *Engine) ownAnswer(ctx context.Context, s scene) (vcs.Comment, marker, error) {
	var since time.Time
	if s.ask.comment != nil {
		since = s.ask.comment.CreatedAt
	}
	all, err := s.forge.Comments(ctx, s.pull, since)
	if err != nil {
		return vcs.Comment{}, marker{}, fmt.Errorf("looking for an answer of ours: %w", err)
	}
	for _, c := range all {
		text, ours := e.sign.find(s.pull.ID(), c.Body)
		m := readMarker(text)
		if !ours || m.Source != s.ask.source || m.Part != partAnswer {
			continue
		}
		if s.ask.comment == nil && m.Run != s.run.ID {
			lost, err := e.lost(ctx, m.Run)
			if err != nil {
				return c, m, err
			}
			if !lost {
				continue
			}
		}
		return c, m, nil
	}
	return vcs.Comment{}, marker{}, nil
}

// lost reports whether a run was made after the backup that the journal came out of, and is not in it.
func (e *Engine) lost(ctx context.Context, run string) (bool, error) {
	const skew = time.Minute
	made, ok := journal.RunTime(run)
	if !ok || made.Before(e.restored.Taken.Add(-skew)) || made.After(e.restored.At) {
		return false, nil
	}
	_, known, err := e.Journal.Run(ctx, run)
	return !known && err == nil, e.spare(ctx, err)
}

// abandonRestored ends the applies of a run that a backup was taken in the middle of. The job directories
// in it are older than the end: that nothing was started, or that nobody saw the end, proves nothing.
func (e *Engine) abandonRestored(ctx context.Context, s scene) error {
	if !s.ask.changes() || !e.beforeRestore(s) {
		return nil
	}
	_, err := e.abandonAll(ctx, s)
	return err
}

// abandonAll ends all jobs of a run that are still to be carried out.
func (e *Engine) abandonAll(ctx context.Context, s scene) ([]journal.Job, error) {
	jobs, err := e.Journal.Jobs(ctx, s.run.ID)
	if err = e.spare(ctx, err); err != nil {
		return nil, err
	}
	for i, j := range jobs {
		if jobs[i], err = e.abandon(ctx, s, j); err != nil {
			return nil, err
		}
	}
	return jobs, nil
}

// evidenceOf is what can be said of a job that ends without anybody having seen its end.
func (e *Engine) evidenceOf(s scene, end runner.End) []string {
	if end != runner.Unknown || !e.beforeRestore(s) {
		return nil
	}
	return []string{"the server's records were restored from a backup of " + e.restored.Taken.UTC().Format(time.RFC3339) +
		", when this apply was running; what it has done since is not in them"}
}
