package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"golang.org/x/mod/sumdb/dirhash"
)

// ProviderStore keeps unpacked provider packages for all jobs, so that each is downloaded once and
// linked, not copied, into each job's TF_DATA_DIR. The server alone writes it. A shared plugin cache
// would not do: parallel inits corrupt it.
//
//	<host>/<namespace>/<type>/<version>/<os>_<arch>/   unpacked packages, the layout of a filesystem_mirror
//	.sets/<key>.json                                   ProviderSet, by what it was made for
//	.fill-*/                                           a fill that is going on
//
// A set belongs to a dependency lock file. Terraform cannot check an unpacked package against a lock
// file that has only hashes of zip archives or of other platforms, so the set has the lock file with
// this platform's hash added, and jobs work with that.
type ProviderStore struct {
	Dir string
	// Environ is the server's environment: where the operator's CLI configuration is.
	Environ []string
	Log     *slog.Logger

	// filling serialises the fills: the operator's configuration may name a plugin cache.
	once    sync.Once
	filling chan struct{}
}

// ProviderNeed is what a configuration needs from the store.
type ProviderNeed struct {
	// Lock is the text of the dependency lock file, "" for none.
	Lock string
	// Providers are the source addresses that the configuration names, with their constraints.
	Providers map[string][]string
	Tool      Tool
}

// IsEmpty reports that no provider beside the built-in ones is known to be needed.
func (n ProviderNeed) IsEmpty() bool {
	return len(n.Providers) == 0 && len(lockedProviders(n.Lock)) == 0
}

// ProviderSet is what the store has for a lock file.
type ProviderSet struct {
	Format int `json:"format"`
	// Lock is the text of the lock file that jobs are to work with.
	Lock string `json:"lock"`
	// Stored are the source addresses of the packages in the store; the others come the operator's
	// way.
	Stored []string `json:"stored"`
	// Dirs are the stored packages' directories below the store.
	Dirs []string `json:"dirs"`
}

const setFormat = 1

// FillDirs are the directories of a fill: Config has a root module that needs the providers and
// nothing else, Data is its TF_DATA_DIR. Both are below Root.
type FillDirs struct{ Root, Config, Data string }

