package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

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
	ExitCode int       `json:"exit_code"`
	Signal   string    `json:"signal,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended"`
	// Interrupted: the one SIGINT was sent, or the process was not executed because it was asked for.
	Interrupted bool `json:"interrupted"`
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

// writeDurably makes a JSON file appear complete or not at all, and makes it last.
func writeDurably(dir, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	if err := writeSynced(path+".new", append(raw, '\n')); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

func writeSynced(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// reserveSize is more than any status needs; its texts are cut to maxText.
const (
	reserveSize = 4096
	maxText     = 1024
)

// reserve takes the room for the status while there is some: a disk that is full at the end must not
// turn a known end into an unknown one.
func reserve(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, reservedName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(allocate(f, reserveSize), f.Close())
}

// writeStatus fills the reserved room and gives it its name.
func writeStatus(dir string, s Status) error {
	s.Format = Format
	s.Error, s.LogError = cut(s.Error), cut(s.LogError)
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, reservedName)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if err == nil {
		err = f.Truncate(int64(len(raw) + 1))
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, statusName)); err != nil {
		return err
	}
	return syncDir(dir)
}

func cut(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}

func readAllUpTo(r io.Reader, buf []byte, limit int64) ([]byte, error) {
	rest, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(rest)) > limit {
		err = fmt.Errorf("it is larger than %d bytes", limit)
	}
	return append(buf, rest...), err
}
