//go:build linux

package supervisor_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// try runs what the program may do in the sandbox. The paths are relative to the step's root, unless
// they are absolute.
func try(t *testing.T, s *step, as func(*exec.Cmd) *exec.Cmd, want map[string]string) {
	t.Helper()
	attempts := []string{}
	back := map[string]string{}
	for a := range want {
		how, path, _ := strings.Cut(a, ":")
		var abs []string
		for p := range strings.SplitSeq(path, ",") {
			if !filepath.IsAbs(p) && how != "signal" {
				p = filepath.Join(s.root, p)
			}
			abs = append(abs, p)
		}
		full := how + ":" + strings.Join(abs, ",")
		attempts, back[full] = append(attempts, full), a
	}
	s.spec.Env[0] = "ACT=" + strings.Join(append([]string{"read"}, attempts...), "\x1f")
	cmd := as(s.command(t))
	s.giveTo(t, cmd)
	if got := runCommand(t, cmd); got.code != 0 {
		_, _, status, _ := supervisor.Inspect(s.dir)
		t.Fatalf("stage one = %+v, status %+v", got, status)
	}
	answer := map[string]string{}
	must(t, json.Unmarshal([]byte(strings.TrimPrefix(s.log(t), "x")), &answer))
	got := map[string]string{}
	for full, a := range back {
		got[a] = answer[full]
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("in the sandbox (-want +got):\n%s", d)
	}
}

// giveTo gives all files to the user that a command runs as.
func (s *step) giveTo(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil || cmd.SysProcAttr.Credential == nil {
		return
	}
	user := cmd.SysProcAttr.Credential
	must(t, filepath.WalkDir(s.root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || path == s.stage {
			return err
		}
		return os.Lchown(path, int(user.Uid), int(user.Gid))
	}))
}

// tree makes files below the step's root, for everybody.
func tree(t *testing.T, s *step, files ...string) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(s.root, f)
		must(t, os.MkdirAll(filepath.Dir(path), 0o777))
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o777))
	}
	must(t, filepath.Walk(s.root, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode()&os.ModeSymlink == 0 && path != s.stage {
			err = os.Chmod(path, 0o777)
		}
		return err
	}))
}

// asUsers runs a test as we are, and as a user without rights where we are root.
func asUsers(t *testing.T, f func(t *testing.T, as func(*exec.Cmd) *exec.Cmd)) {
	t.Helper()
	t.Run("as we are", func(t *testing.T) {
		t.Parallel()
		f(t, func(c *exec.Cmd) *exec.Cmd { return c })
	})
	if os.Geteuid() == 0 {
		t.Run("as nobody", func(t *testing.T) {
			t.Parallel()
			f(t, nobody)
		})
	}
}

func needLandlock(t *testing.T) {
	t.Helper()
	if l := level(t); l.Landlock < 3 {
		t.Fatalf("this test needs Landlock version 3 or newer, the kernel has %d", l.Landlock)
	}
}

// level is what Protect answers, in a process of its own.
func level(t *testing.T) (l supervisor.Level) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{"ACT=level"}
	out, err := cmd.Output()
	must(t, err)
	must(t, json.Unmarshal(out, &l))
	return l
}

func TestSandboxHidesAndShows(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	asUsers(t, func(t *testing.T, as func(*exec.Cmd) *exec.Cmd) {
		t.Helper()
		s := newStep(t, "read")
		tree(t, s, "data/secret", "data/checkout/main.tf", "data/checkout/.git/config", "data/providers/provider",
			"data/checkout/private/key", "token", "tokens", "free/file", "free/exec", "free/extra", "data/runs/other/spec.json")
		must(t, os.Symlink(filepath.Join(s.root, "data"), filepath.Join(s.root, "link")))
		must(t, os.Symlink(filepath.Join(s.root, "token"), filepath.Join(s.root, "free", "token")))
		must(t, os.Symlink(filepath.Join(s.root, "data/checkout"), filepath.Join(s.root, "way")))
		s.spec.Sandbox = supervisor.Sandbox{
			Hide:     []string{s.path("data"), s.path("free/token"), s.path("absent"), s.path("data/checkout/private")},
			Show:     []string{s.path("way")},
			ShowRead: []string{s.path("link/providers")},
		}
		try(t, s, as, map[string]string{
			"read:data/secret":               "denied",
			"write:data/secret":              "denied",
			"append:data/secret":             "denied",
			"truncate:data/secret":           "denied",
			"remove:data/secret":             "denied",
			"exec:data/secret":               "denied",
			"read:link/secret":               "denied",
			"read:free/token":                "denied",
			"read:token":                     "denied",
			"list:data":                      "denied",
			"list:data/runs":                 "denied",
			"mkdir:data/new":                 "denied",
			"write:data/new":                 "denied",
			"rename:data/secret,free/stolen": "denied",
			"rename:data/checkout,free/co":   "denied",
			"read:data/runs/other/spec.json": "denied",
			"read:data/checkout/private/key": "denied",
			"stat:data/secret":               "ok",
			"chmod:data/secret":              "ok", // Landlock has no right for it

			"read:data/checkout/main.tf":                        "ok",
			"append:data/checkout/main.tf":                      "ok",
			"read:way/main.tf":                                  "ok",
			"read:data/checkout/.git/config":                    "ok",
			"write:data/checkout/.git/new":                      "ok",
			"write:data/checkout/new":                           "denied", // private is beside it
			"read:data/providers/provider":                      "ok",
			"list:data/providers":                               "ok",
			"exec:data/providers/provider":                      "ok",
			"append:data/providers/provider":                    "denied",
			"write:data/providers/new":                          "denied",
			"read:tokens":                                       "ok",
			"write:tokens":                                      "ok",
			"list:free":                                         "ok",
			"write:free/new":                                    "ok",
			"remove:free/file":                                  "ok",
			"exec:free/exec":                                    "ok",
			"rename:free/extra,data/checkout/.git/from-outside": "ok",
			"list:/":                  "denied",
			"list:" + s.root:          "denied",
			"write:beside":            "denied",
			"read:/etc/passwd":        "ok",
			"exec:/bin/true":          "ok",
			"append:/dev/null":        "ok",
			"read:/dev/null":          "ok",
			"read:/proc/self/environ": "ok",
			"list:/sys":               "ok",
			"read:" + filepath.Join(s.dir, "spec.json"):    "denied",
			"append:" + filepath.Join(s.dir, "output.log"): "denied",
			"write:" + filepath.Join(s.dir, "status.json"): "denied",
			"remove:" + filepath.Join(s.dir, "lock"):       "denied",
			"append:" + filepath.Join(s.dir, "control"):    "denied",
			"append:/dev/stdout":                           "ok",
		})
	})
}

