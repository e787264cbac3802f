package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/server/webhook"
	"github.com/tidegate/tidegate/vcs"
)

// told is what doctor prints.
func told(look func(*doctor)) string {
	out := &strings.Builder{}
	look(&doctor{out: out})
	return out.String()
}

// What stands at the server's address is not taken for the server.
func TestDoctorSeesWhoAnswers(t *testing.T) {
	t.Parallel()
	where := map[string]string{"Location": "https://new.example/events"}
	for _, tt := range []struct {
		what    string
		code    int
		headers map[string]string
		took    time.Duration
		want    string
	}{
		{"ours", 405, map[string]string{"Allow": "POST"}, time.Second, "  ok    a server answers at https://t.example\n"},
		{"ours, too late", 405, map[string]string{"Allow": "POST"}, 12 * time.Second, "  bad   https://t.example/events answers after 12s\n        See what stands between: a forge waits ten seconds at most.\n"},
		{"another server", 200, nil, 0, "  bad   https://t.example/events is answered with 200 by something else than a Tidegate\n        See where --url leads, and that a proxy before the server passes /events on.\n"},
		{"another server without GET", 405, map[string]string{"Allow": "POST, PUT"}, 0, "  bad   https://t.example/events is answered with 405 by something else than a Tidegate\n        See where --url leads, and that a proxy before the server passes /events on.\n"},
		{"elsewhere", 301, where, 0, "  bad   https://t.example/events sends elsewhere (301): \"https://new.example/events\"\n        Set --url to the address that answers itself: what is sent to this one is lost.\n"},
		{"a password", 401, nil, 0, "  bad   https://t.example/events wants a password (401)\n        Let the proxy before the server pass /events without a password: webhooks are signed.\n"},
		{"a door for the forge alone", 403, nil, 0, "  warn  https://t.example/events refuses who asks from here (403)\n        Right if only the forge is let in. Else let the proxy before the server pass /events on:\n        webhooks are signed.\n"},
		{"a proxy alone", 502, nil, 0, "  bad   a proxy answers at https://t.example/events, and no server behind it (502)\n        Start the server, or see where the proxy before it looks for it.\n"},
	} {
		h := http.Header{}
		for name, value := range tt.headers {
			h.Set(name, value)
		}
		got := told(func(d *doctor) {
			d.answers("https://t.example/events", reply{code: tt.code, header: h}, tt.took)
		})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}

// Each thing that can be in the way to the server is told as what it is, and how it is mended.
func TestDoctorGoesTheWay(t *testing.T) {
	t.Parallel()
	moved := httptest.NewServer(http.RedirectHandler("https://new.example/", http.StatusMovedPermanently))
	t.Cleanup(moved.Close)
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	hooks := webhook.New(webhook.Config{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	posts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.Error(w, "limited", http.StatusForbidden)
			return
		}
		hooks.ServeHTTP(w, r)
	}))
	t.Cleanup(posts.Close)
	for what, tt := range map[string]struct {
		url, level, says, mend string
		polls                  bool
	}{
		"elsewhere":           {moved.URL, "bad", "sends elsewhere (301)", "Set --url to the address", false},
		"a certificate":       {untrusted.URL, "bad", "the certificate of", "SSL_CERT_FILE", false},
		"nobody":              {gone.URL, "warn", "nothing answers at", "Start it", false},
		"no server but a TCP": {strings.Replace(untrusted.URL, "https", "http", 1), "bad", "is answered with 400", "See where --url leads", false},
		"what takes POST":     {posts.URL, "ok", "a server answers at", "to POST alone", false},
		"a login for people":  {moved.URL, "warn", "/healthz is answered with 301", "No webhook has to come in", true},
	} {
		got := strings.Join(strings.Fields(told(func(d *doctor) { d.wayHere(t.Context(), settings{url: tt.url, polls: tt.polls}) })), " ")
		if !strings.Contains(got, " "+tt.level+" ") || !strings.Contains(got, tt.says) || !strings.Contains(got, tt.mend) {
			t.Errorf("%s: want %s, %q and %q:\n%s", what, tt.level, tt.says, tt.mend, got)
		}
	}
	proxy := fmt.Errorf("asking: %w", &net.OpError{Op: "proxyconnect", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "proxy", IsNotFound: true}})
	if got := told(func(d *doctor) { d.noWay("https://t.example/events", proxy) }); !strings.Contains(got, "warn  the proxy that is asked for") || !strings.Contains(got, "HTTPS_PROXY") {
		t.Errorf("a proxy that is not there: %s", got)
	}
	unknown := fmt.Errorf("asking: %w", &net.DNSError{Err: "no such host", Name: "tidegate.invalid", IsNotFound: true})
	want := "  warn  https://tidegate.invalid/events: the name is not known here: lookup tidegate.invalid: no\n        such host\n" +
		"        See that --url is right. Where the forge is, this name has to be known.\n"
	if diff := cmp.Diff(want, told(func(d *doctor) { d.noWay("https://tidegate.invalid/events", unknown) })); diff != "" {
		t.Errorf("no such name (-want +got):\n%s", diff)
	}
}

