package dispatch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// mergingForge merges what it is asked to, unless answer says otherwise.
type mergingForge struct {
	*small
	now    *vcs.Pull
	can    vcs.Mergeable
	answer func(try int) error
	// status is what it says to one; nil takes it.
	status error
	asked  []vcs.Merging
	heads  []string
}

func (f *mergingForge) Pull(context.Context, vcs.Repo, int) (vcs.Pull, error) { return *f.now, nil }
func (f *mergingForge) MergeMethods() []vcs.MergeMethod {
	return []vcs.MergeMethod{vcs.MergeCommit, vcs.MergeSquash}
}

func (f *mergingForge) SetStatus(context.Context, vcs.Repo, string, vcs.Status) error {
	return f.status
}

func (f *mergingForge) Mergeable(_ context.Context, _ vcs.Pull, ours func(string) bool) (vcs.Mergeable, error) {
	if f.can.State == "" {
		return vcs.Mergeable{State: vcs.MergeReady}, nil
	}
	if len(f.can.Why) > 0 && ours(f.can.Why[0]) {
		return vcs.Mergeable{State: vcs.MergeReady}, nil
	}
	return f.can, nil
}

func (f *mergingForge) Merge(_ context.Context, p vcs.Pull, how vcs.Merging) error {
	f.asked, f.heads = append(f.asked, how), append(f.heads, p.Head.SHA)
	if f.answer != nil {
		if err := f.answer(len(f.asked)); err != nil {
			return err
		}
	}
	f.now.State = vcs.Merged
	return nil
}

// applied is an engine on a forge that merges, and a pull request of which everything is applied.
func applied(t *testing.T, files map[string]string) (*Engine, *mergingForge, remote) {
	t.Helper()
	e, small, r := onRepo(t)
	files["network/main.tf"] = "# a change\n"
	p := r.head(1, files)
	f := &mergingForge{small: small, now: &p}
	e.Forges = map[string]vcs.Forge{"f": f}
	e.pace.status = time.Second
	e.Options.Automerge = true
	e.ready(t, p)
	plans, err := e.plans(t.Context(), p.ID())
	must(t, err)
	must(t, e.Journal.SetPlanState(t.Context(), plans[0].ID, journal.PlanApplied, "ana", "applied"))
	return e, f, r
}

// asks lets ana comment, and answers what is said then.
func (e *Engine) asks(t *testing.T, f *mergingForge, text string) string {
	t.Helper()
	addComment(t, e, 1, 7, text)
	e.tell(t.Context(), t.Context(), e.items(t)[0])
	e.work.Wait()
	return bodies(f.scripted)
}

const (
	isMerged  = "this is merged into `main` next"
	notMerged = "### Everything is applied, but this is not merged"
)

func TestAnApplyMergesWhatIsApplied(t *testing.T) {
	again := &vcs.NotMergedError{Reason: "`main` has moved", Again: true}
	for name, tt := range map[string]struct {
		files   map[string]string
		ask     string
		change  func(*Engine, *mergingForge, remote)
		merges  int    // how often the forge is asked to merge
		want    string // in what is said
		without string // not in what is said
	}{
		"ready":                      {merges: 1, want: isMerged, without: notMerged},
		"not wanted":                 {change: func(e *Engine, _ *mergingForge, _ remote) { e.Options.Automerge = false }, want: "nothing left to apply", without: isMerged},
		"wanted by the repository":   {files: map[string]string{"tidegate.yaml": "version: 3\nautomerge: true\n"}, change: func(e *Engine, _ *mergingForge, _ remote) { e.Options.Automerge = false }, merges: 1, want: isMerged},
		"unwanted by the repository": {files: map[string]string{"tidegate.yaml": "version: 3\nautomerge: false\n"}, want: "nothing left to apply", without: isMerged},
		"unwanted this time":         {ask: "apply --auto-merge-disabled", want: "nothing left to apply", without: isMerged},
		"no such method":             {ask: "apply --auto-merge-method rebase", want: "### Apply not run: this forge does not merge by `rebase`\nIt knows `merge`, `squash`."},
		"by the rules": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.can = vcs.Mergeable{State: vcs.MergeBlocked, Why: []string{"`ci/*lint*` is missing", "nobody has approved it"}}
		}, want: "Why: `ci/*lint*` is missing; nobody has approved it."},
		"not worked out": {change: func(_ *Engine, f *mergingForge, _ remote) { f.can.State = vcs.MergeUnknown }, want: notMerged},
		"our own status counts": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.can = vcs.Mergeable{State: vcs.MergeBlocked, Why: []string{"tidegate/apply"}}
		}, want: "Why: tidegate/apply."},
		"refused": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.answer = func(int) error { return &vcs.NotMergedError{Reason: "a merge queue merges here"} }
		}, merges: 1, want: "Why: a merge queue merges here."},
		"in the end": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.answer = func(try int) error { return []error{again, again, nil}[try-1] }
		}, merges: 3, want: isMerged, without: notMerged},
		"never": {change: func(_ *Engine, f *mergingForge, _ remote) { f.answer = func(int) error { return again } }, merges: triesToMerge, want: "Why: `main` has moved."},
		"moved": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.answer = func(int) error { return &vcs.NotMergedError{Reason: "x", Moved: true} }
		}, merges: 1, want: "Why: commits were pushed after it was applied"},
		"answer lost": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.answer = func(try int) error { f.now.State = vcs.Merged; return []error{vcs.ErrInDoubt, nil}[try-1] }
		}, merges: 2, want: isMerged, without: notMerged},
		"forge away": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.answer = func(try int) error {
				if try < 4 {
					return errors.New("502")
				}
				return nil
			}
		}, merges: 4, want: isMerged, without: notMerged},
		"statuses refused":     {change: func(_ *Engine, f *mergingForge, _ remote) { f.status = vcs.ErrRefused }, want: "Why: the forge did not take the status `tidegate/apply`."},
		"a draft":              {change: func(_ *Engine, f *mergingForge, _ remote) { f.now.Draft = true }, want: "Why: it is a draft."},
		"base moved elsewhere": {change: func(_ *Engine, _ *mergingForge, r remote) { r.onMain("README.md") }, merges: 1, want: isMerged, without: notMerged},
		"base moved under it":  {change: func(_ *Engine, _ *mergingForge, r remote) { r.onMain("network/more.tf") }, want: "Why: `main` has moved on in what `network` is made from", without: "an error"},
		"not approved": {files: map[string]string{"tidegate.yaml": "version: 3\nprojects:\n- dir: network\n  apply_requirements: [mergeable]\n"}, change: func(_ *Engine, f *mergingForge, _ remote) {
			f.can = vcs.Mergeable{State: vcs.MergeBlocked, Why: []string{"nobody has approved it"}}
		}, want: "It is not merged: nobody has approved it.", without: isMerged},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.files == nil {
				tt.files = map[string]string{}
			}
			e, f, r := applied(t, tt.files)
			if tt.change != nil {
				tt.change(e, f, r)
			}
			head := f.now.Head.SHA
			said := e.asks(t, f, "apply"+strings.TrimPrefix(tt.ask, "apply"))
			if len(f.asked) != tt.merges {
				t.Errorf("the forge was asked to merge %d times, want %d", len(f.asked), tt.merges)
			}
			if slices.ContainsFunc(f.heads, func(sha string) bool { return sha != head }) {
				t.Errorf("it was asked to merge %q, want %s alone", f.heads, head)
			}
			if !strings.Contains(said, tt.want) || tt.without != "" && strings.Contains(said, tt.without) {
				t.Errorf("it says:\n%s\nwant %q and not %q", said, tt.want, tt.without)
			}
			if n := queued(t, e); n != 0 {
				t.Errorf("%d events are left", n)
			}
		})
	}
}

