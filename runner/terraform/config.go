package terraform

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

const (
	// maxNative and maxJSON bound one file. Tokens of native syntax take a hundred times its room; JSON is
	// what generators write, and they write much.
	maxNative = 2 << 20
	maxJSON   = 32 << 20
	// maxModules bounds the local modules that are followed from one root module.
	maxModules = 500
	lockFile   = ".terraform.lock.hcl"
	// DefaultWorkspace is the name of the workspace that always exists.
	DefaultWorkspace = "default"
)

// Configuration is what matters to init and to the place of the state in a root module and in the
// local modules that it calls.
type Configuration struct {
	// Backend is the type of the backend block, "" for none. Cloud reports a cloud block.
	Backend string
	Cloud   bool
	// Providers maps the source addresses of the providers that are needed, without those built into
	// terraform, to their version constraints. Modules from elsewhere are not looked into.
	Providers map[string][]string
	// RemoteModules: some module may be one that has to be fetched. Those that tests run count: init fetches them, too.
	RemoteModules bool
	// Inputs is the hash of all that init works from, except the lock file and what is outside.
	Inputs string

	local  localState
	inputs []string
}

// ConfigurationError is a configuration that cannot be worked with. It is for people, and not our fault.
type ConfigurationError struct {
	// File is the file or directory, relative to the checkout; it is what a stranger wrote.
	File string
	Err  error
}

// Unusable says that a file or directory of the checkout is the cause of an error.
func Unusable(name string, err error) error {
	if inner, ok := errors.AsType[*fs.PathError](err); ok { // which names it again
		err = inner.Err
	}
	if err.Error() == "path escapes from parent" { // os.Root's, and not exported
		err = errors.New("it leads out of the checkout")
	}
	return &ConfigurationError{File: name, Err: err}
}

func (e *ConfigurationError) Error() string {
	return fmt.Sprintf("%q cannot be used: %v", e.File, e.Err)
}

func (e *ConfigurationError) Unwrap() error { return e.Err }

// localState is what a backend "local" block says; both empty where nothing is said.
type localState struct{ path, workspaceDir string }

// IsRemoteRun reports that plans run in HCP Terraform or the like, which has rules of its own for
// workspaces and plan files.
func (c Configuration) IsRemoteRun() bool { return c.Cloud || c.Backend == "remote" }

// StatePath is where the state of a workspace lies, when it is a local file; dir is the absolute
// directory of the root module. "" when the state is elsewhere.
func (c Configuration) StatePath(dir, workspace string) string {
	if c.Cloud || c.Backend != "" && c.Backend != "local" {
		return ""
	}
	if workspace == DefaultWorkspace {
		return absolute(dir, c.local.path, "terraform.tfstate")
	}
	return filepath.Join(absolute(dir, c.local.workspaceDir, "terraform.tfstate.d"), workspace, "terraform.tfstate")
}

func absolute(dir, name, fallback string) string {
	if name == "" {
		name = fallback
	}
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, name)
}

// ReadConfiguration reads the root module in dir (with slashes, relative to root) and its local
// modules. Links that lead out of root are not followed. Files that cannot be parsed count with all
// their bytes: terraform has the better words for what is wrong with them. A directory that cannot be
// read, and a file that is too much for us, are a *ConfigurationError.
func ReadConfiguration(root, dir, distribution string) (Configuration, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return Configuration{}, fmt.Errorf("opening the checkout: %w", err)
	}
	defer func() { _ = r.Close() }()
	c := Configuration{Providers: make(map[string][]string)}
	reader := configReader{fsys: r.FS(), tofu: distribution == OpenTofu, config: &c, seen: make(map[string]bool)}
	if err := reader.module(path.Clean(dir), true); err != nil {
		return Configuration{}, err
	}
	c.RemoteModules = c.RemoteModules || reader.testsRemote(path.Clean(dir))
	slices.Sort(c.inputs)
	c.Inputs = hashOf(c.inputs...)
	return c, nil
}

type configReader struct {
	fsys   fs.FS
	tofu   bool
	config *Configuration
	seen   map[string]bool
}

func (r *configReader) module(dir string, isRoot bool) error {
	if r.seen[dir] || len(r.seen) == maxModules {
		return nil
	}
	r.seen[dir] = true
	names, err := r.files(dir, r.suffixes())
	if err != nil {
		if !isRoot {
			r.note("missing module", dir)
			return nil
		}
		return directoryError(dir, err)
	}
	m := moduleReader{configReader: r, dir: dir, isRoot: isRoot, required: make(map[string]string), used: make(map[string]bool)}
	for _, name := range names {
		if err := m.file(name); err != nil {
			return err
		}
	}
	m.addProviders()
	for _, call := range m.calls {
		if err := r.module(call, false); err != nil {
			return err
		}
	}
	return nil
}

