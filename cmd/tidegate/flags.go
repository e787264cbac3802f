package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/pflag"
)

// option is one row of the table that the command line, the environment, --help, the
// documentation and the list of our secrets come from.
type option struct {
	name string
	// alias is an older or foreign name for the same thing.
	alias string
	group string
	// def is the default as text; what a bool or a number starts with.
	def  string
	help string
	// holder names the value in --help ("HOST"); empty for booleans.
	holder string
	// secret: the value is never shown, is kept from terraform, and may come from --NAME-file.
	secret bool
	// lines is how many lines that file may hold, each a value that is good; 0 is one.
	lines int
	// whole: it is a text of many lines.
	whole bool
}

// options of `tidegate server`.
func options() []option {
	return []option{
		{group: "What is served", name: "repo-allowlist", holder: "LIST", help: "repositories to serve: host/owner/name, comma-separated; * stands for anything, !rule excludes. Required"},
		{group: "What is served", name: "executable-name", holder: "WORD", def: "tidegate", help: "the word that wakes Tidegate in a comment (`tidegate plan`)"},
		{group: "What is served", name: "vcs-status-name", holder: "NAME", def: "tidegate", help: "prefix of the commit statuses (NAME/plan, NAME/apply)"},

		{group: "GitHub", name: "gh-user", alias: "gh-app-slug", holder: "NAME", help: "the account that comments; of an App the name that people mention it by"},
		{group: "GitHub", name: "gh-token", holder: "TOKEN", secret: true, help: "its token"},
		{group: "GitHub", name: "gh-webhook-secret", holder: "SECRET", secret: true, lines: 2, help: "the secret that GitHub signs webhooks with; the file may hold the next one on a second line: both are good, so that it can be changed while the server runs"},
		{group: "GitHub", name: "gh-app-id", holder: "ID", help: "the GitHub App that asks, in place of an account with a token"},
		{group: "GitHub", name: "gh-app-key", holder: "PEM", secret: true, whole: true, help: "its private key"},
		{group: "GitHub", name: "gh-app-installation-id", alias: "gh-installation-id", holder: "ID", help: "its installation that all repositories belong to. Default: GitHub is asked for that of each repository"},
		{group: "GitHub", name: "gh-hostname", holder: "HOST", def: "github.com", help: "host of a GitHub Enterprise Server"},
		{group: "GitHub", name: "gh-api-url", holder: "URL", help: "API root of any server that speaks GitHub's dialect; https, or http on loopback"},

		{group: "GitLab", name: "gitlab-user", holder: "NAME", help: "the account that comments"},
		{group: "GitLab", name: "gitlab-token", holder: "TOKEN", secret: true, help: "its token, with the scope api"},
		{group: "GitLab", name: "gitlab-webhook-secret", holder: "SECRET", secret: true, lines: 2, help: "the secret token that GitLab sends with its webhooks; like --gh-webhook-secret"},
		{group: "GitLab", name: "gitlab-hostname", holder: "HOST", def: "gitlab.com", help: "host of a GitLab of your own"},
		{group: "GitLab", name: "gitlab-api-url", holder: "URL", help: "root of its API, where that is not https://HOST/api/v4; https, or http on loopback"},

		{group: "Gitea, Forgejo", name: "gitea-base-url", holder: "URL", def: "https://gitea.com", help: "root of the forge, as it calls itself (its ROOT_URL); https, or http on loopback"},
		{group: "Gitea, Forgejo", name: "gitea-user", holder: "NAME", help: "the account that comments; it must be an administrator of the repositories, for only those are told who may command"},
		{group: "Gitea, Forgejo", name: "gitea-token", holder: "TOKEN", secret: true, help: "its token, with the scopes write:repository, write:issue and read:user"},
		{group: "Gitea, Forgejo", name: "gitea-webhook-secret", holder: "SECRET", secret: true, lines: 2, help: "the secret that the forge signs webhooks with; like --gh-webhook-secret"},
		{group: "Gitea, Forgejo", name: "gitea-page-size", holder: "N", def: "30", help: "entries of a list that are asked for at once"},

		{group: "Missed webhooks", name: "reconcile-interval", holder: "DURATION", def: "5m", help: "how often the forge is asked for what no webhook told; 0 is never"},
		{group: "Missed webhooks", name: "poll-interval", holder: "DURATION", help: "asks the forge this often and takes no webhooks: no port needs to be open, and no webhook secret is needed"},
		{group: "Missed webhooks", name: "recover-max-age", holder: "DURATION", def: "15m", help: "an apply that was asked for longer ago, while the server could not run it, is not run but answered"},
		{group: "Missed webhooks", name: "forge-writes-per-hour", holder: "N", def: "500", help: "comments, edits and reactions that a repository gets in an hour, and no more than 16 in 100 of them in one minute; 0 is any number, for a forge without limits"},

		{group: "Server", name: "url", alias: "atlantis-url", holder: "URL", help: "where people reach this server; stands in comments and statuses. Default http://localhost:PORT"},
		{group: "Server", name: "port", holder: "PORT", def: "4141", help: "port to listen on, on all addresses"},
		{group: "Server", name: "listen", holder: "ADDR", help: "address to listen on instead of --port, such as 127.0.0.1:4141"},
		{group: "Server", name: "data-dir", holder: "DIR", def: "~/.tidegate", help: "everything that is kept"},
		{group: "Server", name: "allow-network-filesystem", def: "false", help: "take a data directory on NFS, SMB or FUSE, where file locks and fsync do not hold"},
		{group: "Server", name: "log-level", holder: "LEVEL", def: "info", help: "debug, info, warn or error"},
		{group: "Server", name: "shutdown-grace", holder: "DURATION", def: "10m", help: "how long running plans and applies may go on after SIGTERM; 0 is not at all. Under `tidegate init` no longer than its --grace, which is 25s in a container"},
		{group: "Server", name: "web-username", holder: "NAME", help: "user of the pages; with --web-password they may be reached from other hosts"},
		{group: "Server", name: "web-password", holder: "PASSWORD", secret: true, help: "password of the pages; there is no default"},

		{group: "What is kept", name: "keep-runs", holder: "AGE", def: "90d", help: "how long runs of closed pull requests are kept, with their logs; 0 is for good"},
		{group: "What is kept", name: "keep-checkouts", holder: "AGE", def: "14d", help: "how long files of an open pull request are kept in which nothing is planned any more; 0 is for good"},
		{group: "What is kept", name: "keep-unused", holder: "AGE", def: "30d", help: "how long mirrors, tools, providers and files from Git LFS are kept that nothing has used; 0 is for good"},
		{group: "What is kept", name: "data-quota", holder: "SIZE", def: "0", help: "what the data directory should hold at most, such as 20GiB: above it the oldest that is not needed goes first; 0 is any size"},
		{group: "What is kept", name: "min-free-disk", holder: "SIZE", def: "256MiB", help: "what must be free on the data directory's disk, and at most a twentieth of it: with less webhooks are answered with 503 and no job starts, until there is room again; 0 is nothing"},

		{group: "Running terraform", name: "default-tf-version", holder: "VERSION", help: "version for projects that name none. Default: what is in PATH"},
		{group: "Running terraform", name: "tf-download", def: "true", help: "install a terraform version that is asked for and not there"},
		{group: "Running terraform", name: "jobs", holder: "N", def: "4", help: "terraform processes at once; at most N-1 of them apply"},
		{group: "Running terraform", name: "max-queue-per-pull", holder: "N", def: "20", help: "commands that may wait on one pull request; one more is answered at once, and not run. 0 is any number"},
		{group: "Running terraform", name: "max-queue-per-repo", holder: "N", def: "200", help: "the same for all pull requests of a repository together"},
		{group: "Running terraform", name: "lock-timeout", holder: "DURATION", def: "30s", help: "how long terraform waits for a state that somebody else has locked; 0 is not at all"},
		{group: "Running terraform", name: "plan-timeout", holder: "DURATION", def: "1h", help: "how long a plan may take before terraform is interrupted; 0 is for ever"},
		{group: "Running terraform", name: "apply-timeout", holder: "DURATION", def: "0", help: "how long an apply may run before terraform is interrupted; 0 is for ever, for who interrupts an apply leaves half of it"},
		{group: "Running terraform", name: "job-memory", holder: "SIZE", def: "0", help: "memory that each process of a job may have: terraform has its own, and each provider; at least 64MiB, 0 is no limit"},
		{group: "Running terraform", name: "job-open-files", holder: "N", def: "0", help: "files that each process of a job may have open; at least 64, 0 is no limit"},
		{group: "Running terraform", name: "job-log-limit", holder: "SIZE", def: "16MiB", help: "what is kept of the output of one terraform process: of more, the middle is left out; from 64KiB to 64MiB"},
		{group: "Running terraform", name: "apply-requirements", holder: "LIST", help: "what every apply needs, beside what its project asks for: approved (a review by somebody who may write), mergeable (the forge would merge it; our own statuses do not count), undiverged (what it was made from is the same on the base, which always has to hold)"},
		{group: "Running terraform", name: "write-git-creds", def: "false", help: "let git read what Tidegate's own account can read on the forge, while terraform fetches modules and at no other time: for those in private repositories. Nothing is written to disk. Who may push a branch can read as much then: docs/security.md"},
		{group: "Running terraform", name: "ssh-known-hosts", holder: "FILE", help: "the keys of the hosts that modules may be fetched from over ssh; no other host is spoken to. Jobs can read it and not write it, nor make anything in the directories above it. Default: the system's, /etc/ssh/ssh_known_hosts, and where neither an agent nor a credential is on offer ssh's own"},
		{group: "Running terraform", name: "ssh-agent", holder: "WHO", def: "modules", help: "which processes find the ssh agent of the server's environment (SSH_AUTH_SOCK): modules, the one that fetches them; all, for provisioners as well; none"},
		{group: "Running terraform", name: "submodules", def: "false", help: "fetch submodules, from this forge with Tidegate's own account, from elsewhere by https without one. Who may push a branch can read as much then: docs/security.md. Without it they are empty directories"},
		{group: "Running terraform", name: "git-lfs", def: "false", help: "fetch the files that a project uses and that are in Git LFS, from this forge, with the git-lfs in PATH; without it a plan that would need one fails"},
		{group: "Running terraform", name: "allow-local-state", def: "false", help: "keep the state of projects without a backend in the data directory; without it they are planned, but not applied"},

		{group: "Merging", name: "automerge", def: "false", help: "merge a pull request when nothing of it is left to apply, unless its repository says automerge: false; without it, if its repository says automerge: true"},
		{group: "Merging", name: "automerge-method", holder: "METHOD", help: "merge, rebase or squash, as far as the forge knows it. Default: what the repository is set to"},
		{group: "Merging", name: "delete-source-branch-on-merge", def: "false", help: "delete the branch after a merge by --automerge, unless the repository's file or one of its projects says otherwise"},
	}
}

