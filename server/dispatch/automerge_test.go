package dispatch

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// mergingForge merges what it is asked to, unless answer says otherwise.
type mergingForge struct {
	*small
	now    *vcs.Pull
	can    vcs.Mergeable
	answer func(try int) error
	// asking is called when it is asked whether it would merge.
	asking func()
	// status is what it says to one; nil takes it.
	status     error
	wrote      []string
	unapproved bool
	asked      []vcs.Merging
	heads      []string
}

func (f *mergingForge) Pull(context.Context, vcs.Repo, int) (vcs.Pull, error) { return *f.now, nil }
func (f *mergingForge) MergeMethods() []vcs.MergeMethod {
	return []vcs.MergeMethod{vcs.MergeCommit, vcs.MergeSquash}
}

func (f *mergingForge) SetStatus(_ context.Context, _ vcs.Repo, _ string, s vcs.Status) error {
	f.wrote = append(f.wrote, s.Context+" "+string(s.State))
	return f.status
}

func (f *mergingForge) Approval(context.Context, vcs.Pull) (vcs.Approval, error) {
	return vcs.Approval{Approved: !f.unapproved}, nil
}

func (f *mergingForge) Mergeable(_ context.Context, _ vcs.Pull, ours func(string) bool) (vcs.Mergeable, error) {
	if f.asking != nil {
		f.asking()
	}
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
	e.pace.status, e.pace.merge = time.Second, time.Minute
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
		"moved, and merged so by somebody": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.answer = func(int) error {
				f.now.State, f.now.Head.SHA = vcs.Merged, strings.Repeat("c", 40)
				return &vcs.NotMergedError{Reason: "x", Moved: true}
			}
		}, merges: 1, want: isMerged, without: notMerged},
		"merged by somebody before the last look": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.answer = func(try int) error {
				if try == triesBlocked-1 {
					f.asking = func() {
						f.now.State, f.can = vcs.Merged, vcs.Mergeable{State: vcs.MergeBlocked, Why: []string{"it is merged already"}}
					}
				}
				if f.now.State == vcs.Merged {
					return nil
				}
				return again
			}
		}, merges: triesBlocked, want: isMerged, without: notMerged},
		"closed while it is merged": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.answer = func(int) error { f.now.State = vcs.Closed; return &vcs.NotMergedError{Reason: "it is closed"} }
		}, merges: 1, want: isMerged, without: notMerged},
		"statuses refused":     {change: func(_ *Engine, f *mergingForge, _ remote) { f.status = vcs.ErrRefused }, want: "Why: the forge did not take the status `tidegate/plan`."},
		"a draft":              {change: func(_ *Engine, f *mergingForge, _ remote) { f.now.Draft = true }, want: "Why: it is a draft."},
		"base moved elsewhere": {change: func(_ *Engine, _ *mergingForge, r remote) { r.onMain("README.md") }, merges: 1, want: isMerged, without: notMerged},
		"base moved under it":  {change: func(_ *Engine, _ *mergingForge, r remote) { r.onMain("network/more.tf") }, want: "This is not merged by itself: `main` has moved on in what `network` is made from", without: isMerged},
		"pushed and not planned": {change: func(_ *Engine, f *mergingForge, r remote) {
			*f.now = r.head(1, map[string]string{"network/main.tf": "# a change\n", "network/more.tf": "# and one more\n"})
		}, want: "This is not merged by itself: commits that change what `network` is made from were pushed after it was planned; plan it again", without: isMerged},
		"a method, and no merging": {ask: "apply --auto-merge-method squash", change: func(e *Engine, _ *mergingForge, _ remote) { e.Options.Automerge = false }, want: "not merged by itself: neither `--automerge` nor", without: isMerged},
		"not autoplanned": {files: map[string]string{
			"dns/main.tf": "# a change\n", "tidegate.yaml": "version: 3\nprojects:\n- dir: network\n- dir: dns\n  autoplan: {enabled: false}\n",
		}, want: "This is not merged by itself: `dns` is not planned and applied", without: isMerged},
		"another project": {files: map[string]string{"dns/main.tf": "# a change\n"}, want: "This is not merged by itself: `dns` is not planned and applied", without: isMerged},
		"pushed before its webhook": {change: func(_ *Engine, f *mergingForge, r remote) {
			*f.now = r.head(1, map[string]string{"network/main.tf": "# a change\n", "dns/main.tf": "# nobody has planned this\n"})
		}, want: "`dns` is not planned and applied", without: isMerged},
		"many reasons": {change: func(_ *Engine, f *mergingForge, _ remote) {
			f.can = vcs.Mergeable{State: vcs.MergeBlocked, Why: slices.Repeat([]string{"`" + strings.Repeat("ü", 150) + "` is missing"}, 400)}
		}, want: "` …."},
		"applied before, and not changed any more": {change: func(e *Engine, f *mergingForge, _ remote) {
			dns := locking.Request{Pull: lockPull(f.now.ID())}
			for _, dir := range []string{"zone", "mail", "dns", "web", "store"} { // the first of them is told
				dns.Keys = append(dns.Keys, lockKey(f.now.Repo.ID, runner.Project{Dir: dir, Workspace: "default"}))
			}
			if _, err := e.Locks.Acquire(context.Background(), dns); err != nil {
				panic(err)
			}
		}, want: "This is not merged by itself: `dns` is still locked by this pull request, and is not what it changes any more; plan it by its name, or comment `unlock`", without: isMerged},
		"lock released": {change: func(e *Engine, f *mergingForge, _ remote) {
			held, err := e.Locks.Held(context.Background(), lockPull(f.now.ID()))
			if err == nil {
				err = e.Release(context.Background(), held[0].Key.ID(), "ops")
			}
			if err != nil {
				panic(err)
			}
		}, want: "the lock on `network` was released", without: isMerged},
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

