package runner

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const needsFake = localBackend + `
terraform {
  required_providers {
    fake = {
      source  = "example.com/acme/fake"
      version = "~> 1.0"
    }
  }
}
resource "terraform_data" "a" {}
`

// fakeProvider starts the test binary as a plugin.
func fakeProvider(t *testing.T) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []byte("#!/bin/sh\n" + providerEnv + "=1 exec '" + self + "'\n")
}

// fakePackage is the provider's archive.
func fakePackage(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	header := &zip.FileHeader{Name: "terraform-provider-fake_v1.2.0", Method: zip.Deflate}
	header.SetMode(0o755)
	f, err := w.CreateHeader(header)
	if err == nil {
		_, err = f.Write(fakeProvider(t))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// operatorMirror writes an operator's CLI configuration with a mirror, and a plugin cache that no job
// may touch. Packed mirrors have zip archives, as a registry does.
func (s *site) operatorMirror(packed bool) {
	s.t.Helper()
	s.cfg.Environ = append(s.cfg.Environ, "TF_DISABLE_PLUGIN_TLS=1")
	mirror := filepath.Join(s.base, "mirror", "example.com", "acme", "fake")
	platform := runtime.GOOS + "_" + runtime.GOARCH
	files := map[string][]byte{
		filepath.Join(s.base, "home", ".terraformrc"): []byte(strings.ReplaceAll(`
plugin_cache_dir = "BASE/cache"
credentials "example.com" {
  token = "t0ken"
}
provider_installation {
  filesystem_mirror {
    path    = "BASE/mirror"
    include = ["example.com/*/*"]
  }
  direct {
    exclude = ["example.com/*/*"]
  }
}
`, "BASE", s.base)),
	}
	if packed {
		files[filepath.Join(mirror, "terraform-provider-fake_1.2.0_"+platform+".zip")] = fakePackage(s.t)
	} else {
		files[filepath.Join(mirror, "1.2.0", platform, "terraform-provider-fake_v1.2.0")] = fakeProvider(s.t)
	}
	for name, data := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.base, "cache"), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// installed is where a project's provider really is.
func (s *site) installed() string {
	s.t.Helper()
	dir := filepath.Join(s.job.DataDir, "providers", "example.com", "acme", "fake", "1.2.0", runtime.GOOS+"_"+runtime.GOARCH)
	target, err := filepath.EvalSymlinks(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return target
}

func TestProvidersAreDownloadedOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"a/main.tf": needsFake, "b/main.tf": strings.ReplaceAll(needsFake, "terraform.tfstate", "b.tfstate")})
	s.operatorMirror(true)
	store := filepath.Join(s.cfg.Data, "providers")
	s.job.Project.Dir = "a"
	s.plan("1")
	if diff := cmp.Diff([]string{"init", "init", "plan"}, s.started()); diff != "" {
		t.Errorf("processes of the first plan with a provider (-want +got):\n%s", diff)
	}
	if got := s.installed(); !strings.HasPrefix(got, store) {
		t.Errorf("the provider is in %s, want it in the store", got)
	}
	plan := s.plan("2")
	if diff := cmp.Diff([]string{"plan"}, s.started()); diff != "" {
		t.Errorf("processes of the next plan (-want +got):\n%s", diff)
	}
	if applied := s.apply("3", plan); applied.End != Succeeded {
		t.Errorf("apply = %s: %+v", applied.End, applied.Failure)
	}
	s.started()
	// Another project takes it from the store: the operator's source is not asked again.
	if err := os.RemoveAll(filepath.Join(s.base, "mirror")); err != nil {
		t.Fatal(err)
	}
	s.job.Project.Dir, s.job.DataDir = "b", s.job.DataDir+"b"
	s.plan("4")
	if diff := cmp.Diff([]string{"init", "plan"}, s.started()); diff != "" {
		t.Errorf("processes of another project's first plan (-want +got):\n%s", diff)
	}
	if entries, err := os.ReadDir(filepath.Join(s.base, "cache")); err != nil || len(entries) > 1 {
		t.Errorf("the operator's plugin cache has %v, %v: only the fill may use it", entries, err)
	}
	err := filepath.WalkDir(s.cfg.Data, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if strings.Contains(string(data), "t0ken") {
			t.Errorf("%s keeps the operator's token", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProvidersInParallel(t *testing.T) {
	t.Parallel()
	files := make(map[string]string)
	const n = 6
	for i := range n {
		files[fmt.Sprintf("p%d/main.tf", i)] = strings.ReplaceAll(needsFake, "terraform.tfstate", fmt.Sprintf("%d.tfstate", i))
	}
	s := newSite(t, files)
	s.operatorMirror(true)
	r := New(s.cfg)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			job := s.next(fmt.Sprint(i), Plan)
			job.Project.Dir = fmt.Sprintf("p%d", i)
			job.DataDir += fmt.Sprint(i)
			if result, err := r.Run(t.Context(), job); err != nil || result.End != Succeeded {
				t.Errorf("Run %d = %s, %+v, %v", i, result.End, result.Failure, err)
			}
		})
	}
	wg.Wait()
	inits := strings.Count(strings.Join(s.started(), " "), "init")
	if inits != n+1 {
		t.Errorf("%d inits for %d projects, want one more", inits, n)
	}
}

// TestLockFileOfAnotherPlatform has the hash of an archive only, as `terraform providers lock` for
// another platform, or a registry, leaves it: terraform cannot check an unpacked package with it.
func TestLockFileOfAnotherPlatform(t *testing.T) {
	t.Parallel()
	lock := fmt.Sprintf("provider \"example.com/acme/fake\" {\n  version     = \"1.2.0\"\n  constraints = \"~> 1.0\"\n  hashes = [\n    \"zh:%x\",\n  ]\n}\n",
		sha256.Sum256(fakePackage(t)))
	s := newSite(t, map[string]string{"main.tf": needsFake, lockFileName: lock})
	s.operatorMirror(true)
	s.plan("1")
	s.started()
	// The next commit brings the committed lock file back.
	s.write(map[string]string{lockFileName: lock})
	s.plan("2")
	if diff := cmp.Diff([]string{"plan"}, s.started()); diff != "" {
		t.Errorf("processes of the next plan (-want +got):\n%s", diff)
	}
	data, err := os.ReadFile(filepath.Join(s.job.Checkout, lockFileName))
	if err != nil || !strings.Contains(string(data), "h1:") || !strings.Contains(string(data), "zh:") {
		t.Errorf("the job's lock file: %v\n%s", err, data)
	}
}

func TestProvidersOfAnUnpackedMirror(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": needsFake})
	s.operatorMirror(false)
	s.plan("1")
	if got, want := s.installed(), filepath.Join(s.cfg.Data, "providers"); !strings.HasPrefix(got, want) {
		t.Errorf("the provider is in %s, want it in the store", got)
	}
	s.started()
	s.plan("2")
	if diff := cmp.Diff([]string{"plan"}, s.started()); diff != "" {
		t.Errorf("processes of the next plan (-want +got):\n%s", diff)
	}
}

func TestProviderThatIsNowhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": strings.ReplaceAll(needsFake, "~> 1.0", "~> 2.0")})
	s.operatorMirror(true)
	got := s.run(s.next("1", Plan))
	if got.End != Failed || got.Failure == nil || got.Failure.Summary != "Failed to query available provider packages" {
		t.Errorf("Run = %s, %+v", got.End, got.Failure)
	}
	if entries, err := os.ReadDir(filepath.Join(s.cfg.Data, "providers")); err != nil || len(entries) != 0 {
		t.Errorf("what the fill left: %v, %v", entries, err)
	}
}