// directoryError words what is wrong with the project's directory.
func directoryError(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = errors.New("there is no such directory in the checkout")
	case errors.Is(err, syscall.ENOTDIR):
		err = errors.New("it is not a directory")
	}
	return Unusable(dir, err)
}

// files lists a module's configuration files: first the others, then the overrides, each A to Z.
func (r *configReader) files(dir string, suffixes []string) ([]string, error) {
	entries, err := fs.ReadDir(r.fsys, dir)
	if err != nil {
		return nil, err
	}
	var files, overrides []string
	for _, entry := range entries {
		stem, ok := stemOf(entry.Name(), suffixes)
		switch {
		case !ok || entry.IsDir():
		case stem == "override" || strings.HasSuffix(stem, "_override"):
			overrides = append(overrides, entry.Name())
		default:
			files = append(files, entry.Name())
		}
	}
	return append(files, overrides...), nil
}

// suffixes are those of configuration files.
func (r *configReader) suffixes() []string {
	suffixes := []string{".tf.json", ".tf"}
	if r.tofu {
		suffixes = append(suffixes, ".tofu.json", ".tofu")
	}
	return suffixes
}

func stemOf(name string, suffixes []string) (string, bool) {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") {
		return "", false
	}
	for _, suffix := range suffixes {
		if stem, ok := strings.CutSuffix(name, suffix); ok {
			return stem, true
		}
	}
	return "", false
}

// note adds one fact that init works from.
func (r *configReader) note(facts ...string) {
	r.config.inputs = append(r.config.inputs, hashOf(facts...))
}

func (r *configReader) read(name string) ([]byte, error) {
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fs.ErrInvalid)
	}
	limit := int64(maxNative)
	if isJSON(name) {
		limit = maxJSON
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		// A part of it would tell another story, of the state's place for one.
		return nil, &ConfigurationError{File: name, Err: fmt.Errorf("it is longer than %d MiB", limit>>20)}
	}
	return data, err
}

func isJSON(name string) bool { return strings.HasSuffix(name, ".json") }

// parse reads a file. Nil: there is nothing in it that can be read.
func (r *configReader) parse(dir, name string) (*hcl.File, error) {
	full := path.Join(dir, name)
	data, err := r.read(full)
	if refused, ok := errors.AsType[*ConfigurationError](err); ok {
		return nil, refused
	}
	if err != nil {
		// Such as a link that leads out of the checkout: terraform may read it, we do not.
		r.note("unreadable", dir, name)
		return nil, nil
	}
	switch {
	case isJSON(name) && !json.Valid(data): // which has a limit of 10,000 levels
		r.note("broken", dir, name, string(data))
		return nil, nil
	case !isJSON(name) && tooDeep(data):
		return nil, &ConfigurationError{File: full, Err: errors.New("it is nested too deeply")}
	}
	parse := hclparse.NewParser().ParseHCL
	if isJSON(name) {
		parse = hclparse.NewParser().ParseJSON
	}
	file, diags := parse(data, name)
	if diags.HasErrors() {
		r.note("broken", dir, name, string(data))
	}
	if file == nil || file.Body == nil {
		return nil, nil
	}
	return file, nil
}

// moduleReader reads the files of one module.
type moduleReader struct {
	*configReader
	dir      string
	isRoot   bool
	required map[string]string // local name -> source
	used     map[string]bool   // local names
	calls    []string
}

func (m *moduleReader) file(name string) error {
	file, err := m.parse(m.dir, name)
	if err != nil || file == nil {
		return err
	}
	content, _, _ := file.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "terraform"},
		{Type: "module", LabelNames: []string{"name"}},
		{Type: "provider", LabelNames: []string{"name"}},
		{Type: "resource", LabelNames: []string{"type", "name"}},
		{Type: "data", LabelNames: []string{"type", "name"}},
		{Type: "ephemeral", LabelNames: []string{"type", "name"}},
	}})
	for _, block := range content.Blocks {
		switch block.Type {
		case "terraform":
			m.settings(block.Body, file.Bytes)
		case "module":
			m.call(block, file.Bytes)
		case "provider":
			m.used[block.Labels[0]] = true
		default:
			kind, _, _ := strings.Cut(block.Labels[0], "_")
			m.used[kind] = true
		}
	}
	return nil
}

