package gitea_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tidegate/tidegate/vcs"
	"github.com/tidegate/tidegate/vcs/gitea"
	"github.com/tidegate/tidegate/vcs/internal/forgetest"
)

const (
	madeComment = `{"id":5,"body":"hi","user":{"login":"tidegate-bot"},"created_at":"2026-03-01T12:00:00Z"}`
	wrongToken  = `{"message":"invalid username, password or token","url":"https://gitea.com/api/swagger"}`
	noWord      = `{"message":"","url":"https://gitea.com/api/swagger"}`
	notFound    = `{"errors":null,"message":"not found","url":"https://gitea.com/api/swagger"}`
)

func somePull() vcs.Pull {
	return vcs.Pull{
		Repo: vcs.Repo{
			ID: vcs.RepoID{Forge: "gitea.com", ID: 7}, Owner: "acme", Name: "infra",
			CloneURL: "https://gitea.com/acme/infra.git", URL: "https://gitea.com/acme/infra",
		},
		Number: 12, Author: "ana",
	}
}

type call func(ctx context.Context, c *gitea.Client) error

func about() forgetest.Calls { return forgetest.Calls{Pull: somePull()} }

func create(ctx context.Context, c *gitea.Client) error { return about().Create(ctx, c) }
func edit(ctx context.Context, c *gitea.Client) error   { return about().Edit(ctx, c) }
func remove(ctx context.Context, c *gitea.Client) error { return about().Remove(ctx, c) }
func status(ctx context.Context, c *gitea.Client) error { return about().Status(ctx, c) }
func list(ctx context.Context, c *gitea.Client) error   { return about().List(ctx, c) }
func read(ctx context.Context, c *gitea.Client) error   { return about().Read(ctx, c) }

func fold(ctx context.Context, c *gitea.Client) error {
	return c.Fold(ctx, somePull(), []vcs.Comment{{ID: 5}})
}

func permission(ctx context.Context, c *gitea.Client) error {
	may, err := c.Permission(ctx, somePull().Repo, "ana")
	if may != vcs.NoPermission {
		return fmt.Errorf("permission %d, want none", may)
	}
	return err
}

func approval(ctx context.Context, c *gitea.Client) error {
	a, err := c.Approval(ctx, somePull())
	if a.Approved {
		return errors.New("it is approved")
	}
	return err
}

