package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettingsDefaults(t *testing.T) {
	t.Parallel()
	s, err := parse(t, nil, enough()...)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{
		"executable": s.executable, "status": s.statusName, "host": s.accounts[0].hostname, "api": s.accounts[0].apiURL, "url": s.url, "listen": s.listen,
		"data": s.dataDir, "level": s.level, "jobs": s.jobs, "download": s.download, "local": s.localState, "web": s.webPassword.set(),
	}
	want := map[string]any{
		"executable": "tidegate", "status": "tidegate", "host": "github.com", "api": "", "url": "http://localhost:4141", "listen": ":4141",
		"data": "/data", "level": slog.LevelInfo, "jobs": 4, "download": true, "local": false, "web": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestSettingsFromEverywhere(t *testing.T) {
	t.Parallel()
	s, err := parse(t, map[string]string{
		"TIDEGATE_REPO_ALLOWLIST": "github.com/acme/infra", "TIDEGATE_GH_USER": "env-bot", "TIDEGATE_GH_TOKEN": "env-token",
		"TIDEGATE_GH_WEBHOOK_SECRET": "env-secret", "TIDEGATE_JOBS": "7", "TIDEGATE_TF_DOWNLOAD": "false", "TIDEGATE_ALLOW_LOCAL_STATE": "1",
		"TIDEGATE_PORT": "5000", "TIDEGATE_DATA_DIR": "/env",
	}, "--gh-user=flag-bot", "--atlantis-url=https://tg.acme.example/sub/", "--default-tf-version=v1.11.4", "--apply-requirements=approved,", "--listen=[::1]:8000")
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.accounts[0].token.read()
	if err != nil {
		t.Fatal(err)
	}
	got := []any{s.accounts[0].user, token, s.jobs, s.download, s.localState, s.listen, s.url, s.defaultTF, s.dataDir, s.requirements, len(s.secretsInArgs)}
	want := []any{"flag-bot", "env-token", 7, false, true, "[::1]:8000", "https://tg.acme.example/sub", "1.11.4", "/env", []string{"approved"}, 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestURLFromListen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, want string }{
		{"--port=80", "http://localhost:80"},
		{"--listen=0.0.0.0:4141", "http://localhost:4141"},
		{"--listen=[::]:4141", "http://localhost:4141"},
		{"--listen=127.0.0.1:9", "http://127.0.0.1:9"},
		{"--listen=[::1]:9", "http://[::1]:9"},
	} {
		s, err := parse(t, nil, enough(c.flag)...)
		if err != nil || s.url != c.want {
			t.Errorf("%s: url %q, %v; want %q", c.flag, s.url, err, c.want)
		}
	}
}

// Nobody should have to start the server ten times to learn of ten mistakes.
func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		want []string // how the lines begin, in order
	}{
		{"nothing given", nil, []string{"--repo-allowlist:", "no forge is configured: --gh-user, --gh-token-file and"}},
		{"half of two forges", []string{"--repo-allowlist=*", "--gh-user=bot", "--gitea-token=tok-hush"}, []string{
			"--gh-token or --gh-token-file:", "--gh-webhook-secret or --gh-webhook-secret-file:", "--gitea-user:", "--gitea-webhook-secret or --gitea-webhook-secret-file:",
		}},
		{"one forge twice", enough("--repo-allowlist=*", "--gh-api-url=https://git.acme.example/api/v3", "--gitea-base-url=https://git.acme.example", "--gitea-user=bot", "--gitea-token=tok-hush", "--gitea-webhook-secret=other-hush"), []string{
			"--gitea-base-url: git.acme.example is served already as GitHub",
		}},
		{"one secret for two forges", enough("--repo-allowlist=*", "--gitlab-user=bot", "--gitlab-token=tok-hush", "--gitlab-webhook-secret=hook-hush"), []string{
			"--gitlab-webhook-secret[-file]: GitHub has the same secret",
		}},
		{"half of an App", []string{"--repo-allowlist=github.com/*", "--gh-app-id=7", "--gh-token=tok-hush", "--gh-webhook-secret=hook-hush"}, []string{
			"--gh-token and --gh-app-id: ", "--gh-app-id and --gh-app-key[-file] go together", "--gh-app-id and --gh-app-key[-file]: ",
		}},
		{"no App", []string{"--repo-allowlist=github.com/*", "--gh-app-id=seven", "--gh-app-key=key-hush", "--gh-webhook-secret=hook-hush"}, []string{
			"--gh-app-id: \"seven\" is not a number",
		}},
		{"no page", enough("--repo-allowlist=*", "--gitea-user=bot", "--gitea-token=tok-hush", "--gitea-webhook-secret=other-hush", "--gitea-page-size=0", "--gitea-base-url=http://git.acme.example"), []string{
			"--gitea-base-url: plain http would send the token in clear",
		}},
		{"no page size", enough("--repo-allowlist=*", "--gitea-user=bot", "--gitea-token=tok-hush", "--gitea-webhook-secret=other-hush", "--gitea-page-size=0"), []string{
			"--gitea-page-size:",
		}},
		{"everything wrong", []string{
			"--repo-allowlist=a b", "--executable-name=two words", "--vcs-status-name=a/b", "--gh-token=tok-hush", "--gh-api-url=http://forge.example/api/v3",
			"--url=tg.example", "--port=70000", "--listen=nowhere", "--log-level=loud", "--web-username=ops", "--jobs=none",
			"--apply-requirements=approved,merged",
		}, []string{
			"--repo-allowlist:", `--apply-requirements: "merged"`, "--gh-user:", "--gh-webhook-secret or", "--gh-api-url:",
			"--executable-name:", "--vcs-status-name:", "--jobs:", "--port:", "--listen:", "--url:", "--log-level:", "--web-username and --web-password",
		}},
		{"password without user", enough("--web-password=pw-hush"), []string{"--web-username and --web-password"}},
		{"a range of versions", enough("--default-tf-version=~> 1.11"), []string{"--default-tf-version:"}},
		{"no host name", enough("--gh-hostname=https://ghe.acme.example"), []string{"--gh-hostname:"}},
		{"a list without a host", enough("--repo-allowlist=acme/*"), []string{"--repo-allowlist: no rule is for github.com; write github.com/OWNER/NAME"}},
		{"a list for another forge", enough("--gh-hostname=ghe.acme.example"), []string{"--repo-allowlist: no rule is for ghe.acme.example"}},
		{"no job", enough("--jobs=0"), []string{"--jobs:"}},
		{"no duration", enough("--reconcile-interval=5", "--recover-max-age=soon", "--lock-timeout=-1s"), []string{"--reconcile-interval:", "--recover-max-age:", "--lock-timeout:"}},
		{"no time", enough("--plan-timeout=long", "--apply-timeout=-5m"), []string{"--plan-timeout:", "--apply-timeout:"}},
		{"too little to run", enough("--job-memory=1MiB", "--job-open-files=3"), []string{"--job-memory:", "--job-open-files:"}},
		{"no such ssh", enough("--ssh-known-hosts=/no/such", "--ssh-agent=some"), []string{"--ssh-agent:", "--ssh-known-hosts:"}},
		{"no room for a socket", enough("--write-git-creds", "--data-dir=/"+strings.Repeat("d", 90)), []string{"--write-git-creds and --git-lfs:"}},
		{"no number", enough("--max-queue-per-pull=-1", "--max-queue-per-repo=few"), []string{"--max-queue-per-pull:", "--max-queue-per-repo:"}},
		{"no method", enough("--automerge-method=ff"), []string{"--automerge-method: \"ff\" is none of merge, rebase, squash"}},
		{"a method that a forge does not have", enough("--repo-allowlist=*", "--gitlab-user=bot", "--gitlab-token=tok-hush", "--gitlab-webhook-secret=other-hush", "--automerge-method=rebase"), []string{
			"--automerge-method: GitLab does not merge by rebase; it knows merge, squash",
		}},
		{"no size", enough("--job-log-limit=much"), []string{"--job-log-limit:"}},
		{"too little of a log", enough("--job-log-limit=1KiB"), []string{"--job-log-limit:"}},
		{"too often", enough("--reconcile-interval=10ms"), []string{"--reconcile-interval:"}},
		{"never polls", enough("--poll-interval=0"), []string{"--poll-interval:"}},
		{"polls, and needs no webhook secret", []string{"--poll-interval=30s", "--gh-user=bot"}, []string{"--repo-allowlist:", "--gh-token or --gh-token-file:"}},
		{"too many jobs", enough("--jobs=1001"), []string{"--jobs:"}},
		{"both of each secret", enough("--gh-token-file=testdata/secret", "--gh-webhook-secret-file=testdata/secret", "--web-username=ops", "--web-password=pw-hush", "--web-password-file=testdata/secret"), []string{
			"--gh-token and --gh-token-file: give one", "--gh-webhook-secret and --gh-webhook-secret-file: give one", "--web-password and --web-password-file: give one",
		}},
		{"files that are not there", []string{
			"--repo-allowlist=github.com/*", "--gh-user=bot", "--gh-token-file=/nowhere/token", "--gh-webhook-secret-file=testdata/empty",
		}, []string{"--gh-token-file: open /nowhere/token", "--gh-webhook-secret-file: "}},
		{"the secret as its file's name", []string{
			"--repo-allowlist=github.com/*", "--gh-user=bot", "--gh-token-file=tok-hush", "--gh-webhook-secret=hook-hush",
		}, []string{"--gh-token-file: there is no such file in "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := parse(t, nil, c.args...)
			if err == nil {
				t.Fatal("no problem found")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(c.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(lines), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("problem %d is %q, want one about %q", i+1, lines[i], want)
				}
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("a secret stands in the text:\n%v", err)
			}
		})
	}
}

