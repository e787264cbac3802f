//go:build linux

package supervisor_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/runner/supervisor"
)

func TestRunPassesCodeAndOutputOn(t *testing.T) {
	t.Parallel()
	for _, code := range []int{0, 1, 2} {
		s := newStep(t, "exit", sprint(code))
		got := s.run(t, "plan", "-no-color")
		if got.code != code || got.stdout != "" {
			t.Errorf("stage one = %d with stdout %q, want %d with none", got.code, got.stdout, code)
		}
		wantErr := ""
		if code != 0 {
			wantErr = "to stdout\nto stderr\n"
		}
		if d := cmp.Diff(wantErr, got.stderr); d != "" {
			t.Errorf("stderr of stage one (-want +got):\n%s", d)
		}
		if d := cmp.Diff("to stdout\nto stderr\n", s.log(t)); d != "" {
			t.Errorf("output.log (-want +got):\n%s", d)
		}
		mark, status := s.inspect(t, supervisor.Ended)
		if status.ExitCode != code || status.LogBytes != 20 || status.Truncated || status.Interrupted || status.Started.IsZero() {
			t.Errorf("status = %+v", status)
		}
		if mark.PID == 0 || mark.Start == 0 || mark.Boot == "" {
			t.Errorf("mark = %+v, want pid, start and boot", mark)
		}
		if d := cmp.Diff([]string{"lock", "output.log", "spec.json", "started", "status.json"}, names(t, s.dir)); d != "" {
			t.Errorf("files left (-want +got):\n%s", d)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", e.Name(), info.Mode())
		}
		out = append(out, e.Name())
	}
	return out
}

func TestRunGivesTheProcessWhatTheSpecSays(t *testing.T) {
	t.Parallel()
	s := newStep(t, "facts")
	s.spec.Env = append(s.spec.Env, "B=2", "A=with = and spaces")
	cmd := s.command(t, "apply", "-input=false", "")
	cmd.Env = append(cmd.Env, "LEAK=1")
	leak, err := os.Create(filepath.Join(s.root, "leak"))
	must(t, err)
	defer func() { _ = leak.Close() }()
	cmd.ExtraFiles = []*os.File{leak}
	cmd.Dir = s.root
	if got := runCommand(t, cmd); got.code != 0 {
		t.Fatalf("stage one = %+v", got)
	}
	var f facts
	must(t, json.Unmarshal([]byte(s.log(t)), &f))
	if d := cmp.Diff(s.spec.Env, f.Env); d != "" {
		t.Errorf("environment (-want +got):\n%s", d)
	}
	s.forgot(t)
	if d := cmp.Diff([]string{s.stage, "apply", "-input=false", ""}, f.Args); d != "" {
		t.Errorf("arguments (-want +got):\n%s", d)
	}
	mark, _ := s.inspect(t, supervisor.Ended)
	if f.PID != mark.PID || f.Group != f.PID || f.Session != mark.Supervisor || f.Parent != mark.Supervisor {
		t.Errorf("process = %+v, want the pid and a group of its own, in the session of %+v", f, mark)
	}
	if f.Dir != s.root {
		t.Errorf("working directory = %s, want %s", f.Dir, s.root)
	}
	if slices.ContainsFunc(f.Files, func(p string) bool { return strings.HasPrefix(p, s.root) }) {
		t.Errorf("descriptors = %q, want none of %s", f.Files, s.root)
	}
	if !f.Blocking {
		t.Error("stdout does not block, which programs do not expect")
	}
	if f.Files[0] != "/dev/null" {
		t.Errorf("stdin = %s, want /dev/null", f.Files[0])
	}
}

// forgot checks that the secrets of a process that has ended are in no file any more.
func (s *step) forgot(t *testing.T) {
	t.Helper()
	spec, err := os.ReadFile(filepath.Join(s.dir, "spec.json"))
	must(t, err)
	if strings.Contains(string(spec), "ACT=") || !strings.Contains(string(spec), s.stage) {
		t.Errorf("spec.json = %s, want all but the environment", spec)
	}
}

func TestVersionIsAnsweredWithoutAProcess(t *testing.T) {
	t.Parallel()
	s := newStep(t, "exit", "0")
	s.spec.Versions = `{"terraform_version":"1.11.4"}`
	if got := s.run(t, "version", "-json"); got.code != 0 || got.stdout != s.spec.Versions {
		t.Errorf("version -json = %+v, want %s", got, s.spec.Versions)
	}
	if d := cmp.Diff([]string{"spec.json"}, names(t, s.dir)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if got := s.run(t, "plan"); got.code != 0 {
		t.Errorf("the real call after it = %+v", got)
	}
	s.expect(t, "was here")
}

func TestLogIsCapped(t *testing.T) {
	t.Parallel()
	s := newStep(t, "spew", "100000")
	s.spec.LogLimit = 1400 // a hundred lines
	if got := s.run(t); got.code != 0 {
		t.Errorf("stage one = %+v", got)
	}
	log := s.log(t)
	if !strings.HasPrefix(log, "line 00000000\n") || !strings.HasSuffix(log, "line 00099999\n") ||
		!strings.Contains(log, "line 00000049\n[tidegate: 1398614 bytes left out]\nline 00099951\n") {
		t.Errorf("log = %s, want head, a line about the middle, tail", log)
	}
	if _, status := s.inspect(t, supervisor.Ended); !status.Truncated || status.LogBytes != 1400000 || status.LogError != "" {
		t.Errorf("status = %+v, want a truncated log of 1400000 bytes", status)
	}
}

func TestFailureShowsTheLastLines(t *testing.T) {
	t.Parallel()
	s := newStep(t, "spew", "100000", "fail")
	got := s.run(t)
	if got.code != 1 || len(got.stderr) != 4096 || !strings.HasSuffix(got.stderr, "line 00099999\n") {
		t.Errorf("stage one = %d with %d bytes of stderr, want 1 with the last 4096", got.code, len(got.stderr))
	}
}
