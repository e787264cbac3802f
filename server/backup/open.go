package backup

import (
	"os"
	"path/filepath"
	"syscall"
)

// openFile opens a file to read it. A link, or a pipe that nobody writes to, that was put in its place is
// neither followed nor waited for.
func openFile(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
}
