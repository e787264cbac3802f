package devforge

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
)

// tokenLife is how long the token of an installation is good, as on GitHub.
const tokenLife = time.Hour

// application is an App.
type application struct {
	id      int64
	slug    string
	key     *rsa.PublicKey
	created time.Time
	// hook is its webhook. It is only kept: what happens goes to the webhooks of repositories.
	hook appHook
}

// appHook is the settings of an App's webhook.
type appHook struct {
	URL         string `json:"url"`
	ContentType string `json:"content_type"`
	Secret      string `json:"secret,omitempty"`
	InsecureSSL string `json:"insecure_ssl"`
}

func (a *application) login() string { return a.slug + "[bot]" }

// installed is an App in the repositories of one owner.
type installed struct {
	id        int64
	app       *application
	owner     string
	names     []string // none means all
	created   time.Time
	suspended time.Time
}

func (in *installed) has(r *repository) bool {
	return r.owner == in.owner && (len(in.names) == 0 || slices.Contains(in.names, r.name))
}

// grant is the token of an installation.
type grant struct {
	in   *installed
	may  map[string]string
	ends time.Time
}

// reads reports a token that can change nothing.
func (g grant) reads() bool {
	for _, how := range g.may {
		if how != "read" {
			return false
		}
	}
	return true
}

// CreateApp makes an App whose requests the key's owner signs. It acts as the user slug[bot].
func (f *Forge) CreateApp(slug string, key *rsa.PublicKey) (id int64, err error) {
	if err := f.CreateUser(slug+"[bot]", rand.Text(), rand.Text()); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &application{id: f.nextID(), slug: slug, key: key, created: now(), hook: appHook{ContentType: "form", InsecureSSL: "0"}}
	f.apps = append(f.apps, a)
	return a.id, nil
}

// Install gives an App the repositories of an owner: all those that are there now, or the named ones.
func (f *Forge) Install(app int64, owner string, names ...string) (id int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.apps, func(a *application) bool { return a.id == app })
	if i < 0 {
		return 0, errNotFound
	}
	in := &installed{id: f.nextID(), app: f.apps[i], owner: owner, names: names, created: now()}
	f.installed = append(f.installed, in)
	for _, r := range f.repos {
		if in.has(r) {
			r.permissions[in.app.login()] = "write"
		}
	}
	return in.id, nil
}

// Uninstall takes the repositories away from an App, and ends the installation's tokens.
func (f *Forge) Uninstall(installation int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.installed, func(in *installed) bool { return in.id == installation })
	if i < 0 {
		return errNotFound
	}
	gone := f.installed[i]
	f.installed = slices.Delete(f.installed, i, i+1)
	for token, g := range f.grants {
		if g.in == gone {
			delete(f.grants, token)
		}
	}
	return nil
}

// Suspend has an installation answered with refusals, or ends that.
func (f *Forge) Suspend(installation int64, suspended bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.installed, func(in *installed) bool { return in.id == installation })
	if i < 0 {
		return errNotFound
	}
	f.installed[i].suspended = time.Time{}
	if suspended {
		f.installed[i].suspended = now()
	}
	return nil
}

// granted is the installation whose token a request carries; nil when it carries none, or one that has ended.
func (f *Forge) granted(req *http.Request) *installed { return f.grantOf(req).in }

// grantOf is the token of an installation that a request carries; the zero one when it carries none, or one that has ended.
func (f *Forge) grantOf(req *http.Request) grant {
	_, token, basic := req.BasicAuth()
	if !basic {
		_, token, _ = strings.Cut(req.Header.Get("Authorization"), " ")
	}
	g, ok := f.grants[token]
	if !ok || !time.Now().Before(g.ends) {
		return grant{}
	}
	return g
}

// beyond reports whether a repository is out of reach of the token that a request carries.
func (f *Forge) beyond(req *http.Request, r *repository) bool {
	in := f.granted(req)
	return in != nil && !in.has(r)
}

// appRoutes are what is asked as an App, and not as one of its installations.
func (f *Forge) appRoutes(r chi.Router) {
	r.Get("/app", f.asApp(f.getApp))
	r.Get("/app/hook/config", f.asApp(getAppHook))
	r.Patch("/app/hook/config", f.asApp(setAppHook))
	r.Get("/app/hook/deliveries", f.asApp(func(*application, call) (answer, error) { return answer{body: []any{}}, nil }))
	r.Get("/repos/{owner}/{repo}/installation", f.asApp(f.getInstallation))
	r.Post("/app/installations/{id}/access_tokens", f.asApp(f.createToken))
}

func (f *Forge) asApp(h func(*application, call) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		f.locked(w, req, func(c call) (answer, error) {
			a, err := f.signer(req)
			if err != nil {
				return answer{}, err
			}
			return h(a, c)
		})
	}
}

func unsigned(text string) error { return &apiError{http.StatusUnauthorized, text} }