func TestRetry(t *testing.T) {
	t.Parallel()
	reply, cut, times := forgetest.Reply, forgetest.Cut, forgetest.Times
	type steps = []forgetest.Step
	ok := reply(200, `[]`)
	folded, _ := jsonOf(map[string]any{"id": 5, "body": "<details><summary>Outdated</summary>\n\nx\n\n</details>\n\n"})
	for _, tt := range []struct {
		do call
		forgetest.Try
	}{
		{list, forgetest.Try{Name: "at once", Steps: steps{ok}}},
		{list, forgetest.Try{Name: "a fault", Steps: steps{reply(502, `<html>`), cut(io.ErrUnexpectedEOF), forgetest.Refused, reply(200, `[{"id":`), ok}, Want: []int{0, 1, 2, 4}}},
		{list, forgetest.Try{Name: "faults without end", Steps: times(40, reply(503, `{"message":"oops"}`)), Want: []int{0, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30, 30, 30}, Text: "oops"}},
		{list, forgetest.Try{Name: "a request that hangs", Steps: steps{forgetest.Hangs, ok}, Want: []int{30}}},
		{list, forgetest.Try{Name: "answers that say nothing", Steps: steps{reply(200, ``), reply(200, "\n"), reply(200, "null\n")}, Want: []int{0, 1}}},
		{status, forgetest.Try{Name: "status is sent again", Steps: steps{reply(503, ``), reply(201, `{}`)}, Want: []int{0}}},
		{edit, forgetest.Try{Name: "edit is sent again", Steps: steps{cut(io.EOF), reply(200, madeComment)}, Want: []int{0}}},
		{remove, forgetest.Try{Name: "delete is sent again and finds nothing", Steps: steps{forgetest.Hangs, reply(404, notFound)}, Want: []int{30}}},
		{create, forgetest.Try{Name: "created", Steps: steps{reply(201, madeComment)}}},
		{create, forgetest.Try{Name: "created, after no connection", Steps: steps{forgetest.Refused, reply(201, madeComment)}, Want: []int{0}}},
		{create, forgetest.Try{Name: "created or not", Steps: steps{cut(io.EOF)}, Err: vcs.ErrInDoubt}},
		{create, forgetest.Try{Name: "created or not, with a status", Steps: steps{reply(502, ``)}, Err: vcs.ErrInDoubt}},
		{create, forgetest.Try{Name: "created, says half an answer", Steps: steps{reply(201, `{"id":`)}, Err: vcs.ErrInDoubt}},
		{create, forgetest.Try{Name: "created, says an answer that is none", Steps: steps{reply(201, `{}`)}, Err: vcs.ErrInDoubt}},

		{list, forgetest.Try{Name: "the token is wrong", Steps: times(9, reply(401, wrongToken)), Want: []int{0, 1, 2}, Text: "token is wrong or has expired"}},
		{list, forgetest.Try{Name: "a token that is not known yet", Steps: steps{reply(401, wrongToken), ok}, Want: []int{0}}},
		{create, forgetest.Try{Name: "a comment with a token that is not known yet", Steps: steps{reply(401, wrongToken), reply(401, wrongToken), reply(201, madeComment)}, Want: []int{0, 1}}},
		{list, forgetest.Try{Name: "too fast", Steps: steps{reply(429, `{"message":"slow"}`, "Retry-After", "7"), ok}, Want: []int{7}}},
		{list, forgetest.Try{Name: "too fast, and told to come at once", Steps: append(times(4, reply(429, ``, "Retry-After", "0")), ok), Want: []int{2, 3, 5, 9}}},
		{list, forgetest.Try{Name: "down for some seconds", Steps: steps{reply(503, ``, "Retry-After", "20"), ok}, Want: []int{20}}},
		{list, forgetest.Try{Name: "down, it says for an hour", Steps: times(40, reply(503, `{"message":"oops"}`, "Retry-After", "3600")), Want: []int{30, 30, 30, 30, 30, 30, 30, 30, 30}, Text: "oops"}},

		// What is not there is answered 500, without a word.
		{list, forgetest.Try{Name: "no such pull request", Steps: steps{reply(500, noWord), reply(404, notFound)}, Want: []int{0}, Err: vcs.ErrNotFound}},
		{create, forgetest.Try{Name: "a comment on no pull request", Steps: steps{reply(500, noWord), reply(404, notFound)}, Want: []int{0}, Err: vcs.ErrNotFound}},
		{status, forgetest.Try{Name: "a status of no commit", Steps: steps{reply(500, noWord), reply(404, notFound)}, Want: []int{0}, Err: vcs.ErrNotFound}},
		{list, forgetest.Try{Name: "a fault, the pull request is there", Steps: steps{reply(500, noWord), reply(200, `{}`), ok}, Want: []int{0, 0}}},
		{create, forgetest.Try{Name: "a doubt, the pull request is there", Steps: steps{reply(500, noWord), reply(200, `{}`)}, Want: []int{0}, Err: vcs.ErrInDoubt}},
		{create, forgetest.Try{Name: "a doubt, and nobody knows of the pull request", Steps: steps{reply(500, noWord), cut(io.EOF)}, Want: []int{0}, Err: vcs.ErrInDoubt}},
		{list, forgetest.Try{Name: "a fault, and the pull request is not shown", Steps: steps{reply(500, noWord), reply(403, noWord), ok}, Want: []int{0, 0}}},
		{status, forgetest.Try{Name: "a fault, the commit is there", Steps: steps{reply(500, noWord), reply(200, `{}`), reply(201, `{}`)}, Want: []int{0, 0}}},

		{read, forgetest.Try{Name: "not found", Steps: steps{reply(404, notFound)}, Err: vcs.ErrNotFound}},
		{edit, forgetest.Try{Name: "forbidden", Steps: steps{reply(403, `{"message":"no"}`)}, Err: vcs.ErrRefused, Text: "403: no"}},
		{edit, forgetest.Try{Name: "archived", Steps: steps{reply(423, `{"message":"archived"}`)}, Err: vcs.ErrRefused, Text: "archived"}},
		{status, forgetest.Try{Name: "unprocessable", Steps: steps{reply(422, `{"message":"no"}`)}, Err: vcs.ErrRefused}},
		{permission, forgetest.Try{Name: "permission: nobody", Steps: steps{reply(404, notFound)}}},
		{permission, forgetest.Try{Name: "permission: not an administrator", Steps: steps{reply(403, `{"message":"Only admins"}`)}, Err: vcs.ErrRefused, Text: "must be an administrator of acme/infra"}},
		{permission, forgetest.Try{Name: "permission: an answer that is none", Steps: steps{reply(200, `{"permission":"superb"}`)}}},
		{approval, forgetest.Try{Name: "approval: reviews of nobody", Steps: steps{reply(200, `[{"state":"APPROVED"},{"state":"APPROVED","user":{"login":"../x"}},{"state":"APPROVED","user":{"login":"Ana"}}]`, "X-Total-Count", "3")}}},
		{approval, forgetest.Try{Name: "approval: an official review that was dismissed", Steps: steps{reply(200, `[{"state":"APPROVED","official":true,"dismissed":true,"user":{"login":"raj"}}]`, "X-Total-Count", "1")}}},
		{approval, forgetest.Try{Name: "approval: who may is not told", Steps: steps{reply(200, `[{"state":"APPROVED","user":{"login":"raj"}}]`, "X-Total-Count", "1"), reply(403, `{"message":"no"}`)}, Want: []int{0}, Err: vcs.ErrRefused}},

		{fold, forgetest.Try{Name: "folded", Steps: steps{reply(200, madeComment), reply(200, madeComment)}, Want: []int{0}}},
		{fold, forgetest.Try{Name: "folded already", Steps: steps{reply(200, folded)}}},
		{fold, forgetest.Try{Name: "fold what is gone", Steps: steps{reply(404, notFound)}}},
		{fold, forgetest.Try{Name: "fold what goes meanwhile", Steps: steps{reply(200, madeComment), reply(404, notFound)}, Want: []int{0}}},
		{fold, forgetest.Try{Name: "fold, and be answered with another comment", Steps: steps{reply(200, `{"id":6,"body":"x"}`)}, Text: "another comment"}},
		{fold, forgetest.Try{Name: "fold what is no comment", Steps: steps{reply(204, ``), reply(200, madeComment), reply(200, madeComment)}, Want: []int{0, 0}}},

		{read, forgetest.Try{Name: "a pull request that is none", Steps: steps{reply(200, `{"number":12}`)}, Text: "base or head is missing"}},
		{list, forgetest.Try{Name: "comments without ids", Steps: steps{reply(200, `[{"body":"x"}]`)}, Text: "without an id"}},
		{list, forgetest.Try{Name: "a comment that is null", Steps: steps{reply(200, `[null]`)}, Text: "without an id"}},
	} {
		t.Run(tt.Name, func(t *testing.T) {
			t.Parallel()
			tt.Run(t, func(ctx context.Context, transport http.RoundTripper) error {
				return tt.do(ctx, client(t, gitea.Config{HTTP: transport}))
			})
		})
	}
}

