package workdir

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// module records a submodule and commits it.
func (s *source) module(tb testing.TB, path, url, commit string) {
	tb.Helper()
	s.git(tb, "config", "--file", ".gitmodules", "submodule."+path+".path", path)
	s.git(tb, "config", "--file", ".gitmodules", "submodule."+path+".url", url)
	s.git(tb, "add", ".gitmodules")
	s.git(tb, "update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
	s.git(tb, "commit", "-q", "-m", "a submodule")
}

// withFile is a repository with one commit, which is answered.
func withFile(tb testing.TB, path, content string) (*source, string) {
	tb.Helper()
	s := newSource(tb)
	s.write(tb, path, content)
	return s, s.commit(tb)
}

// wide commits a tree of 64 x 64 x 64 files, which is three objects.
func (s *source) wide(tb testing.TB) string {
	tb.Helper()
	id, kind := s.git(tb, "rev-parse", "HEAD:x"), "100644 blob"
	for range 3 {
		var lines strings.Builder
		for i := range 64 {
			fmt.Fprintf(&lines, "%s %s\tf%02d\n", kind, id, i)
		}
		file := filepath.Join(tb.TempDir(), "lines")
		writeFile(tb, file, lines.String())
		id, kind = s.git(tb, "-c", "alias.make=!git mktree <"+file, "make"), "040000 tree"
	}
	return s.git(tb, "commit-tree", "-m", "wide", id)
}

func submoduleStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{Data: t.TempDir(), Submodules: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestSubmodules: their files are there at the commits that are recorded, with those of their own submodules, and count as the
// repository's: what changed is told by file. What is there is not fetched again.
func TestSubmodules(t *testing.T) {
	t.Parallel()
	deep, deepAt := withFile(t, "d", "deep")
	net, _ := withFile(t, "main.tf", "one")
	net.module(t, "a b/deep", "../other/deep.git", deepAt)
	first := net.git(t, "rev-parse", "HEAD")
	src := newSource(t)
	src.write(t, "a", "a")
	src.commit(t)
	src.module(t, "modules/net", "./../modules.git", first)
	src.branch(t, "head", "main")
	src.write(t, "b", "b")
	src.git(t, "add", "b")
	src.git(t, "commit", "-q", "-m", "b")
	src.pull(t, 7)
	server := serveGit(t, map[string]*source{"/acme/infra.git": src, "/acme/modules.git": net, "/acme/other/deep.git": deep})
	s, repo, asked := submoduleStore(t), server.repo(testPassword), 0
	credential := repo.Credential
	repo.Credential = func(ctx context.Context) (string, string, error) {
		asked++
		return credential(ctx)
	}

	check := func(changed []string, files map[string]string) Merge {
		t.Helper()
		merge, err := s.Merge(t.Context(), repo, request(7))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Changed(t.Context(), repo, merge)
		if diff := cmp.Diff(changed, got); err != nil || diff != "" {
			t.Errorf("Changed() = %v (-want +got):\n%s", err, diff)
		}
		c, err := s.Checkout(t.Context(), repo, 7, "default", merge)
		if err != nil {
			t.Fatal(err)
		}
		have := listing(t, c.Root)
		delete(have, ".gitmodules")
		delete(have, "modules/net/.gitmodules")
		if diff := cmp.Diff(files, have); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		if got := gitIn(t, c.Root, "status", "--porcelain"); got != "" {
			t.Errorf("git status in the checkout = %q", got)
		}
		return merge
	}
	one := check([]string{"b"}, map[string]string{"a": "a", "b": "b", "modules/net/main.tf": "one", "modules/net/a b/deep/d": "deep"})
	server.paths, asked = nil, 0
	if again := check([]string{"b"}, map[string]string{"a": "a", "b": "b", "modules/net/main.tf": "one", "modules/net/a b/deep/d": "deep"}); again != one {
		t.Errorf("the same merge is another one: %+v, %+v", one, again)
	}
	if asked != 1 || slices.ContainsFunc(server.paths, func(p string) bool { return !strings.HasPrefix(p, "/acme/infra.git/") }) {
		t.Errorf("what was there was asked for again: %q, with %d credentials", server.paths, asked)
	}

	net.write(t, "main.tf", "two")
	net.write(t, "new.tf", "new")
	net.git(t, "add", "main.tf", "new.tf")
	net.git(t, "commit", "-q", "-m", "two")
	src.git(t, "update-index", "--cacheinfo", "160000,"+net.git(t, "rev-parse", "HEAD")+",modules/net")
	src.git(t, "commit", "-q", "-m", "bump")
	src.pull(t, 7)
	check([]string{"b", "modules/net/main.tf", "modules/net/new.tf"},
		map[string]string{"a": "a", "b": "b", "modules/net/main.tf": "two", "modules/net/new.tf": "new", "modules/net/a b/deep/d": "deep"})
}

// TestSubmodulesRefused: what can't be had, or is not to be, is told by its path, and runs nothing.
func TestSubmodulesRefused(t *testing.T) {
	t.Parallel()
	trap := filepath.Join(t.TempDir(), "trap")
	other, at := withFile(t, "x", "x")
	itself, _ := withFile(t, "x", "x")
	itself.module(t, "me", "../itself.git", itself.git(t, "rev-parse", "HEAD"))
	itself.git(t, "update-index", "--cacheinfo", "160000,"+itself.git(t, "rev-parse", "HEAD")+",me")
	itself.git(t, "commit", "-q", "-m", "again")
	blob, wide, deep := other.git(t, "rev-parse", "HEAD:x"), other.wide(t), strings.Repeat("d/", deepestPath)
	other.git(t, "config", "uploadpack.allowAnySHA1InWant", "true")
	nowhere := strings.Repeat("1", 40)
	for name, tt := range map[string]struct {
		change     func(*testing.T, *source)
		path, want string
	}{
		"a command":          {func(t *testing.T, s *source) { t.Helper(); s.module(t, "m", "ext::touch "+trap, at) }, "m", "neither relative nor https"},
		"a file":             {func(t *testing.T, s *source) { t.Helper(); s.module(t, "m", "file://"+other.dir, at) }, "m", "neither relative nor https"},
		"a path":             {func(t *testing.T, s *source) { t.Helper(); s.module(t, "m", other.dir, at) }, "m", "neither relative nor https"},
		"above the forge":    {func(t *testing.T, s *source) { t.Helper(); s.module(t, "m", "../../../x.git", at) }, "m", "leads out of the forge"},
		"no such repository": {func(t *testing.T, s *source) { t.Helper(); s.module(t, "m", "../none.git", at) }, "m", "can't be fetched"},
		"no such commit":     {func(t *testing.T, s *source) { t.Helper(); s.module(t, "m", "../other.git", nowhere) }, "m", "can't be fetched"},
		"a blob":             {func(t *testing.T, s *source) { t.Helper(); s.module(t, "m", "../other.git", blob) }, "m", "no commit"},
		"a tree": {func(t *testing.T, s *source) {
			t.Helper()
			s.module(t, "m", "../other.git", "4b825dc642cb6eb9a060e54bf8d69288fbee4904")
		}, "m", "no commit"},
		"too many files": {func(t *testing.T, s *source) {
			t.Helper()
			for _, path := range []string{"m/1", "m/2", "m/3", "m/4"} {
				s.module(t, path, "../other.git", wide)
			}
		}, "m/4", "more files"},
		"too many": {func(t *testing.T, s *source) {
			t.Helper()
			var file strings.Builder
			update := []string{"update-index", "--add"}
			for i := range mostModules + 1 {
				path := fmt.Sprintf("m%03d", i)
				fmt.Fprintf(&file, "[submodule %q]\n\tpath = %s\n\turl = ../other.git\n", path, path)
				update = append(update, "--cacheinfo", "160000,"+at+","+path)
			}
			s.write(t, ".gitmodules", file.String())
			s.git(t, "add", ".gitmodules")
			s.git(t, update...)
			s.git(t, "commit", "-q", "-m", "many")
		}, fmt.Sprintf("m%03d", mostModules), "one too many"},
		"too low": {func(t *testing.T, s *source) { t.Helper(); s.module(t, deep+"m", "../other.git", at) }, deep + "m", "directories deep"},
		"no URL": {func(t *testing.T, s *source) {
			t.Helper()
			s.module(t, "m", "../other.git", at)
			s.git(t, "config", "--file", ".gitmodules", "--remove-section", "submodule.m")
			s.git(t, "add", ".gitmodules")
			s.git(t, "commit", "-q", "-m", "none")
		}, "m", "has no URL in .gitmodules"},
		"no configuration": {func(t *testing.T, s *source) {
			t.Helper()
			s.module(t, "m", "../other.git", at)
			s.write(t, ".gitmodules", "[submodule\n")
			s.git(t, "add", ".gitmodules")
			s.git(t, "commit", "-q", "-m", "broken")
		}, "m", "that can be read"},
		"too deep": {func(t *testing.T, s *source) { t.Helper(); s.module(t, "m", "../deep0.git", "HEAD") }, "m/n/n/n/n/n", "one too many"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repos := map[string]*source{"/acme/other.git": other, "/acme/itself.git": itself}
			src, _ := withFile(t, "a", "a")
			repos["/acme/infra.git"] = src
			src.branch(t, "head", "main")
			if name == "too deep" {
				at := ""
				for i := 6; i >= 0; i-- {
					m, id := withFile(t, "x", "x")
					if at != "" {
						m.module(t, "n", "../deep"+string(rune('0'+i+1))+".git", at)
						id = m.git(t, "rev-parse", "HEAD")
					}
					at = id
					repos["/acme/deep"+string(rune('0'+i))+".git"] = m
				}
				src.module(t, "m", "../deep0.git", at)
			} else {
				tt.change(t, src)
			}
			src.pull(t, 7)
			_, err := submoduleStore(t).Merge(t.Context(), serveGit(t, repos).repo(testPassword), request(7))
			refused, ok := errors.AsType[*SubmoduleError](err)
			if !ok || refused.Path != tt.path || !strings.Contains(refused.Why, tt.want) {
				t.Errorf("Merge() = %v, want a *SubmoduleError of %q with %q", err, tt.path, tt.want)
			}
			if exists(t, trap) {
				t.Error("something was run")
			}
		})
	}
}

// TestSubmodulesElsewhere: another host gets no credential, and hears of no commit of ours.
func TestSubmodulesElsewhere(t *testing.T) {
	var seen []string
	elsewhere := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		w.Header().Set("WWW-Authenticate", `Basic realm="elsewhere"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
	})
	_, at := withFile(t, "x", "x")
	src, _ := withFile(t, "a", "a")
	src.branch(t, "head", "main")
	src.module(t, "m", elsewhere.URL+"/acme/other.git", at)
	src.pull(t, 7)
	_, err := submoduleStore(t).Merge(t.Context(), newGitServer(t, src).repo(testPassword), request(7))
	if refused, ok := errors.AsType[*SubmoduleError](err); !ok || !errors.Is(err, ErrUnauthorized) || strings.Contains(refused.Error(), testPassword) {
		t.Errorf("Merge() = %v, want a *SubmoduleError", err)
	}
	if len(seen) == 0 || slices.ContainsFunc(seen, func(a string) bool { return a != "" }) {
		t.Errorf("the other host was sent %q", seen)
	}
}

// stranger is a server by https that git trusts.
func stranger(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_SSL_CAINFO", ca)
	return srv
}

// advertise begins what an upload-pack says of its refs.
func advertise(w http.ResponseWriter, line string) {
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	head := "# service=git-upload-pack\n"
	_, _ = fmt.Fprintf(w, "%04x%s0000%04x%s", len(head)+4, head, len(line)+4, line)
}

// TestStrangersHoldNobodyUp: another host that comes to no end is in nobody's way, is left when the merge is ended, and has its time.
func TestStrangersHoldNobodyUp(t *testing.T) {
	asked := make(chan struct{}, 10)
	endless := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		advertise(w, strings.Repeat("1", 40)+" refs/heads/main\n")
		_ = http.NewResponseController(w).Flush()
		asked <- struct{}{}
		<-r.Context().Done()
	})
	src, _ := withFile(t, "a", "a")
	src.branch(t, "other", "main")
	src.write(t, "o", "o")
	src.commit(t)
	src.pull(t, 8)
	src.branch(t, "head", "main")
	src.module(t, "m", endless.URL+"/x.git", strings.Repeat("1", 40))
	src.pull(t, 7)
	s, repo := submoduleStore(t), newGitServer(t, src).repo(testPassword)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Merge(ctx, repo, request(7))
		done <- err
	}()
	<-asked
	if _, err := s.Merge(t.Context(), repo, request(8)); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Merge() that was ended = %v", err)
	}
	checkOver(t, s, repo, src, func(g *grafter) { g.elsewhere = 0 }, "other than the forge have 2m0s for the submodules of a merge, and that is over")
	checkOver(t, s, repo, src, func(g *grafter) { g.elsewhere, g.most = time.Hour, 1 }, "more than 0 MiB came")
}

// TestTheForgeHasItsTime: a submodule of the forge's own that comes to no end is left, too.
func TestTheForgeHasItsTime(t *testing.T) {
	t.Parallel()
	other, at := withFile(t, "x", "x")
	src, _ := withFile(t, "a", "a")
	src.branch(t, "head", "main")
	src.module(t, "m", "../other.git", at)
	src.pull(t, 7)
	s, repo := submoduleStore(t), serveGit(t, map[string]*source{"/acme/infra.git": src, "/acme/other.git": other}).repo(testPassword)
	checkOver(t, s, repo, src, func(g *grafter) { g.home = 0 }, "the forge has 10m0s for the submodules of a merge, and that is over")
	checkOver(t, s, repo, src, func(g *grafter) { g.most = 1 }, "more than 0 MiB came")
}

// checkOver grafts the submodules of HEAD where that may cost little.
func checkOver(t *testing.T, s *Store, repo Repo, src *source, spare func(*grafter), want string) {
	t.Helper()
	m, err := s.mirror(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.fetch(t.Context(), repo, []string{"+HEAD:refs/tidegate/test"}); err != nil {
		t.Fatal(err)
	}
	g, err := m.grafter(t.Context(), repo, 7)
	if err != nil {
		t.Fatal(err)
	}
	spare(g)
	_, err = g.graft(t.Context(), src.git(t, "rev-parse", "HEAD"))
	if refused, ok := errors.AsType[*SubmoduleError](err); !ok || !strings.Contains(refused.Said(), want) {
		t.Errorf("graft() = %v, want a *SubmoduleError with %q", err, want)
	}
}

// TestStrangersWords: what another host, or a hostile .gitmodules, has git say does not make our mirror count as damaged.
func TestStrangersWords(t *testing.T) {
	corrupt := stranger(t, func(w http.ResponseWriter, _ *http.Request) { advertise(w, "ERR loose object is corrupt") })
	src, _ := withFile(t, "a", "a")
	src.branch(t, "head", "main")
	src.module(t, "m", corrupt.URL+"/x.git", strings.Repeat("1", 40))
	src.pull(t, 7)
	src.write(t, ".gitmodules", "[submodule\n")
	src.git(t, "add", ".gitmodules")
	src.git(t, "commit", "-q", "-m", "broken")
	src.pull(t, 8)
	log := &bytes.Buffer{}
	s, err := Open(t.Context(), Config{Data: t.TempDir(), Submodules: true, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	repo := newGitServer(t, src).repo(testPassword)
	for _, pull := range []int{7, 8, 7} {
		_, err := s.Merge(t.Context(), repo, request(pull))
		if _, ok := errors.AsType[*SubmoduleError](err); !ok {
			t.Errorf("Merge(%d) = %v, want a *SubmoduleError", pull, err)
		}
	}
	if log.Len() > 0 {
		t.Errorf("the mirror was looked after:\n%s", log)
	}
}

// TestMuchComes: what comes for a submodule is ended when it is too much, and not before.
func TestMuchComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var over atomic.Bool
		dir := t.TempDir()
		defer watchSize(func() int64 { return sizeOf(dir) }, 4, func() { over.Store(true) })()
		if err := os.Mkdir(filepath.Join(dir, "b"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			file, text string
			want       bool
		}{{"a", "12", false}, {"b/c", "34", false}, {"b/d", "5", true}} {
			writeFile(t, filepath.Join(dir, step.file), step.text)
			<-time.After(2 * sizeWatch)
			synctest.Wait()
			if got := over.Load(); got != step.want {
				t.Errorf("with %s it is over: %v, want %v", step.file, got, step.want)
			}
		}
	})
}

// TestModuleSections: of two sections with one path the last counts, as for git.
func TestModuleSections(t *testing.T) {
	t.Parallel()
	const out = "submodule.b.path\nm\x00submodule.b.url\nhttps://b/b\x00submodule.a.path\nm\x00submodule.a.url\nhttps://a/a\x00"
	for range 20 {
		if got := parseModules(out)["m"]; got != "https://a/a" {
			t.Fatalf("the URL is %q", got)
		}
	}
}

func TestModuleURL(t *testing.T) {
	t.Parallel()
	const forge = "https://forge.example:8443/acme/infra.git"
	for _, tt := range []struct{ from, raw, want string }{
		{forge, "../modules.git", "https://forge.example:8443/acme/modules.git"},
		{forge, "../../other/modules.git", "https://forge.example:8443/other/modules.git"},
		{forge, "./sub.git", "https://forge.example:8443/acme/infra.git/sub.git"},
		{forge, "../../../x.git", ""},
		{forge, "../../..//x.git", ""},
		{"https://elsewhere.example/a/b.git", "../c.git", "https://elsewhere.example/a/c.git"},
		{forge, "https://forge.example:8443/acme/modules", "https://forge.example:8443/acme/modules"},
		{forge, "https://elsewhere.example/a.git", "https://elsewhere.example/a.git"},
		{forge, "git@forge.example:acme/modules.git", "https://forge.example:8443/acme/modules.git"},
		{forge, "ssh://git@forge.example/acme/modules.git", "https://forge.example:8443/acme/modules.git"},
		{forge, "git@elsewhere.example:a.git", ""},
		{forge, "http://forge.example:8443/a.git", ""},
		{forge, "https://user:pw@forge.example/a.git", ""},
		{forge, "https://forge.example/a.git?x=y", ""},
		{forge, "https://forge.example/a.git?", ""},
		{forge, "file:///etc", ""},
		{forge, "/etc", ""},
		{forge, "modules.git", ""},
		{forge, "ext::sh -c id", ""},
		{forge, "-oProxyCommand=id", ""},
		{forge, "https:///a.git", ""},
		{forge, "", ""},
		{forge, "https://forge.example/\n", ""},
	} {
		got, err := moduleURL(tt.from, forge, tt.raw)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("moduleURL(%q) = %q, %v, want %q", tt.raw, got, err, tt.want)
		}
	}
	if got, err := moduleURL("http://127.0.0.1:80/a/b.git", "http://127.0.0.1:80/a/b.git", "http://127.0.0.1:80/a/c.git"); err != nil {
		t.Errorf("moduleURL() on a forge by http = %q, %v", got, err)
	}
	if got, err := moduleURL("file:///srv/a.git", "file:///srv/a.git", "../b.git"); err == nil {
		t.Errorf("moduleURL() beside a file = %q, want a refusal", got)
	}
}
