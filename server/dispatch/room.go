package dispatch

import (
	"context"
	"slices"
	"strconv"

	"github.com/tidegate/tidegate/vcs"
)

// room is how many commands may wait. Zero is any number.
type room struct{ pull, repo int }

// takesRoom: a command that somebody wrote, and whose run has not begun. Unlock, help and close never wait, and of
// autoplans only the newest does.
func (i item) takesRoom() bool {
	return i.ask.comment != nil && i.runs() && i.ev.Run == ""
}

// crowd says why there is no room for one more command; "" when there is. The lanes are locked.
func (ls *lanes) crowd(id vcs.PullID) string {
	here, all := 0, 0
	for other, l := range ls.byPull {
		n := 0
		for _, q := range l.queue {
			if q.takesRoom() {
				n++
			}
		}
		if other == id {
			here = n
		}
		if other.Repo == id.Repo {
			all += n
		}
	}
	switch {
	case ls.room.pull > 0 && here >= ls.room.pull:
		return commands(here) + " on this pull request already"
	case ls.room.repo > 0 && all >= ls.room.repo:
		return commands(all) + " in this repository already"
	}
	return ""
}

func commands(n int) string {
	if n == 1 {
		return "1 command waits"
	}
	return strconv.Itoa(n) + " commands wait"
}

// squeeze looks for room for a command. Anybody can write comments: those of people who may not ask for anything do
// not keep out who may, and get their answer now.
func (ls *lanes) squeeze(ctx context.Context, id vcs.PullID, it item) {
	for seq, w := range ls.waitingIn(id.Repo) {
		if ls.may(ctx, w.item) || ctx.Err() != nil || !ls.remove(w.pull, seq) {
			continue
		}
		w.crowd = "too many commands wait" // should they be allowed by now, they are not to run beside others
		ls.spawn(func() { ls.tell(ctx, ctx, w.item) })
	}
	if ctx.Err() != nil {
		return // it is told at the next start
	}
	ls.mu.Lock()
	it.crowd = ls.crowd(id)
	ls.mu.Unlock()
	if it.crowd != "" {
		ls.tell(ctx, ctx, it)
		return
	}
	it.squeezed = true
	ls.take(ctx, id, it)
}

// waiter is an item in its line.
type waiter struct {
	item
	pull vcs.PullID
}

// waitingIn are the commands that wait in a repository, by their event.
func (ls *lanes) waitingIn(repo vcs.RepoID) map[uint64]waiter {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	out := map[uint64]waiter{}
	for id, l := range ls.byPull {
		for _, q := range l.queue {
			if id.Repo == repo && q.takesRoom() {
				out[q.ev.Seq] = waiter{item: q, pull: id}
			}
		}
	}
	return out
}

// remove takes an item out of its line, if it still waits.
func (ls *lanes) remove(id vcs.PullID, seq uint64) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.byPull[id]
	if l == nil {
		return false
	}
	before := len(l.queue)
	l.queue = slices.DeleteFunc(l.queue, func(q item) bool { return q.ev.Seq == seq })
	return len(l.queue) < before
}
