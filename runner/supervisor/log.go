package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// cappedLog writes output.log. While it is written, the file may be half as large again as the limit;
// then its middle is left out: the first and the last half of the limit stay, cut at line ends. The
// file is replaced for that, so that who reads it meanwhile reads something whole.
//
// Writing never fails and never blocks on a full disk: what can't be written is counted, and said in
// the log as soon as there is room again.
type cappedLog struct {
	dir    string
	file   *os.File
	limit  int64
	size   int64 // of the file
	head   int64 // length of the kept beginning; 0 before the first cut
	notice int64 // length of the line behind it
	left   int64 // bytes left out there
	total  int64 // bytes printed by the process
	lost   int64 // bytes not written since the last successful write
	short  bool
	err    error
}

// lineSearch is how far a cut is moved to fall on the end of a line.
const lineSearch = 64 << 10

func newCappedLog(dir string, limit int64) (*cappedLog, error) {
	f, err := open(dir, outputName, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	return &cappedLog{dir: dir, file: f, limit: limit}, nil
}

// Write takes all of p, always.
func (l *cappedLog) Write(p []byte) (int, error) {
	l.total += int64(len(p))
	if !l.room() {
		l.lost += int64(len(p))
		return len(p), nil
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	if err != nil {
		l.fail(err)
		l.lost += int64(len(p) - n)
	}
	return len(p), nil
}

// room makes place for more, and says what is missing before it.
func (l *cappedLog) room() bool {
	if l.size > l.limit+l.limit/2 {
		if err := l.leaveOut(); err != nil {
			l.fail(err)
			return false
		}
	}
	if l.lost == 0 {
		return true
	}
	n, err := fmt.Fprintf(l.file, "\n[tidegate: %d bytes lost: %v]\n", l.lost, l.err)
	l.size += int64(n)
	if err != nil {
		return false
	}
	l.lost = 0
	return true
}

func (l *cappedLog) fail(err error) {
	l.short = true
	if l.err == nil {
		l.err = err
	}
}

// finish brings the file down to the limit and to the disk.
func (l *cappedLog) finish() {
	if l.size > l.limit {
		if err := l.leaveOut(); err != nil {
			l.fail(err)
		}
	}
	l.room()
	if err := errors.Join(l.file.Sync(), l.file.Close()); err != nil {
		l.fail(err)
	}
}

// leaveOut writes the file anew without its middle.
func (l *cappedLog) leaveOut() error {
	head := l.head
	if head == 0 {
		head = l.lineEndBefore(l.limit / 2)
	}
	from := l.lineStartAfter(l.size - l.limit/2)
	left := l.left + from - head - l.notice
	f, err := open(l.dir, outputName+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	size, notice, err := l.copyParts(f, head, from, left)
	path := filepath.Join(l.dir, outputName)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(path+".new"))
	}
	_ = l.file.Close()
	l.file, l.size, l.head, l.notice, l.left, l.short = f, size, head, notice, left, true
	return nil
}

func (l *cappedLog) copyParts(f *os.File, head, from, left int64) (size, notice int64, err error) {
	if _, err := io.Copy(f, io.NewSectionReader(l.file, 0, head)); err != nil {
		return 0, 0, err
	}
	line := fmt.Sprintf("[tidegate: %d bytes left out]\n", left)
	if !bytes.HasSuffix(l.part(max(0, head-1), head), []byte("\n")) {
		line = "\n" + line
	}
	n, err := io.WriteString(f, line)
	if err != nil {
		return 0, 0, err
	}
	rest, err := io.Copy(f, io.NewSectionReader(l.file, from, l.size-from))
	return head + int64(n) + rest, int64(n), err
}

func (l *cappedLog) lineEndBefore(at int64) int64 {
	start := max(0, at-lineSearch)
	if i := bytes.LastIndexByte(l.part(start, at), '\n'); i >= 0 {
		return start + int64(i) + 1
	}
	return at
}

func (l *cappedLog) lineStartAfter(at int64) int64 {
	at = max(at, l.head+l.notice)
	if i := bytes.IndexByte(l.part(at, min(l.size, at+lineSearch)), '\n'); i >= 0 && at+int64(i)+1 < l.size {
		return at + int64(i) + 1
	}
	return at
}

func (l *cappedLog) part(from, to int64) []byte {
	buf := make([]byte, to-from)
	n, _ := l.file.ReadAt(buf, from)
	return buf[:n]
}
