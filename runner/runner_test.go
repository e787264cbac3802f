package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/runner/gitcredential"
	"github.com/tidegate/tidegate/runner/supervisor"
	"github.com/tidegate/tidegate/runner/terraform"
)

// childEnv makes the test binary a server that runs one job and is killed while it does.
const childEnv = "TIDEGATE_TEST_CHILD_JOB"

func TestMain(m *testing.M) {
	// os.Exit under the race detector takes a second. What it has found is on stderr by then.
	switch {
	case len(os.Args) > 1 && os.Args[1] == gitcredential.Command:
		unix.Exit(gitcredential.Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	case os.Getenv(supervisor.EnvDir) != "":
		unix.Exit(supervisor.Main(os.Args))
	case os.Getenv(providerEnv) != "":
		unix.Exit(providerMain())
	case os.Getenv(childEnv) != "":
		unix.Exit(childMain(os.Getenv(childEnv)))
	}
	os.Exit(m.Run())
}

// site is a data directory, a checkout and a terraform that counts its processes.
type site struct {
	t     *testing.T
	base  string
	calls string
	cfg   Config
	job   Job
}

func newSite(t *testing.T, files map[string]string) *site {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	s := &site{t: t, base: base, calls: filepath.Join(base, "calls", "log")}
	for _, dir := range []string{"calls", "state", "home", "bin", "ledger"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tool := s.countingTerraform()
	data := filepath.Join(base, "data")
	s.cfg = Config{
		Self: self, Data: data, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(base, "home"), "LEDGER=" + filepath.Join(base, "ledger", "lines")},
	}
	pull := filepath.Join(data, "checkouts", "forge", "1", "7", "default")
	s.job = Job{
		ID: "run/1", Action: Plan, Dir: filepath.Join(data, "runs", "run", "1"), Checkout: filepath.Join(pull, "tree"),
		Project: Project{Dir: ".", Workspace: "default"}, Tool: tool, DataDir: filepath.Join(pull, "tf", "abc"),
	}
	s.write(files)
	return s
}

// countingTerraform is a wrapper that notes each process and then becomes terraform.
func (s *site) countingTerraform() Tool {
	s.t.Helper()
	actual, err := exec.LookPath("terraform")
	if err != nil {
		s.t.Fatal(err)
	}
	bin := filepath.Join(s.base, "bin")
	script := "#!/bin/sh\necho \"$1\" >>'" + s.calls + "'\nexec '" + actual + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "terraform"), []byte(script), 0o755); err != nil {
		s.t.Fatal(err)
	}
	finder := terraform.NewFinder(terraform.FinderConfig{Dir: filepath.Join(s.base, "tools"), Path: bin})
	tool, err := finder.Find(s.t.Context(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.started() // the one `version` of a new binary
	return tool
}

// started says which processes of terraform were started since it was last asked.
func (s *site) started() []string {
	s.t.Helper()
	data, err := os.ReadFile(s.calls)
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.calls, nil, 0o666); err != nil {
		s.t.Fatal(err)
	}
	return strings.Fields(string(data))
}

func (s *site) write(files map[string]string) {
	s.t.Helper()
	for name, text := range files {
		file := filepath.Join(s.job.Checkout, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "BASE", s.base)), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// next is the site's job under a new id.
func (s *site) next(id string, action Action) Job {
	job := s.job
	job.ID, job.Action = "run/"+id, action
	job.Dir = filepath.Join(s.cfg.Data, "runs", "run", id)
	return job
}

func (s *site) run(job Job) Result {
	s.t.Helper()
	result, err := New(s.cfg).Run(s.t.Context(), job)
	if err != nil {
		s.t.Fatalf("Run(%s): %v", job.ID, err)
	}
	kept, err := LoadResult(job.Dir)
	if err != nil {
		s.t.Fatalf("LoadResult(%s): %v", job.ID, err)
	}
	if diff := cmp.Diff(result, kept); diff != "" {
		s.t.Errorf("the kept result is another (-returned +kept):\n%s", diff)
	}
	return result
}

// plan plans and wants success.
func (s *site) plan(id string) Result {
	s.t.Helper()
	result := s.run(s.next(id, Plan))
	if result.End != Succeeded {
		s.t.Fatalf("plan %s = %s: %+v", id, result.End, result.Failure)
	}
	return result
}

func (s *site) apply(id string, plan Result) Result {
	s.t.Helper()
	job := s.next(id, Apply)
	job.PlanFile = plan.PlanFile
	return s.run(job)
}

// ledger reads what local-exec provisioners wrote.
func (s *site) ledger() []string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.base, "ledger", "lines"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return strings.Fields(string(data))
}

