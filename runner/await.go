package runner

import (
	"context"
	"fmt"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// Await waits until nothing of a job runs any more whose record is lost: only its directory is known. With stop it is
// interrupted first. What
// became of it is not found out; Recover does that for a job that is known.
func Await(ctx context.Context, jobDir string, stop bool) error {
	steps, err := stepDirs(jobDir)
	if err != nil {
		return err
	}
	if stop {
		return stopSteps(ctx, steps)
	}
	for _, step := range steps {
		if _, err := supervisor.Wait(ctx, step); err != nil {
			return fmt.Errorf("waiting for %s: %w", stepName(step), err)
		}
	}
	return nil
}