func TestBothGivenInFlagAndEnvironment(t *testing.T) {
	t.Parallel()
	_, err := parse(t, map[string]string{"TIDEGATE_GH_TOKEN_FILE": "testdata/secret"}, enough()...)
	if err == nil || !strings.Contains(err.Error(), "--gh-token and --gh-token-file: give one of them") {
		t.Errorf("got %v", err)
	}
}

func TestAPIURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, want string }{
		{"https://ghe.acme.example/api/v3", ""},
		{"http://127.0.0.1:3000/api/v3", ""},
		{"http://[::1]:3000/api/v3", ""},
		{"http://localhost:3000", ""},
		{"http://10.0.0.7/api/v3", "plain http would send the token in clear"},
		{"http://localhost.acme.example/api/v3", "plain http would send the token in clear"},
		{"http://127.0.0.1.acme.example", "plain http would send the token in clear"},
		{"ftp://127.0.0.1/api", "neither https nor http"},
		{"ghe.acme.example/api/v3", "not an absolute URL"},
		{"https://", "not an absolute URL"},
		{"https://ghe.acme.example/api/v3?key=hush", "not an absolute URL"},
		{"https://bot:pw-hush@ghe.acme.example", "without user and password"},
		{"https://bot:pw-hush@ghe.acme.example:port", "not an absolute URL"},
		{"http://bot:pw-hush@127.0.0.1:3000", "without user and password"},
	} {
		_, err := parse(t, nil, enough("--repo-allowlist=*", "--gh-api-url", c.url)...)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.url, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "--gh-api-url: ") || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.url, err, c.want)
		case err != nil && strings.Contains(err.Error(), "hush"):
			t.Errorf("%s: the password is in the text: %v", c.url, err)
		}
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"tg.acme.example", "https://tg.acme.example/#part", "ftp://tg.acme.example", "https://ops:pw-hush@tg.acme.example", "https://tg.acme.example/?key=pw-hush", "https://ops:pw-hush@tg.acme.example:x"} {
		_, err := parse(t, nil, enough("--url", bad)...)
		if err == nil || !strings.HasPrefix(err.Error(), "--url: ") {
			t.Errorf("%s: got %v", bad, err)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the password is in the text: %v", bad, err)
		}
	}
}

