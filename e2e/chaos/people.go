package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
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
		a := &actor{world: w, name: fmt.Sprintf("a%d", i), dice: rand.New(rand.NewPCG(o.seed, uint64(i+1)))} //nolint:gosec // to be repeated
		c.wg.Go(func() {
			for here.Err() == nil {
				if err := a.work(ctx, here); err != nil && ctx.Err() == nil {
					w.violated("a person could not work: %v", err)
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
	if err := a.push(branch, a.files(branch, in)); err != nil {
		return err
	}
	var pr struct {
		Number int `json:"number"`
	}
	err := a.api(ctx, http.MethodPost, "/pulls", map[string]string{"title": branch, "head": branch, "base": "main"}, &pr)
	if err != nil {
		return err
	}
	a.said.Lock()
	a.pulls = append(a.pulls, pr.Number)
	a.said.Unlock()
	if a.dice.IntN(5) == 0 {
		if err := a.push(branch, map[string]string{fmt.Sprintf("p%d/more_%s.tf", in[0], strings.ReplaceAll(branch, "-", "_")): "locals {}\n"}); err != nil {
			return err
		}
	}
	a.awaitPlan(ctx, here, pr.Number)
	for try := 0; try < 3 && here.Err() == nil; try++ {
		if a.dice.IntN(6) == 0 {
			if _, err := a.command(ctx, pr.Number, []string{"unlock", "help", "plan"}[a.dice.IntN(3)]); err != nil {
				return err
			}
		}
		text, err := a.command(ctx, pr.Number, "apply")
		if err != nil {
			return err
		}
		if len(in) == 1 {
			a.compare(pr.Number, branch, in[0], text)
		}
		if strings.Contains(headline(text), "applied") && !strings.Contains(headline(text), "partly") {
			break
		}
		if _, err := a.command(ctx, pr.Number, "plan"); err != nil {
			return err
		}
	}
	if a.dice.IntN(10) < 7 && a.api(ctx, http.MethodPut, fmt.Sprintf("/pulls/%d/merge", pr.Number), map[string]string{}, nil) == nil {
		return nil
	}
	return a.api(ctx, http.MethodPatch, fmt.Sprintf("/pulls/%d", pr.Number), map[string]string{"state": "closed"}, nil)
}

// files are a resource in each project. When it is made it writes into the ledger which run made it:
// its temporary directory is named after that.
func (a *actor) files(branch string, in []int) map[string]string {
	files := map[string]string{}
	long := ""
	if a.dice.IntN(2) == 0 {
		long = "sleep 1; "
	}
	for _, p := range in {
		res := fmt.Sprintf("%s_p%d", strings.ReplaceAll(branch, "-", "_"), p)
		ledger := filepath.Join(a.dir, "state", "ledger")
		files[fmt.Sprintf("p%d/%s.tf", p, res)] = fmt.Sprintf("resource \"terraform_data\" %q {\n  provisioner \"local-exec\" {\n"+
			"    command = \"echo begin %s $TMPDIR >> '%s'; %secho end %s $TMPDIR >> '%s'\"\n  }\n}\n", res, res, ledger, long, res, ledger)
	}
	return files
}

// awaitPlan waits until there is some answer, for as long as work goes on.
func (a *actor) awaitPlan(ctx, here context.Context, pull int) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
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
func (a *actor) command(ctx context.Context, pull int, text string) (string, error) {
	var c comment
	if err := a.api(ctx, http.MethodPost, fmt.Sprintf("/issues/%d/comments", pull), map[string]string{"body": text}, &c); err != nil {
		return "", err
	}
	a.said.Lock()
	a.asked = append(a.asked, asked{pull, c.ID, text})
	a.said.Unlock()
	var got string
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a.until(wait, func() bool {
		list, err := a.comments(ctx, pull)
		for _, b := range list {
			if err == nil && b.answers(c.ID) {
				got = b.Body
			}
		}
		return got != ""
	})
	if got == "" {
		a.violated("%q on #%d (comment %d) has no answer after %s", text, pull, c.ID, patience)
	}
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

type comment struct {
	ID   int64  `json:"id"`
	Body string `json:"body"`
	User struct {
		Login string `json:"login"`
	} `json:"user"`
}

func (c comment) final() bool {
	return c.User.Login == bot && strings.Contains(c.Body, " part=1/1 ")
}

func (c comment) answers(id int64) bool {
	return c.final() && strings.Contains(c.Body, fmt.Sprintf(" source=comment:%d ", id))
}

var runOf = regexp.MustCompile(` run=([0-9A-Z]{26}) `)

func (c comment) run() string {
	if m := runOf.FindStringSubmatch(c.Body); m != nil {
		return m[1]
	}
	return ""
}

func headline(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func (w *world) comments(ctx context.Context, pull int) ([]comment, error) {
	var list []comment
	err := w.api(ctx, http.MethodGet, fmt.Sprintf("/issues/%d/comments?per_page=100", pull), nil, &list)
	return list, err
}
