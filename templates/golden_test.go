package templates_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	gmhtml "github.com/yuin/goldmark/renderer/html"
	"golang.org/x/net/html"
)

var update = flag.Bool("update", false, "write the goldens anew") //nolint:gochecknoglobals // go test's own way to take a flag

func TestGoldens(t *testing.T) {
	t.Parallel()
	for name, got := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", name+".md")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("comment differs from %s (-want +got); -update writes it anew:\n%s", file, diff)
			}
		})
	}
}

var commandLine = regexp.MustCompile("(?i)^[`\\s]*(/|(tidegate|atlantis|@tidegate)?\\s*(plan|apply|unlock|force-unlock|state push|help)\\b[^.,:;]*$)")

// TestNoLineIsACommand: whatever of a comment of ours is read back by a forge or by us runs nothing.
func TestNoLineIsACommand(t *testing.T) {
	t.Parallel()
	for name, body := range samples() {
		for line := range strings.SplitSeq(body, "\n") {
			if commandLine.MatchString(line) {
				t.Errorf("%s: the line %q could be read as a command", name, line)
			}
		}
		if len(body) > 60_000 {
			t.Errorf("%s has %d bytes, want at most 60,000", name, len(body))
		}
		if n := strings.Count(body, "<!-- tidegate:1 "); n != 1 || !strings.HasSuffix(body, " -->\n") {
			t.Errorf("%s has %d markers, want one, at the end", name, n)
		}
	}
}

// TestForgesAgree: both renderers make the same structure of every comment.
func TestForgesAgree(t *testing.T) {
	t.Parallel()
	for name, body := range samples() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tags(t, withCmark(t, body)), tags(t, withGoldmark(t, body))); diff != "" {
				t.Errorf("cmark-gfm and goldmark disagree (-cmark +goldmark):\n%s", diff)
			}
		})
	}
}

func withGoldmark(t *testing.T, body string) string {
	t.Helper()
	var b bytes.Buffer
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(gmhtml.WithUnsafe()))
	if err := md.Convert([]byte(body), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func withCmark(t *testing.T, body string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "cmark-gfm", "--unsafe", "-e", "table", "-e", "strikethrough", "-e", "autolink", "-e", "tagfilter")
	cmd.Stdin = strings.NewReader(body)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rendering with cmark-gfm (Debian's package of that name; make test installs it): %v", err)
	}
	return string(out)
}

// tags are the elements of a page that carry structure, in order.
func tags(t *testing.T, page string) []string {
	t.Helper()
	var out []string
	walk(parse(t, page), func(n *html.Node, _ bool) {
		switch n.Data {
		case "h3", "table", "tr", "td", "th", "details", "summary", "pre", "ul", "li", "a", "code":
			if n.Type == html.ElementNode {
				out = append(out, n.Data)
			}
		}
	})
	return out
}

func parse(t *testing.T, page string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// walk visits every node; code says whether it is inside pre or code.
func walk(n *html.Node, visit func(n *html.Node, code bool)) {
	var step func(*html.Node, bool)
	step = func(n *html.Node, code bool) {
		visit(n, code)
		code = code || n.Type == html.ElementNode && (n.Data == "pre" || n.Data == "code")
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			step(c, code)
		}
	}
	step(n, false)
}
