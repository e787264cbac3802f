package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/server/journal"
)

// envMain makes the test binary be tidegate, so that what is started is the whole program.
const envMain = "TIDEGATE_TEST_IS_TIDEGATE"

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tidegate is a command that runs the program with nothing of this machine's environment.
func tidegate(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = []string{envMain + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	cmd.Dir = t.TempDir()
	return cmd
}

// exit runs a command to its end and answers its exit code and what it printed.
func exit(t *testing.T, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// complete are flags that a server starts with.
func complete(t *testing.T, data string, more ...string) []string {
	t.Helper()
	dir := t.TempDir()
	return append([]string{
		"server", "--repo-allowlist=127.0.0.1:9/acme/*", "--gh-api-url=http://127.0.0.1:9/api/v3", "--gh-user=bot", "--listen=127.0.0.1:0",
		"--gh-token-file", write(t, filepath.Join(dir, "token"), "tok-hush\n"),
		"--gh-webhook-secret-file", write(t, filepath.Join(dir, "hook"), "hook-hush\n"), "--data-dir", data,
	}, more...)
}

// A start that can't succeed ends with exit code 2, so that nothing tries it again, and says why.
func TestStartThatCantSucceed(t *testing.T) {
	t.Parallel()
	held := filepath.Join(t.TempDir(), "held")
	newer := filepath.Join(t.TempDir(), "newer")
	for _, dir := range []string{held, newer} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	hold(t, held)
	makeNewer(t, newer)
	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "tidegate.db"), "no database\n")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	file := write(t, filepath.Join(t.TempDir(), "file"), "")
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"nothing given", []string{"server"}, []string{"\n  - --repo-allowlist: ", "\n  - no forge is configured: "}},
		{"a secret's file is missing", complete(t, t.TempDir(), "--gh-token-file=/nowhere/token"), []string{"\n  - --gh-token-file: open /nowhere/token: no such file or directory\n"}},
		{"a flag that is none", complete(t, t.TempDir(), "--gh-tokn=tok-hush"), []string{"\n  - unknown flag: --gh-tokn; did you mean --gh-token?\n"}},
		{"a flag with one hyphen", complete(t, t.TempDir(), "-gh-token=tok-hush"), []string{"\n  - a flag begins with two hyphens: --gh-token\n"}},
		{"a flag with one hyphen that is none", complete(t, t.TempDir(), "-ptok-hush"), []string{"\n  - a flag begins with two hyphens; "}},
		{"a flag with three hyphens", complete(t, t.TempDir(), "---gh-token=tok-hush"), []string{"\n  - a flag begins with two hyphens: --gh-token\n"}},
		{"no boolean", complete(t, t.TempDir(), "--tf-download=perhaps"), []string{"--tf-download"}},
		{"a word among the flags", complete(t, t.TempDir(), "tok-hush"), []string{"server takes flags only"}},
		{"another server holds the data directory", complete(t, held), []string{"tidegate.db is held by pid "}},
		{"a newer Tidegate made the data directory", complete(t, newer), []string{"made by a newer Tidegate (format 99, this one reads 1)"}},
		{"something else is there", complete(t, foreign), []string{"tidegate.db"}},
		{"the data directory is a file", complete(t, file), []string{"\n  - --data-dir: "}},
		{"the address is taken", complete(t, t.TempDir(), "--listen", taken.Addr().String()), []string{taken.Addr().String(), "address already in use"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := exit(t, tidegate(t, c.args...))
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if stdout != "" {
				t.Errorf("on standard output: %s", stdout)
			}
			_, told, ok := strings.Cut(stderr, "tidegate can't start:")
			for _, want := range c.want {
				if !ok || !strings.Contains(told, want) {
					t.Errorf("%q is not in what is told:\n%s", want, stderr)
				}
			}
			if strings.Contains(stderr, "hush") {
				t.Errorf("a secret is told:\n%s", stderr)
			}
		})
	}
}

// hold keeps a data directory as a running server does.
func hold(t *testing.T, dir string) {
	t.Helper()
	db, err := journal.OpenFile(filepath.Join(dir, "tidegate.db"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
}

// makeNewer makes a data directory that says it is of a later format.
func makeNewer(t *testing.T, dir string) {
	t.Helper()
	db, err := journal.OpenFile(filepath.Join(dir, "tidegate.db"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("journal"), []byte(`{"format":99,"something":"else"}`))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestServerStartsAndStops(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	cmd := tidegate(t, complete(t, data)...)
	addr, rest := begin(t, cmd)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/status": 200, "/metrics": 200, "/": 200, "/locks": 200, "/runs/none": 404} {
		if got := get(t, "http://"+addr+path); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text := <-rest
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, text)
	}
	if strings.Contains(text, "hush") || !strings.Contains(text, "a webhook secret has fewer than 16 bytes") {
		t.Errorf("a secret is logged, or nothing is said of a weak one:\n%s", text)
	}
	if info, err := os.Stat(data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory: %v, %v; want mode 0700", info, err)
	}
	if info, err := os.Stat(filepath.Join(data, "tidegate.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the database: %v, %v; want mode 0600", info, err)
	}
}

// Finding terraform may mean to download it, and whoever watches the server does not wait for that.
func TestServesBeforeTerraformIsFound(t *testing.T) {
	t.Parallel()
	cmd := tidegate(t, complete(t, t.TempDir())...)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "terraform"), []byte("#!/bin/sh\nexec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	addr, rest := begin(t, cmd)
	if got := get(t, "http://"+addr+"/healthz"); got != http.StatusOK {
		t.Errorf("/healthz: %d", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text := <-rest
	if err := cmd.Wait(); err != nil || strings.Contains(text, "no terraform") {
		t.Errorf("it ended with %v\n%s", err, text)
	}
}

// Whoever signals again does not wait for what is under way.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	cmd := tidegate(t, complete(t, t.TempDir())...)
	addr, rest := begin(t, cmd)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	// A delivery whose body does not come.
	_, err = io.WriteString(conn, "POST /events HTTP/1.1\r\nHost: x\r\nX-GitHub-Event: ping\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // it wants the body
		t.Fatal(err)
	}
	ended := make(chan string)
	go func() { ended <- <-rest }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			continue
		case text := <-ended:
			_ = cmd.Wait()
			if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
				t.Errorf("it ended with %v\n%s", cmd.ProcessState, text)
			}
			if !strings.Contains(text, "stopping: nothing begins any more") {
				t.Errorf("it does not say that it stops:\n%s", text)
			}
			return
		}
	}
}

