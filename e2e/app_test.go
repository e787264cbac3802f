package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// devApp is the App as which a server asks devforge.
type devApp struct {
	id, installation int64
}

// app: from now on servers ask as an App, which is installed. app uninstall takes it away, app install brings it back, as another
// installation.
func cmdApp(_ *testscript.TestScript, w *world, args []string) (err error) {
	if len(args) == 1 && args[0] == "uninstall" {
		return w.dev.Uninstall(w.dev.app.installation)
	}
	if len(args) == 1 && args[0] == "install" {
		w.dev.app.installation, err = w.dev.Install(w.dev.app.id, owner)
		return err
	}
	if len(args) > 0 {
		return fmt.Errorf("usage: app | app uninstall | app install")
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	raw := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(filepath.Join(w.dir, "secrets", "app.pem"), raw, 0o600); err != nil {
		return err
	}
	w.dev.app = &devApp{}
	if w.dev.app.id, err = w.dev.CreateApp(bot, &key.PublicKey); err != nil {
		return err
	}
	w.dev.app.installation, err = w.dev.Install(w.dev.app.id, owner)
	return err
}

// serving are the flags of a server that asks as the App.
func (a *devApp) serving(api, secrets string) []string {
	return []string{
		"--gh-api-url", api, "--gh-app-id", strconv.FormatInt(a.id, 10), "--gh-app-key-file", filepath.Join(secrets, "app.pem"),
		"--gh-user", bot, "--gh-webhook-secret-file", filepath.Join(secrets, "webhook"),
	}
}
