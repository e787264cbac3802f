package devforge

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/renderer/html"
)

//go:embed assets
var assets embed.FS

const cookie = "devforge_user"

// pages serves what people see: the list of pull requests, a pull request, a commit, a file.
func (f *Forge) pages(r chi.Router) {
	static, err := fs.Sub(assets, "assets")
	if err != nil {
		static = assets
	}
	r.Group(func(r chi.Router) {
		r.Use(pageHeaders, http.NewCrossOriginProtection().Handler)
		r.Handle("/-/static/*", http.StripPrefix("/-/static/", http.FileServerFS(static)))
		r.Post("/-/act-as", f.actAs)
		r.Get("/", f.showRepos)
		r.Get("/{owner}/{repo}", f.showRepo)
		r.Get("/{owner}/{repo}/pull/{n}", f.showPull)
		r.Post("/{owner}/{repo}/pull/{n}/{do}", f.do)
		r.Get("/{owner}/{repo}/commit/{sha}", f.showCommit)
		r.Get("/{owner}/{repo}/blob/{sha}/*", f.showFile)
	})
}

func pageHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// viewer is the user a page's visitor acts as: a person of the forge, chosen on the page.
func (f *Forge) viewer(r *http.Request) string {
	if c, err := r.Cookie(cookie); err == nil && f.users[c.Value] != nil && f.users[c.Value].person {
		return c.Value
	}
	if p := f.people(); len(p) > 0 {
		return p[0]
	}
	return ""
}

func (f *Forge) people() []string {
	var out []string
	for _, u := range f.users {
		if u.person {
			out = append(out, u.login)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return int(f.users[a].id - f.users[b].id) })
	return out
}

// ownPath is a path of these pages, and no other host.
var ownPath = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`^/([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*/?)?$`)
})

