// Package runner executes one Job in one directory and returns a Result: a plan is init (where it is
// needed) and plan, an apply is the apply of a stored plan file. Each terraform process runs beside
// our supervisor, so that an apply survives the server and is adopted by the next one (Recover).
//
// It knows no forge, no lock and no comment; what it says is terraform's words and facts read from
// plan files and logs. Start at Runner.Run.
package runner

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"
)

// ErrNotRun is Recover's answer for a plan: nothing of it counts, run it again.
var ErrNotRun = errors.New("the job did not come to an end and is to be run again")

// Config is what all jobs share.
type Config struct {
	// Self is the path of our own executable, which supervises terraform.
	Self string
	// Data is the data directory; jobs see only what is theirs of it.
	Data string
	// Hide names further paths that jobs may not see.
	Hide []string
	// DropEnv reports whether an environment variable of the server is kept from jobs, beside
	// TIDEGATE_* and ATLANTIS_*. Nil drops no others.
	DropEnv func(name string) bool
	Log     *slog.Logger
	// Grace is how long terraform has after the SIGINT. Zero means 30 seconds.
	Grace time.Duration
	// LogLimit bounds the log of one process, in bytes. Zero means 16 MiB.
	LogLimit int64
}

// Runner runs jobs. Its methods may be called from several goroutines, for different jobs.
type Runner struct{ cfg Config }

// New returns a Runner.
func New(cfg Config) *Runner { return &Runner{cfg: cfg} }

var errSoon = errors.New("running jobs is not wired yet")

// Run carries out a job.
func (r *Runner) Run(context.Context, Job) (Result, error) { return Result{}, errSoon }

// Recover finds out what became of a job after a crash.
func (r *Runner) Recover(context.Context, Job) (Result, error) { return Result{}, errSoon }

// LoadResult reads a job's result.json.
func LoadResult(string) (Result, error) { return Result{}, errSoon }

// OpenLog opens people's text of everything the job's processes printed so far.
func OpenLog(string) (io.ReadCloser, error) { return nil, errSoon }
