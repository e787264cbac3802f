package project

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func TestFactsOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file, content string
		local         string
		unknown       bool
	}{
		"plain":          {"a.tf", "module \"a\" {\n  source = \"./a\"\n}\n", "./a", false},
		"one line":       {"a.tf", `module "a" { source = "./a" }`, "./a", false},
		"unquoted label": {"a.tf", `module a { source = "./a" }`, "./a", false},
		"windows":        {"a.tf", "module \"a\" {\n  source = \".\\\\a\\\\b\"\n}\n", "./a/b", false},
		"escapes":        {"a.tf", "module \"a\" {\n  source = \"./\\u0061$${x}\"\n}\n", "./a${x}", false},
		"remote":         {"a.tf", `module "a" { source = "git::https://x/./a" }`, "", false},
		"registry":       {"a.tf", `module "a" { source = "a/b/c" }`, "", false},
		"absolute":       {"a.tf", `module "a" { source = "/a" }`, "", false},
		"commented out":  {"a.tf", "# module \"a\" { source = \"./a\" }\n/*\nmodule \"b\" { source = \"./b\" }\n*/\n// module \"c\" { source = \"./c\" }\n", "", false},
		"comment behind": {"a.tf", "module \"a\" { # x\n  source = \"./a\" # { y\n  x = 1 // }\n}\nmodule \"b\" { source = \"./b\" }", "./a ./b", false},
		"in a text":      {"a.tf", "locals {\n  x = \"module \\\"a\\\" { source = \\\"./a\\\" }\"\n}\n", "", false},
		"in a heredoc":   {"a.tf", "locals {\n  x = <<EOT\nmodule \"a\" {\n  source = \"./a\"\n}\nEOT\n  y = <<-X\n  }\n  X\n}\nmodule \"b\" { source = \"./b\" }", "./b", false},
		"nested":         {"a.tf", "resource \"x\" \"y\" {\n  module \"a\" {\n    source = \"./a\"\n  }\n}\nmodule \"m\" {\n  providers { source = \"./p\" }\n  x = { source = \"./q\" }\n}\n", "", false},
		"elsewhere":      {"a.tf", "source = \"./a\"\nx \"module\" { source = \"./b\" }\n", "", false},
		"after values":   {"a.tf", "module \"a\" {\n  x = [\n    \"${y}\", { z = \"}\" }\n  ]\n  f = upper(\n\"a\"\n)\n  source = \"./a\"\n}\n", "./a", false},
		"template":       {"a.tf", `module "a" { source = "./${var.x}" }`, "", true},
		"reference":      {"a.tf", `module "a" { source = var.x }`, "", true},
		"operator":       {"a.tf", `module "a" { source = "./a" == "" ? "./a" : "./b" }`, "", true},
		"heredoc source": {"a.tf", "module \"a\" {\n  source = <<X\n./a\nX\n}\n", "", true},
		"broken before":  {"a.tf", "resource {{\n}}\n= 3\n\"x\" y\nmodule \"a\" { source = \"./a\" }\n", "./a", false},
		"broken after":   {"a.tf", "module \"a\" { source = \"./a\" }\nresource \"x\" {\n y = (((\n", "./a", false},
		"broken label":   {"a.tf", "module \"a${x}\" { source = \"./b\" }\nmodule \"a\" { source = \"./a\" }\n", "./a", false},
		"not closed":     {"a.tf", "module \"a\" {\n  source = \"./a\"\n", "./a", false},
		"unclosed text":  {"a.tf", "module \"a\" {\n  source = \"./a\n}\n", "", true},
		"override":       {"a_override.tf", `module "a" { source = "./a" }`, "./a", false},
		"mac":            {"a.tf", "module \"a\" {\r\n  source = \"./a\"\r\n}\r\n", "./a", false},
		"bom":            {"a.tf", "\ufeffmodule \"a\" {\n  source = \"./a\"\n}\n", "./a", false},
		"empty":          {"a.tf", "", "", false},
		"deep":           {"a.tf", "module \"a\" {\n x = " + strings.Repeat("(", 100_000), "", false},
		"json":           {"a.tf.json", `{"module": {"a": {"source": "./a"}, "b": [{"source": "./b"}]}, "module2": {"source": "./c"}}`, "./a ./b", false},
		"json lists":     {"a.tf.json", `[{"module": [{"a": {"source": "./a"}}, {"b": {"source": "./b"}}]}]`, "./a ./b", false},
		"json template":  {"a.tf.json", `{"module": {"a": {"source": "./${x}"}}}`, "", true},
		"json type":      {"a.tf.json", `{"module": {"a": {"source": 3}, "b": 3, "c": [3]}}`, "", true},
		"json broken":    {"a.tf.json", `{"module": {"a": {"source": "./a"}}`, "", false},
		"json deep":      {"a.tf.json", `{"module": ` + strings.Repeat("[", 100_000), "", false},
	} {
		f := factsOf(c.file, []byte(c.content))
		got := strings.Join(unique(f.local), " ")
		if got != c.local || f.unknown != c.unknown {
			t.Errorf("%s: factsOf = %q, unknown %v, want %q, %v", name, got, f.unknown, c.local, c.unknown)
		}
	}
}

