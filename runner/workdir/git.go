package workdir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// stopGrace is what git gets between SIGTERM, on which it removes its lock files, and SIGKILL.
	stopGrace = 5 * time.Second
	// usualOutput is the limit of a command's output unless it asks for more.
	usualOutput = 1 << 20
	mostStderr  = 4 << 10
)

// git runs git, and nothing else does. Its environment and configuration are ours alone.
type git struct {
	version string
	bin     string
	env     []string
}

// command is one git process.
type command struct {
	args []string
	// gitDir and dir are GIT_DIR and the working directory; empty dir is gitDir.
	gitDir, dir string
	env         []string
	// config holds pairs of key and value, above those that every command gets.
	config []string
	stdin  io.Reader
	// limit is the most that may come on stdout, in bytes; 0 is usualOutput.
	limit int
	// out, if any, gets what comes on stdout, however much.
	out *os.File
	// files are inherited, from file descriptor 3 on.
	files []*os.File
	// warn, if any, gets what git complained about although it succeeded.
	warn func(text string)
	// secrets must not be seen in an error text, even if a server repeats them.
	secrets []string
}

// gitError is a git process that ended otherwise than with 0.
type gitError struct {
	command string
	code    int
	// text is what git printed, without secrets and control characters.
	text string
	err  error
}

func (e *gitError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("git %s: %v", e.command, e.err)
	}
	return fmt.Sprintf("git %s: %s", e.command, e.text)
}

func (e *gitError) Unwrap() error { return e.err }

// findGit looks for git and checks its version. home is an empty directory.
func findGit(ctx context.Context, bin, home string) (*git, error) {
	if bin == "" {
		bin = "git"
	}
	path, err := exec.LookPath(bin)
	if err != nil {
		return nil, fmt.Errorf("git is not to be found, install git 2.38 or newer: %w", err)
	}
	g := &git{bin: path, env: environment(home)}
	out, err := g.run(ctx, command{args: []string{"version"}, dir: home})
	if err != nil {
		return nil, fmt.Errorf("asking git for its version: %w", err)
	}
	major, minor, err := parseVersion(string(out))
	if err != nil {
		return nil, fmt.Errorf("asking %s for its version: %w", path, err)
	}
	if major < 2 || major == 2 && minor < 38 {
		return nil, fmt.Errorf("git 2.38 or newer is needed, %s is %d.%d", path, major, minor)
	}
	g.version = fmt.Sprintf("%d.%d", major, minor)
	return g, nil
}

// GitVersion is the git that a Store would use, as "2.39 at /usr/bin/git", or why there is none that it could use.
func GitVersion(ctx context.Context) (string, error) {
	g, err := findGit(ctx, "", "/") // nothing is read there, and a machine may be read-only
	if err != nil {
		return "", err
	}
	return g.version + " at " + g.bin, nil
}

