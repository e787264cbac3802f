package runner

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// askingTerraform is a wrapper that asks git for the forge's credential, notes what it hears and its environment, and becomes terraform.
func (s *site) askingTerraform() {
	s.t.Helper()
	script := "#!/bin/sh\n{ env; printf 'protocol=https\\nhost=forge.example\\n\\n' | git credential fill; } >\"$LEDGER.$1\" 2>&1\n" +
		"for p in init plan apply; do chmod 666 \"$LEDGER.$p\" 2>/dev/null; done\nexec terraform \"$@\"\n"
	if err := os.WriteFile(s.job.Tool.Path, []byte(script), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// TestCredentialIsForInitAlone: the forge's credential is answered in init, asked for there and then, and in no other process.
func TestCredentialIsForInitAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `resource "terraform_data" "a" {}`})
	s.askingTerraform()
	asked := 0
	s.job.Forge = &Forge{URL: "https://forge.example/acme/infra.git", Credential: func(context.Context) (string, string, error) {
		asked++
		return "tidegate", "password-nobody-may-see", nil
	}}
	s.apply("2", s.plan("1"))
	for _, tt := range []struct {
		process string
		offered bool
	}{{"init", true}, {"plan", false}, {"apply", false}} {
		raw, err := os.ReadFile(filepath.Join(s.base, "ledger", "lines."+tt.process))
		if err != nil {
			t.Fatal(err)
		}
		text := string(raw)
		if strings.Contains(text, "password=password-nobody-may-see") != tt.offered || strings.Contains(text, "TIDEGATE_GIT") != tt.offered || strings.Contains(text, "credential.https") != tt.offered {
			t.Errorf("%s has the credential: want %v, got\n%s", tt.process, tt.offered, text)
		}
	}
	if asked != 1 {
		t.Errorf("the forge was asked %d times, want once", asked)
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
