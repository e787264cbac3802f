package runner

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// askingTerraform is a wrapper that asks git for the forge's credential, notes what it hears and its environment, and becomes terraform.
func (s *site) askingTerraform() {
	s.t.Helper()
	script := "#!/bin/sh\n{ env; printf 'protocol=https\\nhost=forge.example\\n\\n' | git credential fill; } >\"$LEDGER.$1\" 2>&1\n" +
		"for p in get init plan apply; do chmod 666 \"$LEDGER.$p\" 2>/dev/null; done\nexec terraform \"$@\"\n"
	if err := os.WriteFile(s.job.Tool.Path, []byte(script), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// remoteModule makes a repository with a module, and answers its source.
func (s *site) remoteModule() string {
	s.t.Helper()
	dir := filepath.Join(s.base, "module")
	for _, args := range [][]string{
		{"init", "-q", dir}, {"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "m"},
	} {
		cmd := exec.CommandContext(s.t.Context(), "git", args...)
		cmd.Env = s.cfg.Environ
		if out, err := cmd.CombinedOutput(); err != nil {
			s.t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	return "module \"m\" {\n  source = \"git::file://" + dir + "\"\n}\n"
}

// offer has the job's forge offer a credential, and counts how often it is asked for.
func (s *site) offer() (asked *int) {
	asked = new(int)
	s.job.Forge = &Forge{URL: "https://forge.example/acme/infra.git", Credential: func(context.Context) (string, string, error) {
		*asked++
		return "tidegate", "password-nobody-may-see", nil
	}}
	s.cfg.Environ = append(s.cfg.Environ, "SSH_AUTH_SOCK=/run/the-agent")
	return asked
}

// TestCredentialIsForModulesAlone: the forge's credential is answered while modules are fetched, asked for there and then, and in no other
// process; the ssh agent is named there alone.
func TestCredentialIsForModulesAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `resource "terraform_data" "a" {}`})
	s.write(map[string]string{"modules.tf": s.remoteModule()})
	s.askingTerraform()
	asked := s.offer()
	s.apply("2", s.plan("1"))
	for _, tt := range []struct {
		process string
		offered bool
	}{{"get", true}, {"init", false}, {"plan", false}, {"apply", false}} {
		raw, err := os.ReadFile(filepath.Join(s.base, "ledger", "lines."+tt.process))
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		for _, trace := range []string{"password=password-nobody-may-see", "TIDEGATE_GIT", "credential.https", "the-agent"} {
			if strings.Contains(text, trace) != tt.offered {
				t.Errorf("%s has %q: want %v, got\n%s", tt.process, trace, tt.offered, text)
			}
		}
	}
	if *asked != 1 {
		t.Errorf("the forge was asked %d times, want once", *asked)
	}
}

// awsBackend is a backend whose settings are in a file of the repository, which can name a program.
const awsBackend = `terraform {
  backend "s3" {
    bucket = "b"
    key = "k"
    region = "eu-west-1"
    profile = "p"
    shared_config_files = ["BASE/data/checkouts/forge/1/7/default/tree/aws"]
  }
}`

// TestWhatABackendRuns: a program that the settings of a backend name finds nothing to ask with.
func TestWhatABackendRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{
		"main.tf": awsBackend,
		"aws":     "[profile p]\ncredential_process = /bin/sh -c \"env >BASE/ledger/loot; exit 1\"\n",
	})
	s.write(map[string]string{"modules.tf": s.remoteModule()})
	s.offer()
	if result := s.run(s.next("1", Plan)); result.End != Failed {
		t.Errorf("the plan = %s, want it to fail for want of credentials", result.End)
	}
	raw, err := os.ReadFile(filepath.Join(s.base, "ledger", "loot"))
	if err != nil {
		t.Fatalf("the backend's program did not run, so nothing is proved: %v", err)
	}
	for _, trace := range []string{"TIDEGATE_GIT", "credential.https", "the-agent"} {
		if strings.Contains(string(raw), trace) {
			t.Errorf("a backend's program has %q:\n%s", trace, raw)
		}
	}
}

