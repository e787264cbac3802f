package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/runner/terraform"
)

const (
	// maxLog bounds what is read of a log at once.
	maxLog = 64 << 20
	// exitChanges is plan's detailed exit code for "succeeded, and there are changes".
	exitChanges = 2
)

// initMode is how a plan is prepared.
type initMode int

const (
	noInit initMode = iota
	// initDefault works in the default workspace, which always exists.
	initDefault
	// initSelected works in the project's workspace: its state may need a provider that the
	// configuration does not name any more.
	initSelected
)

// plan makes a plan: one process where the last init still holds, else init and plan. When terraform
// itself says that init is needed after all, init and plan once more.
func (w *work) plan(ctx context.Context) (Result, error) {
	local, err := w.configure()
	if err != nil {
		return Result{}, err
	}
	failed, err := w.prepareProviders(ctx)
	if err != nil || failed != nil {
		return w.stopped(failed, local), err
	}
	if err := w.release(ctx); err != nil {
		return Result{}, err
	}
	var last *step
	for _, mode := range w.initModes() {
		if mode != noInit {
			init, err := w.init(ctx, mode)
			switch {
			case err != nil:
				return Result{}, err
			case init.failure == nil:
			case mode == initSelected && last != nil:
				return w.stopped(last, local), nil // the workspace does not exist: plan's words count
			default:
				return w.stopped(init, local), nil
			}
		}
		if last, err = w.planStep(ctx); err != nil {
			return Result{}, err
		}
		if last.failure == nil || !last.needsInit() {
			break
		}
	}
	if last.failure != nil {
		return w.stopped(last, local), nil
	}
	return w.planned(ctx, last, local)
}

// configure reads the configuration and puts a local state where it is to be kept. local reports
// that the state would lie inside the checkout.
func (w *work) configure() (local bool, err error) {
	read := func() error {
		w.conf, err = terraform.ReadConfiguration(w.job.Checkout, w.job.Project.Dir, w.job.Tool.Distribution)
		return err
	}
	if err := w.removeOverride(); err != nil {
		return false, err
	}
	if err := read(); err != nil {
		return false, err
	}
	if !w.stateInside() {
		return false, nil
	}
	if w.job.StateDir == "" {
		return true, nil
	}
	if err := w.writeOverride(); err != nil {
		return false, err
	}
	return false, read()
}

// initModes are the ways to prepare plan, in order; a later one is tried when plan says that init is
// needed.
func (w *work) initModes() []initMode {
	modes := []initMode{initDefault}
	if w.isInitialised() {
		modes = []initMode{noInit, initDefault}
	}
	if w.job.Project.Workspace != terraform.DefaultWorkspace && !w.conf.IsRemoteRun() {
		modes = append(modes, initSelected)
	}
	return modes
}

func (w *work) init(ctx context.Context, mode initMode) (*step, error) {
	workspace := w.job.Project.Workspace
	if mode == initDefault && !w.conf.IsRemoteRun() {
		workspace = terraform.DefaultWorkspace
	}
	if failed, err := w.fetchModules(ctx, workspace); err != nil || failed != nil {
		return failed, err
	}
	s, err := w.step(ctx, "init", w.cfg.SSH.initEnv(w.env(workspace)), func(ctx context.Context, c terraform.Command) (terraform.Exit, error) {
		// Without it terraform would offer to move the state when a pull request changes its backend,
		// and fail because nobody answers.
		return c.Init(ctx, terraform.InitOptions{Reconfigure: !w.conf.Cloud})
	})
	if err != nil || s.failure != nil {
		return s, err
	}
	return s, w.rememberInit()
}

func (w *work) planStep(ctx context.Context) (*step, error) {
	out := filepath.Join(w.tmp, planName)
	if err := os.RemoveAll(out); err != nil {
		return nil, fmt.Errorf("clearing the place of the plan: %w", err)
	}
	vars, err := w.varFile()
	if err != nil {
		return nil, err
	}
	return w.step(ctx, "plan", w.env(w.job.Project.Workspace), func(ctx context.Context, c terraform.Command) (terraform.Exit, error) {
		return c.Plan(ctx, terraform.PlanOptions{Out: out, VarFile: vars})
	})
}

