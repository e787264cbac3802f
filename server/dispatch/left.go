package dispatch

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/templates"
)

// kindLeft is an event of our own: an apply ended, and nobody knows how far it came. Its projects are
// planned again, so that people see what is left to do.
const kindLeft = "left"

const fromApply = "apply:"

// lookAgain lets the projects of an apply be planned again whose end is not known. The event is durable
// before the apply is answered: whatever dies on the way, the plan is made once.
func (e *Engine) lookAgain(ctx context.Context, s scene, jobs []journal.Job) error {
	in := journal.Internal{Kind: kindLeft, Pull: s.pull.ID(), User: s.ask.user, Cause: fromApply + s.run.ID}
	for _, j := range jobs {
		if s.ask.kind == askApply && isLookedAt(j) {
			in.Projects = append(in.Projects, j.Job.Project)
		}
	}
	if len(in.Projects) == 0 {
		return nil
	}
	if _, _, err := e.Journal.AddInternal(ctx, in, "left/"+s.run.ID); err != nil {
		return fmt.Errorf("planning again what run %s left: %w", s.run.ID, err)
	}
	return nil
}

// isLookedAt: what became of the job is to be seen from a new plan. While the newest state is in our
// keeping and not where terraform looks for it, no plan is worth anything.
func isLookedAt(j journal.Job) bool {
	return j.Result != nil && j.Result.End == runner.Unknown && runner.ErroredState(j.Job.Dir) == ""
}

// leftBehind is why what an apply left is not planned any more: everything was given up since.
func (e *Engine) leftBehind(ctx context.Context, s scene) (string, error) {
	if s.ask.left == nil {
		return "", nil
	}
	rec, _, err := e.Journal.Pull(ctx, s.pull.ID())
	if err != nil {
		return "", err
	}
	if rec.Since > strings.TrimPrefix(s.ask.source, fromApply) {
		return "everything was let go of since", nil
	}
	return "", nil
}

// leftNote says on a plan what it is for.
func (e *Engine) leftNote(s scene) string {
	run, ok := strings.CutPrefix(s.ask.source, fromApply)
	if s.ask.left == nil || !ok {
		return ""
	}
	return templates.LeftNote(e.runURL(run))
}

// nobody: no lock stays.
func nobody(runner.Project) bool { return false }