// signer is the App that has signed a request, by the rules of
// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
func (f *Forge) signer(req *http.Request) (*application, error) {
	token, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	signed, signature, _ := cutLast(token, ".")
	head, body, _ := strings.Cut(signed, ".")
	var header struct{ Alg string }
	var claims struct{ Iss, Iat, Exp json.RawMessage }
	if !unpack(head, &header) || !unpack(body, &claims) || header.Alg != "RS256" {
		return nil, unsigned("A JSON web token could not be decoded")
	}
	id := strings.Trim(string(claims.Iss), `"`)
	i := slices.IndexFunc(f.apps, func(a *application) bool { return strconv.FormatInt(a.id, 10) == id })
	if i < 0 {
		return nil, &apiError{http.StatusNotFound, "Integration not found"}
	}
	sum := sha256.Sum256([]byte(signed))
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || rsa.VerifyPKCS1v15(f.apps[i].key, crypto.SHA256, sum[:], raw) != nil {
		return nil, unsigned("A JSON web token could not be decoded")
	}
	iat, errIat := strconv.ParseInt(string(claims.Iat), 10, 64)
	exp, errExp := strconv.ParseInt(string(claims.Exp), 10, 64)
	switch at := time.Now().Unix(); {
	case errIat != nil || iat > at:
		return nil, unsigned("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	case errExp != nil || exp <= at:
		return nil, unsigned("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	case exp > at+600:
		return nil, unsigned("'Expiration time' claim ('exp') is too far in the future")
	}
	return f.apps[i], nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func unpack(part string, into any) bool {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(raw, into) == nil
}

func (f *Forge) getApp(a *application, _ call) (answer, error) {
	return answer{body: map[string]any{
		"id": a.id, "slug": a.slug, "node_id": fmt.Sprintf("A_%d", a.id), "owner": f.userJSON(a.login()), "name": a.slug, "description": nil,
		"external_url": f.url, "html_url": f.url + "/apps/" + a.slug, "created_at": a.created, "updated_at": a.created,
		"permissions": appMay(), "events": []string{"issue_comment", "pull_request"},
	}}, nil
}

func getAppHook(a *application, _ call) (answer, error) {
	shown := a.hook
	if shown.Secret != "" {
		shown.Secret = "********"
	}
	return answer{body: shown}, nil
}

func setAppHook(a *application, c call) (answer, error) {
	if err := c.decode(&a.hook); err != nil {
		return answer{}, err
	}
	return getAppHook(a, c)
}

func (f *Forge) getInstallation(a *application, c call) (answer, error) {
	i := slices.IndexFunc(f.installed, func(in *installed) bool { return in.app == a && in.has(c.repo) })
	if i < 0 {
		return answer{}, errNotFound
	}
	in := f.installed[i]
	return answer{body: map[string]any{
		"id": in.id, "account": f.userJSON(in.owner), "repository_selection": in.selection(),
		"access_tokens_url": fmt.Sprintf("%s/api/v3/app/installations/%d/access_tokens", f.url, in.id),
		"repositories_url":  f.url + "/api/v3/installation/repositories",
		"html_url":          fmt.Sprintf("%s/settings/installations/%d", f.url, in.id),
		"app_id":            a.id, "app_slug": a.slug, "target_id": f.userJSON(in.owner)["id"], "target_type": "User", "permissions": appMay(),
		"events": []string{"issue_comment", "pull_request"}, "created_at": in.created, "updated_at": in.created,
		"single_file_name": nil, "suspended_by": nil, "suspended_at": moment(in.suspended),
	}}, nil
}

func (f *Forge) createToken(a *application, c call) (answer, error) {
	id, _ := strconv.ParseInt(chi.URLParam(c.req, "id"), 10, 64)
	i := slices.IndexFunc(f.installed, func(in *installed) bool { return in.app == a && in.id == id })
	if i < 0 {
		return answer{}, errNotFound
	}
	in := f.installed[i]
	if !in.suspended.IsZero() {
		return fail(http.StatusForbidden, "This installation has been suspended")
	}
	var asked struct{ Permissions map[string]string }
	if err := c.decode(&asked); err != nil {
		return answer{}, err
	}
	may := appMay()
	for what, how := range asked.Permissions {
		if how != may[what] && (how != "read" || may[what] != "write") {
			return fail(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
		}
	}
	if len(asked.Permissions) > 0 {
		may = asked.Permissions
	}
	token := "ghs_" + rand.Text()
	g := grant{in: in, may: may, ends: now().Add(tokenLife)}
	f.grants[token] = g
	return answer{status: http.StatusCreated, body: map[string]any{
		"token": token, "expires_at": g.ends, "permissions": may, "repository_selection": in.selection(),
	}}, nil
}

func (in *installed) selection() string {
	if len(in.names) == 0 {
		return "all"
	}
	return "selected"
}

// appMay is what an App may do where it is installed.
func appMay() map[string]string {
	return map[string]string{"contents": "write", "issues": "write", "metadata": "read", "pull_requests": "write", "statuses": "write"}
}
