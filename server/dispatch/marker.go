package dispatch

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/tidegate/tidegate/vcs"
)

// marker is the last line of every comment we write. It says which answer the comment is, and its
// mac proves that it was us, for that pull request: nobody can make a comment pass for one of ours,
// nor carry one of ours to another pull request.
//
//	<!-- tidegate:1 server=NAME run=ULID command=plan source=push:SHA part=1/1 mac=32HEX -->
type marker struct {
	Server, Run, Command, Source, Part string
}

const (
	partAnswer   = "1/1"
	partProgress = "0/1"
)

func (m marker) text() string {
	return fmt.Sprintf("tidegate:1 server=%s run=%s command=%s source=%s part=%s",
		word(m.Server), word(m.Run), word(m.Command), word(m.Source), word(m.Part))
}

// readMarker is the way back from text; fields that are not there are empty.
func readMarker(text string) marker {
	var m marker
	to := map[string]*string{"server": &m.Server, "run": &m.Run, "command": &m.Command, "source": &m.Source, "part": &m.Part}
	for field := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(field, "=")
		if p := to[name]; p != nil {
			*p = value
		}
	}
	return m
}

// word keeps a value inside one attribute of an HTML comment.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._:/#", r):
			return r
		default:
			return '_'
		}
	}, s)
}

type signer struct {
	key []byte
}

func (s signer) mac(pull vcs.PullID, text string) string {
	h := hmac.New(sha256.New, s.key)
	_, _ = fmt.Fprintf(h, "tidegate:1\n%s\n%d\n%d\n%s", pull.Repo.Forge, pull.Repo.ID, pull.Number, text)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// write is the whole HTML comment.
func (s signer) write(pull vcs.PullID, m marker) string {
	text := m.text()
	return fmt.Sprintf("<!-- %s mac=%s -->", text, s.mac(pull, text))
}

var markerLine = regexp.MustCompile(`<!-- (tidegate:1 [^<>]*) mac=([0-9a-f]{32}) -->\s*$`)

// find answers the complete marker that body ends with, if it is one of ours for that pull request.
func (s signer) find(pull vcs.PullID, body string) (string, bool) {
	m := markerLine.FindStringSubmatch(body)
	if m == nil || !hmac.Equal([]byte(m[2]), []byte(s.mac(pull, m[1]))) {
		return "", false
	}
	return fmt.Sprintf("<!-- %s mac=%s -->", m[1], m[2]), true
}
