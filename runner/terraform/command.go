package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// Command is one process of terraform in one directory, run beside our supervisor.
type Command struct {
	// Self is our own executable, which becomes the supervisor.
	Self string
	Tool Tool
	// Dir is the root module's directory.
	Dir string
	// StepDir is the process's own directory for marks and its log; made here, used once.
	StepDir string
	// Env is the complete environment of terraform.
	Env     []string
	Sandbox supervisor.Sandbox
	// Grace is the time from the SIGINT to the SIGKILL. LogLimit bounds the log. Zero: the
	// supervisor's defaults.
	Grace    time.Duration
	LogLimit int64
	// Patient: no SIGKILL follows an interrupt, but for the one of Timeout.
	Patient bool
	// LockTimeout is how long terraform waits for the lock of the state. Zero: not at all.
	LockTimeout time.Duration
	// Timeout is when it gets its SIGINT, whoever watches it then. Zero: never.
	Timeout time.Duration
	// Memory and OpenFiles bound each process. Zero: not at all.
	Memory, OpenFiles int64
}

// Exit is how a process ended.
type Exit struct {
	// Started is false when it is certain that nothing was executed.
	Started bool
	// Known is false when nobody saw the end; all below is zero then.
	Known bool
	// Code is -1 when there is none: it was ended by Signal.
	Code   int
	Signal string
	// Interrupted: it got its SIGINT. Killed: it did not heed it.
	Interrupted, Killed bool
	// Timeout is the time that was over, if it got it for that.
	Timeout time.Duration
	// Truncated: the log has not all that was printed; LogError is why, if not for its limit.
	Truncated bool
	LogError  string
	Ended     time.Time
}

// ok reports that terraform itself says that all went well.
func (e Exit) ok() bool { return e.Known && e.Code == 0 }

// Starved reports that it was killed by none of us: in nearly all cases by a system without memory.
func (e Exit) Starved() bool { return e.Known && e.Signal == "SIGKILL" && !e.Killed }

// LogName is the log's name in a step directory.
const LogName = "output.log"

// ErrNotStarted is returned for a context that ended before anything was executed, and when our supervisor did not come to execute
// it and left no word why.
var ErrNotStarted = errors.New("nothing was started")

// ErrNotSeen is returned when nobody saw how a process ended.
var ErrNotSeen = errors.New("nobody saw how it ended")

// InitOptions are the ways to init.
type InitOptions struct {
	// Reconfigure forgets the backend that was configured before, instead of moving its state. HCP
	// Terraform refuses it.
	Reconfigure bool
	// NoBackend leaves the backend alone.
	NoBackend bool
}

// Init runs `terraform init`.
func (c Command) Init(ctx context.Context, o InitOptions) (Exit, error) {
	return c.run(ctx, func(ctx context.Context, tf *tfexec.Terraform) error {
		var opts []tfexec.InitOption
		if o.Reconfigure {
			opts = append(opts, tfexec.Reconfigure(true))
		}
		if o.NoBackend {
			opts = append(opts, tfexec.Backend(false))
		}
		return tf.Init(ctx, opts...)
	})
}

// Get runs `terraform get`: it fetches modules and does nothing else.
func (c Command) Get(ctx context.Context) (Exit, error) {
	return c.run(ctx, func(ctx context.Context, tf *tfexec.Terraform) error { return tf.Get(ctx) })
}

// PlanOptions say what to plan with.
type PlanOptions struct {
	// Out is where the plan file goes.
	Out string
	// VarFile is a file of variables, "" for none.
	VarFile string
}

// Plan runs `terraform plan` with its detailed exit code: 0 no changes, 2 changes, 1 an error.
func (c Command) Plan(ctx context.Context, o PlanOptions) (Exit, error) {
	return c.run(ctx, func(ctx context.Context, tf *tfexec.Terraform) error {
		opts := []tfexec.PlanOption{tfexec.Out(o.Out), tfexec.LockTimeout(c.LockTimeout.String())}
		if o.VarFile != "" {
			opts = append(opts, tfexec.VarFile(o.VarFile))
		}
		_, err := tf.Plan(ctx, opts...)
		return err
	})
}

// Apply applies a plan file with -json; the log has terraform's messages, for ApplyLog and HumanLine.
func (c Command) Apply(ctx context.Context, planFile string) (Exit, error) {
	return c.run(ctx, func(ctx context.Context, tf *tfexec.Terraform) error {
		return tf.ApplyJSON(ctx, io.Discard, tfexec.DirOrPlan(planFile), tfexec.LockTimeout(c.LockTimeout.String()))
	})
}

// ForceUnlock runs `terraform force-unlock`. The id must be one of which CanForce says yes.
func (c Command) ForceUnlock(ctx context.Context, id string) (Exit, error) {
	return c.run(ctx, func(ctx context.Context, tf *tfexec.Terraform) error { return tf.ForceUnlock(ctx, id) })
}

