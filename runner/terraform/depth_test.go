package terraform

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDeepConfiguration: what a parser would overflow its stack on ends no server.
func TestDeepConfiguration(t *testing.T) {
	t.Parallel()
	const n = 20_000
	again := strings.Repeat
	tests := map[string]struct{ file, text string }{
		"parentheses":           {"main.tf", "a = " + again("(", n)},
		"lists":                 {"main.tf", "a = " + again("[", n)},
		"objects":               {"main.tf", "a = " + again("{a=", n)},
		"blocks":                {"main.tf", again("a {\n", n)},
		"calls":                 {"main.tf", "a = " + again("f(", n)},
		"indexes":               {"main.tf", "a = " + again("a[", n)},
		"not":                   {"main.tf", "a = " + again("!", n)},
		"minus":                 {"main.tf", "a = " + again("-", n)},
		"not over lines":        {"main.tf", "a = (" + again("!\n", n)},
		"not in a for":          {"main.tf", "a = {\n#\nfor x in y : x => " + again("!\n", n)},
		"conditionals":          {"main.tf", "a = " + again("a?b:", n)},
		"templates":             {"main.tf", "a = " + again(`"${`, n)},
		"template directives":   {"main.tf", `a = "` + again("%{if a}", n)},
		"heredoc directives":    {"main.tf", "a = <<X\n" + again("%{for a in b}\n", n/2)},
		"sums":                  {"main.tf", "terraform {\n  backend \"local\" {\n    path = " + again("a+", n)},
		"a module":              {"m/main.tf", "a = " + again("(", n)},
		"JSON where HCL stands": {"main.tf", `{"a":` + again("[", n)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, text := range map[string]string{"call.tf": "module \"m\" {\n  source = \"./m\"\n}\n", test.file: test.text} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := ReadConfiguration(dir, ".", Terraform)
			if _, ok := errors.AsType[*ConfigurationError](err); !ok || !strings.Contains(err.Error(), test.file) {
				t.Errorf("ReadConfiguration = %v, want a *ConfigurationError that names %s", err, test.file)
			}
		})
	}
}

// TestDeepJSON: what is no JSON to the standard library is left to terraform.
func TestDeepJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"a":` + strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "main.tf.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadConfiguration(dir, ".", Terraform); err != nil {
			t.Errorf("ReadConfiguration = %v", err)
		}
	}
}

func TestDeepLockFile(t *testing.T) {
	t.Parallel()
	if got := lockedProviders("a = " + strings.Repeat("[", 100_000)); got != nil {
		t.Errorf("lockedProviders = %v, want none", got)
	}
}

// TestUsualDepth: many operators and brackets are no depth.
func TestUsualDepth(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a list of negative numbers": "a = [" + strings.Repeat("-1, ", 5_000) + "]",
		"many conditionals":          "a = {\n" + strings.Repeat("  b = !c ? -1 : (d ? 2 : 3)\n", 5_000) + "}\n",
		"many blocks":                strings.Repeat("a \"b\" {\n  c = \"${d - 1}\" # ------\n}\n", 5_000),
		"a certificate":              "a = <<X\n" + strings.Repeat("-----+/==<>!?[({\n", 5_000) + "X\n",
		"a long template":            "a = \"" + strings.Repeat("${b}", 5_000) + "\"\n",
	} {
		if tooDeep([]byte(text)) {
			t.Errorf("%s: too deep", name)
		}
	}
}
