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
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

type options struct {
	kills, people int
	seed          uint64
	most          time.Duration
	bin, dir      string
}

func main() {
	var o options
	flag.IntVar(&o.kills, "kills", 20, "how often to kill")
	flag.Uint64Var(&o.seed, "seed", 1, "decides who is killed and where")
	flag.IntVar(&o.people, "people", 5, "how many work at once")
	flag.DurationVar(&o.most, "time", 40*time.Minute, "no more kills after this long")
	flag.StringVar(&o.bin, "bin", "", "a binary that was built with the tag failpoints; without it one is built")
	flag.StringVar(&o.dir, "dir", "", "an empty directory to work in, which stays; without it one is made, and stays only after a violation")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

var errViolated = errors.New("what was promised was not kept")

func run(ctx context.Context, o options, out io.Writer) (err error) {
	keep := o.dir != ""
	if !keep {
		if o.dir, err = os.MkdirTemp("", "tidegate-chaos-"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				_ = os.RemoveAll(o.dir)
			}
		}()
	}
	if o.bin == "" {
		o.bin = filepath.Join(o.dir, "tidegate")
		built, err := exec.CommandContext(ctx, "go", "build", "-tags", "failpoints", "-o", o.bin, "./cmd/tidegate").CombinedOutput()
		if err != nil {
			return fmt.Errorf("building tidegate: %w\n%s", err, built)
		}
	}
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer w.end()
	if err := w.start(ctx); err != nil {
		return err
	}
	k := &killer{world: w, dice: rand.New(rand.NewPCG(o.seed, 0)), per: map[string]int{}} //nolint:gosec // to be repeated
	crowd := w.crowd(ctx, o)
	err = k.kill(ctx, o)
	crowd.leave()
	if err != nil {
		return err
	}
	bad := w.check(ctx)
	k.print(out)
	w.print(ctx, out)
	for _, b := range bad {
		_, _ = fmt.Fprintln(out, "VIOLATION:", b)
	}
	if len(bad) > 0 {
		return fmt.Errorf("seed %d: %w, %d times; everything is in %s", o.seed, errViolated, len(bad), o.dir)
	}
	return nil
}
