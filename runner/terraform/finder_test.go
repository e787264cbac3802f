package terraform

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// fakeTool is a binary that says its version and counts how often it is asked.
func fakeTool(version, calls string) string {
	return "#!/bin/sh\necho \"$*\" >>'" + calls + "'\necho '{\"terraform_version\":\"" + version + "\"}'\n"
}

func writeTool(t *testing.T, name, text string) {
	t.Helper()
	writeFile(t, name, text)
	if err := os.Chmod(name, 0o755); err != nil {
		t.Fatal(err)
	}
}

func countLines(t *testing.T, name string) int {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}

func TestFinderLooksInPathFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	bin, tools := filepath.Join(dir, "bin"), filepath.Join(dir, "tools")
	writeTool(t, filepath.Join(bin, "terraform"), fakeTool("1.11.4", calls))
	writeTool(t, filepath.Join(bin, "terraform1.9.8"), fakeTool("1.9.8", calls))
	writeTool(t, filepath.Join(bin, "terraform1.9.9"), fakeTool("1.9.7", calls))
	writeTool(t, filepath.Join(bin, "tofu"), fakeTool("1.10.6", calls))
	writeTool(t, filepath.Join(tools, "terraform", "1.5.7", "terraform"), fakeTool("1.5.7", calls))
	tests := []struct {
		distribution, version, want string
	}{
		{"", "", filepath.Join(bin, "terraform")},
		{"terraform", "1.11.4", filepath.Join(bin, "terraform")},
		{"terraform", "v1.9.8", filepath.Join(bin, "terraform1.9.8")},
		{"", "1.5.7", filepath.Join(tools, "terraform", "1.5.7", "terraform")},
		{"opentofu", "", filepath.Join(bin, "tofu")},
		{"opentofu", "1.10.6", filepath.Join(bin, "tofu")},
		{"terraform", "1.9.9", ""},
		{"opentofu", "1.9.8", ""},
	}
	f := NewFinder(FinderConfig{Dir: tools, Path: "relative" + string(os.PathListSeparator) + bin})
	for range 2 {
		for _, tt := range tests {
			tool, err := f.Find(t.Context(), tt.distribution, tt.version)
			var missing *NotFoundError
			if tool.Path != tt.want || (tt.want == "") != errors.As(err, &missing) {
				t.Errorf("Find(%q, %q) = %+v, %v, want %s", tt.distribution, tt.version, tool, err, tt.want)
			}
		}
	}
	if n := countLines(t, calls); n != 5 {
		t.Errorf("%d processes for 5 binaries", n)
	}
	// Another start of the server asks none of them.
	again := NewFinder(FinderConfig{Dir: tools, Path: bin})
	if _, err := again.Find(t.Context(), "terraform", "1.9.8"); err != nil || countLines(t, calls) != 5 {
		t.Errorf("Find after a restart = %v, %d processes", err, countLines(t, calls))
	}
	// A replaced binary is asked again.
	writeTool(t, filepath.Join(bin, "new"), fakeTool("1.12.0", calls))
	if err := os.Rename(filepath.Join(bin, "new"), filepath.Join(bin, "terraform")); err != nil {
		t.Fatal(err)
	}
	if tool, err := again.Find(t.Context(), "", ""); err != nil || tool.Version != "1.12.0" {
		t.Errorf("Find of a replaced binary = %+v, %v", tool, err)
	}
}

func TestFinderDefaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	writeTool(t, filepath.Join(bin, "tofu"), fakeTool("1.10.6", filepath.Join(dir, "calls")))
	if tool, err := NewFinder(FinderConfig{Dir: dir, Path: bin}).Find(t.Context(), "", ""); err != nil || tool.Distribution != OpenTofu {
		t.Errorf("with tofu alone: %+v, %v", tool, err)
	}
	writeTool(t, filepath.Join(bin, "terraform"), fakeTool("1.11.4", filepath.Join(dir, "calls")))
	f := NewFinder(FinderConfig{Dir: dir, Path: bin, DefaultDistribution: OpenTofu, DefaultVersion: "v1.10.6"})
	if tool, err := f.Find(t.Context(), "", ""); err != nil || tool.String() != "opentofu 1.10.6" {
		t.Errorf("with defaults: %+v, %v", tool, err)
	}
}

func TestFinderRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	writeTool(t, filepath.Join(bin, "terraform"), "#!/bin/sh\nexit 0\n")
	f := NewFinder(FinderConfig{Dir: dir, Path: bin})
	for _, version := range []string{"latest", "~> 1.9", "1.9", "../../../bin/sh", "1.9.8/../..", "1.9.8\n", "1.9.8 ", "01.2.3"} {
		_, err := f.Find(t.Context(), "terraform", version)
		var bad *VersionError
		if strings.TrimSpace(version) != version { // spaces around it are no harm
			continue
		}
		if !errors.As(err, &bad) {
			t.Errorf("Find(%q) = %v, want a VersionError", version, err)
		}
	}
	var unknown *DistributionError
	if _, err := f.Find(t.Context(), "pulumi", ""); !errors.As(err, &unknown) {
		t.Errorf("Find(pulumi) = %v", err)
	}
	tests := []struct {
		distribution, version string
		want                  []string
	}{
		{"terraform", "~> 1.9", []string{`"~> 1.9" is not an exact version`, "PATH", "--tf-download"}},
		{"pulumi", "", []string{`"pulumi" is not known`, "terraform or opentofu", "PATH", "--tf-download"}},
		{"terraform", "1.9.8", []string{"terraform 1.9.8 is not there", "PATH as terraform1.9.8", "bake it into its image", "--tf-download", "switched off"}},
		{"terraform", "", []string{"terraform is not there", "PATH", "--default-tf-version"}},
		{"opentofu", "1.10.6", []string{"opentofu 1.10.6 is not there", "PATH as tofu1.10.6", "never downloaded"}},
	}
	for _, tt := range tests {
		_, err := f.Find(t.Context(), tt.distribution, tt.version)
		var tool ToolError
		if !errors.As(err, &tool) || tool.Headline() == "" {
			t.Errorf("Find(%q, %q) = %v, want a ToolError", tt.distribution, tt.version, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Find(%q, %q) = %q, lacks %q", tt.distribution, tt.version, err, want)
			}
		}
	}
}

// TestFinderSaysWhatIsThere: who asked for something else can choose among it.
func TestFinderSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin, tools, calls := filepath.Join(dir, "bin"), filepath.Join(dir, "tools"), filepath.Join(dir, "calls")
	writeTool(t, filepath.Join(bin, "terraform"), fakeTool("1.11.4", calls))
	writeTool(t, filepath.Join(bin, "terraform1.9.8"), fakeTool("1.9.8", calls))
	writeTool(t, filepath.Join(bin, "tofu"), fakeTool("1.10.6", calls))
	writeTool(t, filepath.Join(tools, "terraform", "1.5.7", "terraform"), fakeTool("1.5.7", calls))
	f := NewFinder(FinderConfig{Dir: tools, Path: bin})
	const terraforms = "terraform 1.11.4, terraform 1.9.8, terraform 1.5.7"
	for _, tt := range []struct{ distribution, version, want string }{
		{"terraform", "1.9", "The server has " + terraforms + " now"},
		{"terraform", "1.4.0", "The server has " + terraforms + " now"},
		{"opentofu", "1.4.0", "The server has opentofu 1.10.6 now"},
		{"pulumi", "", "The server has " + terraforms + ", opentofu 1.10.6 now"},
	} {
		if _, err := f.Find(t.Context(), tt.distribution, tt.version); err == nil || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("Find(%q, %q) = %v, want %q at the end", tt.distribution, tt.version, err, tt.want)
		}
	}
}

// mirror is a release server that signs with a key of its own.
type mirror struct {
	url, key string
	asked    atomic.Int64
	zips     atomic.Int64
	// truncate and corrupt spoil the archive after it was hashed; unpackable spoils it before.
	truncate, corrupt, unpackable bool
}