// What happens between the answer and the merge counts.
func TestAMergeLooksAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		at      string
		change  func(*Engine, *mergingForge, remote)
		want    string // "" is that it is merged, or that nothing is to be told
		merged  bool
		without string
	}{
		"nothing": {AtAnswered, func(*Engine, *mergingForge, remote) {}, "", true, notMerged},
		"pushed": {AtAnswered, func(_ *Engine, f *mergingForge, r remote) {
			*f.now = r.head(1, map[string]string{"network/main.tf": "# other\n"})
		}, "Why: commits were pushed", false, ""},
		"closed": {AtAnswered, func(_ *Engine, f *mergingForge, _ remote) { f.now.State = vcs.Closed }, "", false, notMerged},
		"retargeted": {AtAnswered, func(_ *Engine, f *mergingForge, r remote) {
			r.git("branch", "release", "main")
			f.now.Base.Ref = "release"
		}, "Why: it goes into `release` now, and was applied for `main`", false, ""},
		"base moved":   {AtAnswered, func(_ *Engine, _ *mergingForge, r remote) { r.onMain("network/more.tf") }, "Why: `main` has moved on", false, ""},
		"conflict":     {AtAnswered, func(_ *Engine, _ *mergingForge, r remote) { r.onMain("network/main.tf") }, "Why: merge conflict", false, ""},
		"bad settings": {AtAnswered, func(_ *Engine, _ *mergingForge, r remote) { r.onMain("tidegate.yaml") }, "Why: tidegate.yaml has", false, ""},
		"by somebody": {AtAnswered, func(e *Engine, f *mergingForge, _ remote) {
			f.now.State = vcs.Merged
			e.Options.RecoverMaxAge = time.Nanosecond
		}, "", true, notMerged},
		"switched off": {AtAnswered, func(e *Engine, _ *mergingForge, _ remote) { e.Options.Automerge = false }, "Why: merging by itself was switched off", false, ""},
		"switched off on the base": {AtAnswered, func(_ *Engine, _ *mergingForge, r remote) {
			r.onMain("README.md", "# words\n")
			r.onMain("tidegate.yaml", "version: 3\nautomerge: false\n")
		}, "Why: merging by itself was switched off", false, ""},
		"not served any more": {AtAnswered, func(e *Engine, _ *mergingForge, _ remote) {
			e.Options.Allowed = func(vcs.Repo) bool { return false }
		}, "", false, notMerged},
		"long ago": {AtAnswered, func(e *Engine, _ *mergingForge, _ remote) { e.Options.RecoverMaxAge = time.Nanosecond }, "Why: the server was away", false, ""},
		"restored": {AtAnswered, func(e *Engine, _ *mergingForge, _ remote) {
			e.restored = journal.Restoration{Taken: time.Now(), At: time.Now().Add(time.Minute)}
		}, "Why: the server was restored from a backup", false, ""},
		"not seen": {AtIntent, func(_ *Engine, f *mergingForge, _ remote) {
			f.script = []func(*scripted, string) (vcs.Comment, error){func(*scripted, string) (vcs.Comment, error) { return vcs.Comment{}, vcs.ErrRefused }, takes}
		}, "Why: the forge did not take the comment", false, ""},
		"unlocked": {AtAnswered, func(e *Engine, f *mergingForge, _ remote) {
			plans, err := e.plans(context.Background(), f.now.ID())
			if err == nil {
				err = e.Journal.SetPlanState(context.Background(), plans[0].ID, journal.PlanDiscarded, "ana", "unlocked")
			}
			if err != nil {
				panic(err)
			}
		}, "Why: `network` is not ", false, ""},
	} {
		for _, dies := range []bool{false, true} { // the same counts for a server that comes after one that died there
			if name == "restored" && !dies {
				continue // a journal is restored for the next start alone
			}
			t.Run(name+map[bool]string{true: ", died"}[dies], func(t *testing.T) {
				e, f, r := applied(t, map[string]string{})
				done := false
				e.Hook = func(point string) {
					if point == tt.at && !done {
						done = true
						tt.change(e, f, r)
						if dies {
							panic("died here")
						}
					}
				}
				said := e.asks(t, f, "apply")
				if !strings.Contains(said, tt.want) || tt.without != "" && strings.Contains(said, tt.without) || (f.now.State == vcs.Merged) != tt.merged {
					t.Errorf("it is %s, and it says:\n%s\nwant %q and not %q", f.now.State, said, tt.want, tt.without)
				}
				if n := queued(t, e); n != 0 {
					t.Errorf("%d events are left", n)
				}
			})
		}
	}
}

