package supervisor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// access is what a process may do with a part of the file system.
type access int

const (
	noAccess access = iota
	readAccess
	writeAccess
)

// grant gives access to a path and all below it.
type grant struct {
	path   string
	access access
}

// grants turns "everything but" into what Landlock has, a list of what is allowed: where something
// below is hidden, everything beside it is granted one by one. Symbolic links are never granted; what
// they lead to is judged where it lies.
func grants(s Sandbox, hide ...string) ([]grant, error) {
	root := &place{}
	for _, list := range []struct {
		paths  []string
		access access
	}{{s.Hide, noAccess}, {s.ShowRead, readAccess}, {s.Show, writeAccess}, {hide, noAccess}} {
		for _, p := range list.paths {
			if err := root.put(p, list.access); err != nil {
				return nil, err
			}
		}
	}
	var out []grant
	err := root.walk("/", writeAccess, &out)
	return out, err
}

// place is a directory or file that was named, or lies on the way to one.
type place struct {
	named  bool
	access access
	below  map[string]*place
}

// put enters a path by its real name, or not at all if there is none.
func (p *place) put(path string, a access) error {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.Trim(real, "/"), "/") {
		if name == "" {
			break
		}
		if p.below[name] == nil {
			if p.below == nil {
				p.below = map[string]*place{}
			}
			p.below[name] = &place{}
		}
		p = p.below[name]
	}
	p.named, p.access = true, a
	return nil
}

// lowers reports whether something below may do less.
func (p *place) lowers(a access) bool {
	for _, c := range p.below {
		if c.named && c.access < a || c.lowers(a) {
			return true
		}
	}
	return false
}

func (p *place) walk(path string, a access, out *[]grant) error {
	if p.named {
		a = p.access
	}
	if !p.lowers(a) {
		if a != noAccess {
			*out = append(*out, grant{path, a})
		}
		return p.walkNamed(path, a, out)
	}
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrPermission) {
		// What we can't list, the process can't reach.
		return p.walkNamed(path, a, out)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if p.below[e.Name()] == nil && e.Type()&fs.ModeSymlink == 0 {
			*out = append(*out, grant{filepath.Join(path, e.Name()), a})
		}
	}
	return p.walkNamed(path, a, out)
}

func (p *place) walkNamed(path string, a access, out *[]grant) error {
	names := make([]string, 0, len(p.below))
	for name := range p.below {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.below[name].walk(filepath.Join(path, name), a, out); err != nil {
			return err
		}
	}
	return nil
}