// flagSet makes the flags of the table. Values are read by values.
func flagSet(table []option) *pflag.FlagSet {
	fs := pflag.NewFlagSet("server", pflag.ContinueOnError)
	fs.SortFlags = false
	for _, o := range table {
		if o.holder == "" {
			fs.Bool(o.name, o.def == "true", o.help)
		} else {
			fs.String(o.name, o.def, o.help)
		}
		if o.secret {
			fs.String(o.name+"-file", "", "file that holds it")
		}
		if o.alias != "" {
			fs.String(o.alias, "", "same as --"+o.name)
		}
	}
	return fs
}

// values answers what a flag was set to: the command line first, then the environment, then the
// default.
type values struct {
	flags  *pflag.FlagSet
	lookup func(string) (string, bool)
}

func (v values) get(o option) string {
	if f := v.flags.Lookup(o.name); f.Changed {
		return f.Value.String()
	}
	if o.alias != "" {
		if f := v.flags.Lookup(o.alias); f.Changed {
			return f.Value.String()
		}
	}
	if s, ok := v.lookup(env(o.name)); ok && s != "" {
		return s
	}
	return o.def
}

// file answers the path that a secret is to be read from, or "".
func (v values) file(o option) string {
	if f := v.flags.Lookup(o.name + "-file"); f.Changed {
		return f.Value.String()
	}
	s, _ := v.lookup(env(o.name + "-file"))
	return s
}

