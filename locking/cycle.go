package locking

import (
	"bytes"
	"cmp"
	"slices"
)

// cycles finds the circles that p is part of: for each pull request that p waits for, the shortest way
// back to p. Waiters that are skipped wait for nobody: they are found when they come back.
func (t *table) cycles(p Pull) []Cycle {
	var out []Cycle
	for _, first := range t.waitsFor(p) {
		way := t.way(first.Pull, p)
		if way == nil {
			continue
		}
		// p waits for first, first for the next ... and the last for p.
		way = append([]edge{first}, way...)
		out = append(out, circle(way))
	}
	slices.SortFunc(out, func(a, b Cycle) int { return slices.CompareFunc(a.Pulls, b.Pulls, comparePulls) })
	return slices.CompactFunc(out, func(a, b Cycle) bool {
		return slices.Equal(a.Pulls, b.Pulls) && slices.Equal(a.Keys, b.Keys)
	})
}

// edge says that somebody waits for Pull because of its Key.
type edge struct {
	Pull Pull
	Key  Key
}

// waitsFor lists the pull requests that p waits for, each once and with its first key, in order. A
// place in line counts only where nothing else is in the way.
func (t *table) waitsFor(p Pull) []edge {
	var all []edge
	for _, w := range t.waiters {
		if w.Pull != p || w.Skipped {
			continue
		}
		holders := t.holders(p, w.Key)
		for _, l := range holders {
			all = append(all, edge{l.Pull, l.Key})
		}
		if len(holders) > 0 {
			continue
		}
		for _, a := range t.ahead(p, w.Key) {
			all = append(all, edge{a.Pull, a.Key})
		}
	}
	slices.SortFunc(all, func(a, b edge) int {
		return cmp.Or(comparePulls(a.Pull, b.Pull), bytes.Compare(a.Key.Bytes(), b.Key.Bytes()))
	})
	return slices.CompactFunc(all, func(a, b edge) bool { return a.Pull == b.Pull })
}

// way is the shortest way on which from waits for to; nil if there is none. Of several it is the
// first in order.
func (t *table) way(from, to Pull) []edge {
	type step struct {
		edge
		before int
	}
	steps := []step{{edge{Pull: from}, -1}}
	seen := map[Pull]bool{from: true}
	for i := 0; i < len(steps); i++ {
		for _, e := range t.waitsFor(steps[i].Pull) {
			if e.Pull == to {
				way := []edge{e}
				for at := i; steps[at].before >= 0; at = steps[at].before {
					way = append(way, steps[at].edge)
				}
				slices.Reverse(way)
				return way
			}
			if !seen[e.Pull] {
				seen[e.Pull] = true
				steps = append(steps, step{e, i})
			}
		}
	}
	return nil
}

// circle turns a way of waiting round, so that each holds what the next waits for, and begins it with
// the smallest pull request.
func circle(way []edge) Cycle {
	slices.Reverse(way)
	first := 0
	for i := range way {
		if comparePulls(way[i].Pull, way[first].Pull) < 0 {
			first = i
		}
	}
	var c Cycle
	for i := range way {
		e := way[(first+i)%len(way)]
		c.Pulls, c.Keys = append(c.Pulls, e.Pull), append(c.Keys, e.Key)
	}
	return c
}

func comparePulls(a, b Pull) int {
	return cmp.Or(cmp.Compare(a.Forge, b.Forge), cmp.Compare(a.Repo, b.Repo), cmp.Compare(a.Number, b.Number))
}
