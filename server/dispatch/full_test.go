package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// An apply for which there is no room is told to be not started, and why. Its plan and its lock stay as they are.
func TestAnApplyWithoutRoomKeepsItsPlan(t *testing.T) {
	var wanted int64
	for name, full := range map[string]func(*Options){
		"nearly full": func(o *Options) { o.Room = func() error { return errors.New("the disk has 3 MiB left") } },
		"too full for files from Git LFS": func(o *Options) {
			o.LFS, o.RoomFor = true, func(bytes int64) error {
				wanted = bytes
				return errors.New("the disk has 3 MiB left")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, f, r := onRepo(t)
			full(&e.Options)
			p := r.head(1, map[string]string{
				"network/main.tf": "# a change\n", ".gitattributes": "*.bin filter=lfs\n",
				"network/big.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:de27fe26299e435bc24eb825002e307a6245e55ca431e9daf46d8a53681ad6e3\nsize 12\n",
			})
			f.pull = func(int) (vcs.Pull, error) { return p, nil }
			e.ready(t, p)
			addComment(t, e, 1, 7, "apply")
			e.tell(t.Context(), t.Context(), e.items(t)[0])
			if said := bodies(f.scripted); !strings.Contains(said, "not started") || !strings.Contains(said, "The disk has 3 MiB left. Who runs this server") {
				t.Errorf("the answer, want why it was not started:\n%s", said)
			}
			plans, err := e.plans(t.Context(), pr(1))
			must(t, err)
			held, err := e.heldKeys(t.Context(), pr(1))
			must(t, err)
			if len(plans) != 1 || plans[0].State != journal.PlanReady || len(held) != 1 {
				t.Errorf("plans %+v under %d locks, want the ready one under its lock", plans, len(held))
			}
			if e.Options.LFS && wanted != 24 {
				t.Errorf("room was asked for for %d bytes, want 24, for the mirror and the checkout", wanted)
			}
		})
	}
}

// A plan for which there is no room leaves the one before it as it is, under its lock, and ready to be applied; one of other files
// is let go of with its lock.
func TestAPlanWithoutRoomKeepsTheOneBefore(t *testing.T) {
	for name, same := range map[string]bool{"of the same files": true, "of other files": false} {
		t.Run(name, func(t *testing.T) {
			e, f, r := onRepo(t)
			p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
			f.pull = func(int) (vcs.Pull, error) { return p, nil }
			e.ready(t, p)
			if !same {
				p = r.head(1, map[string]string{"network/main.tf": "# another change\n"})
			}
			e.Options.Room = func() error { return errors.New("the disk has 3 MiB left") }
			addComment(t, e, 1, 7, "plan")
			e.tell(t.Context(), t.Context(), e.items(t)[0])
			said := bodies(f.scripted)
			if !strings.Contains(said, "When there is room again, comment `plan`.") || strings.Contains(said, "Push a fix") || strings.Contains(said, "stays as it is") != same {
				t.Errorf("the answer:\n%s", said)
			}
			all, err := e.standing(t.Context(), pr(1))
			must(t, err)
			held, err := e.heldKeys(t.Context(), pr(1))
			must(t, err)
			ready := len(all) == 1 && all[0].plan != nil && all[0].plan.State == journal.PlanReady
			if ready != same || (len(held) == 1) != same {
				t.Errorf("%+v stand under %d locks, want the older plan under its lock: %v", all, len(held), same)
			}
		})
	}
}

// Nobody who waits for a lock is called while there is no room: a plan would be refused, and its place in line be lost.
func TestNobodyIsCalledWithoutRoom(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	e.waits(t, 1)
	called := e.turn(t)
	e.Options.Room = func() error { return errors.New("the disk has 3 MiB left") }
	e.tell(t.Context(), t.Context(), called) // when it was called, there was room
	must(t, e.callNext(t.Context()))
	if n := len(e.items(t)); n != 0 {
		t.Errorf("%d turns without room, want none", n)
	}
	e.Options.Room = nil
	if again := e.turn(t); len(again.ask.turn) != 1 || again.ask.turn[0] != network() {
		t.Errorf("with room again %+v is called, want the one that has waited", again.ask)
	}
}

// That our disk is full says nothing of what terraform has done.
func TestWhatAFullDiskLeavesOfAnApply(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	s := scene{item: item{ask: ask{kind: askApply, name: cmdApply}}, stop: t.Context(), pull: aPull(1)}
	j := journal.Job{Job: runner.Job{
		ID: "R/1", Action: runner.Apply, Dir: t.TempDir() + "/1", Checkout: "/c", DataDir: "/d", PlanFile: "/p",
		Project: network(), Tool: runner.Tool{Path: "/t"},
	}}
	full := fmt.Errorf("making the job directory: %w", syscall.ENOSPC)
	res, err := e.despite(t.Context(), s, j, full)
	if err != nil || res.End != runner.NotStarted || res.Failure == nil || res.Failure.Summary != fullHeadline {
		t.Errorf("an apply without marks = %s, %+v, %v, want it not started, with the reason", res.End, res.Failure, err)
	}
}

