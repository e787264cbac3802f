package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// commands are what a story can say, beside what testscript brings.
func commands() map[string]func(*testscript.TestScript, bool, []string) {
	plain := map[string]func(*testscript.TestScript, *world, []string) error{
		"server":    cmdServer,
		"crash":     cmdKill,
		"shutdown":  cmdStop,
		"init":      cmdInit,
		"terminate": cmdTerminate,
		"push":      cmdPush,
		"open":      cmdOpen,
		"comment":   cmdComment,
		"answer":    cmdAnswer,
		"silent":    cmdSilent,
		"idle":      func(_ *testscript.TestScript, w *world, _ []string) error { return w.idle() },
		"status":    cmdStatus,
		"review":    cmdReview,
		"merge":     cmdMerge,
		"set":       cmdSet,
		"is":        cmdIs,
		"branch":    cmdBranch,
		"check":     cmdCheck,
		"protect":   cmdProtect,
		"behind":    cmdBehind,
		"gone":      cmdGone,
		"token":     cmdToken,
		"force":     cmdForce,
		"proxied":   cmdProxied,
		"get":       cmdGet,
		"post":      cmdPost,
		"deliver":   cmdDeliver,
		"redeliver": cmdRedeliver,
		"waitfile":  cmdWaitFile,
		"count":     cmdCount,
		"strays":    cmdStrays,
		"folded":    cmdFolded,
		"bytes":     cmdBytes,
		"nonroot":   cmdNonRoot,
		"fork":      cmdFork,
		"late":      cmdLate,
		"release":   cmdRelease,
		"dismiss":   cmdDismiss,
		"watched":   cmdWatched,
		"faults":    cmdFaults,
		"lock":      cmdLock,
		"calls":     cmdCalls,
		"permit":    cmdPermit,
		"run":       cmdRun,
		"api":       cmdAPI,
		"app":       cmdApp,
		"cli":       cmdCLI,
		"hook":      cmdHook,
		"ownerhook": cmdOwnerHook,
		"repo":      cmdRepo,
		"sshd":      cmdSSHD,
		"submodule": cmdSubmodule,
		"state":     cmdState,
		"project":   onGitLab(cmdProject),
		"rename":    onGitLab(cmdRename),
		"publish":   onGitLab(cmdPublish),
		"pipelines": onGitLab(cmdPipelines),
		"pipeline":  onGitLab(cmdPipeline),
		"object":    cmdObject,
		"disk":      cmdDisk,
		"fill":      cmdFill,

		"rendered":   cmdRendered,
		"nocommands": cmdNoCommands,
	}
	out := map[string]func(*testscript.TestScript, bool, []string){}
	for name, f := range plain {
		out[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			err := f(ts, theWorld(ts), args)
			switch {
			case neg && err == nil:
				ts.Fatalf("%s %s went well, but must not", name, strings.Join(args, " "))
			case !neg && err != nil:
				ts.Fatalf("%s: %v", name, err)
			}
		}
	}
	return out
}

func need(args []string, n int, usage string) error {
	if len(args) < n {
		return errors.New("usage: " + usage)
	}
	return nil
}

// server [flags]: starts tidegate server and waits until it is ready.
func cmdServer(ts *testscript.TestScript, w *world, args []string) error {
	var env []string
	for _, k := range []string{"PATH", "HOME", "TMPDIR", "WORK", "STATE", "LEDGER", "HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE", "TF_CLI_ARGS", "AWS_PROFILE", "TIDEGATE_CANARY", "SSH_AUTH_SOCK", "REAL_TERRAFORM"} {
		if v := ts.Getenv(k); v != "" {
			env = append(env, k+"="+v)
		}
	}
	return w.start(env, args...)
}

// init GRACE [FLAGS]: the server under tidegate init.
func cmdInit(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "init GRACE [FLAGS]"); err != nil {
		return err
	}
	w.grace = args[0]
	defer func() { w.grace = "" }()
	return cmdServer(ts, w, args[1:])
}

// terminate: SIGTERM. shutdown waits for the end.
func cmdTerminate(_ *testscript.TestScript, w *world, _ []string) error { return w.terminate() }

// crash [all]: kill -9 of the server process alone, or of everything that it has started too.
func cmdKill(_ *testscript.TestScript, w *world, args []string) error {
	if len(args) > 0 && args[0] == "all" {
		return w.stopAll()
	}
	return w.stop(syscall.SIGKILL)
}

// shutdown: SIGTERM, and waits for the end.
func cmdStop(_ *testscript.TestScript, w *world, _ []string) error { return w.stop(syscall.SIGTERM) }

