package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// documents are what people read who run a server or work with one.
func documents(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, path := range append(paths, "../../README.md", "../../CHANGELOG.md", "../../compose.yaml", "../../deploy/systemd/tidegate.service") {
		all[filepath.Base(path)] = contents(t, path)
	}
	if len(all) < 10 {
		t.Errorf("only %d documents are there", len(all))
	}
	return all
}

// Every flag and every command that a document names is there.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	flags := map[string]bool{"help": true}
	words := map[string]bool{"plan": true, "apply": true, "cancel": true, "unlock": true, "force-unlock": true, "state": true, "help": true} // of comments
	for _, flag := range []string{"auto-merge-disabled", "auto-merge-method"} {
		flags[flag] = true // of a comment
	}
	for _, flag := range []string{"build-arg", "target", "from-file", "system", "home-dir", "create-home", "shell", "gh-app", "gitlab", "gitea"} {
		flags[flag] = true // of docker build, kubectl and useradd; what names of flags begin with
	}
	var learn func(c *cobra.Command)
	learn = func(c *cobra.Command) {
		words[c.Name()] = true
		c.Flags().VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
		for _, sub := range c.Commands() {
			learn(sub)
		}
	}
	learn(root(io.Discard, io.Discard))
	flags["grace"] = true // of init, which main starts before anything else
	isFlag, isCommand := regexp.MustCompile("(?:^|[\\s`'\"(\\[])--([a-z][a-z0-9-]*[a-z0-9])"), regexp.MustCompile("(?m)(?:`|^ *|/)tidegate ([a-z][a-z-]+)")
	found := 0
	for name, text := range documents(t) {
		for _, m := range isFlag.FindAllStringSubmatch(text, -1) {
			found++
			if !flags[m[1]] {
				t.Errorf("%s: there is no flag --%s", name, m[1])
			}
		}
		for _, m := range isCommand.FindAllStringSubmatch(text, -1) {
			found++
			if !words[m[1]] {
				t.Errorf("%s: there is no command tidegate %s", name, m[1])
			}
		}
	}
	if found < 200 {
		t.Errorf("only %d flags and commands are named", found)
	}
}

// A server starts with the flags that a document tells to start it with.
func TestDocumentedStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, key := write(t, filepath.Join(dir, "secret"), strings.Repeat("s", 32)+"\n"), filepath.Join(dir, "key.pem")
	made, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(made)})))
	started := 0
	for name, text := range documents(t) {
		for _, block := range regexp.MustCompile("(?ms)^ *(?:\\d+\\. )?```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
			line := strings.ReplaceAll(block[1], "\\\n", " ")
			for line := range strings.Lines(line) {
				args, is := strings.CutPrefix(strings.TrimSpace(line), "tidegate server ")
				if !is {
					continue
				}
				started++
				args = regexp.MustCompile(`(-file )\S+`).ReplaceAllString(strings.ReplaceAll(args, "'", ""), "${1}"+file)
				args = strings.Replace(args, "key-file "+file, "key-file "+key, 1)
				if _, err := parse(t, nil, append(strings.Fields(args), "--data-dir="+t.TempDir())...); err != nil {
					t.Errorf("%s: tidegate server %s: %v", name, args, err)
				}
			}
		}
	}
	if started < 4 {
		t.Errorf("only %d starts are told", started)
	}
}
