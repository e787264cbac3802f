package workdir

import (
	"bufio"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // git's object names
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

var damage = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`(?i)corrupt|bad (object|tree|ref|config)|broken|loose object|object file|` +
		`(could not|unable to) (read|find|parse)( object)? [0-9a-f]{40}|missing (blob|tree|commit)|is too small|too short|` +
		`did not send all necessary objects|not a git repository|packfile|inflate|invalid (sha1 pointer|object)|` +
		`existing object|failed to (unpack tree|read object)|unresolved deltas|\.lock': file exists|cannot lock ref`)
})

// isDamage reports whether git complains about its own files rather than about the remote, a submodule's
// server or what it was asked. The words are git's in the C locale; a false alarm costs one fetch.
func isDamage(err error) bool {
	if _, theirs := errors.AsType[*SubmoduleError](err); theirs {
		return false
	}
	failure, ok := errors.AsType[*gitError](err)
	if !ok {
		return false
	}
	if failure.code < 0 && errors.Is(failure.err, fs.ErrNotExist) {
		return true // the directory is gone
	}
	return tellsDamage(failure.text)
}

func tellsDamage(text string) bool {
	for line := range strings.SplitSeq(text, "; ") {
		if !strings.HasPrefix(line, "remote:") && damage().MatchString(line) {
			return true
		}
	}
	return false
}

// healing calls do, and again after a repair, and again after a rebuild, as long as it meets damage.
func (m *mirror) healing(ctx context.Context, repo Repo, specs []string, do func() error) error {
	var err error
	if !m.suspect.Load() {
		if err = do(); !isDamage(err) {
			return err
		}
		m.log.WarnContext(ctx, "repairing a mirror", "cause", err)
		if err := m.repair(ctx); err != nil {
			return fmt.Errorf("repairing the mirror: %w", err)
		}
		m.suspect.Store(false)
		if err = do(); !isDamage(err) {
			return err
		}
	}
	if rerr := m.rebuild(ctx, repo, specs); rerr != nil {
		return errors.Join(err, fmt.Errorf("rebuilding the mirror: %w", rerr))
	}
	return do()
}

// rebuild repairs a mirror whose files are damaged or gone. Running checkouts borrow its objects, so the
// directory is not swapped: what the remote has is fetched afresh beside it and moved in, then what
// cannot be read is taken out, and refs whose history has holes are dropped, so that the next fetch does
// not claim to have it.
func (m *mirror) rebuild(ctx context.Context, repo Repo, specs []string) error {
	select {
	case m.fetching <- struct{}{}:
		defer func() { <-m.fetching }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	m.log.WarnContext(ctx, "rebuilding a damaged mirror")
	fresh, err := m.scratch("fresh-*.git")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	if err := initBare(ctx, m.git, fresh); err != nil {
		return err
	}
	if err := m.fetchNow(ctx, repo, fresh, specs); err != nil {
		return err
	}
	m.blobs.reset()
	m.use.Lock()
	defer m.use.Unlock()
	if err := m.adopt(ctx, fresh); err != nil {
		return err
	}
	m.suspect.Store(false)
	return nil
}

// adopt is the part of rebuild that needs the mirror for itself.
func (m *mirror) adopt(ctx context.Context, fresh string) error {
	if err := m.repairLocked(ctx); err != nil {
		return err
	}
	if err := moveObjects(filepath.Join(fresh, "objects"), m.objects()); err != nil {
		return fmt.Errorf("moving the fresh objects in: %w", err)
	}
	if err := dropLoose(m.objects()); err != nil {
		return fmt.Errorf("taking damaged objects out: %w", err)
	}
	if err := m.dropPacks(ctx); err != nil {
		return fmt.Errorf("taking damaged packs out: %w", err)
	}
	return m.dropRefs(ctx)
}

// moveObjects moves packs and loose objects from one objects directory into another. An index comes after
// its pack: git looks for indexes.
func moveObjects(from, to string) error {
	var files []string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Dir(path) != filepath.Join(from, "info") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b string) int {
		return strings.Compare(packOrder(a)+a, packOrder(b)+b)
	})
	for _, path := range files {
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		if err := os.Rename(path, target); err != nil {
			return err
		}
	}
	return nil
}

func packOrder(path string) string {
	if strings.HasSuffix(path, ".idx") {
		return "2"
	}
	return "1"
}

