package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// People see Tidegate in a browser: the pages of a running demo, in headless Chromium.
func TestBrowser(t *testing.T) {
	t.Parallel()
	d := startDemo(t, build(t))
	d.hangUp(t)
	b := openBrowser(t)
	run := strings.TrimSuffix(d.tidegate, "/") + b.firstRun(t, d)
	for _, p := range []struct {
		name, url string
		want      []string // texts that the page's reader sees
		rows      string   // a selector that must find something
	}{
		{"overview", d.tidegate, []string{"Overview", "Last webhook", "Plan for 2 projects: 2 ready", "acme/infra #1", "A bigger gateway", "network", "dns"}, "main tbody tr"},
		{"locks", d.tidegate + "locks", []string{"Locks", "network", "dns", "#1", "#2", "Release"}, "main tbody tr a.button"},
		{"run", run, []string{"acme/infra #1", "Plan for 2 projects: 2 ready", "network", "dns", "planned", "Plan: "}, "main section pre"},
		{"pull request", d.pull(1), []string{"A bigger gateway, and a name for the API", "Plan for 2 projects: 2 ready", "tidegate/plan", "Comment as ana"}, "article.bot details, article.bot pre"},
		{"waiting pull request", d.pull(2), []string{"Peer with the other network", "waiting for"}, "article.bot"},
	} {
		for _, width := range []int64{390, 1200} {
			t.Run(fmt.Sprintf("%s at %d", p.name, width), func(t *testing.T) {
				b.look(t, p.url, width)
				b.sees(t, p.want...)
				if ask[int](t, b, fmt.Sprintf("document.querySelectorAll(%q).length", p.rows)) == 0 {
					t.Errorf("there is no %s", p.rows)
				}
				b.fits(t, width)
			})
		}
	}
	t.Run("a reader may not apply", func(t *testing.T) { b.readerMayNot(t, d) })
	t.Run("release", func(t *testing.T) { b.release(t, d) })
	t.Run("a comment is answered on the page", func(t *testing.T) { b.comment(t, d) })
}

// firstRun is the address of the first pull request's run, as the overview links it.
func (b *browser) firstRun(t *testing.T, d *shownDemo) string {
	t.Helper()
	b.look(t, d.tidegate, 1200)
	href := ask[string](t, b, `[...document.querySelectorAll('main tbody a[href^="/runs/"]')].find(a => a.closest("tr").textContent.includes("acme/infra #1"))?.getAttribute("href") ?? ""`)
	if href == "" {
		t.Fatal("the overview does not link the first pull request's run")
	}
	return href
}

func (b *browser) readerMayNot(t *testing.T, d *shownDemo) {
	t.Helper()
	b.look(t, d.pull(1), 1200)
	b.actAs(t, "eve")
	b.sees(t, "eve may only read here.")
	b.say(t, "apply")
	b.until(t, "the refusal", `[...document.querySelectorAll("article.bot")].at(-1).innerText.includes("Apply not run: it needs write permission")`)
	b.actAs(t, "ana")
	b.quiet(t)
}

// actAs chooses a user as a person would.
func (b *browser) actAs(t *testing.T, user string) {
	t.Helper()
	b.do(t, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{ const s = document.querySelector("select[name=user]"); s.value = %q; s.dispatchEvent(new Event("change", {bubbles: true})) }`, user)))
	b.until(t, "to act as "+user, fmt.Sprintf(`document.body.innerText.includes("Comment as %s")`, user))
}

// say comments on the pull request's page.
func (b *browser) say(t *testing.T, text string) {
	t.Helper()
	b.do(t, chromedp.SendKeys(chromedp.CSS("#body"), text), chromedp.Click(chromedp.CSS("form.write button")))
}

// release gives dns free, which nobody waits for: the page asks first, the lock is gone, the pull
// request is told.
func (b *browser) release(t *testing.T, d *shownDemo) {
	t.Helper()
	const locks = `[...document.querySelectorAll("main tbody tr")].filter(r => r.querySelector("code")?.innerText === "dns")`
	b.look(t, d.tidegate+"locks", 390)
	b.do(t, chromedp.Evaluate[chromedp.Void](locks+`[0].querySelector("a.button").click()`))
	b.until(t, "the question", `document.querySelector("h1")?.innerText === "Release this lock?"`)
	b.sees(t, "dns", "acme/infra", "#1", "Its plan is discarded")
	b.fits(t, 390)
	b.do(t, chromedp.Click(chromedp.CSS("form button.danger")))
	b.until(t, "the list", `document.querySelector("h1")?.innerText === "Locks"`)
	b.until(t, "the lock to be gone", locks+`.length === 0`)
	b.sees(t, "network")
	b.look(t, d.pull(1), 1200)
	b.until(t, "the pull request to be told", `(() => { const said = [...document.querySelectorAll("article.bot")].at(-1).innerText; return said.includes("dns") && /released|unlocked|discarded/i.test(said) })()`)
	b.quiet(t)
}

// comment types a command and sees the answer come without touching anything.
func (b *browser) comment(t *testing.T, d *shownDemo) {
	t.Helper()
	b.look(t, d.pull(1), 390)
	b.say(t, "help")
	b.until(t, "the answer", `[...document.querySelectorAll("article.bot")].at(-1).innerText.includes("unlock")`)
	b.fits(t, 390)
	b.quiet(t)
}

// shownDemo is a running `tidegate demo`.
type shownDemo struct {
	forge, tidegate string
}

func (d *shownDemo) pull(n int) string { return fmt.Sprintf("%s/acme/infra/pull/%d", d.forge, n) }

// startDemo starts a demo and reads from what it prints where to look. It has free ports when the
// usual ones are taken.
func startDemo(t *testing.T, bin string) *shownDemo {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(bin, "demo", "--keep", filepath.Join(dir, "demo"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		force := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer force.Stop()
		for range lines { // to the end, so that it is not stuck on its output
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo ended with %v\n%s", err, errs.String())
		}
	})
	link := regexp.MustCompile(`^(Pull request #1|Tidegate) +(http://\S+)`)
	var d shownDemo
	var said []string
	end := time.NewTimer(2 * patience)
	defer end.Stop()
	for d.forge == "" || d.tidegate == "" {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("the demo ended:\n%s\n%s", strings.Join(said, "\n"), errs.String())
			}
			said = append(said, line)
			switch m := link.FindStringSubmatch(line); {
			case m == nil:
			case m[1] == "Tidegate":
				d.tidegate = m[2]
			default:
				d.forge = strings.TrimSuffix(m[2], "/acme/infra/pull/1")
			}
		case <-end.C:
			t.Fatalf("the demo does not say where to look:\n%s", strings.Join(said, "\n"))
		}
	}
	return &d
}

