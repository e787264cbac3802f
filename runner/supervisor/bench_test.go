//go:build linux

package supervisor_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// BenchmarkStages is `true` through all stages; compare with BenchmarkPlain. A step has four fsyncs.
func BenchmarkStages(b *testing.B) {
	root := b.TempDir()
	for n := 0; b.Loop(); n++ {
		dir := filepath.Join(root, sprint(n))
		must(b, os.Mkdir(dir, 0o700))
		must(b, supervisor.Spec{Argv0: "/bin/true", Sandbox: supervisor.Sandbox{Hide: []string{root}}}.Write(dir))
		cmd := exec.CommandContext(b.Context(), os.Args[0])
		cmd.Env = []string{supervisor.EnvDir + "=" + dir}
		must(b, cmd.Run())
	}
}

func BenchmarkPlain(b *testing.B) {
	for b.Loop() {
		must(b, exec.CommandContext(b.Context(), "/bin/true").Run())
	}
}
