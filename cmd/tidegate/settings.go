package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/cmd/tidegate/internal/pid1"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/server/command"
	"github.com/tidegate/tidegate/server/dispatch"
	"github.com/tidegate/tidegate/vcs"
)

// settings is what `tidegate server` was told, checked.
type settings struct {
	allow         vcs.Allowlist
	executable    string
	statusName    string
	accounts      []account // one for each forge that is served
	url           string
	private       bool // the URL leads to this machine
	listen        string
	dataDir       string
	level         slog.Level
	webUser       string
	webPassword   secret
	defaultTF     string
	download      bool
	jobs          int
	writesAnHour  int
	requirements  []string
	automerge     bool
	mergeMethod   vcs.MergeMethod
	deleteBranch  bool
	localState    bool
	gitCreds      bool
	submodules    bool
	lfs           bool
	ssh           runner.SSH
	reconcile     time.Duration
	lockTimeout   time.Duration
	grace         time.Duration
	interrupt     time.Duration // when in the grace; 0 is never
	planTimeout   time.Duration
	applyTimeout  time.Duration
	networkFS     bool
	logLimit      int64
	jobMemory     int64
	jobFiles      int64
	queuePull     int
	queueRepo     int
	polls         bool
	recoverMaxAge time.Duration
	keep          dispatch.Keep
	minFree       int64
	secretFiles   []string
	secretsInArgs []string
	// unknownEnv are variables that look like settings and are none.
	unknownEnv []string
}

// problems collects everything that is wrong with the flags, to be told at once.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

// exactVersion is one version; a range would mean another terraform every other day.
var exactVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)

// readSettings checks the flags. All problems are answered together, each with its flag.
func readSettings(v values, table []option) (settings, error) {
	var s settings
	var bad problems
	get := func(name string) string { return v.get(table[indexOf(table, name)]) }
	keep := func(name string) secret { return s.readSecret(v, table[indexOf(table, name)], &bad) }

	var err error
	s.allow, err = vcs.ParseAllowlist(get("repo-allowlist"))
	listed := err == nil
	if !listed {
		bad.add("--repo-allowlist: %w", err)
	}
	s.executable, s.statusName = get("executable-name"), get("vcs-status-name")
	placed := func(name string) bool { return get(name) != table[indexOf(table, name)].def }
	accounts := readAccounts(get, keep, placed)
	s.webUser, s.webPassword = get("web-username"), keep("web-password")
	s.defaultTF = strings.TrimPrefix(get("default-tf-version"), "v")
	if s.defaultTF != "" && !exactVersion.MatchString(s.defaultTF) {
		bad.add("--default-tf-version: %q is not a version such as 1.11.4", s.defaultTF)
	}
	s.readIntervals(get, &bad)
	s.readKeep(get, &bad)
	s.boundGrace(v.lookup)
	s.readRequirements(get("apply-requirements"), &bad)
	s.readMerging(get, &bad)
	s.checkAccounts(accounts, listed, &bad)
	s.checkNames(&bad)
	s.readNumbers(get, &bad)
	s.readLimits(get, &bad)
	s.readAddresses(get, &bad)
	s.readDataDir(get("data-dir"), &bad)
	s.readSSH(get, &bad)
	if (s.gitCreds || s.lfs) && !runner.CanOfferCredential(s.dataDir) {
		bad.add("--write-git-creds and --git-lfs: the path of the data directory %s is too long for the sockets that git is answered on", s.dataDir)
	}
	if err := s.level.UnmarshalText([]byte(get("log-level"))); err != nil {
		bad.add("--log-level: %q is none of debug, info, warn, error", get("log-level"))
	}
	if s.webPassword.set() != (s.webUser != "") {
		bad.add("--web-username and --web-password[-file] go together")
	}
	return s, errors.Join(bad...)
}

func (s *settings) readRequirements(list string, bad *problems) {
	for _, r := range split(list) {
		if known := project.Requirements(); !slices.Contains(known, r) {
			bad.add("--apply-requirements: %q is not known here; known: %s", r, strings.Join(known, ", "))
		}
		s.requirements = append(s.requirements, r)
	}
}

func (s *settings) readMerging(get func(string) string, bad *problems) {
	s.mergeMethod = vcs.MergeMethod(get("automerge-method"))
	if known := command.MergeMethods(); s.mergeMethod != vcs.DefaultMethod && !slices.Contains(known, string(s.mergeMethod)) {
		bad.add("--automerge-method: %q is none of %s", s.mergeMethod, strings.Join(known, ", "))
		s.mergeMethod = vcs.DefaultMethod
	}
}

