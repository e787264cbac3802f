package runner

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidegate/tidegate/runner/supervisor"
	"github.com/tidegate/tidegate/runner/terraform"
)

// maxLine bounds one line of a log; the rest of a longer one is left out.
const maxLine = 1 << 20

// logCut says why the log of a process has not all that it printed; "" when it has.
func (w *work) logCut(name string, exit terraform.Exit) string {
	switch {
	case !exit.Truncated:
		return ""
	case exit.LogError != "":
		cause := exit.LogError[strings.LastIndex(exit.LogError, ": ")+1:] // without our paths
		return fmt.Sprintf("terraform %s printed more than could be written: %s", name, strings.TrimSpace(cause))
	}
	limit := w.cfg.LogLimit
	if limit == 0 {
		limit = supervisor.DefaultLogLimit
	}
	return fmt.Sprintf("terraform %s printed more than the %d KiB that are kept: the middle is left out", name, limit>>10)
}

// OpenLog opens people's text of everything that a job's processes have printed so far, under one
// heading per process. The messages of apply -json are turned into terraform's human lines, and what
// a terminal would act on is taken out. A job without processes has an empty log.
func OpenLog(jobDir string) (io.ReadCloser, error) {
	steps, err := stepDirs(jobDir)
	if err != nil {
		return nil, err
	}
	return &logReader{steps: steps}, nil
}

// logReader reads one log after the other, line by line.
type logReader struct {
	steps []string
	file  *os.File
	lines *bufio.Reader
	text  bytes.Buffer
}

func (l *logReader) Read(p []byte) (int, error) {
	for l.text.Len() == 0 {
		if err := l.fill(); err != nil {
			return 0, err
		}
	}
	return l.text.Read(p)
}

// fill puts the text of at least one more line into the buffer, or io.EOF.
func (l *logReader) fill() error {
	if l.file == nil {
		return l.next()
	}
	line, err := l.line()
	if len(line) > 0 {
		text, ok := terraform.HumanLine(string(bytes.TrimSuffix(line, []byte("\n"))))
		if ok {
			l.text.WriteString(text)
			l.text.WriteByte('\n')
		}
	}
	if errors.Is(err, io.EOF) {
		err = l.Close()
	}
	return err
}

// next opens the next step's log.
func (l *logReader) next() error {
	if len(l.steps) == 0 {
		return io.EOF
	}
	step := l.steps[0]
	l.steps = l.steps[1:]
	if stepName(step) == getStep { // while it runs its log may repeat what it was offered
		if running, _, err := inspect(step); running || err != nil {
			fmt.Fprintf(&l.text, "[%s]\n(shown when it has ended)\n", getStep)
			return err
		}
	}
	f, err := os.Open(filepath.Join(step, terraform.LogName)) //nolint:gosec // a file of ours
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a log: %w", err)
	}
	l.file, l.lines = f, bufio.NewReaderSize(f, 64<<10)
	fmt.Fprintf(&l.text, "[%s]\n", stepName(step))
	return nil
}

// line reads one line, with its end, of at most maxLine bytes.
func (l *logReader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := l.lines.ReadSlice('\n')
		if room := maxLine - len(line); len(part) > room {
			line = append(line, part[:room]...)
		} else {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// Close closes what is open. Reading on starts with the next step's log.
func (l *logReader) Close() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file, l.lines = nil, nil
	return err
}