// onMain makes a commit on the base branch.
func (r remote) onMain(file string, text ...string) {
	r.t.Helper()
	r.git("checkout", "-q", "-f", "--detach", "main")
	must(r.t, os.MkdirAll(filepath.Dir(filepath.Join(r.dir, file)), 0o700))
	must(r.t, os.WriteFile(filepath.Join(r.dir, file), []byte(cmp.Or(strings.Join(text, ""), "# of somebody else\n")), 0o600))
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
		"as the operator says":        {"", "apply", vcs.Merging{Method: vcs.MergeSquash, DeleteBranch: true}},
		"as the command says":         {"", "apply --auto-merge-method merge", vcs.Merging{Method: vcs.MergeCommit, DeleteBranch: true}},
		"as the repository says":      {"delete_source_branch_on_merge: false\n", "apply", vcs.Merging{Method: vcs.MergeSquash}},
		"not what the operator keeps": {"delete_source_branch_on_merge: true\n", "keeps", vcs.Merging{Method: vcs.MergeSquash}},
		"as the project says":         {"delete_source_branch_on_merge: true\nprojects:\n- dir: network\n  delete_source_branch_on_merge: false\n", "apply", vcs.Merging{Method: vcs.MergeSquash}},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			if tt.config != "" {
				files["tidegate.yaml"] = "version: 3\n" + tt.config
			}
			e, f, _ := applied(t, files)
			e.Options.MergeMethod, e.Options.DeleteBranch = vcs.MergeSquash, tt.ask != "keeps"
			e.asks(t, f, strings.Replace(tt.ask, "keeps", "apply", 1))
			if !slices.Equal(f.asked, []vcs.Merging{tt.want}) {
				t.Errorf("it was merged as %+v, want %+v", f.asked, tt.want)
			}
		})
	}
}