// varFile is the file of variables that belongs to the workspace, as in Atlantis: env/<workspace>.tfvars,
// relative to the project; "" for none. Runs in HCP Terraform have their variables there.
func (w *work) varFile() (string, error) {
	if w.conf.IsRemoteRun() {
		return "", nil
	}
	root, err := w.openCheckout()
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	name := path.Join("env", w.job.Project.Workspace+".tfvars")
	full := path.Join(w.job.Project.Dir, name)
	_, err = root.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", nil
	case err != nil:
		return "", terraform.Unusable(full, err)
	}
	return name, nil
}

// planned turns a plan that terraform made into a result.
func (w *work) planned(ctx context.Context, s *step, local bool) (Result, error) {
	result := w.result(Succeeded)
	result.LocalState, result.LogCut = local, s.cut
	result.Text = terraform.PlanText(s.log)
	facts, err := w.planFacts(ctx, filepath.Join(w.tmp, planName))
	if err != nil {
		return Result{}, err
	}
	if misplaced := w.misplaced(facts); misplaced != nil {
		result.End, result.Failure, result.Text = Failed, misplaced, ""
		return result, nil
	}
	result.Resources, result.Changes = facts.Resources, facts.Changes
	switch changes := s.exit.Code == exitChanges; {
	case !changes && !facts.Changes.Known:
		result.Changes = Changes{Known: true} // terraform's own word
	case changes && facts.Changes.Empty() && !onlyReads(facts.Resources):
		result.Changes.Known = false
	}
	result.PlanFile = filepath.Join(w.job.Dir, planName)
	if result.PlanSHA256, err = w.keepPlan(result.PlanFile); err != nil {
		return Result{}, fmt.Errorf("keeping the plan file: %w", err)
	}
	result.Ended = time.Now().UTC()
	return result, nil
}

// onlyReads reports a plan that does nothing but read. For terraform that is a plan with changes, and the
// one of every project that has a check block with a data source, each time.
func onlyReads(resources []Resource) bool {
	return len(resources) > 0 &&
		!slices.ContainsFunc(resources, func(r Resource) bool { return r.Action != terraform.Read })
}

func (w *work) keepPlan(to string) (string, error) {
	root, err := os.OpenRoot(w.tmp)
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	return keepFile(root, planName, to)
}

// planFacts reads a plan file, with terraform's help where its format is not known here. Plans
// without readable facts (cloud plans, encrypted ones) have Changes.Known false.
func (w *work) planFacts(ctx context.Context, file string) (terraform.PlanFacts, error) {
	facts, err := terraform.ReadPlan(file)
	if errors.Is(err, terraform.ErrPlanFormat) {
		var c terraform.Command
		if c, err = w.command("show", w.env(w.job.Project.Workspace)); err != nil {
			return facts, err
		}
		c.StepDir = w.showDir()
		facts, err = c.ShowPlan(ctx, file)
	}
	if errors.Is(err, terraform.ErrNotPlan) {
		return terraform.PlanFacts{}, nil
	}
	if errors.Is(err, terraform.ErrNotSeen) || errors.Is(err, terraform.ErrNotStarted) {
		return facts, fmt.Errorf("%w: %w", ErrNotRun, err)
	}
	return facts, err
}

// showDir is the step directory of `show`, whose log holds secrets.
func (w *work) showDir() string {
	return filepath.Join(w.cfg.Data, "tmp", shortHash(w.job.ID)+"-show")
}

// misplaced refuses a plan of another workspace than the job's: the lock that was taken would not be
// the one that counts.
func (w *work) misplaced(facts terraform.PlanFacts) *Failure {
	if w.conf.IsRemoteRun() || facts.BackendType == "remote" || facts.BackendType == "cloud" ||
		facts.Workspace == "" || facts.Workspace == w.job.Project.Workspace {
		return nil
	}
	return &Failure{
		Summary: "The plan was made in another workspace",
		Text: fmt.Sprintf("terraform planned in workspace %q, but this project's is %q.",
			facts.Workspace, w.job.Project.Workspace),
	}
}

// step is one process of a job that has ended.
type step struct {
	exit terraform.Exit
	log  string
	// cut says why that is not all that it printed.
	cut string
	// failure is why it did not succeed; nil when it did.
	failure *Failure
	// cancelled: it was stopped, or not even started, because the job was.
	cancelled bool
}

