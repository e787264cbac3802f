package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/runner/supervisor"
	"github.com/tidegate/tidegate/runner/terraform"
)

// maxApplyText bounds the text of an apply, as terraform.PlanText does for plans.
const maxApplyText = 512 << 10

// apply applies the job's plan file in one process.
func (w *work) apply(ctx context.Context) (Result, error) {
	if _, err := w.configure(); err != nil {
		return Result{}, err
	}
	if err := w.jobCLIConfig(); err != nil {
		return Result{}, err
	}
	facts, err := w.appliedFacts()
	if err != nil {
		return Result{}, err
	}
	if misplaced := w.misplaced(facts); misplaced != nil {
		result := w.result(Failed)
		result.Failure = misplaced
		return result, nil
	}
	if ctx.Err() != nil {
		return w.result(Cancelled), nil
	}
	if err := w.setAsideErroredState(); err != nil {
		return Result{}, err
	}
	c, err := w.command("apply", w.env(w.job.Project.Workspace))
	if err != nil {
		return Result{}, err
	}
	began := time.Now()
	exit, err := c.Apply(ctx, w.job.PlanFile)
	w.cfg.Took("apply", time.Since(began))
	if errors.Is(err, terraform.ErrNotStarted) && ctx.Err() != nil {
		return w.result(Cancelled), nil
	}
	if err != nil {
		return Result{}, err
	}
	return w.applied(c.StepDir, exit, facts)
}

// appliedFacts is what the plan file says. A plan without readable facts is applied all the same.
func (w *work) appliedFacts() (terraform.PlanFacts, error) {
	facts, err := terraform.ReadPlan(w.job.PlanFile)
	if errors.Is(err, terraform.ErrNotPlan) || errors.Is(err, terraform.ErrPlanFormat) {
		return terraform.PlanFacts{}, nil
	}
	return facts, err
}

// applied turns the end of an apply into a result. It works from what is on disk alone, so that it is
// the same for an apply that another server had started.
func (w *work) applied(stepDir string, exit terraform.Exit, facts terraform.PlanFacts) (Result, error) {
	raw, err := terraform.ReadLog(stepDir, maxLog)
	if err != nil {
		return Result{}, err
	}
	log, text := readApplyLog(raw)
	errored, err := w.saveErroredState(log.State)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return Result{}, err // it is the only copy: the job has not ended before it is kept
	}
	if err != nil {
		// It was applied all the same, and what is known of the end is not to be lost.
		w.cfg.Log.Error("saving the state that terraform left", "job", w.job.ID, "error", err)
	}
	result := w.result(applyEnd(exit, log))
	if !exit.Ended.IsZero() {
		result.Ended = exit.Ended
	}
	result.ErroredState, result.LogCut = errored, w.logCut("apply", exit)
	result.Killed = exit.Killed || exit.Starved()
	result.Text = terraform.Limit(text, maxApplyText)
	succeeded := exit.Known && exit.Code == 0
	result.Resources = log.Outcomes(facts.Resources, succeeded, exit.Known && !exit.Truncated)
	result.Changes = doneChanges(result.Resources, facts.Changes, succeeded)
	if !succeeded {
		result.Failure = w.why("apply", exit, text, w.waited(applyFailure(exit, log, text)))
	}
	if result.End == Unknown || result.End == Interrupted || errored != "" {
		result.Evidence = w.evidence(stepDir, errored)
	}
	if err != nil {
		result.Evidence = append(result.Evidence, "terraform left "+erroredName+" in the checkout, and it could not be saved: see the server's log")
	}
	return result, nil
}

func readApplyLog(raw string) (*terraform.ApplyLog, string) {
	log := &terraform.ApplyLog{}
	var text strings.Builder
	for line := range strings.SplitSeq(raw, "\n") {
		log.Add(line)
		if human, ok := terraform.HumanLine(line); ok {
			text.WriteString(human)
			text.WriteByte('\n')
		}
	}
	return log, strings.Trim(text.String(), "\n")
}

func applyEnd(exit terraform.Exit, log *terraform.ApplyLog) End {
	end, ok := plainEnd(exit)
	switch {
	case ok:
		return end
	case exit.Interrupted && !log.Started && !log.Changed && !exit.Killed && exit.Timeout == 0:
		return Cancelled
	case exit.Timeout > 0 && !log.Started && !log.Changed && !exit.Killed:
		return Failed
	case exit.Interrupted || exit.Signal != "":
		return Interrupted
	case log.Changed:
		return PartlyApplied
	}
	return Failed
}

// plainEnd is the end that a process tells by itself, whatever it did. ok is false when more must be
// looked at.
func plainEnd(exit terraform.Exit) (end End, ok bool) {
	switch {
	case !exit.Started && exit.Interrupted:
		return Cancelled, true
	case !exit.Started:
		return NotStarted, true
	case !exit.Known:
		return Unknown, true
	case exit.Code == 0:
		return Succeeded, true
	}
	return "", false
}

