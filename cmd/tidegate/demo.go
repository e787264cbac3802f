package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tidegate/tidegate/cmd/tidegate/internal/demo"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show everything on this machine: a forge, a repository, two pull requests",
		Long: `Starts a small forge and Tidegate on loopback in a temporary directory, pushes a repository with four
projects, opens two pull requests, and tells where to look. Ctrl-C ends it and removes everything.

It needs git 2.38 or newer and terraform or tofu in PATH; no account and no network.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding our own executable: %w", err)
			}
			ctx, stop := signal.NotifyContext(c.Context(), farewells()...)
			defer stop()
			// Caught, not ignored, which what we start would inherit. A client of the forge that hangs up
			// causes it, too, so that it says nothing of our reader.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			o.Self, o.Out = self, reader{c.OutOrStdout(), stop}
			return demo.Run(ctx, o)
		},
	}
	c.Flags().BoolVar(&o.Script, "script", false, "play it through: open, plan, apply, merge, the waiting one, unlock; fails when anything is off")
	c.Flags().StringVar(&o.Keep, "keep", "", "keep everything in `DIR`, which must be empty or new")
	c.Flags().StringVar(&o.Listen, "listen", "", "`ADDR` of the forge's pages, such as 0.0.0.0:3000 (default loopback)")
	return c
}

// farewells are the signals of a terminal that is gone. They would end us without the server that we have
// started.
func farewells() []os.Signal {
	if signal.Ignored(syscall.SIGHUP) { // as under nohup
		return []os.Signal{os.Interrupt}
	}
	return []os.Signal{os.Interrupt, syscall.SIGHUP}
}

// reader is whoever reads what the demo tells, and gone is called when nobody does any more.
type reader struct {
	io.Writer
	gone context.CancelFunc
}

func (r reader) Write(p []byte) (int, error) {
	n, err := r.Writer.Write(p)
	if err != nil {
		r.gone()
	}
	return n, err
}
