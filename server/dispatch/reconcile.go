package dispatch

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// overlap is how far behind its watermark a repository is read again: what the forge showed late is
// found, and what is known already is not taken in twice.
const overlap = 2 * time.Minute

// reconcile takes in what no webhook told, at once and then again and again. Forges do not redeliver by
// themselves: what happened while the server was down, or unreachable, is found here.
func (e *Engine) reconcile(ctx context.Context) {
	for {
		e.lookAround(ctx)
		if sleep(ctx, e.Options.Reconcile) != nil {
			return
		}
	}
}

// lookAround asks once about every repository that is served and known.
func (e *Engine) lookAround(ctx context.Context) {
	if err := e.noRoom(); err != nil {
		e.Log.WarnContext(ctx, "asking no forge what happened: there is no room for it", "err", err)
		return
	}
	e.lanes.next(ctx) // who could not be called when a lock came free
	repos, err := e.repos(ctx)
	if err != nil && ctx.Err() == nil {
		e.Log.ErrorContext(ctx, "reading which repositories are known", "err", err)
	}
	for _, r := range repos {
		f, ok := e.Forges[r.ID.Forge].(vcs.Lister)
		if !ok || !e.Options.Allowed(r) {
			continue
		}
		if err := e.catchUp(ctx, f, r); err != nil && ctx.Err() == nil {
			e.Log.WarnContext(ctx, "asking what happened in a repository", "repo", r.FullName(), "err", err)
		}
	}
}

// repos are the repositories that were heard of, and those that the operator has named. One that was
// renamed is known by its newest name.
func (e *Engine) repos(ctx context.Context) ([]vcs.Repo, error) {
	known := map[vcs.RepoID]vcs.Repo{}
	var order []vcs.RepoID
	add := func(r vcs.Repo) {
		if _, ok := known[r.ID]; !ok {
			order = append(order, r.ID)
		}
		known[r.ID] = r
	}
	records, err := e.Journal.Repos(ctx)
	if err = e.spare(ctx, err); err != nil {
		return nil, err
	}
	for _, r := range records {
		add(r.Repo)
	}
	pulls, err := e.Journal.Pulls(ctx)
	if err = e.spare(ctx, err); err != nil {
		return nil, err
	}
	for _, p := range pulls {
		add(p.Repo)
	}
	for _, named := range e.Options.Repos {
		f, ok := e.Forges[named.ID.Forge].(vcs.Lister)
		if !ok {
			continue
		}
		r, err := e.readNamed(ctx, f, named)
		if err != nil {
			if ctx.Err() == nil {
				e.Log.WarnContext(ctx, "reading a repository of --repo-allowlist", "repo", named.FullName(), "err", err)
			}
			continue
		}
		add(r)
	}
	out := make([]vcs.Repo, 0, len(order))
	for _, id := range order {
		out = append(out, known[id])
	}
	return out, nil
}

// namedRepo is a repository that the operator has named, as the forge showed it then.
type namedRepo struct {
	repo vcs.Repo
	at   time.Time
}

// readNamed reads a repository by its names, at most once an hour: another one seldom gets its name. It is
// called by reconcile alone.
func (e *Engine) readNamed(ctx context.Context, f vcs.Lister, name vcs.Repo) (vcs.Repo, error) {
	key := name.ID.Forge + "\n" + name.FullName()
	if known, ok := e.names[key]; ok && time.Since(known.at) < time.Hour {
		return known.repo, nil
	}
	r, err := f.Repo(ctx, name.Owner, name.Name)
	if err == nil {
		e.names[key] = namedRepo{repo: r, at: time.Now()}
	}
	return r, err
}

// catchUp takes in what happened in a repository since it was asked about last. What was there when it
// was first seen never runs by itself.
func (e *Engine) catchUp(ctx context.Context, f vcs.Lister, repo vcs.Repo) error {
	rec, known, err := e.Journal.Repo(ctx, repo.ID)
	if err != nil {
		return err
	}
	if !known {
		return e.firstSight(ctx, f, repo)
	}
	since := rec.Watermark.Add(-overlap)
	// A pull request of the second of first sight is known if it was there; a comment is not.
	if first := rec.FirstSeen.Add(-time.Second); since.Before(first) {
		since = first
	}
	n, err := f.News(ctx, repo, since, rec.Tags)
	if err != nil {
		return err
	}
	if len(n.Pulls)+len(n.Comments) == 0 {
		if maps.Equal(rec.Tags, n.Tags) {
			return nil
		}
		rec.Tags = n.Tags // the same question, from the same watermark, costs nothing the next time
		return e.Journal.PutRepo(ctx, rec)
	}
	for _, c := range n.Comments {
		if c.At.Before(rec.FirstSeen) {
			continue
		}
		if err := e.foundComment(ctx, c); err != nil {
			return err
		}
	}
	settled := true
	for _, p := range n.Pulls {
		done, err := e.foundPull(ctx, p, n.At)
		if err != nil {
			return err
		}
		settled = settled && done
	}
	if !settled {
		return nil // asked again, from the same watermark
	}
	rec.Repo, rec.Watermark, rec.Tags = repo, n.At, n.Tags
	return e.Journal.PutRepo(ctx, rec)
}

