package dispatch

import (
	"strings"
	"testing"
)

func TestMarker(t *testing.T) {
	t.Parallel()
	s := signer{key: []byte("key")}
	m := marker{Server: "tidegate", Run: "01K9", Command: "plan", Source: "push:abc", Part: partAnswer}
	mark := s.write(pr(1), m)
	const form = "<!-- tidegate:1 server=tidegate run=01K9 command=plan source=push:abc part=1/1 mac="
	if !strings.HasPrefix(mark, form) || len(mark) != len(form)+32+len(" -->") {
		t.Errorf("write() = %q, want %s<32 hex> -->", mark, form)
	}
	body := "### Plan\n\n" + mark + "\n"
	if got, ok := s.find(pr(1), body); !ok || got != mark {
		t.Errorf("find() = %q, %v, want our own marker", got, ok)
	}
	for name, other := range map[string]struct {
		s    signer
		n    int
		body string
	}{
		"another pull request": {s, 2, body},
		"another key":          {signer{key: []byte("other")}, 1, body},
		"changed":              {s, 1, strings.Replace(body, "command=plan", "command=apply", 1)},
		"not at the end":       {s, 1, body + "\nplan"},
		"none":                 {s, 1, "### Plan"},
		"no mac":               {s, 1, "<!-- tidegate:1 server=x -->"},
	} {
		if _, ok := other.s.find(pr(other.n), other.body); ok {
			t.Errorf("find() takes a marker that is from %s", name)
		}
	}
}

func TestMarkerWordsCanNotBreakOut(t *testing.T) {
	t.Parallel()
	s := signer{key: []byte("key")}
	mark := s.write(pr(1), marker{Server: "a --> <b", Run: "x y", Command: "p\nq", Source: "comment:1 mac=00", Part: "1/1"})
	if strings.Count(mark, "-->") != 1 || strings.Count(mark, "<") != 1 || strings.ContainsAny(mark, "\n") || strings.Count(mark, " mac=") != 1 {
		t.Errorf("write() = %q, want one comment with one mac", mark)
	}
	if _, ok := s.find(pr(1), mark); !ok {
		t.Errorf("find(%q) does not know our own marker", mark)
	}
}
