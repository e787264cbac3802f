// Command chaos tries to break a server: people work on pull requests while it, its supervisors and
// its terraforms are killed, at the failpoints of the write order and at random. Then it asks the
// forge, the ledger that the applied resources write, the states and /proc, and never the journal,
// whether anything was lost or done twice.
//
//	go run ./e2e/chaos -kills 500 -seed 1
//
// Who is killed, and where, is decided by the seed; what else happens meanwhile is the machine's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/vcs/devforge"
)

type options struct {
	kills, people, worlds, round int
	seed                         uint64
	most, patience               time.Duration
	bin, dir, only               string
	faults                       bool
	nth                          int // of the worlds
	out                          io.Writer
}

func main() {
	var o options
	flag.IntVar(&o.kills, "kills", 20, "how often to kill")
	flag.Uint64Var(&o.seed, "seed", 1, "decides who is killed and where")
	flag.IntVar(&o.worlds, "worlds", 2, "how many servers at once, each with a forge of its own; they share the kills")
	flag.IntVar(&o.people, "people", 5, "how many work at once in each")
	flag.IntVar(&o.round, "round", 0, "judge after so many kills, with everything of them ended, and stop at the first violation; 0 judges once, at the end")
	flag.StringVar(&o.only, "only", "", "play only the cards of these, parted by commas: names of failpoints, \"in an apply\", \"in its first second\", \"at any time\"")
	flag.DurationVar(&o.most, "time", 3*time.Hour, "no more kills after this long")
	flag.DurationVar(&o.patience, "patience", 4*time.Minute, "how long an answer may take before it is given up; with -forge-faults three times that")
	flag.BoolVar(&o.faults, "forge-faults", false, "of the server's calls and of the webhooks 30 % go wrong, too")
	flag.StringVar(&o.bin, "bin", "", "a binary that was built with the tag failpoints; without it one is built")
	flag.StringVar(&o.dir, "dir", "", "an empty directory to work in, which stays; without it one is made, and stays only after a violation")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	o.out = &lines{w: os.Stdout}
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

var errViolated = errors.New("what was promised was not kept")

// lines is written to by several at once.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func run(ctx context.Context, o options) (err error) {
	if o.kills < 1 || o.worlds < 1 || o.people < 1 {
		return errors.New("there must be at least one kill, one world and one who works")
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "tidegate-chaos-"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				_ = os.RemoveAll(o.dir)
			}
		}()
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if o.bin == "" {
		o.bin = filepath.Join(o.dir, "tidegate")
		built, err := exec.CommandContext(ctx, "go", "build", "-tags", "failpoints", "-o", o.bin, "github.com/tidegate/tidegate/cmd/tidegate").CombinedOutput()
		if err != nil {
			return fmt.Errorf("building tidegate: %w\n%s", err, built)
		}
	}
	begin, all, round := time.Now(), newTotal(), o.round
	if round < 1 {
		round = o.kills
	}
	cards, err := choose(deck(o.kills, o.seed), o.only)
	if err != nil {
		return err
	}
	n := 0
	for cards := range slices.Chunk(cards, round) {
		dir := o.dir
		if o.round > 0 {
			n++
			dir = filepath.Join(o.dir, "round"+strconv.Itoa(n))
		}
		if all.take(playAll(ctx, o, dir, cards)); len(all.bad)+len(all.errs) > 0 {
			break
		}
	}
	return all.print(o, time.Since(begin))
}

// playAll deals cards to all worlds and lets each play.
func playAll(ctx context.Context, o options, dir string, cards []card) []ending {
	ends := make([]ending, min(o.worlds, len(cards)))
	var wg sync.WaitGroup
	for i := range ends {
		one := o
		one.nth, one.dir = i, filepath.Join(dir, strconv.Itoa(i))
		var hand []card
		for n := i; n < len(cards); n += len(ends) {
			hand = append(hand, cards[n])
		}
		wg.Go(func() { ends[i] = breakOne(ctx, one, hand) })
	}
	wg.Wait()
	return ends
}

// ending is how it ended in one world.
type ending struct {
	facts  facts
	score  score
	faults map[devforge.Fault]int
	group  bool // there was a control group
	bad    []string
	err    error
}

// breakOne lets people work in a world of its own while its cards are played, and judges it.
func breakOne(ctx context.Context, o options, hand []card) ending {
	w, err := newWorld(ctx, o)
	if err != nil {
		return ending{err: err}
	}
	w.group = newGroup()
	defer w.end()
	if err := errors.Join(w.start(), w.seen(ctx)); err != nil {
		return ending{err: err}
	}
	if o.faults {
		w.forge.SetFaults(devforge.Faults{User: bot, Rate: 0.3, Seed: o.seed + uint64(o.nth)})
	}
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	k := &killer{world: w, cards: hand, score: newScore(), out: o.out}
	crowd := w.crowd(ctx, o)
	err = k.kill(ctx, o)
	if len(k.found) > 0 {
		giveUp()
	}
	crowd.leave()
	faults := w.forge.FaultCounts()
	w.forge.SetFaults(devforge.Faults{})
	for _, step := range []func(context.Context) error{w.leave, w.goOn, w.gather} {
		if err == nil && len(k.found) == 0 {
			err = step(ctx)
		}
	}
	e := ending{facts: w.facts, score: k.score, faults: faults, group: w.group != "", bad: k.found, err: err}
	if err == nil && len(k.found) == 0 {
		e.bad = judge(e.facts)
	}
	if len(e.bad) > 0 || err != nil {
		e.err = errors.Join(err, e.facts.write(w.dir))
	}
	return e
}
