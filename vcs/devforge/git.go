package devforge

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

func (f *Forge) gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + f.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=devforge", "GIT_AUTHOR_EMAIL=devforge@localhost", "GIT_COMMITTER_NAME=devforge", "GIT_COMMITTER_EMAIL=devforge@localhost",
	}
}

func (f *Forge) git(_ *repository, args ...string) (string, error) {
	cmd := exec.CommandContext(f.ctx, "git", args...)
	cmd.Env = f.gitEnv()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

func (f *Forge) in(r *repository, args ...string) (string, error) {
	return f.git(r, append([]string{"-C", r.dir}, args...)...)
}

func (f *Forge) sha(r *repository, branch string) string {
	s, err := f.in(r, "rev-parse", "-q", "--verify", "refs/heads/"+branch+"^{commit}")
	if err != nil {
		return ""
	}
	return s
}

// serveGit answers the smart HTTP protocol.
func (f *Forge) serveGit(w http.ResponseWriter, req *http.Request, owner, name, rest string) {
	f.mu.Lock()
	r := f.repos[owner+"/"+name]
	u := f.who(req)
	_, _, hasAuth := req.BasicAuth()
	if r != nil && (f.beyond(req, r) || u != nil && r.hidden(u)) {
		r = nil
	}
	closed := hasAuth || r != nil && r.private
	f.mu.Unlock()
	service := req.URL.Query().Get("service")
	if rest != "info/refs" {
		service = rest
	}
	service = strings.TrimPrefix(service, "git-")
	if r == nil || (service != "upload-pack" && service != "receive-pack") {
		http.NotFound(w, req)
		return
	}
	if (service == "receive-pack" || closed) && (u == nil || (service == "receive-pack" && !r.mayWrite(u.login))) {
		if u != nil {
			http.Error(w, "write permission is needed", http.StatusForbidden)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="devforge"`)
		http.Error(w, "user and password are needed", http.StatusUnauthorized)
		return
	}
	if rest == "info/refs" {
		w.Header().Set("Content-Type", "application/x-git-"+service+"-advertisement")
		w.Header().Set("Cache-Control", "no-cache")
		line := "# service=git-" + service + "\n"
		_, _ = fmt.Fprintf(w, "%04x%s0000", len(line)+4, line)
		f.rpc(req.Context(), w, nil, req.Header.Get("Git-Protocol"), service, "--advertise-refs", r.dir)
		return
	}
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, "bad gzip", http.StatusBadRequest)
			return
		}
		body = z
	}
	w.Header().Set("Content-Type", "application/x-git-"+service+"-result")
	w.Header().Set("Cache-Control", "no-cache")
	f.rpc(req.Context(), w, body, req.Header.Get("Git-Protocol"), service, r.dir)
	if service == "receive-pack" {
		f.pushed(r, u.login)
	}
}

func (f *Forge) rpc(ctx context.Context, w io.Writer, body io.Reader, protocol, service string, args ...string) {
	cmd := exec.CommandContext(ctx, "git", append([]string{service, "--stateless-rpc"}, args...)...)
	cmd.Env = append(f.gitEnv(), "GIT_PROTOCOL="+protocol)
	cmd.Stdin, cmd.Stdout = body, w
	if err := cmd.Run(); err != nil {
		f.log.Warn("git over http", "service", service, "err", err)
	}
}

// pushed lets the heads of open pull requests follow.
func (f *Forge) pushed(r *repository, by string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, base := range f.repos {
		for _, p := range base.pulls {
			if p.headRepo != r || p.state != "open" {
				continue
			}
			sha := f.sha(r, p.headRef)
			if sha == "" || sha == p.headSHA {
				continue
			}
			before := p.headSHA
			p.headSHA, p.updated = sha, now()
			f.headRefUpdate(base, p)
			f.emitPull(base, p, "synchronize", by, map[string]any{"before": before, "after": sha})
		}
	}
}

func (f *Forge) headRefUpdate(base *repository, p *pull) {
	if p.headRepo != base {
		_, _ = f.in(base, "fetch", "-q", p.headRepo.dir, p.headSHA)
	}
	if _, err := f.in(base, "update-ref", fmt.Sprintf("refs/pull/%d/head", p.number), p.headSHA); err != nil {
		f.log.Warn("updating a pull request's ref", "err", err)
	}
}

func (f *Forge) mergeable(r *repository, p *pull) bool {
	_, err := f.in(r, "merge-tree", "--write-tree", "refs/heads/"+p.baseRef, p.headSHA)
	return err == nil
}
