package gitcredential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Command is how our binary is called to be git's helper.
const Command = "git-credential"

const (
	envSocket = "TIDEGATE_GIT_SOCKET"
	envKey    = "TIDEGATE_GIT_KEY"
	// What git wants done, in its words: https://git-scm.com/docs/git-credential#_typical_use_of_git_credential
	actGet, actErase = "get", "erase"
	// refusal begins an answer without a credential.
	refusal = "error="
)

// Main is git's helper. args are those that git adds: what it wants done. It answers the exit code. Nothing is ever stored. That one was
// refused, for which git has it erased, is told to the server.
func Main(args []string, in io.Reader, out, errs io.Writer) int {
	if len(args) != 1 || args[0] != actGet && args[0] != actErase {
		return 0
	}
	answer, err := ask(os.Getenv(envSocket), os.Getenv(envKey), args[0], in)
	if args[0] == actErase {
		return 0 // git can do nothing about it
	}
	if err != nil {
		_, _ = fmt.Fprintln(errs, "tidegate: no credential for git:", err)
		return 1
	}
	if _, err := out.Write(answer); err != nil {
		return 1
	}
	return 0
}

// ask passes git's question on to the server, and answers what it says.
func ask(socket, key, action string, in io.Reader) ([]byte, error) {
	if socket == "" || key == "" {
		return nil, errors.New("it is asked for when no modules are fetched")
	}
	question, err := io.ReadAll(io.LimitReader(in, mostQuestion/2))
	if err != nil {
		return nil, errors.New("git's question can't be read")
	}
	conn, err := connect(socket, func(d time.Duration) { <-time.After(d) })
	if err != nil {
		return nil, errors.New("the server does not answer any more")
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, errors.New("the server can't be asked")
	}
	// An empty line ends it, whether git has sent one or not.
	_, err = fmt.Fprintf(conn, "%s\n%s\n%s\n\n", key, action, bytes.TrimRight(question, "\n"))
	if err != nil {
		return nil, errors.New("the server does not answer any more")
	}
	return reply(conn)
}

// connect tries again, after some time, while too many others want to connect.
func connect(socket string, wait func(time.Duration)) (net.Conn, error) {
	const pause = 50 * time.Millisecond
	for tries := int(patience / pause); ; tries-- {
		conn, err := (&net.Dialer{Timeout: patience}).DialContext(context.Background(), "unix", socket)
		if tries == 0 || !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		wait(pause)
	}
}

// reply reads an answer. One that was cut short counts as none.
func reply(conn io.Reader) ([]byte, error) {
	answer, err := io.ReadAll(io.LimitReader(conn, mostAnswer))
	text, whole := strings.CutSuffix(string(answer), "\n\n")
	if why, refused := strings.CutPrefix(text, refusal); whole && refused {
		return nil, errors.New(why)
	}
	if err != nil || !whole {
		return nil, errors.New("the server did not answer: it has ended, or does not know who asks")
	}
	return []byte(text + "\n"), nil
}