// needsInit reports that plan failed because of what init makes.
func (s *step) needsInit() bool {
	return s.failure != nil && !s.cancelled && terraform.NeedsInit(s.log)
}

// step runs one process of a plan.
func (w *work) step(
	ctx context.Context, name string, env []string, run func(context.Context, terraform.Command) (terraform.Exit, error),
) (*step, error) {
	if ctx.Err() != nil {
		return &step{failure: cancelledFailure(), cancelled: true}, nil
	}
	c, err := w.command(name, env)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	exit, err := run(ctx, c)
	w.cfg.Took(name, time.Since(began))
	if errors.Is(err, terraform.ErrNotStarted) && ctx.Err() != nil {
		return &step{failure: cancelledFailure(), cancelled: true}, nil
	}
	if errors.Is(err, terraform.ErrNotStarted) { // what was to start it may have been killed
		return nil, fmt.Errorf("terraform %s: %w: %w", name, ErrNotRun, err)
	}
	if err != nil {
		return nil, fmt.Errorf("terraform %s: %w", name, err)
	}
	s := &step{exit: exit, cut: w.logCut(name, exit)}
	if s.log, err = c.Log(maxLog); err != nil {
		return nil, err
	}
	codes := []int{0}
	if name == "plan" {
		codes = append(codes, exitChanges)
	}
	switch {
	case !exit.Known:
		return nil, fmt.Errorf("terraform %s: nobody saw how it ended: %w", name, ErrNotRun)
	case slices.Contains(codes, exit.Code) && !w.planDied(name, s):
	case exit.Interrupted:
		s.failure, s.cancelled = cancelledFailure(), true
	default:
		failure := terraform.ErrorText(s.log, endWords(name, exit))
		s.failure = w.why(name, exit, s.log, w.waited(&failure))
	}
	return s, nil
}

// planDied reports a plan that ended with Go's own code for a fatal error, which is also plan's for changes.
func (w *work) planDied(name string, s *step) bool {
	if name != "plan" || s.exit.Code != exitChanges || !terraform.OutOfMemory(s.log) {
		return false
	}
	_, err := os.Lstat(filepath.Join(w.tmp, planName))
	return errors.Is(err, fs.ErrNotExist)
}

// waited adds to a lock that was not got how long it was waited for.
func (w *work) waited(f *Failure) *Failure {
	if f != nil && f.Lock != nil {
		f.Lock.Waited = w.cfg.LockTimeout
		// A local state is locked by a process that lives, and nobody else can unlock it.
		f.Lock.Forcible = f.Lock.CanForce() && (w.conf.Cloud || w.conf.Backend != "" && w.conf.Backend != "local")
	}
	return f
}

func cancelledFailure() *Failure {
	return &Failure{Summary: "Cancelled", Text: "The job was cancelled before it came to its end."}
}

// endWords says how a process ended that named no error.
func endWords(name string, exit terraform.Exit) string {
	if exit.Signal != "" {
		return fmt.Sprintf("terraform %s was ended by the signal %q", name, exit.Signal)
	}
	return fmt.Sprintf("terraform %s ended with exit code %d", name, exit.Code)
}

// stopped is the result of a plan that did not get to its end.
func (w *work) stopped(s *step, local bool) Result {
	if s == nil {
		return Result{}
	}
	result := w.result(Failed)
	result.LocalState, result.LogCut, result.Failure = local, s.cut, s.failure
	if s.cancelled {
		result.End = Cancelled
	}
	return result
}

// refused is the result of a job whose files cannot be worked with. Nothing of an apply was executed then.
func (w *work) refused(err *terraform.ConfigurationError) Result {
	result := w.result(Failed)
	if w.job.Action != Plan {
		result.End = NotStarted
	}
	result.Failure = &Failure{Summary: "The project's files cannot be used", Text: terraform.Clean(err.Error())}
	return result
}

func (w *work) result(end End) Result {
	return Result{
		Format:  resultFormat,
		Summary: Summary{End: end, Started: w.started, Ended: time.Now().UTC(), Released: w.released},
	}
}
