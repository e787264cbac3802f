package templates

import (
	"bytes"
	"embed"
	"html/template"
	"io"
	"io/fs"
	"sync"
	"time"
)

//go:embed assets
var assets embed.FS

// Assets are the style and the script of the pages.
func Assets() fs.FS {
	sub, err := fs.Sub(assets, "assets")
	if err != nil {
		return assets
	}
	return sub
}

// Page is what every page has.
type Page struct {
	Title   string
	Version string
	Now     time.Time
	// Refresh: the page loads itself anew while it is looked at.
	Refresh bool
}

// RunRow is one run in a list. Ref refers to its pull request as the forge does.
type RunRow struct {
	ID, Repo, Ref, PullTitle, PullURL, Command, User, Summary string
	Running                                                   bool
	Started                                                   time.Time
	Took                                                      time.Duration
}

// LockRow is one lock.
type LockRow struct {
	ID, Repo, Dir, Workspace, Project, Ref, PullTitle, PullURL, User string
	Since                                                            time.Time
	Waiters                                                          []WaiterRow
}

// WaiterRow is one place in line.
type WaiterRow struct {
	Ref, PullURL, PullTitle string
	Since                   time.Time
	Skipped                 bool
}

// DeliveryRow is one webhook delivery.
type DeliveryRow struct {
	At                           time.Time
	Event, Repo, Outcome, Reason string
}

// IndexPage is the first page.
type IndexPage struct {
	Page
	LastWebhook time.Time
	Running     []RunRow
	Recent      []RunRow
	Locks       []LockRow
	Ignored     []DeliveryRow
}

// LocksPage lists the locks.
type LocksPage struct {
	Page
	Locks []LockRow
}

// ReleasePage asks before a lock is released.
type ReleasePage struct {
	Page
	Lock LockRow
}

// JobRow is one job of a run.
type JobRow struct {
	N                    int
	Name, State, Changes string
	Failure, FailureText string
	Log                  string
	Cut                  bool
}

// RunPage is one run with its jobs.
type RunPage struct {
	Page
	Run        RunRow
	Head, Base string
	// Source is what caused the run, in words; empty when that is not known.
	Source string
	// Refused is why the forge does not take the answer, and Answer the answer; empty when it stands there.
	Refused, Answer string
	Jobs            []JobRow
}

// MessagePage says one thing.
type MessagePage struct {
	Page
	Text string
}

const layout = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}} · Tidegate</title><link rel="stylesheet" href="/static/style.css">{{if .Refresh}}<script src="/static/refresh.js" defer></script>{{end}}</head>
<body><header><a class="brand" href="/">Tidegate</a><nav><a href="/">Overview</a> <a href="/locks">Locks</a></nav></header>
<main id="main">{{template "body" .}}</main>
<footer>Tidegate {{.Version}} · {{clock .Now}}</footer></body></html>`

const parts = `{{define "runs"}}<div class="scroll"><table><thead><tr><th>Run</th><th>Pull request</th><th>Answer</th><th>When</th></tr></thead><tbody>
{{range .}}<tr><td><a href="/runs/{{.ID}}">{{.Command}}</a>{{if .User}} <span class="dim">by {{.User}}</span>{{end}}</td>
<td><a href="{{.PullURL}}">{{.Repo}} {{.Ref}}</a> <span class="dim">{{.PullTitle}}</span></td>
<td>{{if .Running}}<span class="badge run">running</span>{{else}}{{.Summary}}{{end}}</td><td class="dim">{{clock .Started}}{{if .Took}}, {{span .Took}}{{end}}</td></tr>{{end}}</tbody></table></div>{{end}}
{{define "waiting"}}{{$some := false}}<ul>{{range $l := .}}{{range .Waiters}}{{$some = true}}<li><a href="{{.PullURL}}">{{$l.Repo}} {{.Ref}}</a> <span class="dim">{{.PullTitle}}</span> waits for <code>{{$l.Dir}}</code>{{if not .Since.IsZero}} <span class="dim">since {{clock .Since}}</span>{{end}}</li>{{end}}{{end}}</ul>{{if not $some}}<p class="empty">Nobody waits for a lock.</p>{{end}}{{end}}
{{define "locks"}}<div class="scroll"><table><thead><tr><th>Project</th><th>Held by</th><th>Since</th><th>Waiting</th><th></th></tr></thead><tbody>
{{range .}}<tr><td><code>{{.Dir}}</code>{{if ne .Workspace "default"}} <span class="dim">({{.Workspace}})</span>{{end}}{{if .Project}} <span class="dim">{{.Project}}</span>{{end}}<br><span class="dim">{{.Repo}}</span></td>
<td><a href="{{.PullURL}}">{{.Ref}}</a> {{.PullTitle}} <span class="dim">by {{.User}}</span></td><td class="dim">{{clock .Since}}</td>
<td>{{range .Waiters}}<a href="{{.PullURL}}">{{.Ref}}</a>{{if .Skipped}} <span class="dim">(skipped)</span>{{end}} {{else}}<span class="dim">nobody</span>{{end}}</td>
<td><a class="button" href="/locks/{{.ID}}">Release</a></td></tr>{{end}}</tbody></table></div>{{end}}`

func bodies() map[string]string {
	return map[string]string{
		"index": `<h1>Overview</h1><p class="dim">{{if .LastWebhook.IsZero}}No webhook has come yet.{{else}}Last webhook {{ago .Now .LastWebhook}} ago.{{end}}</p>
