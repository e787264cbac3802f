package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// crowd works on pull requests until it leaves, and ends what it has begun.
type crowd struct {
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func (c *crowd) leave() {
	c.stop()
	c.wg.Wait()
}

func (w *world) crowd(ctx context.Context, o options) *crowd {
	here, stop := context.WithCancel(ctx)
	c := &crowd{stop: stop}
	for i := range o.people {
		a := &actor{world: w, name: fmt.Sprintf("a%d", i), dice: rand.New(rand.NewPCG(o.seed, uint64(o.nth*1000+i+1)))} //nolint:gosec // to be repeated
		c.wg.Go(func() {
			for here.Err() == nil {
				if err := a.work(ctx, here); err != nil && ctx.Err() == nil {
					w.trouble("a person could not work: %v", err)
					return
				}
			}
		})
	}
	return c
}

type actor struct {
	*world
	name string
	dice *rand.Rand
	made int
}

// work is one pull request from its beginning to its end.
func (a *actor) work(ctx, here context.Context) error {
	a.made++
	branch := fmt.Sprintf("%s-%d", a.name, a.made)
	in := []int{a.dice.IntN(projects)}
	if a.dice.IntN(4) == 0 {
		in = append(in, (in[0]+1+a.dice.IntN(projects-1))%projects)
	}
	if err := a.push(ctx, branch, a.files(branch, in)); err != nil {
		return err
	}
	pull, err := a.open(ctx, branch)
	if err != nil {
		return err
	}
	if a.dice.IntN(5) == 0 {
		more := fmt.Sprintf("p%d/more_%s.tf", in[0], strings.ReplaceAll(branch, "-", "_"))
		if err := a.push(ctx, branch, map[string]string{more: "locals {}\n"}); err != nil {
			return err
		}
	}
	a.awaitPlan(ctx, here, pull)
	for try := 0; try < 3 && here.Err() == nil; try++ {
		if a.dice.IntN(8) == 0 {
			if _, err := a.command(ctx, pull, []string{"unlock", "help", "plan"}[a.dice.IntN(3)]); err != nil {
				return err
			}
		}
		wanted := a.wants(mergingPoint) || a.wants(mergedPoint)
		done, err := a.apply(ctx, pull, branch, how{
			cancel: !wanted && a.dice.IntN(10) == 0 || a.wants(cancelPoint), merge: wanted || a.dice.IntN(3) == 0, in: in,
		})
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	if here.Err() != nil {
		return nil // it stays open, with its locks
	}
	if a.dice.IntN(10) < 7 && a.api(ctx, http.MethodPut, fmt.Sprintf("/pulls/%d/merge", pull), map[string]string{}, nil) == nil {
		return nil
	}
	return a.close(ctx, pull)
}

func (w *world) close(ctx context.Context, pull int) error {
	return w.api(ctx, http.MethodPatch, fmt.Sprintf("/pulls/%d", pull), map[string]string{"state": "closed"}, nil)
}

// open opens a pull request of a branch.
func (w *world) open(ctx context.Context, branch string) (int, error) {
	var pr struct {
		Number int `json:"number"`
	}
	err := w.api(ctx, http.MethodPost, "/pulls", map[string]string{"title": branch, "head": branch, "base": "main"}, &pr)
	if err == nil {
		w.said.Lock()
		w.facts.pulls, w.facts.branches[pr.Number] = append(w.facts.pulls, pr.Number), branch
		w.said.Unlock()
	}
	return pr.Number, err
}

// later names what is pushed while its pull request is applied.
const later = "-later"

// how is what goes with an apply.
type how struct {
	cancel, merge bool
	in            []int
	peaceful      bool // nobody gets in its way
}

// apply asks for it, has it cancelled or not, and, where it did not come to its end, does what the answer tells
// and plans again. It reports whether all is applied, and merged where that was wanted.
func (a *actor) apply(ctx context.Context, pull int, branch string, how how) (bool, error) {
	text := "apply --auto-merge-disabled"
	if how.merge {
		text = "apply" + []string{"", "", " --auto-merge-method squash", " --auto-merge-method rebase"}[a.dice.IntN(4)]
	}
	asked, err := a.write(ctx, pull, text)
	if err != nil {
		return false, err
	}
	if how.merge && !how.peaceful && a.dice.IntN(8) == 0 { // what is applied is not what is there then
		pause(ctx, time.Duration(a.dice.IntN(3000))*time.Millisecond)
		if err := a.push(ctx, branch, a.files(branch+later, how.in[:1])); err != nil {
			if pr, _ := a.read(ctx, pull); pr.State != "merged" { // then its branch is being deleted
				return false, err
			}
		}
	}
	if how.cancel {
		pause(ctx, time.Duration(a.dice.IntN(3000))*time.Millisecond)
		if _, err := a.command(ctx, pull, "cancel"); err != nil {
			return false, err
		}
	}
	c, err := a.await(ctx, pull, asked)
	if err != nil {
		return false, err
	}
	a.hear(pull, branch, c)
	words := c.words()
	done := len(words) > 0
	for _, word := range words {
		done = done && strings.HasPrefix(word, "applied")
	}
	switch {
	case c.promisesMerge():
		return a.merged(ctx, pull, c.run(), how)
	case done && !how.merge:
		return true, nil
	}
	return false, a.planAgain(ctx, pull, c)
}

// merged waits until a pull request is merged that an answer tells of, or it is told why it is not. Some do not wait.
func (a *actor) merged(ctx context.Context, pull int, run string, how how) (bool, error) {
	if !how.peaceful && a.dice.IntN(8) == 0 {
		return true, nil // whoever asked merges or closes it meanwhile
	}
	wait, cancel := context.WithTimeout(ctx, a.patience)
	defer cancel()
	merged := false
	a.until(wait, func() bool {
		pr, err := a.read(ctx, pull)
		if merged = err == nil && pr.State == "merged"; merged {
			return true
		}
		list, err := a.comments(ctx, pull)
		return err == nil && slices.ContainsFunc(list, func(c comment) bool { return c.refuses() == run })
	})
	return merged, ctx.Err()
}

var remedy = regexp.MustCompile("`((?:force-unlock|state push) -d p[0-9]+)`")

// planAgain breaks the locks that the dead have left, as the answers tell, and plans.
func (w *world) planAgain(ctx context.Context, pull int, c comment) error {
	for range 2 {
		for _, m := range remedy.FindAllStringSubmatch(c.Body, -1) {
			if _, err := w.command(ctx, pull, m[1]); err != nil {
				return err
			}
		}
		var err error
		if c, err = w.command(ctx, pull, "plan"); err != nil {
			return err
		}
		if !remedy.MatchString(c.Body) {
			break
		}
	}
	return nil
}

// files are a resource in each project. When it is made it writes into the ledger which run made it:
// its temporary directory is named after that. It takes as long as somebody holds it, within bounds.
func (a *actor) files(branch string, in []int) map[string]string {
	files := map[string]string{}
	hold := filepath.Join(a.dir, "state", "hold")
	long := fmt.Sprintf("n=0; while [ -e '%s' ] && [ $n -lt 150 ]; do sleep 0.1; n=$((n+1)); done; ", hold)
	if a.dice.IntN(3) == 0 {
		long += "sleep 1; "
	}
	for _, p := range in {
		res := resource(branch, projectName(p))
		ledger := filepath.Join(a.dir, "state", "ledger")
		files[fmt.Sprintf("p%d/%s.tf", p, res)] = fmt.Sprintf("resource \"terraform_data\" %q {\n  provisioner \"local-exec\" {\n"+
			"    command = \"echo begin %s $TMPDIR >> '%s'; %secho end %s $TMPDIR >> '%s'\"\n  }\n}\n", res, res, ledger, long, res, ledger)
	}
	return files
}

// awaitPlan waits until there is some answer, for as long as work goes on.
func (a *actor) awaitPlan(ctx, here context.Context, pull int) {
	ctx, cancel := context.WithTimeout(ctx, a.patience/4)
	defer cancel()
	a.until(ctx, func() bool {
		list, err := a.comments(ctx, pull)
		if here.Err() != nil {
			return true
		}
		for _, c := range list {
			if err == nil && c.final() && !strings.Contains(headline(c.Body), "waiting") {
				return true
			}
		}
		return false
	})
}

// command comments, and waits for the answer.
func (w *world) command(ctx context.Context, pull int, text string) (comment, error) {
	id, err := w.write(ctx, pull, text)
	if err != nil {
		return comment{}, err
	}
	return w.await(ctx, pull, id)
}

// write comments.
func (w *world) write(ctx context.Context, pull int, text string) (int64, error) {
	var c comment
	if err := w.api(ctx, http.MethodPost, fmt.Sprintf("/issues/%d/comments", pull), map[string]string{"body": text}, &c); err != nil {
		return 0, err
	}
	w.said.Lock()
	defer w.said.Unlock()
	w.facts.asked = append(w.facts.asked, asked{pull, c.ID, text})
	return c.ID, nil
}

// await waits for the answer to a comment. It is the zero one when none comes for long; that is no violation
// yet: a server that is killed again and again looks each time anew for what it may have posted.
func (w *world) await(ctx context.Context, pull int, id int64) (got comment, err error) {
	wait, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()
	w.until(wait, func() bool {
		list, err := w.comments(ctx, pull)
		for _, b := range list {
			if err == nil && b.answers(id) {
				got = b
			}
		}
		return got.ID != 0
	})
	return got, ctx.Err()
}

// until asks again and again until it is so or ctx ends.
func (w *world) until(ctx context.Context, so func() bool) {
	t := time.NewTicker(5 * tick)
	defer t.Stop()
	for !so() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// leave waits until all is done that people have asked for, looks who holds what, and closes everything.
func (w *world) leave(ctx context.Context) error {
	if err := w.rest(ctx); err != nil {
		return err
	}
	for _, pull := range w.facts.pulls {
		if !w.facts.open(pull) {
			continue
		}
		if err := w.close(ctx, pull); err != nil {
			return err
		}
	}
	w.settle(ctx, func(f figures) bool { return f.Locks+f.Waiters == 0 })
	return nil
}

// rest waits until each command is answered, each pull request that is open is planned, and what is to be merged is merged, and
// keeps what stands on those, what became of them and who holds what, read when nothing moved. After long it keeps what there is.
func (w *world) rest(ctx context.Context) (err error) {
	f, end := &w.facts, time.Now().Add(w.patience)
	for {
		w.settle(ctx, func(figures) bool { return true })
		if f.stood, err = w.allComments(ctx); err != nil {
			return err
		}
		if f.held, err = w.locks(ctx); err != nil {
			return err
		}
		f.ended = map[int]string{}
		for _, pull := range f.pulls {
			pr, err := w.read(ctx, pull)
			if err != nil {
				return err
			}
			f.ended[pull] = pr.State
		}
		after, err := w.allComments(ctx)
		if err != nil {
			return err
		}
		still := slices.Equal(counts(f.stood, f.pulls), counts(after, f.pulls)) && len(f.owed()) == 0
		if still || time.Now().After(end) || ctx.Err() != nil {
			return ctx.Err()
		}
		pause(ctx, 10*tick)
	}
}

// counts are how many comments stand on each pull request.
func counts(on map[int][]comment, pulls []int) []int {
	var out []int
	for _, pull := range pulls {
		out = append(out, len(on[pull]))
	}
	return out
}

// goOn changes every project once more, with nobody killed any more: a person can always go on.
func (w *world) goOn(ctx context.Context) error {
	a := &actor{world: w, dice: rand.New(rand.NewPCG(0, 0))} //nolint:gosec // to be repeated
	all := make([]int, projects)
	for i := range all {
		all[i] = i
	}
	const branch = "calm"
	if err := a.push(ctx, branch, a.files(branch, all)); err != nil {
		return err
	}
	pull, err := w.open(ctx, branch)
	if err != nil {
		return err
	}
	a.awaitPlan(ctx, ctx, pull)
	for range 3 {
		done, err := a.apply(ctx, pull, branch, how{merge: true, in: all, peaceful: true})
		if err != nil || done {
			return errors.Join(err, w.close(ctx, pull))
		}
	}
	w.trouble("in the end not everything could be applied and merged on #%d", pull)
	return w.close(ctx, pull)
}
