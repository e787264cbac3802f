package supervisor

import "time"

// Mark is written, durably, before the process is executed. With it, something may have been done.
type Mark struct {
	Format int `json:"format"`
	// PID is the process itself, and its process group.
	PID int `json:"pid"`
	// Start is when the system says the process began, in units of its own; with Boot it tells a
	// process from a later one with the same pid. Zero when the system does not say.
	Start uint64 `json:"start"`
	// Boot names this start of the machine.
	Boot string `json:"boot"`
	// Supervisor is stage two.
	Supervisor int       `json:"supervisor"`
	At         time.Time `json:"at"`
	// Landlock is the version of the Landlock domain that the process is in. Zero: in none.
	Landlock int `json:"landlock"`
	// Orphaned is set by Inspect: the supervisor is gone, the process lives.
	Orphaned bool `json:"-"`
}

// Status is what the supervisor saw of the end. Without a Mark nothing was executed.
type Status struct {
	Format int `json:"format"`
	// ExitCode is -1 when there is none: the process was ended by Signal, or never began.
	ExitCode int    `json:"exit_code"`
	Signal   string `json:"signal,omitempty"`
	// Started is zero when nothing was executed.
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended"`
	// Interrupted: the one SIGINT was sent, or the process was not executed because it was asked for.
	Interrupted bool `json:"interrupted"`
	// Timeout is the Spec's, if the process was interrupted because its time was over.
	Timeout time.Duration `json:"timeout_ns,omitempty"`
	// Killed: the grace was over, and the process group got SIGKILL.
	Killed bool `json:"killed"`
	// LogBytes is what was printed; Truncated says that output.log has not all of it, LogError why,
	// unless it was for its limit.
	LogBytes  int64  `json:"log_bytes"`
	Truncated bool   `json:"truncated"`
	LogError  string `json:"log_error,omitempty"`
	// Error is what the supervisor itself could not do.
	Error string `json:"error,omitempty"`
}
