package dispatch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner/workdir"
)

// slowly gives the engine a git that comes to no end of a fetch after hang was called; begun waits for one to begin.
func (e *Engine) slowly(t *testing.T) (hang, begun func()) {
	t.Helper()
	dir := t.TempDir()
	script, fifo, hangs := filepath.Join(dir, "git"), filepath.Join(dir, "fifo"), filepath.Join(dir, "hangs")
	git, err := exec.LookPath("git")
	must(t, err)
	must(t, syscall.Mkfifo(fifo, 0o600))
	must(t, os.WriteFile(script, []byte("#!/bin/sh\nif [ \"$1\" = fetch ] && [ -e '"+hangs+"' ]; then echo fetch >'"+fifo+"'; exec sleep 3000; fi\nexec '"+git+"' \"$@\"\n"), 0o700))
	must(t, e.Work.Close())
	e.Work, err = workdir.Open(t.Context(), workdir.Config{Data: e.Options.Data, Git: script})
	must(t, err)
	t.Cleanup(func() { _ = e.Work.Close() })
	return func() {
			if err := os.WriteFile(hangs, nil, 0o600); err != nil {
				panic(err)
			}
		}, func() {
			if _, err := os.ReadFile(fifo); err != nil {
				panic(err)
			}
		}
}

// An apply fetches before it begins, and after it has ended. A server that holds that up holds up neither who takes the apply back nor a stop.
func TestAFetchOfAnApplyIsEnded(t *testing.T) {
	const cancelled = "Why: it was cancelled by `ana`."
	for name, tt := range map[string]struct {
		applied   bool
		at        string // from when on nothing comes
		take      string // what ends it; empty is a stop of the server
		want      string // what is said
		unwelcome string
	}{
		"decided":                 {take: "cancel", want: "### Apply not run: cancelled by `ana`\n"},
		"decided, a stop":         {},
		"looked at again":         {at: AtLocked, take: "cancel", want: "### Apply for `network`: cancelled\n"},
		"looked at again, a stop": {at: AtLocked},
		"nothing left":            {applied: true, take: "cancel", want: "This is not merged by itself: it was cancelled by `ana`."},
		"nothing left, a stop":    {applied: true},
		"merged":                  {applied: true, at: AtAnswered, take: "cancel", want: cancelled},
		"merged, an unlock":       {applied: true, at: AtAnswered, take: "unlock", want: "Why: `unlock` was asked for before the forge was ready."},
		"merged, a stop":          {applied: true, at: AtAnswered, want: isMerged, unwelcome: notMerged},
	} {
		t.Run(name, func(t *testing.T) {
			e, f, _ := applied(t, map[string]string{})
			if !tt.applied {
				e.ready(t, *f.now)
			}
			hang, begun := e.slowly(t)
			e.pace.permission, e.pace.merge = 0, time.Hour
			if tt.at == "" {
				hang()
			}
			e.Hook = func(point string) {
				if point == tt.at {
					hang()
				}
			}
			addComment(t, e, 1, 7, "apply")
			e.lanes.take(t.Context(), pr(1), e.items(t)[0])
			begun()
			if tt.take == "" {
				e.shut()
			} else {
				e.lanes.take(t.Context(), pr(1), e.comment(t, "ana", tt.take, 9))
			}
			e.work.Wait()
			said := bodies(f.scripted)
			if !strings.Contains(said, tt.want) || tt.unwelcome != "" && strings.Contains(said, tt.unwelcome) || tt.want == "" && said != "" {
				t.Errorf("it says:\n%s\nwant %q", said, tt.want)
			}
			if left := queued(t, e); tt.take == "" && left != 1 || tt.take != "" && left != 0 {
				t.Errorf("%d events are left", left)
			}
		})
	}
}
