package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/runner/supervisor"
	"github.com/tidegate/tidegate/runner/terraform"
)

// serverPrefixes are names of the server's own settings, secrets among them.
func serverPrefixes() []string { return []string{"TIDEGATE_", "ATLANTIS_"} }

// droppedNames are variables that would change what a job does behind our back: which arguments
// terraform gets, where it keeps its data and which workspace it works in (each job has its own),
// whether it asks or logs in ways that nobody here reads, and a shared plugin cache, which parallel
// inits corrupt. The git ones would lead git into a repository that is not the job's, or have it tell its
// log what it sends. Those of a service manager are between it and the server.
func droppedNames() []string {
	return []string{
		"TF_CLI_ARGS", "TF_WORKSPACE", "TF_DATA_DIR", "TF_INPUT", "TF_IN_AUTOMATION", "TF_REATTACH_PROVIDERS",
		"TF_PLUGIN_CACHE_DIR", "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE",
		"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
		"GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_CEILING_DIRECTORIES", "GIT_CURL_VERBOSE",
		"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "CREDENTIALS_DIRECTORY",
		"TMPDIR", "TMP", "TEMP", "PWD", "OLDPWD",
	}
}

// droppedTerraformEnv names the variables that an operator may have set on purpose and that jobs do
// not get all the same.
func droppedTerraformEnv(environ []string) []string {
	var names []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "TF_") && isDropped(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func isDropped(name string) bool {
	return slices.Contains(droppedNames(), name) ||
		strings.HasPrefix(name, "TF_CLI_ARGS_") || strings.HasPrefix(name, "TF_LOG") || strings.HasPrefix(name, "GIT_TRACE")
}

// env is the environment of the job's processes: the server's without its own settings and without
// what is dropped above. Cloud credentials, HOME, proxies and TF_VAR_* pass through.
//
// Which workspace is meant is said by TF_WORKSPACE, in every process. Measured with terraform 1.11.4
// and backend "local" for a workspace that was never created: plan and apply with TF_WORKSPACE work,
// and the state lands in that workspace; `$TF_DATA_DIR/environment` is set back to "default" by init,
// so plan would silently work in the default workspace; and init fails ("Currently selected workspace
// does not exist") as soon as another workspace exists. So init runs in the default workspace, which
// always exists, and plan and apply name theirs. An apply under another name than the plan's puts the
// state into the plan's workspace, but evaluates terraform.workspace anew: both get the same.
func (w *work) env(workspace string) []string {
	var env []string
	for _, entry := range w.cfg.Environ {
		name, _, ok := strings.Cut(entry, "=")
		if ok && name != "" && !w.dropsEnv(name) {
			env = append(env, entry)
		}
	}
	env = append(
		env, "TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1", "TF_DATA_DIR="+w.job.DataDir,
		"TMPDIR="+w.tmp, "PWD="+w.dir,
		// A module that git cannot fetch without asking is an error, not a hanging job.
		"GIT_TERMINAL_PROMPT=0", "GCM_INTERACTIVE=never", "SSH_ASKPASS_REQUIRE=never",
	)
	if !slices.ContainsFunc(env, func(entry string) bool { return strings.HasPrefix(entry, sshCommand) }) {
		env = append(env, sshCommand+askingNobody)
	}
	if w.cli != "" {
		env = append(env, "TF_CLI_CONFIG_FILE="+w.cli)
	}
	// HCP Terraform has no workspace of the name "default"; its configuration names one.
	if !w.conf.IsRemoteRun() || workspace != terraform.DefaultWorkspace {
		env = append(env, "TF_WORKSPACE="+workspace)
	}
	return env
}

func (w *work) dropsEnv(name string) bool {
	for _, prefix := range serverPrefixes() {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "CHECKPOINT_DISABLE", "GIT_TERMINAL_PROMPT", "GCM_INTERACTIVE", "SSH_ASKPASS_REQUIRE":
		return true // set by us
	case "TF_CLI_CONFIG_FILE":
		return w.cli != ""
	case agentSocket, "SSH_AGENT_PID":
		return w.cfg.SSH.Agent != AgentForAll
	}
	return isDropped(name) || w.cfg.DropEnv != nil && w.cfg.DropEnv(name)
}

// sandbox hides the data directory and shows what is the job's of it.
func (w *work) sandbox() supervisor.Sandbox {
	s := supervisor.Sandbox{
		Hide: append([]string{w.cfg.Data}, w.cfg.Hide...),
		Show: []string{w.job.Checkout, w.job.DataDir, w.tmp},
		ShowRead: []string{
			filepath.Join(w.cfg.Data, "providers"), filepath.Join(w.cfg.Data, "tools"), w.job.Tool.Path,
		},
	}
	if w.job.StateDir != "" {
		s.Show = append(s.Show, w.job.StateDir)
	}
	if w.job.PlanFile != "" {
		s.ShowRead = append(s.ShowRead, w.job.PlanFile)
	}
	if w.job.StateFile != "" {
		s.ShowRead = append(s.ShowRead, w.job.StateFile)
	}
	s.ShowRead = append(s.ShowRead, w.cfg.SSH.show()...)
	if mirror := w.mirror(); mirror != "" {
		s.ShowRead = append(s.ShowRead, mirror)
	}
	return s
}

// mirror is the mirror of the checkout's own repository, which its objects/info/alternates names: git
// in a step works with it. It is found by the layout of the data directory, not by a file that
// foreign code could have written.
func (w *work) mirror() string {
	rel, err := filepath.Rel(filepath.Join(w.cfg.Data, "checkouts"), w.job.Checkout)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if len(parts) < 3 {
		return ""
	}
	mirror := filepath.Join(w.cfg.Data, "mirrors", parts[0], parts[1]+".git")
	if _, err := os.Stat(mirror); err != nil {
		return ""
	}
	return mirror
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
