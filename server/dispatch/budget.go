package dispatch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/vcs"
)

// What GitHub lets one account write, and what of it is kept for answers.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
const (
	writesAMinute  = 80
	writesAnHour   = 500
	answersAMinute = 20
	answersAnHour  = 125
)

// budget is what may still be written to each repository: comments, their edits and reactions. Answers
// wait for room, in the order they come; what can be left out is, as soon as answers might need the room.
type budget struct {
	mu    sync.Mutex
	repos map[vcs.RepoID]*purse
}

// purse holds when things were written in the last hour, oldest first, and who stands in line to write.
type purse struct {
	spent []time.Time
	line  []chan struct{}
}

func newBudget() *budget { return &budget{repos: map[vcs.RepoID]*purse{}} }

// left is how much may be written now, in this minute and in this hour.
func (p *purse) left(now time.Time) (minute, hour int) {
	old, _ := slices.BinarySearchFunc(p.spent, now.Add(-time.Hour), time.Time.Compare)
	p.spent = slices.Delete(p.spent, 0, old)
	at, _ := slices.BinarySearchFunc(p.spent, now.Add(-time.Minute), time.Time.Compare)
	return writesAMinute - (len(p.spent) - at), writesAnHour - len(p.spent)
}

// room is when there will be room for one more.
func (p *purse) room(now time.Time) time.Time {
	at := now
	minute, hour := p.left(now)
	if n := len(p.spent); minute <= 0 {
		at = p.spent[n-writesAMinute].Add(time.Minute)
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
		at := p.room(now)
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
	b.mu.Lock()
	defer b.mu.Unlock()
	p, now := b.purse(repo), time.Now()
	minute, hour := p.left(now)
	if len(p.line) > 0 || minute <= answersAMinute || hour <= answersAnHour {
		return false
	}
	p.spent = append(p.spent, now)
	return true
}

// least is the room of the repository that has the least, and forgets those that have written nothing.
func (b *budget) least() (minute, hour int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	minute, hour = writesAMinute, writesAnHour
	for id, p := range b.repos {
		m, h := p.left(time.Now())
		if h == writesAnHour && len(p.line) == 0 {
			delete(b.repos, id)
		}
		minute, hour = min(minute, m), min(hour, h)
	}
	return minute, hour
}

// Budget is what the engine may still ask of the forges, and write to them.
type Budget struct {
	// Minute and Hour are the writes that the repository with the least has left.
	Minute, Hour int
	// Requests are those that the forge with the least has left; -1 when no forge tells.
	Requests int
}

// Budget answers for metrics and the status page.
func (e *Engine) Budget() Budget {
	b := Budget{Requests: -1}
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
