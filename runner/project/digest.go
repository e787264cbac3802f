package project

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// digestFormat is the first part of every sum. It has to change with anything that changes what goes into
// one; older plans are not fresh then.
const digestFormat = "1"

const (
	// mostFiles is how many files outside of its directory are named one by one in a digest.
	mostFiles = 500
	// mostLinks is how many links are followed.
	mostLinks = 5_000
)

// Inputs are what a plan is made from besides the repository's files.
type Inputs struct {
	// Tool is what made the plan: "terraform 1.11.4".
	Tool string
	// ServerConfig stands for the settings of the server that change what a plan does.
	ServerConfig string
	// Workflow stands for the steps that are run.
	Workflow string
}

// Digested is what a plan was made from. Two plans with the same Sum were made from the same.
type Digested struct {
	// Sum is the format and a hash of all parts: "1:9f86d0...".
	Sum string `json:"sum"`
	// Parts are a hash, or a word, for each thing that counts. Use [Moved] to read them.
	Parts map[string]string `json:"parts"`
}

// The kinds of parts. A part's key is the kind, a space, and a path or the name of a fact.
const (
	partDir     = "dir"     // a directory and all below it: git's hash
	partFile    = "file"    // a file: git's hash
	partFiles   = "files"   // many files of one directory: a hash of theirs
	partOutside = "outside" // a path that leaves the repository: can't be watched
	partFact    = "fact"
)

// Covers reports whether what is at a path, with no links in it, counts.
func (d Digested) Covers(name string) bool {
	if _, ok := d.Parts[key(partFile, name)]; ok {
		return true
	}
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if _, ok := d.Parts[key(partDir, dir)]; ok {
			return true
		}
		if dir == "." || dir == "/" {
			return false
		}
	}
}

// The facts, and what stands in the place of a hash.
const (
	factTool     = "tool"
	factServer   = "server"
	factWorkflow = "workflow"
	absent       = "absent"
	notWatched   = "not watched"
)

// Digest answers what a plan of a project is made from: its directory with all below; every local module
// it calls, by way of others too, the same way; what links in any of these lead to; the files outside
// that its when_modified names; and the inputs. Where the modules can't be known, because a source is no
// literal or a file can't be read, the whole repository counts: a plan may be thought stale that is not,
// and never the other way round.
func Digest(ctx context.Context, t Tree, p Project, in Inputs) (Digested, error) {
	d := digester{ix: newIndex(t), parts: map[string]string{
		key(partFact, factTool):     in.Tool,
		key(partFact, factServer):   hash(in.ServerConfig),
		key(partFact, factWorkflow): hash(in.Workflow),
	}}
	c, err := d.ix.closure(ctx, p.Dir)
	if err != nil {
		return Digested{}, fmt.Errorf("reading the modules of %q: %w", p.Dir, err)
	}
	for _, dir := range c.dirs {
		d.add(dir)
	}
	for _, o := range c.outside {
		d.parts[key(partOutside, o)] = notWatched
	}
	all, err := d.links(ctx)
	if err != nil {
		return Digested{}, fmt.Errorf("following links of %q: %w", p.Dir, err)
	}
	d.matched(p)
	if c.unknown || !all {
		d.add(".")
	}
	return Digested{Sum: sum(d.parts), Parts: d.parts}, nil
}

// digester collects parts.
type digester struct {
	ix    *index
	parts map[string]string
	dirs  []string // the directories among the parts, in the order they came
}

// add makes a part of what is at a path: a directory, a file, nothing.
func (d *digester) add(name string) {
	h, ok := d.ix.Hash(name)
	if !ok {
		h = absent
	}
	kind := partFile
	if _, ok := d.ix.dirs[name]; ok || h == absent {
		kind = partDir
		if !slices.Contains(d.dirs, name) {
			d.dirs = append(d.dirs, name)
		}
	}
	d.parts[key(kind, name)] = h
}