// browser is one tab of a headless Chromium.
type browser struct {
	ctx context.Context

	mu       sync.Mutex
	problems []string // console errors, exceptions, what could not be loaded
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("the browser test needs chromium in PATH: make test-tools, or apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("no-proxy-server", true), chromedp.WSURLReadTimeout(patience),
	)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, shut := chromedp.NewContext(alloc)
	t.Cleanup(shut)
	b := &browser{ctx: ctx}
	// The first run starts the browser, which ends with the context that it was started with.
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	b.hears(t)
	return b
}

// hear notes what a developer would see in red.
func (b *browser) hear(event any) {
	var text string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text + " " + e.ExceptionDetails.URL
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeAssert {
			return
		}
		for _, a := range e.Args {
			text += fmt.Sprintf("%s %s ", a.Value, a.Description)
		}
	case *cdplog.EventEntryAdded:
		if e.Entry.Level != cdplog.EntryLevelError {
			return
		}
		text = e.Entry.Text + " " + e.Entry.URL
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, text)
}

// hears makes sure that a page's mistakes reach us: silence is what the pages are praised for.
func (b *browser) hears(t *testing.T) {
	t.Helper()
	b.do(t, chromedp.Evaluate[chromedp.Void](
		`new Promise(done => { console.error("said"); setTimeout(() => { setTimeout(done); throw new Error("thrown") }) })`, chromedp.EvalAwaitPromise))
	b.mu.Lock()
	defer b.mu.Unlock()
	if all := strings.Join(b.problems, "\n"); len(b.problems) != 2 || !strings.Contains(all, "said") || !strings.Contains(all, "Uncaught") {
		t.Fatalf("of an error and an exception this was heard: %q", b.problems)
	}
	b.problems = nil
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// ask answers what a script says on the page.
func ask[T any](t *testing.T, b *browser, script string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatalf("%v in %s", err, script)
	}
	return v
}

// look opens a page in a window of this width.
func (b *browser) look(t *testing.T, url string, width int64) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(width, 900), chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS("main h1")))
	b.quiet(t)
}

// sees wants texts among what a person can read on the page, folded parts included.
func (b *browser) sees(t *testing.T, want ...string) {
	t.Helper()
	text := strings.Join(strings.Fields(ask[string](t, b, "document.body.textContent")), " ")
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the page does not say %q:\n%s", w, text)
		}
	}
}

// fits wants a page that is not wider than its window, with everything unfolded, too.
func (b *browser) fits(t *testing.T, width int64) {
	t.Helper()
	for _, folded := range []bool{true, false} {
		is := ask[struct {
			Inner, Scroll int64
			Wide          string
		}](t, b, fmt.Sprintf(`(() => {
			document.querySelectorAll("details").forEach(d => d.open = %t);
			const e = document.documentElement;
			const wide = [...document.querySelectorAll("main *")].find(x => x.getBoundingClientRect().right > innerWidth + 1 && !x.closest("pre, .scroll"));
			return {Inner: innerWidth, Scroll: e.scrollWidth, Wide: wide ? wide.outerHTML.slice(0, 200) : ""};
		})()`, !folded))
		if is.Inner != width {
			t.Errorf("the window is %d wide, want %d", is.Inner, width)
		}
		if is.Scroll > is.Inner {
			t.Errorf("the page is %d wide in a window of %d (details closed: %t); too wide: %s", is.Scroll, is.Inner, folded, is.Wide)
		}
	}
}

// quiet wants that nothing was wrong on the page so far.
func (b *browser) quiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		t.Errorf("the browser's console: %s", p)
	}
	b.problems = nil
}

// until asks the page again and again. A Content-Security-Policy without eval keeps the page from
// being polled by a script of its own.
func (b *browser) until(t *testing.T, what, script string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(patience)
	defer end.Stop()
	var last error
	for {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+script+")"))
		cancel()
		if last = err; err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("waited %s for %s: %v; the page:\n%s", patience, what, last, ask[string](t, b, "document.body.innerText"))
		}
	}
}