func TestFactsOfBackends(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]facts{
		"terraform {\n  backend \"s3\" {}\n}\n":                                           {backend: true},
		"terraform {\n  cloud {}\n}\n":                                                    {backend: true},
		"terraform {\n  cloud {\n    workspaces {\n      name = \"a\"\n    }\n  }\n}":     {backend: true, workspace: "a"},
		"terraform {\n  cloud {\n    workspaces {\n      name = \"a${b}\"\n    }\n  }\n}": {backend: true},
		"resource \"x\" \"y\" {\n  backend \"s3\" {}\n}\n":                                {},
		"terraform {\n  required_version = \"backend\"\n}\n":                              {},
	} {
		if diff := cmp.Diff(want, factsOf("a.tf", []byte(content)), cmp.AllowUnexported(facts{})); diff != "" {
			t.Errorf("factsOf(%q) (-want +got):\n%s", content, diff)
		}
	}
}

// Where HCL's own parser has no complaint, it and the scanner see the same calls.
func FuzzFactsOf(f *testing.F) {
	for _, s := range []string{
		"module \"a\" {\n  source = \"./a\"\n}\n", `module "a" { source = "./${var.x}" }`, "x = <<EOT\n${y}\nEOT\nmodule \"b\" { source = \"../b\" }",
		"module a {\n x = [\n{ y = \"}\" } ]\n source = \"./\\u0061\"\n}", "module \"a\" { # x\n source = \"./a\" // y\n /* z */ }", "terraform {\n cloud {\n workspaces {\n name = \"x\"\n}\n}\n}",
		"module \"a\" {\n source = \"./a\" == 1 ? \"./b\" : \"c\"\n}", "module \"a\" {\n  for_each = { for k, v in x : k => v if v }\n  source = \"./x\"\n}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		if len(content) > 4096 {
			return // the parser is the one that must not get too much
		}
		_ = factsOf("x.tf.json", []byte(content))
		got := factsOf("x.tf", []byte(content))
		file, diags := hclsyntax.ParseConfig([]byte(content), "x.tf", hcl.InitialPos)
		if diags.HasErrors() {
			return
		}
		var want facts
		body, ok := file.Body.(*hclsyntax.Body)
		if !ok {
			t.Fatal("no body")
		}
		for _, b := range body.Blocks {
			src := b.Body.Attributes["source"]
			if b.Type != "module" || src == nil {
				continue
			}
			want.source(literalOf(src.Expr))
		}
		if diff := cmp.Diff(unique(want.local), unique(got.local), sameWhenEmpty()); diff != "" && !got.unknown {
			t.Errorf("%q: local (-parser +scanner):\n%s", content, diff)
		}
		if want.unknown && !got.unknown {
			t.Errorf("%q: a source that is no literal is not seen", content)
		}
	})
}

func literalOf(e hclsyntax.Expression) (string, bool) {
	tpl, ok := e.(*hclsyntax.TemplateExpr)
	if !ok || !tpl.IsStringLiteral() {
		return "", false
	}
	v, diags := tpl.Value(nil)
	if diags.HasErrors() {
		return "", false
	}
	return v.AsString(), true
}