// environment is all that git processes see of the server's environment: where programs are, and what
// leads through a proxy or names certificates.
func environment(home string) []string {
	env := []string{
		"HOME=" + home,
		"XDG_CONFIG_HOME=" + home,
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_ADVICE=0",
	}
	for _, name := range []string{
		"PATH", "TMPDIR",
		"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
		"http_proxy", "https_proxy", "all_proxy", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// configuration goes to every command, above any file. An operator's volume may belong to another user
// (safe.directory); nothing in a repository may start a program; nothing is thrown away behind our back.
func configuration() []string {
	return []string{
		"safe.directory", "*",
		"core.hooksPath", "/dev/null",
		"core.attributesFile", "/dev/null",
		"core.excludesFile", "/dev/null",
		"core.fsmonitor", "false",
		"core.untrackedCache", "false",
		"core.splitIndex", "false",
		"core.autocrlf", "false",
		"core.filesRefLockTimeout", "5000",
		"core.packedRefsTimeout", "5000",
		"credential.helper", "",
		"gc.auto", "0",
		"maintenance.auto", "false",
		"protocol.allow", "never",
		"submodule.recurse", "false",
	}
}

// cmd makes the process of c. It ends with ctx: SIGTERM to its group, and SIGKILL after the grace.
// stop is to be called after Wait.
func (g *git) cmd(ctx context.Context, c command) (cmd *exec.Cmd, stop func()) {
	cmd = exec.CommandContext(ctx, g.bin, c.args...)
	cmd.Dir = c.dir
	if cmd.Dir == "" {
		cmd.Dir = c.gitDir
	}
	cmd.Env = append(append([]string(nil), g.env...), c.env...)
	if c.gitDir != "" {
		cmd.Env = append(cmd.Env, "GIT_DIR="+c.gitDir)
	}
	config := append(configuration(), c.config...)
	cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(config)/2))
	for i := 0; i+1 < len(config); i += 2 {
		n := strconv.Itoa(i / 2)
		cmd.Env = append(cmd.Env, "GIT_CONFIG_KEY_"+n+"="+config[i], "GIT_CONFIG_VALUE_"+n+"="+config[i+1])
	}
	cmd.Stdin = c.stdin
	cmd.ExtraFiles = c.files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var kill *time.Timer
	cmd.Cancel = func() error {
		pid := cmd.Process.Pid
		kill = time.AfterFunc(stopGrace, func() { _ = syscall.Kill(-pid, syscall.SIGKILL) })
		return syscall.Kill(-pid, syscall.SIGTERM)
	}
	cmd.WaitDelay = stopGrace + time.Second
	return cmd, func() {
		if kill != nil {
			kill.Stop()
		}
	}
}

// run runs c and returns what it printed.
func (g *git) run(ctx context.Context, c command) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd, stop := g.cmd(ctx, c)
	limit := c.limit
	if limit == 0 {
		limit = usualOutput
	}
	stdout := &limited{most: limit, full: func() {
		cancel(fmt.Errorf("more than %d bytes of output: %w", limit, ErrTooLarge))
	}}
	stderr := &tail{most: mostStderr}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if c.out != nil {
		cmd.Stdout = c.out
	}
	err := cmd.Run()
	stop()
	if err == nil && ctx.Err() == nil {
		if c.warn != nil && len(stderr.buf) > 0 {
			c.warn(scrub(stderr.String(), c.secrets))
		}
		return stdout.buf.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("running git %s: %w", c.args[0], context.Cause(ctx))
	}
	failure := &gitError{command: c.args[0], code: -1, text: scrub(stderr.String(), c.secrets), err: err}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		failure.code = exit.ExitCode()
	}
	return stdout.buf.Bytes(), failure
}

// limited keeps what is written to it, and calls full once when it is more than most.
type limited struct {
	buf  bytes.Buffer
	most int
	full func()
}

func (l *limited) Write(p []byte) (int, error) {
	if l.buf.Len()+len(p) > l.most {
		l.full()
		return 0, ErrTooLarge
	}
	return l.buf.Write(p)
}

// tail keeps the last bytes written to it: git says what was fatal at the end.
type tail struct {
	buf  []byte
	most int
	// cut: something was written before.
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.most; over > 0 {
		t.buf, t.cut = append(t.buf[:0], t.buf[over:]...), true
	}
	return len(p), nil
}

// String is without a line that has lost its beginning: half of a secret would not be known for one.
func (t *tail) String() string {
	if !t.cut {
		return string(t.buf)
	}
	at := bytes.IndexAny(t.buf, "\r\n")
	if at < 0 {
		return ""
	}
	return string(t.buf[at+1:])
}

var userinfo = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`://[^/\s'"]*@`)
})

// scrub makes git's words fit for an error text: no user or password in URLs, none of the secrets, no
// control characters (a server's messages come through unfiltered), one line.
func scrub(text string, secrets []string) string {
	var lines []string
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.Map(func(r rune) rune {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				return -1
			}
			return r
		}, strings.ToValidUTF8(line, "?"))
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	// Last: what is taken out above can stand in the middle of a secret.
	text = strings.Join(lines, "; ")
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return userinfo().ReplaceAllString(text, "://")
}
