package dispatch

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// remote is a repository that can be fetched from.
type remote struct {
	t   *testing.T
	dir string
}

func (r remote) git(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Dir = r.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.org",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// head makes a commit with these files on top of main and publishes it as the head of pull request n.
func (r remote) head(n int, files map[string]string) vcs.Pull {
	r.t.Helper()
	r.git("checkout", "-q", "-f", "-B", "one", "main")
	for name, text := range files {
		must(r.t, os.MkdirAll(filepath.Dir(filepath.Join(r.dir, name)), 0o700))
		must(r.t, os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600))
	}
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", "a change at "+time.Now().String())
	p := aPull(n)
	p.HeadRef = "refs/heads/one"
	p.Repo.CloneURL = "file://" + r.dir
	p.Head.SHA = r.git("rev-parse", "HEAD")
	return p
}

// onRepo is an engine on a small forge with a real repository, that waits for nothing.
func onRepo(t *testing.T) (*Engine, *small, remote) {
	t.Helper()
	t.Parallel()
	e, f := engine(t), newSmall()
	r := remote{t: t, dir: t.TempDir()}
	r.git("init", "-q", "-b", "main")
	r.git("commit", "-q", "--allow-empty", "-m", "the beginning")
	var err error
	if e.Work, err = workdir.Open(t.Context(), workdir.Config{Data: e.Options.Data}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Work.Close() })
	e.Forges = map[string]vcs.Forge{"f": f}
	e.Runner = runner.New(runner.Config{Self: "/bin/false", Data: e.Options.Data, Environ: []string{}})
	e.pace = pace{progress: time.Hour, progressEdit: time.Hour, retry: time.Millisecond, permission: time.Minute, status: time.Minute}
	return e, f, r
}

func network() runner.Project { return runner.Project{Dir: "network", Workspace: "default"} }

