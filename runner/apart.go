package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/runner/gitcredential"
)

// apart makes of a job's environment that of the process that fetches modules, where something is offered to it: nothing that other jobs can
// write tells it what to run. All jobs share the home directory, so it gets an empty one; git and Mercurial heed what repository they
// are started in, and a checkout is what a pull request and earlier jobs have made of it, so they are started elsewhere; and PATH leads to
// programs that are not of jobs. What the operator has configured in /etc, or by the environment, holds.
func (w *work) apart(ctx context.Context, env []string) ([]string, error) {
	home, bin := filepath.Join(w.tmp, "home"), filepath.Join(w.tmp, "bin")
	for _, dir := range []string{home, bin} {
		if err := os.RemoveAll(dir); err != nil { // a job may have written there
			return nil, fmt.Errorf("emptying a directory of the job: %w", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making a directory of the job: %w", err)
		}
	}
	if err := keepSettings(home, valueOf(env, "HOME")); err != nil {
		return nil, err
	}
	path := ownPath(valueOf(env, "PATH"), valueOf(env, "HOME"))
	for _, name := range []string{"git", "hg"} {
		if err := w.startElsewhere(name, path, bin, home); err != nil {
			return nil, err
		}
	}
	path = strings.TrimSuffix(bin+":"+path, ":")
	env = gitcredential.Config(env, "core.hooksPath", "/dev/null", "core.fsmonitor", "false", "safe.bareRepository", "explicit")
	env = replaceEnv(env, "HOME="+home, "XDG_CONFIG_HOME="+home, "PATH="+path,
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_TEMPLATE_DIR=", "GIT_CEILING_DIRECTORIES="+w.tmp)
	return knownProtocols(ctx, env, lookIn(path, "git"), home)
}

// knownProtocols are git's defaults, but for protocols that are programs of anybody's, where the operator has said nothing else:
// https://git-scm.com/docs/git-config#Documentation/git-config.txt-protocolallow
func knownProtocols(ctx context.Context, env []string, git, home string) ([]string, error) {
	if git == "" || ctx.Err() != nil {
		return env, nil // whoever needs it says so
	}
	cmd := exec.CommandContext(ctx, git, "config", "--name-only", "--get-regexp", `^protocol\.`)
	cmd.Env, cmd.Dir = env, home
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && ctx.Err() == nil && (!ok || exit.ExitCode() != 1) { // 1 is nothing
		return nil, fmt.Errorf("asking git which protocols are configured: %w", err)
	}
	said := strings.Fields(string(out))
	if slices.Contains(said, "protocol.allow") {
		return env, nil
	}
	env = gitcredential.Config(env, "protocol.allow", "never")
	for _, of := range []struct{ protocol, allow string }{{"http", "always"}, {"https", "always"}, {"ssh", "always"}, {"git", "always"}, {"file", "user"}} {
		if name := "protocol." + of.protocol + ".allow"; !slices.Contains(said, name) {
			env = gitcredential.Config(env, name, of.allow)
		}
	}
	return env, nil
}

// keepSettings has terraform's CLI configuration found, and the tokens of registries that `terraform login` has stored. They name nothing to
// run but a credentials_helper, which would be in a directory that is not there.
func keepSettings(home, shared string) error {
	const dir = ".terraform.d"
	if shared == "" {
		return nil
	}
	if err := os.Mkdir(filepath.Join(home, dir), 0o700); err != nil {
		return fmt.Errorf("making a directory of the job: %w", err)
	}
	for _, pattern := range []string{".terraformrc", ".tofurc", dir + "/*.tfrc", dir + "/*.tfrc.json"} {
		names, err := fs.Glob(os.DirFS(shared), pattern)
		if err != nil {
			return fmt.Errorf("looking for terraform's CLI configuration: %w", err)
		}
		for _, name := range names {
			if err := os.Symlink(filepath.Join(shared, name), filepath.Join(home, name)); err != nil {
				return fmt.Errorf("naming terraform's CLI configuration to a job: %w", err)
			}
		}
	}
	return nil
}

// startElsewhere makes a program of that name in bin that starts the actual one in the directory home, but for where modules are put: a
// module has a repository of its own. Terraform names everything else by absolute paths.
func (w *work) startElsewhere(name, path, bin, home string) error {
	actual := lookIn(path, name)
	if actual == "" {
		return nil // terraform says so itself when it needs it
	}
	modules, err := filepath.EvalSymlinks(w.job.DataDir)
	if err != nil {
		return fmt.Errorf("looking where modules are put: %w", err)
	}
	script := "#!/bin/sh\ncase \"$(pwd -P)/\" in\n" + shellQuote(modules+"/modules/") + "?*) ;;\n*) cd " + shellQuote(home) + " || exit 128 ;;\nesac\n" +
		"exec " + shellQuote(actual) + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o700); err != nil {
		return fmt.Errorf("writing what starts %s for a job: %w", name, err)
	}
	return nil
}

// ownPath are the directories of a PATH in which no job can put a program: none that is found from where a process happens to be, none in the home
// directory, and none that the server could write to. It is all of them where git is in no other.
func ownPath(path, shared string) string {
	var all, own []string
	for dir := range strings.SplitSeq(path, ":") {
		if !filepath.IsAbs(dir) {
			continue
		}
		all = append(all, dir)
		rel, err := filepath.Rel(shared, dir)
		if shared != "" && shared != "/" && err == nil && filepath.IsLocal(rel) || os.Geteuid() != 0 && unix.Access(dir, unix.W_OK) == nil {
			continue
		}
		own = append(own, dir)
	}
	if found := strings.Join(own, ":"); lookIn(found, "git") != "" {
		return found
	}
	return strings.Join(all, ":")
}

// lookIn is a program of that name in the directories of a PATH, "" without one.
func lookIn(path, name string) string {
	for dir := range strings.SplitSeq(path, ":") {
		if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(dir) { // no PATH but the given one
			return found
		}
	}
	return ""
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// valueOf is a variable's value, "" without one.
func valueOf(env []string, name string) string {
	value := ""
	for _, entry := range env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// replaceEnv puts entries in the place of those of the same names.
func replaceEnv(env []string, entries ...string) []string {
	ours := map[string]bool{}
	for _, entry := range entries {
		name, _, _ := strings.Cut(entry, "=")
		ours[name] = true
	}
	var out []string
	for _, entry := range env {
		if name, _, _ := strings.Cut(entry, "="); !ours[name] {
			out = append(out, entry)
		}
	}
	return append(out, entries...)
}