// TestNothingIsSent: what can't be right is refused here.
func TestNothingIsSent(t *testing.T) {
	t.Parallel()
	s := &forgetest.Script{}
	c := client(t, gitea.Config{HTTP: s})
	ctx, pull := t.Context(), somePull()
	for name, do := range map[string]func() error{
		"an empty comment":   func() error { return second(c.CreateComment(ctx, pull, " \n")) },
		"a comment too long": func() error { return second(c.CreateComment(ctx, pull, strings.Repeat("x", c.Site().CommentLimit+1))) },
		"an edit too long":   func() error { return c.EditComment(ctx, pull, 5, strings.Repeat("x", c.Site().CommentLimit+1)) },
		"a state that is none": func() error {
			return c.SetStatus(ctx, pull.Repo, strings.Repeat("a", 40), vcs.Status{State: "warning"})
		},
		"no commit":     func() error { return c.SetStatus(ctx, pull.Repo, "main", vcs.Status{State: vcs.Success}) },
		"no repository": func() error { return second(c.Repo(ctx, "acme", "..")) },
		"another way": func() error {
			p := pull
			p.Repo.Name = "../../admin"
			return c.EditComment(ctx, p, 5, "x")
		},
		"another forge": func() error {
			p := pull
			p.Repo.ID.Forge = "github.com"
			return c.Fold(ctx, p, []vcs.Comment{{ID: 1}})
		},
	} {
		if err := do(); !errors.Is(err, vcs.ErrRefused) && !errors.Is(err, vcs.ErrNotFound) {
			t.Errorf("%s: error = %v, want a refusal", name, err)
		}
	}
	if len(s.Requests) != 0 {
		t.Errorf("%d requests were sent, want none", len(s.Requests))
	}
}

