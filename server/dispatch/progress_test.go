package dispatch

import (
	"context"
	"testing"
	"time"

	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// forgetful deletes no comment: whoever made it, it is gone already.
type forgetful struct{ *small }

func (forgetful) DeleteComment(context.Context, vcs.Pull, int64) error { return vcs.ErrNotFound }

// A progress comment that was meant and never made, or is gone already, is owed to nobody once its run is over.
func TestNoProgressIsOwedAfterTheAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		comment int64
	}{{"never made", 0}, {"gone already", 7}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := engine(t)
			f := forgetful{newSmall()}
			s := scene{forge: f, site: f.Site(), pull: aPull(1), run: journal.Run{ID: e.Journal.NewRunID()}}
			must(t, e.Journal.PutReport(t.Context(), journal.Report{
				ID: s.run.ID + "-progress", Pull: pr(1), Run: s.run.ID, Kind: kindProgress, Command: cmdPlan,
				Marker: "m", Intended: time.Now(), Comment: tt.comment,
			}))
			e.tidy(t.Context(), s, journal.Report{Run: s.run.ID, Command: cmdPlan})
			owed, err := e.Journal.Unposted(t.Context())
			must(t, err)
			all, err := e.Journal.Reports(t.Context(), pr(1))
			must(t, err)
			if len(owed) != 0 || len(all) != 1 || !all[0].Deleted {
				t.Errorf("owed = %v, reports = %+v, want none owed and the one deleted", owed, all)
			}
		})
	}
}