// onMain makes a commit on the base branch.
func (r remote) onMain(file string) {
	r.t.Helper()
	r.git("checkout", "-q", "-f", "--detach", "main")
	must(r.t, os.MkdirAll(filepath.Dir(filepath.Join(r.dir, file)), 0o700))
	must(r.t, os.WriteFile(filepath.Join(r.dir, file), []byte("# of somebody else\n"), 0o600))
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "on main")
	r.git("update-ref", "refs/heads/main", "HEAD")
}

// How it is merged is for the repository, else the operator, to say; a branch goes only if every project agrees.
func TestHowItIsMerged(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		ask    string
		want   vcs.Merging
	}{
		"as the operator says":   {"", "apply", vcs.Merging{Method: vcs.MergeSquash, DeleteBranch: true}},
		"as the command says":    {"", "apply --auto-merge-method merge", vcs.Merging{Method: vcs.MergeCommit, DeleteBranch: true}},
		"as the repository says": {"delete_source_branch_on_merge: false\n", "apply", vcs.Merging{Method: vcs.MergeSquash}},
		"as the project says":    {"delete_source_branch_on_merge: true\nprojects:\n- dir: network\n  delete_source_branch_on_merge: false\n", "apply", vcs.Merging{Method: vcs.MergeSquash}},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			if tt.config != "" {
				files["tidegate.yaml"] = "version: 3\n" + tt.config
			}
			e, f, _ := applied(t, files)
			e.Options.MergeMethod, e.Options.DeleteBranch = vcs.MergeSquash, true
			e.asks(t, f, tt.ask)
			if !slices.Equal(f.asked, []vcs.Merging{tt.want}) {
				t.Errorf("it was merged as %+v, want %+v", f.asked, tt.want)
			}
		})
	}
}

// A server that dies around the merge does not merge twice, answer twice, or forget it.
func TestAMergeIsBegunAgain(t *testing.T) {
	for _, at := range []string{AtIntent, AtPosted, AtAnswered, AtMerged, AtRunEnded} {
		t.Run(at, func(t *testing.T) {
			e, f, _ := applied(t, map[string]string{})
			died := false
			e.Hook = func(point string) {
				if point == at && !died {
					died = true
					panic("died here")
				}
			}
			said := e.asks(t, f, "apply")
			if !died || f.now.State != vcs.Merged || len(f.asked) > 2 || strings.Count(said, isMerged) != 1 || f.posts != 1 {
				t.Errorf("died: %v, state %s, asked %d times, %d comments:\n%s", died, f.now.State, len(f.asked), f.posts, said)
			}
		})
	}
}

// Nobody is there to see it any more when a server merges what was applied long ago.
func TestAMergeOfLongAgoIsNotMade(t *testing.T) {
	e, f, _ := applied(t, map[string]string{})
	died := false
	e.Hook = func(point string) {
		if point == AtAnswered && !died {
			died = true
			e.Options.RecoverMaxAge = time.Nanosecond
			panic("died here")
		}
	}
	if said := e.asks(t, f, "apply"); len(f.asked) != 0 || !strings.Contains(said, "Why: the server was away after it was applied") {
		t.Errorf("asked %d times; it says:\n%s", len(f.asked), said)
	}
}
