package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/runner/supervisor"
)

const failing = localBackend + `
variable "v" { default = "1" }
resource "terraform_data" "gateway" {
  triggers_replace = [var.v]
  provisioner "local-exec" {
    command = "if [ ${var.v} = 2 ]; then echo quota exceeded; exit 1; fi"
  }
}
resource "terraform_data" "subnet" { input = "net-${var.v}" }
resource "terraform_data" "old" { count = var.v == "1" ? 1 : 0 }
resource "terraform_data" "after" { input = terraform_data.gateway.id }
`

func TestApplyThatPartlyFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": failing})
	if first := s.apply("2", s.plan("1")); first.End != Succeeded {
		t.Fatalf("first apply = %s: %+v", first.End, first.Failure)
	}
	s.cfg.Environ = append(s.cfg.Environ, "TF_VAR_v=2")
	plan := s.plan("3")
	wantPlan := []Resource{
		{Address: "terraform_data.after", Action: "update"},
		{Address: "terraform_data.gateway", Action: "replace", ForcedBy: []string{"triggers_replace"}},
		{Address: "terraform_data.old[0]", Action: "delete"},
		{Address: "terraform_data.subnet", Action: "update"},
	}
	if diff := cmp.Diff(wantPlan, plan.Resources); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	got := s.apply("4", plan)
	want := []Resource{
		{Address: "terraform_data.after", Action: "update", Outcome: NotReached},
		{Address: "terraform_data.gateway", Action: "replace", ForcedBy: []string{"triggers_replace"}, Outcome: HalfDone},
		{Address: "terraform_data.old[0]", Action: "delete", Outcome: Done},
		{Address: "terraform_data.subnet", Action: "update", Outcome: Done},
	}
	if diff := cmp.Diff(want, got.Resources); diff != "" || got.End != PartlyApplied {
		t.Errorf("apply = %s (-want +got):\n%s", got.End, diff)
	}
	if diff := cmp.Diff(Changes{Change: 1, Destroy: 1, Known: true}, got.Changes); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
	if got.Failure == nil || got.Failure.Summary != "local-exec provisioner error" || !strings.Contains(got.Failure.Text, "Output: quota exceeded") {
		t.Errorf("failure %+v", got.Failure)
	}
}

func TestApplyFailsWithoutAChange(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `resource "terraform_data" "a" {}`})
	plan, other := s.plan("1"), s.plan("2")
	if first := s.apply("3", other); first.End != Succeeded {
		t.Fatalf("first apply = %s: %+v", first.End, first.Failure)
	}
	stale := s.apply("4", plan)
	if stale.End != Failed || stale.Failure == nil || stale.Failure.Summary != "Saved plan is stale" || !stale.Changes.Empty() {
		t.Errorf("apply of a stale plan = %s, %+v, %+v", stale.End, stale.Failure, stale.Changes)
	}
	if diff := cmp.Diff([]Resource{{Address: "terraform_data.a", Action: "create", Outcome: NotReached}}, stale.Resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
}

func TestApplyOfALockedState(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `resource "terraform_data" "a" {}`})
	plan := s.plan("1")
	state := filepath.Join(s.base, "state", "terraform.tfstate")
	f, err := os.OpenFile(state, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock); err != nil {
		t.Fatal(err)
	}
	got := s.apply("2", plan)
	if got.End != Failed || got.Failure == nil || got.Failure.Summary != "Error acquiring the state lock" {
		t.Errorf("apply = %s, %+v", got.End, got.Failure)
	}
}

func TestApplyOfAPlanOfAnotherWorkspace(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `resource "terraform_data" "a" {}`})
	plan := s.plan("1")
	s.started()
	s.job.Project.Workspace = "prod"
	got := s.apply("2", plan)
	if got.End != Failed || got.Failure == nil || len(s.started()) != 0 {
		t.Errorf("apply = %s, %+v", got.End, got.Failure)
	}
}

func TestApplyIsNeverRunTwice(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `resource "terraform_data" "a" {}`})
	plan := s.plan("1")
	s.apply("2", plan)
	job := s.next("2", Apply)
	job.PlanFile = plan.PlanFile
	if _, err := New(s.cfg).Run(t.Context(), job); !errors.Is(err, ErrRunBefore) {
		t.Errorf("second Run = %v, want ErrRunBefore", err)
	}
}

// slow is an apply that tells when it is in the middle, and waits there for a word.
const slow = localBackend + `
resource "terraform_data" "first" {}
resource "terraform_data" "middle" {
  input = terraform_data.first.id
  provisioner "local-exec" {
    command = "echo begun >>$LEDGER; echo begun >BASE/ledger/said; read word <BASE/ledger/word; echo $word >>$LEDGER"
  }
}
resource "terraform_data" "last" { input = terraform_data.middle.id }
`

