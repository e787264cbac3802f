// Package runner executes one Job in one directory and returns a Result: a plan is init (where it is
// needed) and plan, an apply is the apply of a stored plan file. Each terraform process runs beside
// our supervisor, so that an apply survives the server and is adopted by the next one (Recover).
//
// It knows no forge, no lock and no comment; what it says is terraform's words and facts read from
// plan files and logs. Start at Runner.Run.
//
// # The job directory, format 1
//
//	result.json        Result, fsynced before Run returns
//	plan.txt           a plan's text for people
//	plan.tfplan        the plan file that was made
//	errored.tfstate    the copy of a state that terraform could not store, until it is stored
//	who                what terraform calls itself in the locks it takes: user@host
//	died.json          the processes of earlier starts of a plan that died
//	1-init/ 2-plan/    one step directory per process (package supervisor), numbered in order
package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/runner/terraform"
)

// ErrNotRun is Recover's answer for a plan that did not come to its end: nothing of it counts, run it again.
var ErrNotRun = errors.New("the job did not come to its end and is to be run again")

// ErrRunBefore is Run's answer for an apply, or what mends a state, that was started before: it is never
// run twice. Recover says what became of it.
var ErrRunBefore = errors.New("this job was started before")

// Config is what all jobs share.
type Config struct {
	// Self is the path of our own executable, which supervises terraform.
	Self string
	// Data is the absolute data directory; jobs see only what is theirs of it.
	Data string
	// Hide names further absolute paths that jobs may not see.
	Hide []string
	// DropEnv reports whether an environment variable of the server is kept from jobs, beside
	// TIDEGATE_* and ATLANTIS_*. Nil drops no others.
	DropEnv func(name string) bool
	// Environ is the environment that jobs get theirs from. Nil: the server's.
	Environ []string
	// Log is told what operators may want to know. Nil: nobody.
	Log *slog.Logger
	// Grace is how long terraform has after the SIGINT: a plan after any, every other job only after that of
	// ApplyTimeout, because who kills an apply may lose its state. Zero means 30 seconds.
	Grace time.Duration
	// LogLimit bounds the log of one process, in bytes. Zero means 16 MiB.
	LogLimit int64
	// LockTimeout is how long terraform waits for the lock of a state. Zero means not at all.
	LockTimeout time.Duration
	// PlanTimeout is how long a plan may take, with all of its processes; ApplyTimeout how long the process
	// of any other job may run, by its own supervisor's clock. Then they are interrupted. Zero: for ever.
	PlanTimeout, ApplyTimeout time.Duration
	// Memory is what each process of a job may have of memory of its own, in bytes, OpenFiles how many files at
	// once. Zero: no limit.
	Memory, OpenFiles int64
	// SSH is how modules are reached over ssh.
	SSH SSH
	// Took hears how long each process took: "init", "plan", "apply" and others. Nil: nobody does.
	Took func(step string, d time.Duration)
}

// Runner runs jobs. Its methods may be called from several goroutines, for different jobs.
type Runner struct {
	cfg   Config
	store *terraform.ProviderStore
	kept  *keptStates
}

