package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/server/backup"
)

// serve opens a door and answers through it until the test ends.
func serve(t *testing.T, dir string, write func(context.Context, io.Writer) error) {
	t.Helper()
	door, err := backup.Listen(dir, slog.New(slog.DiscardHandler))
	ok(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx, write) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func says(text string) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if runtime.GOOS == "linux" { // longer than a socket's address can be
		dir = filepath.Join(dir, strings.Repeat("long", 30))
		ok(t, os.Mkdir(dir, 0o700))
	}
	if err := backup.Fetch(t.Context(), dir, io.Discard); !errors.Is(err, backup.ErrNoServer) {
		t.Errorf("Fetch() without a server = %v", err)
	}
	serve(t, dir, says("the archive"))
	var got bytes.Buffer
	ok(t, backup.Fetch(t.Context(), dir, &got))
	if got.String() != "the archive" {
		t.Errorf("Fetch() = %q", &got)
	}
	for _, name := range []string{"tidegate.sock", "tidegate.sock.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// A server that is gone has left its socket there.
func TestFetchFromAServerThatIsGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lis, err := net.Listen("unix", filepath.Join(dir, "tidegate.sock"))
	ok(t, err)
	lis.(*net.UnixListener).SetUnlinkOnClose(false)
	ok(t, lis.Close())
	ok(t, os.WriteFile(filepath.Join(dir, "tidegate.sock.key"), []byte("old"), 0o600))
	if err := backup.Fetch(t.Context(), dir, io.Discard); !errors.Is(err, backup.ErrNoServer) {
		t.Errorf("Fetch() = %v, want ErrNoServer", err)
	}
	serve(t, dir, says("x"))
	ok(t, backup.Fetch(t.Context(), dir, io.Discard))
}

// An archive that the server could not finish is not taken for a whole one.
func TestFetchOfHalfABackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir, func(ctx context.Context, w io.Writer) error {
		return errors.Join(says("half")(ctx, w), errors.New("the disk, hush"))
	})
	err := backup.Fetch(t.Context(), dir, io.Discard)
	if err == nil || errors.Is(err, backup.ErrNoServer) || strings.Contains(err.Error(), "hush") {
		t.Errorf("Fetch() = %v, want that it is not whole", err)
	}
}

// A job can reach the socket, but not read the key.
func TestTheDoorWantsTheKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir, says("secrets"))
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "tidegate.sock"))
	}}}
	for _, key := range []string{"", "Bearer ", "Bearer wrong"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/backup", nil)
		ok(t, err)
		req.Header.Set("Authorization", key)
		resp, err := client.Do(req)
		ok(t, err)
		body, err := io.ReadAll(resp.Body)
		ok(t, errors.Join(err, resp.Body.Close()))
		if resp.StatusCode != http.StatusForbidden || strings.Contains(string(body), "secrets") {
			t.Errorf("with %q: %d %s", key, resp.StatusCode, body)
		}
	}
}

// One at a time, and one that is under way is cut off when the server stops.
func TestOneBackupAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	door, err := backup.Listen(dir, slog.New(slog.DiscardHandler))
	ok(t, err)
	ctx, stop := context.WithCancel(t.Context())
	began, ended := make(chan struct{}), make(chan error, 2)
	go func() {
		ended <- door.Serve(ctx, func(ctx context.Context, _ io.Writer) error {
			close(began)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	go func() { ended <- backup.Fetch(context.WithoutCancel(ctx), dir, io.Discard) }()
	<-began
	if err := backup.Fetch(t.Context(), dir, io.Discard); err == nil || !strings.Contains(err.Error(), "another backup") {
		t.Errorf("a second one: %v", err)
	}
	stop()
	if a, b := <-ended, <-ended; (a == nil) == (b == nil) {
		t.Errorf("the server ended with one of %v and %v, the backup with the other; want an error of the backup alone", a, b)
	}
}
