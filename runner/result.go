package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	resultFormat = 1
	resultName   = "result.json"
	planTextName = "plan.txt"
	planName     = "plan.tfplan"
)

// FormatError is a result.json of a format that this program does not know.
type FormatError struct{ Format int }

func (e *FormatError) Error() string {
	return fmt.Sprintf("%s has format %d, this program knows %d", resultName, e.Format, resultFormat)
}

// LoadResult reads what Run kept in a job directory. A job without a result is fs.ErrNotExist, a
// result of a newer program *FormatError.
func LoadResult(jobDir string) (Result, error) {
	data, err := os.ReadFile(filepath.Join(jobDir, resultName)) //nolint:gosec // a file of ours
	if err != nil {
		return Result{}, fmt.Errorf("reading a result: %w", err)
	}
	var result Result
	if err := json.Unmarshal(data, &result); err != nil {
		return Result{}, fmt.Errorf("reading a result: %w", err)
	}
	if result.Format != resultFormat {
		return Result{}, fmt.Errorf("reading a result: %w", &FormatError{Format: result.Format})
	}
	return result, nil
}

// forgetResult removes the result of an earlier start for good, before anything else of that start goes: it would be taken for
// the next one's.
func forgetResult(jobDir string) error {
	err := os.Remove(filepath.Join(jobDir, resultName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(jobDir)
	}
	if err != nil {
		return fmt.Errorf("forgetting an earlier result: %w", err)
	}
	return nil
}

// save keeps a result. What an apply has done is known, and told, even if there is no room to keep it: it can be read from
// the step's own marks again. A plan is not a plan without it.
func (w *work) save(result Result) error {
	err := saveResult(w.job.Dir, result)
	if err != nil && w.job.Action != Plan {
		w.cfg.Log.Error("keeping the result of a job", "job", w.job.ID, "error", err)
		return nil
	}
	return err
}

// saveResult keeps a result durably. The plan's text goes first: with result.json all is there.
func saveResult(jobDir string, result Result) error {
	if result.Text != "" {
		if err := writeDurably(filepath.Join(jobDir, planTextName), []byte(result.Text)); err != nil {
			return fmt.Errorf("keeping the text of a job: %w", err)
		}
	}
	data, err := json.MarshalIndent(result, "", "\t")
	if err == nil {
		err = writeDurably(filepath.Join(jobDir, resultName), data)
	}
	if err != nil {
		return fmt.Errorf("keeping the result of a job: %w", err)
	}
	return nil
}

// writeDurably makes a file appear complete or not at all, and makes it last.
func writeDurably(name string, data []byte) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // a file of ours
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name+".new"))
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // a directory of ours
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
