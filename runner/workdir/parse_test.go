package workdir

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func TestOpenChecksGit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, test := range map[string]struct{ script, want string }{
		"2.37":           {"echo git version 2.37.9", "git 2.38 or newer is needed, " + dir + "/2.37 is 2.37"},
		"1.9":            {"echo git version 1.9.0", "git 2.38 or newer is needed"},
		"2.38":           {"echo git version 2.38.0", ""},
		"2.100 of Apple": {"echo 'git version 2.100.1 (Apple Git-154)'", ""},
		"3.0":            {"echo git version 3.0.0.rc1", ""},
		"other":          {"echo hello", `"hello" is not a git version`},
		"failing":        {"echo no >&2; exit 3", "git version: no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin := filepath.Join(dir, name)
			writeFile(t, bin, "#!/bin/sh\n"+test.script+"\n")
			chmod(t, bin, 0o700)
			_, err := Open(t.Context(), Config{Data: t.TempDir(), Git: bin})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Open() = %v, want %q in it", err, test.want)
			}
		})
	}
	if _, err := Open(t.Context(), Config{Data: t.TempDir(), Git: "no-such-git"}); !errors.Is(err, exec.ErrNotFound) ||
		!strings.Contains(err.Error(), "install git 2.38 or newer") {
		t.Errorf("Open() without git = %v", err)
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("Open() without a data directory is no error")
	}
}

func TestOutputIsLimited(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "git")
	writeFile(t, bin, "#!/bin/sh\nif test $1 = version; then echo git version 2.39.0; else yes; fi\n")
	chmod(t, bin, 0o700)
	s, err := Open(t.Context(), Config{Data: t.TempDir(), Git: bin})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.git.run(t.Context(), command{args: []string{"x"}, dir: t.TempDir()}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("run() = %v, want ErrTooLarge", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if _, err := s.git.run(ctx, command{args: []string{"x"}, dir: t.TempDir()}); !errors.Is(err, why) {
		t.Errorf("run() = %v, want its cause", err)
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                      "",
		"fatal: x\n":                            "fatal: x",
		"remote: a\r\n\nfatal: b":               "remote: a; fatal: b",
		"'https://user:pass@host/x'":            "'https://host/x'",
		"https://a:p@q@host/ and http://t@h/":   "https://host/ and http://h/",
		"token is S3CRET, S3CRET":               "token is ***, ***",
		"\x1b[31mred\x1b[0m \x07bell \u009bcsi": "[31mred[0m bell csi",
		"\xff":                                  "?",
		"S3C\x1eRET, https://a\x00b:c@h/":       "***, https://h/",
	} {
		if got := scrub(in, []string{"S3CRET"}); got != want {
			t.Errorf("scrub(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		parts []string
		want  string
	}{
		{[]string{"ab", "cde"}, "abcde"}, {[]string{"abc", "def", "", "0123\n6789"}, "6789"}, {[]string{"S3CRET\r6789"}, "6789"}, {[]string{"S3CRET"}, ""},
	} {
		tail := &tail{most: 5}
		for _, part := range tt.parts {
			if n, err := tail.Write([]byte(part)); n != len(part) || err != nil {
				t.Errorf("Write(%q) = %d, %v", part, n, err)
			}
		}
		if got := tail.String(); got != tt.want {
			t.Errorf("String() after %q = %q, want %q", tt.parts, got, tt.want)
		}
	}
}

func TestCheckRefAgreesWithGit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{
		"refs/heads/main", "refs/heads/feat/x", "refs/pull/7/head", "refs/heads/ünï", "refs/heads/a.b", "refs/heads/-x", "refs/heads/@",
		"refs/heads/a@b", "refs/heads/{}", "refs/heads/.a", "refs/heads/a..b", "refs/heads/a.lock", "refs/heads/a.lock/b", "refs/heads/a.",
		"refs/heads//a", "refs/heads/a/", "refs/heads/a b", "refs/heads/a~", "refs/heads/a^", "refs/heads/a:b", "refs/heads/a?",
		"refs/heads/a*", "refs/heads/a[b", `refs/heads/a\b`, "refs/heads/a\x7f", "refs/heads/a\nb", "refs/heads/a@{1}", "refs/heads/", "refs/heads/+x",
	} {
		cmd := exec.CommandContext(t.Context(), "git", "check-ref-format", name)
		cmd.Dir, cmd.Env = dir, gitEnv()
		if ours, gits := checkRef(name), cmd.Run(); (ours == nil) != (gits == nil) {
			t.Errorf("checkRef(%q) = %v, but git says %v", name, ours, gits)
		}
	}
	for _, name := range []string{"main", "heads/main", "HEAD", "", "-x"} {
		if checkRef(name) == nil {
			t.Errorf("checkRef(%q) is no error", name)
		}
	}
}

func FuzzEncodeName(f *testing.F) {
	for _, seed := range []string{"default", "..", "a/b", "+2F", "\x00", "Ünï", "-rf", "x.lock", strings.Repeat("x", 200)} {
		f.Add(seed, "default")
	}
	f.Add("a/b", "a+2Fb")
	f.Fuzz(func(t *testing.T, a, b string) {
		encodedA, errA := encodeName(a)
		encodedB, errB := encodeName(b)
		if (errA != nil) != (a == "") || (errB != nil) != (b == "") {
			t.Fatalf("encodeName(%q) = %v, encodeName(%q) = %v", a, errA, b, errB)
		}
		if a != b && encodedA == encodedB {
			t.Fatalf("%q and %q are both %q", a, b, encodedA)
		}
		if a == "" {
			return
		}
		if len(encodedA) > 128 || !filepath.IsLocal(encodedA) || strings.ContainsAny(encodedA, "/\\. ") || checkRef("refs/x/"+encodedA) != nil {
			t.Errorf("encodeName(%q) = %q, which is no good name", a, encodedA)
		}
	})
}

func FuzzParseListing(f *testing.F) {
	id := strings.Repeat("ab", 20)
	f.Add([]byte(""))
	f.Add([]byte("100644 blob " + id + "\ta\x00040000 tree " + id + "\tdir\x00"))
	f.Add([]byte("120000 blob " + id + "\tx\ty\nz\x00160000 commit " + id + "\tmodule\x00"))
	f.Add([]byte("100644 blob " + id + "\t\x00"))
	f.Add([]byte("100644 blob " + id + "\tcut"))
	f.Add([]byte("-1 blob " + id + "\ta\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		entries, err := parseListing(in)
		if err != nil {
			return
		}
		size := 0
		for _, e := range entries {
			if e.path == "" || strings.Contains(e.path, "\x00") || checkObject(e.hash) != nil || e.mode < 0 {
				t.Errorf("parseListing(%q) has %+v", in, e)
			}
			size += len(e.path)
		}
		if size > len(in) || len(entries) != strings.Count(string(in), "\x00") {
			t.Errorf("parseListing(%q) = %+v", in, entries)
		}
	})
}

func FuzzParseMergeTree(f *testing.F) {
	id := strings.Repeat("ab", 20)
	for _, seed := range []string{"", id, id + "\x00", id + "\x00a\x00b\nc\x00", id + "\x00a", id + "\x00\x00", "x\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		tree, files, err := parseMergeTree(in)
		if err != nil {
			return
		}
		if got := tree + "\x00" + strings.Join(append(files, ""), "\x00"); got != string(in) {
			t.Errorf("parseMergeTree(%q) = %q, %q", in, tree, files)
		}
	})
}

func FuzzParsePaths(f *testing.F) {
	for _, seed := range []string{"", "a\x00", "a\nb\x00c\x00", "a", "\x00", "a\x00\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		paths, err := parsePaths(in)
		if err != nil {
			return
		}
		if got := strings.Join(append(paths, ""), "\x00"); got != string(in) {
			t.Errorf("parsePaths(%q) = %q", in, paths)
		}
	})
}

