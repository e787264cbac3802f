//go:build linux

package supervisor

import (
	"os"
	"testing"
)

func FuzzParseStat(f *testing.F) {
	raw, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(raw))
	f.Add("1 (a) b) Z 3 (4")
	f.Add("")
	f.Fuzz(func(t *testing.T, stat string) {
		if start, running := parseStat(stat); running && start == 0 && len(stat) < 20 {
			t.Errorf("parseStat(%q) = %d, %v", stat, start, running)
		}
	})
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 595343 20"
	for stat, want := range map[string]struct {
		start   uint64
		running bool
	}{
		"7 (terraform) S" + rest:      {595343, true},
		"7 (a) Z 1 (b) R" + rest:      {595343, true},
		"7 (terraform) Z" + rest:      {595343, false},
		"7 (terraform) X" + rest:      {595343, false},
		"7 (terraform) S 1 2 3":       {0, false},
		"no parenthesis at all, none": {0, false},
	} {
		if start, running := parseStat(stat); start != want.start || running != want.running {
			t.Errorf("parseStat(%q) = %d, %v, want %d, %v", stat, start, running, want.start, want.running)
		}
	}
}
