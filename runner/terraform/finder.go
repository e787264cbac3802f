package terraform

import (
	"context"
	"fmt"
	"log/slog"
)

// FinderConfig says where tools are looked for.
type FinderConfig struct {
	// Dir is where installed tools are kept: <Dir>/<terraform|tofu>/<version>/<binary>.
	Dir string
	// Download allows installing an exact version of terraform that is not there.
	Download bool
	// DefaultVersion is used where a project names none. Empty: what is in PATH.
	DefaultVersion string
	// DefaultDistribution is used where a project names none. Empty: terraform, else tofu.
	DefaultDistribution string
	Log                 *slog.Logger
}

// Finder finds terraform and tofu binaries. Its methods may be called from several goroutines.
type Finder struct {
	cfg FinderConfig
}

// NewFinder returns a Finder.
func NewFinder(cfg FinderConfig) *Finder { return &Finder{cfg: cfg} }

// NotFoundError says which tool is not there and what can be done about it.
type NotFoundError struct {
	Distribution string
	Version      string
	Text         string
}

func (e *NotFoundError) Error() string { return e.Text }

// Find returns the binary for a distribution and version, both "" for the defaults.
func (f *Finder) Find(_ context.Context, distribution, version string) (Tool, error) {
	return Tool{}, &NotFoundError{Distribution: distribution, Version: version, Text: fmt.Sprintf("%s %s is not installed", distribution, version)}
}
