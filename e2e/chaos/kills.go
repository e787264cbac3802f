package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// killer kills, and starts the server again.
type killer struct {
	*world
	cards []card
	score score
	found []string // what is not as promised, where the first violation ends it all
	out   io.Writer
}

// score is what was killed.
type score struct {
	per           map[string]int // failpoint
	who           map[victim]int
	live, newborn int
	done, missed  int
}

func (s *score) add(o score) {
	for p, n := range o.per {
		s.per[p] += n
	}
	for w, n := range o.who {
		s.who[w] += n
	}
	s.live, s.newborn, s.done, s.missed = s.live+o.live, s.newborn+o.newborn, s.done+o.done, s.missed+o.missed
}

func newScore() score { return score{per: map[string]int{}, who: map[victim]int{}} }

// maxTries is how often a moment may not come before its kill is given up.
const maxTries = 5

// kill plays the cards. A moment that does not come is waited for again later.
func (k *killer) kill(ctx context.Context, o options) error {
	end, told, all := time.Now().Add(o.most), time.Now(), len(k.cards)
	for len(k.cards) > 0 && time.Now().Before(end) && ctx.Err() == nil {
		if time.Since(told) > 20*time.Second {
			told = time.Now()
			_, _ = fmt.Fprintf(k.out, "world %d: %d of %d kills, %d given up\n", o.nth, k.score.done, all, k.score.missed)
		}
		if o.round > 0 {
			now, err := k.now(ctx)
			if err != nil {
				return err
			}
			if k.found = soon(now); len(k.found) > 0 {
				return nil
			}
		}
		c, err := k.draw()
		if err != nil {
			return err
		}
		if err := k.play(ctx, c); err != nil {
			return err
		}
	}
	k.score.missed += len(k.cards)
	return errFrom(ctx, k.hold(false))
}

// draw takes the next card. A first second comes after the end of a server; one is made for it where no other
// card is left.
func (k *killer) draw() (card, error) {
	at := 0
	if k.cards[0].when == newborn && time.Since(k.born) > time.Second/4 {
		at = slices.IndexFunc(k.cards, func(c card) bool { return c.when != newborn })
	}
	var err error
	if at < 0 {
		at = 0
		_ = syscall.Kill(k.server.Process.Pid, syscall.SIGKILL)
		<-k.dead
		err = k.start()
	}
	c := k.cards[at]
	k.cards = slices.Delete(k.cards, at, at+1)
	return c, err
}