// StatePush runs `terraform state push` under the state's lock: terraform refuses a state of another
// lineage, and one that is older than what is there.
func (c Command) StatePush(ctx context.Context, file string) (Exit, error) {
	return c.run(ctx, func(ctx context.Context, tf *tfexec.Terraform) error {
		return tf.StatePush(ctx, file, tfexec.Lock(true), tfexec.LockTimeout(c.LockTimeout.String()))
	})
}

// show runs `terraform show -json` for a plan file. Its log holds secrets in clear.
func (c Command) show(ctx context.Context, planFile string) (Exit, error) {
	return c.run(ctx, func(ctx context.Context, tf *tfexec.Terraform) error {
		// The answer is in the log; terraform-exec sees an empty output and complains.
		_, err := tf.ShowPlanFile(ctx, planFile)
		return err
	})
}

// run starts one process through terraform-exec and waits for its end. What terraform-exec says of
// the end is not asked: it sees our supervisor's first stage, which may be gone before terraform.
// Cancelling ctx is one SIGINT; the call still waits for the end.
func (c Command) run(ctx context.Context, call func(context.Context, *tfexec.Terraform) error) (Exit, error) {
	if ctx.Err() != nil {
		return Exit{}, fmt.Errorf("%w: %w", ErrNotStarted, ctx.Err())
	}
	tf, err := c.prepare()
	if err != nil {
		return Exit{}, err
	}
	calm := context.WithoutCancel(ctx)
	ended, interrupter := make(chan struct{}), make(chan error, 1)
	go func() { interrupter <- supervisor.InterruptOn(ctx, c.StepDir, ended) }()
	callErr := call(calm, tf)
	exit, err := Await(calm, c.StepDir) // the first stage may have been killed: then nobody else passes an interrupt on
	close(ended)
	interruptErr := <-interrupter
	if err != nil {
		return Exit{}, fmt.Errorf("running terraform: %w", errors.Join(err, callErr, interruptErr))
	}
	if !exit.Started && !exit.Interrupted {
		return Exit{}, fmt.Errorf("%w: %w", ErrNotStarted, errors.Join(callErr, interruptErr))
	}
	return exit, nil
}

// prepare writes what the supervisor reads and makes the one terraform-exec value of this process: its
// setters are sticky, so that it is never used again.
func (c Command) prepare() (*tfexec.Terraform, error) {
	if err := os.Mkdir(c.StepDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the step directory: %w", err)
	}
	spec := supervisor.Spec{
		Argv0: c.Tool.Path, Env: c.Env, Versions: c.Tool.versionsAnswer(),
		LogLimit: c.LogLimit, Grace: c.Grace, Patient: c.Patient, Timeout: c.Timeout,
		Memory: c.Memory, OpenFiles: c.OpenFiles, Sandbox: c.Sandbox,
	}
	if err := spec.Write(c.StepDir); err != nil {
		return nil, err
	}
	tf, err := tfexec.NewTerraform(c.Dir, c.Self)
	if err != nil {
		return nil, fmt.Errorf("preparing terraform: %w", err)
	}
	// Never left uncalled: the server's own environment would be handed on.
	if err := tf.SetEnv(map[string]string{supervisor.EnvDir: c.StepDir}); err != nil {
		return nil, fmt.Errorf("preparing terraform: %w", err)
	}
	return tf, nil
}

// Await waits for the end of the process of a step directory, whoever started it.
func Await(ctx context.Context, stepDir string) (Exit, error) {
	status, err := supervisor.Wait(ctx, stepDir)
	if err != nil {
		return Exit{}, fmt.Errorf("waiting for terraform: %w", err)
	}
	state, _, _, err := supervisor.Inspect(stepDir)
	if err != nil {
		return Exit{}, fmt.Errorf("waiting for terraform: %w", err)
	}
	exit := Exit{Started: state != supervisor.NotStarted}
	if status == nil {
		return exit, nil
	}
	exit.Started = exit.Started && !status.Started.IsZero()
	exit.Known = true
	exit.Code, exit.Signal = status.ExitCode, status.Signal
	exit.Interrupted, exit.Killed, exit.Truncated = status.Interrupted, status.Killed, status.Truncated
	exit.Timeout = status.Timeout
	exit.Ended, exit.LogError = status.Ended, status.LogError
	if status.Error != "" && !exit.Started {
		return exit, errors.New("the supervisor says: " + status.Error)
	}
	return exit, nil
}

// Log reads the log of the step, at most limit bytes of its end.
func (c Command) Log(limit int64) (string, error) { return ReadLog(c.StepDir, limit) }

// ReadLog reads the log of a step directory, at most limit bytes of its end. A log that is not there
// is empty.
func ReadLog(stepDir string, limit int64) (string, error) {
	f, err := os.Open(filepath.Join(stepDir, LogName)) //nolint:gosec // a file of ours
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the log: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("reading the log: %w", err)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-limit), limit))
	if err != nil {
		return "", fmt.Errorf("reading the log: %w", err)
	}
	return string(data), nil
}
