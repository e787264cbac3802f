package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// points are those of the engine, the journal and the supervisor, in the order of the write path.
func points() []string {
	return []string{
		"before commit", "after commit", "locked", "job running", "before the mark", "started mark", "executed", "process ended",
		"status file", "plan stored", "result journalled", "report intent", "posted", "answer journalled", mergingPoint, mergedPoint, "run ended", "event done",
		"plan discarded", "lock released", "waiter called", cancelPoint,
	}
}

// Points that are reached only when somebody cancels, or has something merged, which people do when they are wanted.
const (
	cancelPoint  = "cancel journalled"
	mergingPoint = "merging" // the forge is asked next
	mergedPoint  = "merged"  // the forge has done it, and no record says so
)

// moment is when to strike.
type moment int

const (
	atAPoint  moment = iota
	inAnApply        // while the ledger shows a resource in the making
	newborn          // in the first second of a server
	atAnyTime        // at random
)

// victim is who is killed.
type victim int

const (
	theServer   victim = iota
	aSupervisor        // and its process with it, in time
	everything         // server, supervisors and their processes, none of which sees another's end
)

// card is one kill to come.
type card struct {
	when  moment
	point string // of atAPoint
	who   victim
	// after is how long to wait, in thousandths of what the moment allows.
	after int
	tries int
}

// choose deals as many cards as there are, but only of those that are named; of all without names.
func choose(cards []card, names string) ([]card, error) {
	if names == "" {
		return cards, nil
	}
	some := slices.DeleteFunc(slices.Clone(cards), func(c card) bool { return !slices.Contains(strings.Split(names, ","), c.name()) })
	for name := range strings.SplitSeq(names, ",") {
		if !slices.ContainsFunc(some, func(c card) bool { return c.name() == name }) {
			return nil, fmt.Errorf("no card is of %q", name)
		}
	}
	out := make([]card, len(cards))
	for i := range out {
		out[i] = some[i%len(some)]
	}
	return out, nil
}

func (c card) String() string {
	if c.when == atAPoint {
		return fmt.Sprintf("at %q", c.point)
	}
	return c.name()
}

func (c card) name() string {
	if c.when == atAPoint {
		return c.point
	}
	return map[moment]string{inAnApply: "in an apply", newborn: "in its first second", atAnyTime: "at any time"}[c.when]
}

// deck deals n kills: of each hundred 32 in an apply, 11 in a first second, 5 at any time, and the rest
// over all points alike. The seed decides their order and their victims.
func deck(n int, seed uint64) []card {
	dice := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated
	var at []string
	for range (n + len(points()) - 1) / len(points()) {
		more := points()
		dice.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
		at = append(at, more...)
	}
	cards := make([]card, n)
	for i := range cards {
		c := &cards[i]
		c.who = []victim{theServer, theServer, theServer, aSupervisor, everything}[dice.IntN(5)]
		c.after = dice.IntN(1000)
		switch share := i * 100 / n; {
		case share < 32:
			c.when = inAnApply
			c.who = []victim{theServer, theServer, aSupervisor, everything}[i%4]
		case share < 43:
			c.when = newborn
		case share < 48:
			c.when = atAnyTime
		default:
			c.point, at = at[0], at[1:]
		}
	}
	dice.Shuffle(n, func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
	return cards
}