// push BRANCH DIR [MESSAGE]: lays DIR over the branch and pushes it.
func cmdPush(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "push BRANCH DIR [MESSAGE]"); err != nil {
		return err
	}
	sha, err := w.push(args[0], ts.MkAbs(args[1]), strings.Join(append(args[2:], "change"), " "))
	if err == nil {
		ts.Setenv("SHA", sha)
	}
	return err
}

// open N BRANCH [BASE]: opens pull request N.
func cmdOpen(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "open N BRANCH [BASE]"); err != nil {
		return err
	}
	base := "main"
	if len(args) > 2 {
		base = args[2]
	}
	got, err := w.forge.open(w.as(ana), "Change "+args[1], args[1], base)
	if err != nil {
		return err
	}
	if strconv.Itoa(got) != args[0] {
		return fmt.Errorf("the forge opened #%d, the story wants #%s", got, args[0])
	}
	return nil
}

// comment N USER TEXT: TEXT may be @FILE.
func cmdComment(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 3, "comment N USER TEXT"); err != nil {
		return err
	}
	text := strings.Join(args[2:], " ")
	if file, ok := strings.CutPrefix(text, "@"); ok {
		text = ts.ReadFile(file)
	}
	return w.forge.comment(w.as(args[1]), args[0], text)
}

// answer N [FILE]: waits for the bot's next comment on pull request N, and keeps it in FILE.
func cmdAnswer(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "answer N [FILE]"); err != nil {
		return err
	}
	pull, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	file := "answer.md"
	if len(args) > 1 {
		file = args[1]
	}
	return w.until("an answer on #"+args[0], func() (bool, error) {
		all, err := w.answers(pull)
		if err != nil {
			return false, err
		}
		for _, c := range all {
			if w.seen[c.ID] {
				continue
			}
			w.seen[c.ID] = true
			return true, os.WriteFile(ts.MkAbs(file), []byte(c.Body), 0o600)
		}
		return false, fmt.Errorf("%d answers, all read", len(all))
	})
}

// silent N: when the server has nothing more to do, there is no answer on N that was not read.
func cmdSilent(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "silent N"); err != nil {
		return err
	}
	if err := w.idle(); err != nil {
		return err
	}
	pull, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	all, err := w.comments(pull)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.User.Login == w.forge.bot() && !w.seen[c.ID] {
			return fmt.Errorf("there is an answer that nobody expects:\n%s", c.Body)
		}
	}
	return nil
}

// status N CONTEXT STATE [TEXT]: waits until the newest status of the head is that.
func cmdStatus(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 3, "status N CONTEXT STATE [TEXT]"); err != nil {
		return err
	}
	return w.until("status "+strings.Join(args, " "), func() (bool, error) {
		pull, err := w.pull(args[0])
		if err != nil {
			return false, err
		}
		list, err := w.forge.statuses(w.as(ana), pull.SHA)
		if err != nil {
			return false, err
		}
		for _, s := range list {
			if s.Context != args[1] {
				continue
			}
			want := strings.Join(args[3:], " ")
			return s.State == args[2] && strings.Contains(s.Description, want), fmt.Errorf("it is %s, %q", s.State, s.Description)
		}
		return false, fmt.Errorf("there is none among %d", len(list))
	})
}

// review N USER APPROVE|REQUEST_CHANGES|COMMENT
func cmdReview(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 3, "review N USER EVENT"); err != nil {
		return err
	}
	return w.forge.review(w.as(args[1]), args[0], args[2])
}

// dismiss N: takes back what every review of the pull request says.
func cmdDismiss(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "dismiss N"); err != nil {
		return err
	}
	n, err := w.forge.dismiss(w.as(ana), args[0])
	if err == nil && n == 0 {
		err = errors.New("there is no review to dismiss")
	}
	return err
}

// merge N
func cmdMerge(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "merge N"); err != nil {
		return err
	}
	return w.forge.merge(w.as(ana), args[0])
}

// set N state=closed|open, base=BRANCH, title=..., draft=true|false
func cmdSet(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "set N KEY=VALUE"); err != nil {
		return err
	}
	key, value, _ := strings.Cut(args[1], "=")
	pull, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if key == "draft" {
		return w.forge.setDraft(w.as(ana), pull, value == "true")
	}
	return w.forge.set(w.as(ana), args[0], key, value)
}

// get PATH FILE: a page of the server.
func cmdGet(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "get PATH FILE [STATUS]"); err != nil {
		return err
	}
	want := "200"
	if len(args) > 2 {
		want = args[2]
	}
	status, body, err := w.get(args[0])
	if err != nil {
		return err
	}
	if strconv.Itoa(status) != want {
		return fmt.Errorf("GET %s: %d %s", args[0], status, body)
	}
	return os.WriteFile(ts.MkAbs(args[1]), []byte(body), 0o600)
}