// A server that dies around the merge does not merge twice, answer twice, or forget it.
func TestAMergeIsBegunAgain(t *testing.T) {
	for _, at := range []string{AtIntent, AtPosted, AtAnswered, AtMerging, AtMerged, AtRunEnded} {
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

// Who was told that it is not merged does not see it merged by that same apply, after a restart say.
func TestWhatIsToldEndsAMerge(t *testing.T) {
	e, f, _ := applied(t, map[string]string{})
	f.can = vcs.Mergeable{State: vcs.MergeBlocked, Why: []string{"`ci/lint` is missing"}}
	e.asks(t, f, "apply")
	runs, err := e.Journal.Runs(t.Context(), journal.Filter{Limit: 1})
	must(t, err)
	r, _, err := e.Journal.Report(t.Context(), runs[0].ID)
	must(t, err)
	r.Merging.Ended = "" // it died between the two records
	f.can = vcs.Mergeable{}
	must(t, e.mergeUp(t.Context(), scene{forge: f, pull: *f.now, repo: workdir.Repo{Forge: "f", ID: 1, URL: f.now.Repo.CloneURL}, run: runs[0], stop: t.Context()}, r))
	e.work.Wait()
	if r, _, err = e.Journal.Report(t.Context(), r.ID); err != nil || len(f.asked) != 0 || f.posts != 2 || r.Merging.Ended == "" {
		t.Errorf("asked %d times, it ended as %q, %v, and it says:\n%s", len(f.asked), r.Merging.Ended, err, bodies(f.scripted))
	}
}

// It is merged, the answer was lost, and its branch moves on: nobody is told that it is not.
func TestAMergedBranchMovesOn(t *testing.T) {
	e, f, _ := applied(t, map[string]string{})
	f.answer = func(int) error {
		f.now.State, f.now.Head.SHA = vcs.Merged, strings.Repeat("c", 40)
		return vcs.ErrInDoubt
	}
	if said := e.asks(t, f, "apply"); strings.Contains(said, notMerged) || len(f.asked) != 1 {
		t.Errorf("asked %d times, and it says:\n%s", len(f.asked), said)
	}
}

// What takes back what a merge follows from ends its tries, and so does whoever waits behind it.
func TestAMergeIsTakenBack(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(*testing.T, *Engine, *mergingForge)
		want string
	}{
		"cancel": {func(t *testing.T, e *Engine, _ *mergingForge) {
			t.Helper()
			addComment(t, e, 1, 8, "cancel")
			for _, it := range e.items(t) {
				if it.ask.kind == askCancel {
					e.tell(t.Context(), t.Context(), it)
				}
			}
		}, "Why: it was cancelled by `ana`."},
		"unlock": {func(t *testing.T, e *Engine, _ *mergingForge) {
			t.Helper()
			addComment(t, e, 1, 8, "unlock")
			for _, it := range e.items(t) {
				if it.ask.kind == askUnlock {
					e.lanes.take(t.Context(), pr(1), it)
				}
			}
		}, "Why: `unlock` was asked for before the forge was ready."},
		"approval": {func(_ *testing.T, _ *Engine, f *mergingForge) { f.unapproved = true }, "Why: it needs an approving review."},
	} {
		for _, merges := range []int{0, 1} { // how often the forge was asked to merge before that
			t.Run(name+map[bool]string{true: " before it is tried"}[merges == 0], func(t *testing.T) {
				e, f, _ := applied(t, map[string]string{})
				e.Options.ApplyRequirements = []string{"approved"}
				did := false
				f.asking = func() {
					if len(f.asked) == merges && !did {
						did = true
						tt.do(t, e, f)
					}
				}
				f.answer = func(int) error { return &vcs.NotMergedError{Reason: "`main` has moved", Again: true} }
				addComment(t, e, 1, 7, "apply")
				e.lanes.take(t.Context(), pr(1), e.items(t)[0])
				e.work.Wait()
				if said := bodies(f.scripted); len(f.asked) != merges || !strings.Contains(said, tt.want) {
					t.Errorf("asked %d times, want %d, and it says:\n%s", len(f.asked), merges, said)
				}
			})
		}
	}
}

// Anybody may comment: an unlock of who may not unlock takes nothing back.
func TestAMergeIsNotTakenBackByWhoMayNot(t *testing.T) {
	e, f, _ := applied(t, map[string]string{})
	addComment(t, e, 1, 7, "apply")
	apply := e.items(t)[0]
	f.asking = func() {
		f.asking = nil
		f.may = func() (vcs.Permission, error) { return vcs.ReadPermission, nil }
		addComment(t, e, 1, 8, "unlock")
		e.lanes.take(t.Context(), pr(1), e.items(t)[1])
	}
	e.lanes.take(t.Context(), pr(1), apply)
	e.work.Wait()
	if said := bodies(f.scripted); len(f.asked) != 1 || f.now.State != vcs.Merged || strings.Contains(said, notMerged) {
		t.Errorf("asked %d times, it is %s, and it says:\n%s", len(f.asked), f.now.State, said)
	}
}

// Two are merged into one branch at once: the second is held against what the first has made of it.
func TestTwoMergesAtOnce(t *testing.T) {
	e, f, r := applied(t, map[string]string{})
	looked, merged := make(chan struct{}), make(chan struct{})
	f.asking = func() { close(looked) }
	other := e.dirs.lock("merge\n" + f.now.Repo.ID.String() + "\n" + f.now.Base.Ref)
	go func() {
		defer close(merged)
		<-looked // and is held up by the one that is merged now
		r.onMain("network/more.tf")
		other()
	}()
	said := e.asks(t, f, "apply")
	<-merged
	if len(f.asked) != 0 || !strings.Contains(said, "Why: `main` has moved on") {
		t.Errorf("asked %d times, and it says:\n%s", len(f.asked), said)
	}
}

// Who comes to no turn in time says so, and does not blame the forge; and a stop does not wait for a turn.
func TestAMergeWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := engine(t)
		defer func() { _ = e.Journal.Close() }()
		s := scene{pull: aPull(1)}
		first, why, err := e.mergeTurn(t.Context(), s)
		if why != "" || err != nil {
			t.Fatal(why, err)
		}
		limited, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, why, err := e.mergeTurn(limited, s); why != "others were being merged into `main` all the time" || err != nil {
			t.Errorf("the second one waited in vain: %q, %v", why, err)
		}
		go func() {
			_ = sleep(t.Context(), time.Minute)
			first()
		}()
		second, why, err := e.mergeTurn(t.Context(), s)
		if why != "" || err != nil {
			t.Fatal(why, err)
		}
		defer second()
		go func() {
			_ = sleep(t.Context(), time.Minute)
			e.shut()
		}()
		if _, why, err := e.mergeTurn(t.Context(), s); why != "" || !errors.Is(err, errStopping) {
			t.Errorf("the third one waited past a stop: %q, %v", why, err)
		}
	})
}

