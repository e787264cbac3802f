package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidegate/tidegate/vcs/devforge"
)

const forgePort = "3000"

// forge is devforge, serving, and spoken to over HTTP like any other.
type forge struct {
	*devforge.Forge
	http     *http.Server
	served   chan error
	url      string
	botToken string
	password string
	secret   string
	tokens   map[string]string
	read     map[int64]bool // the comments that were told of
}

func startForge(ctx context.Context, d *demo) (*forge, error) {
	lis, err := d.listen(ctx)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(lis.Addr().String())
	if err != nil {
		return nil, err
	}
	f := &forge{
		url: "http://127.0.0.1:" + port, botToken: rand.Text(), password: d.password, secret: rand.Text(), served: make(chan error, 1),
		tokens: map[string]string{writer: rand.Text(), reader: rand.Text()}, read: map[int64]bool{},
	}
	if f.Forge, err = devforge.New(devforge.Config{Dir: filepath.Join(d.dir, "forge"), URL: f.url, Log: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, errors.Join(err, lis.Close())
	}
	f.http = &http.Server{Handler: f.Handler(), ReadHeaderTimeout: 10 * time.Second}
	if d.private() {
		f.http.Handler = onThisMachine(f.http.Handler)
	}
	go func() { f.served <- f.http.Serve(lis) }()
	return f, f.people()
}

// people makes the users and the repository.
func (f *forge) people() error {
	return f.Found(owner, repo,
		devforge.Member{Login: writer, Password: f.password, Token: f.tokens[writer], Permission: "write", Person: true},
		devforge.Member{Login: reader, Password: f.password, Token: f.tokens[reader], Permission: "read", Person: true},
		devforge.Member{Login: bot, Password: rand.Text(), Token: f.botToken, Permission: "write"},
	)
}

// onThisMachine refuses whoever reaches a loopback address by another name: a page of another site
// whose name leads here would have this machine's browser push what terraform runs.
func onThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !isLoopback(host) {
			http.Error(w, "the demo is reached as localhost or 127.0.0.1 only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (f *forge) stop() error {
	f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := f.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = f.http.Close()
	}
	if served := <-f.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

func (f *forge) host() string { return strings.TrimPrefix(f.url, "http://") }
func (f *forge) api() string  { return f.url + "/api/v3" }

func (f *forge) page(pull int) string {
	return fmt.Sprintf("%s/%s/%s/pull/%d", f.url, owner, repo, pull)
}

func (f *forge) cloneURL(user string) string {
	u := url.URL{Scheme: "http", Host: f.host(), User: url.UserPassword(user, f.password), Path: "/" + owner + "/" + repo + ".git"}
	return u.String()
}

func (f *forge) hook(target string) error { return f.AddHook(owner, repo, target, f.secret) }

func (f *forge) open(ctx context.Context, number int, title, branch string) error {
	var got struct{ Number int }
	body := map[string]string{"title": title, "head": branch, "base": "main", "body": "Made by the demo."}
	if err := f.ask(ctx, http.MethodPost, "/pulls", body, &got); err != nil {
		return err
	}
	if got.Number != number {
		return fmt.Errorf("the forge opened #%d, want #%d", got.Number, number)
	}
	return nil
}

func (f *forge) comment(ctx context.Context, pull int, text string) error {
	return f.ask(ctx, http.MethodPost, fmt.Sprintf("/issues/%d/comments", pull), map[string]string{"body": text}, nil)
}

func (f *forge) merge(ctx context.Context, pull int) error {
	return f.ask(ctx, http.MethodPut, fmt.Sprintf("/pulls/%d/merge", pull), map[string]string{}, nil)
}

// next answers the bot's oldest comment that was not answered before; progress does not count.
func (f *forge) next(ctx context.Context, pull int) (string, bool, error) {
	var list []struct {
		ID   int64
		Body string
		User struct{ Login string }
	}
	if err := f.ask(ctx, http.MethodGet, fmt.Sprintf("/issues/%d/comments?per_page=100", pull), nil, &list); err != nil {
		return "", false, err
	}
	for _, c := range list {
		if c.User.Login == bot && !f.read[c.ID] && !strings.Contains(c.Body, " part=0/1 ") {
			f.read[c.ID] = true
			return c.Body, true, nil
		}
	}
	return "", false, nil
}

// ask speaks to the API as the one who may write.
func (f *forge) ask(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, f.api()+"/repos/"+owner+"/"+repo+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+f.tokens[writer])
	req.Header.Set("Content-Type", "application/json")
	resp, err := direct().Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}