func (f *Forge) actAs(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: url.QueryEscape(r.FormValue("user")), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	back := r.FormValue("back")
	if !ownPath().MatchString(back) {
		back = "/"
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// view is what the templates see.
type view struct {
	Title, Path, Viewer string
	People              []string
	Repo                string
	Repos               []string
	Pulls               []pullView
	Pull                *pullView
	Text                template.HTML
	Message             string
	Files               []fileDiff
}

type pullView struct {
	Number                     int
	Title, Author, State       string
	Head, Base                 string
	Body                       template.HTML
	Created                    time.Time
	Comments                   []commentView
	Statuses                   []*status
	Reviews                    []*review
	Files                      []fileDiff
	Mergeable, MayWrite, IsOwn bool
	Count                      int
}

type commentView struct {
	ID      int64
	Author  string
	Body    template.HTML
	At      time.Time
	Folded  bool
	Bot     bool
	Reacted bool
}

type fileDiff struct {
	Name  string
	Lines []diffLine
}

type diffLine struct {
	Kind, Text string
}

func (f *Forge) render(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	v.Path, v.Viewer, v.People = r.URL.Path, f.viewer(r), f.people()
	t, err := template.New("").Funcs(template.FuncMap{
		"ago":   func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
		"short": func(s string) string { return s[:min(7, len(s))] },
		"lower": strings.ToLower,
	}).ParseFS(assets, "assets/*.html")
	var b bytes.Buffer
	if err == nil {
		err = t.ExecuteTemplate(&b, name, v)
	}
	if err != nil {
		f.log.Error("showing a page", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func (f *Forge) lost(w http.ResponseWriter, r *http.Request) {
	f.render(w, r, http.StatusNotFound, "message.html", view{Title: "Not found", Message: "There is nothing here."})
}

func (f *Forge) showRepos(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := view{Title: "Repositories"}
	for name := range f.repos {
		v.Repos = append(v.Repos, name)
	}
	slices.Sort(v.Repos)
	f.render(w, r, http.StatusOK, "repos.html", v)
}

func (f *Forge) repoOf(r *http.Request) *repository {
	return f.repos[chi.URLParam(r, "owner")+"/"+chi.URLParam(r, "repo")]
}

func (f *Forge) showRepo(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	repo := f.repoOf(r)
	if repo == nil {
		f.lost(w, r)
		return
	}
	v := view{Title: repo.full(), Repo: repo.full()}
	for _, p := range slices.Backward(repo.pulls) {
		v.Pulls = append(v.Pulls, pullView{Number: p.number, Title: p.title, Author: p.author, State: stateWord(p), Created: p.created, Count: len(p.comments)})
	}
	f.render(w, r, http.StatusOK, "repo.html", v)
}

func stateWord(p *pull) string {
	switch {
	case p.merged:
		return "merged"
	case p.state == "open" && p.draft:
		return "draft"
	default:
		return p.state
	}
}

func (f *Forge) pullOf(r *http.Request) (*repository, *pull) {
	repo := f.repoOf(r)
	n, err := strconv.Atoi(chi.URLParam(r, "n"))
	if repo == nil || err != nil || n < 1 || n > len(repo.pulls) {
		return nil, nil
	}
	return repo, repo.pulls[n-1]
}

func (f *Forge) showPull(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	repo, p := f.pullOf(r)
	if p == nil {
		f.lost(w, r)
		return
	}
	v := f.pullView(repo, p, f.viewer(r))
	f.render(w, r, http.StatusOK, "pull.html", view{Title: fmt.Sprintf("%s · #%d", p.title, p.number), Repo: repo.full(), Pull: &v})
}

func (f *Forge) pullView(repo *repository, p *pull, viewer string) pullView {
	v := pullView{
		Number: p.number, Title: p.title, Author: p.author, State: stateWord(p), Head: p.headRef, Base: p.baseRef, Body: markdown(p.body),
		Created: p.created, Mergeable: p.state == "open" && !p.draft && f.mergeable(repo, p), MayWrite: repo.mayWrite(viewer),
		IsOwn: viewer == p.author, Reviews: p.reviews,
	}
	for _, c := range p.comments {
		u := f.users[c.author]
		v.Comments = append(v.Comments, commentView{
			ID: c.id, Author: c.author, Body: markdown(c.body), At: c.created, Folded: c.folded, Bot: u != nil && !u.person, Reacted: len(c.reactions) > 0,
		})
	}
	seen := map[string]bool{}
	for _, s := range slices.Backward(repo.statuses[p.headSHA]) {
		if !seen[s.Context] {
			seen[s.Context] = true
			v.Statuses = append(v.Statuses, s)
		}
	}
	slices.SortFunc(v.Statuses, func(a, b *status) int { return strings.Compare(b.Context, a.Context) })
	base := p.baseSHA
	if p.merged {
		base = p.mergeSHA + "^1"
	}
	if out, err := f.in(repo, "diff", "--no-color", "--no-ext-diff", base+"..."+p.headSHA); err == nil {
		v.Files = parseDiff(out)
	}
	return v
}

// do carries out what a button of a pull request's page asks for.
func (f *Forge) do(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	repo, p := f.pullOf(r)
	by := f.viewer(r)
	if p == nil || by == "" {
		f.lost(w, r)
		return
	}
	if err := f.act(repo, p, by, chi.URLParam(r, "do"), r.FormValue("body")); err != nil {
		f.render(w, r, http.StatusForbidden, "message.html", view{Title: "Not done", Message: err.Error(), Repo: repo.full()})
		return
	}
	http.Redirect(w, r, fmt.Sprintf("/%s/pull/%d", repo.full(), p.number), http.StatusSeeOther)
}

func (f *Forge) act(repo *repository, p *pull, by, what, text string) error {
	if what != "comment" && !repo.mayWrite(by) {
		return fmt.Errorf("%s may only read this repository; act as somebody who may write", by)
	}
	switch what {
	case "comment":
		if err := checkBody(text); err != nil {
			return err
		}
		f.addComment(repo, p, by, strings.ReplaceAll(text, "\r\n", "\n"))
	case "approve":
		p.reviews = append(p.reviews, &review{id: f.nextID(), Author: by, State: "APPROVED", at: now(), sha: p.headSHA})
	case "merge":
		_, err := f.mergeBy(repo, p, by, "", repo.methods[0])
		return err
	case "close":
		f.setState(repo, p, "closed", by)
	case "reopen":
		f.setState(repo, p, "open", by)
	default:
		return errNotFound
	}
	return nil
}

var shaForm = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`^[0-9a-f]{7,40}$`)
})

func (f *Forge) showCommit(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	repo, sha := f.repoOf(r), chi.URLParam(r, "sha")
	if repo == nil || !shaForm().MatchString(sha) {
		f.lost(w, r)
		return
	}
	out, err := f.in(repo, "show", "--no-color", "--no-ext-diff", "--format=%s", sha)
	if err != nil {
		f.lost(w, r)
		return
	}
	title, diff, _ := strings.Cut(out, "\n")
	f.render(w, r, http.StatusOK, "commit.html", view{Title: title, Message: sha, Repo: repo.full(), Files: parseDiff(diff)})
}

func (f *Forge) showFile(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	repo, sha, path := f.repoOf(r), chi.URLParam(r, "sha"), chi.URLParam(r, "*")
	if repo == nil || !shaForm().MatchString(sha) {
		f.lost(w, r)
		return
	}
	out, err := f.in(repo, "cat-file", "blob", sha+":"+path)
	if err != nil {
		f.lost(w, r)
		return
	}
	v := view{Title: path, Repo: repo.full(), Message: sha, Files: []fileDiff{{Name: path}}}
	for _, line := range strings.Split(out, "\n") {
		v.Files[0].Lines = append(v.Files[0].Lines, diffLine{"ctx", line})
	}
	f.render(w, r, http.StatusOK, "commit.html", v)
}

// parseDiff reads git's unified diff.
func parseDiff(out string) []fileDiff {
	var files []fileDiff
	for _, line := range strings.Split(out, "\n") {
		if name, ok := strings.CutPrefix(line, "diff --git a/"); ok {
			name, _, _ = strings.Cut(name, " b/")
			files = append(files, fileDiff{Name: name})
			continue
		}
		if len(files) == 0 {
			continue
		}
		last := &files[len(files)-1]
		switch {
		case strings.HasPrefix(line, "@@"):
			last.Lines = append(last.Lines, diffLine{"hunk", line})
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"), len(last.Lines) == 0:
		case strings.HasPrefix(line, "+"):
			last.Lines = append(last.Lines, diffLine{"add", line})
		case strings.HasPrefix(line, "-"):
			last.Lines = append(last.Lines, diffLine{"del", line})
		default:
			last.Lines = append(last.Lines, diffLine{"ctx", line})
		}
	}
	return files
}

// markdown renders a comment as GitHub does: GFM, single line breaks kept, raw HTML sanitised.
func markdown(text string) template.HTML {
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(html.WithHardWraps(), html.WithUnsafe()))
	var b bytes.Buffer
	if err := md.Convert([]byte(text), &b); err != nil {
		return template.HTML(template.HTMLEscapeString(text))
	}
	p := bluemonday.UGCPolicy()
	p.AllowElements("details", "summary", "sub")
	p.AllowAttrs("open").OnElements("details")
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^language-[a-z]+$`)).OnElements("code")
	return template.HTML(colourDiff(p.Sanitize(b.String())))
}

var diffBlock = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`(?s)<code class="language-diff">(.*?)</code>`)
})

// colourDiff marks the lines of diff blocks, as forges do.
func colourDiff(page string) string {
	return diffBlock().ReplaceAllStringFunc(page, func(block string) string {
		inner := diffBlock().FindStringSubmatch(block)[1]
		lines := strings.Split(strings.TrimSuffix(inner, "\n"), "\n")
		for i, l := range lines {
			kind := ""
			switch {
			case strings.HasPrefix(l, "+"):
				kind = "add"
			case strings.HasPrefix(l, "-"):
				kind = "del"
			case strings.HasPrefix(l, "!"):
				kind = "chg"
			}
			if kind != "" {
				lines[i] = `<span class="` + kind + `">` + l + `</span>`
			}
		}
		return `<code class="language-diff">` + strings.Join(lines, "\n") + `</code>`
	})
}
