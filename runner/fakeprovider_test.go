package runner

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// providerEnv makes the test binary a provider plugin.
const providerEnv = "TIDEGATE_TEST_PROVIDER"

// providerMain speaks as much of go-plugin's and tfplugin6's protocols, without TLS, as terraform needs
// to plan a configuration that requires a provider and uses nothing of it: the handshake line, gRPC
// over plain HTTP/2 on a socket in TMPDIR, and an empty schema.
func providerMain() int {
	socket := filepath.Join(os.TempDir(), "plugin")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return 1
	}
	stop := make(chan struct{})
	server := &http.Server{Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute}
	server.Protocols.SetUnencryptedHTTP2(true)
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		status := "0"
		switch r.URL.Path {
		case "/tfplugin6.Provider/GetProviderSchema":
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = w.Write([]byte{0, 0, 0, 0, 4, 0x0a, 0x02, 0x12, 0x00}) // provider: {block: {}}
		case "/plugin.GRPCController/Shutdown":
			_, _ = w.Write([]byte{0, 0, 0, 0, 0})
			close(stop)
		default:
			status = "12" // unimplemented
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
	})
	go func() {
		<-stop
		_ = server.Close()
	}()
	if _, err := os.Stdout.WriteString("1|6|unix|" + socket + "|grpc|\n"); err != nil {
		return 1
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return 1
	}
	return 0
}
