package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitea"
	"github.com/tidegate/tidegate/vcs/github"
	"github.com/tidegate/tidegate/vcs/gitlab"
)

// account is who Tidegate is on one forge, as the flags say.
type account struct {
	// flags is what their names begin with: gh.
	flags string
	// forge is its name for people.
	forge         string
	user          string
	token, secret secret
	// appID and appKey are a GitHub App's, in place of a token; installation may be "".
	appID, installation string
	appKey              secret
	// hostname or apiURL is where the forge is; addressed names the flags that say it.
	hostname, apiURL string
	addressed        string
	pageSize         string
	// placed: where it is was said, and is not the usual place.
	placed bool
	// open makes the client. It sends nothing.
	open func(account, *slog.Logger) (client, error)
}

// client is a forge, and what takes its webhooks in.
type client interface {
	vcs.Forge
	vcs.Hook
}

// given: something of it is configured.
func (a account) given() bool {
	return a.placed || a.user != "" || a.token.set() || a.secret.set() || a.app()
}

// app: a GitHub App asks, not a user.
func (a account) app() bool { return a.appID != "" || a.appKey.set() || a.installation != "" }

// readAccounts reads which forges are served. keep reads a secret, placed reports whether a flag has another value than its usual one.
func readAccounts(get func(string) string, keep func(string) secret, placed func(string) bool) []account {
	return []account{
		{
			flags: "gh", forge: "GitHub", user: get("gh-user"), token: keep("gh-token"), secret: keep("gh-webhook-secret"),
			hostname: get("gh-hostname"), apiURL: get("gh-api-url"), addressed: "gh-api-url", open: openGitHub,
			appID: get("gh-app-id"), installation: get("gh-app-installation-id"), appKey: keep("gh-app-key"),
			placed: placed("gh-hostname") || placed("gh-api-url"),
		},
		{
			flags: "gitlab", forge: "GitLab", user: get("gitlab-user"), token: keep("gitlab-token"), secret: keep("gitlab-webhook-secret"),
			hostname: get("gitlab-hostname"), apiURL: get("gitlab-api-url"), addressed: "gitlab-api-url", open: openGitLab,
			placed: placed("gitlab-hostname") || placed("gitlab-api-url"),
		},
		{
			flags: "gitea", forge: "Gitea", user: get("gitea-user"), token: keep("gitea-token"), secret: keep("gitea-webhook-secret"),
			apiURL: get("gitea-base-url"), addressed: "gitea-base-url", pageSize: get("gitea-page-size"), open: openGitea,
			placed: placed("gitea-base-url"),
		},
	}
}

func openGitHub(a account, log *slog.Logger) (client, error) {
	c := github.Config{
		APIURL: a.apiURL, Hostname: a.hostname, User: a.user, Token: a.token.read,
		WebhookSecrets: func() [][]byte { return webhookSecrets(a.secret, log) }, Log: log,
	}
	if a.app() {
		id, err := strconv.ParseInt(a.appID, 10, 64)
		if err != nil {
			return nil, &flagError{"--gh-app-id", fmt.Sprintf("%q is not a number", a.appID)}
		}
		c.App = &github.App{ID: id, Key: func() ([]byte, error) {
			key, err := a.appKey.read()
			return []byte(key), err
		}}
		if a.installation != "" {
			if c.App.InstallationID, err = strconv.ParseInt(a.installation, 10, 64); err != nil {
				return nil, &flagError{"--gh-app-installation-id", fmt.Sprintf("%q is not a number", a.installation)}
			}
		}
		c.Token = nil
	}
	return github.New(c)
}

func openGitLab(a account, log *slog.Logger) (client, error) {
	return gitlab.New(gitlab.Config{
		APIURL: a.apiURL, Hostname: a.hostname, User: a.user, Token: a.token.read,
		WebhookSecrets: func() [][]byte { return webhookSecrets(a.secret, log) }, Log: log,
	})
}

func openGitea(a account, log *slog.Logger) (client, error) {
	size, err := strconv.Atoi(a.pageSize)
	if err != nil {
		return nil, err
	}
	return gitea.New(gitea.Config{
		BaseURL: a.apiURL, User: a.user, Token: a.token.read, PageSize: size,
		WebhookSecrets: func() [][]byte { return webhookSecrets(a.secret, log) }, Log: log,
	})
}

