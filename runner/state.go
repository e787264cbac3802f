package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/runner/terraform"
)

const (
	// overrideName sorts behind other override files, so that it has the last word.
	overrideName = "zz_tidegate_override.tf"
	erroredName  = "errored.tfstate"
	maxState     = 256 << 20
	// evidenceLines is how much of the log stands in the evidence.
	evidenceLines = 15
)

// stateInside reports that the project's state would lie inside the checkout.
func (w *work) stateInside() bool {
	state := w.conf.StatePath(w.dir, w.job.Project.Workspace)
	if state == "" {
		return false
	}
	rel, err := filepath.Rel(w.job.Checkout, state)
	return err == nil && filepath.IsLocal(rel)
}

// writeOverride puts a backend block for the job's StateDir over whatever the files say. Measured: the
// plan file keeps that backend, so that apply writes there; `-state` does not know workspaces (every
// one would share the file) and is not remembered by later commands.
func (w *work) writeOverride() error {
	text := fmt.Sprintf("terraform {\n  backend \"local\" {\n    path          = %s\n    workspace_dir = %s\n  }\n}\n",
		hclString(filepath.Join(w.job.StateDir, "terraform.tfstate")), hclString(filepath.Join(w.job.StateDir, "workspaces")))
	if err := w.replaceInProject(overrideName, text); err != nil {
		return fmt.Errorf("keeping the state out of the checkout: %w", err)
	}
	return nil
}

// removeOverride takes away what an earlier job, or somebody else, put in the override's place.
func (w *work) removeOverride() error {
	root, err := w.openCheckout()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if info, err := root.Stat(w.job.Project.Dir); err != nil || !info.IsDir() {
		return nil //nolint:nilerr // reading the configuration says what is wrong
	}
	name := path.Join(w.job.Project.Dir, overrideName)
	if err := root.RemoveAll(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return terraform.Unusable(name, err)
	}
	return nil
}

func hclString(s string) string {
	s = strconv.Quote(s)
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s)
}

// setAsideErroredState moves an errored.tfstate of an earlier apply, or of the repository, out of the
// way: terraform writes none over a file that is not the same state's, and then prints the state into
// its log.
func (w *work) setAsideErroredState() error {
	root, err := w.openCheckout()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	name := path.Join(w.job.Project.Dir, erroredName)
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().IsRegular() {
		_, err = keepFile(root, name, filepath.Join(w.job.Dir, "earlier-"+erroredName))
	}
	if err == nil {
		err = root.RemoveAll(name)
	}
	if err != nil {
		return terraform.Unusable(name, fmt.Errorf("setting it aside: %w", err))
	}
	return nil
}

// saveErroredState copies what terraform left behind because it could not store a state: the file, or
// the dump in its log where it could not even write that. It answers "" when there is nothing.
func (w *work) saveErroredState(dump []byte) (string, error) {
	to := filepath.Join(w.job.Dir, erroredName)
	err := w.copyErroredState(to)
	if errors.Is(err, fs.ErrNotExist) {
		if len(dump) == 0 {
			return "", nil
		}
		err = writeDurably(to, dump)
	}
	if err != nil {
		return "", fmt.Errorf("saving %s: %w", erroredName, err)
	}
	w.kept.add(w.job.Dir)
	return to, nil
}

func (w *work) copyErroredState(to string) error {
	root, err := os.OpenRoot(w.job.Checkout)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	_, err = keepFile(root, path.Join(w.job.Project.Dir, erroredName), to)
	return err
}

// evidence is what can be found out about an apply whose end is not known or not good.
func (w *work) evidence(stepDir, erroredState string) []string {
	var evidence []string
	if w.conf.Backend != "" && w.conf.Backend != "local" || w.conf.Cloud {
		evidence = append(evidence, "the state and its lock are kept in "+w.backendWords()+"; look there")
	} else if state := w.conf.StatePath(w.dir, w.job.Project.Workspace); state != "" {
		evidence = append(evidence, stateWords(state), lockWords(state))
	}
	if erroredState != "" {
		evidence = append(evidence, "terraform could not store the state and left it in "+erroredName+"; a copy is kept")
	}
	var lines []string
	if log, err := terraform.ReadLog(stepDir, maxLog); err == nil {
		for line := range strings.SplitSeq(log, "\n") {
			if text, ok := terraform.HumanLine(line); ok {
				lines = append(lines, text)
			}
		}
	}
	if last := terraform.Tail(strings.Join(lines, "\n"), evidenceLines); last != "" {
		evidence = append(evidence, "the last lines of its log:\n"+last)
	}
	return evidence
}

func (w *work) backendWords() string {
	if w.conf.Cloud {
		return "HCP Terraform"
	}
	return fmt.Sprintf("the backend %q", w.conf.Backend)
}

func stateWords(state string) string {
	var head struct {
		Serial  int64  `json:"serial"`
		Lineage string `json:"lineage"`
	}
	info, err := readJSONFile(state, &head)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no state file yet"
	case err != nil:
		return "the state file cannot be read"
	}
	return fmt.Sprintf("the state file has serial %d and was written %s", head.Serial, info.ModTime().UTC().Format(time.RFC3339))
}

// lockWords reads terraform's own lock of a local state.
func lockWords(state string) string {
	var holder struct {
		ID        string    `json:"ID"`
		Operation string    `json:"Operation"`
		Who       string    `json:"Who"`
		Created   time.Time `json:"Created"`
	}
	_, err := readJSONFile(filepath.Join(filepath.Dir(state), "."+filepath.Base(state)+".lock.info"), &holder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "the state is not locked"
	case err != nil:
		return "the state's lock cannot be read"
	}
	return fmt.Sprintf("the state has a lock file: id %s, %s by %s since %s",
		holder.ID, holder.Operation, holder.Who, holder.Created.UTC().Format(time.RFC3339))
}

func readJSONFile(name string, v any) (fs.FileInfo, error) {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	f, err := openIn(root, filepath.Base(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return info, json.NewDecoder(io.LimitReader(f, maxState)).Decode(v)
}