// readSSH reads how modules are reached over ssh.
func (s *settings) readSSH(get func(string) string, bad *problems) {
	s.ssh = runner.SSH{KnownHosts: get("ssh-known-hosts"), Agent: runner.AgentUse(get("ssh-agent"))}
	if !slices.Contains([]runner.AgentUse{runner.AgentForModules, runner.AgentForAll, runner.AgentForNone}, s.ssh.Agent) {
		bad.add("--ssh-agent: %q is none of modules, all, none", s.ssh.Agent)
	}
	if s.ssh.KnownHosts == "" {
		return
	}
	abs, err := filepath.Abs(s.ssh.KnownHosts)
	if err == nil {
		s.ssh.KnownHosts = abs
		_, err = os.ReadFile(abs) //nolint:gosec // the operator names it
	}
	if err = errors.Join(err, s.ssh.CheckKnownHosts()); err != nil {
		bad.add("--ssh-known-hosts: %w", err)
	}
}

func (s *settings) checkNames(bad *problems) {
	for _, n := range []struct{ flag, value string }{{"executable-name", s.executable}, {"vcs-status-name", s.statusName}} {
		if n.value == "" || strings.ContainsAny(n.value, " \t\r\n/<>`") {
			bad.add("--%s: %q must be one word without spaces, slashes, quotes and brackets", n.flag, n.value)
		}
	}
}

func (s *settings) readNumbers(get func(string) string, bad *problems) {
	var err error
	if s.jobs, err = strconv.Atoi(get("jobs")); err != nil || s.jobs < 1 || s.jobs > 1000 {
		bad.add("--jobs: %q is not a number from 1 to 1000", get("jobs"))
	}
	for _, b := range []struct {
		name string
		to   *bool
	}{
		{"tf-download", &s.download},
		{"allow-local-state", &s.localState},
		{"write-git-creds", &s.gitCreds},
		{"submodules", &s.submodules},
		{"git-lfs", &s.lfs},
		{"allow-network-filesystem", &s.networkFS},
		{"automerge", &s.automerge},
		{"delete-source-branch-on-merge", &s.deleteBranch},
	} {
		if *b.to, err = strconv.ParseBool(get(b.name)); err != nil {
			bad.add("--%s: %q is neither true nor false", b.name, get(b.name))
		}
	}
}

// readLimits reads what bounds a job.
func (s *settings) readLimits(get func(string) string, bad *problems) {
	// What is read of a log at once has a bound too, in package runner.
	const least, most = 64 << 10, 64 << 20
	var err error
	if s.logLimit, err = parseSize(get("job-log-limit")); err != nil {
		bad.add("--job-log-limit: %w", err)
	} else if s.logLimit < least || s.logLimit > most {
		bad.add("--job-log-limit: %s is not from 64KiB to 64MiB", get("job-log-limit"))
	}
	for _, q := range []struct {
		name string
		to   *int
	}{{"max-queue-per-pull", &s.queuePull}, {"max-queue-per-repo", &s.queueRepo}} {
		if *q.to, err = strconv.Atoi(get(q.name)); err != nil || *q.to < 0 {
			bad.add("--%s: %q is not a number from 0 on", q.name, get(q.name))
		}
	}
	if s.jobMemory, err = parseSize(get("job-memory")); err != nil {
		bad.add("--job-memory: %w", err)
	} else if s.jobMemory != 0 && s.jobMemory < 64<<20 {
		bad.add("--job-memory: terraform does not start with less than 64MiB")
	}
	if s.jobFiles, err = strconv.ParseInt(get("job-open-files"), 10, 64); err != nil || s.jobFiles != 0 && s.jobFiles < 64 {
		bad.add("--job-open-files: %q is neither 0 nor a number from 64 on", get("job-open-files"))
	}
}

