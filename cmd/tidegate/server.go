package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/gitcredential"
	"github.com/tidegate/tidegate/runner/supervisor"
	"github.com/tidegate/tidegate/runner/terraform"
	"github.com/tidegate/tidegate/runner/workdir"
	"github.com/tidegate/tidegate/server"
	"github.com/tidegate/tidegate/server/backup"
	"github.com/tidegate/tidegate/server/dispatch"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/server/web"
	"github.com/tidegate/tidegate/server/webhook"
	"github.com/tidegate/tidegate/templates"
)

func serverCommand() *cobra.Command {
	table := options()
	flags := flagSet(table)
	var md bool
	c := &cobra.Command{
		Use:   "server",
		Short: "Serve repositories: take webhooks, plan, apply",
		Args: func(c *cobra.Command, args []string) error {
			if err := noArgs(c, args); err != nil {
				return &startError{err}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if md {
				_, err := io.WriteString(c.OutOrStdout(), markdown(table))
				return err
			}
			s, err := readSettings(values{flags: c.Flags(), lookup: withoutLinks(os.LookupEnv)}, table)
			s.unknownEnv = unknownEnv(os.Environ(), table)
			if err != nil {
				for _, name := range s.unknownEnv {
					err = errors.Join(err, fmt.Errorf("%s is set, but there is no such setting", name))
				}
				for _, hint := range atlantisEnv(os.Environ(), table) {
					err = errors.Join(err, errors.New(hint))
				}
				return &startError{err}
			}
			// Whoever signals twice does not want to wait. What runs is found again at the next start.
			defer context.AfterFunc(c.Context(), func() { signal.Reset(os.Interrupt, syscall.SIGTERM) })()
			return serve(c.Context(), s, c.ErrOrStderr())
		},
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &startError{flagProblem(c.Flags(), err)} })
	c.Flags().AddFlagSet(flags)
	c.Flags().BoolVar(&md, "help-markdown", false, "")
	_ = c.Flags().MarkHidden("help-markdown")
	c.SetUsageFunc(func(c *cobra.Command) error {
		_, err := fmt.Fprintf(c.OutOrStdout(), "Usage: tidegate server --repo-allowlist LIST --gh-user NAME --gh-token-file FILE --gh-webhook-secret-file FILE ...\nor the same with --gitea-, or both.\n%s", usage(table))
		return err
	})
	return c
}

// serve wires everything and works until ctx ends.
func serve(ctx context.Context, s settings, logs io.Writer) (err error) {
	log := slog.New(server.LogRequests(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: s.level})))
	level, err := supervisor.Protect()
	if err != nil {
		log.Warn("protecting the server's memory", "err", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding our own executable: %w", err)
	}
	if err := checkFilesystem(s.dataDir, s.networkFS); err != nil {
		return &startError{err}
	}
	kept, err := openStores(ctx, s, self, log)
	if err != nil {
		return &startError{err}
	}
	defer func() { err = errors.Join(err, kept.close()) }()
	forges, err := s.open(log)
	if err != nil {
		return &startError{err}
	}
	space := room{dir: s.dataDir, least: s.minFree}
	tools := terraform.NewFinder(terraform.FinderConfig{Dir: filepath.Join(s.dataDir, "tools"), Download: s.download, DefaultVersion: s.defaultTF, Log: log})
	metrics := prometheus.NewRegistry()
	meter := newMeter(metrics)
	engine, err := dispatch.New(dispatch.Config{
		Journal: kept.journal, Locks: kept.locks, Work: kept.work, Log: log, Meter: meter, Hook: failpoints(),
		Forges: forges.byInstance(),
		Runner: runner.New(jobConfig(s, self, log, meter.Took)),
		Tools:  tools,
		Options: dispatch.Options{
			Name: s.statusName, Executable: s.executable,
			Allowed: s.allow.Allows, Slots: s.jobs, QueuePull: s.queuePull, QueueRepo: s.queueRepo, LocalState: s.localState, ModuleCredential: s.gitCreds, Submodules: s.submodules, LFS: s.lfs,
			Automerge: s.automerge, MergeMethod: s.mergeMethod, DeleteBranch: s.deleteBranch,
			ApplyRequirements: s.requirements, URL: s.url, Data: s.dataDir,
			Reconcile: s.reconcile, RecoverMaxAge: s.recoverMaxAge, WritesAnHour: s.writesAnHour, Repos: forges.named(s.allow),
			Keep: s.keep, Room: space.check, RoomFor: space.fits, PlanTimeout: s.planTimeout,
			Grace: s.grace, InterruptAfter: s.interrupt,
		},
	})
	if err != nil {
		return err
	}
	hooks := webhook.New(webhook.Config{Hooks: forges.hooks(s.polls), Journal: takesIn{kept.journal, space}, Allowed: s.allow.Allows, Log: log, Now: time.Now})
	from := sources{engine: engine, journal: kept.journal, locks: kept.locks, data: s.dataDir}
	register(metrics, from, hooks)
	pages := web.New(web.Config{
		Journal: kept.journal, Locks: kept.locks, Log: log, Version: build(), Now: time.Now, Release: release(engine),
		OpenLog: runner.OpenLog, PullRef: forges.pullRef, Seen: func() web.Seen { return seen(hooks.Seen()) },
	})
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return &startError{fmt.Errorf("listening: %w", err)}
	}
	front := server.New(server.Config{
		Events: hooks, Pages: pages, Metrics: promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}),
		Ready: takesIn{kept.journal, space}.ready(ctx), Status: func(ctx context.Context) (any, error) { return from.figures(ctx) },
		User: s.webUser, Password: s.webPassword.read, Private: s.private, Log: log,
	}, lis)
	greet(log, s, level, lis.Addr())
	// The engine stops first: webhooks are taken in as long as running work has its grace. Then the
	// listener; what is kept is closed by the defer above.
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() {
		log.Info("stopping: nothing begins any more; another signal ends at once", "jobs", engine.Load().Running, "grace", s.grace)
	})()
	listening, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	group.Go(func() error { return front.Serve(listening) })
	group.Go(func() error {
		defer hangUp()
		return engine.Run(ctx)
	})
	group.Go(func() error { return openDoor(ctx, s.dataDir, engine, kept.journal, log) })
	group.Go(func() error {
		tellTool(ctx, tools, log)
		return nil
	})
	return group.Wait()
}

