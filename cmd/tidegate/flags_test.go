package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // the testing package reads flags from globals

// The documentation of the flags is the table, not a copy that somebody keeps.
func TestFlagsDocumentation(t *testing.T) {
	t.Parallel()
	const path = "../../docs/flags.md"
	got := markdown(options())
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/flags.md is not what the flags say; go test ./cmd/tidegate -run FlagsDocumentation -update (-is +should):\n%s", diff)
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := root(&out, &out)
	c.SetArgs([]string{"server", "--help"})
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, o := range options() {
		name := "--" + o.name
		if o.secret {
			name += "[-file]"
		}
		if o.holder != "" {
			name += " " + o.holder
		}
		if !strings.Contains(out.String(), "\n  "+name+" ") {
			t.Errorf("--help does not have a line for %s", name)
		}
		if o.alias != "" && !strings.Contains(out.String(), "--"+o.alias) {
			t.Errorf("--help does not name --%s", o.alias)
		}
		if o.def != "" && !strings.Contains(out.String(), o.def+")") {
			t.Errorf("--help does not tell the default of --%s, %s", o.name, o.def)
		}
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if len(line) > 120 {
			t.Errorf("a line of --help is %d characters long: %s", len(line), line)
		}
	}
}

// parse reads a command line with an environment, as the server does.
func parse(t *testing.T, env map[string]string, args ...string) (settings, error) {
	t.Helper()
	fs := flagSet(options())
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	lookup := func(k string) (string, bool) { v, ok := env[k]; return v, ok }
	return readSettings(values{flags: fs, lookup: lookup}, options())
}

// enough is what a server can't start without.
func enough(more ...string) []string {
	return append([]string{
		"--repo-allowlist=github.com/acme/*", "--gh-user=bot", "--gh-token=tok-hush", "--gh-webhook-secret=hook-hush", "--data-dir=/data",
	}, more...)
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	for _, o := range options() {
		if o.holder == "" {
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			environ := map[string]string{}
			ask := func(args ...string) string {
				fs := flagSet(options())
				if err := fs.Parse(args); err != nil {
					t.Fatal(err)
				}
				return values{flags: fs, lookup: func(k string) (string, bool) { v, ok := environ[k]; return v, ok }}.get(o)
			}
			if got := ask(); got != o.def {
				t.Errorf("nothing given: %q, want the default %q", got, o.def)
			}
			environ[env(o.name)] = ""
			if got := ask(); got != o.def {
				t.Errorf("an empty variable: %q, want the default %q", got, o.def)
			}
			environ[env(o.name)] = "from-env"
			if got := ask(); got != "from-env" {
				t.Errorf("with the environment: %q", got)
			}
			if got := ask("--"+o.name, "from-flag"); got != "from-flag" {
				t.Errorf("with both: %q, want the flag's", got)
			}
			if o.alias == "" {
				return
			}
			if got := ask("--"+o.alias, "from-alias"); got != "from-alias" {
				t.Errorf("with the alias --%s: %q", o.alias, got)
			}
		})
	}
}

func TestEnvironmentNames(t *testing.T) {
	t.Parallel()
	if got := env("gh-webhook-secret-file"); got != "TIDEGATE_GH_WEBHOOK_SECRET_FILE" {
		t.Errorf("env = %s", got)
	}
	hidden := ours(options())
	var secrets int
	for _, o := range options() {
		if hidden(env(o.name)) != o.secret || hidden(env(o.name+"-file")) != o.secret {
			t.Errorf("--%s: kept from terraform is %t and its file %t, want %t", o.name, hidden(env(o.name)), hidden(env(o.name+"-file")), o.secret)
		}
		if o.secret {
			secrets++
		}
		if looks := strings.Contains(o.name, "token") || strings.Contains(o.name, "secret") || strings.Contains(o.name, "password") || strings.HasSuffix(o.name, "-key"); looks != o.secret {
			t.Errorf("--%s: secret is %t, its name says %t", o.name, o.secret, looks)
		}
	}
	if secrets == 0 {
		t.Error("no flag is a secret")
	}
}