// begin starts a server, and waits until it says where it listens. All that it logs comes with rest, at its end.
func begin(t *testing.T, cmd *exec.Cmd) (addr string, rest <-chan string) {
	t.Helper()
	logs, err := cmd.StderrPipe()
	if err := errors.Join(err, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	addrs, all := make(chan string, 1), make(chan string, 1)
	go func() {
		var text strings.Builder
		buf := make([]byte, 4096)
		for found := false; ; {
			n, err := logs.Read(buf)
			text.Write(buf[:n])
			if _, after, ok := strings.Cut(text.String(), " listen="); ok && !found {
				if a, _, ok := strings.Cut(after, " "); ok {
					found = true
					addrs <- a
				}
			}
			if err != nil {
				close(addrs)
				all <- text.String()
				return
			}
		}
	}()
	addr, ok := <-addrs
	if !ok {
		t.Fatalf("the server ended:\n%s", <-all)
	}
	return addr, all
}

func get(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// init does not start again what ended with a usage error.
func TestWrongCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"sever"}, "tidegate: \"sever\" is not a command; did you mean server?\n"},
		{[]string{"frobnicate"}, "tidegate: \"frobnicate\" is not a command; tidegate --help lists them\n"},
		{[]string{"-gh-token=tok-hush"}, "tidegate: a flag begins with two hyphens; one of those given does not\n"},
		{[]string{"demo", "--nope"}, "tidegate: unknown flag: --nope\n"},
		{[]string{"demo", "--listn=:3000"}, "tidegate: unknown flag: --listn; did you mean --listen?\n"},
		{[]string{"server", "--repo-alowlist=tok-hush"}, "tidegate can't start:\n  - unknown flag: --repo-alowlist; did you mean --repo-allowlist?\n"},
		{[]string{"version", "tok-hush"}, "tidegate: version takes flags only; "},
	} {
		code, stdout, stderr := exit(t, tidegate(t, c.args...))
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, c.want) || strings.Contains(stderr, "hush") {
			t.Errorf("%v: exit code %d, %q, %q; want %d and %q", c.args, code, stdout, stderr, exitUsage, c.want)
		}
	}
	if code, stdout, _ := exit(t, tidegate(t)); code != 0 || !strings.Contains(stdout, "Available Commands") {
		t.Errorf("without a command: exit code %d, %q", code, stdout)
	}
}

// Kubernetes gives every container the addresses of the services beside it; one of the name tidegate
// comes as TIDEGATE_PORT. What is mistyped is told.
func TestEnvironmentOfOthers(t *testing.T) {
	t.Parallel()
	cmd := tidegate(t, complete(t, t.TempDir())...)
	cmd.Env = append(cmd.Env, "TIDEGATE_PORT=tcp://10.0.0.7:4141", "TIDEGATE_PORT_4141_TCP=tcp://10.0.0.7:4141", "TIDEGATE_SERVICE_HOST=10.0.0.7", "TIDEGATE_GH_TOKN=tok-hush")
	_, rest := begin(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text := <-rest
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, text)
	}
	if !strings.Contains(text, "name=TIDEGATE_GH_TOKN ") || strings.Contains(text, "hush") || strings.Contains(text, "name=TIDEGATE_PORT") || strings.Contains(text, "name=TIDEGATE_SERVICE") {
		t.Errorf("it logs:\n%s", text)
	}
	wrong := tidegate(t, "server")
	wrong.Env = append(wrong.Env, "TIDEGATE_REPO_ALLOW_LIST=github.com/*", "ATLANTIS_GH_TOKEN=tok-hush", "ATLANTIS_CHECKOUT_STRATEGY=merge")
	_, _, stderr := exit(t, wrong)
	for _, want := range []string{"\n  - TIDEGATE_REPO_ALLOW_LIST is set, but there is no such setting\n", "\n  - ATLANTIS_GH_TOKEN is set, but not read: it is TIDEGATE_GH_TOKEN here\n"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not in what is told:\n%s", want, stderr)
		}
	}
	if strings.Contains(stderr, "hush") || strings.Contains(stderr, "CHECKOUT") {
		t.Errorf("it tells:\n%s", stderr)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"version", "--version"} {
		code, stdout, stderr := exit(t, tidegate(t, arg))
		if code != 0 || !strings.HasPrefix(stdout, "tidegate ") || strings.Count(stdout, "\n") != 1 || stderr != "" {
			t.Errorf("%s: exit code %d, %q, %q", arg, code, stdout, stderr)
		}
	}
}
