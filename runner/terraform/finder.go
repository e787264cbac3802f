package terraform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// FinderConfig says where tools are looked for.
type FinderConfig struct {
	// Dir is where installed tools are kept: <Dir>/<terraform|tofu>/<version>/<binary>.
	Dir string
	// Download allows installing an exact version of terraform that is not there.
	Download bool
	// DefaultVersion is used where a project names none. Empty: what is in PATH.
	DefaultVersion string
	// DefaultDistribution is used where a project names none. Empty: terraform, or tofu where only
	// that is in PATH.
	DefaultDistribution string
	// Path is searched for binaries, in the form of $PATH. Empty: $PATH.
	Path string
	// ReleasesURL is a mirror of HashiCorp's release server, ReleasesKey the armored public key that
	// signs its checksums. Empty: HashiCorp's own.
	ReleasesURL string
	ReleasesKey string
	// Log is told of downloads. Nil: nobody.
	Log *slog.Logger
	// Look keeps nothing in Dir of what was found out: for who is not the server.
	Look bool
}

// Finder finds terraform and tofu binaries, and installs exact versions of terraform. Its methods may
// be called from several goroutines.
type Finder struct {
	cfg      FinderConfig
	versions *versionCache

	mu         sync.Mutex
	installing map[string]chan struct{} // closed when that version's install is over
}

// NewFinder returns a Finder.
func NewFinder(cfg FinderConfig) *Finder {
	if cfg.Path == "" {
		cfg.Path = os.Getenv("PATH")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Finder{
		cfg:        cfg,
		versions:   &versionCache{file: filepath.Join(cfg.Dir, "versions.json"), look: cfg.Look},
		installing: make(map[string]chan struct{}),
	}
}

// ToolError is a tool that a project cannot have as it asks for it: not our fault. The error is a text for
// people that names what was asked for, what is there and the ways out. [errors.As] finds it:
// [*NotFoundError], [*VersionError] and [*DistributionError] are all there are.
type ToolError interface {
	error
	// Headline is the matter in a few words, without a full stop.
	Headline() string
}

// NotFoundError says which tool is not there and what can be done about it.
type NotFoundError struct {
	Distribution string
	// Version is empty when any would do.
	Version string
	// There is what is there of the distribution, with versions.
	There []string
	// Reason is why it could not be installed, for people.
	Reason string
	// Cause is the failure of an install that was tried; nil otherwise.
	Cause error
}

// Headline implements [ToolError].
func (e *NotFoundError) Headline() string { return binaryName(e.Distribution) + " is missing" }

// Error says what is missing and the ways out.
func (e *NotFoundError) Error() string {
	name := e.Distribution
	if e.Version != "" {
		name += " " + e.Version
	}
	binary := binaryName(e.Distribution)
	ways := fmt.Sprintf("put %s into the server's PATH or bake it into its image", binary)
	if e.Version != "" {
		ways = fmt.Sprintf("put it into the server's PATH as %s%s (or as %s), or bake it into its image", binary, e.Version, binary)
	}
	if e.Distribution == Terraform && e.Cause == nil {
		ways += "; or let the server download exact versions with --tf-download"
	}
	text := name + " is not there: " + ways
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text + ". " + thereWords(e.There)
}

func (e *NotFoundError) Unwrap() error { return e.Cause }

// VersionError says that a version is not one exact version.
type VersionError struct {
	// Version is what was asked for, and hostile.
	Version string
	// There is what is there of the distribution, with versions.
	There []string
}

// Headline implements [ToolError].
func (e *VersionError) Headline() string { return "the version is not an exact one" }

func (e *VersionError) Error() string {
	return fmt.Sprintf("%q is not an exact version such as 1.11.4: name one that is in the server's PATH, "+
		"or any that was released where the server may download with --tf-download. %s", shorten(e.Version), thereWords(e.There))
}

// DistributionError says that a distribution is not known.
type DistributionError struct {
	// Distribution is what was asked for, and hostile.
	Distribution string
	// There is what is there of the known ones, with versions.
	There []string
}

// Headline implements [ToolError].
func (e *DistributionError) Headline() string { return "the distribution is not known" }

func (e *DistributionError) Error() string {
	return fmt.Sprintf("the distribution %q is not known: name terraform or opentofu, put its binary into the server's PATH, "+
		"or, for terraform, let the server download exact versions with --tf-download. %s", shorten(e.Distribution), thereWords(e.There))
}

func thereWords(there []string) string {
	if len(there) == 0 {
		return "The server has none now"
	}
	return "The server has " + strings.Join(there, ", ") + " now"
}

// shorten cuts what a stranger wrote.
func shorten(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}

// exactVersion keeps whatever a repository writes there out of paths and file names.
var exactVersion = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`^(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})(-[0-9A-Za-z]+(\.[0-9A-Za-z]+)*)?$`)
})

func binaryName(distribution string) string {
	if distribution == OpenTofu {
		return "tofu"
	}
	return "terraform"
}