func (s *site) logText(job Job) string {
	s.t.Helper()
	r, err := OpenLog(job.Dir)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

const localBackend = `
terraform {
  backend "local" {
    path          = "BASE/state/terraform.tfstate"
    workspace_dir = "BASE/state/ws"
  }
}
`

func TestProcessesPerJob(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `
resource "terraform_data" "a" { input = 1 }
output "o" { value = "one" }
`})
	first := s.plan("1")
	if diff := cmp.Diff([]string{"init", "plan"}, s.started()); diff != "" {
		t.Errorf("processes of the first plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Changes{Add: 1, Outputs: true, Known: true}, first.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(first.Text, "  # terraform_data.a will be created\n") || first.LocalState {
		t.Errorf("text %q, local state %v", first.Text, first.LocalState)
	}
	s.write(map[string]string{"b.tf": `resource "terraform_data" "b" {}`})
	second := s.plan("2")
	if diff := cmp.Diff([]string{"plan"}, s.started()); diff != "" {
		t.Errorf("processes of the next plan (-want +got):\n%s", diff)
	}
	applied := s.apply("3", second)
	if diff := cmp.Diff([]string{"apply"}, s.started()); diff != "" {
		t.Errorf("processes of the apply (-want +got):\n%s", diff)
	}
	want := []Resource{
		{Address: "terraform_data.a", Action: "create", Outcome: Done},
		{Address: "terraform_data.b", Action: "create", Outcome: Done},
	}
	if diff := cmp.Diff(want, applied.Resources); diff != "" || applied.End != Succeeded {
		t.Errorf("apply = %s, %+v (-want +got):\n%s", applied.End, applied.Failure, diff)
	}
	if !strings.Contains(applied.Text, "Apply complete! Resources: 2 added") || strings.Contains(applied.Text, "@level") {
		t.Errorf("text of the apply: %s", applied.Text)
	}
	if last := s.plan("4"); !last.Changes.Empty() || !strings.HasPrefix(last.Text, "No changes.") {
		t.Errorf("plan after the apply = %+v: %s", last.Changes, last.Text)
	}
}

func TestInitIsRunAgainWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{
		"main.tf":   localBackend + "module \"m\" {\n  source = \"./m\"\n}\n",
		"m/main.tf": `resource "terraform_data" "a" {}`,
		"n/main.tf": `resource "terraform_data" "a" {}`,
	})
	s.plan("1")
	s.started()
	s.write(map[string]string{"more.tf": "module \"n\" {\n  source = \"./n\"\n}\n"})
	s.plan("2")
	if diff := cmp.Diff([]string{"init", "plan"}, s.started()); diff != "" {
		t.Errorf("a new module call (-want +got):\n%s", diff)
	}
	s.write(map[string]string{"main.tf": strings.ReplaceAll(localBackend, "state/terraform", "state/other") + "module \"m\" {\n  source = \"./m\"\n}\n"})
	s.plan("3")
	if diff := cmp.Diff([]string{"init", "plan"}, s.started()); diff != "" {
		t.Errorf("another backend (-want +got):\n%s", diff)
	}
	// What only terraform can notice: the directory that init filled is gone.
	if err := os.RemoveAll(s.job.DataDir); err != nil {
		t.Fatal(err)
	}
	s.plan("4")
	if diff := cmp.Diff([]string{"plan", "init", "plan"}, s.started()); diff != "" {
		t.Errorf("a lost data directory (-want +got):\n%s", diff)
	}
}

func TestPlanFailsInTerraformsWords(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"net/main.tf": `output "x" { value = var.missing }`})
	s.job.Project.Dir = "net"
	result := s.run(s.next("1", Plan))
	if result.End != Failed || result.PlanFile != "" {
		t.Fatalf("Run = %s, plan file %q", result.End, result.PlanFile)
	}
	want := &Failure{
		Summary: "Reference to undeclared input variable",
		Text: "Error: Reference to undeclared input variable\n\n  on main.tf line 1, in output \"x\":\n   1: output \"x\" { value = var.missing }\n\n" +
			"An input variable with the name \"missing\" has not been declared. This\nvariable can be declared with a variable \"missing\" {} block.",
	}
	if diff := cmp.Diff(want, result.Failure); diff != "" {
		t.Errorf("failure (-want +got):\n%s", diff)
	}
	if text := s.logText(s.next("1", Plan)); !strings.Contains(text, "[init]\n") || !strings.Contains(text, "[plan]\n") {
		t.Errorf("log: %s", text)
	}
}

