package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tidegate/tidegate/vcs"
)

func webhookCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "webhook",
		Short: "Make the webhooks that send Tidegate what happens",
		Args:  noCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(installCommand())
	return c
}

func installCommand() *cobra.Command {
	var repos []string
	c := &cobra.Command{
		Use:   "install",
		Short: "Make or mend the webhook of each repository",
		Long: `Takes the flags and the environment of tidegate server. In each repository it makes the webhook that goes
to --url, with the first line of the webhook secret, or mends the one that goes there already. The token
must be allowed to administer webhooks; it may be another one than the server's. A GitHub App has one
webhook for all repositories: that one is set.`,
	}
	c.Flags().StringSliceVar(&repos, "repo", nil, "`HOST/OWNER/NAME`, beside those that --repo-allowlist names whole")
	return withSettings(c, func(c *cobra.Command, s settings, problem error) error {
		if problem != nil {
			return &usageError{problem}
		}
		if s.private {
			c.PrintErrf("--url is %s: only a forge on this machine reaches it there.\n", s.url)
		}
		return s.installWebhooks(c, repos)
	})
}

func (s *settings) installWebhooks(c *cobra.Command, also []string) error {
	all, err := s.open(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := all.checkRepos(also); err != nil {
		return &usageError{err}
	}
	var errs []error
	many := 0
	for i, f := range all {
		h, ok := f.(vcs.Hooker)
		l, lists := f.(vcs.Lister)
		if !ok || !lists {
			errs = append(errs, fmt.Errorf("%s: make its webhooks by hand", s.accounts[i].forge))
			continue
		}
		secrets := webhookSecrets(s.accounts[i].secret, slog.New(slog.DiscardHandler))
		if len(secrets) == 0 {
			errs = append(errs, fmt.Errorf("--%s-webhook-secret[-file] is needed to sign with", s.accounts[i].flags))
			continue
		}
		if in, ok := f.(vcs.Apps); ok && s.accounts[i].app() {
			many++
			errs = append(errs, s.installAppWebhook(c, in, f.Site().Instance, secrets[0]))
			continue
		}
		for _, named := range s.repositories(f, also) {
			many++
			r, err := l.Repo(c.Context(), named.Owner, named.Name)
			if err == nil {
				err = s.installWebhook(c, h, r, secrets[0])
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s/%s: %w%s", f.Site().Instance, named.FullName(), err, hookAdvice(s.accounts[i], err)))
			}
		}
	}
	if many == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no repository is named whole: use --repo HOST/OWNER/NAME"))
	}
	return errors.Join(errs...)
}

// hookAdvice is what a token that sets webhooks must be able to do, for who was refused.
func hookAdvice(a account, err error) string {
	if !errors.Is(err, vcs.ErrNotFound) && !errors.Is(err, vcs.ErrRefused) {
		return ""
	}
	what := map[string]string{
		"gh":     "a fine-grained one needs webhooks: write, a classic one repo, and its user administers the repository",
		"gitlab": "it needs the scope api, and its user the role Maintainer",
		"gitea":  "it needs the scope write:repository, and its user administers the repository",
	}
	return "\n  See that it is written as on the forge, and that the token may set webhooks there: " + what[a.flags] + "; it may be another token than the server's."
}

// installAppWebhook sets the one webhook of an App, which is for all of its repositories.
func (s *settings) installAppWebhook(c *cobra.Command, in vcs.Apps, host string, secret []byte) error {
	if err := in.SetAppWebhook(c.Context(), s.events(), secret); err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s: the App's webhook goes to %s\n", host, s.events())
	return err
}

func (s *settings) installWebhook(c *cobra.Command, h vcs.Hooker, r vcs.Repo, secret []byte) error {
	found, err := h.Webhooks(c.Context(), r)
	if err != nil {
		return err
	}
	var id int64
	if i := slices.IndexFunc(found, func(one vcs.Webhook) bool { return one.URL == s.events() }); i >= 0 {
		id = found[i].ID
	}
	if err := h.SetWebhook(c.Context(), r, id, s.events(), secret); err != nil {
		return err
	}
	done := "made"
	if id != 0 {
		done = "set anew"
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s/%s: the webhook to %s is %s\n", r.ID.Forge, r.FullName(), s.events(), done)
	return err
}

// checkRepos refuses names of --repo that none of the forges can have.
func (f forges) checkRepos(names []string) error {
	var errs []error
	for _, name := range names {
		list, err := vcs.ParseAllowlist(name)
		taken := err == nil && slices.ContainsFunc(f, func(c client) bool { return len(list.Names(c.Site().Instance)) == 1 })
		if !taken {
			errs = append(errs, fmt.Errorf("--repo: %q is not HOST/OWNER/NAME of a forge that is configured", name))
		}
	}
	return errors.Join(errs...)
}

// repositories are those of a forge that are named whole.
func (s *settings) repositories(f client, also []string) []vcs.Repo {
	repos := s.allow.Names(f.Site().Instance)
	for _, name := range also {
		if list, err := vcs.ParseAllowlist(name); err == nil {
			repos = append(repos, list.Names(f.Site().Instance)...)
		}
	}
	return repos
}