func second[T any](_ T, err error) error { return err }

// TestEndlessList: a forge that always has another page does not keep us for ever.
func TestEndlessList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, endlessLists)
}

func endlessLists(t *testing.T) {
	t.Helper()
	for name, total := range map[string]string{"a count that is never reached": "999999999", "no count": "", "a count that is none": "-"} {
		s := &forgetest.Script{Steps: forgetest.Times(3000, forgetest.Reply(200, `[{"state":"COMMENT"}]`, "X-Total-Count", total))}
		if _, err := client(t, gitea.Config{HTTP: s}).Approval(t.Context(), somePull()); err == nil || len(s.Requests) != 1000 {
			t.Errorf("Approval() with %s = %v after %d requests, want an error after 1000", name, err, len(s.Requests))
		}
	}
	for name, steps := range map[string][]forgetest.Step{
		"an empty page":          {forgetest.Reply(200, `[{}]`), forgetest.Reply(200, `[]`)},
		"the count":              {forgetest.Reply(200, `[{}]`, "X-Total-Count", "2"), forgetest.Reply(200, `[{}]`, "X-Total-Count", "2")},
		"an empty page too soon": {forgetest.Reply(200, `[{}]`, "X-Total-Count", "9"), forgetest.Reply(200, `[]`, "X-Total-Count", "9")},
	} {
		s := &forgetest.Script{Steps: steps}
		if _, err := client(t, gitea.Config{HTTP: s, PageSize: 3}).Approval(t.Context(), somePull()); err != nil || len(s.Requests) != 2 {
			t.Errorf("Approval() until %s = %v after %d requests, want two", name, err, len(s.Requests))
		}
		for i, r := range s.Requests {
			if q := r.URL.Query(); q.Get("limit") != "3" || q.Get("page") != strconv.Itoa(i+1) {
				t.Errorf("request %d asks for %s", i, r.URL.RawQuery)
			}
		}
	}
}

// TestRedirects: a renamed repository is followed, another host never, nor what the forge's own host has beside it.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var other []string
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		other = append(other, r.Method+" "+r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, madeComment)
	}))
	defer evil.Close()
	var seen []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+string(body))
		switch {
		case !strings.HasPrefix(r.URL.Path, "/forge/"):
			other = append(other, r.Method+" "+r.Header.Get("Authorization"))
		case r.Header.Get("Authorization") != "token "+noToken:
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, "/forge/moved"):
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, madeComment)
		case strings.HasPrefix(r.URL.Path, "/forge/round") || strings.HasSuffix(r.URL.Path, "/13/comments"):
			http.Redirect(w, r, "/forge/round", http.StatusMovedPermanently)
		case strings.HasSuffix(r.URL.Path, "/14/comments"):
			http.Redirect(w, r, "/forge/../beside", http.StatusMovedPermanently)
		case r.Method == http.MethodPost:
			http.Redirect(w, r, "/forge/moved", http.StatusMovedPermanently)
		default:
			http.Redirect(w, r, evil.URL+"/x", http.StatusMovedPermanently)
		}
	}))
	defer srv.Close()
	pull := somePull()
	pull.Repo.ID.Forge = strings.TrimPrefix(srv.URL, "http://")
	c := client(t, gitea.Config{BaseURL: srv.URL + "/forge"})
	if made, err := c.CreateComment(t.Context(), pull, "x"); err != nil || made.ID != 5 {
		t.Errorf("CreateComment() in a renamed repository = %+v, %v, want it made", made, err)
	}
	if err := c.EditComment(t.Context(), pull, 5, "x"); err == nil || !strings.Contains(err.Error(), "elsewhere") {
		t.Errorf("EditComment() sent to another host: error = %v, want one that says so", err)
	}
	pull.Number = 13
	if _, err := c.CreateComment(t.Context(), pull, "x"); err == nil || errors.Is(err, vcs.ErrInDoubt) {
		t.Errorf("CreateComment() sent round and round: error = %v, want one without doubt", err)
	}
	pull.Number = 14
	calls := forgetest.Calls{Pull: pull}
	for _, err := range []error{calls.Create(t.Context(), c), calls.List(t.Context(), c)} {
		if err == nil || errors.Is(err, vcs.ErrInDoubt) || !strings.Contains(err.Error(), "elsewhere") {
			t.Errorf("sent to another site on the same host: error = %v, want one that says so", err)
		}
	}
	if len(other) != 0 {
		t.Errorf("another site was asked: %v", other)
	}
	want := `POST {"body":"x"},POST {"body":"x"},PATCH {"body":"x"},POST {"body":"x"},POST {"body":"x"},POST {"body":"hi"},GET `
	if got := strings.Join(seen, ","); got != want {
		t.Errorf("requests = %s, want %s", got, want)
	}
}

