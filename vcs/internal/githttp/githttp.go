// Package githttp keeps a forge's bare repositories and serves them by git's smart protocol over HTTP, for the forges that
// tests and the demo bring along. It knows no users: who may read and who may push was asked before.
//
// Start with Git.
package githttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// Git runs git with nothing of the machine's configuration. It is safe for concurrent use.
type Git struct {
	// Home is a directory without any configuration of git.
	Home string
	// Name is who commits.
	Name string
	Log  *slog.Logger
}

func (g Git) env() []string {
	mail := g.Name + "@localhost"
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.Home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=" + g.Name, "GIT_AUTHOR_EMAIL=" + mail, "GIT_COMMITTER_NAME=" + g.Name, "GIT_COMMITTER_EMAIL=" + mail,
	}
}

// In runs git in a repository, and answers what it prints without the newlines at its end.
func (g Git) In(ctx context.Context, dir string, args ...string) (string, error) {
	return g.run(ctx, append([]string{"-C", dir}, args...)...)
}

func (g Git) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = g.env()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// Init makes a repository from which each commit can be fetched.
func (g Git) Init(ctx context.Context, dir string) error {
	if _, err := g.run(ctx, "init", "-q", "--bare", "-b", "main", dir); err != nil {
		return err
	}
	for k, v := range map[string]string{"uploadpack.allowAnySHA1InWant": "true", "gc.auto": "0", "http.receivepack": "true"} {
		if _, err := g.In(ctx, dir, "config", k, v); err != nil {
			return err
		}
	}
	return nil
}

// Branch is the commit that a branch stands at; "" where there is no such branch.
func (g Git) Branch(ctx context.Context, dir, branch string) string {
	s, err := g.In(ctx, dir, "rev-parse", "-q", "--verify", "refs/heads/"+branch+"^{commit}")
	if err != nil {
		return ""
	}
	return s
}

// CanMerge reports whether two commits merge without conflicts.
func (g Git) CanMerge(ctx context.Context, dir, one, other string) bool {
	_, err := g.In(ctx, dir, "merge-tree", "--write-tree", one, other)
	return err == nil
}

// Merge merges two commits and makes a commit of that, which no branch has yet.
func (g Git) Merge(ctx context.Context, dir, one, other, message string, parents ...string) (string, error) {
	tree, err := g.In(ctx, dir, "merge-tree", "--write-tree", one, other)
	if err != nil {
		return "", err
	}
	tree, _, _ = strings.Cut(tree, "\n")
	args := []string{"commit-tree", tree, "-m", message}
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	return g.In(ctx, dir, args...)
}

// Service is what a request asks git for: upload-pack to read, receive-pack to push, or "" for nothing that there is. rest is
// its path below the repository.
func Service(req *http.Request, rest string) string {
	service := rest
	if rest == "info/refs" {
		service = req.URL.Query().Get("service")
	}
	service = strings.TrimPrefix(service, "git-")
	if service != "upload-pack" && service != "receive-pack" {
		return ""
	}
	return service
}

// Serve answers a request for a Service. pushed is called after a push, before who pushed hears that it is done.
func (g Git) Serve(w http.ResponseWriter, req *http.Request, dir, rest string, pushed func()) {
	service, protocol := Service(req, rest), req.Header.Get("Git-Protocol")
	w.Header().Set("Cache-Control", "no-cache")
	if rest == "info/refs" {
		w.Header().Set("Content-Type", "application/x-git-"+service+"-advertisement")
		line := "# service=git-" + service + "\n"
		_, _ = fmt.Fprintf(w, "%04x%s0000", len(line)+4, line)
		g.rpc(req.Context(), w, nil, protocol, service, "--advertise-refs", dir)
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
	if service == "upload-pack" {
		g.rpc(req.Context(), w, body, protocol, service, dir)
		return
	}
	var said bytes.Buffer
	g.rpc(req.Context(), &said, body, protocol, service, dir)
	pushed()
	_, _ = w.Write(said.Bytes())
}

func (g Git) rpc(ctx context.Context, w io.Writer, body io.Reader, protocol, service string, args ...string) {
	cmd := exec.CommandContext(ctx, "git", append([]string{service, "--stateless-rpc"}, args...)...)
	cmd.Env = append(g.env(), "GIT_PROTOCOL="+protocol)
	cmd.Stdin, cmd.Stdout = body, w
	if err := cmd.Run(); err != nil {
		g.Log.Warn("git over http", "service", service, "err", err)
	}
}