func TestWorkspaces(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `
resource "terraform_data" "a" { input = terraform.workspace }
output "w" { value = terraform.workspace }
`})
	for i, workspace := range []string{"stage", "prod", "default"} {
		id := string(rune('1' + i))
		s.job.Project.Workspace = workspace
		s.job.DataDir = filepath.Join(filepath.Dir(s.job.DataDir), workspace)
		plan := s.plan("plan" + id)
		if diff := cmp.Diff([]string{"init", "plan"}, s.started()); diff != "" {
			t.Errorf("processes of a plan in a workspace that was never created (-want +got):\n%s", diff)
		}
		if applied := s.apply("apply"+id, plan); applied.End != Succeeded {
			t.Fatalf("apply in %s = %s: %+v", workspace, applied.End, applied.Failure)
		}
		s.started()
		state := filepath.Join(s.base, "state", "ws", workspace, "terraform.tfstate")
		if workspace == "default" {
			state = filepath.Join(s.base, "state", "terraform.tfstate")
		}
		if data, err := os.ReadFile(state); err != nil || !strings.Contains(string(data), `"value": "`+workspace+`"`) {
			t.Errorf("state of %s: %v\n%s", workspace, err, data)
		}
	}
}

// TestVariablesOfTheWorkspace: a plan without them is another plan, and silently so.
func TestVariablesOfTheWorkspace(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{
		"main.tf":         localBackend + "variable \"v\" {\n  default = \"none\"\n}\noutput \"v\" {\n  value = var.v\n}\n",
		"env/prod.tfvars": "v = \"of prod\"\n",
	})
	for workspace, want := range map[string]string{"prod": "of prod", "default": "none"} {
		s.job.Project.Workspace = workspace
		s.job.DataDir = filepath.Join(filepath.Dir(s.job.DataDir), workspace)
		if text := s.plan(workspace).Text; !strings.Contains(text, `v = "`+want+`"`) {
			t.Errorf("plan of %s:\n%s\nwant %q in it", workspace, text, want)
		}
	}
}

// TestPlanThatOnlyReads: terraform says that there are changes, and there are none.
func TestPlanThatOnlyReads(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{
		"main.tf": localBackend + `
resource "terraform_data" "a" {}
check "c" {
  data "terraform_remote_state" "r" {
    backend = "local"
    config  = { path = "${path.module}/other.tfstate" }
  }
  assert {
    condition     = data.terraform_remote_state.r.outputs != null
    error_message = "no"
  }
}
`,
		"other.tfstate": `{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"x","outputs":{},"resources":[]}`,
	})
	if applied := s.apply("2", s.plan("1")); applied.End != Succeeded {
		t.Fatalf("apply = %s: %+v", applied.End, applied.Failure)
	}
	got := s.plan("3")
	if !got.Changes.Empty() || len(got.Resources) != 1 || got.Resources[0].Action != terraform.Read {
		t.Errorf("plan = %+v, %+v, want one read and no changes", got.Changes, got.Resources)
	}
}

func TestLocalState(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, config, workspace string
		want                    bool
	}{
		{"none", ``, "default", true},
		{"relative path", "terraform {\n  backend \"local\" {}\n}", "default", true},
		{"absolute path", localBackend, "default", false},
		{"absolute path, other workspace", "terraform {\n  backend \"local\" {\n    path = \"BASE/state/terraform.tfstate\"\n  }\n}", "prod", true},
		{"both", localBackend, "prod", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, map[string]string{"main.tf": tt.config + "\nresource \"terraform_data\" \"a\" {}\n"})
			s.job.Project.Workspace = tt.workspace
			if got := s.plan("1").LocalState; got != tt.want {
				t.Errorf("LocalState = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestStateDirKeepsTheState(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{
		"main.tf": "resource \"terraform_data\" \"a\" {\n  input = terraform.workspace\n}\n",
		// A state in the checkout must not make terraform ask where it should go.
		"terraform.tfstate":                         `{"version":4,"terraform_version":"1.11.4","serial":3,"lineage":"x","outputs":{},"resources":[]}`,
		"terraform.tfstate.d/old/terraform.tfstate": `{"version":4,"terraform_version":"1.11.4","serial":3,"lineage":"y","outputs":{},"resources":[]}`,
	})
	// What stands in the override's place must not lead the server's hand elsewhere.
	victim := filepath.Join(s.base, "home", "victim")
	if err := os.Symlink(victim, filepath.Join(s.job.Checkout, overrideName)); err != nil {
		t.Fatal(err)
	}
	for _, workspace := range []string{"default", "prod"} {
		s.job.Project.Workspace = workspace
		s.job.DataDir = filepath.Join(filepath.Dir(s.job.DataDir), workspace)
		s.job.StateDir = filepath.Join(s.cfg.Data, "states", "forge", "1", workspace)
		plan := s.plan("plan-" + workspace)
		if plan.LocalState {
			t.Error("LocalState although the state is kept elsewhere")
		}
		if applied := s.apply("apply-"+workspace, plan); applied.End != Succeeded {
			t.Fatalf("apply = %s: %+v", applied.End, applied.Failure)
		}
		if again := s.plan("again-" + workspace); !again.Changes.Empty() {
			t.Errorf("the state was not found again: %+v", again.Changes)
		}
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Data, "states", "forge", "1", "prod", "workspaces", "prod", "terraform.tfstate")); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(victim); !os.IsNotExist(err) {
		t.Errorf("the link was followed: %v", err)
	}
}

