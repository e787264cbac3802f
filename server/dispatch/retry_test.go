package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// scripted is a forge that answers CreateComment by a script, and keeps what got through.
type scripted struct {
	vcs.Forge
	script []func(*scripted, string) (vcs.Comment, error)

	mu       sync.Mutex
	comments []vcs.Comment
	posts    int
}

func (f *scripted) CreateComment(_ context.Context, _ vcs.Pull, body string) (vcs.Comment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.posts++
	step := f.script[0]
	if len(f.script) > 1 {
		f.script = f.script[1:]
	}
	return step(f, body)
}

func (f *scripted) Comments(context.Context, vcs.Pull, time.Time) ([]vcs.Comment, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.comments), nil
}

func takes(f *scripted, body string) (vcs.Comment, error) {
	c := vcs.Comment{ID: int64(len(f.comments) + 1), Body: body, CreatedAt: time.Now()}
	f.comments = append(f.comments, c)
	return c, nil
}

func takesInSilence(f *scripted, body string) (vcs.Comment, error) {
	_, _ = takes(f, body)
	return vcs.Comment{}, vcs.ErrInDoubt
}

func losesIt(*scripted, string) (vcs.Comment, error) { return vcs.Comment{}, vcs.ErrInDoubt }
func isDown(*scripted, string) (vcs.Comment, error)  { return vcs.Comment{}, errors.New("down") }
func refuses(*scripted, string) (vcs.Comment, error) { return vcs.Comment{}, vcs.ErrRefused }

func engine(t *testing.T) *Engine {
	t.Helper()
	db, err := journal.OpenFile(filepath.Join(t.TempDir(), "tidegate.db"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close(); _ = db.Close() })
	locks, err := locking.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Config{Journal: j, Locks: locks, Log: slog.New(slog.DiscardHandler), Options: Options{
		Data: t.TempDir(), Allowed: func(vcs.Repo) bool { return true },
	}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestOneAnswer: whatever the forge does, the answer stands there once, or is known to be refused.
func TestOneAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		script []func(*scripted, string) (vcs.Comment, error)
		before int // copies that an earlier process has posted
		doubt  bool
		stands int
		gone   bool
	}{
		{"at once", []func(*scripted, string) (vcs.Comment, error){takes}, 0, false, 1, false},
		{"after errors", []func(*scripted, string) (vcs.Comment, error){isDown, isDown, takes}, 0, false, 1, false},
		{"the answer got lost", []func(*scripted, string) (vcs.Comment, error){takesInSilence, takes}, 0, false, 1, false},
		{"the request got lost", []func(*scripted, string) (vcs.Comment, error){losesIt, takes}, 0, false, 1, false},
		{"posted before a crash", []func(*scripted, string) (vcs.Comment, error){takes}, 1, true, 1, false},
		{"a crash before the post", []func(*scripted, string) (vcs.Comment, error){takes}, 0, true, 1, false},
		{"refused for good", []func(*scripted, string) (vcs.Comment, error){isDown, refuses}, 0, false, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := engine(t)
				defer func() { _ = e.Journal.Close() }()
				f := &scripted{script: tt.script}
				mark := e.sign.write(pr(1), marker{Server: "tidegate", Run: "R", Command: "plan", Source: "push:1", Part: partAnswer})
				r := journal.Report{ID: "R", Pull: pr(1), Run: "R", Kind: kindAnswer, Body: "### Plan\n\n" + mark, Marker: mark, Intended: time.Now()}
				if err := e.Journal.PutReport(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				for range tt.before {
					_, _ = takes(f, r.Body)
				}
				got, err := e.post(t.Context(), f, vcs.Pull{Repo: vcs.Repo{ID: pr(1).Repo}, Number: 1}, r, tt.doubt)
				if err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(bodies(f), "### Plan"); n != tt.stands {
					t.Errorf("the answer stands %d times on the pull request, want %d", n, tt.stands)
				}
				if (got.Gone != "") != tt.gone || (got.Comment == 0) != tt.gone {
					t.Errorf("report = comment %d, gone %q, want gone: %v", got.Comment, got.Gone, tt.gone)
				}
				if kept, _, _ := e.Journal.Report(t.Context(), "R"); kept.Comment != got.Comment || kept.Gone != got.Gone {
					t.Errorf("the journal has comment %d, gone %q, want %d, %q", kept.Comment, kept.Gone, got.Comment, got.Gone)
				}
			})
		})
	}
}

func bodies(f *scripted) string {
	var b strings.Builder
	for _, c := range f.comments {
		b.WriteString(c.Body)
	}
	return b.String()
}
