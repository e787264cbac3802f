package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidegate/tidegate/runner/terraform"
)

// need is what the project needs from the store of providers.
func (w *work) need() (terraform.ProviderNeed, error) {
	lock, err := w.lockFile()
	if err != nil {
		return terraform.ProviderNeed{}, err
	}
	return terraform.ProviderNeed{Lock: lock, Providers: w.conf.Providers, Tool: w.job.Tool}, nil
}

// prepareProviders makes sure that the store has what the project is known to need, and gives the job
// the lock file and the CLI configuration to work with it. A project that needs none, or whose modules
// come from elsewhere without a lock file, goes the operator's way. It answers the step that failed.
func (w *work) prepareProviders(ctx context.Context) (*step, error) {
	need, err := w.need()
	if err != nil || need.IsEmpty() {
		return nil, err
	}
	var last *step
	set, ok, err := w.store.Fill(ctx, need, func(ctx context.Context, dirs terraform.FillDirs) (bool, error) {
		last, err = w.fill(ctx, dirs)
		return err == nil && last.failure == nil, err
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return &step{failure: cancelledFailure(), cancelled: true}, nil
	case err != nil:
		return nil, err
	case !ok:
		return last, nil
	}
	if set.Lock != need.Lock {
		if err := w.writeLockFile(set.Lock); err != nil {
			return nil, err
		}
	}
	return nil, w.writeCLIConfig(set)
}

// fill runs init once for the store, with the operator's own CLI configuration.
func (w *work) fill(ctx context.Context, dirs terraform.FillDirs) (*step, error) {
	f := *w
	f.cli, f.conf, f.dir = "", terraform.Configuration{}, dirs.Config
	f.job.DataDir, f.job.Checkout, f.job.StateDir = dirs.Data, dirs.Root, ""
	return f.step(ctx, "providers", f.env(terraform.DefaultWorkspace), func(ctx context.Context, c terraform.Command) (terraform.Exit, error) {
		return c.Init(ctx, terraform.InitOptions{NoBackend: true})
	})
}

// jobCLIConfig gives an apply the CLI configuration that its plan had.
func (w *work) jobCLIConfig() error {
	need, err := w.need()
	if err != nil || need.IsEmpty() {
		return err
	}
	if set, ok := w.store.Lookup(need); ok {
		return w.writeCLIConfig(set)
	}
	return nil
}

// writeCLIConfig stands in the job's temporary directory: the operator's configuration may have
// credentials, which are not to stay longer than the job.
func (w *work) writeCLIConfig(set terraform.ProviderSet) error {
	text, ok := w.store.CLIConfig(w.job.Tool, set)
	if !ok {
		return nil
	}
	name := filepath.Join(w.tmp, "cli.tfrc")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the CLI configuration of a job: %w", err)
	}
	w.cli = name
	return nil
}

// writeLockFile gives the project the lock file with this platform's hashes.
func (w *work) writeLockFile(text string) error {
	if err := w.replaceInProject(lockFileName, text); err != nil {
		return fmt.Errorf("writing the dependency lock file: %w", err)
	}
	return nil
}

// longHash hashes parts so that no two lists of parts hash the same text.
func longHash(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&b, "%d:%s", len(part), part)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}
