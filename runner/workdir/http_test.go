package workdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	testUser     = "x-access-token"
	testPassword = "s3cret/päss word+%41"
)

// gitServer is real smart HTTP with a password.
type gitServer struct {
	*httptest.Server
	mu sync.Mutex
	// during is called while git waits for an answer to a request that had the credential.
	during func()
	asked  int
	// paths are what was asked for with it.
	paths []string
}

func newGitServer(t *testing.T, src *source) *gitServer {
	t.Helper()
	return serveGit(t, map[string]*source{"/acme/infra.git": src})
}

// serveGit serves repositories by their paths.
func serveGit(t *testing.T, repos map[string]*source) *gitServer {
	t.Helper()
	g := &gitServer{}
	backend := http.NewServeMux()
	for path, src := range repos {
		backend.Handle(path+"/", &cgi.Handler{
			Path: filepath.Join(src.git(t, "--exec-path"), "git-http-backend"),
			Root: path,
			Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Join(src.dir, ".git"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null"},
		})
	}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		if !ok || user != testUser || password != testPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			// What a careless proxy does.
			http.Error(w, fmt.Sprintf("no access for %s with %s (%s)", user, password, r.Header.Get("Authorization")), http.StatusUnauthorized)
			return
		}
		g.mu.Lock()
		g.asked++
		g.paths = append(g.paths, r.URL.Path)
		if g.during != nil {
			g.during()
		}
		g.mu.Unlock()
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gitServer) repo(password string) Repo {
	return Repo{
		Forge: "git.example.org:8443", ID: 42, URL: g.URL + "/acme/infra.git",
		Credential: func(context.Context) (string, string, error) { return testUser, password, nil },
	}
}

func simpleSource(t *testing.T) *source {
	t.Helper()
	src := newSource(t)
	src.write(t, "a", "a")
	src.commit(t)
	src.branch(t, "head", "main")
	src.write(t, "b", "b")
	src.commit(t)
	src.pull(t, 7)
	return src
}

func TestTheCredentialIsNowhereToBeSeen(t *testing.T) {
	t.Parallel()
	server := newGitServer(t, simpleSource(t))
	server.during = func() {
		if where := inProcesses(t, testPassword); where != "" {
			t.Errorf("the password is in %s", where)
		}
	}
	data := t.TempDir()
	s := openStore(t, data)
	repo := server.repo(testPassword)
	for range 2 {
		merge, err := s.Merge(t.Context(), repo, request(7))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Checkout(t.Context(), repo, 7, "default", merge); err != nil {
			t.Fatal(err)
		}
	}
	if server.asked == 0 {
		t.Error("the server was never asked with the credential: nothing was proved")
	}
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if strings.Contains(readFile(t, path), testPassword) {
			t.Errorf("the password is in %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCredentialIsRenewed: a password that was refused is told of, and the one in its place tried, once.
func TestCredentialIsRenewed(t *testing.T) {
	t.Parallel()
	server := newGitServer(t, simpleSource(t))
	for name, tt := range map[string]struct {
		next  string
		renew bool
		is    error
	}{
		"another one": {testPassword, true, nil}, "none": {"wr0ng", false, ErrUnauthorized}, "as bad a one": {"wr0ng", true, ErrUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo, password := server.repo(""), "revoked"
			var refused []string
			repo.Credential = func(context.Context) (string, string, error) { return testUser, password, nil }
			repo.Refused = func(_ context.Context, which string) bool {
				refused, password = append(refused, which), tt.next
				return tt.renew
			}
			_, err := openStore(t, t.TempDir()).Merge(t.Context(), repo, request(7))
			if !errors.Is(err, tt.is) || len(refused) == 0 || refused[0] != "revoked" || tt.is == nil && len(refused) > 1 {
				t.Errorf("Merge() = %v, want %v; refused %q", err, tt.is, refused)
			}
		})
	}
}

func TestMergeWithoutAccess(t *testing.T) {
	t.Parallel()
	server := newGitServer(t, simpleSource(t))
	none := server.repo("")
	none.Credential = nil
	failing := server.repo("")
	failing.Credential = func(context.Context) (string, string, error) { return "", "", fs.ErrPermission }
	inURL := server.repo("")
	inURL.URL = strings.Replace(inURL.URL, "http://", "http://user:hunter2@", 1)
	broken := inURL
	broken.URL += "\x7f"
	elsewhere := server.repo(testPassword)
	elsewhere.URL = "ssh://example.org/x"
	for name, test := range map[string]struct {
		repo Repo
		is   error
		want string
	}{
		"wrong password":      {server.repo("wr0ng-hunter2"), ErrUnauthorized, "Authentication failed"},
		"no password":         {none, ErrUnauthorized, "terminal prompts disabled"},
		"line break":          {server.repo("hunter2\nhost=evil"), nil, "contains a line break"},
		"no credential to be": {failing, fs.ErrPermission, "getting the credential for 127.0.0.1"},
		"password in the URL": {inURL, nil, "contains a user or password"},
		"broken URL":          {broken, nil, "not a URL"},
		"other protocol":      {elsewhere, nil, "neither http, https nor file"},
		"helper":              {Repo{Forge: "f", ID: 1, URL: "ext::sh -c id"}, nil, "neither http, https nor file"},
		"path":                {Repo{Forge: "f", ID: 1, URL: "/etc"}, nil, "neither http, https nor file"},
		"other forge":         {Repo{Forge: "../../etc", ID: 1, URL: "file:///x"}, nil, "not a forge's host name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := openStore(t, t.TempDir()).Merge(t.Context(), test.repo, request(7))
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Fatalf("Merge() = %v, want %q in it", err, test.want)
			}
			for _, secret := range []string{"hunter2", "eC1hY2Nlc3M"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error %q has %q in it", err, secret)
				}
			}
		})
	}
}