// TestWhatOthersLeftInHome: what another repository's job has written into the home directory that all jobs share steers nothing where a
// credential is offered.
func TestWhatOthersLeftInHome(t *testing.T) {
	t.Parallel()
	other := newSite(t, map[string]string{
		"main.tf": awsBackend,
		"aws":     "[profile p]\ncredential_process = /bin/sh BASE/data/checkouts/forge/1/7/default/tree/plant.sh\n",
		"plant.sh": `mkdir -p "$HOME/t/hooks" "$HOME/.config/git"
printf '[init]\n\ttemplateDir = %s/t\n' "$HOME" >"$HOME/.gitconfig"
printf '[core]\n\thooksPath = %s/t/hooks\n' "$HOME" >"$HOME/.config/git/config"
cat >"$HOME/t/hooks/post-checkout" <<'X'
#!/bin/sh
printf 'protocol=https\nhost=forge.example\n\n' | git credential fill >"${LEDGER%/*}/loot" 2>&1
X
chmod 755 "$HOME/t/hooks/post-checkout"
exit 1
`,
	})
	other.run(other.next("1", Plan))
	if _, err := os.Stat(filepath.Join(other.base, "home", ".gitconfig")); err != nil {
		t.Fatalf("nothing was left, so nothing is proved: %v", err)
	}
	s := newSite(t, map[string]string{"main.tf": localBackend})
	s.write(map[string]string{"modules.tf": s.remoteModule()})
	s.cfg.Environ = append(s.cfg.Environ, "HOME="+filepath.Join(other.base, "home"))
	s.offer()
	s.plan("1")
	if raw, err := os.ReadFile(filepath.Join(s.base, "ledger", "loot")); err == nil {
		t.Errorf("what another job left in the home directory ran where a credential is offered, and has got %q", raw)
	}
}

