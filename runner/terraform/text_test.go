package terraform

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag of the tests

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", filepath.Base(file), diff)
	}
}

// TestTexts turns what terraform 1.11.4 printed into what people read.
func TestTexts(t *testing.T) {
	t.Parallel()
	logs, err := filepath.Glob("testdata/text/*.log")
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	for _, file := range logs {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			log, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			base := strings.TrimSuffix(file, ".log")
			if strings.HasPrefix(filepath.Base(file), "plan-") {
				golden(t, base+".golden", PlanText(string(log))+"\n")
				return
			}
			f := ErrorText(string(log), "terraform plan ended with exit code 1")
			golden(t, base+".golden", f.Summary+"\n====\n"+f.Text+"\n")
		})
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"plain", "a\tb\nc", "a\tb\nc"},
		{"colours", "\x1b[1m\x1b[31mError:\x1b[0m x", "Error: x"},
		{"hyperlink", "\x1b]8;;http://x\x07text\x1b]8;;\x1b\\ end", "text end"},
		{"string never ended", "a\x1b]0;title\nb", "a\nb"},
		{"sequence never ended", "a\x1b[12", "a"},
		{"broken sequence", "a\x1b[1\nb", "a\nb"},
		{"escape at the end", "a\x1b", "a"},
		{"carriage return", "10%\r20%\r\nend", "10%\n20%\nend"},
		{"backspace and bell", "a\b\ab\x00", "ab"},
		{"c1 controls", "a\u009b31mb\u0085", "a31mb"},
		{"invalid utf-8", "a\xffb\x1b[0m", "a\uFFFDb"},
		{"box", "╷\n│ Error: x\n│\n│   on main.tf\n╵\n", "Error: x\n\n  on main.tf\n"},
		{"rule", "a\n─────\nb", "a\nb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Clean(tt.in); got != tt.want {
				t.Errorf("Clean(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestPlanTextKeepsWhatOnlyLooksLikeTheTail(t *testing.T) {
	t.Parallel()
	log := "  + resource \"terraform_data\" \"a\" {\n      + input = <<-EOT\n            ─────\n            Saved the plan to: x\n        EOT\n    }\n\nPlan: 1 to add, 0 to change, 0 to destroy.\n"
	got := PlanText(log)
	if !strings.Contains(got, "Saved the plan to: x\n        EOT") || !strings.Contains(got, "Plan: 1 to add") {
		t.Errorf("PlanText dropped a part of a value:\n%s", got)
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	if got := Limit("short", 100); got != "short" {
		t.Errorf("Limit(short) = %q", got)
	}
	got := Limit(strings.Repeat("zeile ü\n", 100), 200)
	if len(got) > 200 || !strings.HasSuffix(got, "zeile ü\n(the rest is left out here)") {
		t.Errorf("Limit = %q", got)
	}
	if got := Limit(strings.Repeat("ü", 100), 61); len(got) > 61 || !utf8.ValidString(got) {
		t.Errorf("Limit of one line = %q", got)
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("\x1b[31m╷\n│ Error: x\n│ \n╵\n")
	f.Add("a: Refreshing state... [id=1]\n\nTerraform used the selected providers to generate the following execution\nplan.\n  + create\n\nPlan: 1\n\n───\n\nSaved the plan to: p\n")
	f.Fuzz(func(t *testing.T, log string) {
		for name, got := range map[string]string{
			"PlanText": PlanText(log), "ErrorText": ErrorText(log, "ended").Text, "Summary": ErrorText(log, "ended").Summary, "Tail": Tail(log, 5),
		} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, isControl) {
				t.Errorf("%s of %q has controls: %q", name, log, got)
			}
		}
		if f := ErrorText(log, "ended"); f.Summary == "" && !strings.Contains(log, "Error: ") || len(f.Text) > maxFailure {
			t.Errorf("ErrorText(%q) = %+v", log, f)
		}
	})
}