// checkAccounts keeps the forges that are configured, and checks that each is so as a whole. listed: the allowlist can be read.
func (s *settings) checkAccounts(all []account, listed bool, bad *problems) {
	s.accounts = slices.DeleteFunc(slices.Clone(all), func(a account) bool { return !a.given() })
	if len(s.accounts) == 0 {
		bad.add("no forge is configured: --gh-user, --gh-token-file and --gh-webhook-secret-file are for GitHub, the same with --gitlab- and --gitea- for GitLab, Gitea and Forgejo")
	}
	served, signed := map[string]string{}, map[string]string{}
	for _, a := range s.accounts {
		s.checkAccount(a, bad)
		a.checkOwnSecret(signed, bad)
		if !a.checkAPIURL(bad) || !a.checkPageSize(bad) {
			continue
		}
		c, err := a.open(a, slog.New(slog.DiscardHandler))
		if err != nil {
			bad.add("%s: %w", a.blamed(err), err)
			continue
		}
		instance := c.Site().Instance
		if other := served[instance]; other != "" {
			bad.add("%s: %s is served already as %s", a.where(), instance, other)
		}
		served[instance] = a.forge
		if listed && !s.allow.Reaches(instance) {
			bad.add("--repo-allowlist: no rule is for %s; write %[1]s/OWNER/NAME", instance)
		}
		s.checkAbilities(a, c, bad)
	}
}

// checkAbilities refuses what is asked for and a forge can't do.
func (s *settings) checkAbilities(a account, c client, bad *problems) {
	if _, ok := c.(vcs.Approver); !ok && slices.Contains(s.requirements, project.Approved) {
		bad.add("--apply-requirements: %s has no reviews, so nothing could be approved there", a.forge)
	}
	m, merges := c.(vcs.Merger)
	if !merges && slices.Contains(s.requirements, project.Mergeable) {
		bad.add("--apply-requirements: %s does not say what it would merge, so nothing could be mergeable there", a.forge)
	}
	if !merges && s.automerge {
		bad.add("--automerge: %s does not merge", a.forge)
	}
	if merges && s.mergeMethod != vcs.DefaultMethod && !slices.Contains(m.MergeMethods(), s.mergeMethod) {
		bad.add("--automerge-method: %s does not merge by %s; it knows %s", a.forge, s.mergeMethod, words(m.MergeMethods()))
	}
}

func words(methods []vcs.MergeMethod) string {
	var out []string
	for _, m := range methods {
		out = append(out, string(m))
	}
	return strings.Join(out, ", ")
}

func (s *settings) checkAccount(a account, bad *problems) {
	if a.app() {
		a.checkApp(bad)
	} else {
		a.checkUser(bad)
	}
	if !a.secret.set() && !s.polls {
		bad.add("--%s-webhook-secret or --%[1]s-webhook-secret-file: without it anybody could send webhooks", a.flags)
	}
}

// checkOwnSecret refuses a secret that another forge has: GitLab sends it along with every delivery, so that who gets one
// could sign as the other. of has the forges of the secrets that were seen.
func (a account) checkOwnSecret(of map[string]string, bad *problems) {
	all, _ := a.secret.all() // that it can't be read is told elsewhere
	for _, value := range all {
		if other := of[value]; other != "" && other != a.forge {
			bad.add("--%s-webhook-secret[-file]: %s has the same secret; give each forge one of its own", a.flags, other)
			return
		}
		of[value] = a.forge
	}
}

func (a account) checkApp(bad *problems) {
	if a.token.set() {
		bad.add("--gh-token and --gh-app-id: an account with a token asks, or an App; give one of them")
	}
	if a.appID == "" || !a.appKey.set() {
		bad.add("--gh-app-id and --gh-app-key[-file] go together")
	}
}

func (a account) checkUser(bad *problems) {
	if a.user == "" {
		bad.add("--%s-user: the account that comments is needed", a.flags)
	}
	if !a.token.set() {
		bad.add("--%s-token or --%[1]s-token-file: the account's token is needed", a.flags)
	}
	if token, err := a.token.read(); err == nil && strings.ContainsFunc(token, unicode.IsSpace) {
		bad.add("--%s-token[-file]: there is a space in it, which no token has", a.flags)
	}
}

