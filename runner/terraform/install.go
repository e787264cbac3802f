package terraform

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"
)

const (
	installTimeout   = 10 * time.Minute
	progressInterval = 5 * time.Second
)

// install fetches one exact version of terraform. Callers that want the same version wait for one
// download.
func (f *Finder) install(ctx context.Context, version string) (Tool, error) {
	for {
		f.mu.Lock()
		other, busy := f.installing[version]
		if !busy {
			f.installing[version] = make(chan struct{})
		}
		f.mu.Unlock()
		if !busy {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return Tool{}, ctx.Err()
		}
	}
	defer func() {
		f.mu.Lock()
		close(f.installing[version])
		delete(f.installing, version)
		f.mu.Unlock()
	}()
	target := f.installed(Terraform, version)
	if !isExecutable(target) {
		if err := f.download(ctx, version, target); err != nil {
			return Tool{}, err
		}
	}
	got, err := f.versions.of(ctx, target)
	if err != nil {
		return Tool{}, err
	}
	if got != version {
		return Tool{}, fmt.Errorf("the installed binary says that it is %s", got)
	}
	return Tool{Distribution: Terraform, Version: got, Path: target}, nil
}

// download installs into a fresh directory and renames the directory when the binary has proved to be
// what it should be. hc-install v0.10.0 loses the errors of a wrong checksum, a short download and a
// failed unpacking (a deferred call overwrites them): over an older binary it would report success.
func (f *Finder) download(ctx context.Context, version, target string) error {
	parent := filepath.Dir(filepath.Dir(target))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return fmt.Errorf("making the directory for tools: %w", err)
	}
	fresh, err := os.MkdirTemp(parent, ".install-*")
	if err != nil {
		return fmt.Errorf("making a directory to install into: %w", err)
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	start := time.Now()
	f.cfg.Log.InfoContext(ctx, "downloading terraform", "version", version)
	if err := f.fetch(ctx, version, fresh); err != nil {
		f.cfg.Log.WarnContext(ctx, "downloading terraform did not work", "version", version, "error", err)
		return err
	}
	if got, err := askVersion(ctx, filepath.Join(fresh, "terraform")); err != nil {
		return err
	} else if got != version {
		return fmt.Errorf("the downloaded binary says that it is %s, not %s", got, version)
	}
	dir := filepath.Dir(target)
	if err := os.RemoveAll(dir); err != nil { // what is left there is not executable
		return fmt.Errorf("clearing the place of the tool: %w", err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fmt.Errorf("putting the tool into its place: %w", err)
	}
	f.cfg.Log.InfoContext(ctx, "terraform is installed", "version", version, "took", time.Since(start).Round(time.Millisecond))
	return syncDir(parent)
}

// fetch downloads, verifies and unpacks into dir, which holds the binary alone afterwards.
func (f *Finder) fetch(ctx context.Context, exact, dir string) error {
	v, err := version.NewVersion(exact)
	if err != nil {
		return &VersionError{Version: exact}
	}
	archive := filepath.Join(dir, "archive.zip")
	tee := &teeTransport{base: http.DefaultTransport, file: archive, log: func(n int64) {
		f.cfg.Log.InfoContext(ctx, "still downloading terraform", "version", exact, "megabytes", n>>20)
	}}
	said := &lastLines{}
	source := releases.ExactVersion{
		Product: product.Terraform, Version: v, InstallDir: filepath.Join(dir, "unpacked"), Timeout: installTimeout,
		ArmoredPublicKey: f.cfg.ReleasesKey, ApiBaseURL: f.cfg.ReleasesURL, HTTPClient: &http.Client{Transport: tee},
	}
	source.SetLogger(log.New(said, "", 0))
	if err := os.Mkdir(source.InstallDir, 0o700); err != nil {
		return fmt.Errorf("making a directory to install into: %w", err)
	}
	binary, err := source.Install(ctx)
	if err = errors.Join(err, tee.close()); err != nil {
		return said.explain(err)
	}
	if err := sameAsInArchive(binary, archive); err != nil {
		return err
	}
	if err := os.Chmod(binary, 0o755); err != nil {
		return fmt.Errorf("making the tool executable: %w", err)
	}
	err = os.Rename(binary, filepath.Join(dir, "terraform"))
	return errors.Join(err, os.RemoveAll(source.InstallDir), os.Remove(archive))
}

// sameAsInArchive compares an unpacked binary with its entry in the archive, whose checksum was
// verified before anything was unpacked: a full disk leaves a cut binary that may still start.
func sameAsInArchive(binary, archive string) error {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("reading the downloaded archive: %w", err)
	}
	defer func() { _ = r.Close() }()
	f, err := os.Open(binary) //nolint:gosec // a file of ours
	if err != nil {
		return fmt.Errorf("reading the unpacked binary: %w", err)
	}
	defer func() { _ = f.Close() }()
	sum := crc32.NewIEEE()
	size, err := io.Copy(sum, f)
	if err != nil {
		return fmt.Errorf("reading the unpacked binary: %w", err)
	}
	for _, entry := range r.File {
		if entry.Name == "terraform" && entry.UncompressedSize64 == uint64(size) && entry.CRC32 == sum.Sum32() {
			return f.Sync()
		}
	}
	return errors.New("the unpacked binary is not the one in the downloaded archive")
}

// teeTransport keeps a copy of the archive that is downloaded through it and tells of its progress.
type teeTransport struct {
	base http.RoundTripper
	file string
	log  func(bytes int64)

	mu   sync.Mutex
	copy *os.File
	err  error
}

// RoundTrip is http.RoundTripper.
func (t *teeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasSuffix(req.URL.Path, ".zip") {
		return resp, err
	}
	f, err := os.OpenFile(t.file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	t.mu.Lock()
	t.copy = f
	t.mu.Unlock()
	resp.Body = &teeBody{ReadCloser: resp.Body, tee: t, next: time.Now().Add(progressInterval)}
	return resp, nil
}

func (t *teeTransport) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.copy == nil {
		return t.err
	}
	err := errors.Join(t.err, t.copy.Close())
	t.copy = nil
	return err
}

type teeBody struct {
	io.ReadCloser
	tee  *teeTransport
	read int64
	next time.Time
}

func (b *teeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if now := time.Now(); now.After(b.next) {
		b.next = now.Add(progressInterval)
		b.tee.log(b.read)
	}
	b.tee.mu.Lock()
	defer b.tee.mu.Unlock()
	if err != nil && !errors.Is(err, io.EOF) {
		b.tee.err = errors.Join(b.tee.err, fmt.Errorf("downloading the archive: %w", err))
	}
	if _, writeErr := b.tee.copy.Write(p[:n]); writeErr != nil {
		b.tee.err = errors.Join(b.tee.err, fmt.Errorf("keeping the archive: %w", writeErr))
	}
	return n, err
}

// lastLines keeps what hc-install logs: the only place where it says why it failed.
type lastLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(p) {
		l.lines = append(l.lines, strings.TrimSpace(string(line)))
	}
	return len(p), nil
}

// explain adds the logged reason that hc-install's own error lost.
func (l *lastLines) explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.HasPrefix(line, "checksum does not match") {
			return fmt.Errorf("the archive's %s: %w", line, err)
		}
	}
	return err
}
