package workdir

import (
	"path/filepath"
	"strings"
	"testing"
)

// plainClone is what a clone has in it of a repository in which the head was merged into the base. The clone that merges would not do: git
// leaves files as they are there whose attributes alone have changed.
func (o *opened) plainClone(t *testing.T) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "plain")
	gitIn(t, filepath.Dir(dir), "clone", "-q", "-b", "main", "file://"+o.src.dir, dir)
	gitIn(t, dir, "fetch", "-q", "origin", "refs/pull/7/head")
	gitIn(t, dir, "merge", "-q", "--no-edit", "FETCH_HEAD")
	gitIn(t, filepath.Dir(dir), "clone", "-q", dir, dir+"-merged")
	return listing(t, dir+"-merged")
}

// TestCheckoutIsAPlainClone: whatever attributes say of the bytes of files, a checkout has those of a plain clone of the merge, also
// when it is moved there and back.
func TestCheckoutIsAPlainClone(t *testing.T) {
	t.Parallel()
	const lines, crlf = "one\ntwo\n", "one\r\ntwo\r\n"
	attributes := strings.Join([]string{
		"*.auto text=auto", "*.crlf text eol=crlf", "*.lf text eol=lf", "*.bin -text", "*.ident ident", "*.utf16 text working-tree-encoding=UTF-16LE eol=crlf",
		"secret.* export-ignore", "*.subst export-subst", "*.filtered filter=none", "*.union merge=union", "sub/*.crlf -text", "",
	}, "\n")
	o := open(t, func(s *source) {
		s.git(t, "config", "core.autocrlf", "false")
		s.write(t, ".gitattributes", attributes)
		s.write(t, "sub/.gitattributes", "*.lf eol=crlf\n")
		for _, name := range []string{"a.auto", "a.crlf", "a.lf", "a.bin", "a.none", "sub/a.crlf", "sub/a.lf", "sub/a.auto", "a.filtered", "secret.crlf"} {
			s.write(t, name, lines)
		}
		s.write(t, "b.bin", crlf)
		s.write(t, "b.none", crlf)
		s.write(t, "b.auto", crlf) // comes in as LF
		s.write(t, "mixed.none", lines+crlf)
		s.write(t, "a.ident", "$Id$\n")
		s.write(t, "a.subst", "$Format:%H$\n")
		s.write(t, "a.union", lines)
		s.write(t, "a.utf16", "o\x00n\x00e\x00\r\x00\n\x00")
	}, func(s *source) {
		s.write(t, "new.crlf", "one\r\ntwo\r\n")
		s.write(t, "a.auto", lines+"three\n")
		s.write(t, "later/.gitattributes", "* eol=crlf\n")
		s.write(t, "later/a.lf", lines)
		s.write(t, "a.union", lines+"head\n")
	})
	o.src.branch(t, "main", "main")
	o.src.write(t, "a.union", lines+"base\n")
	o.src.commit(t)
	o.mergeAgain(t)

	want := o.plainClone(t)
	for path, bytes := range map[string]string{
		"a.crlf": crlf, "sub/a.crlf": lines, "sub/a.lf": crlf, "a.lf": lines, "b.none": crlf, "b.auto": lines, "later/a.lf": crlf,
		"a.subst": "$Format:%H$\n", "secret.crlf": crlf, "a.filtered": lines, "a.utf16": "o\x00n\x00e\x00\r\x00\n\x00",
	} {
		if want[path] != bytes {
			t.Errorf("a plain clone has %q in %s, want %q: nothing is proved", want[path], path, bytes)
		}
	}
	if !strings.HasPrefix(want["a.ident"], "$Id: ") || !strings.Contains(want["a.union"], "base\nhead\n") && !strings.Contains(want["a.union"], "head\nbase\n") {
		t.Errorf("a plain clone has %q and %q: nothing is proved", want["a.ident"], want["a.union"])
	}
	c := o.checkout(t)
	checkListing(t, c, want)
	if got := gitIn(t, c.Root, "status", "--porcelain"); got != "" {
		t.Errorf("git status in the checkout = %q", got)
	}

	before := o.merge
	o.push(t, func(s *source) {
		s.write(t, ".gitattributes", "* -text\n")
		s.write(t, "a.crlf", lines+"more\n")
		s.remove(t, "later/.gitattributes")
	})
	checkListing(t, o.checkout(t), o.plainClone(t))
	o.merge = before
	checkListing(t, o.checkout(t), want)
}
