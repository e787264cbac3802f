package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Format is the number of the formats of all files in a step directory.
const Format = 1

// Names in the step directory.
const (
	specName        = "spec.json"
	lockName        = "lock"
	sealedName      = "sealed"
	interruptName   = "interrupt"
	interruptedName = "interrupted"
	controlName     = "control"
	startedName     = "started"
	outputName      = "output.log"
	statusName      = "status.json"
	reservedName    = "status.tmp"
	troubleName     = "supervisor.log"
)

const defaultGrace = 30 * time.Second

// DefaultLogLimit bounds output.log where nothing else is said, in bytes.
const DefaultLogLimit = 16 << 20

// Spec says what to run. The server writes it (Write) before terraform-exec starts us.
type Spec struct {
	Format int `json:"format"`
	// Argv0 is the absolute path of the program. Its arguments are those that stage one was given.
	Argv0 string `json:"argv0"`
	// Env is its complete environment. It is not kept longer than the process.
	Env []string `json:"env"`
	// Versions is the answer to `version -json`, given without starting a process.
	Versions string `json:"versions,omitempty"`
	// LogLimit bounds output.log, in bytes. Zero means DefaultLogLimit.
	LogLimit int64 `json:"log_limit,omitempty"`
	// Grace is the time from the SIGINT to the SIGKILL, which the whole process group gets. Zero means
	// 30 seconds.
	Grace time.Duration `json:"grace_ns,omitempty"`
	// Patient: no SIGKILL follows an interrupt that was asked for, however long the process takes. Only the one
	// that Timeout calls for has its Grace.
	Patient bool `json:"patient,omitempty"`
	// Timeout is when the process gets its SIGINT if it still runs, counted from its started mark. Zero: never.
	Timeout time.Duration `json:"timeout_ns,omitempty"`
	// Memory is what the process, and each that it starts, may have of memory of its own, in bytes; OpenFiles how
	// many files at once. Zero: as much as the server.
	Memory    int64   `json:"memory,omitempty"`
	OpenFiles int64   `json:"open_files,omitempty"`
	Sandbox   Sandbox `json:"sandbox"`
}

// Sandbox says what of the file system the process may not reach. All paths are absolute. Of nested
// paths the deepest counts; where one stands in several lists, Show wins over ShowRead over Hide. The
// step directory itself is always hidden. Paths that do not exist are left out.
//
// What is hidden can't be opened, listed, made, renamed, removed or executed. Landlock has no rights
// for metadata: who knows a hidden name can still stat and, being its owner, chmod it. Directories on
// the way to a hidden path, "/" among them, can be walked through, but neither be listed nor get new
// entries, whatever else shows them: a process whose temporary directory is such a one needs another
// TMPDIR, and what is to be writable must not contain the step directory.
type Sandbox struct {
	// Hide names what must not be seen; everything else stays as it is.
	Hide []string `json:"hide,omitempty"`
	// Show names what is visible again below Hide, for reading and writing.
	Show []string `json:"show,omitempty"`
	// ShowRead names what is visible again below Hide, for reading and executing.
	ShowRead []string `json:"show_read,omitempty"`
}

// Write puts the spec into the step directory, durably. Format may be left zero.
func (s Spec) Write(dir string) error {
	s.Format = Format
	if err := s.check(); err != nil {
		return err
	}
	if err := writeDurably(dir, specName, s); err != nil {
		return fmt.Errorf("writing the spec: %w", err)
	}
	return nil
}

func readSpec(dir string) (Spec, error) {
	var s Spec
	if err := readJSON(dir, specName, &s); err != nil {
		return Spec{}, fmt.Errorf("reading the spec: %w", err)
	}
	if err := s.check(); err != nil {
		return Spec{}, fmt.Errorf("reading the spec: %w", err)
	}
	if s.Grace == 0 {
		s.Grace = defaultGrace
	}
	if s.LogLimit == 0 {
		s.LogLimit = DefaultLogLimit
	}
	return s, nil
}

// forgetEnv takes the environment out of a spec that has been of use: there are secrets in it, and a step
// directory is kept for long. Only for who knows that the process has ended or will never be.
func forgetEnv(dir string) {
	spec, err := readSpec(dir)
	if err != nil || len(spec.Env) == 0 {
		return
	}
	spec.Env = nil
	if writeDurably(dir, specName, spec) != nil { // no spec is better than one with secrets
		_ = os.Remove(filepath.Join(dir, specName))
	}
}

// check refuses what could not be carried out as it is meant.
func (s Spec) check() error {
	switch {
	case s.Format != Format:
		return fmt.Errorf("the spec has format %d, this program knows %d", s.Format, Format)
	case !filepath.IsAbs(s.Argv0) || strings.ContainsRune(s.Argv0, 0):
		return fmt.Errorf("the program %q is not an absolute path", s.Argv0)
	case s.Grace < 0 || s.LogLimit < 0 || s.Timeout < 0:
		return errors.New("grace, log limit and timeout can't be negative")
	case s.Memory < 0 || s.OpenFiles < 0:
		return errors.New("memory and open files can't be negative")
	}
	for i, e := range s.Env {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || strings.ContainsRune(e, 0) {
			return fmt.Errorf("entry %d of the environment is not NAME=value", i)
		}
		if name == EnvDir || name == envStage {
			return fmt.Errorf("the environment of the process can't have %s", name)
		}
	}
	return s.Sandbox.check()
}

func (s Sandbox) check() error {
	for _, list := range [][]string{s.Hide, s.Show, s.ShowRead} {
		for _, p := range list {
			if !filepath.IsAbs(p) || strings.ContainsRune(p, 0) {
				return fmt.Errorf("the sandbox has %q, which is not an absolute path", p)
			}
		}
	}
	return nil
}
