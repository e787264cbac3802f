package templates_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/tidegate/tidegate/templates"
)

const taint = "TAINT"

// nasty are wrappings with which a hostile string may try to leave its place.
func nasty() []string {
	return []string{
		taint, "`" + taint + "`", "```\n" + taint + "\n```", "``" + taint, taint + "\n\n# " + taint, "</summary></details>" + taint,
		"</code>" + taint, "</pre>" + taint, "<script>" + taint + "</script>", "| " + taint + " |", "\n| " + taint + " | x |\n", "--> " + taint + " <!--", "<!-- tidegate:1 " + taint + " -->",
		"@" + taint, "#12 " + taint, "[" + taint + "](https://evil.example)", "](javascript:" + taint + ")", "\x1b[31m" + taint + "\x1b[0m",
		"\u202e" + taint, "~~~\n" + taint, "&lt;" + taint, "\\" + taint, "$" + taint + "$", "\r\n" + taint, "\x00" + taint, "\xff" + taint,
		strings.Repeat("`", 40) + taint, "    " + taint, "<img src=x onerror=" + taint + ">", "\n" + taint + "\n===", "|" + taint + "\\|", "`|" + taint,
	}
}

type renderer interface{ Render() string }

// forms are all comments with every foreign string field filled. What is ours (markers, states,
// commands, our own sentences, addresses that forges' clients make) is left as it is.
func forms(s string) map[string]renderer {
	job := func(state string) templates.Job {
		return templates.Job{
			Label: s, Workspace: s, State: state, Changes: templates.Changes{Add: 1, Known: true}, Text: s, Flags: "-d x", LogURL: "https://tg.example/" + state,
			Dangers: []templates.Danger{{Address: s, Action: "destroy", ForcedBy: []string{s}}},
			Waiting: &templates.Holder{Ref: "#1", URL: "https://forge.example/1", User: s, Since: time.Unix(0, 0)},
			Error:   &templates.Failure{Summary: s, Text: s}, Done: []templates.Done{{Address: s, Action: s, Outcome: "done"}, {Address: s, Outcome: "half done"}},
			Evidence: []string{s},
		}
	}
	locked := job(templates.StateFailed)
	locked.Lock = &templates.StateLock{ID: s, Who: s, Operation: s, Since: time.Unix(0, 0)}
	planned := job(templates.StateReady)
	planned.Error = nil
	proof := job(templates.StateUnknown)
	proof.Error = nil
	f := templates.Footer{HeadSHA: "abc", HeadURL: "https://forge.example/c", BaseRef: s, BaseSHA: "def", Tool: s, LogURL: "https://tg.example", Marker: "<!-- tidegate:1 x -->"}
	jobs := []templates.Job{job(templates.StateFailed), planned, job(templates.StateWaiting), job(templates.StatePartlyApplied), proof}
	return map[string]renderer{
		"plan":              templates.Plan{Jobs: jobs, Footer: f},
		"plan one":          templates.Plan{Jobs: jobs[1:2], Footer: f},
		"plan fail":         templates.Plan{Jobs: jobs[:1], Footer: f},
		"mended":            templates.Mended{Job: locked, LockID: s, Footer: f},
		"mended ok":         templates.Mended{Job: job(templates.StateApplied), LockID: s, Footer: f},
		"locked":            templates.Plan{Jobs: []templates.Job{locked}, Footer: f},
		"apply":             templates.Apply{Jobs: jobs, Footer: f},
		"apply one":         templates.Apply{Jobs: jobs[3:4], Footer: f},
		"cancelled":         templates.Cancelled{Jobs: []templates.CancelledJob{{Label: s, Workspace: s, Apply: true, What: templates.CancelStopped}, {Label: s, What: templates.CancelLate, State: templates.StateApplied}}, Commands: []templates.CancelledCommand{{Line: s, User: s}}, Footer: f},
		"cancelled nothing": templates.Cancelled{Target: s, Newest: "plan", NewestURL: "https://tg.example/runs/1", Footer: f},
		"problems":          templates.Problems{Command: "Plan", File: s, Rows: []templates.Problem{{Where: "line 1", URL: "https://forge.example/f", Key: s, Text: "it is `" + strings.ReplaceAll(s, "`", "'") + "`, not `y`"}}, Footer: f},
		"conflict":          templates.Conflict{Command: "Plan", BaseRef: s, Files: []string{s, s}, Footer: f},
		"nothing":           templates.NothingTouched{Files: 2, Flags: s, Footer: f},
		"target":            templates.TargetUnknown{Command: "Plan", Headline: s, Detail: s, There: []string{s, s}, Flag: "-d", Suggestion: s, Footer: f},
		"refused":           templates.ApplyRefused{Rows: []templates.Refused{{Label: s, Flags: s, State: "stale", Why: "why", Moved: []string{"files in `" + strings.ReplaceAll(s, "`", "'") + "` changed"}}, {Label: s, Flags: s}}, Footer: f},
		"unlocked":          templates.Unlocked{Labels: []string{s, s}, Plans: 1, Footer: f},
		"wrong":             templates.Wrong{Headline: s, Detail: s, Usage: s, Suggestion: s, Footer: f},
		"internal":          templates.Internal{Run: s, Footer: f},
		"help":              templates.Help{Rows: []templates.HelpRow{{Command: s, What: "helps"}}, Footer: f},
		"refusal":           templates.Refusal{Headline: "no: " + templates.Code(s), Body: []string{templates.Code(s)}, Footer: f},
		"notice":            templates.Notice{Headline: "on " + templates.Code(s), Body: []string{templates.Code(s)}, Footer: f},
		"submodules":        templates.Notice{Body: []string{templates.SubmodulesNote([]string{s})}, Footer: f},
		"merging":           templates.Notice{Body: []string{templates.MergingNote(s), templates.UnmergedNote("`" + strings.ReplaceAll(s, "`", "'") + "` is not planned"), templates.NotMergedNote("the status `" + strings.ReplaceAll(s, "`", "'") + "` is missing")}, Footer: f},
		"circle":            templates.Notice{Body: []string{templates.CircleNote([]templates.Hold{{Label: s, Holder: templates.Holder{Ref: "#1"}, Waiter: templates.Holder{Ref: "#2"}}})}, Footer: f},
		"progress":          templates.Progress{Command: "plan", Total: 2, Footer: f},
	}
}

