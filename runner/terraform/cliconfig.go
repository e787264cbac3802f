package terraform

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/printer"
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
		data, err := os.ReadFile(name) //nolint:gosec // the operator's own file
		fmt.Fprintf(&b, "%s %v %d:%s", name, err != nil, len(data), data)
	}
	return b.String()
}

func (s *ProviderStore) cliConfig(files []string, set ProviderSet) (string, error) {
	var out strings.Builder
	var installation *ast.ObjectList
	for _, name := range files {
		block, err := copySettings(&out, name)
		if err != nil {
			return "", err
		}
		if installation == nil {
			installation = block
		}
	}
	out.WriteString("provider_installation {\n")
	if len(set.Stored) > 0 {
		fmt.Fprintf(&out, "  filesystem_mirror {\n    path    = %s\n    include = %s\n  }\n", quoteCLI(s.Dir), listCLI(set.Stored))
	}
	if installation == nil {
		s.impliedMethods(&out, set.Stored)
	} else if err := copyMethods(&out, installation, set.Stored); err != nil {
		return "", err
	}
	out.WriteString("}\n")
	return out.String(), nil
}

// copySettings copies a file's settings, without a plugin cache, and answers its block about the
// installation of providers, if it has one. The files are HCL 1, as terraform reads them: in HCL 2 the
// usual form of dev_overrides does not even parse.
func copySettings(out *strings.Builder, name string) (*ast.ObjectList, error) {
	if strings.HasSuffix(name, ".json") {
		return nil, fmt.Errorf("%w: it is JSON", errForeignCLIConfig)
	}
	data, err := os.ReadFile(name) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("reading the CLI configuration: %w", err)
	}
	file, err := parser.Parse(data)
	if err != nil {
		// The error's text may quote a token.
		return nil, fmt.Errorf("%w: it does not parse", errForeignCLIConfig)
	}
	items, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, fmt.Errorf("%w: it is no list of settings", errForeignCLIConfig)
	}
	var installation *ast.ObjectList
	for _, item := range items.Items {
		switch key := keyOf(item); {
		case key == "provider_installation":
			if body, ok := item.Val.(*ast.ObjectType); ok {
				installation = body.List
			}
		case strings.HasPrefix(key, "plugin_cache_"):
		default:
			if err := printItem(out, item, ""); err != nil {
				return nil, err
			}
		}
	}
	return installation, nil
}

func keyOf(item *ast.ObjectItem) string {
	if len(item.Keys) == 0 {
		return ""
	}
	key, _ := item.Keys[0].Token.Value().(string)
	return key
}

func printItem(out *strings.Builder, item *ast.ObjectItem, indent string) error {
	item.LeadComment, item.LineComment = nil, nil
	var text strings.Builder
	if err := printer.Fprint(&text, item); err != nil {
		return fmt.Errorf("%w: %w", errForeignCLIConfig, err)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(text.String()), "\n") {
		out.WriteString(strings.TrimRight(indent+line, " ") + "\n")
	}
	return nil
}

// copyMethods copies the operator's ways to install providers, which are not asked for what is stored.
func copyMethods(out *strings.Builder, installation *ast.ObjectList, stored []string) error {
	for _, method := range installation.Items {
		body, ok := method.Val.(*ast.ObjectType)
		if !ok {
			return fmt.Errorf("%w: its provider_installation", errForeignCLIConfig)
		}
		if keyOf(method) == "dev_overrides" {
			if err := printItem(out, method, "  "); err != nil {
				return err
			}
			continue
		}
		excluded := slices.Clone(stored)
		fmt.Fprintf(out, "  %s {\n", keyOf(method))
		for _, item := range body.List.Items {
			if keyOf(item) != "exclude" {
				if err := printItem(out, item, "    "); err != nil {
					return err
				}
				continue
			}
			list, ok := item.Val.(*ast.ListType)
			if !ok {
				return fmt.Errorf("%w: the exclude of a %s", errForeignCLIConfig, keyOf(method))
			}
			excluded = append(excluded, stringsOf(list)...)
		}
		if len(excluded) > 0 {
			fmt.Fprintf(out, "    exclude = %s\n", listCLI(excluded))
		}
		out.WriteString("  }\n")
	}
	return nil
}

func stringsOf(list *ast.ListType) []string {
	var values []string
	for _, node := range list.List {
		if literal, ok := node.(*ast.LiteralType); ok {
			if value, ok := literal.Token.Value().(string); ok {
				values = append(values, value)
			}
		}
	}
	return values
}

// quoteCLI writes a string for HCL 1, which has no escape for an interpolation and makes none here.
func quoteCLI(s string) string { return strconv.Quote(s) }

func listCLI(values []string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = quoteCLI(value)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// impliedMethods writes out what terraform does without a provider_installation block: packages in
// some well-known directories first, the rest from their registries.
func (s *ProviderStore) impliedMethods(out *strings.Builder, stored []string) {
	known := slices.Clone(stored)
	for _, dir := range s.impliedDirs() {
		found := slices.DeleteFunc(packagesIn(dir), func(address string) bool { return slices.Contains(known, address) })
		if len(found) == 0 {
			continue
		}
		fmt.Fprintf(out, "  filesystem_mirror {\n    path    = %s\n    include = %s\n  }\n", quoteCLI(dir), listCLI(found))
		known = append(known, found...)
	}
	out.WriteString("  direct {\n")
	if len(known) > 0 {
		fmt.Fprintf(out, "    exclude = %s\n", listCLI(known))
	}
	out.WriteString("  }\n")
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
