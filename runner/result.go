package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
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
		return err
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

// keepFile moves a file that terraform wrote into the job directory, durably, and answers its SHA-256.
func keepFile(from, to string) (string, error) {
	src, err := openRegular(from)
	if err != nil {
		return "", err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // a file of ours
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(dst, sum), src)
	if err := errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return "", err
	}
	if err := os.Rename(to+".new", to); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), syncDir(filepath.Dir(to))
}

// openRegular opens a file that foreign code may have put there: neither a link that leads elsewhere
// nor a FIFO that blocks.
func openRegular(name string) (*os.File, error) {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	info, err := root.Lstat(filepath.Base(name))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", filepath.Base(name))
	}
	f, err := root.OpenFile(filepath.Base(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		return nil, errors.Join(err, f.Close(), fmt.Errorf("%s changed while it was opened", filepath.Base(name)))
	}
	return f, nil
}