// jobConfig is what all jobs share.
func jobConfig(s settings, self string, log *slog.Logger, took func(string, time.Duration)) runner.Config {
	return runner.Config{
		Self: self, Data: s.dataDir, Hide: s.secretFiles, DropEnv: ours(options()), Log: log,
		LockTimeout: s.lockTimeout, LogLimit: s.logLimit,
		PlanTimeout: s.planTimeout, ApplyTimeout: s.applyTimeout,
		Memory: s.jobMemory, OpenFiles: s.jobFiles, SSH: s.ssh, Took: took,
	}
}

// openDoor lets "tidegate backup" ask this server. Without it everything else works.
func openDoor(ctx context.Context, dir string, engine *dispatch.Engine, j *journal.Journal, log *slog.Logger) error {
	door, err := backup.Listen(dir, log)
	if err != nil {
		log.WarnContext(ctx, "no backup can be made while the server runs", "err", err)
		return nil
	}
	return door.Serve(ctx, func(ctx context.Context, to io.Writer) error {
		return engine.Undisturbed(ctx, func() error {
			return backup.Write(ctx, to, backup.Source{Dir: dir, Journal: j, Version: build(), Log: log})
		})
	})
}

// tellTool tells which terraform is used. It may have to be downloaded first.
func tellTool(ctx context.Context, tools *terraform.Finder, log *slog.Logger) {
	tool, err := tools.Find(ctx, "", "")
	switch {
	case ctx.Err() != nil:
	case err != nil:
		log.Warn("no terraform for projects that name no version", "err", err)
	default:
		log.Info("terraform for projects that name no version", "tool", tool.String(), "path", tool.Path)
	}
}

// stores is what a server keeps in its data directory.
type stores struct {
	db      *bbolt.DB
	journal *journal.Journal
	locks   *locking.Store
	work    *workdir.Store
}

func openStores(ctx context.Context, s settings, self string, log *slog.Logger) (k stores, err error) {
	dir := s.dataDir
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if k.db, err = journal.OpenFile(filepath.Join(dir, "tidegate.db"), 3*time.Second); err != nil {
		return k, fmt.Errorf("opening the journal: %w", err)
	}
	if k.journal, err = journal.OpenWith(k.db, journal.Options{Hook: failpoints()}); err != nil {
		return k, fmt.Errorf("opening the journal: %w", err)
	}
	if k.locks, err = locking.Open(k.db); err != nil {
		return k, fmt.Errorf("opening the locks: %w", err)
	}
	for _, damage := range k.locks.Damage() {
		log.ErrorContext(ctx, "going on with a damaged lock", "err", damage)
	}
	config := workdir.Config{Data: dir, Submodules: s.submodules, Log: log}
	if s.lfs {
		config.LFS = largeFiles(dir, self, log)
	}
	if err := sweepSockets(filepath.Join(dir, "tmp")); err != nil {
		log.WarnContext(ctx, "removing the sockets of a server that was killed", "err", err)
	}
	k.work, err = workdir.Open(ctx, config)
	return k, err
}

// sweepSockets removes what a server that was killed has left of answering git-lfs. Those of jobs are in directories of theirs.
func sweepSockets(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if entry.Type() == fs.ModeSocket {
			err = errors.Join(err, os.Remove(filepath.Join(dir, entry.Name())))
		}
	}
	return err
}

