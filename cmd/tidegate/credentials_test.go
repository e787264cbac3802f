package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// TestAuthoritiesOfGit: git is told of one file and of one directory, and of nothing where the operator has told it himself.
func TestAuthoritiesOfGit(t *testing.T) {
	for _, tt := range []struct{ name, file, dir, own, wantFile, wantDir string }{
		{"nothing", "", "", "", "", ""},
		{"both", "/a.pem", "/certs", "", "/a.pem", "/certs"},
		{"several directories", "", "/certs:/more", "", "", ""},
		{"git's own", "/a.pem", "/certs", "/git", "/git", "/git"},
		{"a colon in a file's name", "/a:b.pem", "", "", "/a:b.pem", ""},
	} {
		t.Setenv("SSL_CERT_FILE", tt.file)
		t.Setenv("SSL_CERT_DIR", tt.dir)
		t.Setenv("GIT_SSL_CAINFO", tt.own)
		t.Setenv("GIT_SSL_CAPATH", tt.own)
		shareAuthorities()
		if file, dir := os.Getenv("GIT_SSL_CAINFO"), os.Getenv("GIT_SSL_CAPATH"); file != tt.wantFile || dir != tt.wantDir {
			t.Errorf("%s: git has the file %q and the directory %q, want %q and %q", tt.name, file, dir, tt.wantFile, tt.wantDir)
		}
	}
}

// TestKeyOfTheCredential: where jobs can read each other's environment, the start says what that means for the credential.
func TestKeyOfTheCredential(t *testing.T) {
	t.Parallel()
	holds := supervisor.Level{NonDumpable: true, Landlock: 1}
	root, old := holds, holds
	root.Root, old.Landlock = true, 0
	for _, tt := range []struct {
		name  string
		level supervisor.Level
		offer bool
		want  bool
	}{
		{"held", holds, true, false}, {"root", root, true, true}, {"no Landlock", old, true, true}, {"nothing is offered", root, false, false},
	} {
		var out bytes.Buffer
		greet(slog.New(slog.NewTextHandler(&out, nil)), settings{gitCreds: tt.offer}, tt.level, &net.TCPAddr{})
		if got := strings.Contains(out.String(), `level=WARN msg="other jobs can read the key`); got != tt.want {
			t.Errorf("%s: warned of %v, want %v:\n%s", tt.name, got, tt.want, &out)
		}
	}
}

// TestSocketsAreSwept: those that a killed server has left for git-lfs go, and nothing else.
func TestSocketsAreSwept(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "sweep-") //nolint:usetesting // a TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "job"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"left", "job/its"} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := sweepSockets(dir); err != nil {
			t.Fatal(err)
		}
	}
	for name, stays := range map[string]bool{"left": false, "job/its": true, "file": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: %v, want it to stay: %v", name, err, stays)
		}
	}
	if err := sweepSockets(filepath.Join(dir, "none")); err != nil {
		t.Errorf("sweepSockets() without a directory = %v", err)
	}
}
