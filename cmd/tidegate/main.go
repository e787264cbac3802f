// Command tidegate turns pull requests into planned, reviewed and applied Terraform changes.
//
//	tidegate server      serve repositories
//	tidegate doctor      check a configuration, and say how to mend what is wrong
//	tidegate webhook     make the webhooks that send what happens
//	tidegate demo        show everything on this machine
//	tidegate backup      write what is kept into one archive, while the server runs
//	tidegate restore     make a data directory of such an archive
//	tidegate version     print the version
//	tidegate healthcheck ask the server on this machine whether it answers
//	tidegate init        be PID 1 of a container: start the server, look after its processes
//	tidegate supervise   used by the server: run one terraform so that it outlives the server
//	tidegate git-credential  used by git while terraform fetches modules: ask the server for a credential
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tidegate/tidegate/cmd/tidegate/internal/pid1"
	"github.com/tidegate/tidegate/runner/gitcredential"
	"github.com/tidegate/tidegate/runner/supervisor"
)

// version is set by the linker.
var version = "dev"

// exitUsage is how a start-up error ends: starting again would not help.
const exitUsage = 2

func main() {
	// A supervisor must be there at once, and needs nothing of what follows.
	if os.Getenv(supervisor.EnvDir) != "" {
		os.Exit(supervisor.Main(os.Args))
	}
	if len(os.Args) > 1 && os.Args[1] == gitcredential.Command {
		os.Exit(gitcredential.Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == "init" {
		os.Exit(pid1.Main(os.Args[2:]))
	}
	shareAuthorities()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	var start *startError
	var usage *usageError
	switch {
	case err == nil:
	case errors.As(err, &start):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUsage)
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "tidegate:", err)
		os.Exit(exitUsage)
	default:
		fmt.Fprintln(os.Stderr, "tidegate:", err)
		os.Exit(1)
	}
}

// shareAuthorities gives git, ours and that of jobs, the authorities that we and terraform trust. Go reads SSL_CERT_FILE and
// SSL_CERT_DIR (https://pkg.go.dev/crypto/x509#SystemCertPool); git has variables of its own, and its libcurl, where it is
// built with GnuTLS, reads no other. Of several directories in a list git has no use.
func shareAuthorities() {
	for from, to := range map[string]string{"SSL_CERT_FILE": "GIT_SSL_CAINFO", "SSL_CERT_DIR": "GIT_SSL_CAPATH"} {
		if path := os.Getenv(from); path != "" && os.Getenv(to) == "" && (from == "SSL_CERT_FILE" || len(filepath.SplitList(path)) == 1) {
			_ = os.Setenv(to, path) // fails for names that can't be
		}
	}
}

// startError is a start that can't succeed as asked for.
type startError struct {
	err error
}

func (e *startError) Error() string { return "tidegate can't start:\n" + indent(e.err.Error()) }
func (e *startError) Unwrap() error { return e.err }

func root(out, errs io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:           "tidegate",
		Short:         "Terraform and OpenTofu changes, planned and applied from pull requests",
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd: true,
		},
	}
	c.SetVersionTemplate("{{.Version}}\n")
	c.SetOut(out)
	c.SetErr(errs)
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{flagProblem(c.Flags(), err)} })
	c.Args = noCommand
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(serverCommand(), doctorCommand(), webhookCommand(), demoCommand(), backupCommand(), restoreCommand(), versionCommand(), healthcheckCommand(), innerCommand("init", "PID 1 of a container: starts the server and looks after its processes"),
		innerCommand("supervise", "Used by the server to run terraform; not for people"),
		innerCommand(gitcredential.Command, "Used by git while modules are fetched; not for people"))
	return c
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), versionText())
			return err
		},
	}
}

func versionText() string {
	return fmt.Sprintf("tidegate %s (%s, %s/%s)", build(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// innerCommand is one that main starts before anything else; it is here for --help.
func innerCommand(name, short string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Hidden: name != "init",
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("%s needs the environment that the server gives it", name)
		},
	}
}

// build is the version that the linker set, or what go install knows.
func build() string {
	if version != "dev" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return version
}

func indent(s string) string {
	out := ""
	for len(s) > 0 {
		line, rest := s, ""
		for i := range s {
			if s[i] == '\n' {
				line, rest = s[:i], s[i+1:]
				break
			}
		}
		out += "  - " + line + "\n"
		s = rest
	}
	return out
}
