package demo

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckNamesAllThatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := (&demo{}).check(t.Context())
	if err == nil {
		t.Fatal("nothing is missing in an empty PATH")
	}
	for _, want := range []string{"git 2.38 or newer", "terraform or tofu in PATH"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestCheckOldGit(t *testing.T) {
	for version, ok := range map[string]bool{"2.37.9": false, "1.99.0": false, "2.38.0": true, "2.50.1.windows.1": true, "3.0.0": true} {
		dir := t.TempDir()
		for name, text := range map[string]string{"git": "#!/bin/sh\necho git version " + version + "\n", "tofu": "#!/bin/sh\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("PATH", dir)
		if err := (&demo{}).check(t.Context()); (err == nil) != ok {
			t.Errorf("git %s: %v", version, err)
		}
	}
}

// The usual port may be taken by another demo.
func TestListenTakesAnotherPort(t *testing.T) {
	t.Parallel()
	first, err := listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	second, err := listen(t.Context(), first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	host, _, err := net.SplitHostPort(second.Addr().String())
	if err != nil || host != "127.0.0.1" || second.Addr().String() == first.Addr().String() {
		t.Errorf("second listener on %s, %v", second.Addr(), err)
	}
	if _, err := listen(t.Context(), "nonsense"); err == nil {
		t.Error("an address that is none was taken")
	}
}

// Who asked for an address gets that one or none.
func TestListenTakesWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	asked := &demo{Options: Options{Listen: "127.0.0.1:0"}}
	first, err := asked.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	asked.Listen = first.Addr().String()
	second, err := asked.listen(t.Context())
	if err == nil {
		_ = second.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "--listen: "+asked.Listen+" is taken") {
		t.Errorf("listen on a port that is taken = %v, want an error that names it", err)
	}
}

// Children get nothing of this machine's configuration.
func TestEnvironment(t *testing.T) {
	for _, k := range []string{"TF_CLI_ARGS", "HTTP_PROXY", "GIT_DIR", "TIDEGATE_GH_TOKEN", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(k, "hostile")
	}
	d := &demo{dir: "/demo"}
	for _, kv := range d.environ() {
		k, v, _ := strings.Cut(kv, "=")
		switch {
		case v == "hostile":
			t.Errorf("%s comes through", k)
		case k == "HOME" && v != "/demo/home", k == "TMPDIR" && v != "/demo/tmp":
			t.Errorf("%s=%s", k, v)
		}
	}
}

func TestMadeDirectories(t *testing.T) {
	t.Parallel()
	keep := filepath.Join(t.TempDir(), "kept")
	d := &demo{Options: Options{Keep: keep}}
	if err := d.makeDir(); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"home", "state", "data", "forge", "clone", "tmp"} {
		info, err := os.Stat(filepath.Join(keep, sub))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", sub, info, err)
		}
	}
	other := &demo{Options: Options{Keep: filepath.Join(keep, "again")}}
	if err := other.makeDir(); err != nil || len(d.nonce) != 12 || other.nonce == d.nonce {
		t.Errorf("nonces %q and %q, %v", d.nonce, other.nonce, err)
	}
}

func TestExpect(t *testing.T) {
	t.Parallel()
	const comment = "### Plan for `network`: 1 add\nnonce-1\n"
	if err := expect(comment, "1 add", "nonce-1"); err != nil {
		t.Error(err)
	}
	if err := expect(comment, "1 add", "nonce-2"); err == nil || !strings.Contains(err.Error(), `"nonce-2"`) || !strings.Contains(err.Error(), "Plan for `network`: 1 add") {
		t.Errorf("a comment without the nonce: %v", err)
	}
}

func TestExplainShowsTheServersLastWords(t *testing.T) {
	t.Parallel()
	d := &demo{dir: t.TempDir()}
	if got := d.explain(context.Canceled); got.Error() != context.Canceled.Error() {
		t.Errorf("without a log: %v", got)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "server.log"), []byte("line 0\n"+strings.Repeat("line\n", 14)+"last words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := d.explain(context.Canceled).Error()
	if !strings.Contains(got, "last words") || strings.Contains(got, "line 0") {
		t.Errorf("explained as %s", got)
	}
	if d.explain(nil) != nil {
		t.Error("no error became one")
	}
}