// post PATH: what a button of a page does.
func cmdPost(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "post PATH"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.server.url+args[0], nil)
	if err != nil {
		return err
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 400 {
		body, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("POST %s: %d %s", args[0], resp.StatusCode, body)
	}
	return nil
}

// deliver EVENT FILE STATUS [sign=good|bad|none|by:SECRET] [id=ID] [pad=BYTES]: sends a webhook by hand and
// expects the answer's status.
func cmdDeliver(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 3, "deliver EVENT FILE STATUS [sign=...] [id=...] [pad=...]"); err != nil {
		return err
	}
	body := []byte(ts.ReadFile(args[1]))
	sign, id := "good", "by-hand"
	for _, a := range args[3:] {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "sign":
			sign = v
		case "id":
			id = v
		case "pad":
			n, err := strconv.Atoi(v)
			if err != nil {
				return err
			}
			body = append(body, bytes.Repeat([]byte(" "), n)...)
		}
	}
	return send(ts, w, args[0], body, sign, id, args[2])
}

// send sends a webhook and expects the answer's status.
func send(ts *testscript.TestScript, w *world, event string, body []byte, sign, id, status string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.server.url+"/events", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	secret := webhookSecret
	if by, ok := strings.CutPrefix(sign, "by:"); ok {
		secret = by
	} else if sign != "good" {
		secret = map[string]string{"bad": "another", "none": ""}[sign]
	}
	w.forge.sign(req.Header, event, id, secret, body)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	ts.Logf("%d %s", resp.StatusCode, text)
	if strconv.Itoa(resp.StatusCode) != status {
		return fmt.Errorf("the answer is %d %s", resp.StatusCode, text)
	}
	return nil
}

// redeliver: every webhook so far comes once more under its own id, and then once more under another. A Gitea sends the last
// ten of each webhook again, and under others alone.
func cmdRedeliver(_ *testscript.TestScript, w *world, _ []string) error {
	for _, newIDs := range []bool{false, true} {
		if err := w.idle(); err != nil { // one that is under way is not sent again
			return err
		}
		if err := w.forge.redeliver(newIDs); err != nil {
			return err
		}
	}
	return w.idle()
}

// late N ACTION: the first webhook of that action on a pull request comes once more, as a new one.
func cmdLate(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "late N ACTION"); err != nil {
		return err
	}
	pull, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	body, err := w.dev.late(pull, args[1])
	if err != nil {
		return err
	}
	return send(ts, w, "pull_request", body, "good", "late", "202")
}

// release DIR: what the release button of a lock on the locks page does.
func cmdRelease(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "release DIR"); err != nil {
		return err
	}
	_, page, err := w.get("/locks")
	if err != nil {
		return err
	}
	for row := range strings.SplitSeq(page, "<tr>") {
		link := lockLink.FindString(row)
		if strings.Contains(row, "<code>"+args[0]+"</code>") && link != "" {
			return cmdPost(nil, w, []string{link + "/release"})
		}
	}
	return fmt.Errorf("no lock on %s stands on the page", args[0])
}

var lockLink = regexp.MustCompile(`/locks/[0-9A-Za-z_-]+`)

// watched METRICS FILE...: every metric of ours that the files name is among the metrics.
func cmdWatched(ts *testscript.TestScript, _ *world, args []string) error {
	if err := need(args, 2, "watched METRICS FILE..."); err != nil {
		return err
	}
	metrics := ts.ReadFile(args[0])
	var errs []error
	for _, file := range args[1:] {
		names := metricName.FindAllString(ts.ReadFile(file), -1)
		if len(names) == 0 {
			errs = append(errs, fmt.Errorf("%s names no metric", file))
		}
		for _, name := range names {
			if !strings.Contains(metrics, "# TYPE "+histogramPart.ReplaceAllString(name, "")+" ") {
				errs = append(errs, fmt.Errorf("%s names %s, which is no metric", file, name))
			}
		}
	}
	return errors.Join(errs...)
}

var histogramPart = regexp.MustCompile(`_(bucket|sum|count)$`)

var metricName = regexp.MustCompile(`\btidegate_[a-z_]+`)

// waitfile FILE [TEXT]: waits until the file is there (and holds the text).
func cmdWaitFile(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "waitfile FILE [TEXT]"); err != nil {
		return err
	}
	return w.until("file "+args[0], func() (bool, error) {
		raw, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			return false, err
		}
		return len(args) < 2 || strings.Contains(string(raw), strings.Join(args[1:], " ")), nil
	})
}