// doneChanges counts what was really done.
func doneChanges(resources []Resource, planned Changes, succeeded bool) Changes {
	if succeeded {
		return planned
	}
	var done []Resource
	for _, r := range resources {
		if r.Outcome == Done {
			done = append(done, r)
		}
	}
	changes := terraform.Count(done)
	changes.Known = planned.Known
	return changes
}

// applyFailure is why an apply did not succeed, in terraform's words where it has some. Of an end that
// nobody saw the evidence tells. text is the log for people.
func applyFailure(exit terraform.Exit, log *terraform.ApplyLog, text string) *Failure {
	if !exit.Started {
		return nil
	}
	if failure := log.Failure(); failure != nil {
		return failure
	}
	if !exit.Known {
		return nil
	}
	failure := terraform.ErrorText(text, endWords("apply", exit))
	return &failure
}

// Recover finds out what became of a job after a crash of the server. A result that was kept is
// read. A plan: what still runs is interrupted and waited for first, and without a result the answer is ErrNotRun. An apply,
// like what mends a state, is never run again: one that still runs is waited for (cancelling ctx interrupts it), and one that
// was provably not started ends as NotStarted, one whose end nobody saw as Unknown, with evidence.
func (r *Runner) Recover(ctx context.Context, job Job) (Result, error) {
	w, err := r.begin(job)
	if err != nil {
		return Result{}, err
	}
	steps, err := stepDirs(job.Dir)
	if err != nil {
		return Result{}, err
	}
	if job.Action == Plan {
		if err := stopSteps(ctx, append(steps, w.showDir())); err != nil {
			return Result{}, fmt.Errorf("recovering job %s: %w", job.ID, err)
		}
		w.close()
	}
	result, err := LoadResult(job.Dir)
	if err == nil {
		return result, nil
	}
	if job.Action == Plan {
		return Result{}, ErrNotRun
	}
	if newer := new(FormatError); errors.As(err, &newer) {
		return Result{}, err // it says the end, and is not to be written over
	}
	end := w.recoverApply
	if job.Action.Mends() {
		end = w.recoverMend
	}
	result, err = end(ctx, steps)
	if err != nil {
		return Result{}, fmt.Errorf("recovering job %s: %w", job.ID, err)
	}
	w.close()
	return result, w.save(result)
}

// stopSteps ends the processes of a plan.
func stopSteps(ctx context.Context, steps []string) error {
	for _, step := range steps {
		running, _, err := inspect(step)
		if err != nil {
			return err
		}
		if !running {
			continue
		}
		if err := stopStep(ctx, step); err != nil {
			return fmt.Errorf("stopping a plan: %w", err)
		}
	}
	return nil
}

func stopStep(ctx context.Context, step string) error {
	now, cancel := context.WithCancel(ctx)
	cancel()
	ended, interrupter := make(chan struct{}), make(chan error, 1)
	go func() { interrupter <- supervisor.InterruptOn(now, step, ended) }()
	_, err := supervisor.Wait(ctx, step)
	close(ended)
	if refused := <-interrupter; err != nil {
		return errors.Join(err, refused)
	}
	return nil
}

func (w *work) recoverApply(ctx context.Context, steps []string) (Result, error) {
	for _, stepDir := range steps {
		if stepName(stepDir) != "apply" {
			continue
		}
		_, mark, _, err := supervisor.Inspect(stepDir)
		if err != nil {
			return Result{}, fmt.Errorf("looking at the apply: %w", err)
		}
		if mark != nil {
			w.started = mark.At
		}
		exit, err := w.adopt(ctx, stepDir)
		if err != nil {
			return Result{}, err
		}
		if !exit.Started && !exit.Interrupted {
			continue
		}
		if _, err := w.configure(); err != nil {
			// The files may be gone by now; what is known of the end is not.
			w.cfg.Log.WarnContext(ctx, "reading the configuration of a recovered apply", "job", w.job.ID, "error", err)
		}
		facts, err := w.appliedFacts()
		if err != nil {
			w.cfg.Log.WarnContext(ctx, "reading the plan of a recovered apply", "job", w.job.ID, "error", err)
		}
		return w.applied(stepDir, exit, facts)
	}
	result := w.result(NotStarted)
	result.Ended = time.Now().UTC()
	return result, nil
}

// adopt waits for an apply that another server started.
func (w *work) adopt(ctx context.Context, stepDir string) (terraform.Exit, error) {
	ended, interrupter := make(chan struct{}), make(chan error, 1)
	go func() { interrupter <- supervisor.InterruptOn(ctx, stepDir, ended) }()
	exit, err := terraform.Await(context.WithoutCancel(ctx), stepDir)
	close(ended)
	if refused := <-interrupter; refused != nil { // it has ended all the same
		w.cfg.Log.WarnContext(ctx, "interrupting an adopted job", "job", w.job.ID, "error", refused)
	}
	return exit, err
}

// inspect reports whether the process of a step runs, and whether it was ever started.
func inspect(stepDir string) (running, started bool, err error) {
	state, _, _, err := supervisor.Inspect(stepDir)
	if err != nil {
		return false, false, fmt.Errorf("looking at a step: %w", err)
	}
	return state == supervisor.Running, state != supervisor.NotStarted, nil
}
