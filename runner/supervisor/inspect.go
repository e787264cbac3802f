package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// State is what became of a step.
type State int

// The states.
const (
	// NotStarted: provably nothing was executed, and nothing will be.
	NotStarted State = iota
	// Running: the supervisor lives; or it is gone and the process lives (Mark.Orphaned).
	Running
	// Ended: there is a Status.
	Ended
	// Unknown: it was started, and nobody saw how it ended.
	Unknown
)

func (s State) String() string {
	switch s {
	case NotStarted:
		return "not started"
	case Running:
		return "running"
	case Ended:
		return "ended"
	case Unknown:
		return "unknown"
	default:
		return "no state"
	}
}

// Inspect answers what became of a step: for a server that found it after a crash, or whose stage one
// has ended. The Mark is nil when nothing was executed, the Status when there is none; NotStarted has
// a Status when the supervisor could say why.
//
// NotStarted is final: Inspect seals the directory, and a supervisor that comes late is refused. So it
// must not be asked about a step whose stage one is just being started.
func Inspect(dir string) (State, *Mark, *Status, error) {
	l, err := look(dir)
	if err == nil && l.state() == NotStarted && l.status == nil {
		l, err = seal(dir)
	}
	if err != nil {
		return Unknown, nil, nil, fmt.Errorf("inspecting %s: %w", dir, err)
	}
	return l.state(), l.mark, l.status, nil
}

// pollEvery is how often Wait looks: a lock can't be waited for and given up at the same time.
const pollEvery = 50 * time.Millisecond

// Wait waits until a step does not run any more and answers its Status; nil when there is none, which
// is then Unknown or NotStarted (Inspect tells). What a process without supervisor prints is taken
// over, and once it was interrupted and its grace is over, its group is killed. Like Inspect it must
// not be asked about a step that is just being started.
func Wait(ctx context.Context, dir string) (*Status, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var left *orphan
	defer func() { left.close() }()
	for {
		state, mark, status, err := Inspect(dir)
		if err != nil {
			return nil, err
		}
		if mark != nil && mark.Orphaned && left == nil {
			left = adopt(dir, mark)
		}
		left.tend(time.Now())
		if state != Running {
			if status == nil { // no supervisor saw to it
				forgetEnv(dir)
			}
			return status, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// sight is what there is to see of a step.
type sight struct {
	held   bool
	mark   *Mark
	status *Status
}

func (l sight) state() State {
	switch {
	case l.status != nil && l.mark != nil:
		return Ended
	case l.status != nil:
		return NotStarted
	case l.held || l.mark != nil && l.mark.Orphaned:
		return Running
	case l.mark != nil:
		return Unknown
	default:
		return NotStarted
	}
}

// look changes nothing. The lock comes first: once it is free, nothing is written any more.
func look(dir string) (sight, error) {
	lock, held, err := share(dir, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return sight{}, nil
	}
	if err != nil {
		return sight{}, err
	}
	if lock != nil {
		defer func() { _ = lock.Close() }()
	}
	return read(dir, held)
}

func read(dir string, held bool) (sight, error) {
	l := sight{held: held}
	var err error
	if l.status, err = readStatus(dir); err != nil {
		return sight{}, err
	}
	if l.mark, err = readMark(dir); err != nil {
		return sight{}, err
	}
	if l.mark != nil && l.status == nil && !held {
		l.mark.Orphaned = alive(l.mark)
	}
	return l, nil
}

// seal makes "not started" final, unless a supervisor was quicker. Supervisors can't pass while the
// lock is shared; and they look for the seal when they have it.
func seal(dir string) (sight, error) {
	if there, err := exists(dir, specName); !there {
		return sight{}, err
	}
	lock, held, err := share(dir, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return sight{}, err
	}
	if lock == nil {
		return read(dir, held)
	}
	defer func() { _ = lock.Close() }()
	l, err := read(dir, false)
	if err != nil || l.mark != nil || l.status != nil {
		return l, err
	}
	_, err = touch(dir, sealedName)
	return l, err
}

// share takes the lock for a moment, together with others who look; held says that a supervisor has
// it, the file is nil then.
func share(dir string, flag int) (lock *os.File, held bool, err error) {
	f, err := open(dir, lockName, flag)
	if err != nil {
		return nil, false, err
	}
	_, err = retry(func() (int, error) { return 0, unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) })
	if err == nil {
		return f, false, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, true, nil
	}
	return nil, false, err
}

// hold takes the lock for the supervisor's life. Those who look have it for a moment only.
func hold(dir string) (*os.File, error) {
	f, err := open(dir, lockName, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	_, err = retry(func() (int, error) { return 0, unix.Flock(int(f.Fd()), unix.LOCK_EX) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking: %w", err), f.Close())
	}
	return f, nil
}
