package e2e

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/html"

	"github.com/tidegate/tidegate/server/command"
)

// rendered FILE TEXT: as GitHub shows FILE, TEXT is there inside of pre or code, and nowhere else.
func cmdRendered(ts *testscript.TestScript, _ *world, args []string) error {
	if err := need(args, 2, "rendered FILE TEXT"); err != nil {
		return err
	}
	cmd := exec.Command("cmark-gfm", "--unsafe", "-e", "table", "-e", "strikethrough", "-e", "autolink", "-e", "tagfilter")
	cmd.Stdin = strings.NewReader(ts.ReadFile(args[0]))
	page, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("rendering with cmark-gfm (Debian's package of that name; make test installs it): %w", err)
	}
	root, err := html.Parse(strings.NewReader(string(page)))
	if err != nil {
		return err
	}
	text := strings.Join(args[1:], " ")
	inside, outside := places(root, text, false)
	if inside == 0 || len(outside) > 0 {
		return fmt.Errorf("%q stands %d times in code, and outside of it in %q", text, inside, outside)
	}
	return nil
}

// places counts the texts in pre or code that hold text, and answers what else does.
func places(n *html.Node, text string, code bool) (inside int, outside []string) {
	switch {
	case n.Type == html.TextNode && code && strings.Contains(n.Data, text):
		inside++
	case n.Type != html.ElementNode && strings.Contains(n.Data, text):
		outside = append(outside, n.Data)
	}
	for _, a := range n.Attr {
		if strings.Contains(a.Key+a.Val, text) {
			outside = append(outside, n.Data+" "+a.Key+"="+a.Val)
		}
	}
	code = code || n.Type == html.ElementNode && (n.Data == "pre" || n.Data == "code")
	for c := range n.ChildNodes() {
		in, out := places(c, text, code)
		inside, outside = inside+in, append(outside, out...)
	}
	return inside, outside
}

// nocommands FILE: no line of FILE, taken by itself, is a command or a wrong one.
func cmdNoCommands(ts *testscript.TestScript, _ *world, args []string) error {
	if err := need(args, 1, "nocommands FILE"); err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if cmd, wrong := command.Parse(line, command.Words{Mention: bot}); cmd != nil || wrong != nil {
			errs = append(errs, fmt.Errorf("the line %q is for us", line))
		}
	}
	return errors.Join(errs...)
}
