package terraform

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// errForeignCLIConfig is a CLI configuration that we cannot read well enough to write it anew.
var errForeignCLIConfig = errors.New("the CLI configuration cannot be read here")

// CLIConfig is the CLI configuration for jobs with a set: the operator's, with our store in front of
// his ways to install providers, and without a plugin cache. False means that the operator's own is
// to be used as it is.
func (s *ProviderStore) CLIConfig(tool Tool, set ProviderSet) (string, bool) {
	files := s.operatorFiles(tool)
	text, err := s.cliConfig(files, set)
	if err != nil {
		s.Log.Warn("jobs use the operator's CLI configuration without the store of providers", "files", files, "error", err)
		return "", false
	}
	return text, true
}

func (s *ProviderStore) getenv(name string) string {
	value := ""
	for _, entry := range s.Environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// operatorFiles are the files that terraform itself would read: the one that is named, else the one
// in the home directory and those in its ~/.terraform.d.
func (s *ProviderStore) operatorFiles(tool Tool) []string {
	if name := s.getenv("TF_CLI_CONFIG_FILE"); name != "" {
		return existing(name)
	}
	home := s.getenv("HOME")
	if home == "" {
		return nil
	}
	var files []string
	if tool.Distribution == OpenTofu {
		files = existing(filepath.Join(home, ".tofurc"))
	}
	if len(files) == 0 {
		files = existing(filepath.Join(home, ".terraformrc"))
	}
	for _, pattern := range []string{"*.tfrc", "*.tfrc.json"} {
		more, err := filepath.Glob(filepath.Join(home, ".terraform.d", pattern))
		if err == nil {
			files = append(files, more...)
		}
	}
	// terraform reads and writes this one by itself, whatever the configuration is.
	return slices.DeleteFunc(files, func(name string) bool { return filepath.Base(name) == "credentials.tfrc.json" })
}

func existing(name string) []string {
	if _, err := os.Stat(name); err != nil {
		return nil
	}
	return []string{name}
}

func operatorText(files []string) string {
	var b strings.Builder
	for _, name := range files {
		data, err := os.ReadFile(name)
		fmt.Fprintf(&b, "%s %v %d:%s", name, err != nil, len(data), data)
	}
	return b.String()
}

func (s *ProviderStore) cliConfig(files []string, set ProviderSet) (string, error) {
	out := hclwrite.NewEmptyFile()
	var installation *hclwrite.Block
	for _, name := range files {
		block, err := copySettings(out.Body(), name)
		if err != nil {
			return "", err
		}
		if installation == nil {
			installation = block
		}
	}
	ours := out.Body().AppendNewBlock("provider_installation", nil).Body()
	if len(set.Stored) > 0 {
		mirror := ours.AppendNewBlock("filesystem_mirror", nil).Body()
		mirror.SetAttributeValue("path", cty.StringVal(s.Dir))
		mirror.SetAttributeValue("include", stringList(set.Stored))
	}
	if installation == nil {
		s.impliedMethods(ours, set.Stored)
		return string(out.Bytes()), nil
	}
	for _, method := range installation.Body().Blocks() {
		if method.Type() != "dev_overrides" {
			if err := exclude(method.Body(), set.Stored); err != nil {
				return "", err
			}
		}
		ours.AppendBlock(method)
	}
	return string(out.Bytes()), nil
}

// copySettings copies a file's settings, without a plugin cache, and answers its block about the
// installation of providers, if it has one.
func copySettings(to *hclwrite.Body, name string) (*hclwrite.Block, error) {
	if strings.HasSuffix(name, ".json") {
		return nil, fmt.Errorf("%w: it is JSON", errForeignCLIConfig)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the CLI configuration: %w", err)
	}
	file, diags := hclwrite.ParseConfig(data, filepath.Base(name), hcl.InitialPos)
	if diags.HasErrors() {
		// The text of the diagnostics may quote a token.
		return nil, fmt.Errorf("%w: it does not parse", errForeignCLIConfig)
	}
	for attr, value := range file.Body().Attributes() {
		if !strings.HasPrefix(attr, "plugin_cache_") && to.GetAttribute(attr) == nil {
			to.SetAttributeRaw(attr, value.Expr().BuildTokens(nil))
		}
	}
	var installation *hclwrite.Block
	for _, block := range file.Body().Blocks() {
		if block.Type() == "provider_installation" {
			installation = block
			continue
		}
		to.AppendBlock(block)
	}
	return installation, nil
}

// exclude adds addresses to the ones that a method of installation is not asked for.
func exclude(method *hclwrite.Body, addresses []string) error {
	if len(addresses) == 0 {
		return nil
	}
	all := slices.Clone(addresses)
	if attr := method.GetAttribute("exclude"); attr != nil {
		expr, diags := hclsyntax.ParseExpression(attr.Expr().BuildTokens(nil).Bytes(), "exclude", hcl.InitialPos)
		if diags.HasErrors() {
			return fmt.Errorf("%w: the exclude of a provider_installation", errForeignCLIConfig)
		}
		items, diags := hcl.ExprList(expr)
		if diags.HasErrors() {
			return fmt.Errorf("%w: the exclude of a provider_installation", errForeignCLIConfig)
		}
		for _, item := range items {
			all = append(all, literalExpr(item))
		}
	}
	method.SetAttributeValue("exclude", stringList(all))
	return nil
}

// impliedMethods writes out what terraform does without a provider_installation block: packages in
// some well-known directories first, the rest from their registries.
func (s *ProviderStore) impliedMethods(to *hclwrite.Body, stored []string) {
	known := slices.Clone(stored)
	for _, dir := range s.impliedDirs() {
		found := slices.DeleteFunc(packagesIn(dir), func(address string) bool { return slices.Contains(stored, address) })
		if len(found) == 0 {
			continue
		}
		mirror := to.AppendNewBlock("filesystem_mirror", nil).Body()
		mirror.SetAttributeValue("path", cty.StringVal(dir))
		mirror.SetAttributeValue("include", stringList(found))
		known = append(known, found...)
	}
	direct := to.AppendNewBlock("direct", nil).Body()
	if len(known) > 0 {
		direct.SetAttributeValue("exclude", stringList(known))
	}
}

func (s *ProviderStore) impliedDirs() []string {
	home := s.getenv("HOME")
	data := s.getenv("XDG_DATA_HOME")
	if data == "" {
		data = filepath.Join(home, ".local", "share")
	}
	shared := s.getenv("XDG_DATA_DIRS")
	if shared == "" {
		shared = "/usr/local/share:/usr/share"
	}
	dirs := []string{filepath.Join(home, ".terraform.d", "plugins"), filepath.Join(data, "terraform", "plugins")}
	for _, dir := range filepath.SplitList(shared) {
		dirs = append(dirs, filepath.Join(dir, "terraform", "plugins"))
	}
	return dirs
}

// packagesIn lists the source addresses that a mirror's layout has directories for.
func packagesIn(dir string) []string {
	matches, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"))
	if err != nil {
		return nil
	}
	var addresses []string
	for _, match := range matches {
		if rel, err := filepath.Rel(dir, match); err == nil {
			addresses = append(addresses, filepath.ToSlash(rel))
		}
	}
	return addresses
}

func stringList(values []string) cty.Value {
	list := make([]cty.Value, len(values))
	for i, value := range values {
		list[i] = cty.StringVal(value)
	}
	return cty.ListVal(list)
}