func (s *settings) readIntervals(get func(string) string, bad *problems) {
	const least = time.Second
	read := func(name string) time.Duration {
		d, err := time.ParseDuration(get(name))
		switch {
		case err != nil:
			bad.add("--%s: %q is not a duration such as 30s or 5m", name, get(name))
		case d != 0 && d < least:
			bad.add("--%s: %s is shorter than %s", name, d, least)
		}
		return d
	}
	s.reconcile, s.recoverMaxAge = read("reconcile-interval"), read("recover-max-age")
	s.lockTimeout = read("lock-timeout")
	var err error
	if s.writesAnHour, err = strconv.Atoi(get("forge-writes-per-hour")); err != nil || s.writesAnHour < 0 || s.writesAnHour > 0 && s.writesAnHour < 25 {
		bad.add("--forge-writes-per-hour: %q is not 0, and no number from 25 on", get("forge-writes-per-hour"))
	}
	s.grace = read("shutdown-grace")
	s.planTimeout, s.applyTimeout = read("plan-timeout"), read("apply-timeout")
	if get("poll-interval") != "" {
		s.reconcile, s.polls = read("poll-interval"), true
		if s.reconcile == 0 {
			bad.add("--poll-interval: 0 would never ask")
		}
	}
}

// boundGrace keeps the grace within that of an init around us, which ends everything: then applies can't be
// left to their supervisors.
func (s *settings) boundGrace(lookup func(string) (string, bool)) {
	text, ok := lookup(pid1.EnvGrace)
	grace, err := time.ParseDuration(text)
	if !ok || err != nil {
		return
	}
	s.grace, s.interrupt = min(s.grace, grace), pid1.InterruptAfter(grace)
}

func (s *settings) readAddresses(get func(string) string, bad *problems) {
	port, err := strconv.Atoi(get("port"))
	if err != nil || port < 0 || port > 65535 {
		bad.add("--port: %q is not a port number", get("port"))
	}
	s.listen = get("listen")
	if s.listen == "" {
		s.listen = ":" + strconv.Itoa(port)
	}
	host, p, err := net.SplitHostPort(s.listen)
	if err != nil {
		bad.add("--listen: %q is not an address such as 127.0.0.1:4141", s.listen)
	}
	s.url = strings.TrimRight(get("url"), "/")
	if s.url == "" {
		if host == "" || host == "0.0.0.0" || host == "::" {
			host = "localhost"
		}
		s.url, s.private = "http://"+net.JoinHostPort(host, p), true
		return
	}
	u, err := url.Parse(s.url)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		bad.add("--url: %s is not an absolute http or https URL without user, password and query", quoted(s.url))
		return
	}
	s.private = loopback(u.Hostname())
}

func (s *settings) readDataDir(dir string, bad *problems) {
	if rest, home := strings.CutPrefix(dir, "~"); home && (rest == "" || rest[0] == '/') {
		h, err := os.UserHomeDir()
		if err != nil {
			bad.add("--data-dir: %w; name a directory", err)
			return
		}
		dir = filepath.Join(h, rest)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		bad.add("--data-dir: %w", err)
	}
	s.dataDir = abs
}

// readSecret reads one secret and notes where it came from.
func (s *settings) readSecret(v values, o option, bad *problems) secret {
	sec := secret{path: v.file(o), lines: o.lines, whole: o.whole}
	if value := v.get(o); value != "" {
		if !o.whole {
			line, err := oneLine(value)
			if err != nil {
				bad.add("--%s: the value %w", o.name, err)
			}
			value = line
		}
		sec.value = &value
	}
	if v.flags.Lookup(o.name).Changed {
		s.secretsInArgs = append(s.secretsInArgs, o.name)
	}
	if sec.value != nil && sec.path != "" {
		bad.add("--%s and --%s-file: give one of them", o.name, o.name)
	}
	if sec.path != "" {
		given := sec.path
		if abs, err := filepath.Abs(sec.path); err == nil {
			sec.path = abs
		}
		switch _, err := sec.read(); {
		case err == nil:
		case errors.Is(err, fs.ErrNotExist) && filepath.Base(given) == given:
			bad.add("--%s-file: there is no such file in %s (its name is not shown: it could be the secret itself)", o.name, filepath.Dir(sec.path))
		default:
			bad.add("--%s-file: %w", o.name, err)
		}
		s.secretFiles = append(s.secretFiles, sec.path)
	}
	return sec
}

// quoted shows a URL that was refused, without what could be a password in it.
func quoted(text string) string {
	if strings.ContainsAny(text, "@?") {
		return "the value (not shown: it may hold a password)"
	}
	return strconv.Quote(text)
}

func indexOf(table []option, name string) int {
	return slices.IndexFunc(table, func(o option) bool { return o.name == name })
}

func split(list string) []string {
	var out []string
	for _, s := range strings.Split(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