// count N FILE TEXT: TEXT stands on exactly N lines of FILE.
func cmdCount(ts *testscript.TestScript, _ *world, args []string) error {
	if err := need(args, 3, "count N FILE TEXT"); err != nil {
		return err
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	got := 0
	for _, line := range strings.Split(ts.ReadFile(args[1]), "\n") {
		if strings.Contains(line, strings.Join(args[2:], " ")) {
			got++
		}
	}
	if got != want {
		return fmt.Errorf("%q stands on %d lines of %s, want %d", strings.Join(args[2:], " "), got, args[1], want)
	}
	return nil
}

// strays: no process of this story's jobs is left.
func cmdStrays(_ *testscript.TestScript, w *world, _ []string) error {
	return w.until("no process to be left", func() (bool, error) {
		found, err := processesOf(w.data)
		return len(found) == 0, errors.Join(err, fmt.Errorf("left: %v", found))
	})
}

// processesOf finds the processes that name dir in their arguments, environment or directory.
func processesOf(dir string) ([]string, error) {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range all {
		cmdline, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil {
			continue // it has ended
		}
		environ, _ := os.ReadFile(filepath.Join(p, "environ"))
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		if strings.Contains(string(cmdline), "\x00server\x00") {
			continue
		}
		if bytes.Contains(environ, []byte(dir)) || strings.HasPrefix(cwd, dir) {
			out = append(out, filepath.Base(p)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return out, nil
}

// folded N COUNT: that many of the bot's comments are folded away.
func cmdFolded(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "folded N COUNT"); err != nil {
		return err
	}
	pull, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	return w.until("folded comments on #"+args[0], func() (bool, error) {
		n, err := w.forge.folded(pull)
		return strconv.Itoa(n) == args[1], errors.Join(err, fmt.Errorf("%d are folded", n))
	})
}

// bytes FILE MAX: the file has at most so many bytes.
func cmdBytes(ts *testscript.TestScript, _ *world, args []string) error {
	if err := need(args, 2, "bytes FILE MAX"); err != nil {
		return err
	}
	limit, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if n := len(ts.ReadFile(args[0])); n > limit {
		return fmt.Errorf("%s has %d bytes", args[0], n)
	}
	return nil
}

// nonroot: the server runs as nobody from now on.
func cmdNonRoot(_ *testscript.TestScript, w *world, _ []string) error { return w.becomeNobody() }

// repo OWNER/NAME DIR: a private repository, which the bot and ana may see, with the files of DIR on main.
func cmdRepo(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "repo OWNER/NAME DIR"); err != nil {
		return err
	}
	if err := w.forge.found(w.t, args[0]); err != nil {
		return err
	}
	dir := filepath.Join(w.dir, "repo-"+filepath.Base(args[0]))
	if err := w.overlay(dir, ts.MkAbs(args[1])); err != nil {
		return err
	}
	for _, git := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "modules"}, {"push", "-q", w.forge.cloneOf(ana, args[0]), "HEAD:refs/heads/main"}} {
		if _, err := w.git(dir, git...); err != nil {
			return err
		}
	}
	return nil
}

// submodule BRANCH PATH OWNER/NAME: records another repository's main as a submodule on a branch that is there.
func cmdSubmodule(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 3, "submodule BRANCH PATH OWNER/NAME"); err != nil {
		return err
	}
	branch, path, clone := args[0], args[1], filepath.Join(w.dir, "clone")
	heads, err := w.git(w.dir, "ls-remote", w.forge.cloneOf(ana, args[2]), "refs/heads/main")
	if err != nil {
		return err
	}
	commit, _, _ := strings.Cut(heads, "\t")
	for _, git := range [][]string{
		{"fetch", "-q", "origin"},
		{"checkout", "-q", "-f", "-B", branch, "origin/" + branch},
		{"config", "--file", ".gitmodules", "submodule." + path + ".path", path},
		{"config", "--file", ".gitmodules", "submodule." + path + ".url", "../../" + args[2] + ".git"},
		{"add", ".gitmodules"},
		{"update-index", "--add", "--cacheinfo", "160000," + commit + "," + path},
		{"commit", "-q", "-m", "a submodule"},
		{"push", "-q", "origin", "HEAD:refs/heads/" + branch},
	} {
		if _, err := w.git(clone, git...); err != nil {
			return err
		}
	}
	return nil
}

// fork N USER: opens pull request N from a fork of that user.
func cmdFork(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "fork N USER"); err != nil {
		return err
	}
	n, err := w.dev.fork(args[1], "change")
	if err == nil && strconv.Itoa(n) != args[0] {
		err = fmt.Errorf("the forge opened #%d", n)
	}
	return err
}
