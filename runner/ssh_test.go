package runner

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSSHOfProcesses: who gets the agent and the known hosts, by what the operator has said.
func TestSSHOfProcesses(t *testing.T) {
	t.Parallel()
	const (
		plain = "GIT_SSH_COMMAND=ssh -o BatchMode=yes"
		yes   = "GIT_SSH_COMMAND=ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes"
		sock  = "SSH_AUTH_SOCK=/run/agent"
	)
	for _, tt := range []struct {
		name       string
		ssh        SSH
		server     []string
		get, other []string
	}{
		{"nothing", SSH{}, nil, []string{yes}, []string{plain}},
		{"an agent", SSH{}, []string{sock, "SSH_AGENT_PID=7"}, []string{yes, sock}, []string{plain}},
		{"an empty one", SSH{}, []string{"SSH_AUTH_SOCK="}, []string{yes}, []string{plain}},
		{"for modules", SSH{Agent: AgentForModules}, []string{sock}, []string{yes, sock}, []string{plain}},
		{"for all", SSH{Agent: AgentForAll}, []string{sock, "SSH_AGENT_PID=7"}, []string{yes, sock, "SSH_AGENT_PID=7"}, []string{plain, sock, "SSH_AGENT_PID=7"}},
		{"for none", SSH{Agent: AgentForNone}, []string{sock}, []string{yes}, []string{plain}},
		{"known hosts", SSH{KnownHosts: "/etc/known hosts"}, nil, []string{yes + ` -o 'UserKnownHostsFile="/etc/known hosts"'`}, []string{plain}},
		{"a command of the operator's", SSH{KnownHosts: "/known"}, []string{"GIT_SSH_COMMAND=mine", sock}, []string{"GIT_SSH_COMMAND=mine", sock}, []string{"GIT_SSH_COMMAND=mine"}},
	} {
		w := &work{cfg: Config{SSH: tt.ssh, Environ: tt.server}}
		env := func() (found []string) {
			for _, entry := range w.env("default") {
				if strings.Contains(entry, "SSH_A") && !strings.Contains(entry, "ASKPASS") || strings.HasPrefix(entry, sshCommand) {
					found = append(found, entry)
				}
			}
			return found
		}
		inGet := w.cfg.SSH.env(env(), tt.server)
		for name, pair := range map[string][2][]string{"get": {tt.get, inGet}, "plan": {tt.other, env()}} {
			slices.Sort(pair[0])
			slices.Sort(pair[1])
			if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
				t.Errorf("%s: %s differs (-want +got):\n%s", tt.name, name, diff)
			}
		}
	}
}

// TestKnownHostsPaths: what ssh would read as more than a path is refused, and a file in the data directory is shown to init.
func TestKnownHostsPaths(t *testing.T) {
	t.Parallel()
	for path, good := range map[string]bool{
		"": true, "/etc/known_hosts": true, "/etc/known hosts": true, "known_hosts": false, "/etc/%h": false, "/etc/${HOME}": false,
		"/it's": false, `/a"b`: false, "/a\nb": false, `/a\b`: false, "/~x": false,
	} {
		if err := (SSH{KnownHosts: path}).CheckKnownHosts(); (err == nil) != good {
			t.Errorf("CheckKnownHosts() of %q = %v, want it good: %v", path, err, good)
		}
	}
	for path, want := range map[string][]string{"": nil, "/data/known": {"/data/known"}, "/database/known": nil, "/etc/known": nil} {
		if diff := cmp.Diff(want, SSH{KnownHosts: path}.show("/data")); diff != "" {
			t.Errorf("what is shown of %q differs (-want +got):\n%s", path, diff)
		}
	}
}