func errFrom(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// play waits for the moment and strikes. An apply stays as it is when the next kill is of the server that
// takes it over.
func (k *killer) play(ctx context.Context, c card) error {
	halted, came := k.await(ctx, c)
	if !came {
		if c.tries++; c.tries < maxTries {
			k.cards = append(k.cards, c)
		} else {
			k.score.missed++
		}
		return k.hold(false)
	}
	age := time.Since(k.born)
	who, err := k.strike(ctx, c.who, halted)
	if err != nil {
		return err
	}
	k.diary("%s, when the server %d was %s old, %s", [...]string{"the server", "a supervisor", "everything"}[who],
		k.server.Process.Pid, age.Round(time.Millisecond), c)
	_ = os.Remove(filepath.Join(k.dir, "failpoints", "hit"))
	k.score.done++
	k.score.who[who]++
	if age < time.Second {
		k.score.newborn++
	}
	k.score.per[c.point]++
	if len(k.cards) == 0 || k.cards[0].when != newborn {
		if err := k.hold(false); err != nil {
			return err
		}
	}
	if who == aSupervisor {
		return nil
	}
	<-k.dead
	return k.start()
}

// hold makes resources take as long as it holds, or lets them end.
func (k *killer) hold(on bool) error {
	at := filepath.Join(k.dir, "state", "hold")
	if on {
		return os.WriteFile(at, nil, 0o600)
	}
	if err := os.Remove(at); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// await waits for a moment, for a while. It answers who halts there, if somebody does, and whether it came.
func (k *killer) await(ctx context.Context, c card) (halted int, came bool) {
	part := func(d time.Duration) time.Duration { return d * time.Duration(c.after) / 1000 }
	wait := 15 * time.Second
	if c.point == mergingPoint || c.point == mergedPoint { // who wants it may have to plan and apply first
		wait *= 3
	}
	limit, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	switch c.when {
	case newborn:
		pause(ctx, time.Until(k.born.Add(part(time.Second))))
		return 0, time.Since(k.born) < time.Second
	case atAnyTime:
		pause(ctx, part(2*time.Second))
		return 0, true
	case inAnApply:
		if k.hold(true) != nil {
			return 0, false
		}
		for limit.Err() == nil && !k.applying() {
			pause(limit, tick)
		}
		if limit.Err() != nil {
			return 0, false
		}
		pause(ctx, part(300*time.Millisecond))
		return 0, k.applying()
	case atAPoint:
	}
	k.wish(c.point)
	defer k.wish("")
	armed, hit := filepath.Join(k.dir, "failpoints", "armed "+c.point), filepath.Join(k.dir, "failpoints", "hit")
	if os.WriteFile(armed, nil, 0o600) != nil {
		return 0, false
	}
	for limit.Err() == nil {
		if raw, _ := os.ReadFile(hit); len(raw) > 0 { //nolint:gosec // ours
			pid, err := strconv.Atoi(string(raw))
			return pid, err == nil
		}
		pause(limit, time.Millisecond)
	}
	_ = os.Remove(armed)
	_ = os.Remove(hit) // it may have come to it just now
	return 0, false
}

// applying reports whether the ledger has a resource in the making, and who makes it lives.
func (k *killer) applying() bool {
	open := map[string]bool{}
	for _, l := range k.ledger() {
		if l.what == "begin" {
			open[l.job] = true
		} else {
			delete(open, l.job)
		}
	}
	return len(open) > 0 && slices.ContainsFunc(k.processes(), func(p process) bool { return p.apply && !p.supervisor && open[filepath.Base(p.tmp)] })
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// strike kills, and answers whom. Of everything nobody is to see another's end.
func (k *killer) strike(ctx context.Context, who victim, halted int) (victim, error) {
	all := k.processes()
	if slices.ContainsFunc(all, func(p process) bool { return p.supervisor && p.apply }) {
		k.score.live++
	}
	server := k.server.Process.Pid
	if who == aSupervisor {
		i := slices.IndexFunc(all, func(p process) bool { return p.supervisor && p.pid == halted })
		if i < 0 {
			i = slices.IndexFunc(all, func(p process) bool { return p.supervisor })
		}
		if i >= 0 {
			k.mourn(all[i])
			return who, errGone(syscall.Kill(all[i].pid, syscall.SIGKILL))
		}
		who = theServer // there is none
	}
	if who == theServer {
		return who, syscall.Kill(server, syscall.SIGKILL)
	}
	return who, k.strikeAll(ctx, server)
}

// strikeAll kills everything, all of which is halted before. Where there is a control group the kernel does
// both.
func (k *killer) strikeAll(ctx context.Context, server int) error {
	if err := k.group.freeze(ctx); err == nil {
		for _, p := range k.processes() {
			k.mourn(p)
		}
		return k.group.kill()
	}
	_ = syscall.Kill(server, syscall.SIGSTOP)
	stopped := map[int]bool{}
	for more := true; more; {
		more = false
		for _, p := range k.processes() {
			if !stopped[p.pid] && syscall.Kill(p.pid, syscall.SIGSTOP) == nil {
				k.mourn(p)
				stopped[p.pid], more = true, true
			}
		}
	}
	for pid := range stopped {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return syscall.Kill(server, syscall.SIGKILL)
}

// errGone takes a process that has ended by itself for one that was killed.
func errGone(err error) error {
	if err == syscall.ESRCH { //nolint:errorlint // of a system call
		return nil
	}
	return err
}

// mourn keeps whose end nobody may have seen.
func (k *killer) mourn(p process) {
	if p.run == "" {
		return
	}
	k.said.Lock()
	defer k.said.Unlock()
	k.facts.killed[p.run] = true
}

// diary keeps what was killed, for who reads the logs.
func (k *killer) diary(format string, args ...any) {
	f, err := os.OpenFile(filepath.Join(k.dir, "kills.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _ = fmt.Fprintf(f, time.Now().UTC().Format("2006-01-02T15:04:05.000Z ")+format+"\n", args...)
	_ = f.Close()
}