// firstSight notes how a repository stands.
func (e *Engine) firstSight(ctx context.Context, f vcs.Lister, repo vcs.Repo) error {
	n, err := f.News(ctx, repo, time.Time{}, nil)
	if err != nil {
		return err
	}
	for _, p := range n.Pulls {
		err := e.editPull(ctx, p.ID(), func(rec *journal.PullRecord) (bool, error) {
			if rec.Considered != "" {
				return false, nil // a webhook was faster
			}
			describe(rec, p)
			rec.Considered = considered(p)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	// Forge clocks tick in seconds: what was made in this one may have been there already.
	err = e.Journal.PutRepo(ctx, journal.RepoRecord{Repo: repo, FirstSeen: n.At.Add(time.Second), Watermark: n.At})
	if err == nil {
		e.Log.InfoContext(ctx, "a repository is served from now on: what was there before does not run by itself",
			"repo", repo.FullName(), "open pull requests", len(n.Pulls))
	}
	return err
}

// foundComment takes in a comment that asks for something. The key tells whether it is known.
func (e *Engine) foundComment(ctx context.Context, ev vcs.Event) error {
	if e.read(journal.Event{Event: ev}).kind == askNothing {
		return nil
	}
	return e.found(ctx, ev)
}

// foundPull takes in that the head or the base of a pull request is another one, or that it was closed.
// It reports false when something of it is being worked on: then it is to be looked at again.
func (e *Engine) foundPull(ctx context.Context, p vcs.Pull, at time.Time) (settled bool, err error) {
	rec, known, err := e.Journal.Pull(ctx, p.ID())
	if err != nil {
		return false, err
	}
	ev := vcs.Event{Repo: p.Repo, Pull: p.Number, Head: p.Head.SHA, Base: p.Base.SHA, BaseRef: p.Base.Ref, Sender: p.Author, At: at}
	switch {
	case p.State != vcs.Open && known && !rec.CleanedUp:
		ev.Kind = vcs.PullClosed
	case p.State == vcs.Open && !p.Draft && !p.Fork() && rec.Considered != considered(p):
		ev.Kind = vcs.PullPushed
	default:
		return true, nil
	}
	if e.lanes.busy(p.ID()) {
		return false, nil
	}
	if err := e.found(ctx, ev); err != nil || ev.Kind == vcs.PullClosed {
		return true, err
	}
	return true, e.editPull(ctx, p.ID(), func(rec *journal.PullRecord) (bool, error) {
		describe(rec, p)
		rec.Found, rec.FoundAt = considered(p), at
		return true, nil
	})
}

// foundBefore reports whether an event tells of a push that was taken in before its webhook came. It is
// asked before the event gets in anything's way.
func (e *Engine) foundBefore(ctx context.Context, it item) bool {
	if !it.push() || it.ev.Event.Delivery == "" || it.ev.Run != "" {
		return false
	}
	rec, _, err := e.Journal.Pull(ctx, pullOf(it.ev))
	return err == nil && rec.Found == it.ev.Event.Head+" "+it.ev.Event.BaseRef && !it.ev.Event.At.After(rec.FoundAt)
}

func (e *Engine) found(ctx context.Context, ev vcs.Event) error {
	seq, added, err := e.Journal.AddEvent(ctx, ev, ev.Key())
	if err != nil {
		return fmt.Errorf("taking in what no webhook told: %w", err)
	}
	if added {
		e.Log.InfoContext(ctx, "found what no webhook told", "event", seq, "kind", string(ev.Kind), "pull", ev.PullID().String())
	}
	return nil
}

// considered is what an autoplan of a pull request is made for.
func considered(p vcs.Pull) string { return p.Head.SHA + " " + p.Base.Ref }

// tooOld is why an apply is not run any more: nobody expects it now. It is empty when it may run.
func (e *Engine) tooOld(s scene) string {
	asked, limit := s.ask.comment.CreatedAt, maxWait
	if most := e.Options.RecoverMaxAge; most > 0 {
		late := s.ev.Received.Sub(asked) > min(most, time.Minute)
		if late || s.ev.Received.Before(e.began) {
			limit = min(limit, most)
		}
	}
	age := time.Since(asked)
	if age <= limit {
		return ""
	}
	return "it was asked for " + ago(age) + " ago"
}

// maxWait is how long an apply may stand in line.
const maxWait = 30 * time.Minute

// ago is a time span in words.
func ago(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return count(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return count(int(d.Hours()), "hour")
	}
	return count(int(d.Hours())/24, "day")
}
