package workdir

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// readerIdle is how long a git process waits for the next object to read.
const readerIdle = 10 * time.Second

var errMissing = errors.New("is missing in the mirror")

// reader reads objects through one long-lived "git cat-file", which takes no locks: 20 microseconds an
// object instead of a process each.
type reader struct {
	mirror *mirror

	// The rest belongs to who holds turn.
	turn   chan struct{}
	proc   *catFile
	idle   *time.Timer
	closed bool
}

// catFile is a running "git cat-file --batch-command".
type catFile struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	stop   func()
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
}

func newReader(m *mirror) *reader { return &reader{mirror: m, turn: make(chan struct{}, 1)} }

// read answers the content of a blob: [ErrTooLarge] beyond most bytes.
func (r *reader) read(ctx context.Context, id string, most int64) ([]byte, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if r.closed {
		return nil, ErrClosed
	}
	if r.proc == nil {
		proc, err := r.mirror.startCatFile() //nolint:contextcheck // it outlives this call
		if err != nil {
			return nil, err
		}
		r.proc = proc
	}
	if r.idle == nil {
		r.idle = time.AfterFunc(readerIdle, r.rest)
	}
	defer func() { r.idle.Reset(readerIdle) }()
	unwatch := context.AfterFunc(ctx, r.proc.cancel)
	content, err := r.proc.read(id, most)
	unwatch()
	if ctx.Err() != nil {
		_ = r.end()
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, errMissing) {
		// Only what a listing named is asked for.
		r.mirror.suspect.Store(true)
	} else if err != nil && !errors.Is(err, ErrTooLarge) {
		err = errors.Join(err, r.end())
		if isDamage(err) {
			r.mirror.suspect.Store(true)
		}
	}
	return content, err
}

// rest ends the process when nobody uses it.
func (r *reader) rest() {
	select {
	case r.turn <- struct{}{}:
		_ = r.end()
		<-r.turn
	default:
		// In use: that use sets the timer anew at its end.
	}
}

// reset ends the process, so that the next one opens the mirror afresh.
func (r *reader) reset() {
	r.turn <- struct{}{}
	_ = r.end()
	<-r.turn
}

func (r *reader) close() {
	r.turn <- struct{}{}
	r.closed = true
	if r.idle != nil {
		r.idle.Stop()
	}
	_ = r.end()
	<-r.turn
}

// end ends the process and answers what it complained about.
func (r *reader) end() error {
	proc := r.proc
	r.proc = nil
	if proc == nil {
		return nil
	}
	_ = proc.in.Close()
	proc.cancel()
	err := proc.cmd.Wait()
	proc.stop()
	if text := scrub(proc.stderr.String(), nil); text != "" {
		return &gitError{command: "cat-file", code: -1, text: text, err: err}
	}
	return nil
}

func (m *mirror) startCatFile() (*catFile, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd, stop := m.git.cmd(ctx, command{
		args:   []string{"cat-file", "--batch-command"},
		gitDir: m.dir,
		files:  []*os.File{m.lock},
	})
	p := &catFile{cmd: cmd, cancel: cancel, stop: stop, stderr: &tail{most: mostStderr}}
	cmd.Stderr = p.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	p.in, p.out = in, bufio.NewReaderSize(out, 64<<10)
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting git cat-file: %w", err)
	}
	return p, nil
}

// read asks for the size first: a blob can be larger than memory.
func (p *catFile) read(id string, most int64) ([]byte, error) {
	size, err := p.ask("info " + id)
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, fmt.Errorf("%d bytes: %w", size, ErrTooLarge)
	}
	if size, err = p.ask("contents " + id); err != nil {
		return nil, err
	}
	content := make([]byte, size+1)
	if _, err := io.ReadFull(p.out, content); err != nil {
		return nil, fmt.Errorf("reading object %s: %w", id, err)
	}
	return content[:size], nil
}

// ask sends one request and answers the size of the blob it names.
func (p *catFile) ask(request string) (int64, error) {
	if _, err := io.WriteString(p.in, request+"\n"); err != nil {
		return 0, fmt.Errorf("asking git cat-file: %w", err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("asking git cat-file: %w", err)
	}
	return parseObjectLine(strings.TrimSuffix(line, "\n"))
}

// parseObjectLine reads "<id> blob <size>" or "<id> missing".
func parseObjectLine(line string) (int64, error) {
	fields := strings.Split(line, " ")
	if len(fields) == 2 && fields[1] == "missing" {
		return 0, fmt.Errorf("object %s %w", fields[0], errMissing)
	}
	if len(fields) != 3 || fields[1] != "blob" {
		return 0, fmt.Errorf("%q is not a blob", line)
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || size < 0 {
		return 0, fmt.Errorf("%q is not a blob", line)
	}
	return size, nil
}
