package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// SSH is how git reaches modules over ssh.
type SSH struct {
	// KnownHosts is the absolute path of the file with the keys of hosts; jobs can only read it. Empty: that of the system, which ssh
	// reads in any case, and in init ssh's own files.
	KnownHosts string
	// Agent says who is given the agent of the server's environment. The zero value is AgentForModules.
	Agent AgentUse
}

// AgentUse says which processes of a job find the server's ssh agent in their environment.
type AgentUse string

// The uses of an agent. What provisioners connect with is theirs only by AgentForAll.
const (
	AgentForModules AgentUse = "modules"
	AgentForAll     AgentUse = "all"
	AgentForNone    AgentUse = "none"
)

const (
	agentSocket = "SSH_AUTH_SOCK"
	sshCommand  = "GIT_SSH_COMMAND="
	// askingNobody: ssh fails rather than to ask for a password, or whether a host is the right one.
	askingNobody = "ssh -o BatchMode=yes"
	// knownOnly takes a host whose key is known, and no other one. ssh finds the files of its user in the home directory whatever HOME says,
	// and jobs can write there: it reads no configuration, and knows hosts from elsewhere.
	knownOnly = "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o "
)

// CheckKnownHosts refuses a path that ssh would read in another way than it is meant, and one that a job could lead elsewhere.
func (s SSH) CheckKnownHosts() error {
	switch {
	case s.KnownHosts == "":
	case !filepath.IsAbs(s.KnownHosts):
		return errors.New("the file of known hosts needs an absolute path")
	case strings.ContainsFunc(s.KnownHosts, func(r rune) bool { return r < ' ' || strings.ContainsRune(`"'\%$~`, r) }):
		return errors.New("the path of the file of known hosts has a character that means something to ssh or to a shell")
	}
	for path := s.KnownHosts; path != filepath.Dir(path) && path != "."; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 && unix.Access(filepath.Dir(path), unix.W_OK) == nil {
			return fmt.Errorf("%s is a link that jobs could replace, as the server could: name what it leads to", path)
		}
	}
	return nil
}

// show is what jobs see of it, and can't write.
func (s SSH) show() []string {
	if s.KnownHosts == "" {
		return nil
	}
	return []string{s.KnownHosts}
}

// command is how git calls ssh where modules are fetched.
func (s SSH) command() string {
	if s.KnownHosts == "" {
		return knownOnly + "UserKnownHostsFile=/dev/null"
	}
	return knownOnly + `'UserKnownHostsFile="` + s.KnownHosts + `"'`
}

// initEnv has git speak to known hosts alone in init. Without a file of the operator's those are ssh's own, as is what else it finds in ~/.ssh:
// nothing is on offer there that jobs could not use anyway. An operator's own GIT_SSH_COMMAND stays.
func (s SSH) initEnv(env []string) []string {
	if s.KnownHosts == "" {
		return replaceSSH(env, askingNobody+" -o StrictHostKeyChecking=yes")
	}
	return replaceSSH(env, s.command())
}

func replaceSSH(env []string, command string) []string {
	for i, entry := range env {
		if entry == sshCommand+askingNobody {
			env[i] = sshCommand + command
		}
	}
	return env
}

// env has git speak to known hosts alone, by no file that jobs can write, and adds the agent of the server's environment.
func (s SSH) env(env, server []string) []string {
	env = replaceSSH(env, s.command())
	if s.Agent == AgentForAll || s.Agent == AgentForNone {
		return env
	}
	for _, entry := range server {
		if isAgent(entry) {
			env = append(env, entry)
		}
	}
	return env
}

// isAgent reports the entry of an environment that leads to an agent.
func isAgent(entry string) bool {
	path, ok := strings.CutPrefix(entry, agentSocket+"=")
	return ok && path != ""
}
