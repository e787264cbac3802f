package workdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// lockPoll is how often a lock is tried that the git processes of a dead server still hold.
const lockPoll = 50 * time.Millisecond

// scratchDir is where a mirror keeps what must not survive a restart.
const scratchDir = "tidegate"

// mostRefs is how much of a listing of refs is read.
const mostRefs = 64 << 20

// mirror is the bare repository that everything of one repository is read from. Its objects are borrowed
// by the checkouts (objects/info/alternates), so none that can be read is ever removed.
type mirror struct {
	git *git
	// dir is the bare repository, lockPath the file whose flock its processes inherit.
	dir, lockPath string
	log           *slog.Logger

	// ready and lock belong to who holds turn.
	turn  chan struct{}
	ready bool
	lock  *os.File

	// use is read-locked around every git process, and locked for repairs, which find no process then.
	use     sync.RWMutex
	suspect atomic.Bool
	// filling is read-locked while git-lfs fetches.
	filling sync.RWMutex
	// away are the git processes that work beside the mirror.
	away sync.WaitGroup

	fetching chan struct{}
	mu       sync.Mutex
	queue    []*fetchCall

	blobs *reader
}

func newMirror(g *git, path string, log *slog.Logger) *mirror {
	m := &mirror{
		git: g, dir: path + ".git", lockPath: path + ".lock", log: log,
		turn: make(chan struct{}, 1), fetching: make(chan struct{}, 1),
	}
	m.blobs = newReader(m)
	return m
}

func (m *mirror) objects() string { return filepath.Join(m.dir, "objects") }

func (m *mirror) scratch(pattern string) (string, error) {
	dir := filepath.Join(m.dir, scratchDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, pattern)
}

// prepare makes the mirror fit for use, once per process: what a killed one left is cleared.
func (m *mirror) prepare(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if m.ready {
		return nil
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	if err := m.takeLock(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(m.dir, scratchDir)); err != nil {
		return err
	}
	if err := m.repair(ctx); err != nil {
		return err
	}
	m.ready = true
	return nil
}

// takeLock waits for the git processes of an earlier server: they are in groups of their own, outlive
// its SIGKILL, and are recognised by the lock that they inherited from it.
func (m *mirror) takeLock(ctx context.Context) error {
	if m.lock == nil {
		file, err := os.OpenFile(m.lockPath, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		m.lock = file
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for told := false; ; told = true {
		err := syscall.Flock(int(m.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("locking %s: %w", m.lockPath, err)
		}
		if !told {
			m.log.InfoContext(ctx, "waiting for git processes of an earlier server")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for git processes of an earlier server: %w", context.Cause(ctx))
		}
	}
}

// repair clears what killed processes left and writes what is ours anew: HEAD and config hold nothing
// that could be lost.
func (m *mirror) repair(ctx context.Context) error {
	m.use.Lock()
	defer m.use.Unlock()
	return m.repairLocked(ctx)
}

func (m *mirror) repairLocked(ctx context.Context) error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	cleared, err := sweep(m.dir)
	if err != nil {
		return fmt.Errorf("clearing leftovers: %w", err)
	}
	if cleared > 0 {
		m.log.InfoContext(ctx, "cleared what killed git processes left", "files", cleared)
	}
	for _, name := range []string{"HEAD", "config"} {
		if err := os.RemoveAll(filepath.Join(m.dir, name)); err != nil {
			return err
		}
	}
	return initBare(ctx, m.git, m.dir)
}

func initBare(ctx context.Context, g *git, dir string) error {
	_, err := g.run(ctx, command{
		args: []string{"init", "--quiet", "--bare", "--template=", "--initial-branch=none", dir},
		dir:  filepath.Dir(dir),
	})
	return err
}

// sweep removes lock files and unfinished objects below a bare repository, and counts them.
func sweep(dir string) (int, error) {
	cleared := 0
	objects := filepath.Join(dir, "objects") + string(filepath.Separator)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name, unfinished := d.Name(), strings.HasPrefix(path, objects) && strings.HasPrefix(d.Name(), "tmp_")
		switch {
		case path == filepath.Join(dir, scratchDir):
			return fs.SkipDir
		case d.IsDir() && unfinished:
			cleared++
			if err := os.RemoveAll(path); err != nil { //nolint:gosec // nobody else writes to the mirror
				return err
			}
			return fs.SkipDir
		case !d.IsDir() && (unfinished || strings.HasSuffix(name, ".lock") || name == "gc.pid"):
			cleared++
			return os.Remove(path) //nolint:gosec // nobody else writes to the mirror
		}
		return nil
	})
	return cleared, err
}

// run runs git in the mirror. Damage that shows is remembered: the next Merge repairs it.
func (m *mirror) run(ctx context.Context, c command) ([]byte, error) {
	m.use.RLock()
	defer m.use.RUnlock()
	return m.runLocked(ctx, c)
}

// runLocked is run for who holds m.use.
func (m *mirror) runLocked(ctx context.Context, c command) ([]byte, error) {
	if c.gitDir == "" {
		c.gitDir = m.dir
	}
	c.files = append([]*os.File{m.lock}, c.files...)
	c.warn = func(text string) {
		// It found a way around, and for every object anew.
		if tellsDamage(text) {
			m.suspect.Store(true)
		}
	}
	out, err := m.git.run(ctx, c)
	if isDamage(err) {
		m.suspect.Store(true)
	}
	return out, err
}

// apart runs git beside the mirror, in no way of a repair. What it says is not of our files.
func (m *mirror) apart(ctx context.Context, c command) ([]byte, error) {
	m.use.RLock()
	m.away.Add(1)
	c.files = append([]*os.File{m.lock}, c.files...)
	m.use.RUnlock()
	defer m.away.Done()
	return m.git.run(ctx, c)
}

// moveIn moves the objects of another repository in.
func (m *mirror) moveIn(from string) error {
	m.use.RLock()
	defer m.use.RUnlock()
	return moveObjects(filepath.Join(from, "objects"), m.objects())
}

// refs answers the objects that the refs of ours below prefix are at.
func (m *mirror) refs(ctx context.Context, prefix string) (map[string]string, error) {
	out, err := m.run(ctx, command{
		args:  []string{"for-each-ref", "--format=%(objectname) %(refname)", prefix},
		limit: mostRefs,
	})
	if err != nil {
		return nil, err
	}
	return parseRefs(out)
}

// close ends what waits for work and gives up the lock, when no git process runs any more.
func (m *mirror) close() error {
	m.blobs.close()
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	m.use.Lock()
	defer m.use.Unlock()
	m.away.Wait()
	m.ready = false
	if m.lock == nil {
		return nil
	}
	err := m.lock.Close()
	m.lock = nil
	return err
}
