package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/runner/supervisor"
	"github.com/tidegate/tidegate/runner/terraform"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/vcs"
)

// maxSkew is how far a clock may be off before times in answers mislead, and Apps' tokens are refused.
const maxSkew = 30 * time.Second

func doctorCommand() *cobra.Command {
	var repos []string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check a configuration against this machine and the forges, and say how to mend what is wrong",
		Long: `Takes the flags and the environment of tidegate server, and checks them against this machine and the
forges: the account's token, each repository and its webhook, the way to this server, the clock,
terraform, git, the data directory, and how well terraform is kept apart from the server. It changes
nothing. It ends with 1 when something has to be mended.`,
	}
	c.Flags().StringSliceVar(&repos, "repo", nil, "`HOST/OWNER/NAME` to look at, beside those that --repo-allowlist names whole")
	return withSettings(c, func(c *cobra.Command, s settings, problem error) error {
		d := &doctor{out: c.OutOrStdout()}
		d.configuration(s, problem)
		if problem == nil {
			d.machine(c.Context(), s)
			d.forges(c.Context(), s, repos)
		}
		return d.end()
	})
}

// withSettings gives a command the flags of the server, and reads them. What is wrong with them is told to run.
func withSettings(c *cobra.Command, run func(c *cobra.Command, s settings, problem error) error) *cobra.Command {
	table := options()
	own := c.Flags().FlagUsages()
	c.Flags().AddFlagSet(flagSet(table))
	c.Args = noArgs
	c.SetUsageFunc(func(c *cobra.Command) error {
		_, err := fmt.Fprintf(c.OutOrStdout(), "Usage: %s [flags of tidegate server]\n\n%s%s", c.CommandPath(), own, usage(table))
		return err
	})
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := readSettings(values{flags: c.Flags(), lookup: withoutLinks(os.LookupEnv)}, table)
		return run(c, s, err)
	}
	return c
}

// doctor looks, and tells.
type doctor struct {
	out            io.Writer
	oks, warns, no int
}

// errSick: something has to be mended.
var errSick = errors.New("something has to be mended")

func (d *doctor) about(what string) { _, _ = fmt.Fprintf(d.out, "\n%s\n", what) }

func (d *doctor) ok(format string, args ...any) {
	d.oks++
	d.line("ok", fmt.Sprintf(format, args...))
}

// warn tells of what works, but not well. mend says what to do.
func (d *doctor) warn(mend, format string, args ...any) {
	d.warns++
	d.line("warn", fmt.Sprintf(format, args...))
	d.line("", mend)
}

// bad tells of what does not work. mend says what to do.
func (d *doctor) bad(mend, format string, args ...any) {
	d.no++
	d.line("bad", fmt.Sprintf(format, args...))
	d.line("", mend)
}

func (d *doctor) line(level, text string) {
	if text != "" {
		_, _ = fmt.Fprintf(d.out, "  %-5s %s\n", level, wrap(text, 8, 100))
	}
}