// links adds what the links in the directories lead to, and the links in what was added that way. It
// reports whether these were all.
func (d *digester) links(ctx context.Context) (bool, error) {
	seen := map[string]bool{}
	for i := 0; i < len(d.dirs); i++ {
		for _, f := range d.ix.below(d.dirs[i]) {
			if seen[f] || !d.ix.Link(f) {
				continue
			}
			if seen[f] = true; len(seen) > mostLinks {
				return false, nil
			}
			real, err := d.ix.Real(ctx, f)
			switch {
			case ctx.Err() != nil:
				return false, ctx.Err()
			case err != nil:
				d.parts[key(partOutside, f)] = notWatched
			case !slices.ContainsFunc(d.dirs, func(dir string) bool { return within(real, dir) }):
				d.add(real)
			}
		}
	}
	return true, nil
}

// within reports whether a path is a directory or below it.
func within(name, dir string) bool {
	return dir == "." || name == dir || strings.HasPrefix(name, dir+"/")
}

// matched adds the files outside of the project's directory that touch it.
func (d *digester) matched(p Project) {
	m := newMatchers().of(p)
	if !m.leadsOut() {
		return
	}
	var files []string
	for _, f := range d.ix.files {
		if m.match(f) && !slices.ContainsFunc(d.dirs, func(dir string) bool { return within(f, dir) }) {
			files = append(files, f)
		}
	}
	if len(files) <= mostFiles {
		for _, f := range files {
			d.add(f)
		}
		return
	}
	byDir := map[string]map[string]string{}
	for _, f := range files {
		dir := path.Dir(f)
		if byDir[dir] == nil {
			byDir[dir] = map[string]string{}
		}
		byDir[dir][f], _ = d.ix.Hash(f)
	}
	for dir, hashes := range byDir {
		d.parts[key(partFiles, dir)] = sum(hashes)
	}
}

// key is a part's key. A path that is no UTF-8 is written in another way, since parts are kept as JSON.
func key(kind, name string) string {
	if !utf8.ValidString(name) {
		name = strconv.QuoteToASCII(name)
	}
	return kind + " " + name
}

func hash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// sum hashes parts with their lengths, so that no two sets of them look the same.
func sum(parts map[string]string) string {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(parts)) {
		for _, s := range []string{k, parts[k]} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
			h.Write([]byte(s))
		}
	}
	return digestFormat + ":" + hex.EncodeToString(h.Sum(nil))
}

// Moved says what differs between two digests, one phrase for each part, in a fixed order: "`modules/net`
// changed". What comes from the repository stands in backticks. It is nil if the sums are the same, and
// never empty if they are not.
func Moved(before, after Digested) []string {
	if before.Sum == after.Sum {
		return nil
	}
	if len(before.Parts) == 0 || len(after.Parts) == 0 {
		return []string{"what it was made from is not known any more"}
	}
	keys := map[string]bool{}
	for k := range before.Parts {
		keys[k] = true
	}
	for k := range after.Parts {
		keys[k] = true
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		old, had := before.Parts[k]
		now, has := after.Parts[k]
		if had != has || old != now {
			out = append(out, phrase(k, old, now))
		}
	}
	if len(out) == 0 {
		return []string{"this version records what a plan is made from in another way"}
	}
	return out
}

// phrase words one part that moved. old or now is "" where it was or is none.
func phrase(part, old, now string) string {
	kind, name, _ := strings.Cut(part, " ")
	switch {
	case part == key(partFact, factTool) && old != "" && now != "":
		return code(old) + " became " + code(now)
	case part == key(partFact, factServer):
		return "the server's settings changed"
	case kind == partFact:
		return "the " + name + " changed"
	}
	what := code(name)
	switch {
	case kind == partOutside:
		what += " (outside of the repository)"
	case kind == partFiles:
		what = "files in " + what
	case name == ".":
		what = "the repository"
	}
	switch {
	case old == "":
		return what + " was added"
	case now == "":
		return what + " is not used any more"
	case old == absent:
		return what + " is there now"
	case now == absent:
		return what + " is gone"
	default:
		return what + " changed"
	}
}