// Find returns the binary of a distribution in an exact version; both may be "" for the defaults. The
// PATH is looked at first, then what was installed before; terraform may then be installed. Errors
// for people are a [ToolError].
func (f *Finder) Find(ctx context.Context, distribution, version string) (Tool, error) {
	version = strings.TrimPrefix(strings.TrimSpace(version), "v")
	if version == "" {
		version = strings.TrimPrefix(f.cfg.DefaultVersion, "v")
	}
	if version != "" && (len(version) > 64 || !exactVersion().MatchString(version)) {
		return Tool{}, &VersionError{Version: version, There: f.there(ctx, cmp.Or(distribution, f.cfg.DefaultDistribution))}
	}
	if distribution == "" {
		distribution = f.cfg.DefaultDistribution
	}
	switch distribution {
	case Terraform, OpenTofu:
		return f.find(ctx, distribution, version)
	case "":
		return f.findAny(ctx, version)
	}
	return Tool{}, &DistributionError{Distribution: distribution, There: f.there(ctx, "")}
}

// findAny prefers terraform and takes tofu where only that is in PATH and no version is asked for.
func (f *Finder) findAny(ctx context.Context, version string) (Tool, error) {
	tool, err := f.find(ctx, Terraform, version)
	var missing *NotFoundError
	if version != "" || !errors.As(err, &missing) {
		return tool, err
	}
	if tofu, tofuErr := f.find(ctx, OpenTofu, ""); tofuErr == nil {
		return tofu, nil
	}
	return Tool{}, err
}

func (f *Finder) find(ctx context.Context, distribution, version string) (Tool, error) {
	for _, file := range f.candidates(distribution, version) {
		got, err := f.versions.of(ctx, file)
		if err != nil {
			f.cfg.Log.WarnContext(ctx, "a binary does not say its version", "path", file, "error", err)
			continue
		}
		if version == "" || got == version {
			if file == f.installed(distribution, got) {
				markUsed(filepath.Dir(file))
			}
			return Tool{Distribution: distribution, Version: got, Path: file}, nil
		}
	}
	missing := &NotFoundError{Distribution: distribution, Version: version, There: f.there(ctx, distribution)}
	switch {
	case version == "":
		missing.Reason = "downloads need an exact version: --default-tf-version, or terraform_version of the project"
		if distribution == OpenTofu {
			missing.Reason = "it is never downloaded"
		}
		return Tool{}, missing
	case distribution == OpenTofu:
		missing.Reason = "OpenTofu is found in PATH and in the data directory's tools only, it is never downloaded"
		return Tool{}, missing
	case !f.cfg.Download:
		missing.Reason = "downloads are switched off"
		return Tool{}, missing
	}
	tool, err := f.install(ctx, version)
	if err != nil && ctx.Err() == nil {
		missing.Reason, missing.Cause = "downloading it did not work: "+err.Error(), err
		return Tool{}, missing
	}
	return tool, err
}

// candidates are the existing executables that may be the one: in PATH by name, in PATH with the
// version in the name, and the one installed before.
func (f *Finder) candidates(distribution, version string) []string {
	names := []string{binaryName(distribution)}
	if version != "" {
		names = append(names, binaryName(distribution)+version)
	}
	var files []string
	for _, name := range names {
		for _, dir := range filepath.SplitList(f.cfg.Path) {
			file := filepath.Join(dir, name)
			// As exec.LookPath: a relative entry of PATH would change with the directory.
			if filepath.IsAbs(file) && isExecutable(file) {
				files = append(files, file)
				break
			}
		}
	}
	if version != "" {
		if file := f.installed(distribution, version); isExecutable(file) {
			files = append(files, file)
		}
	}
	return files
}

// mostThere is how many tools are listed for people.
const mostThere = 10

// there lists the tools of a distribution that need no download, of both if it is neither: those in PATH
// first, then those that were installed before, newest first.
func (f *Finder) there(ctx context.Context, distribution string) []string {
	distributions := []string{distribution}
	if distribution != Terraform && distribution != OpenTofu {
		distributions = []string{Terraform, OpenTofu}
	}
	var tools []string
	for _, d := range distributions {
		for _, file := range f.files(d) {
			version, err := f.versions.of(ctx, file)
			tool := Tool{Distribution: d, Version: version}.String()
			if err == nil && len(tools) < mostThere && !slices.Contains(tools, tool) {
				tools = append(tools, tool)
			}
		}
	}
	return tools
}

// files are the executables that have a name of the distribution's, as candidates finds them.
func (f *Finder) files(distribution string) []string {
	files := f.candidates(distribution, "")
	for _, dir := range filepath.SplitList(f.cfg.Path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		named, err := filepath.Glob(filepath.Join(dir, binaryName(distribution)+"[0-9]*"))
		if err == nil {
			files = append(files, named...)
		}
	}
	installed, err := filepath.Glob(filepath.Join(f.cfg.Dir, binaryName(distribution), "[0-9]*", binaryName(distribution)))
	if err == nil {
		slices.Reverse(installed)
		files = append(files, installed...)
	}
	return slices.DeleteFunc(files, func(file string) bool { return !isExecutable(file) })
}

func (f *Finder) installed(distribution, version string) string {
	name := binaryName(distribution)
	return filepath.Join(f.cfg.Dir, name, version, name)
}

func isExecutable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
