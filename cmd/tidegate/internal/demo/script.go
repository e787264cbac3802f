package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// openPulls opens the two pull requests and waits for their answers.
func (d *demo) openPulls(ctx context.Context) error {
	clone := filepath.Join(d.dir, "clone")
	if err := d.git(ctx, clone, "checkout", "-q", "-b", "bigger-gateway", "main"); err != nil {
		return err
	}
	if err := d.push(ctx, "bigger-gateway", "seed/one", "a bigger gateway, and a name for the API"); err != nil {
		return err
	}
	if err := d.git(ctx, clone, "checkout", "-q", "-b", "peering", "main"); err != nil {
		return err
	}
	if err := d.push(ctx, "peering", "seed/two", "peer with the other network"); err != nil {
		return err
	}
	d.step("opening pull request #1: it changes `network` and `dns`")
	if err := d.forge.open(ctx, 1, "A bigger gateway, and a name for the API", "bigger-gateway"); err != nil {
		return err
	}
	first, err := d.answer(ctx, 1)
	if err != nil {
		return err
	}
	d.step("the first plan stands on #1: %s", headline(first))
	d.say("time from the start to the first plan comment: %.1f s", time.Since(d.began).Seconds())
	d.step("opening pull request #2: it wants `network`, too")
	if err := d.forge.open(ctx, 2, "Peer with the other network", "peering"); err != nil {
		return err
	}
	second, err := d.answer(ctx, 2)
	if err != nil {
		return err
	}
	d.step("answer on #2: %s", headline(second))
	if d.Script {
		d.show(1, first)
		d.show(2, second)
		return errors.Join(
			expect(first, "Plan for 2 projects: 2 ready", d.nonce),
			expect(second, "waiting for", "#1"),
		)
	}
	return nil
}

// play does what a person would do, and checks what comes of it against the state and the comments.
func (d *demo) play(ctx context.Context) error {
	d.step("%s comments `apply` on #1", writer)
	if err := d.forge.comment(ctx, 1, "apply"); err != nil {
		return err
	}
	applied, err := d.answer(ctx, 1)
	if err != nil {
		return err
	}
	d.show(1, applied)
	if err := expect(applied, "Apply for 2 projects: 2 applied"); err != nil {
		return err
	}
	state, err := os.ReadFile(filepath.Join(d.dir, "state", "network.tfstate"))
	if err != nil {
		return fmt.Errorf("the apply left no state: %w", err)
	}
	if !strings.Contains(string(state), "large-"+d.nonce) {
		return errors.New("the state does not hold what was pushed")
	}
	d.step("the state holds large-%s, which was pushed", d.nonce)
	d.step("merging #1")
	if err := d.forge.merge(ctx, 1); err != nil {
		return err
	}
	planned, err := d.answer(ctx, 2)
	if err != nil {
		return err
	}
	d.step("#2 is planned by itself: %s", headline(planned))
	d.show(2, planned)
	if err := expect(planned, "Plan for `network`: 1 add"); err != nil {
		return err
	}
	d.step("%s comments `unlock` on #2", writer)
	if err := d.forge.comment(ctx, 2, "unlock"); err != nil {
		return err
	}
	unlocked, err := d.answer(ctx, 2)
	if err != nil {
		return err
	}
	d.show(2, unlocked)
	d.step("everything went as it should")
	return nil
}

// answer waits for Tidegate's next comment on a pull request.
func (d *demo) answer(ctx context.Context, pull int) (string, error) {
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		text, ok, err := d.forge.next(ctx, pull)
		if err != nil || ok {
			return text, err
		}
		select {
		case err := <-d.server.done:
			d.server.done <- err
			return "", fmt.Errorf("the server ended: %w", err)
		case <-ctx.Done():
			return "", fmt.Errorf("no answer on #%d within %s", pull, patience)
		case <-tick.C:
		}
	}
}

func expect(text string, want ...string) error {
	for _, w := range want {
		if !strings.Contains(text, w) {
			return fmt.Errorf("%q is not in the comment that begins with %q", w, headline(text))
		}
	}
	return nil
}

func headline(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return words(strings.TrimLeft(line, "# "))
}

func (d *demo) show(pull int, text string) {
	d.say("\n--- comment on #%d %s", pull, strings.Repeat("-", 60))
	d.say("%s", readable(text, colourful(d.Out, os.LookupEnv)))
	d.say("%s\n", strings.Repeat("-", 78))
}

// invite tells a person where to go on.
func (d *demo) invite() {
	d.say("")
	d.say("Pull request #1   %s", d.forge.page(1))
	d.say("Pull request #2   %s", d.forge.page(2))
	d.say("Tidegate          %s", d.server.page())
	d.say("")
	d.say("Comment `apply` on #1, then merge it: #2 is planned by itself.")
	d.say("On the pages you act as %s, who may write, or as %s, who may only read.", writer, reader)
	d.say("")
	d.say("Your own change (user %s, password %s):", writer, d.password)
	d.say("  git clone %s", d.forge.cloneURL(writer))
	if !d.private() {
		d.say("")
		d.say("Other machines reach these pages, too, at this machine's address: whoever does can comment, merge and apply.")
	}
	d.say("")
	d.say("Ctrl-C ends the demo and removes everything.")
}