// TestSettingsAreKept: of the home directory there are terraform's settings alone where modules are fetched, and no program that they name.
func TestSettingsAreKept(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	s.write(map[string]string{"modules.tf": s.remoteModule()})
	s.offer()
	home := filepath.Join(s.base, "home")
	for _, name := range []string{
		".netrc", ".gitconfig", ".terraformrc", ".terraform.d/credentials.tfrc.json", ".terraform.d/more.tfrc", ".terraform.d/plugins/terraform-credentials-x",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(home, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		text := ""
		if strings.HasSuffix(name, ".json") {
			text = "{}"
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\n(cd \"$HOME\" && find . ! -type d) >\"$LEDGER.$1\"\nexec terraform \"$@\"\n"
	if err := os.WriteFile(s.job.Tool.Path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	s.plan("1")
	raw, err := os.ReadFile(filepath.Join(s.base, "ledger", "lines.get"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(raw))
	slices.Sort(got)
	if diff := cmp.Diff([]string{"./.terraform.d/credentials.tfrc.json", "./.terraform.d/more.tfrc", "./.terraformrc"}, got); diff != "" {
		t.Errorf("the home directory in get (-want +got):\n%s", diff)
	}
}

// TestSocketOfAnotherJob: what another job finds of the socket is its path, which answers nobody without the key. The key is in no
// file, but for the directory of that process's step, which jobs do not see.
func TestSocketOfAnotherJob(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	s.write(map[string]string{"modules.tf": s.remoteModule()})
	s.offer()
	// terraform waits in `get`, as long as another job looks.
	fifo := filepath.Join(s.base, "ledger", "go")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\nif [ \"$1\" = get ]; then printf '%s\\n%s\\n' \"$TIDEGATE_GIT_SOCKET\" \"$TIDEGATE_GIT_KEY\" >'" + fifo + "'; read -r _ <'" + fifo + "'; fi\nexec terraform \"$@\"\n"
	if err := os.WriteFile(s.job.Tool.Path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.plan("1")
	}()
	raw, err := os.ReadFile(fifo)
	if err != nil {
		t.Fatal(err)
	}
	socket, key, _ := strings.Cut(strings.TrimSpace(string(raw)), "\n")
	question := "\nget\nprotocol=https\nhost=forge.example\n\n"
	for _, tt := range []struct {
		key  string
		want bool
	}{{"", false}, {strings.Repeat("A", len(key)), false}, {key[:len(key)-1], false}, {key, true}} {
		if got := askSocket(t, socket, tt.key+question); strings.Contains(got, "password-nobody-may-see") != tt.want || !tt.want && got != "" {
			t.Errorf("with the key %q the socket answers %q, want the password: %v", tt.key, got, tt.want)
		}
	}
	err = filepath.WalkDir(s.base, func(path string, d os.DirEntry, err error) error {
		if err == nil && path == s.job.Dir {
			return filepath.SkipDir
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if content, err := os.ReadFile(path); err == nil && bytes.Contains(content, []byte(key)) {
			t.Errorf("the key is in %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(fifo, []byte("\n"), 0o600); err != nil {
		t.Error(err)
	}
	<-ended
}

// askSocket says something to a socket, and answers what it does.
func askSocket(t *testing.T, socket, text string) string {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return string(said)
}

// TestWhatIsLeftInTheCheckout: no configuration of a repository that git finds around the project steers it where a credential is offered.
func TestWhatIsLeftInTheCheckout(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, repository string }{
		{"of the checkout", ".git"}, {"of its directory", "dir/.git"}, {"the project itself", "dir"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, map[string]string{"dir/main.tf": localBackend})
			s.job.Project.Dir = "dir"
			s.write(map[string]string{"dir/modules.tf": s.remoteModule()})
			config := "[core]\n\trepositoryformatversion = 0\n[remote \"file://" + s.base + "/module\"]\n" +
				"\tuploadpack = env >" + s.base + "/ledger/loot; git-upload-pack\n"
			s.write(map[string]string{
				tt.repository + "/config": config, tt.repository + "/HEAD": "ref: refs/heads/main\n",
				tt.repository + "/objects/keep": "", tt.repository + "/refs/keep": "",
			})
			s.offer()
			s.plan("1")
			if raw, err := os.ReadFile(filepath.Join(s.base, "ledger", "loot")); err == nil {
				t.Errorf("what the checkout's configuration names ran where a credential is offered, and has found\n%s", raw)
			}
		})
	}
}

// TestModulesAreFetchedWithInit: where nothing is offered, or nothing is to be fetched, there is no process more.
func TestModulesAreFetchedWithInit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, remote string
		offer        bool
		want         []string
	}{
		{"no module", "", true, []string{"init", "plan"}},
		{"no offer", "modules.tf", false, []string{"init", "plan"}},
		{"both", "modules.tf", true, []string{"get", "init", "plan"}},
		{"of a test", "tests/setup/main.tf", true, []string{"get", "init", "plan"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, map[string]string{
				"main.tf": localBackend, "tests/a.tftest.hcl": "run \"x\" {\n  module {\n    source = \"./tests/setup\"\n  }\n}\n", "tests/setup/a.tf": "",
			})
			if tt.remote != "" {
				s.write(map[string]string{tt.remote: s.remoteModule()})
			}
			if tt.offer {
				s.offer()
			}
			s.plan("1")
			fetched, err := filepath.Glob(filepath.Join(s.job.DataDir, "modules", "*m", ".git"))
			if err != nil || (len(fetched) == 1) != (tt.remote != "") {
				t.Errorf("fetched %q, %v", fetched, err)
			}
			if diff := cmp.Diff(tt.want, s.started()); diff != "" {
				t.Errorf("processes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPrivateModuleIsToldOf: init without a credential says what it is for want of, when it is one of this forge's.
func TestPrivateModuleIsToldOf(t *testing.T) {
	t.Parallel()
	const says = "Error: Failed to download module\n\nfatal: could not read\nUsername for 'https://%s': terminal prompts disabled\n"
	for _, tt := range []struct {
		name, process, host string
		forge               *Forge
		want                bool
	}{
		{"this forge", "init", "forge.example", &Forge{URL: "https://forge.example/a.git"}, true},
		{"another one", "init", "other.example", &Forge{URL: "https://forge.example/a.git"}, false},
		{"get without a credential", "get", "forge.example", &Forge{URL: "https://forge.example/a.git"}, true},
		{"another process", "plan", "forge.example", &Forge{URL: "https://forge.example/a.git"}, false},
		{"one that is offered", "init", "forge.example", &Forge{URL: "https://forge.example/a.git", Credential: func(context.Context) (string, string, error) { return "", "", nil }}, false},
		{"no forge", "init", "forge.example", nil, false},
	} {
		w := &work{job: Job{Forge: tt.forge}}
		if got := w.wantsCredential(tt.process, strings.ReplaceAll(says, "%s", tt.host)); got != tt.want {
			t.Errorf("%s: wantsCredential() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestCredentialNeedsAShortPath: it is known before anything starts.
func TestCredentialNeedsAShortPath(t *testing.T) {
	t.Parallel()
	if !CanOfferCredential("/var/lib/tidegate") || CanOfferCredential("/"+strings.Repeat("d", 90)) {
		t.Error("CanOfferCredential() says another thing than what fits into the address of a socket")
	}
}

// TestRefusedCredential: a token that was revoked while modules are fetched is replaced, and they are fetched once more; once. One that
// can't be replaced is told of.
func TestRefusedCredential(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		renewed bool
		next    string // the password after a refusal
		want    End
		gets    int
	}{
		{"replaced", true, "fresh", Succeeded, 2},
		{"replaced in vain", true, "revoked", Failed, 2},
		{"not replaced", false, "revoked", Failed, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, map[string]string{"main.tf": localBackend})
			s.write(map[string]string{"modules.tf": s.remoteModule()})
			s.stub("get", `echo get >>"$LEDGER.get"
answer=$(printf 'protocol=https\nhost=forge.example\n\n' | git credential fill)
case $answer in *password=revoked*)
printf '%s\n\n' "$answer" | git credential reject
printf "Error: Failed to download module\n\nfatal: Authentication failed for 'https://forge.example/acme/m.git/'\n" >&2
exit 1
esac`)
			password := "revoked"
			s.job.Forge = &Forge{
				URL:        "https://forge.example/acme/infra.git",
				Credential: func(context.Context) (string, string, error) { return "tidegate", password, nil },
				Refused: func(_ context.Context, refused string) bool {
					if refused != "revoked" {
						t.Errorf("refused is %q", refused)
					}
					password = tt.next
					return tt.renewed
				},
			}
			result := s.run(s.next("1", Plan))
			if result.End != tt.want || tt.want == Failed && !strings.Contains(result.Failure.Text, "The forge did not take the credential that terraform was offered") {
				t.Errorf("the plan = %s, %+v, want %s", result.End, result.Failure, tt.want)
			}
			raw, err := os.ReadFile(filepath.Join(s.base, "ledger", "lines.get"))
			if got := strings.Count(string(raw), "get\n"); err != nil || got != tt.gets {
				t.Errorf("modules were fetched %d times, %v, want %d", got, err, tt.gets)
			}
		})
	}
}

// TestProgramsOfOthers: where a credential is offered no program runs that a job could have put there, whatever the operator's PATH says, and
// none that git would choose by a module's source.
func TestProgramsOfOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	s.write(map[string]string{"modules.tf": s.remoteModule()})
	home := filepath.Join(s.base, "home")
	bin := filepath.Join(home, "bin")
	loot := filepath.Join(s.base, "ledger", "loot")
	for dir, name := range map[string]string{bin: "git", filepath.Join(s.base, "bin"): "git-remote-own"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		script := "#!/bin/sh\ntest -z \"$TIDEGATE_GIT_KEY\" || echo " + name + " >>'" + loot + "'\nPATH=${PATH#*home/bin:}\nexec git \"$@\"\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.cfg.Environ = append(s.cfg.Environ, "PATH="+bin+"::.:"+filepath.Join(s.base, "bin")+":"+os.Getenv("PATH"))
	s.offer()
	if got, want := ownPath(bin+"::.:/usr/bin", home), "/usr/bin"; got != want {
		t.Errorf("ownPath() = %q, want %q", got, want)
	}
	if got := ownPath(bin, home); got != bin {
		t.Errorf("ownPath() of nothing else = %q, want %q", got, bin)
	}
	if got, want := ownPath(bin+":/nowhere", home), bin+":/nowhere"; got != want {
		t.Errorf("ownPath() with one git = %q, want %q", got, want)
	}
	s.plan("1")
	s.write(map[string]string{"own.tf": "module \"own\" {\n  source = \"git::own://forge.example/acme/m.git\"\n}\n"})
	if result := s.run(s.next("2", Plan)); result.End != Failed || !strings.Contains(result.Failure.Text, "transport 'own' not allowed") {
		t.Errorf("the plan = %s, %+v, want the protocol refused", result.End, result.Failure)
	}
	if raw, err := os.ReadFile(loot); err == nil {
		t.Errorf("these ran where a credential is offered: %q", raw)
	}
}

// TestPathWithoutHome: of who has no home directory, as the user of a container, what can be written to is left out all the same.
func TestPathWithoutHome(t *testing.T) {
	t.Parallel()
	writable := t.TempDir()
	want := "/usr/bin"     // where git is, on macOS as well
	if os.Geteuid() == 0 { // who can write everywhere
		want += ":" + writable
	}
	for _, home := range []string{"", "/"} {
		if got := ownPath("/usr/bin:"+writable, home); got != want {
			t.Errorf("ownPath() with the home %q = %q, want %q", home, got, want)
		}
	}
}

// TestProtocolsOfTheOperator: what is configured of protocols holds, and else those alone are allowed that are no programs of anybody's.
func TestProtocolsOfTheOperator(t *testing.T) {
	t.Parallel()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		"": "protocol.allow=never protocol.http.allow=always protocol.https.allow=always protocol.ssh.allow=always " +
			"protocol.git.allow=always protocol.file.allow=user",
		"[protocol \"http\"]\nallow = never\n[protocol \"own\"]\nallow = always\n": "protocol.http.allow=never protocol.own.allow=always protocol.allow=never " +
			"protocol.https.allow=always protocol.ssh.allow=always protocol.git.allow=always protocol.file.allow=user",
		"[protocol]\nallow = never\n[protocol \"https\"]\nallow = always\n": "protocol.allow=never protocol.https.allow=always",
	} {
		system := filepath.Join(t.TempDir(), "gitconfig")
		if err := os.WriteFile(system, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		env, err := knownProtocols(t.Context(), []string{"GIT_CONFIG_SYSTEM=" + system, "GIT_CONFIG_GLOBAL=/dev/null"}, git, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), git, "config", "--list")
		cmd.Env, cmd.Dir = env, t.TempDir()
		out, err := cmd.Output()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != want {
			t.Errorf("with %q git has %q, %v, want %q", config, got, err, want)
		}
	}
}

// TestARepeatedCredential: what the forge, or a proxy before it, repeats of a credential is in no log and no answer.
func TestARepeatedCredential(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	s.write(map[string]string{"modules.tf": s.remoteModule()})
	s.stub("get", `password=$(printf 'protocol=https\nhost=forge.example\n\n' | git credential fill | sed -n 's/^password=//p')
test -n "$password" || exit 3
printf 'Error: Failed to download module\n\nremote: no access with %s, %s\n' "$password" "$(printf %s "tidegate:$password" | base64)" >&2
echo >"$LEDGER.said"
read -r line <"$LEDGER.read"
exit 1`)
	said, read := filepath.Join(s.base, "ledger", "lines.said"), filepath.Join(s.base, "ledger", "lines.read")
	if err := errors.Join(syscall.Mkfifo(said, 0o600), syscall.Mkfifo(read, 0o600)); err != nil {
		t.Fatal(err)
	}
	s.offer()
	job := s.next("1", Plan)
	early := make(chan string, 1)
	go func() {
		_, _ = os.ReadFile(said)
		var text []byte
		if log, err := OpenLog(job.Dir); err == nil {
			text, _ = io.ReadAll(log)
			_ = log.Close()
		}
		early <- string(text)
		_ = os.WriteFile(read, []byte("\n"), 0o600)
	}()
	result := s.run(job)
	if f, err := os.OpenFile(said, os.O_RDWR, 0); err == nil { // nobody waits for what was not said
		_ = f.Close()
	}
	if got, want := <-early, "[get]\n(shown when it has ended)\n"; got != want {
		t.Errorf("while it runs its log is %q, want %q", got, want)
	}
	if got := s.logText(job); !strings.Contains(got, "no access with ***") {
		t.Errorf("its log is %q, want it without the password", got)
	}
	if result.End != Failed || !strings.Contains(result.Failure.Text, "no access with ***, ***") {
		t.Errorf("the plan = %s, %+v", result.End, result.Failure)
	}
	err := filepath.WalkDir(filepath.Join(s.base, "data"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if content, err := os.ReadFile(path); err != nil || bytes.Contains(content, []byte("nobody-may-see")) {
			t.Errorf("the password is in %s, %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
