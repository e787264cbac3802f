package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func lines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %04d\n", i)
	}
	return b.String()
}

func newLog(t *testing.T, limit int64) (*cappedLog, func() string) {
	t.Helper()
	dir := t.TempDir()
	l, err := newCappedLog(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return l, func() string {
		raw, err := os.ReadFile(filepath.Join(dir, outputName))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
}

func feed(t *testing.T, l *cappedLog, text string, chunk int) {
	t.Helper()
	for len(text) > 0 {
		n := min(chunk, len(text))
		if w, err := l.Write([]byte(text[:n])); w != n || err != nil {
			t.Fatalf("Write = %d, %v", w, err)
		}
		text = text[n:]
	}
}

func TestLogKeepsHeadAndTail(t *testing.T) {
	t.Parallel()
	for _, chunk := range []int{1, 7, 100, 1000, 100000} {
		for _, n := range []int{0, 1, 9, 10, 11, 15, 16, 20, 100, 1000} {
			l, read := newLog(t, 100) // ten lines
			all := lines(0, n)
			feed(t, l, all, chunk)
			l.finish()
			want := all
			if n > 10 {
				want = lines(0, 5) + fmt.Sprintf("[tidegate: %d bytes left out]\n", 10*(n-9)) + lines(n-4, n)
			}
			if d := cmp.Diff(want, read()); d != "" {
				t.Errorf("%d lines in pieces of %d (-want +got):\n%s", n, chunk, d)
			}
			if l.total != int64(len(all)) || l.short != (n > 10) || l.err != nil {
				t.Errorf("%d lines: total %d, short %v, err %v", n, l.total, l.short, l.err)
			}
		}
	}
}

func TestLogCanBeReadWhileItIsWritten(t *testing.T) {
	t.Parallel()
	l, read := newLog(t, 1000)
	left := regexp.MustCompile(`\n\[tidegate: (\d+) bytes left out\]\n`)
	for i := range 2000 {
		feed(t, l, lines(i, i+1), 100)
		got := read()
		if len(got) > 1600 {
			t.Fatalf("the log grew to %d bytes", len(got))
		}
		if !strings.HasPrefix(got, "line 0000\n") || !strings.HasSuffix(got, lines(i, i+1)) {
			t.Fatalf("after line %d the log is %q", i, got)
		}
		gone := 0
		if m := left.FindStringSubmatch(got); m != nil {
			gone, _ = strconv.Atoi(m[1])
			got = strings.Replace(got, m[0], "\n", 1)
		}
		if len(got)+gone != 10*(i+1) {
			t.Fatalf("after line %d there are %d bytes and %d left out", i, len(got), gone)
		}
	}
}

func TestLogOfOneEndlessLine(t *testing.T) {
	t.Parallel()
	l, read := newLog(t, 10)
	feed(t, l, strings.Repeat("a", 5)+strings.Repeat("b", 1000)+strings.Repeat("c", 5), 3)
	l.finish()
	if d := cmp.Diff("aaaaa\n[tidegate: 1000 bytes left out]\nccccc", read()); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
}

func TestLogOnAFullDisk(t *testing.T) {
	t.Parallel()
	l, read := newLog(t, 1000)
	feed(t, l, "before\n", 100)
	file := l.file
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	l.file = full
	feed(t, l, "lost\nlost\n", 5)
	l.file = file
	feed(t, l, "after\n", 100)
	l.finish()
	want := "before\n\n[tidegate: 10 bytes lost: write /dev/full: no space left on device]\nafter\n"
	if d := cmp.Diff(want, read()); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
	if !l.short || l.err == nil || l.total != 23 {
		t.Errorf("short %v, err %v, total %d", l.short, l.err, l.total)
	}
}

func TestEarHearsWordsInPieces(t *testing.T) {
	t.Parallel()
	for _, chunk := range []int{1, 2, 17, 18, 19, 1000} {
		for text, want := range map[string]bool{
			"noise\nInterrupt received.\nPlease wait": true,
			"Interrupt": false, "Interrupt  received": false, "": false,
			"InterruptInterrupt receivedInterrupt": true,
		} {
			var e ear
			for rest := text; len(rest) > 0; {
				n := min(chunk, len(rest))
				_, _ = e.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if e.heard() != want {
				t.Errorf("%q in pieces of %d: heard = %v, want %v", text, chunk, e.heard(), want)
			}
		}
	}
}