// waits lets a pull request stand in line for the network, which is free.
func (e *Engine) waits(t *testing.T, n int) {
	t.Helper()
	key := lockKey(pr(n).Repo, network())
	for _, p := range []locking.Pull{lockPull(pr(99)), lockPull(pr(n))} {
		if _, err := e.Locks.Acquire(t.Context(), locking.Request{Pull: p, Keys: []locking.Key{key}, Wait: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Locks.Release(t.Context(), locking.Release{Pull: lockPull(pr(99)), Keys: []locking.Key{key}}); err != nil {
		t.Fatal(err)
	}
}

// items are the events that are still to be worked on.
func (e *Engine) items(t *testing.T) []item {
	t.Helper()
	events, err := e.Journal.Queued(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []item
	for _, ev := range events {
		out = append(out, item{ev: ev, ask: e.read(ev)})
	}
	return out
}

// turn calls who waits and answers the one turn that this makes.
func (e *Engine) turn(t *testing.T) item {
	t.Helper()
	must(t, e.callNext(t.Context()))
	list := e.items(t)
	if len(list) != 1 {
		t.Fatalf("%d turns, want one", len(list))
	}
	return list[0]
}

func (e *Engine) push(t *testing.T, p vcs.Pull) item {
	t.Helper()
	ev := vcs.Event{Kind: vcs.PullPushed, Repo: p.Repo, Pull: p.Number, Head: p.Head.SHA, At: time.Now()}
	seq, _, err := e.Journal.AddEvent(t.Context(), ev, e.Journal.NewRunID())
	if err != nil {
		t.Fatal(err)
	}
	return item{ev: journal.Event{Seq: seq, Event: ev}, ask: e.read(journal.Event{Event: ev})}
}

// A turn that ends at once, because its project can't be planned, is over: it is not called again.
func TestATurnThatCanNotBeUsedIsOver(t *testing.T) {
	e, f, r := onRepo(t)
	p := r.head(1, map[string]string{
		"network/main.tf": "# a change\n",
		"tidegate.yaml":   "version: 3\nprojects:\n- dir: network\n  depends_on: [other]\n",
	})
	f.pull = func(int) (vcs.Pull, error) { return p, nil }
	e.waits(t, 1)
	e.tell(t.Context(), t.Context(), e.turn(t))
	if f.posts != 1 || !strings.Contains(bodies(f.scripted), "not supported") {
		t.Errorf("%d answers, want one that says what is not supported:\n%s", f.posts, bodies(f.scripted))
	}
	must(t, e.callNext(t.Context()))
	if again := e.items(t); len(again) != 0 {
		t.Errorf("%d events are left, the first asks for %+v", len(again), again[0].ask)
	}
}

// What goes wrong once and passes does not cost a waiter its turn.
func TestATurnOutlivesAPassingError(t *testing.T) {
	e, f, r := onRepo(t)
	p := r.head(1, map[string]string{
		"network/main.tf": "# a change\n",
		"tidegate.yaml":   "version: 3\nprojects:\n- dir: network\n  depends_on: [other]\n",
	})
	calls := 0
	f.pull = func(int) (vcs.Pull, error) {
		away := p
		if calls++; calls == 1 {
			away.Repo.CloneURL += "/away"
		}
		return away, nil
	}
	e.waits(t, 1)
	it := e.turn(t)
	e.tell(t.Context(), t.Context(), it)
	if ev, _, err := e.Journal.Event(t.Context(), it.ev.Seq); err != nil || f.posts != 1 {
		t.Errorf("%d answers, want one; the event ended with %q, %v", f.posts, ev.Outcome, err)
	}
}

// A push back to what was planned before is planned again when another one came between: its plans are
// gone by then.
func TestAPushBackIsPlannedAgain(t *testing.T) {
	unsupported := map[string]string{
		"network/main.tf": "# a change\n",
		"tidegate.yaml":   "version: 3\nprojects:\n- dir: network\n  depends_on: [other]\n",
	}
	cut, cancel := context.WithCancelCause(context.Background())
	cancel(errSuperseded)
	for name, tt := range map[string]struct {
		between map[string]string
		stop    context.Context
	}{
		"that touched nothing": {map[string]string{"README.md": "words"}, context.Background()},
		"that was cut":         {unsupported, cut},
	} {
		t.Run(name, func(t *testing.T) {
			e, f, r := onRepo(t)
			first := r.head(1, unsupported)
			now := first
			f.pull = func(int) (vcs.Pull, error) { return now, nil }
			e.tell(t.Context(), t.Context(), e.push(t, now))
			e.tell(t.Context(), t.Context(), e.push(t, now))
			if f.posts != 1 {
				t.Fatalf("%d answers to the same push, come twice, want one", f.posts)
			}
			now = r.head(1, tt.between)
			e.tell(t.Context(), tt.stop, e.push(t, now))
			now = first
			r.git("update-ref", "refs/heads/one", now.Head.SHA)
			e.tell(t.Context(), t.Context(), e.push(t, now))
			if f.posts != 2 {
				t.Errorf("%d answers, want a second one to the push back", f.posts)
			}
		})
	}
}

// reviewed is a forge with reviews.
type reviewed struct {
	*small
	approved *bool
}

func (f reviewed) Approval(context.Context, vcs.Pull) (vcs.Approval, error) {
	return vcs.Approval{Approved: *f.approved}, nil
}

// ready keeps a plan of the network that was made from the pull request's head and has been read.
func (e *Engine) ready(t *testing.T, p vcs.Pull) {
	t.Helper()
	ctx := t.Context()
	s := scene{pull: p, repo: workdir.Repo{Forge: "f", ID: 1, URL: p.Repo.CloneURL}}
	m, _, _, err := e.merge(ctx, s)
	must(t, err)
	st, err := e.open(ctx, s, m.Tree)
	must(t, err)
	d, err := e.digest(ctx, st, st.find(network()), runner.Tool{})
	must(t, err)
	c, err := e.Work.Checkout(ctx, s.repo, p.Number, "default", m)
	must(t, err)
	file := filepath.Join(t.TempDir(), "plan")
	must(t, os.WriteFile(file, nil, 0o600))
	r := journal.Run{ID: e.Journal.NewRunID(), Pull: p.ID(), Command: cmdPlan, Head: p.Head.SHA, State: journal.RunDone, Started: time.Now()}
	j := journal.Job{Run: r.ID, N: 1, State: journal.JobDone, PlanID: r.ID + "/1", Job: runner.Job{Project: network()}}
	must(t, e.Journal.CreateRun(ctx, r, []journal.Job{j}))
	must(t, e.Journal.PutPlan(ctx, journal.Plan{
		ID: j.PlanID, Run: r.ID, N: 1, Pull: p.ID(), Project: network(), State: journal.PlanReady, File: file, Digest: d.Sum, Tree: m.Tree,
		SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Checkout: c.Root, CheckoutID: c.ID,
		Report: 1, ReportedAt: time.Now().Add(-time.Minute),
	}))
	_, err = e.Locks.Acquire(ctx, locking.Request{Pull: lockPull(p.ID()), Keys: []locking.Key{lockKey(p.Repo.ID, network())}})
	must(t, err)
}

// What was not looked at to the end, because its apply was cancelled, is nothing that the next apply of the run relies on.
func TestACancelledLookIsNotReliedOn(t *testing.T) {
	e, f, r := onRepo(t)
	p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
	stop, cancel := context.WithCancelCause(t.Context())
	looks := 0
	f.pull = func(int) (vcs.Pull, error) {
		if looks++; looks > 1 {
			cancel(errCancelled)
		}
		return p, nil
	}
	addComment(t, e, 1, 7, "apply")
	s, err := e.look(t.Context(), stop, e.items(t)[0])
	must(t, err)
	j := journal.Job{Run: s.run.ID, N: 1, State: journal.JobQueued, Job: runner.Job{Project: network()}}
	must(t, e.Journal.CreateRun(t.Context(), s.run, []journal.Job{j}))
	c := consent{asked: time.Now().Add(-time.Hour)}
	j, err = e.oneApply(t.Context(), s, &c, j)
	if err != nil || j.Open() || time.Since(c.asked) < time.Hour {
		t.Errorf("it is %s, %v, and the next apply relies on what was asked %s ago, want it asked again", j.State, err, time.Since(c.asked))
	}
}

// An apply that has waited for its slot starts only if everything that it was decided by still holds.
func TestAnApplyThatWaitedIsLookedAtAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*small, remote, *vcs.Pull, *bool)
		want   string // empty: it starts
	}{
		"nothing changed":    {func(*small, remote, *vcs.Pull, *bool) {}, ""},
		"closed":             {func(_ *small, _ remote, p *vcs.Pull, _ *bool) { p.State = vcs.Closed }, "closed"},
		"approval withdrawn": {func(_ *small, _ remote, _ *vcs.Pull, ok *bool) { *ok = false }, "approving review"},
		"permission taken": {func(f *small, _ remote, _ *vcs.Pull, _ *bool) {
			f.may = func() (vcs.Permission, error) { return vcs.ReadPermission, nil }
		}, "write permission"},
		"another push": {func(_ *small, r remote, p *vcs.Pull, _ *bool) {
			*p = r.head(1, map[string]string{"network/main.tf": "# another change\n"})
		}, "has changed since"},
	} {
		t.Run(name, func(t *testing.T) {
			e, f, r := onRepo(t)
			e.pace.permission = 0
			e.Options.ApplyRequirements = []string{"approved"}
			ok := true
			e.Forges["f"] = reviewed{f, &ok}
			p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
			f.pull = func(int) (vcs.Pull, error) { return p, nil }
			e.ready(t, p)
			give, err := e.slots.take(t.Context(), pr(2), rankApply)
			must(t, err)
			addComment(t, e, 1, 7, "apply")
			it := e.items(t)[0]
			told := make(chan struct{})
			go func() { defer close(told); e.tell(t.Context(), t.Context(), it) }()
			for waiting := 0; waiting == 0; _, waiting = e.slots.counts() {
				select {
				case <-told:
					t.Fatalf("it did not wait:\n%s", bodies(f.scripted))
				case <-time.After(time.Millisecond):
				}
			}
			tt.change(f, r, &p, &ok)
			give()
			<-told
			runs, err := e.Journal.Runs(t.Context(), journal.Filter{Limit: 1})
			must(t, err)
			jobs, err := e.Journal.Jobs(t.Context(), runs[0].ID)
			must(t, err)
			if started := !jobs[0].Started.IsZero(); started != (tt.want == "") || !strings.Contains(bodies(f.scripted), tt.want) {
				t.Errorf("started: %v, want the reason %q:\n%s", started, tt.want, bodies(f.scripted))
			}
		})
	}
}

// A panic in a job is that run's trouble, as one in its story is.
func TestAPanicInAJobIsAnswered(t *testing.T) {
	e, f, r := onRepo(t)
	e.Tools = nil // whoever asks it, panics
	p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
	f.pull = func(int) (vcs.Pull, error) { return p, nil }
	it := e.push(t, p)
	e.tell(t.Context(), t.Context(), it)
	if f.posts != 1 || !strings.Contains(bodies(f.scripted), "Internal error") {
		t.Errorf("%d answers, want one of an internal error:\n%s", f.posts, bodies(f.scripted))
	}
}

func TestAPanicInAnApplyIsAnError(t *testing.T) {
	t.Parallel()
	_, err := (&Engine{halt: newHalt()}).detachable(t.Context(), t.Context(), func(context.Context) (runner.Result, error) { panic("poisoned") })
	if err == nil || !strings.Contains(err.Error(), "poisoned") {
		t.Errorf("detachable() = %v, want the panic", err)
	}
}

// folding is a forge that folds comments away.
type folding struct {
	*small
	folded *[]int64
}

func (f folding) Fold(_ context.Context, _ vcs.Pull, list []vcs.Comment) error {
	for _, c := range list {
		*f.folded = append(*f.folded, c.ID)
	}
	return nil
}

// Only what takes the place of an older plan folds it away, not a refusal that anybody can bring about.
func TestARefusedPlanFoldsNothing(t *testing.T) {
	t.Parallel()
	for _, level := range []vcs.Permission{vcs.ReadPermission, vcs.WritePermission} {
		e, f, folded := engine(t), newSmall(), []int64{}
		e.pace.doubt = 0
		e.Forges = map[string]vcs.Forge{"f": folding{f, &folded}}
		f.may = func() (vcs.Permission, error) { return level, nil }
		ctx := t.Context()
		must(t, e.Journal.PutReport(ctx, journal.Report{ID: e.Journal.NewRunID(), Pull: pr(1), Kind: kindAnswer, Command: cmdPlan, Comment: 5}))
		addComment(t, e, 1, 7, "plan")
		it := e.items(t)[0]
		if level >= vcs.WritePermission {
			run := journal.Run{ID: e.Journal.NewRunID(), Event: it.ev.Seq, Pull: pr(1), Command: cmdPlan, State: journal.Running, Started: time.Now()}
			must(t, e.Journal.CreateRun(ctx, run, []journal.Job{{Run: run.ID, N: 1, State: journal.JobSuperseded}}))
			must(t, e.Journal.PutReport(ctx, journal.Report{ID: run.ID, Pull: pr(1), Run: run.ID, Kind: kindAnswer, Command: cmdPlan, Body: "planned"}))
		}
		e.tell(ctx, ctx, it)
		if want := level >= vcs.WritePermission; f.posts != 1 || (len(folded) == 1) != want {
			t.Errorf("%d answers, comments %v are folded, want the older plan: %v", f.posts, folded, want)
		}
	}
}

// What was planned in a run that is answered with an internal error was seen by nobody: it can't be
// applied, and its locks protect nothing.
func TestAPlanThatNobodySawIsDiscarded(t *testing.T) {
	e, f, r := onRepo(t)
	e.Tools = nil // whoever asks it, panics
	p := r.head(1, map[string]string{"network/main.tf": "# a change\n", "other/main.tf": "# a change\n"})
	f.pull = func(int) (vcs.Pull, error) { return p, nil }
	ctx := t.Context()
	m, _, _, err := e.merge(ctx, scene{pull: p, repo: workdir.Repo{Forge: "f", ID: 1, URL: p.Repo.CloneURL}})
	must(t, err)
	it := e.push(t, p)
	run := e.newRun(it, p)
	run.Head, run.Base, run.Merge, run.Tree = m.Head, m.Base, m.Commit, m.Tree
	jobs := []journal.Job{
		{Run: run.ID, N: 1, State: journal.JobDone, PlanID: run.ID + "/1", Job: runner.Job{Project: network()}, Result: &runner.Summary{End: runner.Succeeded}},
		{Run: run.ID, N: 2, State: journal.JobQueued, Job: runner.Job{Project: runner.Project{Dir: "other", Workspace: "default"}}},
	}
	must(t, e.Journal.CreateRun(ctx, run, jobs))
	must(t, e.Journal.PutPlan(ctx, journal.Plan{ID: run.ID + "/1", Run: run.ID, N: 1, Pull: p.ID(), Project: network(), State: journal.PlanReady}))
	_, err = e.Locks.Acquire(ctx, locking.Request{Pull: lockPull(p.ID()), Keys: []locking.Key{lockKey(p.Repo.ID, network())}})
	must(t, err)
	e.tell(ctx, ctx, it)
	if f.posts != 1 || !strings.Contains(bodies(f.scripted), "Internal error") {
		t.Errorf("%d answers, want one of an internal error:\n%s", f.posts, bodies(f.scripted))
	}
	if plan, _, err := e.Journal.Plan(ctx, run.ID+"/1"); err != nil || plan.State != journal.PlanDiscarded {
		t.Errorf("the plan is %s, %v, want it discarded", plan.State, err)
	}
	if held, err := e.Locks.Held(ctx, lockPull(p.ID())); err != nil || len(held) != 0 {
		t.Errorf("%v, %v are held, want nothing", held, err)
	}
}

// TestAMergeThatTakesLong: what ends a plan ends the fetch before it, which a server of somebody else's can make long.
func TestAMergeThatTakesLong(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end     func(*testing.T, *Engine, context.CancelCauseFunc)
		outcome string
		err     error
	}{
		"a newer push": {func(_ *testing.T, _ *Engine, stop context.CancelCauseFunc) { stop(errSuperseded) }, errSuperseded.Error(), nil},
		"a close":      {func(_ *testing.T, _ *Engine, stop context.CancelCauseFunc) { stop(errClosed) }, errClosed.Error(), nil},
		"the server":   {func(_ *testing.T, e *Engine, _ context.CancelCauseFunc) { e.shut() }, "", errStopping},
		"a cancel": {func(t *testing.T, e *Engine, _ context.CancelCauseFunc) {
			t.Helper()
			e.tell(t.Context(), t.Context(), e.comment(t, "ana", "cancel", 9))
		}, "cancelled by run", nil},
	} {
		t.Run(name, func(t *testing.T) {
			e, f, r := onRepo(t)
			p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
			f.pull = func(int) (vcs.Pull, error) { return p, nil }
			asked := make(chan struct{}, 9)
			endless := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				asked <- struct{}{}
				<-r.Context().Done()
			}))
			t.Cleanup(endless.Close)
			stop, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			it := e.push(t, p)
			s := scene{item: it, stop: stop, forge: f, pull: p, repo: workdir.Repo{Forge: "f", ID: 1, URL: endless.URL + "/a/b.git"}, run: e.newRun(it, p)}
			go func() {
				<-asked
				tt.end(t, e, cancel)
			}()
			_, v, done, err := e.mergeInTime(t.Context(), s)
			if !strings.HasPrefix(v.outcome, tt.outcome) || (v.outcome == "") != (tt.outcome == "") || !errors.Is(err, tt.err) || done == (err != nil) {
				t.Errorf("mergeInTime() = %q, %v, %v, want %q, %v", v.outcome, done, err, tt.outcome, tt.err)
			}
		})
	}
}

