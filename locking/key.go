package locking

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// Pull is a pull request, by what never changes of it.
type Pull struct {
	Forge  string `json:"forge"`
	Repo   int64  `json:"repo"`
	Number int    `json:"number"`
}

// Key is what a lock is held on: a directory and workspace of a repository and, for a project that
// has one, its name.
type Key struct {
	Forge string `json:"forge"`
	Repo  int64  `json:"repo"`
	// Dir is cleaned, with forward slashes; "." is the root.
	Dir       string `json:"dir"`
	Workspace string `json:"workspace"`
	// Project is "" for a project without a name, which conflicts with every name.
	Project string `json:"project,omitempty"`
}

// maxText is how long a part of a key may be, in bytes: as long as a path on Linux.
const maxText = 4096

// ErrKey says that a key is not written as keys are, or not inside the pull request's repository.
var ErrKey = errors.New("not a lock key")

// check refuses keys that could be written in two ways, those that JSON would change, and those of
// another repository than the pull request's.
func (k Key) check(p Pull) error {
	for _, part := range []string{k.Forge, k.Dir, k.Workspace, k.Project} {
		if len(part) > maxText || !utf8.ValidString(part) {
			return fmt.Errorf("%.100q: longer than %d bytes or not UTF-8: %w", part, maxText, ErrKey)
		}
	}
	switch {
	case k.Forge != p.Forge, k.Repo != p.Repo:
		return fmt.Errorf("%+v: not in the repository of %+v: %w", k, p, ErrKey)
	case k.Forge == "", k.Workspace == "":
		return fmt.Errorf("%+v: forge or workspace missing: %w", k, ErrKey)
	case k.Dir == "", path.Clean(k.Dir) != k.Dir, path.IsAbs(k.Dir), k.Dir == "..", strings.HasPrefix(k.Dir, "../"):
		return fmt.Errorf("%+v: the directory is not cleaned or not inside the repository: %w", k, ErrKey)
	}
	return nil
}

// Bytes is the key as it stands in the file. Two keys never give the same bytes, and those of one
// directory and workspace begin alike.
func (k Key) Bytes() []byte { return text(k.place(), k.Project) }

// place is the part of Bytes that all names of one directory and workspace share.
func (k Key) place() []byte {
	b := text(nil, k.Forge)
	b = binary.BigEndian.AppendUint64(b, uint64(k.Repo))
	return text(text(b, k.Dir), k.Workspace)
}

// ID names the key in links: opaque, URL-safe, always the same.
func (k Key) ID() string {
	sum := sha256.Sum256(k.Bytes())
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// conflicts reports whether two pull requests must not hold a and b at the same time.
func conflicts(a, b Key) bool {
	named := a.Project != "" && b.Project != "" && a.Project != b.Project
	return !named && a.unnamed() == b.unnamed()
}

// unnamed is what all names of one directory and workspace have in common.
func (k Key) unnamed() Key {
	k.Project = ""
	return k
}

func (p Pull) bytes() []byte {
	b := text(nil, p.Forge)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Repo))
	return binary.BigEndian.AppendUint64(b, uint64(p.Number))
}

// text is a string after its length.
func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
