package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cli FILE COMMAND [ARGS]: runs a command of tidegate that takes the server's flags, with those of the story's server, and
// keeps what it prints. More flags win over the server's.
func cmdCLI(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "cli FILE COMMAND [ARGS]"); err != nil {
		return err
	}
	addr, err := freeAddr(w.server)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") })
	if at < 0 {
		at = len(args)
	}
	argv := slices.Concat(args[1:at], w.flags(addr), args[at:])
	cmd := exec.Command(w.bin, argv...)
	for _, k := range []string{"PATH", "HOME", "TMPDIR", "HTTPS_PROXY", "SSL_CERT_FILE"} {
		cmd.Env = append(cmd.Env, k+"="+ts.Getenv(k))
	}
	out, err := cmd.CombinedOutput()
	ts.Logf("%s", out)
	return errors.Join(err, os.WriteFile(ts.MkAbs(args[0]), out, 0o600))
}

// api USER METHOD PATH [JSON]: asks the forge's API about the repository, and sets $ID to the answer's id.
func cmdAPI(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 3, "api USER METHOD PATH [JSON]"); err != nil {
		return err
	}
	var body any
	if len(args) > 3 {
		body = json.RawMessage(args[3])
	}
	var made any
	path, root := strings.CutPrefix(args[2], "~")
	if !root {
		path = w.forge.path(args[2])
	}
	status, err := w.api(args[0], args[1], path, body, &made)
	if status/100 == 2 && made == nil { // there is nothing in it
		err = nil
	}
	if m, ok := made.(map[string]any); ok {
		id, _ := m["id"].(float64)
		ts.Setenv("ID", strconv.FormatInt(int64(id), 10))
	}
	return err
}

// flags are those of a server that listens there.
func (w *world) flags(addr string) []string {
	return slices.Concat(
		[]string{"--repo-allowlist", w.forge.host() + "/" + owner + "/*"},
		w.forge.serving(filepath.Join(w.dir, "secrets")),
		[]string{"--listen", addr, "--data-dir", w.data},
	)
}

// hook JSON: changes the settings of the repository's newest webhook, as who administers it.
func cmdHook(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "hook JSON"); err != nil {
		return err
	}
	var list []struct{ ID int64 }
	if _, err := w.api(raj, http.MethodGet, repoPath("/hooks"), nil, &list); err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("there is no webhook")
	}
	text := strings.ReplaceAll(strings.Join(args, " "), "@SERVER@", w.server.url)
	_, err := w.api(raj, http.MethodPatch, repoPath("/hooks/%d", list[len(list)-1].ID), json.RawMessage(text), nil)
	if err != nil {
		return fmt.Errorf("hook %s: %w", text, err)
	}
	return nil
}
