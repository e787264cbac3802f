package giteatest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// AddUser makes a user and answers a token that may do all that the user may.
func (s *Server) AddUser(tb testing.TB, name string) string {
	tb.Helper()
	s.Call(tb, Admin, http.MethodPost, "/admin/users", map[string]any{
		"username": name, "password": password, "email": name + "@example.com", "must_change_password": false,
	}, nil)
	return s.Token(tb, name, "all")
}

// Token makes a token of a user for the given scopes.
func (s *Server) Token(tb testing.TB, name string, scopes ...string) string {
	tb.Helper()
	var made struct {
		SHA1 string `json:"sha1"`
	}
	s.Call(tb, name, http.MethodPost, "/users/"+name+"/tokens", map[string]any{"name": fmt.Sprintf("token %s %d", scopes, s.made.Add(1)), "scopes": scopes}, &made)
	return made.SHA1
}

// Call asks the API as a user, whose answer goes into out unless that is nil.
func (s *Server) Call(tb testing.TB, user, method, path string, in, out any) {
	tb.Helper()
	status, raw := s.Ask(tb, user, method, path, in)
	if status >= http.StatusMultipleChoices {
		tb.Fatalf("%s %s as %s: %d %s", method, path, user, status, raw)
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			tb.Fatalf("%s %s as %s: %v", method, path, user, err)
		}
	}
}

// Ask asks the API as a user and answers whatever it says.
func (s *Server) Ask(tb testing.TB, user, method, path string, in any) (status int, answer []byte) {
	tb.Helper()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			tb.Fatal(err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(tb.Context(), method, s.URL+"/api/v1"+path, body)
	if err != nil {
		tb.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.StatusCode, answer
}

// Git runs git as a user: a URL of the server is asked with the user's password. It answers what git says.
func (s *Server) Git(tb testing.TB, user string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "git", args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url." + strings.Replace(s.URL, "://", "://"+user+":"+password+"@", 1) + "/.insteadOf",
		"GIT_CONFIG_VALUE_0=" + s.URL + "/",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("git %v as %s: %v\n%s", args, user, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Clone is a working copy of a repository.
type Clone struct {
	*Server
	// Dir is where it lies, URL where it comes from.
	Dir, URL string
	// api is its path below the API.
	api string
}

// AddRepo makes a private repository of a user with one commit on main, and answers a clone of it.
func (s *Server) AddRepo(tb testing.TB, owner, name string) *Clone {
	tb.Helper()
	s.Call(tb, owner, http.MethodPost, "/user/repos", map[string]any{"name": name, "private": true, "default_branch": "main"}, nil)
	c := &Clone{Server: s, Dir: filepath.Join(tb.TempDir(), name), URL: s.URL + "/" + owner + "/" + name + ".git", api: "/repos/" + owner + "/" + name}
	s.Git(tb, owner, "init", "-q", "-b", "main", c.Dir)
	c.Commit(tb, "one")
	c.Push(tb, owner, "main")
	return c
}

// AddMember lets a user into a repository: read, write or admin.
func (s *Server) AddMember(tb testing.TB, owner, repo, user, may string) {
	tb.Helper()
	s.Call(tb, owner, http.MethodPut, fmt.Sprintf("/repos/%s/%s/collaborators/%s", owner, repo, user), map[string]any{"permission": may}, nil)
}

// AddHook has a repository tell everything to an address.
func (s *Server) AddHook(tb testing.TB, owner, repo, to, secret, kind string) {
	tb.Helper()
	s.Call(tb, owner, http.MethodPost, fmt.Sprintf("/repos/%s/%s/hooks", owner, repo), map[string]any{
		"type": "gitea", "active": true, "config": map[string]any{"url": to, "content_type": kind, "secret": secret},
		"events": []string{
			"push", "create", "delete", "issues", "issue_comment", "pull_request", "pull_request_assign", "pull_request_label",
			"pull_request_milestone", "pull_request_comment", "pull_request_review_approved", "pull_request_review_rejected",
			"pull_request_review_comment", "pull_request_sync", "pull_request_review_request", "repository", "release",
		},
	}, nil)
}

// Commit writes main.tf and commits it. It answers the commit.
func (c *Clone) Commit(tb testing.TB, text string) string {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(c.Dir, "main.tf"), []byte("# "+text+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	c.Git(tb, Admin, "-C", c.Dir, "add", "-A")
	c.Git(tb, Admin, "-C", c.Dir, "commit", "-q", "-m", text)
	return c.Head(tb)
}

// Head is the commit that is checked out.
func (c *Clone) Head(tb testing.TB) string {
	tb.Helper()
	return c.Git(tb, Admin, "-C", c.Dir, "rev-parse", "HEAD")
}

// Branch starts a branch at the commit that is checked out.
func (c *Clone) Branch(tb testing.TB, name string) {
	tb.Helper()
	c.Git(tb, Admin, "-C", c.Dir, "checkout", "-q", "-B", name)
}

// Push pushes what is checked out to a branch, or to a full ref. It waits until the forge knows of the branch: it
// takes pushes in from a queue.
func (c *Clone) Push(tb testing.TB, user, to string, options ...string) {
	tb.Helper()
	ref := to
	if !strings.HasPrefix(to, "refs/") {
		ref = "refs/heads/" + to
	}
	args := append([]string{"-C", c.Dir, "push", "-q", "-f"}, options...)
	c.Git(tb, user, append(args, c.URL, "HEAD:"+ref)...)
	if ref == to {
		return
	}
	t := time.NewTicker(look)
	defer t.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-t.C {
		var known struct {
			Commit struct{ ID string }
		}
		status, raw := c.Ask(tb, Admin, http.MethodGet, c.api+"/branches/"+to, nil)
		if status == http.StatusOK && json.Unmarshal(raw, &known) == nil && known.Commit.ID == c.Head(tb) {
			return
		}
	}
	tb.Fatalf("the forge does not learn of the push to %s", to)
}