// dropPacks mends or takes out damaged packs. One that holds what is to be had nowhere else stays: git goes
// around what it cannot read in it, since the fresh pack is newer and so asked first.
func (m *mirror) dropPacks(ctx context.Context) error {
	packs, err := filepath.Glob(filepath.Join(m.objects(), "pack", "*.idx"))
	if err != nil {
		return err
	}
	for _, index := range packs {
		stem := strings.TrimSuffix(index, ".idx")
		if _, err := m.runLocked(ctx, command{args: []string{"verify-pack", index}}); err == nil {
			continue
		} else if ctx.Err() != nil {
			return err
		}
		log := m.log.With("pack", filepath.Base(stem))
		if m.reindex(ctx, stem) == nil {
			log.WarnContext(ctx, "made a damaged index of a pack anew")
			continue
		}
		if needed, err := m.needed(ctx, stem); err != nil {
			return err
		} else if needed {
			log.WarnContext(ctx, "keeping a damaged pack, it has what is nowhere else")
			continue
		}
		log.WarnContext(ctx, "taking a damaged pack out of a mirror")
		for _, ext := range []string{".idx", ".rev", ".bitmap", ".mtimes", ".keep", ".pack"} {
			if err := os.Remove(stem + ext); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// reindex makes the index of a sound pack anew.
func (m *mirror) reindex(ctx context.Context, stem string) error {
	dir, err := m.scratch("index-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	index := filepath.Join(dir, "new.idx")
	if _, err := m.runLocked(ctx, command{
		args: []string{"index-pack", "-o", index, stem + ".pack"},
		// Nothing is compared with what the damaged index finds.
		env: []string{"GIT_OBJECT_DIRECTORY=" + dir},
	}); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(stem+".rev"), os.Rename(index, stem+".idx"))
}

// needed reports whether a pack lists objects that the mirror has nowhere else. A pack whose index
// cannot be read is of no use.
func (m *mirror) needed(ctx context.Context, stem string) (bool, error) {
	index, err := os.Open(stem + ".idx") //nolint:gosec // a path of ours
	if err != nil {
		return false, err
	}
	defer func() { _ = index.Close() }()
	out, err := m.runLocked(ctx, command{args: []string{"show-index"}, stdin: index, limit: mostListing})
	if err != nil {
		if ctx.Err() != nil {
			return false, err
		}
		return false, nil
	}
	var ids strings.Builder
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 1 {
			ids.WriteString(fields[1] + "\n")
		}
	}
	others, err := m.without(stem)
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(others) }()
	out, err = m.runLocked(ctx, command{
		args:  []string{"cat-file", "--batch-check=%(objecttype)"},
		stdin: strings.NewReader(ids.String()), limit: mostListing,
		env: []string{"GIT_OBJECT_DIRECTORY=" + others},
	})
	return strings.Contains(string(out), " missing\n"), err
}

// without makes an objects directory of links to all but one pack: taking it out to see what is missing
// would have checkouts miss it, too.
func (m *mirror) without(stem string) (string, error) {
	dir, err := m.scratch("others-*")
	if err != nil {
		return "", err
	}
	loose, err := filepath.Glob(filepath.Join(m.objects(), "[0-9a-f][0-9a-f]"))
	if err != nil {
		return "", err
	}
	packs, err := filepath.Glob(filepath.Join(m.objects(), "pack", "*"))
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(filepath.Join(dir, "pack"), 0o700); err != nil {
		return "", err
	}
	for _, path := range append(loose, packs...) {
		if strings.HasPrefix(path, stem+".") {
			continue
		}
		rel, err := filepath.Rel(m.objects(), path)
		if err != nil {
			return "", err
		}
		if err := os.Symlink(path, filepath.Join(dir, rel)); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// dropLoose removes loose objects whose content is not what their name says.
func dropLoose(objects string) error {
	files, err := filepath.Glob(filepath.Join(objects, "[0-9a-f][0-9a-f]", "*"))
	if err != nil {
		return err
	}
	for _, path := range files {
		sound, err := looseIsSound(path)
		if err != nil {
			return err
		}
		if sound {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

func looseIsSound(path string) (bool, error) {
	file, err := os.Open(path) //nolint:gosec // a path of ours
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	name := filepath.Base(filepath.Dir(path)) + filepath.Base(path)
	sum := sha1.New() //nolint:gosec // git's object names
	if len(name) == 2*sha256.Size {
		sum = sha256.New()
	}
	inflated, err := zlib.NewReader(bufio.NewReader(file))
	if err != nil {
		return false, nil //nolint:nilerr // that it cannot be read is the answer
	}
	if _, err := io.Copy(sum, inflated); err != nil { //nolint:gosec // goes into a hash, not into memory
		return false, nil //nolint:nilerr // that it cannot be read is the answer
	}
	return hex.EncodeToString(sum.Sum(nil)) == name, nil
}

// dropRefs removes the refs that cannot be read or whose objects are not all there.
func (m *mirror) dropRefs(ctx context.Context) error {
	root := filepath.Join(m.dir, "refs")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path) //nolint:gosec // a path of ours
		if err != nil {
			return err
		}
		if whole, err := m.whole(ctx, strings.TrimSpace(string(content))); whole || err != nil {
			return err
		}
		return os.Remove(path) //nolint:gosec // nobody else writes to the mirror
	})
	if err != nil {
		return err
	}
	// An operator may have packed the refs.
	out, err := m.runLocked(ctx, command{args: []string{"for-each-ref", "--format=%(objectname) %(refname)"}, limit: mostRefs})
	if err != nil {
		return err
	}
	refs, err := parseRefs(out)
	if err != nil {
		return err
	}
	for name, id := range refs {
		if whole, err := m.whole(ctx, id); whole {
			continue
		} else if err != nil {
			return err
		}
		if _, err := m.runLocked(ctx, command{args: []string{"update-ref", "-d", name}}); err != nil {
			return err
		}
	}
	return nil
}

// whole reports whether all objects that id reaches are there.
func (m *mirror) whole(ctx context.Context, id string) (bool, error) {
	if checkObject(id) != nil {
		return false, nil
	}
	_, err := m.runLocked(ctx, command{args: []string{"rev-list", "--objects", "--quiet", id, "--"}})
	if err != nil && ctx.Err() != nil {
		return false, err
	}
	return err == nil, nil
}