// renewing is a forge whose credential for git is not taken any more, and that has another one then.
type renewing struct {
	*small
	password string
	refused  []string
}

func (f *renewing) CloneCredential(context.Context, vcs.Repo) (vcs.Credential, error) {
	return vcs.Credential{User: "x-access-token", Password: f.password}, nil
}

func (f *renewing) RenewCredential(_ context.Context, repo vcs.Repo, refused string) bool {
	f.refused = append(f.refused, repo.FullName()+" "+refused)
	f.password = "fresh"
	return refused == "revoked"
}

// A credential that git is refused with is told to the forge's client, and the one that it has then is tried.
func TestARefusedCredentialIsRenewed(t *testing.T) {
	e, small, _ := onRepo(t)
	var mu sync.Mutex
	var tried []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if _, password, ok := r.BasicAuth(); ok {
			tried = append(tried, password)
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(srv.Close)
	p := aPull(1)
	p.Repo.CloneURL, p.HeadRef, p.Head.SHA = srv.URL+"/a/b.git", "refs/heads/one", strings.Repeat("a", 40)
	f := &renewing{small: small, password: "revoked"}
	f.pull = func(int) (vcs.Pull, error) { return p, nil }
	e.Forges["f"] = f
	s, err := e.look(t.Context(), t.Context(), e.push(t, p))
	must(t, err)
	_, _, _, err = e.merge(t.Context(), s)
	if want := []string{p.Repo.FullName() + " revoked"}; !errors.Is(err, workdir.ErrUnauthorized) || !slices.Equal(f.refused, want) {
		t.Errorf("merge() = %v, the client heard of %q, want %q", err, f.refused, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if tried = slices.Compact(tried); !slices.Equal(tried, []string{"revoked", "fresh"}) {
		t.Errorf("git tried %q, want the one that was revoked and the fresh one", tried)
	}
}
