package gitcredential

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const password = "password-nobody-may-see"

// TestMain makes the test binary git's helper when git calls it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command {
		os.Exit(Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// listen opens a socket for https://forge.example:8443 and notes what the log is told.
func listen(t *testing.T, credential func(context.Context) (string, string, error)) (*Socket, *bytes.Buffer) {
	t.Helper()
	return listenFor(t, Forge{Credential: credential})
}

func listenFor(t *testing.T, forge Forge) (*Socket, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	forge.URL = "https://forge.example:8443/acme/infra.git"
	s, err := Listen(t.Context(), shortDir(t), forge, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, log
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock-") //nolint:usetesting // a TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func given(context.Context) (string, string, error) { return "tidegate", password, nil }

// git runs git with a home of its own, whose configuration has a helper that keeps everything it hears.
func git(t *testing.T, s *Socket, in string, args ...string) (out, heard string) {
	t.Helper()
	home := t.TempDir()
	config := "[credential]\n\thelper = \"!cat >>" + home + "/heard; :\"\n[credential \"https://forge.example:8443\"]\n\thelper = \"!cat >>" + home + "/heard; :\"\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A path with what a shell would act on.
	odd := filepath.Join(home, "it's $HOME `x`")
	if err := os.Symlink(self, odd); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = home, strings.NewReader(in)
	cmd.Env = s.Env([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0"}, odd)
	said, _ := cmd.CombinedOutput()
	raw, err := os.ReadFile(filepath.Join(home, "heard"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(said), string(raw)
}

// TestGitIsAnswered: git gets the credential of the forge's host, and no helper that the operator has for it hears of that.
func TestGitIsAnswered(t *testing.T) {
	t.Parallel()
	s, _ := listen(t, given)
	out, heard := git(t, s, "protocol=https\nhost=forge.example:8443\npath=acme/other.git\n\n", "credential", "fill")
	if !strings.Contains(out, "username=tidegate\npassword="+password+"\n") || heard != "" {
		t.Errorf("git credential fill = %q, and the operator's helper heard %q", out, heard)
	}
	out, heard = git(t, s, "protocol=https\nhost=forge.example:8443\nusername=tidegate\npassword="+password+"\n\n", "credential", "approve")
	if out != "" || heard != "" {
		t.Errorf("git credential approve = %q, and the operator's helper heard %q", out, heard)
	}
	for _, other := range []string{"protocol=https\nhost=forge.example\n\n", "protocol=https\nhost=evil.example:8443\n\n", "protocol=http\nhost=forge.example:8443\n\n"} {
		if out, heard := git(t, s, other, "credential", "fill"); strings.Contains(out, password) || heard == "" {
			t.Errorf("git credential fill for %q = %q, and the operator's helper heard %q", other, out, heard)
		}
	}
}

// TestRefusals: who asks for anything else, or is nobody that we know, hears nothing of the credential.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const forge = "protocol=https\nhost=forge.example:8443\n\n"
	refused := errors.New("the forge says " + password)
	for _, tt := range []struct {
		name, asks, key string
		credential      func(context.Context) (string, string, error)
		want, logged    string
	}{
		{name: "the forge", asks: forge, want: "username=tidegate\npassword=" + password + "\n"},
		{name: "in capitals", asks: "protocol=https\nhost=FORGE.example:8443\n\n", want: "username=tidegate\npassword=" + password + "\n"},
		{name: "another host", asks: "protocol=https\nhost=forge.example\n\n", want: "for https://forge.example:8443 alone"},
		{name: "the host as the end of another", asks: "protocol=https\nhost=evil.forge.example:8443\n\n", want: "for https://forge.example:8443 alone"},
		{name: "another protocol", asks: "protocol=http\nhost=forge.example:8443\n\n", want: "for https://forge.example:8443 alone"},
		{name: "nothing", asks: "\n", want: "for https://forge.example:8443 alone"},
		{name: "the last host counts", asks: "protocol=https\nhost=forge.example:8443\nhost=evil.example\n\n", want: "for https://forge.example:8443 alone"},
		{name: "another key", asks: forge, key: strings.Repeat("A", 26), want: "does not know who asks"},
		{name: "a forge that refuses", asks: forge, credential: func(context.Context) (string, string, error) { return "", "", refused }, want: "its log says why", logged: refused.Error()},
		{name: "a line break", asks: forge, credential: func(context.Context) (string, string, error) { return "a", password + "\nquit=1", nil }, want: "its log says why", logged: "line break"},
		{name: "too much", asks: strings.Repeat("x", mostQuestion), want: "for https://forge.example:8443 alone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.credential == nil {
				tt.credential = given
			}
			s, log := listen(t, tt.credential)
			if tt.key == "" {
				tt.key = s.key
			}
			got, err := ask(s.listener.Addr().String(), tt.key, actGet, strings.NewReader(tt.asks))
			told := string(got)
			if err != nil {
				told += err.Error()
			}
			if !strings.Contains(told, tt.want) || err != nil && strings.Contains(told, password) {
				t.Errorf("answer = %q, want %q", told, tt.want)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), tt.logged) || tt.logged == "" && log.Len() > 0 {
				t.Errorf("log = %q, want %q", log, tt.logged)
			}
		})
	}
}

// TestRefusalIsTold: what git has erased is told to who knows the forge, of this host alone, and an answer is none.
func TestRefusalIsTold(t *testing.T) {
	t.Parallel()
	refused := make(chan string, 3)
	s, _ := listenFor(t, Forge{Credential: given, Refused: func(_ context.Context, password string) bool { refused <- password; return true }})
	for _, tt := range []struct{ host, want string }{{"forge.example:8443", password}, {"forge.example", ""}} {
		out, heard := git(t, s, "protocol=https\nhost="+tt.host+"\nusername=tidegate\npassword="+password+"\n\n", "credential", "reject")
		told := ""
		select {
		case told = <-refused:
		default:
		}
		if told != tt.want || out != "" || (heard != "") != (tt.want == "") {
			t.Errorf("git credential reject for %s = %q; told of %q, want %q; the operator's helper heard %q", tt.host, out, told, tt.want, heard)
		}
	}
}

// TestHelper: what git wants stored is let go, and an answer that does not come is told, with nothing on stdout.
func TestHelper(t *testing.T) {
	s, _ := listen(t, given)
	run := func(args ...string) (code int, out, errs string) {
		var o, e strings.Builder
		code = Main(args, strings.NewReader("protocol=https\nhost=forge.example:8443\n\n"), &o, &e)
		return code, o.String(), e.String()
	}
	t.Setenv(envSocket, s.listener.Addr().String())
	t.Setenv(envKey, s.key)
	if code, out, errs := run("get"); code != 0 || !strings.Contains(out, password) || errs != "" {
		t.Errorf("get = %d, %q, %q", code, out, errs)
	}
	for _, other := range [][]string{{"store"}, {"erase"}, {"capability"}, {}} {
		if code, out, errs := run(other...); code != 0 || out != "" || errs != "" {
			t.Errorf("%q = %d, %q, %q, want nothing", other, code, out, errs)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	code, out, errs := run("get")
	if code != 1 || out != "" || !strings.Contains(errs, "the server does not answer any more") {
		t.Errorf("get without a server = %d, %q, %q", code, out, errs)
	}
	t.Setenv(envKey, "")
	if code, out, errs := run("get"); code != 1 || out != "" || !strings.Contains(errs, "when no modules are fetched") {
		t.Errorf("get at another time = %d, %q, %q", code, out, errs)
	}
}

// TestCutShort: what a server that dies has said is no credential.
func TestCutShort(t *testing.T) {
	t.Parallel()
	for _, said := range []string{"", "username=a\n", "username=a\npassword=half", "username=a\npassword=whole\n"} {
		if got, err := reply(strings.NewReader(said)); err == nil {
			t.Errorf("reply(%q) = %q, want an error", said, got)
		}
	}
}

// TestSocketLives: it is its owner's alone, gone when it is closed, and who is being answered then is let go.
func TestSocketLives(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	s, _ := listen(t, func(ctx context.Context) (string, string, error) {
		close(asked)
		<-ctx.Done()
		return "", "", ctx.Err()
	})
	path := s.listener.Addr().String()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Fatalf("the socket: %v, %v", info, err)
	}
	silent, err := net.Dial("unix", path) // one that says nothing keeps nobody
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ended := make(chan error, 1)
	go func() {
		_, err := ask(path, s.key, actGet, strings.NewReader("protocol=https\nhost=forge.example:8443\n\n"))
		ended <- err
	}()
	<-asked
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("a question during the end has an answer")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second Close() = %v", err)
	}
}

// TestListenRefuses: what no credential could be for, or where no socket can be.
func TestListenRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ dir, url, want string }{
		{t.TempDir(), "file:///srv/infra.git", "https or http"},
		{t.TempDir(), "ssh://git@forge.example/a", "https or http"},
		{"/" + strings.Repeat("d", longestAddress), "https://forge.example/a", "too long"},
		{filepath.Join(os.TempDir(), "no", "such"), "https://forge.example/a", "listening for git"},
	} {
		s, err := Listen(t.Context(), tt.dir, Forge{URL: tt.url, Credential: given}, slog.New(slog.DiscardHandler))
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Listen(%q, %q) = %v, want %q", tt.dir, tt.url, err, tt.want)
		}
	}
}

