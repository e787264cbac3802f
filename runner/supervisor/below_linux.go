package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Below lists the supervisors among the descendants of a process. They are known by their command
// line, which they share with nothing that means well.
func Below(pid int) ([]Supervisor, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	parents := map[int]int{}
	var all []Supervisor
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process that ends meanwhile is none of ours any more.
		if parent, ok := parentOf(n); ok {
			parents[n] = parent
		}
		if dir, ok := superviseDir(n); ok {
			all = append(all, Supervisor{PID: n, Dir: dir})
		}
	}
	var out []Supervisor
	for _, s := range all {
		if descends(parents, s.PID, pid) {
			out = append(out, s)
		}
	}
	return out, nil
}

func parentOf(pid int) (int, bool) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	stat := string(raw)
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}

func superviseDir(pid int) (string, bool) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return "", false
	}
	args := bytes.Split(raw, []byte{0})
	if len(args) < 2 || string(args[0]) != twoArgv0 {
		return "", false
	}
	return string(args[1]), true
}

func descends(parents map[int]int, pid, from int) bool {
	// As many steps as there are processes, lest a reused pid makes a ring.
	for range len(parents) {
		parent, ok := parents[pid]
		if !ok || parent == from {
			return ok
		}
		pid = parent
	}
	return false
}