<h2>Running</h2>{{if .Running}}{{template "runs" .Running}}{{else}}<p class="empty">Nothing runs.</p>{{end}}
<h2>Waiting</h2>{{template "waiting" .Locks}}
<h2>Locks</h2>{{if .Locks}}{{template "locks" .Locks}}{{else}}<p class="empty">Nothing is locked.</p>{{end}}
<h2>Last runs</h2>{{if .Recent}}{{template "runs" .Recent}}{{else}}<p class="empty">There was no run yet.</p>{{end}}
<h2>Deliveries that led to nothing</h2>{{if .Ignored}}<div class="scroll"><table><thead><tr><th>When</th><th>Event</th><th>Why</th></tr></thead><tbody>{{range .Ignored}}<tr><td class="dim">{{clock .At}}</td><td>{{.Event}} <span class="dim">{{.Repo}}</span></td><td>{{.Outcome}}: {{.Reason}}</td></tr>{{end}}</tbody></table></div>{{else}}<p class="empty">None.</p>{{end}}`,
		"locks":   `<h1>Locks</h1>{{if .Locks}}{{template "locks" .Locks}}{{else}}<p class="empty">Nothing is locked.</p>{{end}}`,
		"release": `<h1>Release this lock?</h1><p><code>{{.Lock.Dir}}</code>{{if .Lock.Project}}, project <code>{{.Lock.Project}}</code>,{{end}}{{if ne .Lock.Workspace "default"}} in workspace <code>{{.Lock.Workspace}}</code>{{end}} of {{.Lock.Repo}} is held by <a href="{{.Lock.PullURL}}">{{.Lock.Ref}}</a> {{.Lock.PullTitle}} since {{clock .Lock.Since}}.</p><p>Its plan is discarded, and the pull request is told. {{if .Lock.Waiters}}These wait; the first that can is planned: {{range .Lock.Waiters}}<a href="{{.PullURL}}">{{.Ref}}</a> {{end}}{{else}}Nobody waits for it.{{end}}</p><form method="post" action="/locks/{{.Lock.ID}}/release"><button class="button danger">Release the lock</button> <a href="/locks">Keep it</a></form>`,
		"run": `<h1>{{.Run.Command}} on <a href="{{.Run.PullURL}}">{{.Run.Repo}} {{.Run.Ref}}</a></h1><p>{{if .Run.Running}}<span class="badge run">running</span>{{else}}{{.Run.Summary}}{{end}}</p>
<p class="dim">{{.Run.PullTitle}}{{if .Source}} · {{.Source}}{{end}}{{if .Run.User}} · {{.Run.User}}{{end}} · {{clock .Run.Started}}{{if .Run.Took}}, {{span .Run.Took}}{{end}}{{if .Head}} · commit <code title="{{.Head}}">{{sha .Head}}</code>{{end}}{{if .Base}} onto <code title="{{.Base}}">{{sha .Base}}</code>{{end}}</p>
{{if .Refused}}<section id="answer"><h2>The forge does not take this answer</h2><p>{{.Refused}}</p><p>It does not stand on the pull request, and is not posted again. It reads:</p><pre tabindex="0">{{.Answer}}</pre></section>{{end}}
{{range .Jobs}}<section id="{{.N}}"><h2><code>{{.Name}}</code> <span class="badge">{{.State}}</span></h2>{{if .Changes}}<p>{{.Changes}}</p>{{end}}{{if .Failure}}<p><b>{{.Failure}}</b></p>{{end}}{{if .Log}}<pre tabindex="0">{{.Log}}</pre><p class="dim">{{if .Cut}}The log is cut here. {{end}}<a href="/runs/{{$.Run.ID}}/jobs/{{.N}}/log">Whole log</a></p>{{else}}<p class="empty">{{if $.Run.Running}}No output yet.{{else}}Nothing was run.{{end}}</p>{{end}}</section>{{end}}`,
		"message": `<h1>{{.Title}}</h1><p>{{.Text}}</p><p><a href="/">Overview</a></p>`,
	}
}

// pages are the templates by name.
var pages = sync.OnceValue(func() map[string]*template.Template { //nolint:gochecknoglobals // made once, of constants
	out := map[string]*template.Template{}
	for name, body := range bodies() {
		out[name] = template.Must(template.New("page").Funcs(template.FuncMap{
			"clock": func(t time.Time) string { return t.UTC().Format("2 Jan 15:04:05 UTC") },
			"span":  took,
			"sha":   shortSHA,
			"ago":   func(now, then time.Time) string { return took(now.Sub(then)) },
		}).Parse(layout + parts + `{{define "body"}}` + body + `{{end}}`))
	}
	return out
})

// show writes a page whole or not at all.
func show(w io.Writer, name string, data any) error {
	var b bytes.Buffer
	if err := pages()[name].Execute(&b, data); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

// Write writes the page.
func (p IndexPage) Write(w io.Writer) error { return show(w, "index", p) }

// Write writes the page.
func (p LocksPage) Write(w io.Writer) error { return show(w, "locks", p) }

// Write writes the page.
func (p ReleasePage) Write(w io.Writer) error { return show(w, "release", p) }

// Write writes the page.
func (p RunPage) Write(w io.Writer) error { return show(w, "run", p) }

// Write writes the page.
func (p MessagePage) Write(w io.Writer) error { return show(w, "message", p) }