// Fill answers the set for a need. Where there is none yet, init is called once, to run `terraform
// init` in the given directories with the operator's own CLI configuration; its false means that it
// did not work, and so does Fill's. No code of a repository is involved.
func (s *ProviderStore) Fill(
	ctx context.Context, need ProviderNeed, init func(context.Context, FillDirs) (bool, error),
) (set ProviderSet, ok bool, err error) {
	if set, ok := s.Lookup(need); ok {
		return set, true, nil
	}
	s.once.Do(s.start)
	select {
	case s.filling <- struct{}{}:
		defer func() { <-s.filling }()
	case <-ctx.Done():
		return ProviderSet{}, false, ctx.Err()
	}
	if set, ok := s.Lookup(need); ok { // somebody was faster
		return set, true, nil
	}
	dirs, err := s.prepareFill(need)
	if err != nil {
		return ProviderSet{}, false, fmt.Errorf("filling the store of providers: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dirs.Root)) }()
	if ok, err := init(ctx, dirs); err != nil || !ok {
		return ProviderSet{}, false, err
	}
	if set, err = s.keep(need, dirs); err != nil {
		return ProviderSet{}, false, fmt.Errorf("filling the store of providers: %w", err)
	}
	return set, true, nil
}

// start also removes the fills that an earlier server did not finish.
func (s *ProviderStore) start() {
	s.filling = make(chan struct{}, 1)
	stale, err := filepath.Glob(filepath.Join(s.Dir, ".fill-*"))
	if err != nil {
		return
	}
	for _, dir := range stale {
		_ = os.RemoveAll(dir)
	}
}

// Lookup answers the set for a need, if there is one whose packages are all there.
func (s *ProviderStore) Lookup(need ProviderNeed) (ProviderSet, bool) {
	data, err := os.ReadFile(s.setFile(need))
	if err != nil {
		return ProviderSet{}, false
	}
	var set ProviderSet
	if json.Unmarshal(data, &set) != nil || set.Format != setFormat {
		return ProviderSet{}, false
	}
	for _, dir := range set.Dirs {
		if _, err := os.Stat(filepath.Join(s.Dir, filepath.FromSlash(dir))); err != nil {
			return ProviderSet{}, false
		}
	}
	markUsed(s.setFile(need))
	return set, true
}

func (s *ProviderStore) setFile(need ProviderNeed) string {
	parts := []string{need.Lock, need.Tool.String(), platform(), operatorText(s.operatorFiles(need.Tool))}
	for _, source := range slices.Sorted(maps.Keys(need.Providers)) {
		parts = append(parts, source, strings.Join(need.Providers[source], ", "))
	}
	return filepath.Join(s.Dir, ".sets", hashOf(parts...)+".json")
}

func platform() string { return runtime.GOOS + "_" + runtime.GOARCH }

func (s *ProviderStore) prepareFill(need ProviderNeed) (FillDirs, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return FillDirs{}, err
	}
	root, err := os.MkdirTemp(s.Dir, ".fill-*")
	if err != nil {
		return FillDirs{}, err
	}
	dirs := FillDirs{Root: root, Config: filepath.Join(root, "config"), Data: filepath.Join(root, "data")}
	err = errors.Join(os.Mkdir(dirs.Config, 0o700), os.Mkdir(dirs.Data, 0o700))
	if err == nil {
		err = os.WriteFile(filepath.Join(dirs.Config, "main.tf"), []byte(fillModule(need)), 0o600)
	}
	if err == nil && need.Lock != "" {
		err = os.WriteFile(filepath.Join(dirs.Config, lockFile), []byte(need.Lock), 0o600)
	}
	if err != nil {
		return FillDirs{}, errors.Join(err, os.RemoveAll(root))
	}
	return dirs, nil
}

// fillModule is a root module that needs the same providers, in the same versions, and nothing else.
func fillModule(need ProviderNeed) string {
	constraints := make(map[string]string)
	for _, locked := range lockedProviders(need.Lock) {
		constraints[locked.source] = locked.constraints
	}
	for source, versions := range need.Providers {
		if len(versions) > 0 {
			constraints[source] = strings.Join(versions, ", ")
		} else if _, ok := constraints[source]; !ok {
			constraints[source] = ""
		}
	}
	var b strings.Builder
	b.WriteString("terraform {\n  required_providers {\n")
	for i, source := range slices.Sorted(maps.Keys(constraints)) {
		fmt.Fprintf(&b, "    p%d = {\n      source = %s\n", i, quote(source))
		if constraints[source] != "" {
			fmt.Fprintf(&b, "      version = %s\n", quote(constraints[source]))
		}
		b.WriteString("    }\n")
	}
	b.WriteString("  }\n}\n")
	return b.String()
}

// quote writes a string for HCL.
func quote(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(strconv.Quote(s))
}

// keep moves the packages of a fill into the store and records the set.
func (s *ProviderStore) keep(need ProviderNeed, dirs FillDirs) (ProviderSet, error) {
	lock, err := os.ReadFile(filepath.Join(dirs.Config, lockFile))
	if err != nil {
		return ProviderSet{}, err
	}
	set := ProviderSet{Format: setFormat, Lock: string(lock)}
	for _, locked := range lockedProviders(set.Lock) {
		dir := filepath.Join(filepath.FromSlash(locked.source), locked.version, platform())
		if !filepath.IsLocal(dir) {
			return ProviderSet{}, fmt.Errorf("the lock file names a provider %q", locked.source)
		}
		kept, err := s.keepPackage(filepath.Join(dirs.Data, "providers", dir), filepath.Join(s.Dir, dir), locked)
		if err != nil {
			return ProviderSet{}, err
		}
		if kept {
			set.Stored = append(set.Stored, locked.source)
			set.Dirs = append(set.Dirs, filepath.ToSlash(dir))
		}
	}
	data, err := json.MarshalIndent(set, "", "\t")
	if err != nil {
		return ProviderSet{}, err
	}
	// The project may keep the new lock file, or get its own back with the next commit: both find it.
	again := need
	again.Lock = set.Lock
	return set, errors.Join(writeFileAtomic(s.setFile(need), data), writeFileAtomic(s.setFile(again), data))
}

// keepPackage puts one unpacked package into the store. What init made is moved; a link leads into a
// mirror or a plugin cache of the operator's, and what it leads to is copied.
func (s *ProviderStore) keepPackage(from, to string, locked lockedProvider) (bool, error) {
	if _, err := os.Stat(to); err == nil {
		// Of the same version, maybe from another source: good if it is what this lock file means.
		sum, err := dirhash.HashDir(to, "", dirhash.Hash1)
		return err == nil && slices.Contains(locked.hashes, sum), nil
	}
	info, err := os.Lstat(from)
	if err != nil {
		return false, err
	}
	if !info.IsDir() {
		unlinked := from + ".copy"
		if err := os.CopyFS(unlinked, os.DirFS(from)); err != nil {
			return false, err
		}
		from = unlinked
	}
	if err := syncTree(from); err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return false, err
	}
	if err := os.Rename(from, to); err != nil {
		return false, err
	}
	return true, syncDir(filepath.Dir(to))
}

// syncTree makes a package durable before its rename is: a machine that stops in between must not
// leave a package that fails its hash for ever.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() && !entry.IsDir() {
			return err
		}
		return syncDir(name)
	})
}

type lockedProvider struct {
	source, version, constraints string
	hashes                       []string
}

// lockedProviders reads the entries of a dependency lock file. What cannot be read is left out:
// terraform says what is wrong with it.
func lockedProviders(lock string) []lockedProvider {
	if tooDeep([]byte(lock)) {
		return nil
	}
	file, _ := hclsyntax.ParseConfig([]byte(lock), lockFile, hcl.InitialPos)
	if file == nil || file.Body == nil {
		return nil
	}
	content, _, _ := file.Body.PartialContent(&hcl.BodySchema{
		Blocks: []hcl.BlockHeaderSchema{{Type: "provider", LabelNames: []string{"source"}}},
	})
	var providers []lockedProvider
	for _, block := range content.Blocks {
		attrs, _ := block.Body.JustAttributes()
		p := lockedProvider{source: block.Labels[0], version: literal(attrs["version"]), constraints: literal(attrs["constraints"])}
		if attr := attrs["hashes"]; attr != nil {
			items, _ := hcl.ExprList(attr.Expr)
			for _, item := range items {
				p.hashes = append(p.hashes, literalExpr(item))
			}
		}
		if p.version != "" && strings.Count(p.source, "/") == 2 {
			providers = append(providers, p)
		}
	}
	return providers
}
