package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/tidegate/tidegate/runner/terraform"
)

const (
	initFormat   = 1
	lockFileName = ".terraform.lock.hcl"
	maxLockFile  = 1 << 20
)

// initRecord says what the last successful init in a TF_DATA_DIR worked from. It stands beside that
// directory, where the job's processes cannot write.
type initRecord struct {
	Format int    `json:"format"`
	Key    string `json:"key"`
}

func (w *work) initRecordFile() string { return w.job.DataDir + ".init.json" }

// initKey is the hash of all that init works from: the lock file, the backend or cloud block, the
// required providers and versions, the module calls of all local modules, the tool, the workspace and
// the CLI configuration. What it misses terraform notices itself: plan fails closed.
func (w *work) initKey() (string, error) {
	lock, err := w.lockFile()
	if err != nil {
		return "", err
	}
	cli, err := w.cliConfig()
	if err != nil {
		return "", err
	}
	return longHash(w.conf.Inputs, lock, w.job.Tool.String(), w.job.Tool.Path, w.job.Project.Workspace, cli), nil
}

// isInitialised reports that init would find what the last one found. Doubts mean no.
func (w *work) isInitialised() bool {
	data, err := os.ReadFile(w.initRecordFile())
	if err != nil {
		return false
	}
	var record initRecord
	if json.Unmarshal(data, &record) != nil || record.Format != initFormat {
		return false
	}
	key, err := w.initKey()
	return err == nil && key == record.Key
}

// rememberInit records a successful init, with the lock file that it left.
func (w *work) rememberInit() error {
	key, err := w.initKey()
	if err != nil {
		return err
	}
	data, err := json.Marshal(initRecord{Format: initFormat, Key: key})
	if err != nil {
		return fmt.Errorf("remembering an init: %w", err)
	}
	if err := writeDurably(w.initRecordFile(), data); err != nil {
		return fmt.Errorf("remembering an init: %w", err)
	}
	return nil
}

// lockFile reads the project's dependency lock file; "" when there is none. Several projects may share
// one by links, as long as these stay inside the checkout.
func (w *work) lockFile() (string, error) {
	name := path.Join(w.job.Project.Dir, lockFileName)
	root, err := w.openCheckout()
	if err != nil {
		return "", err
	}
	defer func() { _ = root.Close() }()
	f, err := openIn(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", terraform.Unusable(name, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxLockFile+1))
	if err != nil {
		return "", terraform.Unusable(name, err)
	}
	if len(data) > maxLockFile {
		return "", terraform.Unusable(name, fmt.Errorf("it is longer than %d MiB", maxLockFile>>20))
	}
	return string(data), nil
}

// cliConfig is the text of the CLI configuration that the job works with.
func (w *work) cliConfig() (string, error) {
	name := w.cli
	if name == "" {
		for _, entry := range w.cfg.Environ {
			if value, ok := strings.CutPrefix(entry, "TF_CLI_CONFIG_FILE="); ok {
				name = value
			}
		}
	}
	if name == "" {
		return "", nil
	}
	data, err := os.ReadFile(name) //nolint:gosec // the operator's own file
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // terraform only warns
	}
	if err != nil {
		return "", fmt.Errorf("reading terraform's CLI configuration: %w", err)
	}
	return string(data), nil
}