// TestConfig: what the operator has given git that way stays.
func TestConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ env, want []string }{
		{nil, []string{"GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_VALUE_0=", "GIT_CONFIG_KEY_1=a.b", "GIT_CONFIG_VALUE_1=c", "GIT_CONFIG_COUNT=2"}},
		{
			[]string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=x.y", "GIT_CONFIG_VALUE_0=z"},
			[]string{
				"GIT_CONFIG_KEY_0=x.y", "GIT_CONFIG_VALUE_0=z",
				"GIT_CONFIG_KEY_1=a.b", "GIT_CONFIG_VALUE_1=", "GIT_CONFIG_KEY_2=a.b", "GIT_CONFIG_VALUE_2=c", "GIT_CONFIG_COUNT=3",
			},
		},
		{[]string{"GIT_CONFIG_COUNT=-3"}, []string{"GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_VALUE_0=", "GIT_CONFIG_KEY_1=a.b", "GIT_CONFIG_VALUE_1=c", "GIT_CONFIG_COUNT=2"}},
	} {
		if diff := cmp.Diff(tt.want, Config(slices.Clone(tt.env), "a.b", "", "a.b", "c")); diff != "" {
			t.Errorf("Config(%q) differs (-want +got):\n%s", tt.env, diff)
		}
	}
}

