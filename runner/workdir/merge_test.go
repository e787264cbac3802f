package workdir

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMergeIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	one := open(t, func(s *source) { s.write(t, "a.tf", "a\n") }, func(s *source) { s.write(t, "b.tf", "b\n") })
	one.src.git(t, "checkout", "-q", "main")
	one.src.write(t, "c.tf", "c\n")
	base := one.src.commit(t)
	one.mergeAgain(t)

	if one.merge.Base != base || one.merge.Head != one.src.git(t, "rev-parse", "head") {
		t.Errorf("Merge() = %+v, want base %s and the head", one.merge, base)
	}
	if got := gitIn(t, one.mirrorDir(), "log", "-1", "--format=%P %s", one.merge.Commit); got !=
		one.merge.Base+" "+one.merge.Head+" Merge "+one.merge.Head+" into "+one.merge.Base {
		t.Errorf("merge commit = %q", got)
	}
	other := openStore(t, t.TempDir())
	again, err := other.Merge(t.Context(), one.src.repo(), request(7))
	if err != nil || again != one.merge {
		t.Errorf("Merge() in another store = %+v, %v, want %+v", again, err, one.merge)
	}
	tree, err := one.Tree(t.Context(), one.src.repo(), one.merge.Commit)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.tf", "b.tf", "c.tf"}, tree.Files()); diff != "" {
		t.Errorf("files of the merge (-want +got):\n%s", diff)
	}
}

func TestMergeFetchesNothingElse(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(s *source) { s.write(t, "b", "b") })
	o.src.branch(t, "secret", "main")
	o.src.write(t, "other", "other")
	other := o.src.commit(t)
	o.src.git(t, "tag", "-a", "-m", "x", "v1", "main")
	o.mergeAgain(t)

	m, err := o.mirror(t.Context(), o.src.repo())
	if err != nil {
		t.Fatal(err)
	}
	if there, err := m.has(t.Context(), other); there || err != nil {
		t.Errorf("a branch that nobody asked for is in the mirror: %v, %v", there, err)
	}
	want := "refs/tidegate/pull/7/base\nrefs/tidegate/pull/7/head\nrefs/tidegate/pull/7/merge"
	if got := gitIn(t, o.mirrorDir(), "for-each-ref", "--format=%(refname)"); got != want {
		t.Errorf("refs = %q, want %q", got, want)
	}
	if exists(t, o.mirrorDir()+"/FETCH_HEAD") {
		t.Error("FETCH_HEAD was written: it holds the URL")
	}
}

func TestMergeFollowsTheBasesAttributes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		attributes string
		byHead     bool
		conflict   bool
	}{
		"root":          {attributes: ".gitattributes"},
		"nested":        {attributes: "deep/er/.gitattributes"},
		"only the head": {attributes: ".gitattributes", byHead: true, conflict: true},
		"none":          {conflict: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := newSource(t)
			src.write(t, "deep/er/list.txt", "one\n")
			if test.attributes != "" && !test.byHead {
				src.write(t, test.attributes, "list.txt merge=union\n")
			}
			src.commit(t)
			src.branch(t, "head", "main")
			src.write(t, "deep/er/list.txt", "one\nhead\n")
			if test.byHead {
				src.write(t, test.attributes, "list.txt merge=union\n")
			}
			src.commit(t)
			src.pull(t, 7)
			src.branch(t, "main", "main")
			src.write(t, "deep/er/list.txt", "one\nbase\n")
			src.commit(t)

			_, err := openStore(t, t.TempDir()).Merge(t.Context(), src.repo(), request(7))
			if _, ok := errors.AsType[*ConflictError](err); ok != test.conflict || !ok && err != nil {
				t.Errorf("Merge() = %v, want conflict %v", err, test.conflict)
			}
		})
	}
}