// newSlowSite also answers the FIFO on which the apply tells that it is in the middle; what is
// written to the other one lets it go on.
func newSlowSite(t *testing.T) (s *site, said, word *os.File) {
	t.Helper()
	s = newSite(t, map[string]string{"main.tf": slow})
	return s, s.fifo("said"), s.fifo("word")
}

// fifo is one in the ledger's directory.
func (s *site) fifo(name string) *os.File {
	s.t.Helper()
	name = filepath.Join(s.base, "ledger", name)
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		s.t.Fatal(err)
	}
	// Both ends, so that neither opening blocks nor a writer's end is the end.
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestCancelInTheMiddleOfAnApply(t *testing.T) {
	t.Parallel()
	s, said, _ := newSlowSite(t)
	plan := s.plan("1")
	job := s.next("2", Apply)
	job.PlanFile = plan.PlanFile
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type answer struct {
		result Result
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		result, err := New(s.cfg).Run(ctx, job)
		answers <- answer{result, err}
	}()
	waitForLine(t, said, "begun")
	cancel()
	got := <-answers
	if got.err != nil || got.result.End != Interrupted {
		t.Fatalf("Run = %s, %+v, %v", got.result.End, got.result.Failure, got.err)
	}
	outcomes := make(map[string]string)
	for _, r := range got.result.Resources {
		outcomes[r.Address] = r.Outcome
	}
	want := map[string]string{"terraform_data.first": Done, "terraform_data.middle": DidFail, "terraform_data.last": NotReached}
	if diff := cmp.Diff(want, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	evidence := strings.Join(got.result.Evidence, "\n")
	if !strings.Contains(evidence, "the state file has serial") || !strings.Contains(evidence, "the state is not locked") {
		t.Errorf("evidence: %s", evidence)
	}
	if !s.plan("3").Changes.Known {
		t.Error("the next plan is blocked")
	}
}

func TestCancelBeforeTheStart(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := New(s.cfg).Run(ctx, s.next("1", Plan))
	if err != nil || result.End != Cancelled || len(s.started()) != 0 {
		t.Errorf("Run = %s, %v", result.End, err)
	}
}

// startChild runs a job in a server of its own, to be killed.
func (s *site) startChild(job Job) *exec.Cmd {
	s.t.Helper()
	data, err := json.Marshal(map[string]any{
		"Config": map[string]any{"Self": s.cfg.Self, "Data": s.cfg.Data, "Environ": s.cfg.Environ, "Grace": s.cfg.Grace}, "Job": job,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.base, "job.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), s.cfg.Self)
	cmd.Env = append(os.Environ(), childEnv+"="+file)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd
}

func (s *site) kill(cmd *exec.Cmd) {
	s.t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = cmd.Wait()
}

func TestRecoverAdoptsAnApplyThatStillRuns(t *testing.T) {
	t.Parallel()
	s, said, word := newSlowSite(t)
	job := s.next("2", Apply)
	job.PlanFile = s.plan("1").PlanFile
	server := s.startChild(job)
	waitForLine(t, said, "begun")
	s.kill(server)
	s.started()
	if _, err := word.WriteString("go-on\n"); err != nil {
		t.Fatal(err)
	}
	got, err := New(s.cfg).Recover(t.Context(), job)
	if err != nil || got.End != Succeeded {
		t.Fatalf("Recover = %s, %+v, %v", got.End, got.Failure, err)
	}
	if diff := cmp.Diff([]string{"begun", "go-on"}, s.ledger()); diff != "" {
		t.Errorf("what was done (-want +got):\n%s", diff)
	}
	if calls := s.started(); len(calls) != 0 {
		t.Errorf("Recover started %v", calls)
	}
	if got.Changes.Add != 3 || got.Started.IsZero() || !got.Ended.After(got.Started) {
		t.Errorf("result %+v", got.Summary)
	}
	again, err := New(s.cfg).Recover(t.Context(), job)
	if diff := cmp.Diff(got, again); diff != "" || err != nil {
		t.Errorf("a second Recover = %v (-first +second):\n%s", err, diff)
	}
	if !s.plan("3").Changes.Empty() {
		t.Error("the state does not have what was applied")
	}
}

func TestRecoverOfAnApplyThatNobodySawEnd(t *testing.T) {
	t.Parallel()
	s, said, _ := newSlowSite(t)
	job := s.next("2", Apply)
	job.PlanFile = s.plan("1").PlanFile
	server := s.startChild(job)
	waitForLine(t, said, "begun")
	s.kill(server)
	_, mark, _, err := supervisor.Inspect(filepath.Join(job.Dir, "1-apply"))
	if err != nil || mark == nil {
		t.Fatalf("Inspect = %+v, %v", mark, err)
	}
	// The machine's end: the supervisor first, so that it cannot tell.
	if err := errors.Join(syscall.Kill(mark.Supervisor, syscall.SIGKILL), syscall.Kill(-mark.PID, syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	got, err := New(s.cfg).Recover(t.Context(), job)
	if err != nil || got.End != Unknown {
		t.Fatalf("Recover = %s, %v", got.End, err)
	}
	if got.Failure != nil {
		t.Errorf("its failure is %+v, and nobody saw one", got.Failure)
	}
	evidence := strings.Join(got.Evidence, "\n")
	for _, want := range []string{"the state has a lock file: id ", "OperationTypeApply by ", "the last lines of its log:", "terraform_data.middle: Provisioning with 'local-exec'..."} {
		if !strings.Contains(evidence, want) {
			t.Errorf("the evidence lacks %q:\n%s", want, evidence)
		}
	}
	kept, err := LoadResult(job.Dir)
	if diff := cmp.Diff(got, kept); diff != "" || err != nil {
		t.Errorf("LoadResult = %v (-returned +kept):\n%s", err, diff)
	}
}

func TestRecoverOfAnApplyThatWasNotStarted(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	job := s.next("2", Apply)
	job.PlanFile = s.plan("1").PlanFile
	got, err := New(s.cfg).Recover(t.Context(), job)
	if err != nil || got.End != NotStarted {
		t.Errorf("Recover without a job directory = %s, %v", got.End, err)
	}
	job = s.next("3", Apply)
	job.PlanFile = filepath.Join(s.base, "none")
	onlySpec(t, job)
	if got, err := New(s.cfg).Recover(t.Context(), job); err != nil || got.End != NotStarted {
		t.Errorf("Recover of a step that has only its spec = %s, %v", got.End, err)
	}
}

// onlySpec makes a job's apply one of which there is a plan to start a process, and no sign that it was started.
func onlySpec(t *testing.T, job Job) {
	t.Helper()
	step := filepath.Join(job.Dir, "1-apply")
	spec := supervisor.Spec{Argv0: job.Tool.Path, Env: []string{"PATH=/bin"}}
	if err := errors.Join(os.MkdirAll(step, 0o700), spec.Write(step)); err != nil {
		t.Fatal(err)
	}
}

// A result of a newer Tidegate is the end of an apply that this one can't read: it is told by name, and stays.
func TestRecoverOfANewerResult(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	job := s.next("2", Apply)
	job.PlanFile = filepath.Join(s.base, "none")
	const newer = `{"format":2,"ending":"well"}`
	if err := errors.Join(os.MkdirAll(job.Dir, 0o700), os.WriteFile(filepath.Join(job.Dir, resultName), []byte(newer), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err := New(s.cfg).Recover(t.Context(), job)
	if format := new(FormatError); !errors.As(err, &format) || format.Format != 2 {
		t.Errorf("Recover = %v, want a FormatError", err)
	}
	if raw, err := os.ReadFile(filepath.Join(job.Dir, resultName)); err != nil || string(raw) != newer {
		t.Errorf("the result is %q now, %v", raw, err)
	}
}

func TestRecoverStopsAPlan(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `
data "terraform_remote_state" "x" {
  backend = "local"
  config  = { path = "BASE/ledger/said" }
}
`})
	// Reading the state of another project blocks on a FIFO: a plan that hangs.
	fifo := filepath.Join(s.base, "ledger", "said")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	s.cfg.Grace = time.Second
	job := s.next("1", Plan)
	server := s.startChild(job)
	// Opening the other end succeeds when terraform has opened it, so it is in the middle.
	f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	s.kill(server)
	if _, err := New(s.cfg).Recover(t.Context(), job); !errors.Is(err, ErrNotRun) {
		t.Fatalf("Recover = %v, want ErrNotRun", err)
	}
	steps, err := stepDirs(job.Dir)
	if err != nil || len(steps) != 2 {
		t.Fatalf("steps %v, %v", steps, err)
	}
	for _, step := range steps {
		if running, _, err := inspect(step); running || err != nil {
			t.Errorf("%s still runs: %v", step, err)
		}
	}
}

func TestErroredStateIsSaved(t *testing.T) {
	t.Parallel()
	// A backend that reads and does not write, and that knows no workspaces.
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusNotFound
		if r.Method != http.MethodGet {
			status = http.StatusInsufficientStorage
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(backend.Close)
	s := newSite(t, map[string]string{"main.tf": `
terraform {
  backend "http" {
    address   = "` + backend.URL + `/state"
    retry_max = 0
  }
}
resource "terraform_data" "a" {}
`, "errored.tfstate": "an old one"})
	plan := s.plan("1")
	if diff := cmp.Diff([]string{"init", "plan"}, s.started()); diff != "" {
		t.Errorf("processes of a plan with backend http (-want +got):\n%s", diff)
	}
	r, job := New(s.cfg), s.next("2", Apply)
	job.PlanFile = plan.PlanFile
	if kept, err := r.ErroredStates(); err != nil || len(kept) != 0 {
		t.Errorf("ErroredStates before = %q, %v, want none", kept, err)
	}
	got, err := r.Run(t.Context(), job)
	if err != nil || got.ErroredState == "" {
		t.Fatalf("apply = %s, %+v, %v, no errored state; text:\n%s", got.End, got.Failure, err, got.Text)
	}
	if kept, err := r.ErroredStates(); err != nil || len(kept) != 1 || kept[0] != job.Dir {
		t.Errorf("ErroredStates = %q, %v, want %s", kept, err, job.Dir)
	}
	data, err := os.ReadFile(got.ErroredState)
	if err != nil || !strings.Contains(string(data), "terraform_data") {
		t.Errorf("the saved state: %v\n%s", err, data)
	}
	evidence := strings.Join(got.Evidence, "\n")
	if earlier, err := os.ReadFile(filepath.Join(s.cfg.Data, "runs", "run", "2", "earlier-"+erroredName)); err != nil || string(earlier) != "an old one" {
		t.Errorf("the earlier file: %q, %v", earlier, err)
	}
	if got.End != PartlyApplied || !strings.Contains(evidence, "left it in errored.tfstate") || !strings.Contains(evidence, `the backend "http"`) {
		t.Errorf("apply = %s, evidence %s", got.End, evidence)
	}
}

// TestJobsDoNotSeeTheDataDirectory looks from inside a job, where the kernel can hide anything.
func TestJobsDoNotSeeTheDataDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend + `
resource "terraform_data" "a" {
  provisioner "local-exec" {
    command = <<-EOT
      cat BASE/data/tidegate.db BASE/data/runs/run/other/result.json BASE/secrets/token BASE/data/checkouts/forge/1/8/default/tree/main.tf BASE/data/runs/run/2/1-apply/spec.json >>BASE/ledger/seen 2>/dev/null
      echo planted >BASE/data/planted || true
      echo planted >BASE/data/providers/planted || true
      cat main.tf >BASE/ledger/own && echo x >mine && echo x >"$TMPDIR/mine" && echo ok >BASE/ledger/ok
    EOT
  }
}
`})
	hidden := []string{
		"data/tidegate.db", "data/runs/run/other/result.json", "secrets/token", "data/checkouts/forge/1/8/default/tree/main.tf",
	}
	for _, name := range hidden {
		file := filepath.Join(s.base, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("s3cret"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s.cfg.Hide = []string{filepath.Join(s.base, "secrets")}
	if applied := s.apply("2", s.plan("1")); applied.End != Succeeded {
		t.Fatalf("apply = %s: %+v", applied.End, applied.Failure)
	}
	if _, err := os.Stat(filepath.Join(s.base, "ledger", "ok")); err != nil {
		t.Errorf("the job could not work in its own directories: %v", err)
	}
	_, mark, _, err := supervisor.Inspect(filepath.Join(s.cfg.Data, "runs", "run", "2", "1-apply"))
	if err != nil || mark == nil {
		t.Fatalf("Inspect = %+v, %v", mark, err)
	}
	seen, err := os.ReadFile(filepath.Join(s.base, "ledger", "seen"))
	if err != nil {
		t.Fatal(err)
	}
	_, planted := os.Stat(filepath.Join(s.base, "data", "planted"))
	hides := len(seen) == 0 && os.IsNotExist(planted)
	if hides != (mark.Landlock > 0) {
		t.Errorf("in Landlock domain %d the job saw %q, planting = %v", mark.Landlock, seen, planted)
	}
}

func TestOpenLogOfALongLine(t *testing.T) {
	t.Parallel()
	step := filepath.Join(t.TempDir(), "1-plan")
	if err := os.Mkdir(step, 0o700); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 3*maxLine) + "\nnext\x1b[31m\nlast"
	if err := os.WriteFile(filepath.Join(step, "output.log"), []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenLog(filepath.Dir(step))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var lines []string
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 2*maxLine)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	if len(lines) != 4 || len(lines[1]) != maxLine || lines[2] != "next" || lines[3] != "last" {
		t.Errorf("%d lines, %v", len(lines), scanner.Err())
	}
}
