package project

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the goldens anew") //nolint:gochecknoglobals // a flag of the tests

// Each archive in testdata/load is a repository; its "want" is what Load makes of it, as people read it.
func TestLoadGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			repo, want, ok := bytes.Cut(raw, []byte("-- want --\n"))
			if !ok && !*update {
				t.Fatal("no want")
			}
			got := render(Load(t.Context(), newTree(string(repo))))
			if *update {
				if err := os.WriteFile(file, append(append(repo, "-- want --\n"...), got...), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("Load (-want +got):\n%s", diff)
			}
		})
	}
}

func render(c Config, err error) string {
	var b strings.Builder
	var bad *ProblemsError
	if errors.As(err, &bad) {
		for _, p := range bad.Problems {
			fmt.Fprintln(&b, p)
		}
		return b.String()
	}
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	fmt.Fprintf(&b, "path %q\n", c.Path)
	for _, p := range c.Projects {
		fmt.Fprintf(&b, "line %d: %s: dir %q workspace %q name %q autoplan %v", p.Line, p, p.Dir, p.Workspace, p.Name, p.Autoplan)
		if p.WhenModified != nil {
			fmt.Fprintf(&b, " when %q", p.WhenModified)
		}
		if p.Distribution+p.TerraformVersion != "" {
			fmt.Fprintf(&b, " tool %q %q", p.Distribution, p.TerraformVersion)
		}
		if p.ApplyRequirements != nil {
			fmt.Fprintf(&b, " requires %q", p.ApplyRequirements)
		}
		if p.DeleteBranch != nil {
			fmt.Fprintf(&b, " delete branch %v", *p.DeleteBranch)
		}
		b.WriteByte('\n')
		for _, u := range p.Unsupported {
			fmt.Fprintln(&b, "  ", u)
		}
	}
	if c.Automerge != nil {
		fmt.Fprintln(&b, "automerge", *c.Automerge)
	}
	if c.DeleteBranch != nil {
		fmt.Fprintln(&b, "delete branch", *c.DeleteBranch)
	}
	for _, u := range c.Unsupported {
		fmt.Fprintln(&b, "all:", u)
	}
	for _, n := range c.Notes {
		fmt.Fprintln(&b, "note:", n)
	}
	return b.String()
}

func TestLoadBounds(t *testing.T) {
	t.Parallel()
	bomb := "version: 3\nworkflows:\n  a: &a {plan: {steps: [" + strings.Repeat("plan, ", 1000) + "]}}\n"
	for i := range 1000 {
		bomb += fmt.Sprintf("  w%d: *a\n", i)
	}
	for name, c := range map[string]struct{ content, want string }{
		"too long":      {strings.Repeat("#", 1<<20+1), "is longer than 1 MiB"},
		"bomb":          {bomb, "too many values"},
		"circle":        {"version: 3\nprojects: &a [*a]\n", "has to have keys"},
		"circle merged": {"version: 3\n<<: &a\n  <<: *a\n", "plain keys only"},
		"deep":          {strings.Repeat("[", 100_000), "not YAML"},
		"many projects": {"version: 3\nprojects:\n" + strings.Repeat("- dir: a\n  name: b\n", 5_000), "more problems"},
		"long pattern":  {"version: 3\nprojects:\n- dir: a\n  autoplan: {when_modified: [\"" + strings.Repeat("*a", 1000) + "\"]}\n", "longer than 1000 bytes"},
		"long regexp":   {"version: 3\nprojects:\n- dir: a\n  branch: /" + strings.Repeat("a?", 1000) + "/\n", "longer than 1000 bytes"},
	} {
		got := render(Load(t.Context(), &memTree{content: map[string]string{"atlantis.yaml": c.content}}))
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: Load = %.300q, want %q", name, got, c.want)
		}
		if n := strings.Count(got, "\n"); n > mostProblems+1 {
			t.Errorf("%s: %d problems", name, n)
		}
	}
}

func TestLoadTellsOurFaultFromTheirs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Load(ctx, newTree("-- atlantis.yaml --\nversion: 3\n"))
	if bad := new(ProblemsError); err == nil || errors.As(err, &bad) {
		t.Errorf("Load, cancelled = %v, want an error that is no problem of the file", err)
	}
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range newTree(string(raw)).content {
			f.Add([]byte(c))
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := Load(t.Context(), &memTree{content: map[string]string{"tidegate.yaml": string(content), "a/b/x.tf": "", "a/c/x.tf": ""}})
		var bad *ProblemsError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("Load(%q) = %v", content, err)
		}
		if err != nil {
			checkProblems(t, bad)
			return
		}
		for _, p := range c.Projects {
			if p.Dir == "" || p.Workspace == "" || leaves(p.Dir) || p.Line == 0 || !p.Configured || p.ApplyRequirements != nil && len(p.ApplyRequirements) == 0 {
				t.Errorf("Load(%q) = %+v", content, p)
			}
		}
		if _, err := Select(t.Context(), newTree("-- a/b/x.tf --\n"), c, []string{"a/b/x.tf", "../x", ""}); err != nil {
			t.Errorf("Select(%q) = %v", content, err)
		}
	})
}

// checkProblems holds what is true of every problem, whatever the file says.
func checkProblems(t *testing.T, bad *ProblemsError) {
	t.Helper()
	if len(bad.Problems) == 0 || len(bad.Problems) > mostProblems+1 {
		t.Errorf("%d problems", len(bad.Problems))
	}
	for _, p := range bad.Problems {
		text := p.String()
		if p.Text == "" || len(text) > 4000 || strings.ContainsFunc(p.Text, func(r rune) bool { return r < ' ' }) || strings.Count(p.Text, "`")%2 != 0 {
			t.Errorf("problem %q", text)
		}
		for _, word := range []string{"!!", "yaml.", "project.", "interface", "struct", "unmarshal"} {
			if plain := outsideBackticks(p.Text); strings.Contains(plain, word) {
				t.Errorf("problem %q says %q", text, word)
			}
		}
	}
}

func outsideBackticks(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, "`") {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}
