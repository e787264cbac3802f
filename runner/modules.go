package runner

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidegate/tidegate/runner/gitcredential"
	"github.com/tidegate/tidegate/runner/terraform"
)

// CanOfferCredential reports whether a job can be offered a credential with that data directory: the paths of sockets are short.
func CanOfferCredential(data string) bool { return gitcredential.Fits(tmpDir(data, "any")) }

// tmpDir is the temporary directory of a job. It is short, because plugins listen on sockets in it, whose paths may have 107 bytes.
func tmpDir(data, job string) string { return filepath.Join(data, "tmp", shortHash(job)) }

// fetchModules fetches what init would, where there is something to offer for that: the forge's credential, or the operator's ssh agent. It is a
// process of its own because init can be made to run anything, by the settings of a backend: S3's can name a file with a credential_process, that
// of Kubernetes a program. `terraform get` knows no backend and starts no provider. It answers the step that failed. One in which the forge
// refused a credential that it has another one for now is taken once more.
func (w *work) fetchModules(ctx context.Context, workspace string) (*step, error) {
	f := w.job.Forge
	offers := f != nil && f.Credential != nil
	env := w.cfg.SSH.env(w.env(workspace), w.cfg.Environ)
	if !w.conf.RemoteModules || !offers && !slices.ContainsFunc(env, isAgent) {
		return nil, nil
	}
	env, err := w.apart(ctx, env)
	if err != nil {
		return nil, err
	}
	var given offer
	if offers {
		socket, err := gitcredential.Listen(ctx, w.tmp, given.of(*f), w.cfg.Log)
		if err != nil {
			return nil, fmt.Errorf("offering terraform get a credential: %w", err)
		}
		defer func() {
			if err := socket.Close(); err != nil {
				w.cfg.Log.WarnContext(ctx, "ending what answers git", "job", w.job.ID, "error", err)
			}
		}()
		env = socket.Env(env, w.cfg.Self)
	}
	for again := false; ; again = true {
		s, err := w.step(ctx, getStep, env, func(ctx context.Context, c terraform.Command) (terraform.Exit, error) {
			exit, err := c.Get(ctx)
			return exit, errors.Join(err, given.takeOut(filepath.Join(c.StepDir, terraform.LogName)))
		})
		switch {
		case err == nil && s.failure == nil:
			return nil, nil
		case err != nil || again || ctx.Err() != nil || !given.renewed.Load():
			return s, err
		}
	}
}

// offer is what became of a credential that was offered.
type offer struct {
	// renewed: the forge refused one, and has another one now.
	renewed atomic.Bool

	mu      sync.Mutex
	secrets []string
}

// of is the forge that also takes down what is handed out, and refused.
func (o *offer) of(f Forge) Forge {
	credential, refused := f.Credential, f.Refused
	f.Credential = func(ctx context.Context) (user, password string, err error) {
		user, password, err = credential(ctx)
		if password != "" {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.secrets = append(o.secrets, password, base64.StdEncoding.EncodeToString([]byte(user+":"+password))) // as it is sent
		}
		return user, password, err
	}
	if refused == nil {
		return f
	}
	f.Refused = func(ctx context.Context, password string) bool {
		if !refused(ctx, password) {
			return false
		}
		o.renewed.Store(true)
		return true
	}
	return f
}

// takeOut takes out of a log what was handed out: the forge, or who sits before it, may have repeated it, and git tells that.
func (o *offer) takeOut(log string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	text, err := os.ReadFile(log) //nolint:gosec // a file of ours
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	clean := text
	for _, secret := range o.secrets {
		clean = bytes.ReplaceAll(clean, []byte(secret), []byte("***"))
	}
	if err == nil && len(o.secrets) > 0 && !bytes.Equal(clean, text) {
		err = os.WriteFile(log, clean, 0o600)
	}
	if err != nil {
		return fmt.Errorf("taking a credential out of a log: %w", err)
	}
	return nil
}

// getStep is the step that fetches modules.
const getStep = "get"

// fetches reports a step that may fetch modules.
func fetches(step string) bool { return step == getStep || step == "init" }

// doubtsHost reports a step that failed because ssh does not know a host's key.
func (w *work) doubtsHost(name, log string) bool {
	return fetches(name) && strings.Contains(strings.Join(strings.Fields(log), " "), "Host key verification failed")
}

// unread is said where a file that people expect to count does not.
func unread(name string) string {
	if name == getStep {
		return "; ~/.ssh/known_hosts is not read"
	}
	return ""
}

// wantsCredential reports a step that failed because git was asked by the job's forge who it is, and had nothing to say.
func (w *work) wantsCredential(name, log string) bool {
	f := w.job.Forge
	return f != nil && f.Credential == nil && w.saysOfForge(name, log, "could not read Username for '")
}

// usedBadCredential reports a step that failed because the job's forge did not take the credential that was offered.
func (w *work) usedBadCredential(name, log string) bool {
	f := w.job.Forge
	return f != nil && f.Credential != nil && w.saysOfForge(name, log, "Authentication failed for '")
}

// saysOfForge reports that git said so of a repository of the job's forge.
func (w *work) saysOfForge(name, log, words string) bool {
	u, err := url.Parse(w.job.Forge.URL)
	if err != nil || !fetches(name) {
		return false
	}
	_, after, found := strings.Cut(strings.Join(strings.Fields(log), " "), words+u.Scheme+"://"+u.Host)
	return found && after != "" && strings.ContainsAny(after[:1], "/'")
}
