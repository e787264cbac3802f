package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
)

const (
	// fullHeadline stands in headlines and statuses.
	fullHeadline = "the server's disk is full"
	fullAdvice   = "Who runs this server can free some of it or give it more. Then comment again."
)

// isFull reports that something could not be written for want of room: by us, or by git, which only says so.
func isFull(err error) bool {
	if err == nil {
		return false
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		strings.Contains(strings.ToLower(err.Error()), "no space left on device")
}

// noRoom is why nothing new is started; nil while there is room.
func (e *Engine) noRoom() error {
	if e.Options.Room == nil {
		return nil
	}
	return e.Options.Room()
}

// hadNoRoom reports that something has failed for want of room. git does not always say why it could not write.
func (e *Engine) hadNoRoom(cause error) bool {
	return isFull(cause) || workdir.IsGit(cause) && e.noRoom() != nil
}

// deaf reports that the journal can't be written because the disk is full. Then nothing can be told, and that what
// waits to be told has failed would not be true: it is carried on when there is room again.
func (e *Engine) deaf(ctx context.Context, err error) bool {
	return isFull(err) && isFull(e.ping(ctx))
}

// ourFailure is why a job failed, or was not started, for which terraform has no words.
func ourFailure(job string, err error) *runner.Failure {
	if isFull(err) {
		return &runner.Failure{
			Summary: fullHeadline,
			Text:    "The disk of the server's data directory became full, job " + job + ". " + fullAdvice,
		}
	}
	return &runner.Failure{Summary: "internal error", Text: "internal error, job " + job + "; the server's log has the cause"}
}

// crowdedOut refuses a job while there is no room for what it would write; nil when there is.
func (e *Engine) crowdedOut(s scene, j journal.Job) *runner.Summary {
	err := e.noRoom()
	if err == nil {
		return nil
	}
	e.Log.Warn("not starting a job", "job", j.Job.ID, "err", err)
	end := runner.Failed
	if s.ask.changes() {
		end = runner.NotStarted
	}
	return &runner.Summary{End: end, Failure: &runner.Failure{Summary: fullHeadline, Text: title(err.Error()) + ". " + fullAdvice}}
}

// turnAway ends a job for which there is no room. A plan that was made of the same files before stays as it is, under its lock.
func (e *Engine) turnAway(ctx context.Context, s scene, j journal.Job, why runner.Summary) (journal.Job, error) {
	if !s.ask.plans() {
		return e.ended(ctx, j, why)
	}
	plans, err := e.plans(ctx, s.pull.ID())
	if err != nil {
		return j, err
	}
	same := slices.IndexFunc(plans, func(p journal.Plan) bool {
		return p.Project == j.Job.Project && p.Tree == s.run.Tree && p.State == journal.PlanReady
	})
	if same >= 0 {
		j.PlanID = plans[same].ID
	} else if err := e.supersedePlan(ctx, s, j.Job.Project, "there was no room for a newer plan"); err != nil {
		return j, err
	}
	return e.ended(ctx, j, why)
}

// keepsPlan: a job that was turned away has left the plan before it as it is.
func keepsPlan(j journal.Job) bool {
	return j.PlanID != "" && j.Result != nil && j.Result.End == runner.Failed
}

// isTurnedAway: nothing was begun, because there was no room for it.
func isTurnedAway(j journal.Job) bool {
	return j.Started.IsZero() && j.Result != nil && j.Result.Failure != nil && j.Result.Failure.Summary == fullHeadline
}