func (d *doctor) end() error {
	_, _ = fmt.Fprintf(d.out, "\n%d ok, %s, %s to mend\n", d.oks, plural(d.warns, "warning"), plural(d.no, "thing"))
	if d.no > 0 {
		return errSick
	}
	return nil
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func (d *doctor) configuration(s settings, problem error) {
	d.about("Configuration")
	if problem == nil {
		d.ok("every flag can be read")
		for _, name := range s.secretsInArgs {
			d.warn("Give it as --"+name+"-file.", "--%s stands in the arguments, where other users of this machine can see it", name)
		}
		for _, a := range s.accounts {
			if a.secret.set() && isWeak(a.secret) {
				d.warn("Make one with: openssl rand -hex 32", "--%s-webhook-secret has fewer than 16 bytes: who guesses it can send commands", a.flags)
			}
		}
		return
	}
	for line := range strings.Lines(problem.Error()) {
		d.bad("", "%s", strings.TrimSpace(line))
	}
	d.line("", "Nothing else was looked at. `tidegate server --help` tells of every flag.")
}

func (d *doctor) machine(ctx context.Context, s settings) {
	d.about("This machine")
	d.dataDir(s)
	if level, err := supervisor.Protect(); err != nil || !level.Holds() {
		d.warn("Run the server as a user of its own, on Linux 5.13 or newer. docs/security.md tells what each part is for.", "isolation of terraform: %s", level)
	} else {
		d.ok("isolation of terraform: %s", level)
	}
	if git, err := workdir.GitVersion(ctx); err != nil {
		d.bad("Install git, or put it into PATH.", "%v", err)
	} else {
		d.ok("git %s", git)
	}
	tools := terraform.NewFinder(terraform.FinderConfig{Dir: filepath.Join(s.dataDir, "tools"), DefaultVersion: s.defaultTF, Look: true})
	tool, err := tools.Find(ctx, "", "")
	switch {
	case err == nil:
		d.ok("%s at %s", tool, tool.Path)
	case s.download:
		d.warn("Nothing has to be done where releases.hashicorp.com can be reached. Without it, install terraform.", "terraform is not here, and will be installed when it is needed first")
	default:
		d.bad("Install terraform, name a version with --default-tf-version, or allow --tf-download.", "%v", err)
	}
}

func (d *doctor) forges(ctx context.Context, s settings, also []string) {
	all, err := s.open(slog.New(slog.DiscardHandler))
	if err != nil {
		d.bad("", "%v", err)
		return
	}
	if err := all.checkRepos(also); err != nil {
		d.bad("Name it as in --repo-allowlist, without wildcards.", "%v", err)
	}
	for i, f := range all {
		a := s.accounts[i]
		d.about(a.forge + ", " + f.Site().Instance)
		repos := s.repositories(f, also)
		if !d.account(ctx, f, a) {
			continue
		}
		if a.app() {
			d.application(ctx, s, f)
		}
		if len(repos) == 0 {
			d.warn("Name one with --repo "+f.Site().Instance+"/OWNER/NAME.", "no repository is named, so none was looked at")
		}
		for _, r := range repos {
			d.repository(ctx, s, f, a, r)
		}
	}
	d.wayHere(ctx, s)
}

// asked bounds one question to a forge: what the server would wait minutes for is told at once.
const asked = 20 * time.Second

// account reports whether the forge knows the token.
func (d *doctor) account(ctx context.Context, f client, a account) bool {
	in, ok := f.(vcs.Insider)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, asked)
	defer cancel()
	login, err := in.Login(ctx)
	if err != nil {
		d.bad(unknown(a, err), "the forge does not say whose the token is: %v", err)
		return false
	}
	if a.user != "" && !strings.EqualFold(strings.TrimSuffix(login, "[bot]"), a.user) {
		d.warn(fmt.Sprintf("Set --%s-user to %s.", a.flags, login), "the token is that of %s, --%s-user is %s: who mentions %[3]s does not wake Tidegate", login, a.flags, a.user)
	} else {
		d.ok("the token is that of %s", login)
	}
	if m, ok := f.(vcs.Metered); ok {
		if n, told := m.RequestsLeft(); told {
			d.ok("%d requests are left in this hour", n)
		}
	}
	return true
}

// unknown is what to do where the forge does not know who asks.
func unknown(a account, err error) string {
	switch {
	case errors.Is(err, vcs.ErrNotFound):
		return "See where " + a.where() + " leads: it has to be the forge itself. What answers there does not know what is asked."
	case errors.Is(err, vcs.ErrRefused):
		return "Give the token what it lacks. " + tokenAdvice(a)
	default:
		return "See that the forge can be reached from here (HTTPS_PROXY names a proxy), and that the token is whole and has not ended."
	}
}