// flagError is what is wrong with the value of one flag.
type flagError struct{ flag, problem string }

func (e *flagError) Error() string { return e.problem }

// blamed names the flags that a client can't be made of.
func (a account) blamed(err error) string {
	var one *flagError
	var app *github.AppError
	switch {
	case errors.As(err, &one):
		return one.flag
	case errors.As(err, &app):
		return "--gh-app-id and --gh-app-key[-file]"
	default:
		return a.where()
	}
}

// where names the flags that say where the forge is.
func (a account) where() string {
	switch {
	case a.hostname == "":
		return "--" + a.addressed
	case a.apiURL == "":
		return "--" + a.flags + "-hostname"
	default:
		return "--" + a.flags + "-hostname and --" + a.addressed
	}
}

// checkAPIURL reports whether the forge's address is good so far.
func (a account) checkAPIURL(bad *problems) bool {
	if a.apiURL == "" {
		return true
	}
	flag := "--" + a.addressed
	u, err := url.Parse(a.apiURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		bad.add("%s: %s is not an absolute URL without user and password", flag, quoted(a.apiURL))
	case u.Scheme == "http" && !loopback(u.Hostname()):
		bad.add("%s: plain http would send the token in clear; only loopback addresses may use it", flag)
	case u.Scheme != "http" && u.Scheme != "https":
		bad.add("%s: %q is neither https nor http", flag, u.Scheme)
	default:
		return true
	}
	return false
}

func (a account) checkPageSize(bad *problems) bool {
	n, err := strconv.Atoi(a.pageSize)
	if a.pageSize != "" && (err != nil || n < 1 || n > 1000) {
		bad.add("--%s-page-size: %q is not a number from 1 to 1000", a.flags, a.pageSize)
		return false
	}
	return true
}

// forges are the clients of all accounts.
type forges []client

func (s *settings) open(log *slog.Logger) (forges, error) {
	var all forges
	for _, a := range s.accounts {
		c, err := a.open(a, log)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.forge, err)
		}
		all = append(all, c)
		log.Info("serving a forge", "forge", a.forge, "host", c.Site().Instance, "as", a.user, "abilities", abilities(c))
	}
	return all, nil
}

// byInstance is what the engine finds a forge by.
func (f forges) byInstance() map[string]vcs.Forge {
	all := map[string]vcs.Forge{}
	for _, c := range f {
		all[c.Site().Instance] = c
	}
	return all
}

// pullRef writes a reference as the forge of an instance does. One that is served no longer has what most have.
func (f forges) pullRef(instance string, number int) string {
	for _, c := range f {
		if c.Site().Instance == instance {
			return c.Site().PullRef(number)
		}
	}
	return fmt.Sprintf("#%d", number)
}

// hooks are the forges that webhooks are taken from: none when the server asks by itself.
func (f forges) hooks(polls bool) []vcs.Hook {
	var all []vcs.Hook
	for _, c := range f {
		if !polls {
			all = append(all, c)
		}
	}
	return all
}

// named are the repositories that the operator has named, of all forges.
func (f forges) named(list vcs.Allowlist) []vcs.Repo {
	var all []vcs.Repo
	for _, c := range f {
		all = append(all, list.Names(c.Site().Instance)...)
	}
	return all
}

// abilities are what a forge can do, beside what every one can.
func abilities(f vcs.Forge) string {
	var can []string
	add := func(ok bool, what string) {
		if ok {
			can = append(can, what)
		}
	}
	_, ok := f.(vcs.Approver)
	add(ok, "reviews")
	_, ok = f.(vcs.Merger)
	add(ok, "merging")
	_, ok = f.(vcs.Lister)
	add(ok, "missed webhooks")
	_, ok = f.(vcs.Folder)
	add(ok, "folding")
	_, ok = f.(vcs.Reactor)
	add(ok, "reactions")
	_, ok = f.(vcs.Cloner)
	add(ok, "private repositories")
	_, ok = f.(vcs.Metered)
	add(ok, "its limits")
	return strings.Join(can, ", ")
}
