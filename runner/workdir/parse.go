package workdir

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// git's modes for what is no regular file.
const (
	modeDir       = 0o040000
	modeLink      = 0o120000
	modeSubmodule = 0o160000
)

// listed is one line of ls-tree.
type listed struct {
	mode int
	hash string
	path string
}

var versionLine = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`^git version (\d{1,4})\.(\d{1,4})(?:\D|$)`)
})

// parseVersion reads the output of "git version".
func parseVersion(text string) (major, minor int, err error) {
	match := versionLine().FindStringSubmatch(strings.TrimSpace(text))
	if match == nil {
		return 0, 0, fmt.Errorf("%q is not a git version", strings.TrimSpace(text))
	}
	major, _ = strconv.Atoi(match[1])
	minor, _ = strconv.Atoi(match[2])
	return major, minor, nil
}

// parseListing reads "ls-tree -z": "<mode> SP <type> SP <hash> TAB <path> NUL", any number of times.
func parseListing(out []byte) ([]listed, error) {
	entries := make([]listed, 0, bytes.Count(out, []byte{0}))
	for len(out) > 0 {
		line, rest, ok := bytes.Cut(out, []byte{0})
		if !ok {
			return nil, errors.New("the listing of a tree ends in the middle of a line")
		}
		out = rest
		head, path, ok := strings.Cut(string(line), "\t")
		fields := strings.Split(head, " ")
		if !ok || path == "" || len(fields) != 3 {
			return nil, fmt.Errorf("%q is not a line of a tree's listing", line)
		}
		mode, err := strconv.ParseUint(fields[0], 8, 20)
		if err != nil || checkObject(fields[2]) != nil {
			return nil, fmt.Errorf("%q is not a line of a tree's listing", line)
		}
		entries = append(entries, listed{mode: int(mode), hash: fields[2], path: path})
	}
	return entries, nil
}

// parsePaths reads paths that each end with NUL ("diff-tree -z --name-only").
func parsePaths(out []byte) ([]string, error) {
	if len(out) == 0 {
		return nil, nil
	}
	text, ok := strings.CutSuffix(string(out), "\x00")
	if !ok {
		return nil, errors.New("a list of paths ends in the middle of one")
	}
	paths := strings.Split(text, "\x00")
	for _, path := range paths {
		if path == "" {
			return nil, errors.New("a list of paths has an empty one")
		}
	}
	return paths, nil
}

// parseMergeTree reads "merge-tree --write-tree -z --name-only --no-messages": the tree and, after
// conflicts, the paths that have any.
func parseMergeTree(out []byte) (tree string, conflicts []string, err error) {
	id, rest, ok := bytes.Cut(out, []byte{0})
	if !ok {
		return "", nil, errors.New("merge-tree printed no tree")
	}
	tree = string(id)
	if err := checkObject(tree); err != nil {
		return "", nil, fmt.Errorf("reading merge-tree's output: %w", err)
	}
	conflicts, err = parsePaths(rest)
	if err != nil {
		return "", nil, fmt.Errorf("reading merge-tree's output: %w", err)
	}
	return tree, conflicts, nil
}

// parseRefs reads "for-each-ref --format=%(objectname) %(refname)".
func parseRefs(out []byte) (map[string]string, error) {
	refs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || checkObject(id) != nil || !strings.HasPrefix(name, "refs/") {
			return nil, fmt.Errorf("%q is not a ref", line)
		}
		refs[name] = id
	}
	return refs, nil
}