// usage writes the table for --help.
func usage(table []option) string {
	var b strings.Builder
	group := ""
	for _, o := range table {
		if o.group != group {
			group = o.group
			fmt.Fprintf(&b, "\n%s:\n", group)
		}
		name := "--" + o.name
		if o.secret {
			name += "[-file]"
		}
		if o.holder != "" {
			name += " " + o.holder
		}
		text := o.help
		if o.def != "" {
			text += " (default " + o.def + ")"
		}
		if o.alias != "" {
			text += "; also --" + o.alias
		}
		fmt.Fprintf(&b, "  %-34s %s\n", name, wrap(text, 34+3, 100))
	}
	b.WriteString("\nEvery flag can be given as an environment variable: --gh-token-file is TIDEGATE_GH_TOKEN_FILE.\nSecrets are best given as files: arguments can be seen by other users of the machine.\n")
	return b.String()
}

// wrap breaks text at width, with the later lines indented.
func wrap(text string, indent, width int) string {
	var b strings.Builder
	col := indent
	for i, word := range strings.Fields(text) {
		if i > 0 && col+1+len(word) > width {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			col = indent
		} else if i > 0 {
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += len(word)
	}
	return b.String()
}

// markdown writes the table for docs/flags.md.
func markdown(table []option) string {
	var b strings.Builder
	b.WriteString("# Flags of `tidegate server`\n\nThe command line wins over the environment. `tidegate server --help` prints the same.\n")
	group := ""
	for _, o := range table {
		if o.group != group {
			group = o.group
			fmt.Fprintf(&b, "\n## %s\n\n| Flag | Environment | Default | What it does |\n|---|---|---|---|\n", group)
		}
		names := []string{"`--" + o.name + "`"}
		if o.secret {
			names = append(names, "`--"+o.name+"-file`")
		}
		if o.alias != "" {
			names = append(names, "`--"+o.alias+"`")
		}
		def := ""
		if o.def != "" {
			def = "`" + o.def + "`"
		}
		help := strings.ReplaceAll(o.help, "|", "\\|")
		if o.secret {
			help += " (secret)"
		}
		envs := "`" + env(o.name) + "`"
		if o.secret {
			envs += ", `" + env(o.name+"-file") + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", strings.Join(names, ", "), envs, def, help)
	}
	return b.String()
}

// secret is a value that never shows itself.
type secret struct {
	// value is nil without one. It is a pointer because fmt and slog do not ask unexported fields for
	// their String: settings printed whole would show it otherwise.
	value *string
	path  string
	// lines is how many values the file may hold, one on each line; 0 is one.
	lines int
	// whole: it is a text of many lines.
	whole bool
}

// set reports whether there is one.
func (s secret) set() bool { return s.value != nil || s.path != "" }

// read answers the value; from its file each time, so that it can be changed while the server runs.
func (s secret) read() (string, error) {
	all, err := s.all()
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

// all answers every value that is good now, as read does; none when none was given.
func (s secret) all() ([]string, error) {
	if s.path == "" {
		if s.value == nil {
			return nil, nil
		}
		return []string{*s.value}, nil
	}
	raw, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	if text := strings.TrimRight(string(raw), "\r\n"); s.whole && text != "" {
		return []string{text}, nil
	}
	out, err := oneOrMore(string(raw), max(s.lines, 1))
	if err != nil {
		return nil, fmt.Errorf("%s %w", s.path, err)
	}
	return out, nil
}

// oneOrMore are the secrets of a file, one on each line.
func oneOrMore(text string, most int) ([]string, error) {
	text = strings.TrimRight(text, "\r\n")
	if most == 1 {
		line, err := oneLine(text)
		return []string{line}, err
	}
	parts := strings.Split(text, "\n")
	if len(parts) > most {
		return nil, fmt.Errorf("has more than %d lines", most)
	}
	for i, part := range parts {
		line, err := oneLine(part)
		if err != nil {
			return nil, fmt.Errorf("line %d %w", i+1, err)
		}
		parts[i] = line
	}
	return parts, nil
}

// oneLine is a secret without the line break that editors and echo leave behind it. One inside it
// would reach a header, where it can't be, or belong to something else than the secret.
func oneLine(text string) (string, error) {
	text = strings.TrimRight(text, "\r\n")
	switch {
	case text == "":
		return "", errors.New("is empty")
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", errors.New("is more than one line of text")
	}
	return text, nil
}

// String keeps the value out of logs and error texts.
func (s secret) String() string { return "(secret)" }

// GoString keeps it out of %#v.
func (s secret) GoString() string { return "(secret)" }
