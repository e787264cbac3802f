package dispatch

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// TestTooOld: an apply that could not be run when it was asked for runs only as long as somebody may
// still expect it.
func TestTooOld(t *testing.T) {
	t.Parallel()
	const never = 0
	for _, tt := range []struct {
		name string
		// how long ago it was asked for, taken in, and the server was started
		asked, received, began time.Duration
		most                   time.Duration
		old                    bool
	}{
		{"just now", time.Second, time.Second, time.Hour, 15 * time.Minute, false},
		{"waits in line", 29 * time.Minute, 29 * time.Minute, time.Hour, 15 * time.Minute, false},
		{"waited too long", 31 * time.Minute, 31 * time.Minute, time.Hour, 15 * time.Minute, true},
		{"before a restart", 14 * time.Minute, 14 * time.Minute, time.Minute, 15 * time.Minute, false},
		{"long before a restart", 16 * time.Minute, 16 * time.Minute, time.Minute, 15 * time.Minute, true},
		{"found soon", 14 * time.Minute, time.Second, time.Minute, 15 * time.Minute, false},
		{"found late", 16 * time.Minute, time.Second, time.Hour, 15 * time.Minute, true},
		{"found late, without a bound", 16 * time.Minute, time.Second, time.Minute, never, false},
		{"found very late, without a bound", 2 * time.Hour, time.Second, time.Minute, never, true},
		{"the forge's clock goes ahead", -time.Minute, time.Second, time.Minute, 15 * time.Minute, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			e := &Engine{Config: Config{Options: Options{RecoverMaxAge: tt.most}}, began: now.Add(-tt.began)}
			why := e.tooOld(scene{item: item{
				ev: journal.Event{Received: now.Add(-tt.received)}, ask: ask{comment: &vcs.Comment{CreatedAt: now.Add(-tt.asked)}},
			}})
			if (why != "") != tt.old {
				t.Errorf("tooOld() = %q, want too old: %v", why, tt.old)
			}
		})
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		16 * time.Minute: "16 minutes", 3 * time.Hour: "3 hours", 49 * time.Hour: "2 days",
	} {
		if got := ago(d); got != want {
			t.Errorf("ago(%s) = %q, want %q", d, got, want)
		}
	}
}

// listing is a small forge that can be asked what happened, with a clock of its own.
type listing struct {
	*small
	now   time.Time
	asked []time.Time
	pulls []vcs.Pull
	said  []vcs.Event
	fails error
}

func (f *listing) Repo(context.Context, string, string) (vcs.Repo, error) { return aPull(1).Repo, nil }

func (f *listing) News(_ context.Context, _ vcs.Repo, since time.Time, _ map[string]string) (vcs.News, error) {
	f.asked = append(f.asked, since)
	n := vcs.News{At: f.now, Pulls: f.pulls}
	for _, ev := range f.said {
		if !since.IsZero() && !ev.At.Before(since) {
			n.Comments = append(n.Comments, ev)
		}
	}
	return n, f.fails
}

func (f *listing) say(id int64, at time.Time, text string) {
	f.said = append(f.said, vcs.Event{
		Kind: vcs.Commented, Repo: aPull(1).Repo, Pull: 1, Sender: "ana", At: at,
		Comment: &vcs.Comment{ID: id, Author: "ana", Body: text, CreatedAt: at},
	})
}

// TestFirstSight: what was there when a repository was first seen never runs by itself; what comes later is
// taken in once, however often it is listed, and however old the watermark is.
func TestFirstSight(t *testing.T) {
	t.Parallel()
	e := engine(t)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := &listing{small: newSmall(), now: noon, pulls: []vcs.Pull{aPull(1)}}
	e.Forges = map[string]vcs.Forge{"f": f}
	f.say(1, noon.Add(-time.Second), "apply")
	round := func(want int) {
		t.Helper()
		if err := e.catchUp(t.Context(), f, aPull(1).Repo); err != nil {
			t.Fatal(err)
		}
		if n := queued(t, e); n != want {
			t.Errorf("%d events were taken in until now, want %d", n, want)
		}
	}
	f.say(4, noon, "apply") // in the same second: it may have been there
	round(0)
	round(0)
	if got := f.asked[1]; !got.Equal(noon) {
		t.Errorf("asked for what happened since %s: a pull request may have been opened at %s, after the question", got, noon)
	}
	f.now = noon.Add(time.Minute)
	f.say(2, noon.Add(30*time.Second), "plan")
	f.say(3, noon.Add(30*time.Second), "looks good")
	round(1)
	round(1)
	f.now, f.pulls[0].Head.SHA = noon.Add(2*time.Minute), "a2"
	f.pulls = append(f.pulls, aPull(2))
	f.pulls[1].Draft = true
	round(2)
	f.fails = vcs.ErrNotFound
	if err := e.catchUp(t.Context(), f, aPull(1).Repo); !errors.Is(err, vcs.ErrNotFound) {
		t.Errorf("a forge that fails: %v", err)
	}
	for i, since := range f.asked {
		if i > 0 && since.Before(noon) {
			t.Errorf("question %d was for what happened since %s, before the repository was seen", i, since)
		}
	}
}