// A URL of another host has a proxy behind it, through which the pages must not be open.
func TestPrivateURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"": true, "http://localhost:4141": true, "http://127.0.0.1": true, "https://[::1]/x": true,
		"https://tg.acme.example": false, "http://10.0.0.7:4141": false, "https://localhost.acme.example": false,
	} {
		s, err := parse(t, nil, enough("--listen=127.0.0.1:4141", "--url", url)...)
		if err != nil || s.private != want {
			t.Errorf("--url %q: private is %t, %v", url, s.private, err)
		}
	}
}

func TestDataDir(t *testing.T) {
	t.Parallel()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, want string }{
		{"~/.tidegate", filepath.Join(home, ".tidegate")},
		{"~", home},
		{"~data", filepath.Join(here, "~data")},
		{"sub", filepath.Join(here, "sub")},
		{"/var/lib/../lib/tidegate", "/var/lib/tidegate"},
	} {
		s, err := parse(t, nil, enough("--data-dir="+c.dir)...)
		if err != nil || s.dataDir != c.want {
			t.Errorf("%s: %q, %v; want %q", c.dir, s.dataDir, err, c.want)
		}
	}
}

// A secret can be changed while the server runs: tokens expire, and a restart would stop applies.
func TestSecretFilesAreReadAnew(t *testing.T) {
	t.Parallel()
	for _, o := range options() {
		if !o.secret {
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "secret")
			write := func(text string) {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("first-hush\n")
			fs := flagSet(options())
			if err := fs.Parse([]string{"--" + o.name + "-file", path}); err != nil {
				t.Fatal(err)
			}
			var s settings
			var bad problems
			sec := s.readSecret(values{flags: fs, lookup: func(string) (string, bool) { return "", false }}, o, &bad)
			if len(bad) > 0 || !sec.set() || !slices.Equal(s.secretFiles, []string{path}) || len(s.secretsInArgs) > 0 {
				t.Errorf("problems %v, set %t, files %v, in arguments %v", bad, sec.set(), s.secretFiles, s.secretsInArgs)
			}
			for _, c := range []struct{ text, want string }{{"first-hush\n", "first-hush"}, {"second-hush\r\n\n", "second-hush"}, {"  spaces count ", "  spaces count "}} {
				write(c.text)
				if got, err := sec.read(); err != nil || got != c.want {
					t.Errorf("after %q: %q, %v", c.text, got, err)
				}
			}
			write("\n")
			if got, err := sec.read(); err == nil {
				t.Errorf("an empty file is the secret %q", got)
			}
		})
	}
}