// application looks at what an App may, and at its webhook.
func (d *doctor) application(ctx context.Context, s settings, f client) {
	in, ok := f.(vcs.Apps)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, asked)
	defer cancel()
	app, err := in.App(ctx)
	if err != nil {
		d.warn("See in the App's settings that it may what docs/forges.md says, and that its webhook goes to "+s.events()+".", "the App's permissions and webhook can't be read: %v", err)
		return
	}
	if lacks := s.lacks(app.May); len(lacks) > 0 {
		d.bad("Give it these in the App's settings, and accept them where it is installed.", "the App lacks %s", strings.Join(lacks, ", "))
	} else {
		d.ok("the App may what is needed")
	}
	switch to := s.events(); {
	case s.polls:
	case app.Webhook.URL != to:
		d.bad("Run `tidegate webhook install`, or set --url to where the forge reaches this server.", "the App's webhook goes to %q, and not to %s", app.Webhook.URL, to)
	case len(app.Unsent) > 0:
		d.bad("Subscribe to them in the App's settings, Permissions & events.", "the App does not send %s", strings.Join(app.Unsent, " and "))
	default:
		d.oneWebhook(app.Webhook, to)
	}
}

// lacks are the permissions that an App needs and was not given.
func (s settings) lacks(may map[string]string) []string {
	contents := "read"
	if s.automerge {
		contents = "write"
	}
	needs := []struct{ name, how string }{
		{"contents", contents}, {"issues", "write"}, {"metadata", "read"}, {"pull_requests", "write"}, {"statuses", "write"},
	}
	if s.automerge || slices.Contains(s.requirements, project.Mergeable) {
		needs = append(needs, struct{ name, how string }{"checks", "read"})
	}
	var out []string
	for _, need := range needs {
		if has := may[need.name]; has != need.how && has != "write" && has != "admin" {
			out = append(out, need.name+": "+need.how)
		}
	}
	return out
}

// tokenAdvice is what a token must be able to do.
func tokenAdvice(a account) string {
	if a.app() {
		return "An App has to be installed on it, with contents: read, pull requests, issues and commit statuses: write."
	}
	switch a.flags {
	case "gitea":
		return "It needs the scopes write:repository, write:issue and read:user."
	case "gitlab":
		return "It needs the scope api."
	default:
		return "A fine-grained one needs contents: read, pull requests, issues and commit statuses: write, metadata: read; a classic one needs repo."
	}
}

func (d *doctor) repository(ctx context.Context, s settings, f client, a account, named vcs.Repo) {
	d.about(f.Site().Instance + "/" + named.FullName())
	ctx, cancel := context.WithTimeout(ctx, 3*asked)
	defer cancel()
	l, ok := f.(vcs.Lister)
	if !ok {
		return
	}
	r, err := l.Repo(ctx, named.Owner, named.Name)
	if err != nil {
		d.bad("See that it is written as on the forge, and that the account was given access to it. "+tokenAdvice(a), "it can't be read: %v", err)
		return
	}
	d.ok("it can be read")
	if !s.allow.Allows(r) {
		d.bad("Add "+f.Site().Instance+"/"+r.FullName()+" to --repo-allowlist.", "it is not served: no rule of --repo-allowlist is for it")
	}
	d.permission(ctx, f, a, r)
	d.token(ctx, f, a, r)
	d.clock(ctx, l, r)
	d.webhook(ctx, s, f, a, r)
}

func (d *doctor) permission(ctx context.Context, f client, a account, r vcs.Repo) {
	if a.app() {
		return // what an App may do is not told as a user's
	}
	p, err := f.Permission(ctx, r, a.user)
	switch {
	case err != nil:
		d.bad("Without it nobody's command is run. "+tokenAdvice(a), "who may do what can't be read: %v", err)
	case p < vcs.WritePermission:
		d.bad("Give the account write permission on the repository.", "%s may not write: it can't set statuses, or comment on a locked pull request", a.user)
	case p < vcs.AdminPermission && a.flags == "gitea":
		d.bad("Make the account an administrator of the repository.", "%s does not administer the repository, and a Gitea tells only administrators who may command", a.user)
	default:
		d.ok("%s may write", a.user)
	}
}

// soon is how long before its end a token is told of.
const soon = 14 * 24 * time.Hour

