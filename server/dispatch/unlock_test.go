package dispatch

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/journal"
)

// The server is killed between the answer of an apply and the end of its event, and somebody who has read the answer unlocks
// while it is down.
func TestAnUnlockAfterAnAnswerAndARestartIsNotRefused(t *testing.T) {
	f := newSmall()
	onSmall(t, f, func(e bench) {
		seq := addComment(e.t, e.Engine, 1, 5, "apply")
		r := journal.Run{ID: e.Journal.NewRunID(), Event: seq, Pull: pr(1), Command: cmdApply, State: journal.Running, Started: time.Now()}
		j := journal.Job{Run: r.ID, N: 1, State: journal.JobDone, Job: runner.Job{Project: network()}, Result: &runner.Summary{End: runner.Succeeded}}
		must(e.t, e.Journal.CreateRun(e.t.Context(), r, []journal.Job{j}))
		answer := journal.Report{ID: r.ID, Pull: pr(1), Run: r.ID, Kind: kindAnswer, Command: cmdApply, Body: "applied", Comment: 77, Posted: time.Now()}
		must(e.t, e.Journal.PutReport(e.t.Context(), answer))
		addComment(e.t, e.Engine, 1, 6, "unlock")
	}, func(e bench) {
		if said := bodies(f.scripted); f.posts != 1 || !strings.HasPrefix(said, "### Unlock: ") {
			e.t.Errorf("%d answers, want one to the unlock:\n%s", f.posts, said)
		}
	})
}
