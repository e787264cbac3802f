package supervisor

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// orphan is a process whose supervisor was killed. It writes on into its own pipe, of which it holds
// both ends so that no write fails; somebody has to read on, or it blocks when the pipe is full.
type orphan struct {
	dir   string
	mark  *Mark
	grace time.Duration
	limit int64
	over  time.Time // of its time; zero: never
	// patient: it is killed only after its time is over, not after every interrupt.
	patient bool
	pipe    int      // -1: can't be read
	log     *os.File // nil: can't be written
	size    int64
	dead    bool // the SIGKILL was sent
}

func adopt(dir string, mark *Mark) *orphan {
	o := &orphan{dir: dir, mark: mark, grace: defaultGrace, limit: DefaultLogLimit}
	if spec, err := readSpec(dir); err == nil {
		o.grace, o.limit, o.patient = spec.Grace, spec.LogLimit, spec.Patient
		if spec.Timeout > 0 {
			o.over = mark.At.Add(spec.Timeout)
		}
	}
	o.pipe = openOutputOf(mark.PID)
	log, err := open(dir, outputName, os.O_WRONLY|os.O_APPEND)
	if err == nil {
		o.log = log
		o.size, _ = log.Seek(0, io.SeekEnd)
	}
	return o
}

// tend reads what was printed, and ends what did not heed its interrupt. A nil orphan needs nothing.
func (o *orphan) tend(now time.Time) {
	if o == nil {
		return
	}
	o.drain()
	if o.dead {
		return
	}
	if !o.over.IsZero() && now.After(o.over) {
		o.over, o.patient = time.Time{}, false
		_ = Interrupt(o.dir)
	}
	if wanted, _ := exists(o.dir, interruptName); wanted {
		_ = Interrupt(o.dir) // the supervisor may have been killed before it could send it
	}
	asked, err := os.Lstat(filepath.Join(o.dir, interruptedName))
	if err != nil || o.patient || now.Sub(asked.ModTime()) < o.grace || !alive(o.mark) {
		return
	}
	o.dead = true
	_ = unix.Kill(-o.mark.PID, syscall.SIGKILL)
}

// drain keeps what fits: the pipe has to be emptied in any case.
func (o *orphan) drain() {
	if o.pipe < 0 {
		return
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := retry(func() (int, error) { return unix.Read(o.pipe, buf) })
		if n <= 0 || err != nil {
			return
		}
		keep := min(int64(n), max(0, o.limit+o.limit/2-o.size))
		if o.log != nil && keep > 0 {
			w, _ := o.log.Write(buf[:keep])
			o.size += int64(w)
		}
	}
}

func (o *orphan) close() {
	if o == nil {
		return
	}
	if o.pipe >= 0 {
		_ = unix.Close(o.pipe)
	}
	if o.log != nil {
		_ = o.log.Close()
	}
}