// TestSilence: who connects and does not say the key is let go soon, so that nobody can keep git waiting.
func TestSilence(t *testing.T) {
	t.Parallel()
	s, _ := listen(t, given)
	for range mostSilent {
		conn, err := net.Dial("unix", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	began := time.Now()
	if got, err := ask(s.listener.Addr().String(), s.key, actGet, strings.NewReader("protocol=https\nhost=forge.example:8443\n\n")); err != nil || !bytes.Contains(got, []byte(password)) {
		t.Errorf("behind those that say nothing: %q, %v after %s", got, err, time.Since(began))
	}
}

// TestCrowd: who finds no place to wait in tries again, until there is one.
func TestCrowd(t *testing.T) {
	t.Parallel()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	path := filepath.Join(shortDir(t), "s")
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	full := false
	for !full {
		conn, err := net.Dial("unix", path)
		if err != nil {
			full = true
			continue
		}
		defer func() { _ = conn.Close() }()
	}
	waited := 0
	conn, err := connect(path, func(time.Duration) {
		if waited++; waited < 3 {
			return
		}
		if in, _, err := syscall.Accept(fd); err != nil {
			t.Error(err)
		} else if err := syscall.Close(in); err != nil {
			t.Error(err)
		}
	})
	if err != nil || waited != 3 {
		t.Fatalf("connect() = %v after %d times, want one after 3", err, waited)
	}
	_ = conn.Close()
}