// TestWhatIsWorkedOnIsLookedAtAgain: a pull request whose lane is busy is not disturbed, and not forgotten.
func TestWhatIsWorkedOnIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	e := engine(t)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := &listing{small: newSmall(), now: noon}
	e.Forges = map[string]vcs.Forge{"f": f}
	done := make(chan struct{})
	e.lanes.tell = func(context.Context, context.Context, item) { <-done }
	for _, err := range []error{
		e.catchUp(t.Context(), f, aPull(1).Repo),
		e.editPull(t.Context(), pr(1), func(rec *journal.PullRecord) (bool, error) {
			describe(rec, aPull(1))
			return true, nil
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	e.lanes.take(t.Context(), pr(1), item{ask: aPlan()})
	f.now, f.pulls = noon.Add(time.Hour), []vcs.Pull{aPull(1)}
	f.pulls[0].State = vcs.Merged
	for range 2 {
		if err := e.catchUp(t.Context(), f, aPull(1).Repo); err != nil {
			t.Fatal(err)
		}
		if n := queued(t, e); n != 0 {
			t.Errorf("%d events were taken in while the pull request is worked on", n)
		}
	}
	close(done)
	e.work.Wait()
	if err := e.catchUp(t.Context(), f, aPull(1).Repo); err != nil {
		t.Fatal(err)
	}
	if n := queued(t, e); n != 1 {
		t.Errorf("%d events were taken in, want that it was merged", n)
	}
	for _, since := range f.asked {
		if since.After(noon) {
			t.Errorf("asked for what happened since %s, and not since before it was merged", since)
		}
	}
}

// TestTheWebhookOfWhatWasFound: it comes late and changes nothing, though what it led to is given up by then. One that
// tells of something newer, or of something else, is another event.
func TestTheWebhookOfWhatWasFound(t *testing.T) {
	t.Parallel()
	e := engine(t)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := &listing{small: newSmall(), now: noon}
	e.Forges = map[string]vcs.Forge{"f": f}
	var told []uint64
	e.lanes.tell = func(_, _ context.Context, it item) { told = append(told, it.ev.Seq) }
	must(t, e.catchUp(t.Context(), f, aPull(1).Repo))
	f.now, f.pulls = noon.Add(time.Minute), []vcs.Pull{aPull(1)}
	must(t, e.catchUp(t.Context(), f, aPull(1).Repo))
	collect := func(seq uint64) bool {
		t.Helper()
		must(t, e.collect(t.Context()))
		e.work.Wait()
		return slices.Contains(told, seq)
	}
	if !collect(1) {
		t.Fatal("what was found is not carried out")
	}
	for _, tt := range []struct {
		name, delivery, head string
		at                   time.Time
		want                 bool
	}{
		{"its webhook", "d", "a1", noon.Add(30 * time.Second), false},
		{"another head", "d", "a2", noon.Add(30 * time.Second), true},
		{"a newer one", "d", "a1", noon.Add(2 * time.Minute), true},
		{"found again", "", "a1", noon.Add(20 * time.Second), true},
	} {
		ev := vcs.Event{Kind: vcs.PullPushed, Repo: aPull(1).Repo, Pull: 1, Head: tt.head, Base: "b1", BaseRef: "main", At: tt.at, Delivery: tt.delivery}
		seq, _, err := e.Journal.AddEvent(t.Context(), ev, ev.Key())
		must(t, err)
		if got := collect(seq); got != tt.want {
			t.Errorf("%s: carried out: %v, want %v", tt.name, got, tt.want)
		}
	}
	if n := queued(t, e); n != 4 {
		t.Errorf("%d events are queued, want all but the one that was dropped", n)
	}
}
