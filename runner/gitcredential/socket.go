// Package gitcredential answers git, as long as one `terraform get` runs, with the credential of one forge: for modules in private
// repositories.
//
// git asks a helper, which is our own binary (Main). It asks the server over a unix socket that belongs to the job (Listen), and the server
// asks the forge, there and then. The credential is in the memory of these and of git, and nowhere else: in no file, environment or
// argument.
//
// Everything of the same user could find the socket's path, in /proc/net/unix. So who asks has to know a key, which is in the
// environment of that process alone: other jobs, in Landlock domains of their own, can't read it. What it runs itself can, and can ask as
// well as git.
package gitcredential

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// longestAddress is that of a unix socket: 104 bytes on macOS, with a zero at the end.
	longestAddress = 103
	nameLen        = 8
	// mostQuestion bounds what git says, and mostAnswer what it is told.
	mostQuestion, mostAnswer = 16 << 10, 16 << 10
	// mostAtOnce is how many are answered at once, and mostSilent how many may be connected that have not said yet who they are; the
	// others wait.
	mostAtOnce, mostSilent = 4, 256
	// patience is how long a question and its answer may take.
	patience = time.Minute
	// silence is how long who has connected may take to ask.
	silence = 2 * time.Second
)

// Forge is where the credential is good, and who knows it.
type Forge struct {
	// URL is any of the forge: its scheme, host and port count.
	URL string
	// Credential is asked each time. Its error is for the log alone.
	Credential func(ctx context.Context) (user, password string, err error)
	// Refused hears of a password that git says the forge did not take. Nil: nobody does.
	Refused func(ctx context.Context, password string) bool
}

// Fits reports whether a socket can be made in a directory.
func Fits(dir string) bool { return len(dir)+1+nameLen <= longestAddress }

// Socket answers until it is closed.
type Socket struct {
	forge        Forge
	scheme, host string
	key          string
	log          *slog.Logger
	listener     net.Listener
	seats, turns chan struct{}
	stop         context.CancelFunc
	work         sync.WaitGroup
}

// Listen makes a socket in a directory that is closed to other users. Questions are answered until ctx ends or Close is called, which
// is needed in any case.
func Listen(ctx context.Context, dir string, forge Forge, log *slog.Logger) (*Socket, error) {
	u, err := url.Parse(forge.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("a forge that git has no credential for: its URL is not one of https or http")
	}
	if !Fits(dir) {
		return nil, fmt.Errorf("no socket can be made in %s: its path is too long", dir)
	}
	path := filepath.Join(dir, rand.Text()[:nameLen])
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for git: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("listening for git: %w", errors.Join(err, listener.Close()))
	}
	s := &Socket{forge: forge, scheme: u.Scheme, host: u.Host, key: rand.Text(), log: log, listener: listener, seats: make(chan struct{}, mostSilent), turns: make(chan struct{}, mostAtOnce)}
	ctx, s.stop = context.WithCancel(ctx)
	s.work.Go(func() { s.serve(ctx) })
	return s, nil
}

// Close ends what is being answered, and removes the socket.
func (s *Socket) Close() error {
	s.stop()
	err := s.listener.Close()
	s.work.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Env adds to the environment of a process what has git ask this socket, by way of the binary self, for this forge. Other helpers that
// the operator has configured for the forge's host are not asked: among them may be one that writes to disk what others have said.
func (s *Socket) Env(env []string, self string) []string {
	config, more := s.Helper(self)
	return append(Config(env, config...), more...)
}

// Helper is Env in its parts, for who sets git's configuration himself: pairs of key and value, and variables.
func (s *Socket) Helper(self string) (config, env []string) {
	helper := "credential." + s.scheme + "://" + s.host + ".helper"
	quoted := "'" + strings.ReplaceAll(self, "'", `'\''`) + "'"
	return []string{helper, "", helper, "!" + quoted + " " + Command},
		[]string{envSocket + "=" + s.listener.Addr().String(), envKey + "=" + s.key}
}

// Config adds pairs of key and value to what the environment has already of git's configuration.
func Config(env []string, pairs ...string) []string {
	const counts = "GIT_CONFIG_COUNT="
	n := 0
	var out []string
	for _, entry := range env {
		count, ok := strings.CutPrefix(entry, counts)
		if !ok {
			out = append(out, entry)
			continue
		}
		if given, err := strconv.Atoi(count); err == nil && given > 0 {
			n = given
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", n, pairs[i]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", n, pairs[i+1]))
		n++
	}
	return append(out, counts+strconv.Itoa(n))
}

func (s *Socket) serve(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { _ = s.listener.Close() })()
	for {
		select {
		case s.seats <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := s.listener.Accept()
		if err != nil {
			<-s.seats
			if ctx.Err() == nil {
				s.log.WarnContext(ctx, "git is not answered any more while modules are fetched", "err", err)
			}
			return
		}
		s.work.Go(func() {
			defer func() { <-s.seats }()
			s.answer(ctx, conn)
		})
	}
}

// answer answers one question. Who does not know the key is not answered at all.
func (s *Socket) answer(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(silence))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	in := bufio.NewReader(io.LimitReader(conn, mostQuestion))
	key, err := in.ReadString('\n')
	if err != nil || subtle.ConstantTimeCompare([]byte(strings.TrimSuffix(key, "\n")), []byte(s.key)) != 1 {
		return
	}
	action, err := in.ReadString('\n')
	if err != nil {
		return
	}
	asked, err := attributes(in)
	if err != nil {
		return
	}
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return
	}
	_, _ = io.WriteString(conn, s.words(ctx, strings.TrimSuffix(action, "\n"), asked)+"\n")
}

// words are git's lines for what it asked, or one that says why there are none.
func (s *Socket) words(ctx context.Context, action string, asked map[string]string) string {
	if asked["protocol"] != s.scheme || !strings.EqualFold(asked["host"], s.host) {
		return refusal + "there is one for " + s.scheme + "://" + s.host + " alone\n"
	}
	if action == actErase {
		if s.forge.Refused != nil && asked["password"] != "" {
			s.forge.Refused(ctx, asked["password"])
		}
		return "\n"
	}
	user, password, err := s.forge.Credential(ctx)
	if err == nil && strings.ContainsAny(user+password, "\x00\n\r") {
		err = errors.New("there is a line break in it")
	}
	if err != nil {
		s.log.WarnContext(ctx, "no credential to fetch modules with", "host", s.host, "err", err)
		return refusal + "the server got none from the forge, and its log says why\n"
	}
	return "username=" + user + "\npassword=" + password + "\n"
}

// attributes reads lines of key=value up to an empty one.
func attributes(in *bufio.Reader) (map[string]string, error) {
	found := map[string]string{}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			return found, nil
		}
		name, value, _ := strings.Cut(line, "=")
		found[name] = value
	}
}