func newMirror(t *testing.T, version string, unpacked []byte, m *mirror) *mirror {
	t.Helper()
	entity, err := openpgp.NewEntity("mirror", "", "mirror@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	var key bytes.Buffer
	w, err := armor.Encode(&key, openpgp.PublicKeyType, nil)
	if err == nil {
		err = errors.Join(entity.Serialize(w), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	m.key = key.String()
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	for _, name := range []string{"LICENSE.txt", "terraform"} {
		header := &zip.FileHeader{
			Name: name, CRC32: crc32.ChecksumIEEE(unpacked),
			UncompressedSize64: uint64(len(unpacked)), CompressedSize64: uint64(len(unpacked)),
		}
		if m.unpackable && name == "terraform" {
			header.CRC32++
		}
		entry, err := z.CreateRaw(header)
		if err == nil {
			_, err = entry.Write(unpacked)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	stem := "terraform_" + version
	archiveName := fmt.Sprintf("%s_%s_%s.zip", stem, runtime.GOOS, runtime.GOARCH)
	sums := fmt.Sprintf("%x  %s\n", sha256.Sum256(packed.Bytes()), archiveName)
	var signature bytes.Buffer
	if err := openpgp.DetachSign(&signature, entity, strings.NewReader(sums), nil); err != nil {
		t.Fatal(err)
	}
	dir := "/terraform/" + version + "/"
	release := map[string]any{
		"name": "terraform", "version": version, "shasums": stem + "_SHA256SUMS", "shasums_signature": stem + "_SHA256SUMS.sig",
		"shasums_signatures": []string{stem + "_SHA256SUMS.sig"},
		"builds": []any{map[string]any{
			"name": "terraform", "version": version, "os": runtime.GOOS, "arch": runtime.GOARCH, "filename": archiveName, "url": dir + archiveName,
		}},
	}
	index, err := json.Marshal(release)
	if err != nil {
		t.Fatal(err)
	}
	body := packed.Bytes()
	if m.corrupt {
		body = bytes.Clone(body)
		body[len(body)/2] ^= 1
	}
	serve := func(contentType string, data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			m.asked.Add(1)
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			if contentType == "application/zip" {
				m.zips.Add(1)
				if m.truncate {
					data = data[:len(data)/2]
				}
			}
			_, _ = w.Write(data)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc(dir+"index.json", serve("application/json", index))
	mux.HandleFunc(dir+stem+"_SHA256SUMS", serve("text/plain", []byte(sums)))
	mux.HandleFunc(dir+stem+"_SHA256SUMS.sig", serve("application/octet-stream", signature.Bytes()))
	mux.HandleFunc(dir+archiveName, serve("application/zip", body))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	m.url = server.URL
	return m
}

func (m *mirror) finder(dir string) *Finder {
	return NewFinder(FinderConfig{Dir: dir, Path: dir, Download: true, ReleasesURL: m.url, ReleasesKey: m.key})
}

func TestFinderInstalls(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	m := newMirror(t, "1.9.8", []byte(fakeTool("1.9.8", calls)), &mirror{})
	f := m.finder(dir)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			tool, err := f.Find(t.Context(), "terraform", "1.9.8")
			if err != nil || tool.Path != filepath.Join(dir, "terraform", "1.9.8", "terraform") {
				t.Errorf("Find = %+v, %v", tool, err)
			}
		})
	}
	wg.Wait()
	if n := m.zips.Load(); n != 1 {
		t.Errorf("%d downloads for 8 jobs", n)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "terraform"))
	if err != nil || len(entries) != 1 {
		t.Errorf("what is left beside the tool: %v, %v", entries, err)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "terraform", "1.9.8")); err != nil || len(files) != 1 {
		t.Errorf("what is left with the tool: %v, %v", files, err)
	}
}

func TestFinderNeverAsksTheNetworkWhenItMayNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newMirror(t, "1.9.8", []byte(fakeTool("1.9.8", filepath.Join(dir, "calls"))), &mirror{})
	f := NewFinder(FinderConfig{Dir: dir, Path: dir, ReleasesURL: m.url, ReleasesKey: m.key})
	var missing *NotFoundError
	if _, err := f.Find(t.Context(), "terraform", "1.9.8"); !errors.As(err, &missing) || m.asked.Load() != 0 {
		t.Errorf("Find = %v, %d requests", err, m.asked.Load())
	}
}

func TestFinderInstallsNothingWrong(t *testing.T) {
	t.Parallel()
	script := "#!/bin/sh\necho '{\"terraform_version\":\"1.9.8\"}'\n"
	other := newMirror(t, "1.9.8", []byte(script), &mirror{})
	tests := []struct {
		name, binary      string
		corrupt, truncate bool
		key, want         string
		unpackable        bool
	}{
		{"checksum mismatch", script, true, false, "", "checksum does not match", false},
		{"cut download", script, false, true, "", "downloading the archive", false},
		{"another version inside", strings.ReplaceAll(script, "1.9.8", "1.9.7"), false, false, "", "says that it is 1.9.7", false},
		{"another key", script, false, false, other.key, "openpgp", false},
		{"no program inside", "not a program", false, false, "", "asking terraform for its version", false},
		// As on a full disk: unpacking fails, what is there may start all the same.
		{"unpacking fails", script, false, false, "", "not the one in the downloaded archive", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			m := newMirror(t, "1.9.8", []byte(tt.binary), &mirror{corrupt: tt.corrupt, truncate: tt.truncate, unpackable: tt.unpackable})
			if tt.key != "" {
				m.key = tt.key
			}
			// The trap of hc-install v0.10.0: over an older binary a failure looks like a success.
			writeFile(t, filepath.Join(dir, "terraform", "1.9.8", "terraform"), script)
			tool, err := m.finder(dir).Find(t.Context(), "terraform", "1.9.8")
			var missing *NotFoundError
			if !errors.As(err, &missing) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Find = %+v, %v, want a NotFoundError with %q", tool, err, tt.want)
			}
			if tt.want != "" && isExecutable(filepath.Join(dir, "terraform", "1.9.8", "terraform")) {
				t.Error("something was installed")
			}
		})
	}
}

func TestSameAsInArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	entry, err := z.Create("terraform")
	if err == nil {
		_, err = io.WriteString(entry, "the whole program")
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	archive, binary := filepath.Join(dir, "a.zip"), filepath.Join(dir, "terraform")
	writeFile(t, archive, packed.String())
	writeFile(t, binary, "the whole program")
	if err := sameAsInArchive(binary, archive); err != nil {
		t.Errorf("the whole program: %v", err)
	}
	writeFile(t, binary, "the whole") // as a full disk leaves it
	if err := sameAsInArchive(binary, archive); err == nil {
		t.Error("a cut program is taken for the whole one")
	}
}
