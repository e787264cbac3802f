package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidegate/tidegate/runner/terraform"
)

// Mends reports an action that changes a state without planning or applying anything.
func (a Action) Mends() bool { return a == ForceUnlock || a == StatePush }

// step is what the process of an action that has only one is called.
func (a Action) step() string { return strings.ReplaceAll(string(a), " ", "-") }

// mend runs the one terraform command of a job that mends a state.
func (w *work) mend(ctx context.Context) (Result, error) {
	if _, err := w.configure(); err != nil {
		return Result{}, err
	}
	if err := w.jobCLIConfig(); err != nil {
		return Result{}, err
	}
	if ctx.Err() != nil {
		return w.result(Cancelled), nil
	}
	c, err := w.command(w.job.Action.step(), w.env(w.job.Project.Workspace))
	if err != nil {
		return Result{}, err
	}
	var exit terraform.Exit
	if w.job.Action == ForceUnlock {
		exit, err = c.ForceUnlock(ctx, w.job.LockID)
	} else {
		exit, err = c.StatePush(ctx, w.job.StateFile)
	}
	if errors.Is(err, terraform.ErrNotStarted) && ctx.Err() != nil {
		return w.result(Cancelled), nil
	}
	if err != nil {
		return Result{}, err
	}
	return w.mended(c.StepDir, exit)
}

// mended turns the end into a result, from what is on disk alone. A state that was pushed is not kept
// any longer: it holds secrets, and the backend has it.
func (w *work) mended(stepDir string, exit terraform.Exit) (Result, error) {
	raw, err := terraform.ReadLog(stepDir, maxLog)
	if err != nil {
		return Result{}, err
	}
	result := w.result(mendEnd(exit))
	if !exit.Ended.IsZero() {
		result.Ended = exit.Ended
	}
	switch result.End {
	case Succeeded:
		if err := w.forgetState(); err != nil {
			w.cfg.Log.Error("removing a state that was pushed", "job", w.job.ID, "error", err)
		}
	case Failed, Interrupted:
		failure := terraform.ErrorText(raw, endWords(string(w.job.Action), exit))
		result.Failure = w.why(string(w.job.Action), exit, raw, w.waited(&failure))
	case Unknown:
		result.Evidence = w.evidence(stepDir, "")
	case Errored, Cancelled, PartlyApplied, NotStarted:
	}
	return result, nil
}

func mendEnd(exit terraform.Exit) End {
	end, ok := plainEnd(exit)
	switch {
	case ok:
		return end
	case exit.Interrupted || exit.Signal != "":
		return Interrupted
	}
	return Failed
}

func (w *work) forgetState() error {
	if w.job.StateFile == "" {
		return nil
	}
	if err := os.Remove(w.job.StateFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(w.job.StateFile))
}

// recoverMend is what became of a job that mends a state after a crash. It is never run twice.
func (w *work) recoverMend(ctx context.Context, steps []string) (Result, error) {
	for _, stepDir := range steps {
		if stepName(stepDir) != w.job.Action.step() {
			continue
		}
		exit, err := w.adopt(ctx, stepDir)
		if err != nil {
			return Result{}, err
		}
		if !exit.Started && !exit.Interrupted {
			continue
		}
		if _, err := w.configure(); err != nil {
			w.cfg.Log.WarnContext(ctx, "reading the configuration of a recovered job", "job", w.job.ID, "error", err)
		}
		return w.mended(stepDir, exit)
	}
	result := w.result(NotStarted)
	result.Ended = time.Now().UTC()
	return result, nil
}

// ErroredState is the state that an apply could not store, as long as it was not pushed; "" for none.
func ErroredState(jobDir string) string {
	name := filepath.Join(jobDir, erroredName)
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return name
}

// checkMend refuses a job that could not mean anything.
func (j Job) checkMend() error {
	switch {
	case j.Release != "" && !(&StateLock{ID: j.Release}).CanForce():
		return fmt.Errorf("job %s: %q can't be the id of a lock", j.ID, j.Release)
	case j.Action == ForceUnlock && !(&StateLock{ID: j.LockID}).CanForce():
		return fmt.Errorf("job %s: %q can't be the id of a lock", j.ID, j.LockID)
	case j.Action == StatePush && !filepath.IsAbs(j.StateFile):
		return fmt.Errorf("job %s: %q is no file with a state", j.ID, j.StateFile)
	}
	return nil
}
