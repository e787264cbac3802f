package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
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
	dice                *rand.Rand
	per                 map[string]int // failpoint
	who                 [3]int
	done, live, newborn int
}

// points are those of the engine, the journal and the supervisor; "" is any moment.
func points() []string {
	return []string{
		"", "", "before commit", "after commit", "locked", "job running", "plan stored", "result journalled", "report intent", "posted",
		"answer journalled", "run ended", "event done", "plan discarded", "lock released", "waiter called",
		"before the mark", "started mark", "executed", "process ended", "status file",
	}
}

// The victims.
const (
	theServer = iota
	aSupervisor
	everything
)

func (k *killer) kill(ctx context.Context, o options) error {
	end := time.Now().Add(o.most)
	for k.done < o.kills && time.Now().Before(end) && ctx.Err() == nil {
		point := points()[k.dice.IntN(len(points()))]
		victim := []int{theServer, theServer, theServer, aSupervisor, everything}[k.dice.IntN(5)]
		if k.dice.IntN(6) == 0 { // in its first second
			k.newborn++
			point = ""
			k.pause(ctx, time.Until(k.born.Add(time.Duration(k.dice.IntN(1000))*time.Millisecond)))
		} else {
			point = k.wait(ctx, point)
		}
		if err := k.strike(victim); err != nil {
			return err
		}
		_ = os.Remove(filepath.Join(k.dir, "failpoints", "hit"))
		k.per[point]++
		k.who[victim]++
		k.done++
		if victim == aSupervisor {
			continue
		}
		<-k.dead
		if err := k.start(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// wait waits for a point to be come to, for a while; it answers which it was, "" for none.
func (k *killer) wait(ctx context.Context, point string) string {
	if point == "" {
		k.pause(ctx, time.Duration(k.dice.IntN(3000))*time.Millisecond)
		return ""
	}
	armed := filepath.Join(k.dir, "failpoints", "armed "+point)
	if os.WriteFile(armed, nil, 0o600) != nil {
		return ""
	}
	limit, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	hit := filepath.Join(k.dir, "failpoints", "hit")
	for limit.Err() == nil {
		if _, err := os.Lstat(hit); err == nil {
			return point
		}
		k.pause(limit, time.Millisecond)
	}
	_ = os.Remove(armed)
	return ""
}

func (k *killer) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// strike kills. Of everything nobody is to see another's end: all are halted first.
func (k *killer) strike(victim int) error {
	all := k.processes()
	if slices.ContainsFunc(all, func(p process) bool { return p.supervisor && p.apply }) {
		k.live++
	}
	server := k.server.Process.Pid
	if victim != theServer {
		k.said.Lock()
		k.groups++
		k.said.Unlock()
	}
	switch victim {
	case theServer:
		return syscall.Kill(server, syscall.SIGKILL)
	case aSupervisor:
		for _, p := range all {
			if p.supervisor {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
				return nil
			}
		}
		return nil
	}
	_ = syscall.Kill(server, syscall.SIGSTOP)
	halted := map[int]bool{}
	for more := true; more; {
		more = false
		for _, p := range k.processes() {
			if !halted[p.pid] && syscall.Kill(p.pid, syscall.SIGSTOP) == nil {
				halted[p.pid], more = true, true
			}
		}
	}
	for pid := range halted {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return syscall.Kill(server, syscall.SIGKILL)
}

type process struct {
	pid               int
	cmdline           string
	supervisor, apply bool
}

// processes are those of jobs.
func (w *world) processes() []process {
	var out []process
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, at := range all {
		cmdline, err := os.ReadFile(filepath.Join(at, "cmdline")) //nolint:gosec // of /proc
		if err != nil || len(cmdline) == 0 || bytes.Contains(cmdline, []byte("\x00server\x00")) {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(at, "environ")) //nolint:gosec // of /proc
		cwd, _ := os.Readlink(filepath.Join(at, "cwd"))
		if !bytes.Contains(environ, []byte("CHAOS_NONCE="+w.dir)) && !bytes.Contains(environ, []byte(w.data())) &&
			!bytes.Contains(cmdline, []byte(w.data())) && !bytes.HasPrefix([]byte(cwd), []byte(w.data())) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(at))
		if err != nil {
			continue
		}
		out = append(out, process{
			pid: pid, cmdline: string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})),
			supervisor: bytes.HasPrefix(cmdline, []byte("tidegate-supervise")), apply: bytes.Contains(cmdline, []byte("\x00apply\x00")),
		})
	}
	return out
}

func (k *killer) print(out io.Writer) {
	_, _ = fmt.Fprintf(out, "%d kills: %d of the server, %d of a supervisor, %d of everything; %d with a live apply, %d in the first second\n",
		k.done, k.who[theServer], k.who[aSupervisor], k.who[everything], k.live, k.newborn)
	for _, point := range slices.Sorted(maps.Keys(k.per)) {
		shown := point
		if point == "" {
			shown = "(any moment)"
		}
		_, _ = fmt.Fprintf(out, "%6d  %s\n", k.per[point], shown)
	}
}