// A server that stops does not wait until a forge is there again: the next start goes on.
func TestAStopEndsATriedMerge(t *testing.T) {
	e, f, _ := applied(t, map[string]string{})
	f.answer = func(try int) error {
		if try == 1 {
			e.shut()
		}
		return errors.New("502")
	}
	if said := e.asks(t, f, "apply"); len(f.asked) != 1 || strings.Contains(said, notMerged) || queued(t, e) != 1 {
		t.Errorf("asked %d times, %d events are left:\n%s", len(f.asked), queued(t, e), said)
	}
}

// A forge that is away keeps the lane for minutes, not for as often as it may be tried.
func TestAMergeHasItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := engine(t)
		defer func() { _ = e.Journal.Close() }()
		p := aPull(1)
		f := slowForge{&mergingForge{small: newSmall(), now: &p}}
		s := scene{forge: f, pull: p, run: journal.Run{ID: e.Journal.NewRunID(), Head: "a1"}, stop: t.Context()}
		began := time.Now()
		why, err := e.merging(t.Context(), s, journal.Report{Comment: 1, Intended: time.Now(), Merging: &journal.Merging{Head: "a1"}})
		if took := time.Since(began); took > 3*time.Minute || why != "the forge does not answer as it should" || err != nil {
			t.Errorf("merging() took %s: %q, %v", took, why, err)
		}
	})
}