// TestForeignTextStaysInCode: whatever a foreign string holds, it ends up in pre or code only, and
// nothing is made of it: no element, no attribute, no comment.
func TestForeignTextStaysInCode(t *testing.T) {
	t.Parallel()
	for i, s := range nasty() {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for name, form := range forms(s) {
				body := form.Render()
				for forge, page := range map[string]string{"goldmark": withGoldmark(t, body), "cmark-gfm": withCmark(t, body)} {
					checkTaint(t, fmt.Sprintf("%s of %q by %s", name, s, forge), page, body)
				}
			}
		})
	}
}

func checkTaint(t *testing.T, what, page, body string) {
	t.Helper()
	seen := 0
	walk(parse(t, page), func(n *html.Node, code bool) {
		switch n.Type {
		case html.TextNode:
			if !strings.Contains(n.Data, taint) {
				return
			}
			if seen++; !code {
				t.Errorf("%s: foreign text outside of code: %q\n%s", what, n.Data, body)
			}
		case html.CommentNode:
			if strings.Contains(n.Data, taint) {
				t.Errorf("%s: foreign text in a comment: %q", what, n.Data)
			}
		case html.ElementNode:
			switch n.Data {
			case "script", "img", "h1", "h2", "iframe", "style":
				t.Errorf("%s: an element <%s> was made", what, n.Data)
			}
			for _, a := range n.Attr {
				if strings.Contains(a.Val, taint) || strings.Contains(a.Val, "evil.example") {
					t.Errorf("%s: foreign text in <%s %s=%q>", what, n.Data, a.Key, a.Val)
				}
			}
		case html.ErrorNode, html.DocumentNode, html.DoctypeNode, html.RawNode:
		}
	})
	if seen == 0 && !strings.Contains(what, "progress") {
		t.Errorf("%s: the foreign text is nowhere: the test checks nothing", what)
	}
	if strings.Count(body, "<!-- tidegate:1") != 1 {
		t.Errorf("%s: a second marker stands in the comment\n%s", what, body)
	}
}

// TestEveryCommentIsTainted: a comment that is added must be added to forms, too.
func TestEveryCommentIsTainted(t *testing.T) {
	t.Parallel()
	have := map[string]bool{}
	for _, f := range forms("x") {
		have[reflect.TypeOf(f).Name()] = true
	}
	for _, want := range []string{"Plan", "Apply", "Problems", "Conflict", "NothingTouched", "TargetUnknown", "ApplyRefused", "Unlocked", "Wrong", "Internal", "Help", "Refusal", "Notice", "Progress"} {
		if !have[want] {
			t.Errorf("%s is not tainted", want)
		}
	}
}

func FuzzCode(f *testing.F) {
	for _, s := range nasty() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		body := "### Plan for " + templates.Code(s) + ": 1 add\n\n| a | b |\n|---|---|\n| " + templates.Cell(s) + " | x |\n\n" + templates.Fence("", s) + "\n\nend\n"
		page := withGoldmark(t, body)
		if n := strings.Count(page, "<h3>"); n != 1 || strings.Count(page, "<td>") != 2 || strings.Count(page, "<pre>") != 1 || !strings.Contains(page, "<p>end</p>") {
			t.Errorf("%q changes the structure:\n%s", s, page)
		}
	})
}

// TestProblemsAreProse: a problem's text is ours, and still nothing in it is markup.
func TestProblemsAreProse(t *testing.T) {
	t.Parallel()
	body := templates.Problems{Command: "Plan", File: "f", Rows: []templates.Problem{{Where: "line 1", Key: "k", Text: "mind <b> and *stars* | [x](http://y) and `a|b`"}}}.Render()
	for forge, page := range map[string]string{"goldmark": withGoldmark(t, body), "cmark-gfm": withCmark(t, body)} {
		for _, want := range []string{"mind &lt;b&gt; and *stars* | [x](", "<code>a|b</code></td>"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: %q is not there\n%s", forge, want, page)
			}
		}
		if n := strings.Count(page, "<td>"); n != 2 {
			t.Errorf("%s: the row has %d cells, want 2\n%s", forge, n, page)
		}
	}
}