// Doctor makes no data directory: it may be another user than the server, who could not write to it then.
func TestDoctorMakesNothing(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "new", "data")
	got := told(func(d *doctor) { d.dataDir(settings{dataDir: dir}) })
	if !strings.Contains(strings.Join(strings.Fields(got), " "), "ok data directory "+dir+", which the server will make, with ") {
		t.Errorf("of one that is not there: %s", got)
	}
	if left, err := os.ReadDir(top); err != nil || len(left) > 0 {
		t.Errorf("it has left %v, %v", left, err)
	}
	nobody := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nobody.Close)
	args := complete(t, dir, "--gh-api-url="+nobody.URL+"/api/v3", "--repo-allowlist="+strings.TrimPrefix(nobody.URL, "http://")+"/acme/infra")
	code, said, _ := exit(t, tidegate(t, append([]string{"doctor"}, args[1:]...)...))
	if code != 1 || !strings.Contains(said, "See where --gh-hostname and --gh-api-url leads") || !strings.Contains(said, "  ok    terraform") {
		t.Errorf("the whole command ends with %d:\n%s", code, said)
	}
	if left, err := os.ReadDir(top); err != nil || len(left) > 0 {
		t.Errorf("the whole command has left %v, %v", left, err)
	}
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "data")} {
		got := told(func(d *doctor) { d.dataDir(settings{dataDir: dir}) })
		got = strings.Join(strings.Fields(got), " ")
		if !strings.HasPrefix(got, "bad the data directory "+dir+" can't be used: ") || !strings.Contains(got, "not a directory") {
			t.Errorf("of a file: %s", got)
		}
	}
}

// Who runs doctor as another user than the server is warned. A volume belongs to root, whoever may write to it.
func TestDoctorKnowsWhoItIs(t *testing.T) {
	t.Parallel()
	me := os.Geteuid()
	dir := t.TempDir()
	for we, want := range map[int]string{me: "", me + 1: map[bool]string{true: "", false: "warn"}[me == 0]} {
		if got := told(func(d *doctor) { d.owner(dir, we) }); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("as user %d: %q, want %q", we, got, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tidegate.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for we, want := range map[int]string{me: "", me + 1: "warn"} {
		if got := told(func(d *doctor) { d.owner(dir, we) }); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("as user %d, with what the server has made: %q, want %q", we, got, want)
		}
	}
}

// A token that ends soon is told of before it does.
func TestDoctorSeesTheEnd(t *testing.T) {
	t.Parallel()
	for in, want := range map[time.Duration]string{24 * time.Hour: "warn the token ends on 20", 20 * 24 * time.Hour: "ok the token may comment"} {
		f := patient{token: vcs.Token{Ends: time.Now().Add(in)}}
		got := strings.Join(strings.Fields(told(func(d *doctor) { d.token(t.Context(), f, account{flags: "gh"}, vcs.Repo{}) })), " ")
		if !strings.HasPrefix(got, want) {
			t.Errorf("in %s: %s, want %s", in, got, want)
		}
	}
}

// Which webhook may be meant for this server is said, and of no other more than that it is not.
func TestDoctorNamesOtherWebhooks(t *testing.T) {
	t.Parallel()
	all := []vcs.Webhook{{URL: "https://hooks.chat.example/T0/hush"}, {URL: "https://bot:hush@old.example/tg/events?key=hush"}, {URL: "::"}}
	if got, want := elsewhere(all), "; one goes to https://old.example/tg/events"; got != want {
		t.Errorf("elsewhere() = %q, want %q", got, want)
	}
	got := told(func(d *doctor) { d.oneWebhook(vcs.Webhook{Untold: true}, "https://t.example/events") })
	want := "  ok    the webhook to https://t.example/events sends what is needed\n" +
		"        Whether its secret is the server's, the forge does not tell. `tidegate webhook install` sets\n        it.\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("of one whose deliveries are not told (-want +got):\n%s", diff)
	}
}
