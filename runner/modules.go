package runner

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
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
	env, err := w.apart(env)
	if err != nil {
		return nil, err
	}
	var renewed atomic.Bool
	if offers {
		socket, err := gitcredential.Listen(ctx, w.tmp, noting(*f, &renewed), w.cfg.Log)
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
		s, err := w.step(ctx, getStep, env, func(ctx context.Context, c terraform.Command) (terraform.Exit, error) { return c.Get(ctx) })
		switch {
		case err == nil && s.failure == nil:
			return nil, nil
		case err != nil || again || ctx.Err() != nil || !renewed.Load():
			return s, err
		}
	}
}

// noting is the forge that also says when a credential that it refused was replaced.
func noting(f Forge, renewed *atomic.Bool) Forge {
	refused := f.Refused
	if refused == nil {
		return f
	}
	f.Refused = func(ctx context.Context, password string) bool {
		if !refused(ctx, password) {
			return false
		}
		renewed.Store(true)
		return true
	}
	return f
}

// getStep is the step that fetches modules.
const getStep = "get"

// fetches reports a step that may fetch modules.
func fetches(step string) bool { return step == getStep || step == "init" }

// doubtsHost reports a step that failed because ssh does not know a host's key.
func (w *work) doubtsHost(name, log string) bool {
	return fetches(name) && strings.Contains(strings.Join(strings.Fields(log), " "), "Host key verification failed")
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
