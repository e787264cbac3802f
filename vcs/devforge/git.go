package devforge

import (
	"fmt"
	"net/http"

	"github.com/tidegate/tidegate/vcs/internal/githttp"
)

func (f *Forge) in(r *repository, args ...string) (string, error) {
	return f.bare.In(f.ctx, r.dir, args...)
}

func (f *Forge) sha(r *repository, branch string) string { return f.bare.Branch(f.ctx, r.dir, branch) }

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
	service := githttp.Service(req, rest)
	if r == nil || service == "" {
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
	f.bare.Serve(w, req, r.dir, rest, func() { f.pushed(r, u.login) })
}

// pushed lets the heads of open pull requests follow. Those whose branches are gone are closed.
func (f *Forge) pushed(r *repository, by string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, base := range f.repos {
		for _, p := range base.pulls {
			if p.state != "open" || p.headRepo != r && base != r {
				continue
			}
			if base == r && f.sha(r, p.baseRef) == "" || p.headRepo == r && f.sha(r, p.headRef) == "" {
				f.setState(base, p, "closed", by)
				continue
			}
			sha := f.sha(p.headRepo, p.headRef)
			if p.headRepo != r || sha == p.headSHA {
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
	return f.bare.CanMerge(f.ctx, r.dir, "refs/heads/"+p.baseRef, p.headSHA)
}