func (m *moduleReader) settings(body hcl.Body, src []byte) {
	content, _, _ := body.PartialContent(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "required_version"}},
		Blocks: []hcl.BlockHeaderSchema{
			{Type: "backend", LabelNames: []string{"type"}}, {Type: "cloud"}, {Type: "required_providers"},
		},
	})
	if attr := content.Attributes["required_version"]; attr != nil {
		m.note("required_version", m.dir, string(attr.Expr.Range().SliceBytes(src)))
	}
	for _, block := range content.Blocks {
		if block.Type == "required_providers" {
			m.note(block.Type, m.dir, bodySource(block.Body, src))
			m.requiredProviders(block.Body)
			continue
		}
		if !m.isRoot {
			continue // terraform warns and ignores them there
		}
		m.note(block.Type, strings.Join(block.Labels, " "), bodySource(block.Body, src))
		m.backend(block)
	}
}

// backend notes where the state lies; a later block overrides an earlier one.
func (m *moduleReader) backend(block *hcl.Block) {
	m.config.local = localState{}
	m.config.Cloud = block.Type == "cloud"
	m.config.Backend = ""
	if m.config.Cloud {
		return
	}
	m.config.Backend = block.Labels[0]
	attrs, _ := block.Body.JustAttributes()
	m.config.local.path = literal(attrs["path"])
	m.config.local.workspaceDir = literal(attrs["workspace_dir"])
}

func (m *moduleReader) requiredProviders(body hcl.Body) {
	attrs, _ := body.JustAttributes()
	for name, attr := range attrs {
		source, version := "", ""
		version = literalExpr(attr.Expr) // the form before source addresses
		pairs, _ := hcl.ExprMap(attr.Expr)
		for _, pair := range pairs {
			switch keyword(pair.Key) {
			case "source":
				source = literalExpr(pair.Value)
			case "version":
				version = literalExpr(pair.Value)
			}
		}
		source = m.providerSource(name, source)
		m.required[name] = source
		if _, known := m.config.Providers[source]; !known {
			m.config.Providers[source] = nil
		}
		if version != "" && !slices.Contains(m.config.Providers[source], version) {
			m.config.Providers[source] = append(m.config.Providers[source], version)
			slices.Sort(m.config.Providers[source])
		}
	}
}

// addProviders turns the names that the module uses into source addresses.
func (m *moduleReader) addProviders() {
	for name := range m.used {
		source, ok := m.required[name]
		if !ok {
			source = m.providerSource(name, "")
		}
		if _, known := m.config.Providers[source]; !known {
			m.config.Providers[source] = nil
		}
	}
	for source := range m.config.Providers {
		if strings.HasPrefix(source, "terraform.io/builtin/") {
			delete(m.config.Providers, source)
			continue
		}
		m.note("provider", source)
	}
}

// providerSource writes a source address out in full: "aws" is registry.terraform.io/hashicorp/aws,
// or OpenTofu's registry for tofu.
func (m *moduleReader) providerSource(name, source string) string {
	host := "registry.terraform.io/"
	if m.tofu {
		host = "registry.opentofu.org/"
	}
	if source == "" {
		if name == "terraform" {
			return "terraform.io/builtin/terraform"
		}
		source = "hashicorp/" + name
	}
	source = strings.ToLower(source)
	switch strings.Count(source, "/") {
	case 0:
		return host + "hashicorp/" + source
	case 1:
		return host + source
	}
	return source
}

func (m *moduleReader) call(block *hcl.Block, src []byte) {
	content, _, _ := block.Body.PartialContent(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "source"}, {Name: "version"}},
	})
	facts := []string{"module", m.dir, block.Labels[0]}
	for _, name := range []string{"source", "version"} {
		if attr := content.Attributes[name]; attr != nil {
			facts = append(facts, name, string(attr.Expr.Range().SliceBytes(src)))
		}
	}
	m.note(facts...)
	source := literal(content.Attributes["source"])
	if isLocal(source) {
		m.calls = append(m.calls, path.Join(m.dir, source))
	} else {
		m.config.RemoteModules = true
	}
}

// isLocal reports the source of a module that is in the checkout.
func isLocal(source string) bool {
	return strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../")
}

// bodySource is the text of a block. JSON bodies cannot be told from their file.
func bodySource(body hcl.Body, src []byte) string {
	if native, ok := body.(*hclsyntax.Body); ok {
		return string(native.SrcRange.SliceBytes(src))
	}
	return string(src)
}

func literal(attr *hcl.Attribute) string {
	if attr == nil {
		return ""
	}
	return literalExpr(attr.Expr)
}

func literalExpr(expr hcl.Expression) string {
	value, diags := expr.Value(nil)
	if diags.HasErrors() || value.IsNull() || !value.IsKnown() || value.Type() != cty.String {
		return ""
	}
	return value.AsString()
}

func keyword(expr hcl.Expression) string {
	if word := hcl.ExprAsKeyword(expr); word != "" {
		return word
	}
	return literalExpr(expr)
}

// hashOf hashes parts so that no two lists of parts hash the same text.
func hashOf(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&b, "%d:%s", len(part), part)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}
