package supervisor

import (
	"fmt"
	"os"
	"strings"
)

// Level is how well this machine keeps the server's secrets from the processes it starts.
type Level struct {
	// NonDumpable: no other process of the same user can read the server's memory and environment.
	NonDumpable bool
	// Landlock is the version of Landlock that the kernel offers. Zero: none.
	Landlock int
	// Root: the server runs as root, and so do its processes; little of this stops root.
	Root bool
}

// Holds reports whether the processes can't reach the server's secrets.
func (l Level) Holds() bool { return l.NonDumpable && l.Landlock > 0 && !l.Root }

// String is for the log at start-up: what holds; or that it does not, and what to do.
func (l Level) String() string {
	if l.Holds() {
		return "the server's secrets are out of reach of what it runs (not root, not dumpable, " + l.domain() + ")"
	}
	var todo []string
	if l.Root {
		todo = append(todo, "the server runs as root: run it as a user of its own")
	}
	if l.Landlock == 0 {
		todo = append(todo, "this system has no Landlock, so files of the server can be read by what it runs: use Linux 5.13 or newer with landlock among its security modules")
	}
	if !l.NonDumpable {
		todo = append(todo, "the server's memory and environment can be read by what it runs: use Linux, where that can be switched off")
	}
	return "NOT HELD: what the server runs can get at its secrets; " + strings.Join(todo, "; ")
}

func (l Level) domain() string {
	s := fmt.Sprintf("Landlock version %d", l.Landlock)
	switch {
	case l.Landlock < 3:
		s += ", under which hidden files can't be read, but be emptied, and the server can be sent signals"
	case l.Landlock < 6:
		s += ", under which the server can be sent signals"
	}
	return s
}

// Protect makes the server's memory and environment unreadable for other processes of its user, and
// answers what can be promised. An error says what of it could not be done; the Level is right anyway.
func Protect() (Level, error) {
	l := Level{Landlock: landlockVersion(), Root: os.Geteuid() == 0}
	if err := hideMemory(); err != nil {
		return l, fmt.Errorf("making the server's memory unreadable: %w", err)
	}
	l.NonDumpable = true
	return l, nil
}
