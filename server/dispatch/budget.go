package dispatch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

// budget is what may still be written to each repository: comments, their edits and reactions. Answers
// wait for room, in the order they come; what can be left out is, as soon as answers might need the room.
//
// GitHub lets an account write 80 a minute and 500 an hour; a server of one's own has other limits, or none.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
type budget struct {
	// hour is how much may be written in an hour, and minute in one; 0 is without a limit.
	hour, minute int

	mu    sync.Mutex
	repos map[vcs.RepoID]*purse
}

// purse holds when things were written in the last hour, oldest first, and who stands in line to write.
type purse struct {
	spent []time.Time
	line  []chan struct{}
}

func newBudget(hour int) *budget {
	return &budget{hour: hour, minute: hour * 80 / 500, repos: map[vcs.RepoID]*purse{}}
}

// left is how much may be written now, in this minute and in this hour.
func (b *budget) left(p *purse, now time.Time) (minute, hour int) {
	old, _ := slices.BinarySearchFunc(p.spent, now.Add(-time.Hour), time.Time.Compare)
	p.spent = slices.Delete(p.spent, 0, old)
	at, _ := slices.BinarySearchFunc(p.spent, now.Add(-time.Minute), time.Time.Compare)
	return b.minute - (len(p.spent) - at), b.hour - len(p.spent)
}

// room is when there will be room for one more.
func (b *budget) room(p *purse, now time.Time) time.Time {
	at := now
	minute, hour := b.left(p, now)
	if n := len(p.spent); minute <= 0 {
		at = p.spent[n-b.minute].Add(time.Minute)
	}
	if hour <= 0 {
		at = p.spent[0].Add(time.Hour)
	}
	return at
}

func (b *budget) purse(repo vcs.RepoID) *purse {
	p := b.repos[repo]
	if p == nil {
		p = &purse{}
		b.repos[repo] = p
	}
	return p
}

// answer waits until an answer may be written, and counts it. It answers the context's cause if that ends.
func (b *budget) answer(ctx context.Context, repo vcs.RepoID) error {
	if b.hour == 0 {
		return nil
	}
	me := make(chan struct{})
	b.mu.Lock()
	p := b.purse(repo)
	p.line = append(p.line, me)
	first := len(p.line) == 1
	b.mu.Unlock()
	defer b.leave(p, me)
	if !first {
		select {
		case <-me:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for {
		b.mu.Lock()
		now := time.Now()
		at := b.room(p, now)
		if !at.After(now) {
			p.spent = append(p.spent, now)
			b.mu.Unlock()
			return nil
		}
		b.mu.Unlock()
		if err := sleep(ctx, at.Sub(now)+time.Millisecond); err != nil {
			return err
		}
	}
}

// leave lets the next one in the line go to its head.
func (b *budget) leave(p *purse, me chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := slices.Index(p.line, me)
	p.line = slices.Delete(p.line, at, at+1)
	if at == 0 && len(p.line) > 0 {
		close(p.line[0])
	}
}

// extra reports whether something may be written that nobody needs to have, and counts it.
func (b *budget) extra(repo vcs.RepoID) bool {
	if b.hour == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p, now := b.purse(repo), time.Now()
	minute, hour := b.left(p, now)
	if len(p.line) > 0 || minute <= b.minute/4 || hour <= b.hour/4 {
		return false
	}
	p.spent = append(p.spent, now)
	return true
}

// least is the room of the repository that has the least, and forgets those that have written nothing.
func (b *budget) least() (minute, hour int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	minute, hour = b.minute, b.hour
	for id, p := range b.repos {
		m, h := b.left(p, time.Now())
		if h == b.hour && len(p.line) == 0 {
			delete(b.repos, id)
		}
		minute, hour = min(minute, m), min(hour, h)
	}
	return minute, hour
}

// Budget is what the engine may still ask of the forges, and write to them.
type Budget struct {
	// Minute and Hour are the writes that the repository with the least has left, if Limited.
	Limited      bool
	Minute, Hour int
	// Requests are those that the forge with the least has left; -1 when no forge tells.
	Requests int
}

// Budget answers for metrics and the status page.
func (e *Engine) Budget() Budget {
	b := Budget{Requests: -1, Limited: e.budget.hour > 0}
	b.Minute, b.Hour = e.budget.least()
	for _, f := range e.Forges {
		m, ok := f.(vcs.Metered)
		if !ok {
			continue
		}
		if n, told := m.RequestsLeft(); told && (b.Requests < 0 || n < b.Requests) {
			b.Requests = n
		}
	}
	return b
}
