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
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/terraform"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// Options are the operator's choices.
type Options struct {
	// Name prefixes the statuses and stands in the markers. Default "tidegate".
	Name string
	// Executable is the word that wakes us in comments, beside the name of our account.
	Executable string
	// Allowed says which repositories are served.
	Allowed func(vcs.Repo) bool
	// Slots is how many terraform processes may run at once; 0 means 1.
	Slots int
	// QueuePull and QueueRepo are how many commands may wait on a pull request and in a repository; 0 is any
	// number. One more is answered at once, and not run.
	QueuePull, QueueRepo int
	// LocalState keeps the state of projects without a backend in the data directory. Without it
	// their applies are refused.
	LocalState bool
	// Submodules: those of repositories are fetched.
	Submodules bool
	// LFS: files in Git LFS are fetched.
	LFS bool
	// ModuleCredential offers the forge's credential to git while modules are fetched, where the forge has one.
	ModuleCredential bool
	// ApplyRequirements hold for every project, beside its own: words of project.Requirements.
	ApplyRequirements []string
	// Automerge merges a pull request when everything is applied, if its repository does not say otherwise; by
	// MergeMethod, which every forge must know. DeleteBranch deletes its branch then, if its repository does not say
	// otherwise.
	Automerge    bool
	MergeMethod  vcs.MergeMethod
	DeleteBranch bool
	// URL is where people reach the pages, without a slash at the end.
	URL string
	// Data is the data directory.
	Data string
	// Reconcile is how often forges are asked for what no webhook told; 0 is never.
	Reconcile time.Duration
	// Repos are looked at even if no webhook has told of them: forge, owner and name.
	Repos []vcs.Repo
	// RecoverMaxAge is how old an apply may be that was not run when it was asked for; 0 is any age up
	// to how long an apply may stand in line.
	RecoverMaxAge time.Duration
	// WritesAnHour is how many comments, edits and reactions a forge takes for a repository; 0 is any number.
	WritesAnHour int
	// Keep says how long is kept what nothing needs; the zero one keeps everything.
	Keep Keep
	// Room says why nothing new is to be started, in words for people: the disk is nearly full. Nil: there is always
	// room.
	Room func() error
	// RoomFor is Room for what is going to take so many bytes more.
	RoomFor func(bytes int64) error
	// PlanTimeout is how long a plan may take, with fetching what it is made from; 0 is for ever.
	PlanTimeout time.Duration
	// Grace is how long running work may go on when the server stops; 0 is not at all.
	Grace time.Duration
	// InterruptAfter is when in the grace running applies get their SIGINT. 0 is never: they are left to
	// their supervisors.
	InterruptAfter time.Duration
}

// The points at which Config.Hook is called: each step of the story that is on disk, before the next.
const (
	AtLocked    = "locked"
	AtRunning   = "job running"
	AtPlanned   = "plan stored"
	AtResult    = "result journalled"
	AtIntent    = "report intent"
	AtPosted    = "posted"
	AtAnswered  = "answer journalled"
	AtMerging   = "merging"
	AtMerged    = "merged"
	AtRunEnded  = "run ended"
	AtEventDone = "event done"
	AtDiscarded = "plan discarded"
	AtReleased  = "lock released"
	AtCalled    = "waiter called"
	AtCancelled = "cancel journalled"
)

// Config is what an Engine works with. All fields but Meter and Hook are needed.
type Config struct {
	Journal *journal.Journal
	Locks   *locking.Store
	// Forges by instance.
	Forges map[string]vcs.Forge
	Work   *workdir.Store
	Runner *runner.Runner
	Tools  *terraform.Finder
	Log    *slog.Logger
	Meter  Meter
	// Hook, if not nil, is called at the engine's failpoints.
	Hook    func(point string)
	Options Options
}

// Engine carries events to their answers. Use New, then Run once.
type Engine struct {
	Config
	sign  signer
	slots *slots
	lanes *lanes
	live  *live
	// budget is what may be written to the forges.
	budget *budget
	dirs   keyed
	pace   pace
	ping   func(context.Context) error // whether the journal can be written
	began  time.Time
	// restored is zero unless the journal came out of a backup.
	restored journal.Restoration
	seen     uint64               // the last event that was taken from the journal
	names    map[string]namedRepo // that reconcile has read
	work     sync.WaitGroup

	tidying chan struct{} // holds who removes or reads what is kept

	mu     sync.Mutex
	spared map[string]bool // damaged records that the log has named
	disk   Disk

	// quit ends at once what is owed and can be owed again at the next start.
	quit context.Context //nolint:containedctx // the life of the engine, which outlasts the callers of Release
	end  context.CancelFunc
	halt *halt
}

// pace holds the waits of the engine.
type pace struct {
	progress     time.Duration // how long a run may take before a progress comment is made
	progressEdit time.Duration // between two edits of it
	retry        time.Duration // first wait before a forge is asked again
	doubt        time.Duration // how long our own comment is searched for after a lost answer
	permission   time.Duration // how long an apply relies on what it was allowed
	status       time.Duration // how long the forge may take for the statuses of a run
	merge        time.Duration // how long it is tried to merge what is applied
}