func TestEnvironmentOfJobs(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `
variable "from_env" {}
resource "terraform_data" "a" {
  input = var.from_env
  provisioner "local-exec" {
    command = "env >BASE/ledger/env"
  }
}
`})
	s.cfg.Environ = append(s.cfg.Environ,
		"TIDEGATE_GH_TOKEN=s3cret", "ATLANTIS_GH_TOKEN=s3cret", "MY_FILE=s3cret", "TF_CLI_ARGS=-bogus", "TF_CLI_ARGS_plan=-bogus",
		"TF_WORKSPACE=wrong", "TF_DATA_DIR=/nowhere", "TF_LOG=TRACE", "TF_LOG_PATH=/nowhere", "TF_PLUGIN_CACHE_DIR=/nowhere", "GIT_DIR=/nowhere",
		"GIT_TRACE_CURL=/nowhere", "NOTIFY_SOCKET=/nowhere", "CREDENTIALS_DIRECTORY=/nowhere",
		"TF_VAR_from_env=works", "AWS_PROFILE=prod", "HTTPS_PROXY=http://proxy.invalid")
	s.cfg.DropEnv = func(name string) bool { return name == "MY_FILE" }
	if applied := s.apply("2", s.plan("1")); applied.End != Succeeded {
		t.Fatalf("apply = %s: %+v", applied.End, applied.Failure)
	}
	data, err := os.ReadFile(filepath.Join(s.base, "ledger", "env"))
	if err != nil {
		t.Fatal(err)
	}
	env := string(data)
	for _, gone := range []string{"s3cret", "/nowhere", "bogus", "TF_LOG=TRACE", supervisor.EnvDir} {
		if strings.Contains(env, gone) {
			t.Errorf("%q reached the job:\n%s", gone, env)
		}
	}
	for _, kept := range []string{"TF_VAR_from_env=works", "AWS_PROFILE=prod", "HTTPS_PROXY=", "HOME=" + s.base, "TF_IN_AUTOMATION=1", "GIT_TERMINAL_PROMPT=0"} {
		if !strings.Contains(env, kept) {
			t.Errorf("%q did not reach the job:\n%s", kept, env)
		}
	}
	if diff := cmp.Diff([]string{"TF_CLI_ARGS", "TF_CLI_ARGS_plan", "TF_DATA_DIR", "TF_LOG", "TF_LOG_PATH", "TF_PLUGIN_CACHE_DIR", "TF_WORKSPACE"}, droppedTerraformEnv(s.cfg.Environ)); diff != "" {
		t.Errorf("what is warned of (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(s.cfg.Data, "tmp", shortHash("run/2"))); !os.IsNotExist(err) {
		t.Errorf("the job's temporary directory is still there: %v", err)
	}
}

// childMain is the server of the crash tests: it runs the job of a file and is killed meanwhile.
func childMain(file string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		return 1
	}
	var c struct {
		Config struct {
			Self, Data string
			Environ    []string
			Grace      time.Duration
		}
		Job Job
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return 1
	}
	r := New(Config{Self: c.Config.Self, Data: c.Config.Data, Environ: c.Config.Environ, Grace: c.Config.Grace})
	if _, err := r.Run(context.Background(), c.Job); err != nil {
		return 1
	}
	return 0
}

// waitForLine reads lines from a FIFO until one is what is waited for.
func waitForLine(t *testing.T, r io.Reader, want string) {
	t.Helper()
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		if scanner.Text() == want {
			return
		}
	}
	t.Fatalf("the line %q never came: %v", want, scanner.Err())
}