// git does not always say why it could not write; others do.
func TestAnApologyWhileTheDiskIsFull(t *testing.T) {
	const full, ours = "### Plan failed: the server's disk is full\n", "### Internal error in run "
	for name, tt := range map[string]struct {
		cause func(*Engine, remote) error
		want  string
	}{
		"git": {func(e *Engine, r remote) error {
			_, err := e.Work.Merge(t.Context(), workdir.Repo{Forge: "f", ID: 1, URL: "file://" + r.dir + "/away"}, workdir.MergeRequest{
				Pull: 1, BaseRef: "main", HeadRef: "refs/heads/one", HeadSHA: strings.Repeat("a", 40),
			})
			return err
		}, full},
		"no room": {func(*Engine, remote) error { return syscall.ENOSPC }, full},
		"another": {func(*Engine, remote) error { return errors.New("the permission can't be read") }, ours},
	} {
		t.Run(name, func(t *testing.T) {
			e, f, r := onRepo(t)
			e.Options.Room = func() error { return errors.New("full") }
			must(t, e.apologise(t.Context(), e.comment(t, "ana", "plan", 5), tt.cause(e, r)))
			if said := bodies(f.scripted); !strings.HasPrefix(said, tt.want) {
				t.Errorf("the answer, want %q:\n%s", tt.want, said)
			}
		})
	}
}

// What has come to its end is told as it ended, whatever went wrong behind it.
func TestAnApologyForWhatHasSucceeded(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"state push -d a": "### The state of `a` is stored\n",
		"apply -d a":      "### Apply for `a`: applied\n",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			f := newGuarding()
			e := engineOn(t, f)
			plan := e.planRun(t, netA())
			must(t, e.Journal.SetPlanState(t.Context(), plan.ID+"/1", journal.PlanApplied, "", ""))
			it := e.comment(t, "ana", line, 5)
			r := journal.Run{ID: e.Journal.NewRunID(), Event: it.ev.Seq, Pull: pr(1), Command: it.ask.name, State: journal.Running, Started: time.Now()}
			must(t, e.Journal.CreateRun(t.Context(), r, []journal.Job{{
				Run: r.ID, N: 1, State: journal.JobDone, Started: time.Now(), Result: &runner.Summary{End: runner.Succeeded},
				Job: runner.Job{Action: it.ask.mends(), Project: netA()},
			}}))
			must(t, e.apologise(t.Context(), it, syscall.ENOSPC))
			if said := bodies(f.scripted); !strings.HasPrefix(said, want) {
				t.Errorf("the answer, want %q:\n%s", want, said)
			}
			if st, ok := f.statuses["tidegate/apply"]; ok && st.State != vcs.Success {
				t.Errorf("the status is %s %q", st.State, st.Description)
			}
		})
	}
}

// What an unlock or a cancel has done is not known when journalling its answer fails: it is not said to have failed.
func TestAnApologyForWhatMayBeDone(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"unlock": "### Unlock: it is not known whether it was done\n",
		"cancel": "### Cancel: it is not known whether it was done\n",
		"help":   "### Help failed: the server's disk is full\n",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			f := newGuarding()
			e := engineOn(t, f)
			it := e.comment(t, "ana", line, 5)
			s, err := e.look(t.Context(), t.Context(), it)
			must(t, err)
			_, err = e.decide(t.Context(), s)
			must(t, err)
			must(t, e.apologise(t.Context(), it, syscall.ENOSPC))
			if said := bodies(f.scripted); !strings.HasPrefix(said, want) {
				t.Errorf("the answer, want %q:\n%s", want, said)
			}
		})
	}
}

// Who waits for room stops with the server, and before its grace is over.
func TestNobodyWaitsForRoomInAServerThatStops(t *testing.T) {
	t.Parallel()
	e := engineOn(t, newGuarding())
	e.halt.close()
	if err := e.rest(t.Context(), time.Hour); !errors.Is(err, errStopping) {
		t.Errorf("rest in a server that stops = %v, want %v", err, errStopping)
	}
	e.halt = newHalt()
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errStopping)
	if err := e.rest(ctx, time.Hour); !errors.Is(err, errStopping) {
		t.Errorf("rest in a server that has stopped = %v, want %v", err, errStopping)
	}
}

// While the disk is full nothing can be told, so it is not said either that something has failed: it is done when there is room.
func TestWhatAFullDiskCanNotHoldIsDoneLater(t *testing.T) {
	t.Parallel()
	f := newGuarding()
	e := engineOn(t, f)
	e.pace.retry = time.Microsecond
	full := 5
	f.pull = func(n int) (vcs.Pull, error) {
		if full--; full >= 0 {
			return vcs.Pull{}, syscall.ENOSPC
		}
		return aPull(n), nil
	}
	e.ping = func(context.Context) error {
		if full >= 0 {
			return syscall.ENOSPC
		}
		return nil
	}
	e.tell(t.Context(), t.Context(), e.comment(t, "ana", "help", 5))
	if said := bodies(f.scripted); f.posts != 1 || !strings.HasPrefix(said, "### Commands\n") {
		t.Errorf("%d answers, want the one that was asked for:\n%s", f.posts, said)
	}
}
