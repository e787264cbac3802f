package dispatch

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// tidied is a forge on which comments can be deleted: found is false for those that are gone already.
type tidied struct{ *small }

func (f tidied) DeleteComment(_ context.Context, _ vcs.Pull, id int64) error {
	at := slices.IndexFunc(f.comments, func(c vcs.Comment) bool { return c.ID == id })
	if at < 0 {
		return vcs.ErrNotFound
	}
	f.comments = slices.Delete(f.comments, at, at+1)
	return nil
}

// A progress comment that was meant and never made, or is gone already, is owed to nobody once its run is over.
func TestNoProgressIsOwedAfterTheAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		comment int64
	}{{"never made", 0}, {"gone already", 7}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onProgress(t, func(t *testing.T, e *Engine, _ tidied, s scene) {
				t.Helper()
				must(t, e.Journal.PutReport(t.Context(), journal.Report{
					ID: s.run.ID + "-progress", Pull: pr(1), Run: s.run.ID, Kind: kindProgress, Command: cmdPlan,
					Marker: "m", Intended: time.Now(), Comment: tt.comment,
				}))
				e.tidy(t.Context(), s, journal.Report{Run: s.run.ID, Command: cmdPlan})
			})
		})
	}
}

// Whatever becomes of its post, a progress comment is made once at most, and gone when its run is over.
func TestProgressIsMadeOnceAndGoes(t *testing.T) {
	t.Parallel()
	for name, post := range map[string]func(*scripted, string) (vcs.Comment, error){
		"taken": takes, "the answer got lost": takesInSilence, "the request got lost": losesIt, "the forge was down": isDown,
		"refused": refuses,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onProgress(t, func(t *testing.T, e *Engine, f tidied, s scene) {
				t.Helper()
				f.script = []func(*scripted, string) (vcs.Comment, error){post}
				w := e.watch(t.Context(), s, make([]journal.Job, 2))
				pass(e.pace.progress + e.pace.progressEdit/2)
				w.done()
				pass(10 * e.pace.progressEdit)
				before := time.Now()
				w.end()
				if d := time.Since(before); d > 0 {
					t.Errorf("the end of the run was held up for %s", d)
				}
				if f.posts != 1 {
					t.Errorf("it was posted %d times", f.posts)
				}
				e.tidy(t.Context(), s, journal.Report{Run: s.run.ID, Command: cmdPlan})
			})
		})
	}
}

// A run that ends in the moment of the post does not leave its progress comment behind.
func TestProgressThatIsCutOffGoes(t *testing.T) {
	t.Parallel()
	onProgress(t, func(t *testing.T, e *Engine, f tidied, s scene) {
		t.Helper()
		f.script = []func(*scripted, string) (vcs.Comment, error){func(f *scripted, body string) (vcs.Comment, error) {
			pass(time.Second)
			return takesInSilence(f, body)
		}}
		w := e.watch(t.Context(), s, make([]journal.Job, 1))
		pass(e.pace.progress + time.Millisecond)
		w.end()
		e.tidy(t.Context(), s, journal.Report{Run: s.run.ID, Command: cmdPlan})
	})
}

// What a process that is gone has posted of a run that is over is taken away at the next start.
func TestProgressOfAnEarlierProcessGoes(t *testing.T) {
	t.Parallel()
	onProgress(t, func(t *testing.T, e *Engine, _ tidied, s scene) {
		t.Helper()
		w := e.watch(t.Context(), s, make([]journal.Job, 1))
		c, r, err := w.post(t.Context(), s.run.ID+"-progress")
		if err != nil || c.ID == 0 {
			t.Fatalf("posted %+v, %v", c, err)
		}
		w.end()
		must(t, e.editPull(t.Context(), pr(1), func(rec *journal.PullRecord) (bool, error) {
			describe(rec, aPull(1))
			return true, nil
		}))
		must(t, e.restart(t.Context()))
		if r.Comment != 0 {
			t.Fatal("the record was to know of no comment")
		}
	})
}

// onProgress runs a test and then sees that no progress comment stands on the pull request, and none is owed.
func onProgress(t *testing.T, test func(*testing.T, *Engine, tidied, scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := engine(t)
		defer func() { _ = e.Journal.Close() }()
		f := tidied{newSmall()}
		e.Forges = map[string]vcs.Forge{"f": f}
		s := scene{
			item: item{ask: ask{name: cmdPlan}}, forge: f, site: f.Site(), pull: aPull(1), run: journal.Run{ID: e.Journal.NewRunID()},
		}
		test(t, e, f, s)
		e.work.Wait()
		owed, err := e.Journal.Unposted(t.Context())
		must(t, err)
		all, err := e.Journal.Reports(t.Context(), pr(1))
		must(t, err)
		if len(owed) != 0 || len(all) != 1 || !all[0].Deleted && all[0].Gone == "" {
			t.Errorf("owed = %v, reports = %+v, want none owed and the one deleted", owed, all)
		}
		if len(f.comments) != 0 {
			t.Errorf("left on the pull request: %+v", f.comments)
		}
	})
}
