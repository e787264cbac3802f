// Package dispatch carries one event to its answer: it reads what the forge says now, decides what
// is asked, takes the locks, lets the jobs run, and posts the one answer that is owed.
//
// The story is told in handle (story.go). Everything it decides is in the journal before it acts on
// it, and every step can be made again: after a crash the same story is started once more and goes
// on where the journal ends.
//
// Events of one pull request are worked on serially in its lane, different ones in parallel. What
// must never stand behind a running job (unlock, help, close, a refusal) has a lane of its own.
//
// dispatch knows no HTTP. Start with Engine.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/terraform"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/command"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// Options are the operator's choices.
type Options struct {
	// Name prefixes the statuses and stands in the markers. Default "tidegate".
	Name string
	// Words wake us in comments. NoSlash is set per forge.
	Words command.Words
	// Allowed says which repositories are served.
	Allowed func(vcs.Repo) bool
	// Slots is how many terraform processes may run at once; 0 means 1.
	Slots int
	// LocalState keeps the state of projects without a backend in the data directory. Without it
	// their applies are refused.
	LocalState bool
	// ApplyRequirements hold for every project that sets none of its own. Known: "approved".
	ApplyRequirements []string
	// URL is where people reach the pages, without a slash at the end.
	URL string
	// Data is the data directory.
	Data string
}

// Config is what an Engine works with. All fields are needed.
type Config struct {
	Journal *journal.Journal
	Locks   *locking.Store
	// Forges by instance.
	Forges  map[string]vcs.Forge
	Work    *workdir.Store
	Runner  *runner.Runner
	Tools   *terraform.Finder
	Log     *slog.Logger
	Options Options
}

// Engine carries events to their answers. Use New, then Run once.
type Engine struct {
	Config
	sign  signer
	slots *slots
	dirs  keyed
	pace  pace

	mu    sync.Mutex
	lanes map[vcs.PullID]*lane
	seen  uint64 // the last event that was taken from the journal
	work  sync.WaitGroup
}

// pace holds the waits of the engine.
type pace struct {
	progress     time.Duration // how long a run may take before a progress comment is made
	progressEdit time.Duration // between two edits of it
	retry        time.Duration // first wait before a forge is asked again
	doubt        time.Duration // how long our own comment is searched for after a lost answer
}

// New makes an engine. Nothing runs before Run.
func New(c Config) (*Engine, error) {
	if c.Options.Name == "" {
		c.Options.Name = "tidegate"
	}
	if c.Options.Data == "" || c.Options.Allowed == nil {
		return nil, errors.New("dispatch: a data directory and a repository allowlist are needed")
	}
	return &Engine{
		Config: c,
		sign:   signer{key: c.Journal.MarkerKey()},
		slots:  newSlots(c.Options.Slots),
		lanes:  map[vcs.PullID]*lane{},
		pace:   pace{progress: 10 * time.Second, progressEdit: 15 * time.Second, retry: time.Second, doubt: 30 * time.Second},
	}, nil
}

// errStopping is why work ends when the server stops. What it ends is gone on with at the next start.
var errStopping = errors.New("the server is stopping")

// Run works until ctx ends, then interrupts what runs (applies are left to their supervisors and
// adopted at the next start), waits for everything it started, and returns.
func (e *Engine) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	if err := e.restart(work); err != nil {
		return err
	}
	for {
		if err := e.collect(work); err != nil {
			return fmt.Errorf("reading queued events: %w", err)
		}
		select {
		case <-ctx.Done():
			cancel(errStopping)
			e.work.Wait()
			return nil
		case <-e.Journal.Arrived():
		}
	}
}

// restart owes what the last process could not finish: answers that were meant to be posted, and
// locks that came free without their waiter having been called.
func (e *Engine) restart(ctx context.Context) error {
	owed, err := e.Journal.Unposted(ctx)
	if err != nil {
		return fmt.Errorf("reading unposted answers: %w", err)
	}
	for _, r := range owed {
		if r.Kind != kindNotice {
			continue // its event is still queued and will come to it
		}
		e.spawn(func() {
			if err := e.repost(ctx, r); err != nil {
				e.Log.ErrorContext(ctx, "posting an owed notice", "report", r.ID, "err", err)
			}
		})
	}
	return e.callNext(ctx)
}

// collect hands every queued event that was not seen yet to its lane.
func (e *Engine) collect(ctx context.Context) error {
	events, err := e.Journal.Queued(ctx)
	if err != nil {
		return err
	}
	for _, ev := range events {
		if ev.Seq > e.seen {
			e.seen = ev.Seq
			e.take(ctx, ev)
		}
	}
	return nil
}

// spawn runs f in a goroutine that Run waits for.
func (e *Engine) spawn(f func()) {
	e.work.Go(f)
}

// Load is how busy the engine is.
type Load struct {
	Running, WaitingForSlot int
}

// Load answers for metrics and the status page.
func (e *Engine) Load() Load {
	r, w := e.slots.counts()
	return Load{Running: r, WaitingForSlot: w}
}

// keyed is a mutex per key.
type keyed struct {
	mu sync.Mutex
	m  map[string]*keyedLock
}

type keyedLock struct {
	mu    sync.Mutex
	users int
}

// lock waits for the key; the returned function unlocks it.
func (k *keyed) lock(key string) func() {
	k.mu.Lock()
	if k.m == nil {
		k.m = map[string]*keyedLock{}
	}
	l := k.m[key]
	if l == nil {
		l = &keyedLock{}
		k.m[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.mu.Lock()
	return func() {
		l.mu.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.m, key)
		}
	}
}
