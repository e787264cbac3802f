package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/tidegate/tidegate/runner/supervisor"
	"github.com/tidegate/tidegate/runner/terraform"
)

const (
	whoName  = "who"
	diedName = "died.json"
	// mostDied bounds what is kept of processes that died.
	mostDied = 20
)

// life is a terraform of a job that died without giving its locks back.
type life struct {
	// Who is what terraform calls itself in locks, Operation what it did.
	Who       string `json:"who"`
	Operation string `json:"operation"`
	// From and To are when it may have taken a lock.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// left reports that a lock is what this one has left. Nothing is taken for sure that terraform did not tell.
func (l life) left(lock StateLock) bool {
	return lock.Who != "" && lock.Who == l.Who && lock.Operation == l.Operation &&
		!lock.Created.Before(l.From) && !lock.Created.After(l.To)
}

// who is what terraform writes into its locks: user@host.
func who() string {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if name == "" || err != nil {
		return "" // not to be told from others
	}
	return name + "@" + host
}

// sign notes for later jobs how this one's terraform calls itself.
func (w *work) sign() error {
	if err := writeDurably(filepath.Join(w.job.Dir, whoName), []byte(who())); err != nil {
		return fmt.Errorf("signing the job directory: %w", err)
	}
	return nil
}

// Left reports that a state's lock was left behind by a terraform of this job, which is dead. The job has
// ended, or is the one that asks and runs nothing now: of that only what is noted of earlier starts counts.
func (j Job) Left(lock StateLock, ended bool, at time.Time) (bool, error) {
	died, err := readDied(j.Dir)
	if err != nil {
		return false, err
	}
	if ended {
		more, err := livesLost(j.Dir, at)
		if err != nil {
			return false, err
		}
		died = append(died, more...)
	}
	for _, l := range died {
		if l.left(lock) {
			return true, nil
		}
	}
	return false, nil
}

// livesLost are the processes of a job directory that died without having been seen to end, or by force.
// Like supervisor.Inspect it is not to be asked of a job that is just being started.
func livesLost(jobDir string, until time.Time) ([]life, error) {
	steps, err := stepDirs(jobDir)
	if err != nil {
		return nil, err
	}
	name, err := os.ReadFile(filepath.Join(jobDir, whoName)) //nolint:gosec // a file of ours
	if errors.Is(err, fs.ErrNotExist) || len(name) == 0 {
		return nil, nil // of an older version
	}
	if err != nil {
		return nil, fmt.Errorf("reading whose job it was: %w", err)
	}
	var lost []life
	for _, step := range steps {
		operation := map[string]string{"plan": "OperationTypePlan", "apply": "OperationTypeApply"}[stepName(step)]
		if operation == "" {
			continue
		}
		state, mark, status, err := supervisor.Inspect(step)
		if err != nil {
			return nil, fmt.Errorf("looking at a process that died: %w", err)
		}
		if mark == nil || state == supervisor.Running {
			continue
		}
		to := until
		if status != nil {
			if !status.Killed && status.Signal == "" {
				continue // it has given back what it had
			}
			to = status.Ended
		}
		lost = append(lost, life{Who: string(name), Operation: operation, From: mark.At, To: to})
	}
	return lost, nil
}

// mourn notes the processes of an earlier start of a plan that died, before their directories are cleared.
func (w *work) mourn() error {
	lost, err := livesLost(w.job.Dir, time.Now().UTC())
	if err != nil || len(lost) == 0 {
		return err
	}
	died, err := readDied(w.job.Dir)
	if err != nil {
		return err
	}
	died = append(died, lost...)
	data, err := json.Marshal(died[max(0, len(died)-mostDied):])
	if err == nil {
		err = writeDurably(filepath.Join(w.job.Dir, diedName), data)
	}
	if err != nil {
		return fmt.Errorf("noting processes that died: %w", err)
	}
	return nil
}

func readDied(jobDir string) (died []life, err error) {
	data, err := os.ReadFile(filepath.Join(jobDir, diedName)) //nolint:gosec // a file of ours
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &died)
	}
	if err != nil {
		return nil, fmt.Errorf("reading which processes died: %w", err)
	}
	return died, nil
}

// release breaks the lock that a dead job has left, before it is planned again. It may be gone by now: what
// plan says counts.
func (w *work) release(ctx context.Context) error {
	if w.job.Release == "" {
		return nil
	}
	s, err := w.step(ctx, ForceUnlock.step(), w.env(w.job.Project.Workspace), func(ctx context.Context, c terraform.Command) (terraform.Exit, error) {
		return c.ForceUnlock(ctx, w.job.Release)
	})
	if err != nil {
		return err
	}
	if s.failure != nil {
		w.cfg.Log.WarnContext(ctx, "breaking the lock that a dead job has left", "job", w.job.ID, "lock", w.job.Release, "why", s.failure.Summary)
		return nil
	}
	w.released = w.job.Release
	return nil
}
