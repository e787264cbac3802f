package terraform

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protowire"
)

// realTerraform runs terraform itself, without anything of ours, and returns its standard output.
func realTerraform(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "terraform", args...)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=/dev/null", "TF_IN_AUTOMATION=1",
	}, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if args[0] == "plan" && errors.As(err, &exit) && exit.ExitCode() == 2 {
			return stdout.String()
		}
		t.Fatalf("terraform %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const variedBefore = `
resource "terraform_data" "stays" {}
resource "terraform_data" "changed" { input = 1 }
resource "terraform_data" "replaced" { triggers_replace = [1] }
resource "terraform_data" "swapped" {
  triggers_replace = { a = 1 }
  lifecycle { create_before_destroy = true }
}
resource "terraform_data" "gone" {}
resource "terraform_data" "old_name" { input = 2 }
resource "terraform_data" "forgotten" {}
resource "terraform_data" "each" {
  for_each = toset(["plain", "a\"quoted\"", "ünï[0]", "x.y z"])
  input    = each.key
}
resource "terraform_data" "counted" { count = 3 }
module "m" {
  source = "./m"
  for_each = toset(["k\"1"])
}
output "same" { value = 1 }
output "changed" { value = 1 }
`

const variedAfter = `
resource "terraform_data" "new" {}
resource "terraform_data" "stays" {}
resource "terraform_data" "changed" { input = 2 }
resource "terraform_data" "replaced" { triggers_replace = [2] }
resource "terraform_data" "swapped" {
  triggers_replace = { a = 2 }
  lifecycle { create_before_destroy = true }
}
resource "terraform_data" "new_name" { input = 2 }
moved {
  from = terraform_data.old_name
  to   = terraform_data.new_name
}
removed {
  from = terraform_data.forgotten
  lifecycle { destroy = false }
}
import {
  to = terraform_data.imported
  id = "some-id"
}
resource "terraform_data" "imported" {}
import {
  to = terraform_data.imported_and_changed
  id = "other-id"
}
resource "terraform_data" "imported_and_changed" { input = "x" }
resource "terraform_data" "each" {
  for_each = toset(["plain", "ünï[0]", "new \"one\""])
  input    = "${each.key}!"
}
resource "terraform_data" "counted" { count = 1 }
module "m" {
  source = "./m"
  for_each = toset(["k\"1", "k2"])
}
data "terraform_remote_state" "later" {
  backend = "local"
  config  = { path = terraform_data.new.id }
}
output "same" { value = 1 }
output "changed" {
  value     = 2
  sensitive = true
}
`

// variedPlan makes a plan of every kind of change that needs no provider.
func variedPlan(t *testing.T) (dir, plan string) {
	t.Helper()
	dir = t.TempDir()
	writeFile(t, filepath.Join(dir, "m", "main.tf"), `resource "terraform_data" "in" { count = 1 }`)
	writeFile(t, filepath.Join(dir, "main.tf"), variedBefore)
	realTerraform(t, dir, nil, "init", "-no-color")
	realTerraform(t, dir, nil, "apply", "-auto-approve", "-no-color")
	writeFile(t, filepath.Join(dir, "main.tf"), variedAfter)
	realTerraform(t, dir, nil, "init", "-no-color")
	plan = filepath.Join(dir, "plan.tfplan")
	realTerraform(t, dir, nil, "plan", "-no-color", "-detailed-exitcode", "-out="+plan)
	return dir, plan
}

// showFacts reads the same from terraform's own documented format.
func showFacts(t *testing.T, dir, plan string) PlanFacts {
	t.Helper()
	facts, err := parseShow(realTerraform(t, dir, nil, "show", "-json", plan))
	if err != nil {
		t.Fatalf("reading show -json: %v", err)
	}
	return facts
}

func TestReadPlanAgreesWithShow(t *testing.T) {
	t.Parallel()
	dir, plan := variedPlan(t)
	got, err := ReadPlan(plan)
	if err != nil {
		t.Fatalf("ReadPlan: %v", err)
	}
	want := showFacts(t, dir, plan)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(PlanFacts{}, "Workspace", "BackendType"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("ReadPlan disagrees with terraform show -json (-show +ours):\n%s", diff)
	}
	if got.Workspace != DefaultWorkspace || got.BackendType != "local" {
		t.Errorf("workspace %q in backend %q, want default in local", got.Workspace, got.BackendType)
	}
	wantChanges := Changes{
		Import: 2, Add: 3, Change: 4, Replace: 2, Destroy: 5, Forget: 1, Move: 1, Outputs: true, Known: true,
	}
	if diff := cmp.Diff(wantChanges, got.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	kinds := make(map[string]bool)
	for _, r := range got.Resources {
		kinds[r.Action] = true
	}
	for _, kind := range []string{Create, Update, Replace, Delete, Import, Forget, Read, Move} {
		if !kinds[kind] {
			t.Errorf("the varied configuration has no %s: the test is not what it should be", kind)
		}
	}
}

func TestReadPlanOfOneOutputAndOfNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := filepath.Join(dir, "plan.tfplan")
	writeFile(t, filepath.Join(dir, "main.tf"), `output "o" { value = 1 }`)
	realTerraform(t, dir, nil, "init", "-no-color")
	realTerraform(t, dir, nil, "plan", "-no-color", "-out="+plan)
	got, err := ReadPlan(plan)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Changes{Outputs: true, Known: true}, got.Changes); diff != "" {
		t.Errorf("changes of an output alone (-want +got):\n%s", diff)
	}
	realTerraform(t, dir, nil, "apply", "-no-color", plan)
	realTerraform(t, dir, nil, "plan", "-no-color", "-out="+plan)
	if got, err = ReadPlan(plan); err != nil || !got.Changes.Empty() {
		t.Errorf("ReadPlan of nothing = %+v, %v, want no changes", got.Changes, err)
	}
}

func TestReadPlanTellsWorkspacesApart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plan := filepath.Join(dir, "plan.tfplan")
	writeFile(t, filepath.Join(dir, "main.tf"), `resource "terraform_data" "a" {}`)
	realTerraform(t, dir, nil, "init", "-no-color")
	realTerraform(t, dir, []string{"TF_WORKSPACE=prod"}, "plan", "-no-color", "-out="+plan)
	if got, err := ReadPlan(plan); err != nil || got.Workspace != "prod" {
		t.Errorf("ReadPlan = workspace %q, %v, want prod", got.Workspace, err)
	}
}

// archive makes a plan file with the given description.
func archive(tb testing.TB, name string, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	if err == nil {
		_, err = f.Write(data)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// message builds protobuf messages.
type builder []byte

func (b builder) num(n protowire.Number, v uint64) builder {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func (b builder) str(n protowire.Number, v string) builder {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func (b builder) msg(n protowire.Number, v builder) builder { return b.str(n, string(v)) }

func resource(address string, action uint64) builder {
	return builder{}.str(13, address).msg(9, builder{}.num(1, action))
}

func TestReadPlanRefuses(t *testing.T) {
	t.Parallel()
	bomb := builder{}.num(1, planFormat).str(2, string(make([]byte, maxPlan)))
	many := builder{}.num(1, planFormat)
	for range maxPlanResources + 1 {
		many = many.msg(3, resource("a", actionCreate))
	}
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrNotPlan},
		{"cloud bookmark", []byte(`{"remote_plan_format":1,"run_id":"run-1","hostname":"app.terraform.io"}`), ErrNotPlan},
		{"archive without a plan", archive(t, "tfstate", []byte("{}")), ErrNotPlan},
		{"newer format", archive(t, planEntry, builder{}.num(1, 4)), ErrPlanFormat},
		{"no format", archive(t, planEntry, nil), ErrPlanFormat},
		{"unknown action", archive(t, planEntry, builder{}.num(1, 3).msg(3, resource("a", 9))), ErrPlanFormat},
		{"no address", archive(t, planEntry, builder{}.num(1, 3).msg(3, resource("", 1))), ErrNotPlan},
		{"cut", archive(t, planEntry, []byte{0x1a, 0x50, 0x01}), ErrNotPlan},
		{"zip bomb", archive(t, planEntry, bomb), errPlanTooLarge},
		{"too many resources", archive(t, planEntry, many), ErrNotPlan},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := readPlan(bytes.NewReader(tt.data), int64(len(tt.data)))
			if !errors.Is(err, tt.want) {
				t.Errorf("readPlan = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReadPlanForcedBy(t *testing.T) {
	t.Parallel()
	step := func(name string) builder { return builder{}.msg(1, builder{}.str(1, name)) }
	key := func(msgpack string) builder {
		return builder{}.msg(1, builder{}.msg(2, builder{}.str(1, msgpack)))
	}
	path := func(steps ...builder) builder {
		var p builder
		for _, s := range steps {
			p = append(p, s...)
		}
		return p
	}
	change := resource("a", actionDeleteThenCreate).str(7, "0a1b").
		msg(11, path(step("engine_version"))).
		msg(11, path(step("disk"), key("\x92\xc4\x08\"number\"\x02"), step("size"))).
		msg(11, path(step("tags"), key("\xa3a\"b"))).
		msg(11, path(step("set"), key("\x81\xa1k\xa1v")))
	data := archive(t, planEntry, builder{}.num(1, planFormat).msg(3, change))
	got, err := readPlan(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	want := []Resource{{
		Address: "a", Action: Replace, Deposed: "0a1b",
		ForcedBy: []string{"disk[2].size", "engine_version", "set[...]", `tags["a\"b"]`},
	}}
	if diff := cmp.Diff(want, got.Resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
}

func TestParseShow(t *testing.T) {
	t.Parallel()
	plan := map[string]any{
		"format_version": "1.2", "terraform_version": "1.11.4",
		"resource_changes": []any{
			map[string]any{"address": "a", "change": map[string]any{"actions": []string{"create", "forget"}}},
			map[string]any{"address": "b", "deposed": "00", "change": map[string]any{"actions": []string{"delete"}}},
			map[string]any{"address": "c", "change": map[string]any{
				"actions": []string{"delete", "create"}, "replace_paths": []any{[]any{"disk", 0, "size"}},
			}},
		},
	}
	data, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseShow("\nWarning: something\n\n" + string(data) + "\n")
	if err != nil {
		t.Fatal(err)
	}
	want := PlanFacts{
		TerraformVersion: "1.11.4", Changes: Changes{Replace: 2, Destroy: 1, Known: true},
		Resources: []Resource{
			{Address: "a", Action: Replace},
			{Address: "b", Action: Delete, Deposed: "00"},
			{Address: "c", Action: Replace, ForcedBy: []string{"disk[0].size"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parseShow (-want +got):\n%s", diff)
	}
	if _, err := parseShow("Error: no plan\n"); !errors.Is(err, ErrNotPlan) {
		t.Errorf("parseShow without a plan = %v, want ErrNotPlan", err)
	}
}

func FuzzReadPlan(f *testing.F) {
	f.Add([]byte(`{"remote_plan_format":1}`))
	f.Add(archive(f, planEntry, builder{}.num(1, 3).msg(3, resource("terraform_data.a", 6)).msg(4, builder{}.str(1, "o").msg(2, builder{}.num(1, 1)))))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := readPlan(bytes.NewReader(data), int64(len(data)))
		checkFacts(t, facts, err)
	})
}

func FuzzParsePlan(f *testing.F) {
	f.Add([]byte(builder{}.num(1, 3).msg(3, resource("terraform_data.a", 6)).msg(13, builder{}.str(1, "local").str(3, "default"))))
	f.Add([]byte(builder{}.num(1, 3).msg(3, resource("a", 1).msg(11, builder{}.msg(1, builder{}.msg(2, builder{}.str(1, "\x92\xa1x\x01")))))))
	f.Add([]byte{0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := parsePlan(data)
		checkFacts(t, facts, err)
	})
}

func checkFacts(t *testing.T, facts PlanFacts, err error) {
	t.Helper()
	if err != nil {
		if !errors.Is(err, ErrNotPlan) && !errors.Is(err, ErrPlanFormat) {
			t.Errorf("an error of no known kind: %v", err)
		}
		return
	}
	counted := Count(facts.Resources)
	counted.Outputs = facts.Changes.Outputs
	if diff := cmp.Diff(counted, facts.Changes); diff != "" {
		t.Errorf("the counts are not those of the resources (-want +got):\n%s", diff)
	}
	for _, r := range facts.Resources {
		if r.Address == "" || r.Action == "" {
			t.Errorf("a resource without address or action: %+v", r)
		}
	}
}