// TestTokenStaysIn: neither errors nor logs tell the token, even when the forge repeats it.
func TestTokenStaysIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		echo := func(status int) forgetest.Step {
			return func(req *http.Request) (*http.Response, error) {
				return forgetest.Reply(status, fmt.Sprintf(`{"message":"you sent %s\n\u001b[31m"}`, req.Header.Get("Authorization")))(req)
			}
		}
		s := &forgetest.Script{Steps: []forgetest.Step{
			echo(503), forgetest.Cut(errors.New("proxy says: token " + noToken)), forgetest.Reply(502, "<html>"+noToken), echo(403),
		}}
		c := client(t, gitea.Config{HTTP: s, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		err := list(t.Context(), c)
		for _, form := range []string{"%v", "%+v", "%#v"} {
			if said := fmt.Sprintf(form, err); err == nil || strings.Contains(said, noToken) || strings.ContainsAny(said, "\n\x1b") {
				t.Errorf("error as %s = %q, want one line without the token", form, said)
			}
		}
		if len(s.Requests) != 4 || s.Requests[0].Header.Get("Authorization") != "token "+noToken || s.Requests[0].Header.Get("User-Agent") != "tidegate" {
			t.Errorf("%d requests, the first with %v", len(s.Requests), s.Requests[0].Header)
		}
		if strings.Contains(log.String(), noToken) || !strings.Contains(log.String(), "asking the forge again") {
			t.Errorf("log = %s, want retries without the token", log.String())
		}
	})
}

// TestToken: it is read anew each time, and nothing is sent without one.
func TestToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var token string
		var fail error
		s := &forgetest.Script{Steps: forgetest.Times(2, forgetest.Reply(200, `[]`))}
		c := client(t, gitea.Config{HTTP: s, Token: func() (string, error) { return token, fail }})
		for _, token = range []string{"one", "two"} {
			must(t, list(t.Context(), c))
			if got := s.Requests[len(s.Requests)-1].Header.Get("Authorization"); got != "token "+token {
				t.Errorf("Authorization = %q, want the token %q", got, token)
			}
		}
		for _, token = range []string{"", "a token-nobody", "token-nobody\n"} {
			forgetest.CheckError(t, create(t.Context(), c), nil, "reading the token")
			if _, err := c.CloneCredential(t.Context(), somePull().Repo); err == nil {
				t.Errorf("CloneCredential() with the token %q = nil error", token)
			}
		}
		token, fail = "token-nobody", os.ErrPermission
		if err := create(t.Context(), c); !errors.Is(err, os.ErrPermission) || errors.Is(err, vcs.ErrInDoubt) {
			t.Errorf("CreateComment() without a token: error = %v, want ErrPermission and no doubt", err)
		}
		if len(s.Requests) != 2 {
			t.Errorf("%d requests, want none without a token", len(s.Requests))
		}
	})
}
