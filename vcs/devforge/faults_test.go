package devforge_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/vcs/devforge"
)

// world is a forge with one repository, and somebody who listens to its webhooks.
type world struct {
	*devforge.Forge
	url string

	mu    sync.Mutex
	hooks []string
}

func newWorld(t *testing.T, faults devforge.Faults) *world {
	t.Helper()
	f, err := devforge.New(devforge.Config{Dir: filepath.Join(t.TempDir(), "forge"), Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Forge: f}
	api := httptest.NewServer(f.Faulty(f.Handler()))
	ears := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.hooks = append(w.hooks, string(body))
	}))
	t.Cleanup(func() {
		f.Close()
		api.Close()
		ears.Close()
	})
	w.url = api.URL
	f.SetURL(api.URL)
	for _, err := range []error{
		f.CreateUser("ana", "pw", "ana-token"), f.CreateRepo("acme", "infra"), f.AddHook("acme", "infra", ears.URL, "secret"),
		f.SetPermission("acme", "infra", "ana", "write"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// call answers the status and the body; what is wrong with the connection is the body.
func (w *world) call(t *testing.T, method, path, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+"/api/v3"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ana-token")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err.Error(), resp.Header
	}
	return resp.StatusCode, string(raw), resp.Header
}

func TestFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind   devforge.Fault
		status int
		text   string
		retry  string
	}{
		{devforge.FaultError, 500, "Server Error", ""},
		{devforge.FaultGateway, 502, "Bad Gateway", ""},
		{devforge.FaultLimit, 429, "Too many", "7"},
		{devforge.FaultSecondary, 403, "secondary rate limit", "7"},
		{devforge.FaultReset, 0, "reset by peer", ""},
		{devforge.FaultLate, 200, `"login":"ana"`, ""},
		{devforge.FaultCut, 200, "unexpected EOF", ""},
		{devforge.FaultLostGateway, 502, "Bad Gateway", ""},
		{devforge.FaultLostReset, 0, "reset by peer", ""},
	}
	for _, test := range tests {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, devforge.Faults{
				Rate: 1, Kinds: []devforge.Fault{test.kind}, Late: time.Millisecond, RetryAfter: 7 * time.Second, User: "ana",
			})
			status, body, header := w.call(t, http.MethodGet, "/user", "")
			if status != test.status || !strings.Contains(body, test.text) || header.Get("Retry-After") != test.retry {
				t.Errorf("%s: %d %q, Retry-After %q; want %d with %q, %q", test.kind, status, body, header.Get("Retry-After"), test.status, test.text, test.retry)
			}
			if got := w.FaultCounts(); !cmp.Equal(got, map[devforge.Fault]int{test.kind: 1}) {
				t.Errorf("counted %v", got)
			}
		})
	}
}

func TestALostAnswerIsOfWhatWasDone(t *testing.T) {
	t.Parallel()
	done := []devforge.Fault{devforge.FaultLate, devforge.FaultCut, devforge.FaultLostGateway, devforge.FaultLostReset}
	for _, kind := range devforge.FaultKinds()[:9] {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, devforge.Faults{})
			w.openPull(t)
			w.SetFaults(devforge.Faults{Rate: 1, Kinds: []devforge.Fault{kind}, Late: time.Millisecond})
			w.call(t, http.MethodPost, "/repos/acme/infra/issues/1/comments", `{"body":"plan"}`)
			w.SetFaults(devforge.Faults{})
			_, list, _ := w.call(t, http.MethodGet, "/repos/acme/infra/issues/1/comments", "")
			if got, want := strings.Count(list, `"body":"plan"`), slices.Contains(done, kind); (got == 1) != want || got > 1 {
				t.Errorf("%s: the comment was made %d times; want it made: %v", kind, got, want)
			}
		})
	}
}

// openPull puts a pull request there, without git: the forge asks git for two branches alone.
func (w *world) openPull(t *testing.T) {
	t.Helper()
	w.seed(t)
	status, body, _ := w.call(t, http.MethodPost, "/repos/acme/infra/pulls", `{"title":"Grow","head":"grow","base":"main"}`)
	if status != http.StatusCreated {
		t.Fatalf("opening a pull request: %d %s", status, body)
	}
}

func TestTheSameSeedFailsTheSameCalls(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (all []string) {
		w := newWorld(t, devforge.Faults{Rate: 0.5, Seed: seed, Late: time.Millisecond})
		for range 20 {
			status, body, _ := w.call(t, http.MethodGet, "/user", "")
			all = append(all, fmt.Sprint(status, len(body) > 300))
		}
		return all
	}
	one, again, other := run(1), run(1), run(2)
	if !cmp.Equal(one, again) {
		t.Errorf("seed 1 gave %v, then %v", one, again)
	}
	if cmp.Equal(one, other) {
		t.Errorf("seeds 1 and 2 both gave %v", one)
	}
}

func TestWebhooksGoAstray(t *testing.T) {
	t.Parallel()
	for kind, want := range map[devforge.Fault]int{devforge.FaultDrop: 0, devforge.FaultDuplicate: 2, devforge.FaultReorder: 1} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, devforge.Faults{})
			w.openPull(t)
			w.settle(t)
			w.mu.Lock()
			before := len(w.hooks)
			w.mu.Unlock()
			w.SetFaults(devforge.Faults{Rate: 1, Kinds: []devforge.Fault{kind}, Late: time.Millisecond})
			if status, body, _ := w.call(t, http.MethodPost, "/repos/acme/infra/issues/1/comments", `{"body":"plan"}`); status != http.StatusCreated {
				t.Fatalf("webhook faults spoil no call: %d %s", status, body)
			}
			w.settle(t)
			w.mu.Lock()
			defer w.mu.Unlock()
			if got := len(w.hooks) - before; got != want {
				t.Errorf("%s: %d deliveries, want %d", kind, got, want)
			}
		})
	}
}

func TestAForgeWithoutFaultsHasNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, devforge.Faults{Rate: 1, User: "raj"})
	if status, body, _ := w.call(t, http.MethodGet, "/user", ""); status != http.StatusOK {
		t.Errorf("the faults are for another user: %d %s", status, body)
	}
	if got := slices.Collect(maps.Keys(w.FaultCounts())); len(got) > 0 {
		t.Errorf("counted %v", got)
	}
}

// seed pushes two branches.
func (w *world) seed(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	to := strings.Replace(w.url, "http://", "http://ana:pw@", 1) + "/acme/infra.git"
	git("init", "-q")
	for _, branch := range []string{"main", "grow"} {
		git("commit", "-q", "--allow-empty", "-m", branch)
		git("push", "-q", to, "HEAD:refs/heads/"+branch)
	}
}

// settle waits until no webhook is under way.
func (w *world) settle(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.Undelivered() > 0 {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("webhooks are under way for ever")
		}
	}
}