// New returns a Runner. It warns of variables in the server's environment that jobs do not get.
func New(cfg Config) *Runner {
	if cfg.Took == nil {
		cfg.Took = func(string, time.Duration) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Environ == nil {
		cfg.Environ = os.Environ()
	}
	if dropped := droppedTerraformEnv(cfg.Environ); len(dropped) > 0 {
		cfg.Log.Warn("terraform jobs do not get these variables of the server's environment", "names", dropped)
	}
	return &Runner{
		cfg:   cfg,
		store: &terraform.ProviderStore{Dir: filepath.Join(cfg.Data, "providers"), Environ: cfg.Environ, Log: cfg.Log},
		kept:  &keptStates{runs: filepath.Join(cfg.Data, "runs"), jobs: map[string]bool{}},
	}
}

// RemoveUnused removes the provider packages that no job has needed since then.
func (r *Runner) RemoveUnused(since time.Time) (int, error) {
	n, err := r.store.RemoveUnused(since)
	if err != nil {
		return n, fmt.Errorf("removing unused providers: %w", err)
	}
	return n, nil
}

// Run carries out a job and keeps its result in job.Dir. Cancelling ctx sends terraform its one
// SIGINT; Run still waits for the end. An error is our fault, and for an apply says nothing about
// what was done: Recover does.
func (r *Runner) Run(ctx context.Context, job Job) (Result, error) {
	w, err := r.begin(job)
	if err != nil {
		return Result{}, err
	}
	if err := w.clear(); err != nil {
		return Result{}, err
	}
	if err := w.sign(); err != nil {
		return Result{}, err
	}
	var result Result
	switch {
	case job.Action == Apply:
		result, err = w.apply(ctx)
	case job.Action.Mends():
		result, err = w.mend(ctx)
	default:
		result, err = w.planInTime(ctx)
	}
	if refused, ok := errors.AsType[*terraform.ConfigurationError](err); ok {
		result, err = w.refused(refused), nil
	}
	if err != nil {
		w.closeIfIdle()
		return Result{}, fmt.Errorf("running job %s: %w", job.ID, err)
	}
	w.close()
	return result, w.save(result)
}

// check refuses a job that could not mean anything.
func (j Job) check() error {
	switch {
	case j.ID == "":
		return errors.New("a job needs an id")
	case j.Action != Plan && j.Action != Apply && !j.Action.Mends():
		return fmt.Errorf("job %s: there is no action %q", j.ID, j.Action)
	case j.Action == Apply && j.PlanFile == "":
		return fmt.Errorf("job %s: an apply needs a plan file", j.ID)
	case j.Project.Workspace == "":
		return fmt.Errorf("job %s: a project has a workspace", j.ID)
	case !filepath.IsLocal(filepath.FromSlash(j.Project.Dir)):
		return fmt.Errorf("job %s: the directory %q is not below the checkout", j.ID, j.Project.Dir)
	}
	for _, p := range []string{j.Dir, j.Checkout, j.DataDir, j.Tool.Path} {
		if !filepath.IsAbs(p) {
			return fmt.Errorf("job %s: %q is not an absolute path", j.ID, p)
		}
	}
	return j.checkMend()
}

// work is one job being carried out.
type work struct {
	cfg   Config
	store *terraform.ProviderStore
	kept  *keptStates
	job   Job
	// dir is the absolute directory of the project, tmp the job's private temporary directory.
	dir, tmp string
	started  time.Time
	conf     terraform.Configuration
	// cli is the terraform CLI configuration made for this job, "" for the operator's.
	cli string
	// released is the lock that was broken.
	released string
}

func (r *Runner) begin(job Job) (*work, error) {
	if err := job.check(); err != nil {
		return nil, err
	}
	w := &work{
		cfg: r.cfg, store: r.store, kept: r.kept, job: job, started: time.Now().UTC(),
		dir: filepath.Join(job.Checkout, filepath.FromSlash(job.Project.Dir)),
		tmp: tmpDir(r.cfg.Data, job.ID),
	}
	return w, nil
}

// close removes the job's temporary directory. Only when its processes have ended: after an error of
// ours one may still use it, and Recover comes here.
func (w *work) close() {
	if err := os.RemoveAll(w.tmp); err != nil {
		w.cfg.Log.Warn("removing a job's temporary directory", "job", w.job.ID, "error", err)
	}
}

// closeIfIdle is close for a job that failed for a fault of ours, if nothing of it runs: there may be the
// operator's credentials in its CLI configuration.
func (w *work) closeIfIdle() {
	steps, err := stepDirs(w.job.Dir)
	for _, step := range steps {
		running, _, ierr := inspect(step)
		if err = errors.Join(err, ierr); running {
			return
		}
	}
	if err == nil {
		w.close()
	}
}

// clear makes the job directory ready for a start. A plan starts afresh; nothing else starts twice.
func (w *work) clear() error {
	steps, err := stepDirs(w.job.Dir)
	if err != nil {
		return err
	}
	if w.job.Action == Plan {
		if err := w.mourn(); err != nil {
			return err
		}
		if err := forgetResult(w.job.Dir); err != nil {
			return err
		}
		steps = append(steps, w.showDir())
	}
	for _, step := range steps {
		running, started, err := inspect(step)
		switch {
		case err != nil:
			return err
		case w.job.Action != Plan && started:
			return fmt.Errorf("job %s: %w", w.job.ID, ErrRunBefore)
		case running:
			return fmt.Errorf("job %s: %s is still running", w.job.ID, filepath.Base(step))
		}
		if err := os.RemoveAll(step); err != nil {
			return fmt.Errorf("clearing the job directory: %w", err)
		}
	}
	for _, dir := range []string{w.job.Dir, w.tmp, w.job.DataDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the job's directories: %w", err)
		}
	}
	if w.job.StateDir != "" {
		if err := os.MkdirAll(w.job.StateDir, 0o700); err != nil {
			return fmt.Errorf("making the job's directories: %w", err)
		}
	}
	return nil
}

// command prepares the next process of the job.
func (w *work) command(step string, env []string) (terraform.Command, error) {
	steps, err := stepDirs(w.job.Dir)
	if err != nil {
		return terraform.Command{}, err
	}
	var timeout time.Duration
	if w.job.Action != Plan {
		timeout = w.cfg.ApplyTimeout
	}
	return terraform.Command{
		Self: w.cfg.Self, Tool: w.job.Tool, Dir: w.dir,
		StepDir: filepath.Join(w.job.Dir, fmt.Sprintf("%d-%s", len(steps)+1, step)),
		Env:     env, Sandbox: w.sandbox(), Grace: w.cfg.Grace, Patient: w.job.Action != Plan, LogLimit: w.cfg.LogLimit,
		LockTimeout: w.cfg.LockTimeout, Timeout: timeout, Memory: w.cfg.Memory, OpenFiles: w.cfg.OpenFiles,
	}, nil
}

// stepDirs lists the step directories of a job in the order of their start.
func stepDirs(jobDir string) ([]string, error) {
	entries, err := os.ReadDir(jobDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the job directory: %w", err)
	}
	numbers := make(map[string]int)
	var names []string
	for _, entry := range entries {
		var n int
		number, _, ok := strings.Cut(entry.Name(), "-")
		if _, err := fmt.Sscanf(number, "%d", &n); ok && err == nil && entry.IsDir() {
			numbers[entry.Name()] = n
			names = append(names, entry.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return numbers[a] - numbers[b] })
	for i, name := range names {
		names[i] = filepath.Join(jobDir, name)
	}
	return names, nil
}

// stepName is "plan" for <job>/2-plan.
func stepName(stepDir string) string {
	_, name, _ := strings.Cut(filepath.Base(stepDir), "-")
	return name
}