// New makes an engine. Nothing runs before Run.
func New(c Config) (*Engine, error) {
	if c.Options.Name == "" {
		c.Options.Name = "tidegate"
	}
	if c.Options.Data == "" || c.Options.Allowed == nil {
		return nil, errors.New("dispatch: a data directory and a repository allowlist are needed")
	}
	e := &Engine{
		Config: c,
		sign:   signer{key: c.Journal.MarkerKey()},
		slots:  newSlots(c.Options.Slots),
		live:   newLive(),
		ping:   c.Journal.Ping,
		budget: newBudget(c.Options.WritesAnHour),
		spared: map[string]bool{}, tidying: make(chan struct{}, 1),
		names: map[string]namedRepo{},
		halt:  newHalt(),
		pace: pace{
			progress: 10 * time.Second, progressEdit: 15 * time.Second, retry: time.Second,
			doubt: 30 * time.Second, permission: time.Minute, status: time.Minute, merge: 2 * time.Minute,
		},
	}
	if e.Hook == nil {
		e.Hook = func(string) {}
	}
	e.quit, e.end = context.WithCancel(context.Background())
	var err error
	if e.restored, err = c.Journal.Restored(e.quit); err != nil {
		return nil, err
	}
	e.lanes = newLanes(e.spawn)
	e.lanes.room = room{pull: c.Options.QueuePull, repo: c.Options.QueueRepo}
	e.lanes.tell, e.lanes.drop, e.lanes.may = e.tell, e.drop, e.mayCut
	e.lanes.next = func(ctx context.Context) {
		if err := e.callNext(ctx); err != nil && ctx.Err() == nil {
			e.Log.ErrorContext(ctx, "calling who waits", "err", err)
		}
	}
	return e, nil
}

// Run works until ctx ends. Then nothing begins any more, and what runs has Options.Grace to come to its
// answer; after that plans are interrupted, applies are left to their supervisors, and it returns when
// everything it started has ended.
func (e *Engine) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer func() {
		e.shut()
		cancel(errStopping)
		e.end()
		e.work.Wait()
	}()
	e.began = time.Now()
	if err := e.restart(work); err != nil {
		return err
	}
	if e.Options.Reconcile > 0 {
		e.spawn(func() { e.reconcile(ctx) })
	}
	if e.Options.Keep != (Keep{}) {
		e.spawn(func() { e.keepTidy(ctx) })
	}
	for {
		if err := e.collect(work); err != nil {
			return fmt.Errorf("reading queued events: %w", err)
		}
		select {
		case <-ctx.Done():
			e.drain()
			return nil
		case <-e.Journal.Arrived():
		}
	}
}

// restart takes up what the last process left: the events it was carrying, notices that were meant to
// be posted, and locks that came free without their waiter having been called.
func (e *Engine) restart(ctx context.Context) error {
	owed, err := e.Journal.Unposted(ctx)
	if err = e.spare(ctx, err); err != nil {
		return fmt.Errorf("reading unposted answers: %w", err)
	}
	for _, r := range owed {
		if r.Kind == kindAnswer {
			continue // its event is still queued and will come to it
		}
		e.spawn(func() {
			if err := e.settleOwed(e.quit, r); err != nil { //nolint:contextcheck // what is owed lives as long as the engine
				e.Log.ErrorContext(ctx, "settling what is owed", "report", r.ID, "err", err)
			}
		})
	}
	if err := e.collect(ctx); err != nil {
		return fmt.Errorf("reading queued events: %w", err)
	}
	e.lanes.next(ctx)
	return nil
}

// collect hands every queued event that was not seen yet to its lane: those whose run has begun
// first, because their jobs may still be running.
func (e *Engine) collect(ctx context.Context) error {
	events, err := e.Journal.QueuedAfter(ctx, e.seen)
	if err = e.spare(ctx, err); err != nil {
		return err
	}
	slices.SortStableFunc(events, func(a, b journal.Event) int {
		switch {
		case (a.Run != "") == (b.Run != ""):
			return 0
		case a.Run != "":
			return -1
		default:
			return 1
		}
	})
	for _, ev := range events {
		e.seen = max(e.seen, ev.Seq)
		it := item{ev: ev, ask: e.read(ev)}
		if it.told, err = e.wasTold(ctx, ev); err != nil {
			return err
		}
		if it.ask.kind == askNothing {
			e.spawn(func() { e.drop(ctx, it, it.ask.why) })
			continue
		}
		if e.foundBefore(ctx, it) {
			e.spawn(func() { e.drop(ctx, it, "it was found before its webhook came") })
			continue
		}
		e.lanes.take(ctx, pullOf(ev), it)
	}
	return nil
}

// wasTold: an earlier process has come to the answer of an event, which may stand on the pull request already.
func (e *Engine) wasTold(ctx context.Context, ev journal.Event) (bool, error) {
	if ev.Run == "" {
		return false, nil
	}
	_, said, err := e.Journal.Report(ctx, ev.Run)
	return said, e.spare(ctx, err)
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
	turn  chan struct{} // holds who has the key
	users int
}

// lock waits for the key; the returned function unlocks it.
func (k *keyed) lock(key string) (unlock func()) {
	l := k.use(key)
	l.turn <- struct{}{}
	return func() { k.release(key, l) }
}

// lockIn is lock that waits no longer than ctx, whose cause it answers.
func (k *keyed) lockIn(ctx context.Context, key string) (unlock func(), err error) {
	l := k.use(key)
	select {
	case l.turn <- struct{}{}:
		return func() { k.release(key, l) }, nil
	case <-ctx.Done():
		k.leave(key, l)
		return nil, context.Cause(ctx)
	}
}

func (k *keyed) use(key string) *keyedLock {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil {
		k.m = map[string]*keyedLock{}
	}
	l := k.m[key]
	if l == nil {
		l = &keyedLock{turn: make(chan struct{}, 1)}
		k.m[key] = l
	}
	l.users++
	return l
}

func (k *keyed) release(key string, l *keyedLock) {
	<-l.turn
	k.leave(key, l)
}

func (k *keyed) leave(key string, l *keyedLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.m, key)
	}
}
