package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// total is what was done and found in all worlds together.
type total struct {
	score                             score
	answers, faults                   map[string]int
	worlds, pulls, commands, resource int
	merged, unmerged                  int
	groups                            int
	bad                               []string
	errs                              []error
}

func newTotal() *total {
	return &total{score: newScore(), answers: map[string]int{}, faults: map[string]int{}}
}

func (t *total) take(ends []ending) {
	t.worlds = max(t.worlds, len(ends))
	for i, e := range ends {
		t.score.add(e.score)
		if e.group {
			t.groups++
		}
		for kind, n := range e.facts.kinds() {
			t.answers[kind] += n
		}
		for kind, n := range e.faults {
			t.faults[string(kind)] += n
		}
		for _, l := range e.facts.ledger {
			if l.what == "begin" {
				t.resource++
			}
		}
		for _, m := range e.facts.merges {
			if m.done() {
				t.merged++
			}
		}
		for _, list := range e.facts.comments {
			for _, c := range list {
				if c.refuses() != "" {
					t.unmerged++
				}
			}
		}
		t.pulls, t.commands = t.pulls+len(e.facts.pulls), t.commands+len(e.facts.asked)
		for _, b := range e.bad {
			t.bad = append(t.bad, fmt.Sprintf("world %d: %s", i, b))
		}
		if e.err != nil {
			t.errs = append(t.errs, fmt.Errorf("world %d: %w", i, e.err))
		}
	}
}

// print prints all of it. Its error is what makes the run a failed one.
func (t *total) print(o options, took time.Duration) error {
	_, _ = fmt.Fprintf(o.out, "seed %d, %s, %.1f s for each kill\n", o.seed, took.Round(time.Second), took.Seconds()/float64(max(t.score.done, 1)))
	_, _ = fmt.Fprintf(o.out, "%d worlds at once; in each %d projects with their state in files, and %d with it behind http, which locks\n",
		t.worlds, projects/2, projects-projects/2)
	if t.groups > 0 {
		_, _ = fmt.Fprintln(o.out, "each world is in a control group, of which the kernel kills everything at once")
	}
	t.score.table(o.out)
	_, _ = fmt.Fprintf(o.out, "%d pull requests, %d commands, %d resources begun; %d merged by the server, %d times told why not; answers:\n",
		t.pulls, t.commands, t.resource, t.merged, t.unmerged)
	tally(o.out, t.answers)
	if o.faults {
		_, _ = fmt.Fprintln(o.out, "faults of the forge:")
		tally(o.out, t.faults)
	}
	for _, b := range t.bad {
		_, _ = fmt.Fprintln(o.out, "VIOLATION:", b)
	}
	for _, err := range t.errs {
		_, _ = fmt.Fprintln(o.out, "NOT FINISHED:", err)
	}
	switch {
	case len(t.bad) > 0:
		return fmt.Errorf("seed %d: %w, %d times, after %d kills; everything is in %s", o.seed, errViolated, len(t.bad), t.score.done, o.dir)
	case len(t.errs) > 0:
		return fmt.Errorf("seed %d: it did not come to its end; everything is in %s", o.seed, o.dir)
	}
	_, _ = fmt.Fprintln(o.out, "no violation")
	short := t.score.short(o.kills)
	if o.kills < fullKills {
		_, _ = fmt.Fprintf(o.out, "(%d kills are fewer than the %d that are needed for enough of each kind)\n", o.kills, fullKills)
	}
	if len(short) > 0 {
		return fmt.Errorf("seed %d: too few kills, so this shows too little: %s; everything is in %s", o.seed, strings.Join(short, "; "), o.dir)
	}
	return nil
}

// fullKills is how many kills there must be for all that a full run must have of each kind.
const fullKills = 500

// short is what there was too little of. Of a run with fewer kills than a full one only most must have come.
func (s score) short(kills int) []string {
	var out []string
	least := func(what string, got, want int) {
		if got < want {
			out = append(out, fmt.Sprintf("%d %s, want %d", got, what, want))
		}
	}
	least("kills", s.done, kills*9/10)
	if kills < fullKills {
		return out
	}
	for _, point := range points() {
		least("at "+point, s.per[point], 10)
	}
	least("with a live apply", s.live, 150)
	least("in the first second", s.newborn, 50)
	return out
}

// table prints what was killed.
func (s score) table(out io.Writer) {
	_, _ = fmt.Fprintf(out, "%d kills: %d of the server, %d of a supervisor, %d of everything; %d with a live apply, %d in the first second of a server\n",
		s.done, s.who[theServer], s.who[aSupervisor], s.who[everything], s.live, s.newborn)
	for _, point := range points() {
		_, _ = fmt.Fprintf(out, "%6d  %s\n", s.per[point], point)
	}
	_, _ = fmt.Fprintf(out, "%6d  at no point: in an apply, in the first second, at any time\n", s.per[""])
	if s.missed > 0 {
		_, _ = fmt.Fprintf(out, "%6d  given up: their moment did not come\n", s.missed)
	}
}

// tally prints how often there was what.
func tally(out io.Writer, counts map[string]int) {
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		_, _ = fmt.Fprintf(out, "%6d  %s\n", counts[kind], strings.TrimSpace(kind))
	}
}
