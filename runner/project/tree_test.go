package project

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// memTree is a tree in memory. A file whose name is "link -> target" in the archive is a link.
type memTree struct {
	content map[string]string
	links   map[string]string
	reads   int
}

func newTree(archive string) *memTree {
	t := &memTree{content: map[string]string{}, links: map[string]string{}}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		if name, target, ok := strings.Cut(f.Name, " -> "); ok {
			t.links[name] = target
			continue
		}
		t.content[f.Name] = string(f.Data)
	}
	return t
}

func (t *memTree) with(name, content string) *memTree {
	c := &memTree{content: map[string]string{}, links: t.links}
	for k, v := range t.content {
		c.content[k] = v
	}
	c.content[name] = content
	return c
}

func (t *memTree) Files() []string {
	var out []string
	for f := range t.content {
		out = append(out, f)
	}
	for f := range t.links {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

func (t *memTree) Link(name string) bool {
	_, ok := t.links[name]
	return ok
}

func (t *memTree) Real(_ context.Context, name string) (string, error) {
	at, rest := ".", strings.Split(name, "/")
	for n := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		if next == ".." || strings.HasPrefix(next, "../") {
			return "", fmt.Errorf("%s leaves the tree", name)
		}
		target, ok := t.links[next]
		if !ok {
			at = next
			continue
		}
		if n++; n > 40 || path.IsAbs(target) {
			return "", fmt.Errorf("%s leaves the tree or runs in circles", name)
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

func (t *memTree) ReadFile(ctx context.Context, name string) ([]byte, error) {
	t.reads++
	real, err := t.Real(ctx, name)
	if err != nil {
		return nil, err
	}
	c, ok := t.content[real]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(c), ctx.Err()
}

func (t *memTree) Hash(name string) (string, bool) {
	if c, ok := t.content[name]; ok {
		return short("file " + c), true
	}
	if l, ok := t.links[name]; ok {
		return short("link " + l), true
	}
	var all []string
	for _, f := range t.Files() {
		if within(f, name) {
			h, _ := t.Hash(f)
			all = append(all, f, h)
		}
	}
	if len(all) == 0 {
		return "", false
	}
	return short("dir " + strings.Join(all, "\x00")), true
}

func short(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:8])
}
