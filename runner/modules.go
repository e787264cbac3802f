package runner

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/tidegate/tidegate/runner/gitcredential"
)

// CanOfferCredential reports whether init can be offered a credential with that data directory: the paths of sockets are short.
func CanOfferCredential(data string) bool { return gitcredential.Fits(tmpDir(data, "any")) }

// tmpDir is the temporary directory of a job. It is short, because plugins listen on sockets in it, whose paths may have 107 bytes.
func tmpDir(data, job string) string { return filepath.Join(data, "tmp", shortHash(job)) }

// initEnv is the environment of init, in which git is answered with the forge's credential until end is called, and has the operator's ssh
// agent. No other process of a job gets any of it: what init fetches is there for plan already, and code that a module brings runs from plan on.
func (w *work) initEnv(ctx context.Context, workspace string) (env []string, end func(), err error) {
	env = w.cfg.SSH.env(w.env(workspace), w.cfg.Environ)
	f := w.job.Forge
	if f == nil || f.Credential == nil {
		return env, func() {}, nil
	}
	socket, err := gitcredential.Listen(ctx, w.tmp, *f, w.cfg.Log)
	if err != nil {
		return nil, nil, fmt.Errorf("offering init a credential: %w", err)
	}
	return socket.Env(env, w.cfg.Self), func() {
		if err := socket.Close(); err != nil {
			w.cfg.Log.WarnContext(ctx, "ending what answers git", "job", w.job.ID, "error", err)
		}
	}, nil
}

// doubtsHost reports an init that failed because ssh does not know a host's key.
func (w *work) doubtsHost(name, log string) bool {
	return name == "init" && strings.Contains(strings.Join(strings.Fields(log), " "), "Host key verification failed")
}

// wantsCredential reports an init that failed because git was asked by the job's forge who it is, and had nothing to say.
func (w *work) wantsCredential(name, log string) bool {
	f := w.job.Forge
	if name != "init" || f == nil || f.Credential != nil {
		return false
	}
	u, err := url.Parse(f.URL)
	return err == nil && strings.Contains(strings.Join(strings.Fields(log), " "), "could not read Username for '"+u.Scheme+"://"+u.Host)
}
