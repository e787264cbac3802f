package locking

import "slices"

// blocked answers what keeps the pull request from a key, if anything does.
func (t *table) blocked(p Pull, k Key) (Blocked, bool) {
	b := Blocked{Key: k}
	if t.held(p, k) >= 0 {
		return b, false
	}
	holders, ahead := t.holders(p, k), t.ahead(p, k)
	switch {
	case len(holders) > 0:
		// One is told of. The oldest is the likeliest to go next.
		b.Holder = slices.MinFunc(holders, func(x, y Lock) int { return x.Since.Compare(y.Since) })
		b.HolderPull = b.Holder.Pull
	case len(ahead) > 0:
		b.HolderPull = ahead[0].Pull
	default:
		return b, false
	}
	others := map[Pull]bool{}
	for _, l := range holders {
		others[l.Pull] = true
	}
	for _, w := range ahead {
		others[w.Pull] = true
	}
	delete(others, b.HolderPull)
	b.Ahead = len(others)
	return b, true
}

// holders are the locks of others that conflict with k, by key.
func (t *table) holders(p Pull, k Key) []Lock {
	var out []Lock
	for _, l := range t.locks {
		if l.Pull != p && conflicts(l.Key, k) {
			out = append(out, l)
		}
	}
	return out
}

// ahead are the waiters of others that the pull request has to let go first, in the order they came.
// Who waits for something that p holds at the same place goes after p anyway: letting it go first
// would stop both.
func (t *table) ahead(p Pull, k Key) []Waiter {
	var out []Waiter
	me := t.place(p, k)
	for i, w := range t.waiters {
		if me >= 0 && i >= me {
			break
		}
		if w.Pull == p || w.Skipped || !conflicts(w.Key, k) || t.holdsUp(p, w.Key) {
			continue
		}
		out = append(out, w)
	}
	return out
}

// holdsUp reports whether p holds a lock that conflicts with k.
func (t *table) holdsUp(p Pull, k Key) bool {
	return slices.ContainsFunc(t.locks, func(l Lock) bool { return l.Pull == p && conflicts(l.Key, k) })
}

// next are the waiters that would acquire their key now.
func (t *table) next() []Waiter {
	var out []Waiter
	places := t.places()
	for _, w := range t.waiters {
		if w.Skipped {
			continue
		}
		if _, blocked := places[w.Key.unnamed()].blocked(w.Pull, w.Key); !blocked {
			out = append(out, w)
		}
	}
	return out
}

// places takes the table apart: keys of different directories and workspaces never conflict.
func (t *table) places() map[Key]*table {
	places := map[Key]*table{}
	at := func(k Key) *table {
		k = k.unnamed()
		if places[k] == nil {
			places[k] = &table{}
		}
		return places[k]
	}
	for _, l := range t.locks {
		p := at(l.Key)
		p.locks = append(p.locks, l)
	}
	for _, w := range t.waiters {
		p := at(w.Key)
		p.waiters = append(p.waiters, w)
	}
	return places
}

// held is the index of the pull request's lock on exactly k; -1 if there is none.
func (t *table) held(p Pull, k Key) int {
	return slices.IndexFunc(t.locks, func(l Lock) bool { return l.Pull == p && l.Key == k })
}

// place is the index of the pull request's waiter for exactly k; -1 if there is none.
func (t *table) place(p Pull, k Key) int {
	return slices.IndexFunc(t.waiters, func(w Waiter) bool { return w.Pull == p && w.Key == k })
}
