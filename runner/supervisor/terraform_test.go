//go:build linux

package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// actTerraform is the server's part: an apply by terraform-exec, cancelled by SIGTERM. Its arguments:
// the step directory, the directory with the files, and the file that the end is written to.
func actTerraform(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	tf, err := tfexec.NewTerraform(args[1], os.Args[0])
	if err == nil {
		err = tf.SetEnv(map[string]string{supervisor.EnvDir: args[0]})
	}
	if err == nil {
		err = tf.ApplyJSON(ctx, io.Discard)
	}
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	_ = os.WriteFile(args[2], fmt.Appendf(nil, "%d %v", code, err), 0o600)
	return 0
}

// apply starts the server's part for a resource whose making takes as long as the test wants it to.
func (s *step) apply(t *testing.T) (server *exec.Cmd, end string) {
	t.Helper()
	terraform, err := exec.LookPath("terraform")
	must(t, err)
	work := filepath.Join(s.root, "work")
	must(t, os.Mkdir(work, 0o777))
	must(t, os.WriteFile(filepath.Join(work, "main.tf"), fmt.Appendf(nil, `
resource "terraform_data" "before" {}
resource "terraform_data" "slow" {
  depends_on = [terraform_data.before]
  provisioner "local-exec" {
    command = "echo applying > %s; read word < %s; echo $word"
  }
}
`, s.say(), s.tell()), 0o666))
	init := exec.CommandContext(t.Context(), terraform, "init", "-no-color")
	init.Dir = work
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("terraform init: %v\n%s", err, out)
	}
	s.spec = supervisor.Spec{
		Argv0: terraform, Versions: `{"terraform_version":"1.11.4"}`,
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.root, "CHECKPOINT_DISABLE=1", "TMPDIR=" + work},
	}
	must(t, s.spec.Write(s.dir))
	end = filepath.Join(s.root, "end")
	server = exec.CommandContext(t.Context(), s.stage)
	server.Env = []string{"ACT=" + strings.Join([]string{"terraform", s.dir, work, end}, "\x1f")}
	must(t, server.Start())
	t.Cleanup(func() { s.end(t) })
	s.expect(t, "applying")
	return server, end
}

// state answers the resources of the local state, tainted ones with a mark, and demands that nobody
// holds its lock.
func (s *step) state(t *testing.T) string {
	t.Helper()
	work := filepath.Join(s.root, "work")
	raw, err := os.ReadFile(filepath.Join(work, "terraform.tfstate"))
	must(t, err)
	var state struct {
		Resources []struct {
			Name      string
			Instances []struct{ Status string }
		}
	}
	must(t, json.Unmarshal(raw, &state))
	var out []string
	for _, r := range state.Resources {
		out = append(out, strings.TrimSpace(r.Name+" "+r.Instances[0].Status))
	}
	if _, err := os.Lstat(filepath.Join(work, ".terraform.tfstate.lock.info")); err == nil {
		t.Error("the state is still locked")
	}
	return strings.Join(out, ", ")
}

func TestTerraformFinishesWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	s := newStep(t, "")
	server, _ := s.apply(t)
	must(t, server.Process.Kill())
	_ = server.Wait()
	s.inspect(t, supervisor.Running)
	s.send(t, "go on")
	if status := s.wait(t); status == nil || status.ExitCode != 0 || status.Interrupted {
		t.Errorf("Wait = %+v, want a good end; log:\n%s", status, s.log(t))
	}
	if got, want := s.state(t), "before, slow"; got != want {
		t.Errorf("state = %q, want %q", got, want)
	}
	if log := s.log(t); !strings.Contains(log, `"Apply complete! Resources: 2 added`) || !strings.Contains(log, "go on") {
		t.Errorf("log = %s, want all of it", log)
	}
}

func TestTerraformInterrupted(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(t *testing.T, s *step, server *exec.Cmd){
		"by terraform-exec": func(t *testing.T, _ *step, server *exec.Cmd) {
			t.Helper()
			must(t, server.Process.Signal(syscall.SIGTERM))
		},
		"after the server was killed": func(t *testing.T, s *step, server *exec.Cmd) {
			t.Helper()
			must(t, server.Process.Kill())
			_ = server.Wait()
			for range 3 {
				must(t, supervisor.Interrupt(s.dir))
			}
		},
		"without supervisor": func(t *testing.T, s *step, server *exec.Cmd) {
			t.Helper()
			mark, _ := s.inspect(t, supervisor.Running)
			must(t, server.Process.Kill())
			_ = server.Wait()
			p, err := os.FindProcess(mark.Supervisor)
			must(t, err)
			must(t, p.Kill())
			eventually(t, "an orphan", func() bool {
				_, mark, _, err := supervisor.Inspect(s.dir)
				return err == nil && mark != nil && mark.Orphaned
			})
			for range 3 {
				must(t, supervisor.Interrupt(s.dir))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStep(t, "")
			server, end := s.apply(t)
			ask(t, s, server)
			status := s.wait(t)
			_ = server.Wait()
			if got, want := s.state(t), "before, slow tainted"; got != want {
				t.Errorf("state = %q, want %q", got, want)
			}
			log := s.log(t)
			if strings.Contains(log, "Two interrupts") || name != "without supervisor" && strings.Count(log, "Interrupt received") != 1 {
				t.Errorf("log = %s, want one interrupt", log)
			}
			if name == "without supervisor" {
				s.inspect(t, supervisor.Unknown)
				return
			}
			if status == nil || status.ExitCode != 1 || !status.Interrupted || status.Killed {
				t.Errorf("Wait = %+v, want interrupted with exit code 1", status)
			}
			if name == "by terraform-exec" {
				raw, err := os.ReadFile(end)
				must(t, err)
				if !strings.HasPrefix(string(raw), "1 ") {
					t.Errorf("terraform-exec says %q, want exit code 1", raw)
				}
			}
		})
	}
}