// The server's own environment and home are an operator's, for interactive use.
func TestAHostileEnvironmentHasNoEffect(t *testing.T) {
	server := newGitServer(t, simpleSource(t))
	home := t.TempDir()
	trap := filepath.Join(home, "trap")
	writeFile(t, filepath.Join(home, "hooks", "reference-transaction"), "#!/bin/sh\ntouch '"+trap+"'\n")
	if err := os.Chmod(filepath.Join(home, "hooks", "reference-transaction"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := "[core]\n\thooksPath = " + home + "/hooks\n\tfsmonitor = touch " + trap + "\n" +
		"[url \"file:///nonexistent/\"]\n\tinsteadOf = http://\n" +
		"[credential]\n\thelper = \"!touch " + trap + "; echo username=evil; echo password=evil\"\n" +
		"[commit]\n\tgpgsign = true\n[user]\n\tname = Evil\n[init]\n\tdefaultBranch = evil\n\ttemplateDir = " + home + "\n" +
		"[core]\n\tattributesFile = " + home + "/attributes\n[filter \"x\"]\n\tsmudge = touch " + trap + "\n"
	writeFile(t, filepath.Join(home, ".gitconfig"), config)
	writeFile(t, filepath.Join(home, ".config", "git", "config"), config)
	writeFile(t, filepath.Join(home, ".config", "git", "attributes"), "* eol=crlf filter=x\n")
	writeFile(t, filepath.Join(home, ".netrc"), "default login evil password evil\n")
	for name, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": home + "/.config", "GIT_DIR": home, "GIT_WORK_TREE": home, "GIT_INDEX_FILE": home + "/index",
		"GIT_OBJECT_DIRECTORY": home, "GIT_NAMESPACE": "evil", "GIT_ASKPASS": "touch " + trap, "SSH_ASKPASS": "touch " + trap,
		"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "url.file:///nonexistent/.insteadOf", "GIT_CONFIG_VALUE_0": "http://",
		"GIT_CONFIG_PARAMETERS": "'url.file:///nonexistent/.insteadof'='http://'", "GIT_CONFIG_GLOBAL": home + "/.gitconfig",
		"GIT_AUTHOR_NAME": "Evil", "GIT_COMMITTER_DATE": "@1 +0000", "GIT_TRACE": trap, "GIT_TRACE_CURL": trap,
		"GIT_TEMPLATE_DIR": home, "GIT_DEFAULT_HASH": "sha256", "GIT_SSL_NO_VERIFY": "1", "GIT_ALLOW_PROTOCOL": "ext",
		"GIT_EXTERNAL_DIFF": "touch " + trap, "GIT_ATTR_SOURCE": "HEAD", "GIT_PROXY_COMMAND": "touch " + trap,
	} {
		t.Setenv(name, value)
	}
	s := openStore(t, t.TempDir())
	repo := server.repo(testPassword)
	merge, err := s.Merge(t.Context(), repo, request(7))
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Checkout(t.Context(), repo, 7, "default", merge)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Changed(t.Context(), repo, merge); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, filepath.Join(c.Root, "b")); got != "b" {
		t.Errorf("b = %q, want %q", got, "b")
	}
	if exists(t, trap) {
		t.Error("something of the environment was used")
	}
	clean := openStore(t, t.TempDir())
	if again, err := clean.Merge(t.Context(), repo, request(7)); err != nil || again != merge {
		t.Errorf("Merge() = %+v, %v, want %+v", again, err, merge)
	}
}

// TestTheCredentialIsNotLedAway: a forge, or who sits before it, that leads elsewhere does not lead the credential there.
func TestTheCredentialIsNotLedAway(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var heard []string
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, r.Header.Get("Authorization"))
		w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
		http.Error(w, "who are you", http.StatusUnauthorized)
	}))
	t.Cleanup(thief.Close)
	for name, after := range map[string]bool{"at once": false, "after it was asked": true} {
		forge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _, ok := r.BasicAuth(); after && !ok {
				w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			http.Redirect(w, r, thief.URL+r.URL.String(), http.StatusFound)
		}))
		t.Cleanup(forge.Close)
		_, err := openStore(t, t.TempDir()).Merge(t.Context(), (&gitServer{Server: forge}).repo(testPassword), request(7))
		if !errors.Is(err, ErrUnauthorized) || strings.Contains(err.Error(), testPassword) {
			t.Errorf("%s: Merge() = %v", name, err)
		}
	}
	if len(heard) < 2 || strings.Join(heard, "") != "" {
		t.Errorf("who it was led to heard %q", heard)
	}
}
