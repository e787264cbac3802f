package workdir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// longestName is how many bytes an encoded workspace may have before it is named by its hash: file
// systems take 255, and git adds ".lock" to refs.
const longestName = 120

// Compiled when they are used first: a supervisor never uses them.
//
//nolint:gochecknoglobals // these are constants
var (
	forgeName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[A-Za-z0-9\[][A-Za-z0-9._:\[\]-]{0,200}$`)
	})
	refChars = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[^\x00-\x20\x7f~^:?*\[\\]+$`) })
)

// forgeDir is the directory name of a forge; it also refuses a Repo without identity.
func forgeDir(repo Repo) (string, error) {
	if !forgeName().MatchString(repo.Forge) || strings.Contains(repo.Forge, "..") {
		return "", fmt.Errorf("%q is not a forge's host name", repo.Forge)
	}
	if repo.ID <= 0 {
		return "", fmt.Errorf("%d is not a repository id", repo.ID)
	}
	return strings.NewReplacer(":", "_", "[", "_", "]", "_").Replace(repo.Forge), nil
}

// encodeName turns a workspace name, which can be any string, into a directory name and ref component.
// No two names share one. What is not a letter, a digit, "_" or "-" becomes +XX; a name too long becomes
// "+sha256-" and its hash, which no encoding can begin with.
func encodeName(name string) (string, error) {
	if name == "" {
		return "", errors.New("a workspace without a name")
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "+%02X", c)
		}
		if b.Len() > longestName {
			sum := sha256.Sum256([]byte(name))
			return "+sha256-" + hex.EncodeToString(sum[:]), nil
		}
	}
	return b.String(), nil
}

func pullDir(pull int) (string, error) {
	if pull <= 0 {
		return "", fmt.Errorf("%d is not a pull request's number", pull)
	}
	return strconv.Itoa(pull), nil
}

// ref is a ref of ours. Every pull request has its own, so that no branch name of the remote becomes a
// ref name here and Remove can find them all.
func ref(pull int, name string) string { return refPrefix(pull) + name }

func refPrefix(pull int) string { return "refs/tidegate/pull/" + strconv.Itoa(pull) + "/" }

// checkRef holds a remote's ref name to git's rules (git help check-ref-format), because it becomes a
// refspec, where "+", ":" and "*" have a meaning.
func checkRef(name string) error {
	bad := fmt.Errorf("%q is not a git ref name", name)
	if !strings.HasPrefix(name, "refs/") || !refChars().MatchString(name) {
		return bad
	}
	if strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, ".") {
		return bad
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return bad
		}
	}
	return nil
}

func checkObject(id string) error {
	if len(id) != 40 && len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return fmt.Errorf("%q is not a git object id", id)
	}
	return nil
}

// TFData is the TF_DATA_DIR of one project of this checkout, outside of the tree. key is any string
// that is the project's own; the directory is made by whoever needs it.
func (c Checkout) TFData(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(c.Base, "tf", hex.EncodeToString(sum[:10]))
}