// largeFiles answers the git of git-lfs as that of terraform is answered.
func largeFiles(dir, self string, log *slog.Logger) workdir.Helper {
	return func(ctx context.Context, repo workdir.Repo) (config, env []string, end func(), err error) {
		if repo.Credential == nil {
			return nil, nil, func() {}, nil
		}
		sockets := filepath.Join(dir, "tmp")
		if err := os.MkdirAll(sockets, 0o700); err != nil {
			return nil, nil, nil, err
		}
		socket, err := gitcredential.Listen(ctx, sockets, gitcredential.Forge{URL: repo.URL, Credential: repo.Credential, Refused: repo.Refused}, log)
		if err != nil {
			return nil, nil, nil, err
		}
		config, env = socket.Helper(self)
		return config, env, func() {
			if err := socket.Close(); err != nil {
				log.WarnContext(ctx, "ending what answers git-lfs", "err", err)
			}
		}, nil
	}
}

// close closes what is open, in the reverse order of opening.
func (k stores) close() error {
	var errs []error
	if k.work != nil {
		errs = append(errs, k.work.Close())
	}
	if k.journal != nil {
		errs = append(errs, k.journal.Close())
	}
	if k.db != nil {
		errs = append(errs, k.db.Close())
	}
	return errors.Join(errs...)
}

func greet(log *slog.Logger, s settings, level supervisor.Level, addr net.Addr) {
	log.Info("tidegate is ready", "version", build(), "listen", addr.String(), "url", s.url, "data", s.dataDir)
	if level.Holds() {
		log.Info("isolation of terraform", "held", level.String())
	} else {
		log.Warn("isolation of terraform", "held", level.String())
	}
	if tcp, ok := addr.(*net.TCPAddr); s.webUser == "" && (!ok || !tcp.IP.IsLoopback() || !s.private) {
		log.Warn("the pages, which comments and statuses lead to, are closed", "open them with", "--web-username and --web-password-file")
	}
	for _, a := range s.accounts {
		if a.secret.set() && isWeak(a.secret) {
			log.Warn("a webhook secret has fewer than 16 bytes: who guesses it can send commands", "flag", "--"+a.flags+"-webhook-secret", "make one with", "openssl rand -hex 32")
		}
	}
	for _, a := range s.accounts {
		if s.gitCreds && !a.app() {
			log.Warn("terraform is offered the account's own token to fetch modules with, with all that it may do; that of a GitHub App is narrowed to reading", "flag", "--write-git-creds", "forge", a.forge, "see", "docs/security.md")
		}
	}
	if s.gitCreds && !level.Holds() {
		log.Warn("other jobs can read the key that terraform is offered the forge's credential with, and get at it", "flag", "--write-git-creds", "see", "isolation of terraform")
	}
	for _, name := range s.unknownEnv {
		log.Warn("an environment variable looks like a setting and is none", "name", name, "see", "tidegate server --help")
	}
	for _, name := range s.secretsInArgs {
		log.Warn("a secret stands in the arguments, where other users of this machine can see it", "flag", "--"+name, "use", "--"+name+"-file")
	}
}

// isWeak reports a secret that could be guessed from a webhook that somebody has seen.
func isWeak(s secret) bool {
	const least = 16
	all, err := s.all()
	return err == nil && slices.ContainsFunc(all, func(v string) bool { return len(v) < least })
}

// webhookSecrets reads the secrets anew each time, so that they can be changed while the server runs.
func webhookSecrets(s secret, log *slog.Logger) [][]byte {
	all, err := s.all()
	if err != nil {
		log.Error("reading the webhook secret", "err", err)
		return nil
	}
	var out [][]byte
	for _, v := range all {
		out = append(out, []byte(v))
	}
	return out
}

// ours reports the environment variables that hold our secrets.
func ours(table []option) func(string) bool {
	names := map[string]bool{}
	for _, o := range table {
		if o.secret {
			names[env(o.name)], names[env(o.name)+"_FILE"] = true, true
		}
	}
	return func(name string) bool { return names[name] }
}

// release tells the pages' words from the engine's.
func release(e *dispatch.Engine) func(context.Context, string, string) error {
	return func(ctx context.Context, id, by string) error {
		err := e.Release(ctx, id, by)
		switch {
		case errors.Is(err, dispatch.ErrNoLock):
			return web.ErrNoLock
		case errors.Is(err, dispatch.ErrRunning):
			return web.ErrBusy
		case errors.Is(err, dispatch.ErrStopping):
			return web.ErrStopping
		}
		return err
	}
}

// seen is what the first page shows of the webhooks: those that led to nothing.
func seen(s webhook.Seen) web.Seen {
	out := web.Seen{Last: s.Last}
	for _, d := range s.Recent {
		if d.Outcome != webhook.Accepted && len(out.Ignored) < 20 {
			out.Ignored = append(out.Ignored, templates.DeliveryRow{
				At: d.At, Event: d.Event, Repo: d.Repo, Outcome: string(d.Outcome), Reason: d.Reason,
			})
		}
	}
	return out
}
