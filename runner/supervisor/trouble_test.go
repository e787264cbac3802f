//go:build linux

package supervisor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/runner/supervisor"
)

func TestWhatCannotBeExecuted(t *testing.T) {
	t.Parallel()
	garbage := filepath.Join(worldDir(t), "garbage")
	must(t, os.WriteFile(garbage, []byte("\x00not a program"), 0o700))
	for name, c := range map[string]struct {
		change func(*step)
		want   string
	}{
		"no such file":   {func(s *step) { s.spec.Argv0 = "/no/such/program" }, "executing /no/such/program: no such file"},
		"no program":     {func(s *step) { s.spec.Argv0 = garbage }, "executing " + garbage + ": exec format error"},
		"not executable": {func(s *step) { s.spec.Argv0 = "/etc/passwd" }, "executing /etc/passwd: permission denied"},
		"hidden": {func(s *step) {
			s.spec.Argv0 = garbage
			s.spec.Sandbox.Hide = []string{filepath.Dir(garbage)}
		}, "executing " + garbage + ": permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStep(t, "exit", "0")
			c.change(s)
			got := s.run(t)
			if got.code != 125 || !strings.Contains(got.stderr, c.want) {
				t.Errorf("stage one = %+v, want 125 and %q", got, c.want)
			}
			_, status := s.inspect(t, supervisor.NotStarted)
			if status == nil || !strings.Contains(status.Error, c.want) || status.ExitCode != -1 || !status.Started.IsZero() {
				t.Errorf("status = %+v, want %q", status, c.want)
			}
		})
	}
}

func TestBadSpec(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec supervisor.Spec
		want string
	}{
		"relative program": {supervisor.Spec{Argv0: "terraform"}, "not an absolute path"},
		"no value":         {supervisor.Spec{Argv0: "/bin/true", Env: []string{"A=1", "secret"}}, "entry 1 of the environment is not NAME=value"},
		"ours":             {supervisor.Spec{Argv0: "/bin/true", Env: []string{supervisor.EnvDir + "=/"}}, "can't have " + supervisor.EnvDir},
		"relative path":    {supervisor.Spec{Argv0: "/bin/true", Sandbox: supervisor.Sandbox{Hide: []string{"data"}}}, "not an absolute path"},
		"negative":         {supervisor.Spec{Argv0: "/bin/true", Grace: -1}, "can't be negative"},
	} {
		if err := c.spec.Write(t.TempDir()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Write = %v, want %q", name, err, c.want)
		}
	}
}

func TestBrokenSpecIsToldByStageTwo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ raw, want string }{
		"not JSON":   {"{", "unexpected end of JSON"},
		"newer":      {`{"format":2,"argv0":"/bin/true"}`, "spec.json has format 2, this program knows 1"},
		"no program": {`{"format":1}`, "not an absolute path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStep(t, "exit", "0")
			cmd := s.command(t)
			must(t, os.WriteFile(filepath.Join(s.dir, "spec.json"), []byte(c.raw), 0o600))
			if got := runCommand(t, cmd); got.code != 125 || !strings.Contains(got.stderr, c.want) {
				t.Errorf("stage one = %+v, want 125 and %q", got, c.want)
			}
			if _, status := s.inspect(t, supervisor.NotStarted); status == nil || !strings.Contains(status.Error, c.want) {
				t.Errorf("status = %+v, want %q", status, c.want)
			}
		})
	}
}

// What format 1 wrote is read by every later program; what a later format wrote is refused.
func TestFormats(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "step")
	must(t, os.CopyFS(dir, os.DirFS("testdata/format1")))
	state, mark, status, err := supervisor.Inspect(dir)
	must(t, err)
	if state != supervisor.Ended || mark.PID != 2731 || mark.Start != 595343 || mark.Landlock != 7 ||
		status.ExitCode != 1 || !status.Interrupted || !status.Truncated || status.LogBytes != 20 || status.LogError != "no space left on device" {
		t.Errorf("Inspect = %v %+v %+v", state, mark, status)
	}
	for _, name := range []string{"status.json", "started"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(`{"format":2}`), 0o600))
		var format *supervisor.FormatError
		if _, _, _, err := supervisor.Inspect(dir); !errors.As(err, &format) || format.File != name {
			t.Errorf("Inspect = %v, want a FormatError of %s", err, name)
		}
		must(t, os.Remove(filepath.Join(dir, name)))
	}
}
