package backup

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	socketName = "tidegate.sock"
	keyName    = "tidegate.sock.key"
	// maxSocket is how long a socket's path may be on every system that we know.
	maxSocket = 103
	// longest is how long a backup may take; a reader that has stopped is not waited for longer.
	longest = time.Hour

	// resultHeader comes after the archive and says whether it is whole.
	resultHeader = "Tidegate-Result"
	resultOK     = "ok"
)

// ErrNoServer says that no server answers in the data directory.
var ErrNoServer = errors.New("no server answers in this data directory")

// Door is where a server is asked for a backup: a socket in its data directory. Landlock hides files from
// jobs, and sockets not, so whoever asks has to know what stands in the key file beside it.
type Door struct {
	lis  net.Listener
	done func()
	key  string
	log  *slog.Logger
}

// Listen opens the door of a data directory that nobody else works with.
func Listen(dir string, log *slog.Logger) (*Door, error) {
	d := &Door{key: rand.Text() + rand.Text(), log: log}
	for _, name := range []string{socketName, keyName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := errors.Join(Clear(dir), os.WriteFile(filepath.Join(dir, keyName), []byte(d.key), 0o600)); err != nil {
		return nil, err
	}
	path, done, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	if d.lis, err = net.Listen("unix", path); err != nil { //nolint:noctx // it only makes a file
		done()
		return nil, err
	}
	d.done = done
	return d, os.Chmod(filepath.Join(dir, socketName), 0o600)
}

// socketPath is the path of the socket, or one way to it that is short enough for a socket's address.
func socketPath(dir string) (string, func(), error) {
	path := filepath.Join(dir, socketName)
	if len(path) <= maxSocket {
		return path, func() {}, nil
	}
	f, err := os.Open(dir) //nolint:gosec // the operator names the data directory
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), socketName), func() { _ = f.Close() }, nil
}

// Serve answers until ctx ends. write writes a backup; it is not called twice at a time.
func (d *Door) Serve(ctx context.Context, write func(context.Context, io.Writer) error) error {
	turn := make(chan struct{}, 1)
	srv := &http.Server{
		ReadHeaderTimeout: 10 * time.Second, WriteTimeout: longest, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context { return ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case turn <- struct{}{}:
				defer func() { <-turn }()
				d.answer(w, r, write)
			default:
				http.Error(w, "another backup is being made", http.StatusConflict)
			}
		}),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	err := srv.Serve(d.lis)
	turn <- struct{}{} // one that was cut off ends with its connection
	d.done()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (d *Door) answer(w http.ResponseWriter, r *http.Request, write func(context.Context, io.Writer) error) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(key), []byte(d.key)) != 1 {
		http.Error(w, "the key of the data directory is needed", http.StatusForbidden)
		return
	}
	w.Header().Set("Trailer", resultHeader)
	w.Header().Set("Content-Type", "application/gzip")
	began := time.Now()
	result := resultOK
	if err := write(r.Context(), w); err != nil {
		d.log.ErrorContext(r.Context(), "making a backup", "err", err)
		result = "the server could not make it; its log has the cause"
	} else {
		d.log.InfoContext(r.Context(), "a backup was made", "took", time.Since(began).Round(time.Millisecond))
	}
	w.Header().Set(resultHeader, result)
}

// Fetch asks the server of a data directory for a backup and writes it. ErrNoServer (wrapped) when there is
// none: then nothing was written.
func Fetch(ctx context.Context, dir string, to io.Writer) error {
	path, done, err := socketPath(dir)
	if err != nil {
		return err
	}
	defer done()
	key, err := os.ReadFile(filepath.Join(dir, keyName)) //nolint:gosec // the operator names the data directory
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNoServer, err)
	}
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tidegate/backup", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(key))
	transport := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNoServer, err)
	}
	if err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("the server answers: %s", strings.TrimSpace(string(text)))
	}
	if _, err := io.Copy(to, resp.Body); err != nil {
		return fmt.Errorf("reading what the server sends: %w", err)
	}
	if result := resp.Trailer.Get(resultHeader); result != resultOK {
		return fmt.Errorf("the backup is not whole: %s", result)
	}
	return nil
}
