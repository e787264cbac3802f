package workdir

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
)

// largeSource has 20,000 files of some kilobytes, and a head that changes one of them.
func largeSource(b *testing.B) *source {
	b.Helper()
	src := newSource(b)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		content := "resource \"terraform_data\" \"x\" {\n"
		for range 100 {
			content += fmt.Sprintf("  # %016x\n", random.Uint64())
		}
		src.write(b, fmt.Sprintf("module%d/file%d.tf", i/20, i%20), content+"}\n")
	}
	src.commit(b)
	src.branch(b, "head", "main")
	src.write(b, "module7/file7.tf", "# another\n")
	src.commit(b)
	src.pull(b, 7)
	src.git(b, "gc", "-q")
	return src
}

func BenchmarkLargeRepository(b *testing.B) {
	src := largeSource(b)
	first := openStore(b, b.TempDir())
	merge, err := first.Merge(b.Context(), src.repo(), request(7))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("first merge", func(b *testing.B) {
		for b.Loop() {
			if _, err := openStore(b, b.TempDir()).Merge(b.Context(), src.repo(), request(7)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("next merge", func(b *testing.B) {
		for b.Loop() {
			if _, err := first.Merge(b.Context(), src.repo(), request(7)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("tree", func(b *testing.B) {
		for b.Loop() {
			if _, err := first.Tree(b.Context(), src.repo(), merge.Tree); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read file", func(b *testing.B) {
		tree, err := first.Tree(b.Context(), src.repo(), merge.Tree)
		if err != nil {
			b.Fatal(err)
		}
		files := tree.Files()
		for i := 0; b.Loop(); i++ {
			if _, err := tree.ReadFile(b.Context(), files[i%len(files)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			if _, err := first.Changed(b.Context(), src.repo(), merge); err != nil {
				b.Fatal(err)
			}
		}
	})
	benchmarkCheckout(b, first, src, merge)
}

func benchmarkCheckout(b *testing.B, s *Store, src *source, merge Merge) {
	b.Helper()
	workspace := 0
	check := func(b *testing.B, name, commit string) {
		b.Helper()
		if _, err := s.Checkout(b.Context(), src.repo(), 7, name, Merge{Commit: commit}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("first checkout", func(b *testing.B) {
		for b.Loop() {
			workspace++
			check(b, strconv.Itoa(workspace), merge.Commit)
		}
	})
	b.Run("same checkout", func(b *testing.B) {
		for b.Loop() {
			check(b, "1", merge.Commit)
		}
	})
	b.Run("moved checkout", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			check(b, "1", []string{merge.Base, merge.Commit}[i%2])
		}
	})
	b.Run("remove", func(b *testing.B) {
		n := 100
		for b.Loop() {
			b.StopTimer()
			n++
			c, err := s.Checkout(b.Context(), src.repo(), n, "default", merge)
			if err != nil {
				b.Fatal(err)
			}
			writeFile(b, filepath.Join(c.Root, "generated"), "x")
			b.StartTimer()
			if err := s.Remove(b.Context(), src.repo(), n); err != nil {
				b.Fatal(err)
			}
		}
	})
}
