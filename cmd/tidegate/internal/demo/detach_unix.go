package demo

import (
	"os/exec"
	"syscall"
)

// detach keeps the terminal's Ctrl-C from the server: the demo stops it in order.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
