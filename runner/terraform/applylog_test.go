package terraform

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func readMessages(t *testing.T, file string) (*ApplyLog, string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	log := &ApplyLog{}
	var text strings.Builder
	for line := range strings.SplitSeq(string(data), "\n") {
		log.Add(line)
		if human, ok := HumanLine(line); ok {
			text.WriteString(human + "\n")
		}
	}
	return log, text.String()
}

// TestApplyLogOfAHalfDoneReplacement reads what terraform 1.11.4 wrote when the provisioner of a
// replacement failed.
func TestApplyLogOfAHalfDoneReplacement(t *testing.T) {
	t.Parallel()
	log, text := readMessages(t, "testdata/apply/partly.jsonl")
	planned := []Resource{
		{Address: "terraform_data.after", Action: Update},
		{Address: "terraform_data.cbd", Action: Replace},
		{Address: "terraform_data.gateway", Action: Replace},
		{Address: "terraform_data.moved", Action: Move},
		{Address: "terraform_data.old[0]", Action: Delete},
		{Address: "terraform_data.subnet", Action: Update},
	}
	outcomes := func(whole bool) map[string]string {
		m := make(map[string]string)
		for _, r := range log.Outcomes(planned, false, whole) {
			m[r.Address] = r.Outcome
		}
		return m
	}
	want := map[string]string{
		"terraform_data.after": NotReached, "terraform_data.cbd": Done, "terraform_data.gateway": HalfDone,
		"terraform_data.moved": "", "terraform_data.old[0]": Done, "terraform_data.subnet": Done,
	}
	if diff := cmp.Diff(want, outcomes(true)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	want["terraform_data.after"] = ""
	if diff := cmp.Diff(want, outcomes(false)); diff != "" {
		t.Errorf("outcomes of a cut log (-want +got):\n%s", diff)
	}
	if log.Complete || !log.Changed || !log.Started {
		t.Errorf("Complete %v, Changed %v, Started %v, want false, true, true", log.Complete, log.Changed, log.Started)
	}
	f := log.Failure()
	if f == nil || f.Summary != "local-exec provisioner error" {
		t.Fatalf("Failure = %+v", f)
	}
	golden(t, "testdata/apply/partly.failure.golden", f.Text+"\n")
	golden(t, "testdata/apply/partly.text.golden", text)
}

func TestApplyLogOfASuccess(t *testing.T) {
	t.Parallel()
	log, text := readMessages(t, "testdata/apply/succeeded.jsonl")
	if !log.Complete || !log.Changed || log.Failure() != nil {
		t.Errorf("Complete %v, Changed %v, Failure %v", log.Complete, log.Changed, log.Failure())
	}
	for _, r := range log.Outcomes([]Resource{{Address: "x", Action: Import}, {Address: "y", Action: Update}}, true, false) {
		if r.Outcome != Done {
			t.Errorf("outcome of %s = %q, want done: terraform said so", r.Address, r.Outcome)
		}
	}
	golden(t, "testdata/apply/succeeded.text.golden", text)
}

func TestApplyLogOutcomes(t *testing.T) {
	t.Parallel()
	hook := func(kind, addr, action string) string {
		return `{"@level":"info","@message":"m","type":"` + kind + `","hook":{"resource":{"addr":"` + addr + `"},"action":"` + action + `"}}`
	}
	tests := []struct {
		name    string
		action  string
		lines   []string
		want    string
		changed bool
	}{
		{"never begun", Create, nil, NotReached, false},
		{"begun and nothing more", Create, []string{hook("apply_start", "a", "create")}, DidFail, false},
		{"errored", Create, []string{hook("apply_start", "a", "create"), hook("apply_errored", "a", "create")}, DidFail, false},
		{"created, provisioner failed", Create, []string{hook("apply_start", "a", "create"), hook("provision_start", "a", ""), hook("apply_errored", "a", "create")}, DidFail, true},
		{"another's", Create, []string{hook("apply_start", "b", "create"), hook("apply_complete", "b", "create")}, NotReached, true},
		{"destroyed only", Replace, []string{hook("apply_start", "a", "delete"), hook("apply_complete", "a", "delete")}, HalfDone, true},
		{"destroy failed", Replace, []string{hook("apply_start", "a", "delete"), hook("apply_errored", "a", "delete")}, DidFail, false},
		{"created, old one not destroyed", Replace, []string{hook("apply_complete", "a", "create"), hook("apply_start", "a", "delete"), hook("apply_errored", "a", "delete")}, DidFail, true},
		{"read", Read, []string{hook("apply_start", "a", "read"), hook("apply_complete", "a", "read")}, Done, false},
		{"garbage", Create, []string{`{"@level":"info"`, `{"@message":5}`, "Executing", `{"@level":"x","type":"apply_start"}`}, NotReached, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log ApplyLog
			for _, line := range tt.lines {
				log.Add(line)
			}
			got := log.Outcomes([]Resource{{Address: "a", Action: tt.action}}, false, true)[0].Outcome
			if got != tt.want || log.Changed != tt.changed {
				t.Errorf("outcome %q, changed %v, want %q, %v", got, log.Changed, tt.want, tt.changed)
			}
		})
	}
}

func TestApplyLogKeepsADumpedState(t *testing.T) {
	t.Parallel()
	line := `{"@level":"info","@message":"Emergency state dump","@module":"terraform.ui","state":{"version":4,"outputs":{"o":{"value":"s3cret"}}},"type":"log"}`
	var log ApplyLog
	log.Add(line)
	if want := `{"version":4,"outputs":{"o":{"value":"s3cret"}}}`; string(log.State) != want {
		t.Errorf("State = %s, want %s", log.State, want)
	}
	if text, _ := HumanLine(line); text != "Emergency state dump" {
		t.Errorf("HumanLine = %q: the state has secrets", text)
	}
}

func FuzzHumanLine(f *testing.F) {
	f.Add(`{"@level":"error","@message":"Error: x","type":"diagnostic","diagnostic":{"severity":"error","summary":"x","detail":"\u001b[31my","range":{"filename":"m.tf","start":{"line":3}},"snippet":{"context":null,"code":"a","start_line":3,"values":[{"traversal":"var.x","statement":"is 1"}]}}}`)
	f.Add(`{"@level":"info","@message":"Outputs: 1","type":"outputs","outputs":{"a":{"sensitive":false,"value":"\u001b]8"}}}`)
	f.Add("plain \x1b[1m")
	f.Fuzz(func(t *testing.T, line string) {
		text, _ := HumanLine(line)
		if strings.ContainsFunc(text, isControl) {
			t.Errorf("HumanLine(%q) = %q", line, text)
		}
		var log ApplyLog
		log.Add(line)
		if f := log.Failure(); f != nil && (len(f.Text) > maxFailure || strings.ContainsFunc(f.Summary+f.Text, isControl)) {
			t.Errorf("Failure of %q = %+v", line, f)
		}
	})
}
