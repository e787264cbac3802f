package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/tidegate/tidegate/runner/terraform"
)

// maxKept bounds a file of a job that is copied: a sparse one takes no room where it is, and all of its
// size in the copy.
const maxKept = 1 << 30

// openCheckout opens the checkout as a root: every byte below it was written by others, and any directory
// in it may have become a link to somewhere else.
func (w *work) openCheckout() (*os.Root, error) {
	root, err := os.OpenRoot(w.job.Checkout)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, terraform.Unusable(".", errors.New("the checkout is gone"))
	}
	if err != nil {
		return nil, fmt.Errorf("opening the checkout: %w", err)
	}
	return root, nil
}

// replaceInProject writes a file of ours into the project, in the place of whatever stands there.
func (w *work) replaceInProject(name, text string) error {
	root, err := w.openCheckout()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	name = path.Join(w.job.Project.Dir, name)
	// Removed first: what stands there may be a link.
	if err := root.RemoveAll(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return terraform.Unusable(name, err)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return terraform.Unusable(name, err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// openIn opens a regular file below a root, through links that stay inside: not a FIFO, which would block.
func openIn(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// keepFile copies a file that a job left into the job directory, durably, and answers its SHA-256. It is
// not a link: what that led to would be no file of the job's.
func keepFile(root *os.Root, name, to string) (string, error) {
	if info, err := root.Lstat(name); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%q is not a regular file", name)
	}
	src, err := openIn(root, name)
	if err != nil {
		return "", err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // a file of ours
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, sum), io.LimitReader(src, maxKept+1))
	if err == nil && n > maxKept {
		err = fmt.Errorf("%q is larger than %d MiB", name, maxKept>>20)
	}
	if err := errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return "", errors.Join(err, os.Remove(to+".new"))
	}
	if err := os.Rename(to+".new", to); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), syncDir(filepath.Dir(to))
}