// Two webhook secrets are good while one takes the other's place. No other secret has two.
func TestWeakSecrets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	for text, want := range map[string]bool{
		"fifteen-bytes-!\n": true, "sixteen-bytes-!!\n": false, "sixteen-bytes-!!\nshort\n": true,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := isWeak(secret{path: path, lines: 2}); got != want {
			t.Errorf("isWeak(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestTwoSecretsAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	for _, c := range []struct {
		text  string
		lines int
		want  []string
		says  string
	}{
		{"new-hush\nold-hush\n", 2, []string{"new-hush", "old-hush"}, ""},
		{"new-hush\r\nold-hush\r\n", 2, []string{"new-hush", "old-hush"}, ""},
		{"only-hush\n", 2, []string{"only-hush"}, ""},
		{"a-hush\nb-hush\nc-hush\n", 2, nil, "more than 2 lines"},
		{"a-hush\n\nb-hush\n", 2, nil, "more than 2 lines"},
		{"\nb-hush\n", 2, nil, "line 1 is empty"},
		{"\n", 2, nil, "is empty"},
		{"new-hush\nold-hush\n", 0, nil, "more than one line"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := secret{path: path, lines: c.lines}.all()
		if !slices.Equal(got, c.want) || (err == nil) != (c.says == "") {
			t.Errorf("%q: %q, %v; want %q", c.text, got, err, c.want)
		}
		if err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%q: %v, want %q and no secret", c.text, err, c.says)
		}
	}
	for _, o := range options() {
		if (o.lines == 2) != strings.HasSuffix(o.name, "-webhook-secret") {
			t.Errorf("--%s may have %d lines", o.name, o.lines)
		}
	}
}

// A secret of Kubernetes or of a shell often ends in a line break. One with something else beside it
// would be refused by the forge for ever, which is better told at the start.
func TestSecretsAreOneLine(t *testing.T) {
	t.Parallel()
	s, err := parse(t, map[string]string{"TIDEGATE_GH_TOKEN": "tok-hush\n", "TIDEGATE_GH_WEBHOOK_SECRET": "hook-hush\r\n"}, "--repo-allowlist=github.com/*", "--gh-user=bot")
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.accounts[0].token.read()
	hook, herr := s.accounts[0].secret.read()
	if err != nil || herr != nil || token != "tok-hush" || hook != "hook-hush" {
		t.Errorf("token %q, %v, secret %q, %v", token, err, hook, herr)
	}
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"TIDEGATE_GH_TOKEN": "\n"}, "--gh-token: the value is empty"},
		{map[string]string{"TIDEGATE_GH_TOKEN": "tok-hush\nmore-hush"}, "--gh-token: the value is more than one line"},
		{map[string]string{"TIDEGATE_GH_TOKEN": "tok-hush more-hush"}, "--gh-token[-file]: there is a space in it"},
		{map[string]string{"TIDEGATE_GH_TOKEN": "tok", "TIDEGATE_WEB_USERNAME": "ops", "TIDEGATE_WEB_PASSWORD": "a\x00b"}, "--web-password: the value is more than one line"},
	} {
		_, err := parse(t, c.env, "--repo-allowlist=github.com/*", "--gh-user=bot", "--gh-webhook-secret=hook-hush")
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// What is printed by mistake, in whatever way, does not hold a secret.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	s, err := parse(t, nil, enough("--web-username=ops", "--web-password=pw-hush")...)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.secretsInArgs, []string{"gh-token", "gh-webhook-secret", "web-password"}) {
		t.Errorf("secrets in the arguments: %v", s.secretsInArgs)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("started", "settings", s, "token", s.accounts[0].token, "pointer", &s)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("started", "settings", s, "token", s.accounts[0].token, "pointer", &s)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{s, &s, s.accounts[0].token, &s.accounts[0].token, []secret{s.accounts[0].token}, map[string]secret{"a": s.accounts[0].secret}, struct{ in secret }{s.webPassword}} {
			fmt.Fprintf(&log, verb+"\n", v)
		}
	}
	for _, value := range []string{"tok-hush", "hook-hush", "pw-hush"} {
		if i := strings.Index(log.String(), value); i >= 0 {
			t.Errorf("%s is printed: ...%s", value, log.String()[max(0, i-80):i+len(value)])
		}
		if strings.Contains(log.String(), fmt.Sprintf("%x", value)) {
			t.Errorf("%s is printed in hexadecimal", value)
		}
	}
}

func TestWhatAnAppLacks(t *testing.T) {
	t.Parallel()
	may := map[string]string{"contents": "read", "issues": "read", "metadata": "read", "pull_requests": "write", "statuses": "admin"}
	for want, s := range map[string]settings{"issues: write": {}, "contents: write, issues: write, checks: read": {automerge: true}} {
		if got := strings.Join(s.lacks(may), ", "); got != want {
			t.Errorf("lacks() with automerge %v = %s, want %s", s.automerge, got, want)
		}
	}
}
