//go:build !linux

package workdir

import (
	"os/exec"
	"testing"
)

// inProcesses finds nothing where there is no /proc.
func inProcesses(t *testing.T, _ string) string {
	t.Helper()
	return ""
}

func isAlive(pid string) bool { return exec.Command("kill", "-0", pid).Run() == nil } //nolint:noctx // ends at once