func FuzzParseRefs(f *testing.F) {
	id := strings.Repeat("ab", 20)
	f.Add([]byte(id + " refs/heads/main\n" + id + " refs/x\n"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		refs, err := parseRefs(in)
		for name, id := range refs {
			if err == nil && (checkObject(id) != nil || !strings.HasPrefix(name, "refs/")) {
				t.Errorf("parseRefs(%q) = %q", in, refs)
			}
		}
	})
}

func FuzzParseObjectLine(f *testing.F) {
	for _, seed := range []string{"abc blob 12", "abc missing", "abc tree 1", "abc blob -1", "", "abc blob 99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if size, err := parseObjectLine(in); err == nil && (size < 0 || !strings.Contains(in, " blob ")) {
			t.Errorf("parseObjectLine(%q) = %d", in, size)
		}
	})
}

func FuzzScrub(f *testing.F) {
	f.Add("fatal: https://user:S3CRET@host/x\n")
	f.Add("S3C\x1eRET")
	f.Fuzz(func(t *testing.T, in string) {
		got := scrub(in, []string{"S3CRET"})
		if strings.Contains(got, "S3CRET") || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("scrub(%q) = %q", in, got)
		}
	})
}

func FuzzFollow(f *testing.F) {
	f.Add("a/b/../c", "../x", "/etc")
	f.Add("l/l/m", ".", "l/..")
	f.Fuzz(func(t *testing.T, name, l, m string) {
		links := map[string]string{"l": l, "a/m": m}
		got, err := follow(name, func(p string) (string, bool, error) {
			target, ok := links[p]
			return target, ok, nil
		})
		if err == nil && (!filepath.IsLocal(got) || filepath.Clean(got) != got) {
			t.Errorf("follow(%q) = %q", name, got)
		}
		if err == nil {
			again, err := follow(got, func(string) (string, bool, error) { return "", false, nil })
			if err != nil || again != got {
				t.Errorf("follow(%q) = %q, and of that %q, %v", name, got, again, err)
			}
		}
	})
}

func TestParsers(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("ab", 20)
	got, err := parseListing([]byte("100755 blob " + id + "\ta\tb\nc\x00160000 commit " + id + "\tm\x00"))
	want := []listed{{mode: 0o100755, hash: id, path: "a\tb\nc"}, {mode: modeSubmodule, hash: id, path: "m"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(listed{})); err != nil || diff != "" {
		t.Errorf("parseListing() = %v (-want +got):\n%s", err, diff)
	}
	tree, files, err := parseMergeTree([]byte(id + "\x00x\ny\x00z\x00"))
	if tree != id || err != nil || !cmp.Equal(files, []string{"x\ny", "z"}) {
		t.Errorf("parseMergeTree() = %q, %q, %v", tree, files, err)
	}
}