// token looks at what the token may: that the account may do it in the repository is another thing.
func (d *doctor) token(ctx context.Context, f client, a account, r vcs.Repo) {
	k, ok := f.(vcs.Keyholder)
	if !ok || a.app() { // an App has permissions
		return
	}
	ctx, cancel := context.WithTimeout(ctx, asked)
	defer cancel()
	switch t, err := k.Token(ctx, r); {
	case err != nil:
		d.warn(tokenAdvice(a), "what the token may can't be asked for: %v", err)
	case len(t.Lacks) > 0:
		d.bad("Make one that has. "+tokenAdvice(a), "the token lacks %s", strings.Join(t.Lacks, " and "))
	case !t.Ends.IsZero() && time.Until(t.Ends) < soon:
		d.warn(fmt.Sprintf("Put a new one into --%s-token-file before that: the server reads it anew, and goes on.", a.flags), "the token ends on %s", t.Ends.Format(time.DateOnly))
	default:
		d.ok("the token may comment and set statuses")
	}
}

func (d *doctor) clock(ctx context.Context, l vcs.Lister, r vcs.Repo) {
	began := time.Now()
	n, err := l.News(ctx, r, began, nil)
	if err != nil {
		d.bad("What no webhook told would not be found. See that the token may read pull requests.", "what happened can't be asked for: %v", err)
		return
	}
	// The forge tells whole seconds, and answers somewhere between.
	if off := n.At.Sub(began); off < -maxSkew || off > maxSkew+time.Since(began) {
		d.bad("Set this machine's clock, best by NTP.", "the clock of this machine is %s away from the forge's", off.Abs().Round(time.Second))
		return
	}
	d.ok("the clocks agree")
}

func (d *doctor) webhook(ctx context.Context, s settings, f client, a account, r vcs.Repo) {
	h, ok := f.(vcs.Hooker)
	if !ok || s.polls || a.app() { // an App's webhook is its own
		return
	}
	to := s.events()
	all, err := h.Webhooks(ctx, r)
	if errors.Is(err, vcs.ErrNotFound) || errors.Is(err, vcs.ErrRefused) {
		d.warn("See in the repository's settings that one goes to "+to+", or run this with a token that may administer webhooks.", "the token does not show webhooks")
		return
	}
	if err != nil {
		d.bad("", "the webhooks can't be read: %v", err)
		return
	}
	found := false
	for _, one := range all {
		if one.URL != to {
			continue
		}
		if found {
			d.warn("Delete one of them. Until then each event comes twice, and is taken in once.", "two webhooks go to %s", to)
		}
		found = true
		d.oneWebhook(one, to)
	}
	if !found {
		d.bad("Run `tidegate webhook install`, unless its organisation or group has one, which is not seen here; or set --url to where the forge reaches this server.",
			"no webhook of the repository goes to %s%s", to, elsewhere(all))
	}
}

// elsewhere names the webhooks that may be meant for this server. Others are nobody's business: a URL may hold a secret.
func elsewhere(all []vcs.Webhook) (text string) {
	for _, h := range all {
		if u, err := url.Parse(h.URL); err == nil && strings.Trim(path.Base(u.Path), "/") == "events" {
			text += fmt.Sprintf("; one goes to %s://%s%s", u.Scheme, u.Host, u.Path)
		}
	}
	return text
}

func (d *doctor) oneWebhook(h vcs.Webhook, to string) {
	switch {
	case len(h.Wrong) > 0:
		d.bad("Run `tidegate webhook install`, which mends it.", "the webhook to %s: %s", to, strings.Join(h.Wrong, "; "))
	case strings.HasPrefix(h.Failed, "401"):
		d.bad("Run `tidegate webhook install`, which sets it anew.", "the webhook to %s has another secret than the server: its newest delivery was refused", to)
	case h.Failed != "":
		d.bad("See that the server runs, and that nothing between it and the forge stands in the way.", "the newest delivery to %s did not arrive: %s", to, h.Failed)
	default:
		d.ok("the webhook to %s sends what is needed", to)
		if h.Untold {
			d.line("", "Whether its secret is the server's, the forge does not tell. `tidegate webhook install` sets it.")
		}
	}
}

// events is where webhooks have to go.
func (s *settings) events() string { return s.url + "/events" }
