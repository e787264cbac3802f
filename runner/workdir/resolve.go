package workdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Resolve answers the absolute path of a directory of the tree, with all links in it followed: the path
// itself goes through none. dir has forward slashes and is relative to the root.
//
// Errors: [*EscapeError] when it leads out of the tree (a link with an absolute target always does);
// [fs.ErrNotExist]; or it is no directory.
func (c Checkout) Resolve(dir string) (abs string, err error) {
	root, err := os.OpenRoot(c.Root)
	if err != nil {
		return "", fmt.Errorf("opening the checkout: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	real, err := follow(dir, func(name string) (string, bool, error) {
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return "", false, nil
		}
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return "", false, err
		}
		target, err := root.Readlink(name)
		return target, true, err
	})
	if err != nil {
		return "", err
	}
	info, err := root.Lstat(real)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &fs.PathError{Op: "find directory", Path: dir, Err: fs.ErrNotExist}
	}
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%q is not a directory", dir)
	}
	return filepath.Join(c.Root, filepath.FromSlash(real)), nil
}
