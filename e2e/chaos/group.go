package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// group is the control group that a world's servers and all that they start live in, as in a container. The
// kernel kills everything of it at once. It is "" where we may make none.
type group string

// newGroup makes one below our own, where there is version 2 of control groups and we may.
func newGroup() group {
	raw, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			at := filepath.Join(mount, own)
			if _, err := os.Stat(filepath.Join(at, "cgroup.procs")); err != nil {
				continue
			}
			made, err := os.MkdirTemp(at, "tidegate-chaos-")
			if err != nil {
				continue
			}
			g := group(made)
			if _, err := os.Stat(g.file("cgroup.kill")); err == nil {
				return g
			}
			g.remove()
		}
	}
	return ""
}

func (g group) file(name string) string { return filepath.Join(string(g), name) }

func (g group) write(file, word string) error {
	if g == "" {
		return errors.ErrUnsupported
	}
	return os.WriteFile(g.file(file), []byte(word), 0o600)
}

// take takes a process in, which has started nothing yet.
func (g group) take(pid int) error {
	if g == "" {
		return nil
	}
	if err := g.write("cgroup.procs", strconv.Itoa(pid)); err != nil {
		return fmt.Errorf("putting a server into its control group: %w", err)
	}
	return nil
}

// freeze halts everything, and answers when nothing moves any more.
func (g group) freeze(ctx context.Context) error {
	if err := g.write("cgroup.freeze", "1"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		raw, err := os.ReadFile(g.file("cgroup.events"))
		if err != nil || strings.Contains(string(raw), "frozen 1") {
			return err
		}
		pause(ctx, time.Millisecond)
	}
	return fmt.Errorf("waiting for a control group to halt: %w", ctx.Err())
}

// kill ends everything at once, and lets the next processes move.
func (g group) kill() error {
	return errors.Join(g.write("cgroup.kill", "1"), g.write("cgroup.freeze", "0"))
}

// remove waits, not for long, until the last dead one has gone.
func (g group) remove() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for end := time.Now().Add(5 * time.Second); g != "" && os.Remove(string(g)) != nil && time.Now().Before(end); {
		<-t.C
	}
}
