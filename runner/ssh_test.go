package runner

import (
	"os"
	"path/filepath"
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
		some  = "GIT_SSH_COMMAND=ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o "
		yes   = some + "UserKnownHostsFile=/dev/null"
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
		{"known hosts", SSH{KnownHosts: "/etc/known hosts"}, nil, []string{some + `'UserKnownHostsFile="/etc/known hosts"'`}, []string{plain}},
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
		inGet, inInit := w.cfg.SSH.env(env(), tt.server), slices.Clone(tt.other)
		for i, entry := range inInit {
			switch {
			case entry != plain:
			case tt.ssh.KnownHosts == "": // what people have in ~/.ssh
				inInit[i] = plain + " -o StrictHostKeyChecking=yes"
			default:
				inInit[i] = tt.get[0]
			}
		}
		for name, pair := range map[string][2][]string{"get": {tt.get, inGet}, "init": {inInit, w.cfg.SSH.initEnv(env())}, "plan": {tt.other, env()}} {
			slices.Sort(pair[0])
			slices.Sort(pair[1])
			if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
				t.Errorf("%s: %s differs (-want +got):\n%s", tt.name, name, diff)
			}
		}
	}
}

// TestKnownHostsPaths: what ssh would read as more than a path is refused, and a link that a job could replace.
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
	dir := t.TempDir()
	for link, to := range map[string]string{"link": "known", "linked": "there"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, good := range map[string]bool{"known": true, "link": false, "linked/known": false, "there/known": true} {
		if err := (SSH{KnownHosts: filepath.Join(dir, path)}).CheckKnownHosts(); (err == nil) != good {
			t.Errorf("CheckKnownHosts() of %q = %v, want it good: %v", path, err, good)
		}
	}
}

// TestKnownHostsOfJobs: a job changes nothing of what a later one trusts.
func TestKnownHostsOfJobs(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"home", "data"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, map[string]string{"main.tf": localBackend})
			known := filepath.Join(s.base, where, "keys", "known_hosts")
			if err := os.MkdirAll(filepath.Dir(known), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(known, []byte("ours\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			s.cfg.SSH.KnownHosts = known
			s.stub("plan", "k='"+known+"'\ncat \"$k\" >\"$LEDGER.seen\"\necho theirs >>\"$k\"\nmv \"$k\" \"$k.old\"\nmv '"+filepath.Dir(known)+"' '"+filepath.Dir(known)+
				"2'\nrm -f \"$k\"\necho theirs >\"$k.new\"\nln -f \"$k.new\" \"$k\"")
			s.plan("1")
			if seen, err := os.ReadFile(filepath.Join(s.base, "ledger", "lines.seen")); err != nil || string(seen) != "ours\n" {
				t.Fatalf("the job reads %q, %v, so nothing is proved", seen, err)
			}
			if got, err := os.ReadFile(known); err != nil || string(got) != "ours\n" {
				t.Errorf("after a job there is %q, %v", got, err)
			}
		})
	}
}