func TestMergeConflict(t *testing.T) {
	t.Parallel()
	src := newSource(t)
	names := []string{"z.tf", "a\nb.tf", "dir/é\x01.tf"}
	for _, name := range names {
		src.write(t, name, "one\n")
	}
	src.commit(t)
	src.branch(t, "head", "main")
	for _, name := range names {
		src.write(t, name, "head\n")
	}
	src.commit(t)
	src.pull(t, 7)
	src.branch(t, "main", "main")
	for _, name := range names {
		src.write(t, name, "base\n")
	}
	src.commit(t)

	_, err := openStore(t, t.TempDir()).Merge(t.Context(), src.repo(), request(7))
	conflict, ok := errors.AsType[*ConflictError](err)
	if !ok {
		t.Fatalf("Merge() = %v, want a ConflictError", err)
	}
	if diff := cmp.Diff([]string{"a\nb.tf", "dir/é\x01.tf", "z.tf"}, conflict.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if strings.ContainsAny(err.Error(), "\n\x01") {
		t.Errorf("the error text %q has control characters", err)
	}
}

func TestMergeRefuses(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(s *source) { s.write(t, "b", "b") })
	stranger := newSource(t)
	stranger.write(t, "a", "b")
	stranger.commit(t)
	o.src.git(t, "fetch", "-q", stranger.dir, "main:refs/pull/9/head")
	zero := strings.Repeat("0", 40)

	for name, test := range map[string]struct {
		change func(*MergeRequest)
		want   string
	}{
		"moved":        {func(r *MergeRequest) { r.HeadSHA = zero }, "merging refs/pull/7/head into refs/heads/main: the head is at " + o.merge.Head + ", not at " + zero},
		"base gone":    {func(r *MergeRequest) { r.BaseRef = "old/base" }, `the remote has no ref "refs/heads/old/base"`},
		"head gone":    {func(r *MergeRequest) { r.HeadRef = "refs/pull/8/head" }, `the remote has no ref "refs/pull/8/head"`},
		"unrelated":    {func(r *MergeRequest) { r.HeadRef = "refs/pull/9/head" }, ErrUnrelated.Error()},
		"no pull":      {func(r *MergeRequest) { r.Pull = 0 }, "0 is not a pull request's number"},
		"option":       {func(r *MergeRequest) { r.HeadRef = "--upload-pack=x" }, `"--upload-pack=x" is not a git ref name`},
		"refspec":      {func(r *MergeRequest) { r.BaseRef = "main:refs/heads/x" }, "is not a git ref name"},
		"wildcard":     {func(r *MergeRequest) { r.BaseRef = "*" }, "is not a git ref name"},
		"line break":   {func(r *MergeRequest) { r.BaseRef = "a\nb" }, "is not a git ref name"},
		"short commit": {func(r *MergeRequest) { r.HeadSHA = "abc" }, `"abc" is not a git object id`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(7)
			if name != "unrelated" {
				req.Pull = 70
			} else {
				req.Pull = 9
			}
			test.change(&req)
			_, err := o.Merge(t.Context(), o.src.repo(), req)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Merge(%+v) = %v, want %q in it", req, err, test.want)
			}
		})
	}
	_, err := o.Merge(t.Context(), o.src.repo(), MergeRequest{Pull: 7, BaseRef: "main", HeadRef: "refs/pull/7/head", HeadSHA: zero})
	if moved, ok := errors.AsType[*MovedError](err); !ok || moved.Want != zero || moved.Got != o.merge.Head {
		t.Errorf("Merge() of a moved head = %v", err)
	}
	_, err = o.Merge(t.Context(), o.src.repo(), MergeRequest{Pull: 7, BaseRef: "gone", HeadRef: "refs/pull/7/head"})
	if gone, ok := errors.AsType[*RefGoneError](err); !ok || gone.Ref != "refs/heads/gone" {
		t.Errorf("Merge() into a branch that is gone = %v", err)
	}
}

func TestMergeAfterForcePushes(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(s *source) { s.write(t, "b", "b") })
	// The branch "release" gives way to "release/1": one name cannot be a ref when the other is.
	o.src.git(t, "branch", "release", "main")
	req := request(7)
	req.BaseRef = "release"
	if _, err := o.Merge(t.Context(), o.src.repo(), req); err != nil {
		t.Fatal(err)
	}
	o.src.git(t, "branch", "-D", "release")
	o.src.git(t, "branch", "release/1", "main")
	o.src.branch(t, "head", "main")
	o.src.write(t, "c", "c")
	head := o.src.commit(t)
	o.src.pull(t, 7)
	req.BaseRef, req.HeadSHA = "release/1", head
	if merge, err := o.Merge(t.Context(), o.src.repo(), req); err != nil || merge.Head != head {
		t.Errorf("Merge() after a force push = %+v, %v, want head %s", merge, err, head)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) {
		s.write(t, "same", "same")
		s.write(t, "old name", strings.Repeat("long enough to be found as a rename\n", 20))
		s.write(t, "becomes a link", "x")
		s.write(t, "becomes/a/file", "x")
		s.write(t, "mode", "x")
	}, func(s *source) {
		s.git(t, "mv", "old name", "new\nname")
		s.remove(t, "becomes a link")
		s.link(t, "becomes a link", "same")
		s.remove(t, "becomes")
		s.write(t, "becomes", "x")
		s.git(t, "add", "-A")
		s.git(t, "update-index", "--chmod=+x", "mode")
		s.git(t, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",module")
		s.git(t, "commit", "-q", "-m", "what add -A would undo")
		s.git(t, "checkout", "-q", "-f", "head")
	})
	got, err := o.Changed(t.Context(), o.src.repo(), o.merge)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"becomes", "becomes a link", "becomes/a/file", "mode", "module", "new\nname", "old name"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Changed() (-want +got):\n%s", diff)
	}
}

func TestMergesOfManyPullRequestsAtOnce(t *testing.T) {
	t.Parallel()
	o := open(t, func(s *source) { s.write(t, "a", "a") }, func(s *source) { s.write(t, "b", "b") })
	for n := 10; n < 18; n++ {
		o.src.pull(t, n)
	}
	var wg sync.WaitGroup
	for n := 10; n < 20; n++ {
		wg.Go(func() {
			merge, err := o.Merge(t.Context(), o.src.repo(), request(n))
			if _, gone := errors.AsType[*RefGoneError](err); gone != (n >= 18) || !gone && err != nil {
				t.Errorf("Merge(%d) = %v", n, err)
			}
			if err == nil && merge != o.merge {
				t.Errorf("Merge(%d) = %+v, want %+v", n, merge, o.merge)
			}
		})
	}
	wg.Wait()
}
