package demo

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stopAt ends a demo when it says something.
type stopAt struct {
	text string
	stop func()
	said bytes.Buffer
}

func (s *stopAt) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.text) {
		s.stop()
	}
	return s.said.Write(p)
}

// Whoever stops a demo that is just starting hears of nothing that broke by it.
func TestStoppedWhileItStarts(t *testing.T) {
	tools(t)
	for _, phase := range []string{"starting the forge", "pushing acme/infra", "starting Tidegate"} {
		for script, want := range map[bool]error{false: nil, true: errInterrupted} {
			t.Run(phase, func(t *testing.T) {
				temp := t.TempDir()
				t.Setenv("TMPDIR", temp)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				out := &stopAt{text: phase, stop: cancel}
				err := Run(ctx, Options{Self: "/bin/false", Script: script, Listen: "127.0.0.1:0", Out: out})
				if !errors.Is(err, want) {
					t.Errorf("Run() = %v, want %v", err, want)
				}
				if !strings.HasSuffix(out.said.String(), "\nstopping\n") {
					t.Errorf("it says:\n%s", out.said.String())
				}
				if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			})
		}
	}
}

// tools makes the demo find a terraform, which it does not come to use.
func tools(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tofu"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// A server that does not come up ends the demo with its last words, and nothing is left.
func TestServerThatDoesNotStart(t *testing.T) {
	tools(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	self := filepath.Join(t.TempDir(), "tidegate")
	if err := os.WriteFile(self, []byte("#!/bin/sh\necho cannot start >&2\nexit 2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := Run(t.Context(), Options{Self: self, Listen: "127.0.0.1:0", Out: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), "cannot start") {
		t.Errorf("Run() = %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestKeepWantsAnEmptyDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got, err := emptyDir(dir); err != nil || got != dir {
		t.Errorf("emptyDir() = %q, %v", got, err)
	}
	if got, err := emptyDir(filepath.Join(dir, "new")); err != nil || got != filepath.Join(dir, "new") {
		t.Errorf("emptyDir() = %q, %v", got, err)
	}
	if _, err := emptyDir(dir); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a directory with something in it: %v", err)
	}
}

// What is pushed is run, so nobody gets to push but this machine's user.
func TestWhoReachesTheForge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listen, host string
		want         int
	}{
		{"127.0.0.1:0", "localhost:3000", 200},
		{"127.0.0.1:0", "127.0.0.1", 200},
		{"127.0.0.1:0", "evil.example:3000", 403},
		{"127.0.0.1:0", "127.0.0.1.evil.example", 403},
		{"0.0.0.0:0", "this-machine.acme.example:3000", 200},
	} {
		d := &demo{Options: Options{Listen: c.listen, Keep: filepath.Join(t.TempDir(), "demo"), Out: &bytes.Buffer{}}}
		if err := d.makeDir(); err != nil {
			t.Fatal(err)
		}
		f, err := startForge(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/acme/infra", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		resp, err := direct().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("listening on %s, asked as %s: %d, want %d", c.listen, c.host, resp.StatusCode, c.want)
		}
		if known := f.password == "demo"; known != d.private() {
			t.Errorf("listening on %s, the password is %q", c.listen, f.password)
		}
		if err := f.stop(); err != nil {
			t.Error(err)
		}
	}
}