// Whether an unlock may end a merge is not asked for ever of a forge that does not tell.
func TestAnUnlockThatNobodyKnowsOfEndsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := engine(t)
		defer func() { _ = e.Journal.Close() }()
		e.lanes.byPull[pr(1)] = &lane{queue: []item{{ask: ask{kind: askUnlock}}}}
		e.lanes.may = func(ctx context.Context, _ item) bool { return sleep(ctx, time.Hour) == nil }
		began := time.Now()
		if why, err := e.mergeEnded(t.Context(), scene{pull: aPull(1)}); why != "" || err != nil || time.Since(began) > time.Minute {
			t.Errorf("mergeEnded() took %s: %q, %v", time.Since(began), why, err)
		}
	})
}

// slowForge tries for long before it says that it can't be reached, as a client does.
type slowForge struct{ *mergingForge }

func (f slowForge) Pull(ctx context.Context, _ vcs.Repo, _ int) (vcs.Pull, error) {
	return vcs.Pull{}, errors.Join(sleep(ctx, 5*time.Minute), errors.New("502"))
}

// The base moves on while the forge is asked, which is when it takes long.
func TestTheBaseIsLookedAtLast(t *testing.T) {
	e, f, r := applied(t, map[string]string{})
	moved := false
	f.asking = func() {
		if !moved {
			moved = true
			r.onMain("network/more.tf")
		}
	}
	if said := e.asks(t, f, "apply"); len(f.asked) != 0 || !strings.Contains(said, "Why: `main` has moved on") {
		t.Errorf("asked %d times, and it says:\n%s", len(f.asked), said)
	}
}

// A plan whose status the forge did not take is not pending on what is merged.
func TestAMergeWritesBothStatuses(t *testing.T) {
	e, f, _ := applied(t, map[string]string{})
	e.asks(t, f, "apply")
	if want := []string{"tidegate/plan success", "tidegate/apply success"}; !slices.Equal(f.wrote, want) {
		t.Errorf("%q were written, want %q", f.wrote, want)
	}
}

func TestOurStatuses(t *testing.T) {
	t.Parallel()
	e := engine(t)
	e.Options.Name = "atlantis"
	for context, ours := range map[string]bool{"atlantis/plan": true, "atlantis/apply": true, "atlantis/policy_check": false, "atlantis": false, "tidegate/plan": false} {
		if e.ourStatus(context) != ours {
			t.Errorf("ourStatus(%q) = %v", context, !ours)
		}
	}
}

// What is asked for is answered also where it can't be looked whether it is to be merged.
func TestAnAnswerNeedsNoMerge(t *testing.T) {
	e, f, _ := applied(t, map[string]string{})
	f.now.Repo.CloneURL += "/away"
	if said := e.asks(t, f, "apply"); !strings.Contains(said, "nothing left to apply") || !strings.Contains(said, "could not be looked at") || strings.Contains(said, "nternal error") {
		t.Errorf("it says:\n%s", said)
	}
}

// appliedNow is a run of one apply that has just succeeded, of a head that may be another one than was planned.
func appliedNow(t *testing.T, between func(*Engine, *mergingForge, remote)) (*Engine, *mergingForge, scene, []journal.Job) {
	t.Helper()
	e, small, r := onRepo(t)
	p := r.head(1, map[string]string{"network/main.tf": "# a change\n"})
	f := &mergingForge{small: small, now: &p}
	e.Forges["f"] = f
	e.Options.Automerge, e.pace.merge = true, time.Minute
	e.ready(t, p)
	between(e, f, r)
	addComment(t, e, 1, 7, "apply")
	s, err := e.look(t.Context(), t.Context(), e.items(t)[0])
	must(t, err)
	v, err := e.decide(t.Context(), s)
	must(t, err)
	s, err = e.begin(t.Context(), s, v)
	must(t, err)
	jobs, err := e.Journal.Jobs(t.Context(), s.run.ID)
	must(t, err)
	jobs[0].State, jobs[0].Result = journal.JobDone, &runner.Summary{End: runner.Succeeded}
	must(t, e.Journal.PutJob(t.Context(), jobs[0]))
	must(t, e.Journal.SetPlanState(t.Context(), jobs[0].PlanID, journal.PlanApplied, "ana", "applied"))
	return e, f, s, jobs
}