func (s *step) path(p string) string { return filepath.Join(s.root, p) }

func TestStepDirectoryIsHiddenAlways(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	s := newStep(t, "read")
	s.spec.Sandbox.Show = []string{s.root, s.dir}
	try(t, s, func(c *exec.Cmd) *exec.Cmd { return c }, map[string]string{
		"read:" + filepath.Join(s.dir, "spec.json"):    "denied",
		"append:" + filepath.Join(s.dir, "output.log"): "denied",
		"write:tell-me": "denied",
		"read:tidegate": "ok",
	})
}

// The server's environment, memory and files are out of reach for what it runs; as root only what
// Landlock alone holds is.
func TestServerIsOutOfReach(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	for _, protect := range []string{"", "protect"} {
		s := newStep(t, "read")
		tree(t, s, "data/secret")
		s.spec.Sandbox.Hide = []string{s.path("data")}
		server := nobody(exec.CommandContext(t.Context(), s.stage))
		server.Env = []string{"ACT=server\x1f" + protect, "SAY=" + s.say(), "TELL=" + s.tell(), "SECRET=hunter2"}
		must(t, server.Start())
		pid := strings.TrimPrefix(s.hear(t), "ready ")
		try(t, s, nobody, map[string]string{
			"read:/proc/" + pid + "/environ": "denied",
			"append:/proc/" + pid + "/mem":   "denied",
			"list:/proc/" + pid + "/root":    "denied",
			"list:/proc/" + pid + "/cwd":     "denied",
			"signal:" + pid:                  "denied",
			"read:/proc/self/environ":        "ok",
			"read:data/secret":               "denied",
		})
		raw, err := readAs(t, s, nobody, "/proc/"+pid+"/environ")
		if readable := err == nil && strings.Contains(raw, "hunter2"); readable != (protect == "") {
			t.Errorf("outside of the sandbox, protected %q: readable = %v (%v)", protect, readable, err)
		}
		must(t, server.Process.Signal(syscall.SIGKILL))
		_ = server.Wait()
	}
}

func readAs(t *testing.T, s *step, as func(*exec.Cmd) *exec.Cmd, path string) (string, error) {
	t.Helper()
	cmd := as(exec.CommandContext(t.Context(), "cat", path))
	cmd.Dir = s.root
	out, err := cmd.Output()
	return string(out), err
}

func TestSupervisorIsOutOfReach(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	s := newStep(t, "count")
	cmd := nobody(s.command(t))
	s.giveTo(t, cmd)
	must(t, cmd.Start())
	s.hear(t)
	mark, _ := s.inspect(t, supervisor.Running)
	if mark.Landlock < 3 {
		t.Errorf("mark = %+v, want the version of Landlock", mark)
	}
	if _, err := readAs(t, s, nobody, "/proc/"+sprint(mark.Supervisor)+"/environ"); err == nil {
		t.Errorf("the supervisor's environment can be read by its user")
	}
	s.send(t, "end")
	if code := exitOf(t, cmd); code != 0 {
		t.Errorf("stage one = %d", code)
	}
}

func TestNoNewPrivileges(t *testing.T) {
	t.Parallel()
	needLandlock(t)
	s := newStep(t, "facts")
	if got := s.run(t); got.code != 0 {
		t.Fatalf("stage one = %+v", got)
	}
	var f facts
	must(t, json.Unmarshal([]byte(s.log(t)), &f))
	if !f.NoNewPrivs {
		t.Error("the process can gain privileges by setuid programs")
	}
}

func TestProtect(t *testing.T) {
	t.Parallel()
	if l := level(t); !l.NonDumpable || l.Root != (os.Geteuid() == 0) {
		t.Errorf("Protect = %+v", l)
	}
}