// An apply is followed by a merge only if all that the merge touches is applied.
func TestWhatAnApplyIsFollowedBy(t *testing.T) {
	for name, tt := range map[string]struct {
		between func(*Engine, *mergingForge, remote)
		after   func(*Engine, []journal.Job)
		want    string
		merged  bool
	}{
		"a merge": {between: func(*Engine, *mergingForge, remote) {}, want: isMerged, merged: true},
		"a project that was not planned": {between: func(_ *Engine, f *mergingForge, r remote) {
			*f.now = r.head(1, map[string]string{"network/main.tf": "# a change\n", "dns/main.tf": "# nobody has planned this\n"})
		}, want: "This is not merged by itself: `dns` is not planned and applied"},
		"a failure": {between: func(*Engine, *mergingForge, remote) {}, after: func(_ *Engine, jobs []journal.Job) { jobs[0].Result.End = runner.Failed }, want: "### Apply for `network`: failed"},
		"a tree that is gone": {between: func(*Engine, *mergingForge, remote) {}, after: func(e *Engine, _ []journal.Job) {
			if err := os.RemoveAll(filepath.Join(e.Options.Data, "mirrors")); err != nil {
				panic(err)
			}
		}, want: "This is not merged by itself: what would be merged could not be looked at; comment `apply`"},
	} {
		t.Run(name, func(t *testing.T) {
			e, f, s, jobs := appliedNow(t, tt.between)
			if tt.after != nil {
				tt.after(e, jobs)
			}
			must(t, e.report(t.Context(), s, jobs, nil))
			e.work.Wait()
			if said := bodies(f.scripted); !strings.Contains(said, tt.want) || (len(f.asked) == 1) != tt.merged {
				t.Errorf("asked %d times, and it says:\n%s\nwant %q", len(f.asked), said, tt.want)
			}
		})
	}
}

// A damaged record keeps nobody from being answered, and nothing is merged on what it does not say.
func TestDamageBesideAMerge(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"of the apply", "of an earlier plan"} {
		t.Run(of, func(t *testing.T) {
			d := fragile(t)
			d.pace.retry, d.pace.doubt = time.Millisecond, 0
			p := aPull(1)
			f := &mergingForge{small: newSmall(), now: &p}
			d.Forges = map[string]vcs.Forge{"f": f}
			plan := d.plannedRun(t, cmdPlan, "network")
			seq := addComment(t, d.Engine, 1, 1, "apply")
			r := journal.Run{ID: d.Journal.NewRunID(), Event: seq, Pull: pr(1), Command: cmdApply, Head: p.Head.SHA, State: journal.Running, Started: time.Now()}
			must(t, d.Journal.CreateRun(t.Context(), r, []journal.Job{{Run: r.ID, N: 1, State: journal.JobDone}}))
			must(t, d.Journal.PutReport(t.Context(), journal.Report{
				ID: r.ID, Pull: pr(1), Run: r.ID, Kind: kindAnswer, Command: cmdApply, Body: "applied", Intended: time.Now(), Posted: time.Now(), Comment: 5,
				Merging: &journal.Merging{Head: p.Head.SHA, Base: p.Base.Ref},
			}))
			d.spoil(t, "jobs", map[bool]string{true: r.ID, false: plan.ID}[of == "of the apply"]+"\x00\x00\x00\x01")
			d.tell(t.Context(), t.Context(), d.items(t)[0])
			d.work.Wait()
			if said := bodies(f.scripted); len(f.asked) != 0 || queued(t, d.Engine) != 0 || !strings.Contains(said, "Why: what is recorded of it is damaged") {
				t.Errorf("asked %d times, %d events are left, and it says:\n%s", len(f.asked), queued(t, d.Engine), said)
			}
		})
	}
}
